"""A synthetic cohort of spinal cords, to show what fine-tuning to the lumbosacral region changes.

    python benchmarks/lumbosacral.py FOLDER [--subjects 20] [--seed 0] [--pictures COMPARISON]

writes two folders as `find_cases` reads them, `cervical` and `lumbosacral`, each with images/ and labels/ (NIfTI).
Both show a cord in a bright canal on axial slices, tilted and bent, with a bias field and Rician noise. The
cervical cords are wide and run through the whole image. The lumbosacral ones have the enlargement, taper into a
conus and end; roots run beside them, and below the end only roots are left. A model that has learnt from the first
kind meets another contrast, thinner sections, threads of the cord's own intensity, and an end that it never saw.

A model of the first kind, brought to the second (a crop around the automatic centreline, all by the plan):

    autoseg train FOLDER/cervical --name cervical --set spatial_dims=3 --set volume.crop_mm=32,28 --minutes 2
    autoseg finetune FOLDER/lumbosacral --base cervical --minutes 1 --exact --without-outliers --name lumbosacral

With `--pictures trained_model/lumbosacral_comparison`, cuts from front to back through some subjects are drawn as
every entry of that comparison segmented them, in `lumbosacral.png` there.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from autoseg.data.cases import find_cases, read_case
from autoseg.evaluation.comparison import MEAN, read_comparison, title_of
from autoseg.evaluation.crossvalidation import read_prediction
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure

CORD = Structure(1, "cord")
# mm between slices, rows and columns; voxels; subsamples along each axis in the plane.
SPACING_MM = (2.0, 0.8, 0.8)
SHAPE = (64, 72, 72)
FINE = 3
# The conus tip lies at this part of the image's height, from the feet; below it are roots alone.
TIP = (0.25, 0.5)
# Half axes of the cord in mm, left to right and front to back; of the canal.
CERVICAL_MM, LUMBAR_MM, CANAL_MM = (6.5, 4.0), (4.4, 3.7), (10.5, 8.0)
TAPER_MM = 30.0


@dataclass(frozen=True)
class Anatomy:
    """One subject: where the canal's middle lies on every slice, and how large the cord is.

    `middle` (slices, 2) in mm (rows, columns) from the image's middle; `axes` (slices, 2) half axes of the cord in
    mm, left to right and front to back, 0 beyond its end; `heights_mm` (slices,) from the lowest slice.
    """

    middle: np.ndarray
    axes: np.ndarray
    heights_mm: np.ndarray
    roots: np.ndarray


def make_anatomy(region: str, generator: np.random.Generator) -> Anatomy:
    """Draw a subject: a tilted and bent canal, and the cord's sizes along it."""
    heights = np.arange(SHAPE[0]) * SPACING_MM[0]
    length = heights[-1]
    t = heights / length
    tilt, bend = generator.uniform(-8, 8, 2), generator.uniform(-5, 5, 2)
    middle = np.outer(t - 0.5, tilt) + np.outer(np.sin(np.pi * t) - 0.6, bend) + generator.uniform(-4, 4, 2)
    if region == "cervical":
        wide = 1 + 0.12 * np.exp(-(((t - generator.uniform(0.4, 0.7)) / 0.2) ** 2))
        axes = np.outer(wide * generator.uniform(0.92, 1.08), CERVICAL_MM)
        return Anatomy(middle, axes, heights, np.empty((0, 4)))
    tip = generator.uniform(*TIP) * length
    above = heights - tip
    wide = 1 + 0.15 * np.exp(-(((above - generator.uniform(38, 55)) / 18) ** 2))
    taper = np.sqrt(np.clip(above / generator.uniform(0.8 * TAPER_MM, 1.2 * TAPER_MM), 0, 1))
    axes = (wide * taper * generator.uniform(0.92, 1.08))[:, None] * LUMBAR_MM
    count = 26
    # Each root leaves the cord at a height, and lies at an angle and at a part of the way to the canal's wall.
    roots = np.column_stack(
        [
            generator.uniform(tip - 10, length, count),
            generator.uniform(0, 2 * np.pi, count),
            generator.uniform(0.35, 0.85, count),
            generator.uniform(0.45, 0.75, count),
        ]
    )
    return Anatomy(middle, axes, heights, roots)


def draw_subject(region: str, seed: int) -> tuple[Image, LabelMap]:
    """Draw the image and the cord's label of one subject; the same seed gives the same subject."""
    generator = np.random.default_rng([seed, {"cervical": 0, "lumbosacral": 1}[region]])
    anatomy = make_anatomy(region, generator)
    rows, columns = (
        (np.arange(n * FINE) + 0.5) / FINE * mm - n * mm / 2
        for n, mm in zip(SHAPE[1:], SPACING_MM[1:], strict=True)
    )
    cord_grey = 0.62 if region == "cervical" else 0.5
    image, label, tissue = np.empty(SHAPE), np.empty(SHAPE), _tissue(generator)
    canal_mm = np.array(CANAL_MM) * generator.uniform(0.9, 1.15)
    vertebra_mm = np.array([17, 12]) * generator.uniform(0.85, 1.15, 2)
    for index, (row, column) in enumerate(anatomy.middle):
        down, across = np.meshgrid(rows - row, columns - column, indexing="ij")
        canal = (across / canal_mm[0]) ** 2 + (down / canal_mm[1]) ** 2 < 1
        behind = down + canal_mm[1] + vertebra_mm[1] + 1
        vertebra = (across / vertebra_mm[0]) ** 2 + (behind / vertebra_mm[1]) ** 2 < 1
        grey = np.repeat(np.repeat(tissue[index], FINE, axis=0), FINE, axis=1)
        grey[vertebra], grey[canal] = 0.45, 1.0
        left_right, front_back = anatomy.axes[index]
        cord = np.zeros(canal.shape, dtype=bool)
        if min(left_right, front_back) > 0.3:
            cord = (across / left_right) ** 2 + (down / front_back) ** 2 < 1
        for starts, angle, part, radius in anatomy.roots:
            if anatomy.heights_mm[index] <= starts:
                drift = 1 + 0.15 * np.sin(0.05 * (starts - anatomy.heights_mm[index]))
                at = part * drift * canal_mm[1] * np.array([np.sin(angle), 1.1 * np.cos(angle)])
                grey[(down - at[0]) ** 2 + (across - at[1]) ** 2 < radius**2] = cord_grey + 0.05
        grey[cord] = cord_grey
        image[index] = _coarse(grey)
        label[index] = _coarse(cord.astype(float))
    image = ndimage.gaussian_filter(image, (0.3, 0.4, 0.4)) * _bias(generator)
    noise = generator.normal(0, 0.05, (2, *SHAPE))
    image = np.hypot(image + noise[0], noise[1]) * generator.uniform(500, 1500)
    name = f"sub-{region[0]}{seed:02d}"
    source = Source(case_id=name, subject_id=name, spacing_source="header", slice_spacing_source="header")
    affine = affine_from_spacing(SPACING_MM)
    return (
        Image(np.round(image).astype(np.int16), affine, source=source),
        LabelMap((label >= 0.5).astype(np.uint8), affine, (CORD,), source=source),
    )


def _coarse(fine: np.ndarray) -> np.ndarray:
    """Average subsamples."""
    rows, columns = (n // FINE for n in fine.shape)
    return fine.reshape(rows, FINE, columns, FINE).mean(axis=(1, 3))


def _tissue(generator: np.random.Generator) -> np.ndarray:
    """Give the grey of muscles and fat: patches of a centimetre or so, another pattern in everybody."""
    patches = ndimage.gaussian_filter(generator.normal(0, 1, SHAPE), (4, 5, 5))
    return 0.3 + 0.14 * np.tanh(1.5 * patches / patches.std())


def _bias(generator: np.random.Generator) -> np.ndarray:
    """Give a smooth field that brightens one side, about 1 on average."""
    coarse = generator.normal(0, 1, (3, 3, 3))
    smooth = ndimage.zoom(coarse, [n / 3 for n in SHAPE], order=3, mode="nearest", grid_mode=True)
    return np.exp(0.25 * smooth / np.abs(smooth).max())


def write_cohort(folder: Path, region: str, subjects: int, *, seed: int = 0) -> Path:
    """Write subjects as NIfTI, in folder/region/images and labels; give that folder."""
    place = folder / region
    for kind in ("images", "labels"):
        (place / kind).mkdir(parents=True, exist_ok=True)
    for number in range(1, subjects + 1):
        image, label = draw_subject(region, 1000 * seed + number)
        write_nifti(place / "images" / f"sub-{region[0]}{number:02d}.nii.gz", image)
        write_nifti(place / "labels" / f"sub-{region[0]}{number:02d}.nii.gz", label)
    return place


def draw_cuts(cohort: Path, folder: Path, *, count: int = 3) -> Path:
    """Draw what the entries of a comparison made of the subjects whom the first segmented worst; give the file."""
    found = find_cases(cohort)
    comparison = read_comparison(folder)
    entries = [entry for entry in comparison.runs if "," not in entry]  # no exact centrelines
    means = comparison.subjects[comparison.subjects["structure"] == MEAN]
    dice = means.pivot(index="subject_id", columns="entry", values="dice")[entries]
    shown = list(dice.sort_values(entries[0]).index[:count])
    figure = Figure(figsize=(2.0 * (1 + len(entries)), 2.9 * count), layout="constrained")
    for row, subject in enumerate(shown):
        (case,) = (case for case in found.cases if case.subject_id == subject)
        image, reference = read_case(case, found.structures)
        # The column of pixels in which most of the cord lies; feet below, as the slices go up.
        column = int(reference.voxels.sum(axis=(0, 1)).argmax())
        cuts = {"the reference": reference.voxels}
        for entry in entries:
            kept = [read_prediction(fold, case.case_id) for fold in comparison.runs[entry].folds]
            cuts[title_of(entry)] = next(labels for labels in kept if labels is not None)
        for place, (title, labels) in enumerate(cuts.items()):
            axes = figure.add_subplot(count, len(cuts), row * len(cuts) + place + 1)
            slices, rows, _ = image.shape
            extent = (0, rows * SPACING_MM[1], 0, slices * SPACING_MM[0])
            axes.imshow(image.voxels[:, :, column], cmap="gray", origin="lower", extent=extent)
            mask = np.ma.masked_equal(labels[:, :, column] > 0, 0)
            axes.imshow(mask, cmap="autumn", alpha=0.5, origin="lower", extent=extent, interpolation="nearest")
            axes.set_axis_off()
            words = subject if place == 0 else f"Dice {dice.loc[subject, entries[place - 1]]:.2f}"
            axes.set_title(f"{title}\n{words}", fontsize=8)
    path = folder / "lumbosacral.png"
    figure.savefig(path, dpi=130)
    return path


def main() -> None:
    """Write both cohorts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="COMPARISON")
    chosen = parser.parse_args()
    if chosen.pictures is not None:
        print(draw_cuts(chosen.folder / "lumbosacral", chosen.pictures))
        return
    for region in ("cervical", "lumbosacral"):
        print(write_cohort(chosen.folder, region, chosen.subjects, seed=chosen.seed))


if __name__ == "__main__":
    main()
