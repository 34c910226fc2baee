"""How many faults the label doctor finds: one at a time, put into clean real cases.

    python benchmarks/doctor.py [--data ../shared/data] [--cases 4] [--seed 0] [--tuning]

Each set is taken whole as the cohort. Thresholds were chosen on how the clean cases of all sets score, and while
faults were put into the subjects at even places (`--tuning`); the table is of the subjects at odd places. A fault
counts as found if an error or a warning of the right kind names the case, and did not without the fault. A proposed
repair is wrong if the labels are then not the right ones. A false alarm is an error or a warning of any of these
kinds that names a clean case: in the clean cohort, or of another subject because of the fault. What a set's README
tells of its own data (`KNOWN`) is neither put in nor counted, and what only other cases can tell (`NEEDS_OTHERS`)
is put into sets of five cases and more. The exit status is 1 if fewer than 95 % of the faults are found, a swap of
paired sides is missed, more than 1 of 40 clean cases has a false alarm, or a wrong repair is proposed.

    python benchmarks/doctor.py --placement

measures the check of labels beside their image by itself: false alarms on all sets, whole and cut close to the
labels, and how many labels that were moved on purpose are found; at most 1 of 100 may be a false alarm.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image as PillowImage

from autoseg.data.cases import Case, find_cases
from autoseg.data.checks.facts import Cohort, Facts, LabelledImage, gather_facts
from autoseg.data.checks.finding import Finding
from autoseg.data.checks.images import check_grid
from autoseg.data.checks.placement import check_placement
from autoseg.data.checks.run import check_cases, check_facts
from autoseg.data.repairs import apply_repairs, shift_slices, turn_slices
from autoseg.errors import AutosegError
from autoseg.files.sources import ImageFile, LabelFile
from autoseg.image.geometry import LPS_TO_RAS, affine_from_axes
from autoseg.image.image import Image, Source
from autoseg.image.structures import Structure, side_pairs

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEAST_FOUND, MOST_FALSE, MOST_MISPLACED = 0.95, 1 / 40, 1 / 100
# Mended labels are right if they are so alike (Dice) to those before the fault.
MENDED = 0.95
# Labels that were moved back may lie so many pixels beside.
BESIDE = 2
SIDES = "left and right"

KNOWN = {
    ("cord", "spacing"): "four scanners, 0.42 to 0.78 mm",
    ("cord", "range"): "one image is float32 with scaling, the others int16",
    ("hippocampus", "range"): "intensity ranges differ by 1000 times",
}
# A muscle's volumes are two, and what is usual among two nobody knows.
NEEDS_OTHERS = {"area", "apart", "permuted"}


@dataclass(frozen=True)
class RealSet:
    """A clean cohort in memory."""

    name: str
    structures: tuple[Structure, ...]
    cases: tuple[LabelledImage, ...]


# --- the sets


def labelled(case_id, subject_id, voxels, labels, affine=None) -> LabelledImage:
    source = Source(case_id=case_id, subject_id=subject_id)
    channels = tuple(f"channel {number}" for number in range(len(voxels) if voxels.ndim == 4 else 1))
    image = Image(np.ascontiguousarray(voxels), affine, channels, source=source)
    files = (ImageFile(Path(f"{case_id}-image")),), (LabelFile(Path(f"{case_id}-label")),)
    return LabelledImage(Case(case_id, subject_id, *files), image, np.ascontiguousarray(labels), affine)


def nifti(path: Path):
    file = nibabel.load(path)
    return np.asarray(file.dataobj).transpose(2, 1, 0), LPS_TO_RAS @ file.affine @ np.eye(4)[[2, 1, 0, 3]]


def hippocampus(data: Path) -> RealSet:
    cases = []
    for path in sorted((data / "hippocampus-msd" / "labels").glob("*.nii.gz"))[::2]:
        image = data / "hippocampus-msd" / "images" / path.name
        if image.exists():
            voxels, affine = nifti(image)
            name = path.name[: -len(".nii.gz")]
            cases.append(labelled(name, name, voxels, nifti(path)[0].astype(np.uint8), affine))
    return RealSet("hippocampus", (Structure(1, "anterior"), Structure(2, "posterior")), tuple(cases))


def cardiac(data: Path, leave_out: str = "SCD0000501") -> RealSet:
    """All but the subject whose outer contours lie beside the heart."""
    folder, cases = data / "cardiac-sunnybrook-dicom", []
    for path in sorted(folder.glob("labels_npy/*/*.npy"), key=lambda path: (path.parent.name, int(path.stem))):
        subject = path.parent.name
        if subject != leave_out:
            header = pydicom.dcmread(folder / "dicoms" / subject / f"{path.stem}.dcm")
            axes = np.array(header.ImageOrientationPatient, float)
            affine = affine_from_axes(
                position_mm=header.ImagePositionPatient,
                orientation=axes,
                pixel_spacing_mm=header.PixelSpacing,
                slice_step_mm=8 * np.cross(axes[:3], axes[3:]),
            )
            name = f"{subject}_{int(path.stem):03d}"
            cases.append(labelled(name, subject, header.pixel_array[None], np.load(path)[None], affine))
    return RealSet("cardiac", (Structure(1, "cavity"), Structure(2, "myocardium")), tuple(cases))


def lumbar(data: Path) -> RealSet:
    folder, cases = data / "lumbar-spider-sagittal-png", []
    for path in sorted((folder / "masks").glob("*.png")):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels = labels if labels.ndim == 2 else labels[..., 0]
        voxels = cv2.imread(str(folder / "images" / path.name), cv2.IMREAD_GRAYSCALE)
        cases.append(labelled(path.stem, f"patient {path.stem.split('_')[0]}", voxels[None], labels[None]))
    names = (Structure(29, "disc"), Structure(76, "vertebra"), Structure(150, "canal"))
    return RealSet("lumbar spine", names, tuple(cases))


def discs(data: Path) -> RealSet:
    """All but the three empty ones and the two that have only one structure."""
    folder, cases = data / "spine-sagittal-discs-npy", []
    for path in sorted((folder / "masks").glob("*.npy"), key=lambda path: int(path.stem)):
        labels = np.load(path)
        if len(np.unique(labels)) == 3:
            voxels = cv2.imread(str(folder / "images" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
            cases.append(labelled(f"slice {path.stem}", f"person {path.stem}", voxels[None], labels[None]))
    return RealSet("discs", (Structure(1, "disc"), Structure(2, "vertebra")), tuple(cases))


def cord(data: Path) -> RealSet:
    """The grey matter is split at the cord's middle into a left and a right one: a pair to exchange."""
    folder, cases = data / "cord-gm-t2star-bids", []
    for path in sorted(folder.glob("sub-*/anat/*_run-1_T2starw.nii.gz")):
        name = path.parents[1].name
        voxels, affine = nifti(path)
        masks = folder / "derivatives" / "labels" / name / "anat"
        inside, grey = (nifti(next(masks.glob(f"*_{kind}-manual.nii.gz")))[0] > 0 for kind in ("seg", "gmseg"))
        labels = inside.astype(np.uint8)
        columns = np.arange(labels.shape[2])
        for index in np.flatnonzero(grey.any(axis=(1, 2))):
            drawn = (inside[index] | grey[index]).sum(axis=0)
            left = (columns - (drawn * columns).sum() / drawn.sum()) * affine[0, 2] > 0
            labels[index] = np.where(grey[index], np.where(left, 2, 3)[None], labels[index])
        cases.append(labelled(name, name.split("Ses")[0], voxels, labels, affine))
    names = (
        Structure(1, "cord", includes=(2, 3)),
        Structure(2, "grey matter left"),
        Structure(3, "grey matter right"),
    )
    return RealSet("cord", names, tuple(cases))


MUSCLES = tuple(
    Structure(label, f"{name} {side}")
    for label, name, side in (
        (1, "erector spinae", "right"),
        (2, "multifidus", "right"),
        (3, "multifidus", "left"),
        (4, "erector spinae", "left"),
    )
)


def muscles(data: Path) -> RealSet:
    """One subject's fat and water image, called two here, since nothing else of it is known to repeat."""
    folder, cases = data / "lumbar-muscle-myosegmentum", []
    for kind in ("fat", "water"):
        voxels, affine = nifti(next((folder / "images").glob(f"TUM01_{kind}_*")))
        labels = nifti(next((folder / "labels").glob(f"TUM01_{kind}_*")))[0].astype(np.uint8)
        cases.append(labelled(f"TUM01_{kind}", f"TUM01_{kind}", voxels, labels, affine))
    return RealSet("muscles", MUSCLES, tuple(cases))


def muscle_slices(data: Path) -> RealSet:
    """The slices of the water image as pictures without geometry: sides are told by the other slices."""
    _, volume = muscles(data).cases
    cases = [
        labelled(f"slice {index:02d}", "TUM01", volume.image.voxels[[index]], volume.voxels[[index]])
        for index in range(0, len(volume.voxels), 2)
    ]
    return RealSet("muscle slices", MUSCLES, tuple(cases))


def lesions(data: Path) -> RealSet:
    """Glioma on single slices of 25 patients: FLAIR, and only what shows some."""
    cases = []
    for path in sorted(data.glob("brain-lgg-*/**/*_mask.tif")):
        drawn = tifffile.imread(path) > 0
        if drawn.any():
            grey = tifffile.imread(path.with_name(path.name.replace("_mask", "")))[..., 1]
            cases.append(labelled(path.stem, path.parent.name, grey[None], drawn[None].astype(np.uint8)))
    return RealSet("glioma", (Structure(1, "glioma"),), tuple(cases))


CONTRASTS = {
    "t1/t1w": "t1/t1w_seg-manual",
    "t2/t2": "t2/t2_seg-manual",
    "t2s/t2s": "t2s/t2s_seg",
    "mt/mt1": "mt/mt1_seg",
}


def thin_cord(data: Path, *, sagittal: bool = False) -> RealSet:
    """The cord on four contrasts of one person, called four, cut across or along."""
    cases = []
    for image, mask in CONTRASTS.items():
        grids = [
            nibabel.as_closest_canonical(nibabel.load(data / "cord-sct-testing" / f"{name}.nii.gz"))
            for name in (image, mask)
        ]
        axes = (0, 2, 1) if sagittal else (2, 1, 0)
        voxels, labels = (np.asarray(grid.dataobj).transpose(axes) for grid in grids)
        cases.append(labelled(image, image, voxels, (labels > 0.5).astype(np.uint8)))
    return RealSet(f"cord {'along' if sagittal else 'across'}", (Structure(1, "cord"),), tuple(cases))


def cord_along(data: Path) -> RealSet:
    return thin_cord(data, sagittal=True)


def body(data: Path) -> RealSet:
    """A CT and an MR, with 23 and 41 structures."""
    folder, cases, values = data / "ct-mr-totalsegmentator-dicom", [], set()
    for image, mask in (("example_ct_sm", "example_seg"), ("example_mr_sm", "example_seg_mr")):
        (voxels, affine), (labels, _) = (nifti(folder / f"{name}.nii.gz") for name in (image, mask))
        if voxels.shape == labels.shape:
            cases.append(labelled(image, image, voxels, labels.astype(np.int32), affine))
            values |= set(np.unique(labels).tolist()) - {0}
    return RealSet("body", tuple(Structure(int(v), f"organ {int(v)}") for v in sorted(values)), tuple(cases))


SETS = (hippocampus, cardiac, lumbar, discs, cord, muscles, muscle_slices)
PLACED = (*SETS, lesions, thin_cord, cord_along, body)

# --- the faults: each gives the faulty case (and, of two, the second), or None where it cannot be

Random = np.random.Generator
Fault = Callable[[LabelledImage, RealSet, Random], "LabelledImage | list[LabelledImage] | None"]
FAULTS: dict[str, tuple[set[str], Fault]] = {}


def fault(name: str, *kinds: str) -> Callable[[Fault], Fault]:
    def register(function: Fault) -> Fault:
        FAULTS[name] = set(kinds), function
        return function

    return register


def with_labels(case: LabelledImage, voxels: np.ndarray) -> LabelledImage:
    return replace(case, voxels=np.ascontiguousarray(voxels))


def with_image(case: LabelledImage, **changes) -> LabelledImage:
    return replace(case, image=replace(case.image, **changes))


def present(case: LabelledImage) -> list[int]:
    return [value for value in np.unique(case.voxels).tolist() if value]


@fault("value without a name", "values")
def unnamed(case, real, random):
    renamed = int(random.choice(present(case)))
    slices = np.flatnonzero((case.voxels == renamed).any(axis=(1, 2)))
    voxels = case.voxels.copy()
    part = voxels[slices[: 1 + len(slices) // 4]]
    voxels[slices[: 1 + len(slices) // 4]] = np.where(part == renamed, 200, part)
    return with_labels(case, voxels)


def resized(one: np.ndarray, share: float, how: int) -> np.ndarray:
    rows, columns = one.shape
    return cv2.resize(one, (max(2, int(columns * share)), max(2, int(rows * share))), interpolation=how)


@fault("resized with interpolation", "rims")
def interpolated(case, real, random):
    if max(present(case)) < 2 or any(structure.includes for structure in real.structures):
        return None  # between 0 and 1 there is nothing; a rim of what includes another is no fault
    share = random.uniform(0.6, 0.85)
    slices = []
    for one in case.voxels:
        small = resized(one.astype(np.float32), share, cv2.INTER_LINEAR)
        slices.append(cv2.resize(small, one.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return with_labels(case, np.rint(slices).astype(np.uint8))


@fault("saved as JPEG", "rims", "values")
def jpeg(case, real, random):
    if max(present(case)) < 20:
        return None
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(60, 95))]
    files = [cv2.imencode(".jpg", one.astype(np.uint8), quality)[1] for one in case.voxels]
    return with_labels(case, np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files]))


@fault("stray pixels of a rare structure", "rare")
def stray(case, real, random):
    if max(present(case)) > 4:
        return None
    voxels = case.voxels.copy()
    rows, columns = (int(random.integers(2, length - 3)) for length in voxels.shape[1:])
    voxels[len(voxels) // 2, rows, columns : columns + 2] = 9
    return with_labels(case, voxels)


@fault("nothing drawn", "empty")
def emptied(case, real, random):
    return with_labels(case, np.zeros_like(case.voxels))


@fault("drawn where the image is blank", "blank")
def blank(case, real, random):
    drawn = np.flatnonzero(case.voxels.any(axis=(1, 2)))
    voxels = case.image.voxels.astype(np.float32)
    gone = drawn[: 1 + len(drawn) // 3]
    noise = random.normal(0, 0.005 * np.ptp(voxels), voxels[gone].shape)
    voxels[gone] = (voxels.min() + np.abs(noise)).astype(np.float32) if len(voxels) > 1 else voxels.min()
    return with_image(case, voxels=voxels)


@fault("another shape", "shape")
def reshaped(case, real, random):
    if random.random() < 0.5:
        return with_labels(case, case.voxels[:, : -int(random.integers(1, 8))])
    return with_labels(case, np.stack([resized(one, 0.5, cv2.INTER_NEAREST) for one in case.voxels]))


@fault("rows and columns exchanged, not square", "shape")
def exchanged(case, real, random):
    rows, columns = case.voxels.shape[1:]
    return None if rows == columns else with_labels(case, case.voxels.swapaxes(1, 2))


@fault("another spacing", "grid")
def respaced(case, real, random):
    if case.label_affine is None:
        return None
    scale = np.ones(4)
    scale[int(random.integers(3))] = random.choice([0.5, 0.98, 1.1, 2.0])
    return replace(case, label_affine=case.label_affine * scale)


@fault("another orientation", "grid")
def reoriented(case, real, random):
    if case.label_affine is None:
        return None
    signs = np.ones(4)
    signs[int(random.integers(3))] = -1
    return replace(case, label_affine=case.label_affine * signs)


def turned_by(case: LabelledImage, symmetries: tuple[str, ...], random: Random) -> LabelledImage | None:
    """Turn the labels where that moves them: a disc in the middle stays one whichever way it is turned."""
    rows, columns = case.voxels.shape[1:]
    possible = [
        name for name in symmetries if rows == columns or name in ("rotate_180", "mirror_rows", "mirror_columns")
    ]
    other = turn_slices(case.voxels, str(random.choice(possible))) if possible else case.voxels
    same = np.count_nonzero((other == case.voxels) & (other > 0)) / np.count_nonzero(case.voxels)
    return with_labels(case, other) if same < 0.6 else None


@fault("turned", "turned")
def turned(case, real, random):
    return turned_by(case, ("rotate_90", "rotate_180", "rotate_270", "transpose", "transpose_180"), random)


@fault("mirrored", "turned", "sides")
def mirrored(case, real, random):
    return turned_by(case, ("mirror_rows", "mirror_columns"), random)


@fault("moved", "shifted")
def moved(case, real, random):
    length = max(6.0, random.uniform(0.04, 0.1) * min(case.voxels.shape[1:]))
    angle = random.uniform(0, 2 * np.pi)
    step = round(length * np.sin(angle)), round(length * np.cos(angle))
    return with_labels(case, shift_slices(case.voxels, step))


@fault("slices in the opposite order", "order", "blank")
def reversed_order(case, real, random):
    return with_labels(case, case.voxels[::-1]) if len(case.voxels) > 1 else None


@fault("labels of another case", "unrelated", "shifted", "turned", "order", "blank")
def foreign(case, real, random):
    others = [c for c in real.cases if c.case.subject_id != case.case.subject_id]
    other = others[int(random.integers(len(others)))].voxels if others else case.voxels
    if np.array_equal(other, case.voxels):
        return None
    voxels = np.zeros(case.voxels.shape, np.uint8)
    common = tuple(slice(0, min(a, b)) for a, b in zip(voxels.shape, other.shape, strict=True))
    voxels[common] = other[common]
    both = (voxels > 0) & (case.voxels > 0)
    # Where two persons are alike, another's labels are nearly right.
    overlap = 2 * both.sum() / ((voxels > 0).sum() + (case.voxels > 0).sum())
    return with_labels(case, voxels) if voxels.any() and overlap < 0.4 else None


@fault(SIDES, "sides")
def sides_swapped(case, real, random):
    pairs = side_pairs(real.structures)
    return (
        with_labels(case, renamed(case.voxels, {a: b for p in pairs for a, b in (p, p[::-1])})) if pairs else None
    )


def renamed(voxels: np.ndarray, mapping: dict[int, int]) -> np.ndarray:
    result = voxels.copy()
    for old, new in mapping.items():
        result[voxels == old] = new
    return result


@fault("structures with each other's numbers", "permuted", "sides")
def permuted(case, real, random):
    values = present(case)
    if len(values) < 2:
        return None
    one, two = random.choice(values, 2, replace=False).tolist()
    return with_labels(case, renamed(case.voxels, {one: two, two: one}))


@fault("mask inside out", "inverted")
def inverted(case, real, random):
    """Of several structures one takes the background's place."""
    return with_labels(case, renamed(case.voxels, {0: (value := int(random.choice(present(case)))), value: 0}))


def places_of(case: LabelledImage, real: RealSet, value: int) -> list[list[LabelledImage]]:
    """Give the single slices of a subject that show a structure, those of one place together, in order."""
    peers = [c for c in real.cases if c.case.subject_id == case.case.subject_id and len(c.voxels) == 1]
    peers = [c for c in peers if (c.voxels == value).any()]
    if any(c.image.affine is None for c in peers):
        return [[c] for c in peers]
    places = defaultdict(list)
    for peer in peers:
        affine = peer.image.affine
        normal = np.cross(affine[:3, 2], affine[:3, 1])
        places[round(float(normal @ affine[:3, 3] / np.linalg.norm(normal)), 1)].append(peer)
    return [places[place] for place in sorted(places)]


@fault("undrawn on a few slices of a patient", "gap", "empty")
def undrawn(case, real, random):
    value = int(random.choice(present(case)))
    places = places_of(case, real, value)
    if len(places) < 5:
        return None
    first = int(random.integers(1, len(places) - 2))
    chosen = [peer for place in places[first : first + int(random.integers(1, 3))] for peer in place]
    return [with_labels(peer, np.where(peer.voxels == value, 0, peer.voxels)) for peer in chosen]


@fault("only every third slice drawn", "gap")
def every_third(case, real, random):
    drawn = np.flatnonzero(case.voxels.any(axis=(1, 2)))
    if len(drawn) < 9:
        return None
    voxels = np.zeros_like(case.voxels)
    voxels[drawn[::3]] = case.voxels[drawn[::3]]
    return with_labels(case, voxels)


@fault("missing in the middle", "gap", "empty")
def missing(case, real, random):
    value = int(random.choice(present(case)))
    drawn = np.flatnonzero((case.voxels == value).any(axis=(1, 2)))
    if len(drawn) < 5:
        return None
    voxels = case.voxels.copy()
    first = len(drawn) // 2 - int(random.integers(0, 2))
    chosen = drawn[first : first + int(random.integers(1, 4))]
    voxels[chosen] = np.where(voxels[chosen] == value, 0, voxels[chosen])
    return with_labels(case, voxels)


@fault("far too large or too small", "area")
def resized_structure(case, real, random):
    value = int(random.choice(present(case)))
    mask = case.voxels == value
    wanted = mask.sum() * (5.0 if random.random() < 0.5 else 0.15)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    change = cv2.dilate if wanted > mask.sum() else cv2.erode
    previous = mask
    while (mask.sum() < wanted) == (wanted > (case.voxels == value).sum()) and mask.any() and not mask.all():
        previous, mask = mask, np.stack([change(one.astype(np.uint8), kernel) for one in mask]) > 0
    mask = mask if mask.any() else previous
    voxels = np.where(case.voxels == value, 0, case.voxels)
    return with_labels(case, np.where(mask, value, voxels).astype(case.voxels.dtype))


@fault("one structure beside its place", "apart", "position", "shifted")
def displaced(case, real, random):
    values = present(case)
    if len(values) < 2:
        return None
    value = int(random.choice(values))
    mask = case.voxels == value
    size = np.sqrt(mask.sum() / mask.any(axis=(1, 2)).sum())
    angle = random.uniform(0, 2 * np.pi)
    step = round(1.5 * size * np.sin(angle)), round(1.5 * size * np.cos(angle))
    voxels = np.where(mask, 0, case.voxels)
    moved = shift_slices(mask.astype(np.uint8), step) > 0
    return with_labels(case, np.where(moved, value, voxels).astype(np.uint8)) if moved.any() else None


def copied(case: LabelledImage, image: Image) -> LabelledImage:
    return replace(case, case=replace(case.case, case_id="copy", subject_id="somebody else"), image=image)


@fault("the same image under another subject", "twins")
def duplicate(case, real, random):
    return [case, copied(case, case.image)]


@fault("nearly the same image under another subject", "twins")
def resaved(case, real, random):
    voxels = case.image.voxels.astype(np.float32)
    low, high = np.percentile(voxels, (0.5, 99.8))
    eight_bit = np.clip((voxels - low) / (high - low), 0, 1) * 255 + random.normal(0, 2, voxels.shape)
    return [case, copied(case, replace(case.image, voxels=np.clip(eight_bit, 0, 255).astype(np.uint8)))]


@fault("one subject under two names", "subjects")
def two_names(case, real, random):
    others = [c for c in real.cases if c.case.case_id != case.case.case_id]
    other = next((c for c in others if c.case.subject_id == case.case.subject_id), others[0])
    forms = [
        ("sub-07ses1", "sub-07ses2"),
        ("P-0012", "p12"),
        ("leg 3 visit 1", "leg 3 visit 2"),
        ("A_7_pre", "A_7_post"),
    ]
    names = forms[int(random.integers(len(forms)))]
    return [
        replace(one, case=replace(one.case, subject_id=name))
        for one, name in zip((case, other), names, strict=True)
    ]


@fault("pixels of another size", "spacing")
def other_spacing(case, real, random):
    if case.image.affine is None:
        return None
    affine = case.image.affine * np.array([1, 1, 1, 1.0])
    affine[:3, 1:3] *= random.choice([0.3, 3.0])
    return replace(with_image(case, affine=affine), label_affine=affine)


@fault("another range of intensities", "range")
def other_range(case, real, random):
    factor = float(random.choice([1 / 500, 40, 1000]))
    return with_image(case, voxels=(case.image.voxels * factor).astype(np.float32))


@fault("pixels that are no number", "broken")
def not_finite(case, real, random):
    voxels = case.image.voxels.astype(np.float32)
    voxels[tuple(int(random.integers(length)) for length in voxels.shape)] = random.choice(
        [np.nan, np.inf, -np.inf]
    )
    return with_image(case, voxels=voxels)


# --- the count

KINDS = set().union(*(kinds for kinds, _ in FAULTS.values()))


def alarms(findings: list[Finding] | tuple[Finding, ...]) -> set[tuple[str, str]]:
    """Give the kinds of faults by case."""
    serious = [f for f in findings if f.severity != "note" and f.kind in KINDS]
    return {(case_id, finding.kind) for finding in serious for case_id in finding.cases}


def check(real: RealSet, clean: dict[str, Facts], faulty: list[LabelledImage]) -> list[Finding]:
    """Check the cohort with some cases in place of their clean selves."""
    findings: list[Finding] = []
    facts = dict(clean)
    structures = real.structures
    for case in faulty:
        facts.pop(case.case.case_id, None)
        findings += check_grid(case)
        if case.voxels.shape == case.image.shape:
            facts[case.case.case_id] = gather_facts(case)
            if case.voxels.max() == 9:
                structures = (*real.structures, Structure(9, "rare structure"))
    return [*findings, *check_facts(list(facts.values()), structures)]


def wrong_repairs(findings: list[Finding], right: list[LabelledImage], faulty: list[LabelledImage]) -> list[str]:
    """Give the repairs that a click would keep and that do not give the right labels."""
    truth = {case.case.case_id: case.voxels for case in right}
    now = {**truth, **{case.case.case_id: case.voxels for case in faulty}}
    wrong = []
    for finding in findings:
        for case_id in {repair.case_id for repair in finding.repairs}:
            mine = [repair for repair in finding.repairs if repair.case_id == case_id]
            wanted = truth.get(case_id, now[case_id])
            mended = apply_repairs(now[case_id], mine)
            near = range(-BESIDE, BESIDE + 1) if finding.kind == "shifted" else (0,)
            if max(alike(shift_slices(mended, (i, j)), wanted) for i in near for j in near) < MENDED:
                wrong.append(f"{finding.kind} on {case_id}: {mine[0].words}")
    return wrong


def alike(one: np.ndarray, two: np.ndarray) -> float:
    """Give the Dice of all labelled pixels, those of another label counted as different."""
    if one.shape != two.shape:
        return 0.0
    return 2 * np.count_nonzero((one == two) & (two > 0)) / max(np.count_nonzero(one) + np.count_nonzero(two), 1)


def halves(real: RealSet, tuning: bool) -> list[LabelledImage]:
    """Give the cases of every other subject; of one subject every other case."""
    subjects = sorted({case.case.subject_id for case in real.cases})
    if len(subjects) == 1:
        return [case for number, case in enumerate(real.cases) if number % 2 != tuning]
    return [case for case in real.cases if subjects.index(case.case.subject_id) % 2 != tuning]


@dataclass
class Count:
    """What was counted of one kind of fault."""

    injected: int = 0
    found: int = 0
    others: int = 0
    wrong: int = 0


def measure(
    real: RealSet, *, cases: int, seed: int, tuning: bool = False
) -> tuple[dict[str, Count], int, int, list[str]]:
    """Count faults injected and found, clean cases and false alarms among them; and say what went wrong."""
    clean = {case.case.case_id: gather_facts(case) for case in real.cases}
    known = {kind for name, kind in KNOWN if name == real.name}
    found = check(real, clean, [])
    usual, offered = alarms(found), wrong_repairs(found, list(real.cases), [])
    chosen = halves(real, tuning)
    said, counts = [f"{real.name}: wrong repair on clean cases: {words}" for words in offered], defaultdict(Count)
    counts["clean cases"].wrong = len(offered)
    false = {(case.case.case_id, kind) for case in chosen for name, kind in usual if name == case.case.case_id}
    false = {alarm for alarm in false if alarm[1] not in known}
    said += [f"{real.name}: false alarm {kind!r} on the clean {name}" for name, kind in sorted(false)]
    for number, (name, (kinds, function)) in enumerate(FAULTS.items()):
        if kinds & known or (kinds & NEEDS_OTHERS and len(real.cases) < 5):
            continue
        random = np.random.default_rng([seed, number])
        done = 0
        for place in random.permutation(len(chosen)).tolist():
            made = function(chosen[place], real, random) if done < cases else None
            if made is None:
                continue
            done += 1
            faulty = made if isinstance(made, list) else [made]
            findings = check(real, clean, faulty)
            found = alarms(findings)
            wrong = [words for words in wrong_repairs(findings, list(real.cases), faulty) if words not in offered]
            counts[name].wrong += len(wrong)
            said += [f"{real.name}: {name}: wrong repair of {words}" for words in wrong]
            touched = {case.case.case_id for case in faulty}
            hit = {kind for case_id, kind in found if case_id in touched} & kinds
            new = hit - {kind for case_id, kind in usual if case_id in touched}
            counts[name].injected += 1
            counts[name].found += bool(new)
            own = {c.case.subject_id for c in real.cases if c.case.case_id in touched}
            aside = {c.case.case_id for c in real.cases if c.case.subject_id in own} | touched
            others = {alarm for alarm in found - usual if alarm[0] not in aside and alarm[1] not in known}
            counts[name].others += bool(others)
            if not new or others:
                seen = sorted({kind for case_id, kind in found - usual if case_id in touched})
                said.append(
                    f"{real.name}: {name} in {sorted(touched)}: {seen or 'nothing found'}; "
                    f"others {sorted(others)[:3]}"
                )
    return counts, len(chosen), len({case_id for case_id, _ in false}), said


def report(results: dict[str, Count], clean: int, false: int) -> Iterator[str]:
    yield f"{'fault':44}{'injected':>9}{'found':>7}{'false alarms on others':>24}{'wrong repairs':>15}"
    for name, count in results.items():
        yield f"{name:44}{count.injected:9}{count.found:7}{count.others:24}{count.wrong:15}"
    injected, found = (sum(getattr(count, what) for count in results.values()) for what in ("injected", "found"))
    yield f"{'all':44}{injected:9}{found:7}   {found / max(injected, 1):.1%} found"
    yield f"{clean} clean cases, {false} with a false alarm ({40 * false / max(clean, 1):.2f} in 40)"
    yield f"{sum(count.wrong for count in results.values())} wrong repairs proposed"


def passes(results: dict[str, Count], clean: int, false: int) -> bool:
    injected, found = (sum(getattr(count, what) for count in results.values()) for what in ("injected", "found"))
    sides = results.get(SIDES, Count())
    wrong = sum(count.wrong for count in results.values())
    return (
        found >= LEAST_FOUND * injected
        and sides.found == sides.injected
        and false <= MOST_FALSE * clean
        and not wrong
    )


# --- faults of files: written, found and read as a user's folder is

FileFault = Callable[[Path, Path], str]
FILE_FAULTS: dict[str, tuple[Callable[[Path, Path], None], FileFault]] = {}


def file_fault(name: str, clean: Callable[[Path, Path], None]) -> Callable[[FileFault], FileFault]:
    """Register what spoils a clean folder (made by `clean`) and gives the name that must be told."""

    def register(function: FileFault) -> FileFault:
        FILE_FAULTS[name] = clean, function
        return function

    return register


def hippocampus_labels(data: Path) -> list[Path]:
    found = sorted((data / "hippocampus-msd" / "labels").glob("*.nii.gz"))
    return [path for path in found if (data / "hippocampus-msd" / "images" / path.name).exists()]


def nifti_folder(data: Path, folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
        for path in hippocampus_labels(data)[:6]:
            shutil.copy(data / "hippocampus-msd" / kind / path.name, folder / kind / path.name)


def picture_folder(data: Path, folder: Path, values: tuple[int, int] = (1, 2), palette: bool = True) -> None:
    colours = [0, 0, 0, 230, 159, 0, 86, 180, 233]
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for case in discs(data).cases[:8]:
        number = case.case.case_id.split()[-1]
        cv2.imwrite(str(folder / "images" / f"p{number}.png"), case.image.voxels[0])
        drawn = np.select([case.voxels[0] == 1, case.voxels[0] == 2], values, 0).astype(np.uint8)
        picture = PillowImage.fromarray(drawn, "P" if palette else "L")
        if palette:
            picture.putpalette(colours)
        picture.save(folder / "labels" / f"p{number}.png")


def mask_folder(data: Path, folder: Path) -> None:
    picture_folder(data, folder, (0, 1), palette=False)


def dicom_folder(data: Path, folder: Path) -> None:
    source = data / "cardiac-sunnybrook-dicom"
    for kind in ("dicoms", "labels"):
        (folder / kind).mkdir()
    for labels in sorted(source.glob("labels_npy/*/*.npy"))[::3]:
        name = f"{labels.parent.name}_{labels.stem}"
        shutil.copy(
            source / "dicoms" / labels.parent.name / f"{labels.stem}.dcm", folder / "dicoms" / f"{name}.dcm"
        )
        shutil.copy(labels, folder / "labels" / f"{name}.npy")


def structure_folder(data: Path, folder: Path) -> None:
    """NIfTI with a file for each of two structures."""
    for path in hippocampus_labels(data)[:5]:
        name = path.name[: -len(".nii.gz")]
        shutil.copy(data / "hippocampus-msd" / "images" / path.name, folder / path.name)
        labels = nibabel.load(path)
        for value, structure in ((1, "anterior_part_seg"), (2, "posterior_part_seg")):
            mask = (np.asarray(labels.dataobj) == value).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(mask, labels.affine), folder / f"{name}_{structure}.nii.gz")


@file_fault("sform and qform of other sizes", nifti_folder)
def forms_disagree(data, folder):
    path = sorted((folder / "images").iterdir())[2]
    image = nibabel.load(path)
    affine = image.affine @ np.diag([2.0, 2.0, 1.0, 1.0])
    spoilt = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    spoilt.set_sform(affine, 1)
    spoilt.set_qform(image.affine, 1)
    nibabel.save(spoilt, path)
    return path.name.partition(".")[0]


@file_fault("indices of a palette exchanged", picture_folder)
def palette_exchanged(data, folder):
    path = sorted((folder / "labels").iterdir())[2]
    picture = PillowImage.open(path)
    colours, indices = picture.getpalette()[:9], np.array(picture)
    other = PillowImage.fromarray(np.choose(indices, [0, 2, 1]).astype(np.uint8), "P")
    other.putpalette(colours[:3] + colours[6:9] + colours[3:6])
    other.save(path)
    return path.stem


@file_fault("1 in some files and 255 in others", mask_folder)
def one_and_255(data, folder):
    for path in sorted((folder / "labels").iterdir())[::2]:
        PillowImage.fromarray(np.array(PillowImage.open(path)) * np.uint8(255)).save(path)
    return "255"


@file_fault("a mask inside out among files", mask_folder)
def file_inverted(data, folder):
    path = sorted((folder / "labels").iterdir())[2]
    PillowImage.fromarray(1 - np.array(PillowImage.open(path))).save(path)
    return path.stem


@file_fault("the same pixels under new names and UIDs", dicom_folder)
def renamed_copy(data, folder):
    path = sorted((folder / "dicoms").iterdir())[2]
    header = pydicom.dcmread(path)
    header.PatientID = "SOMEBODY"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(header, keyword, pydicom.uid.generate_uid())
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.save_as(folder / "dicoms" / "somebody.dcm")
    shutil.copy(folder / "labels" / f"{path.stem}.npy", folder / "labels" / "somebody.npy")
    return "somebody"


@file_fault("names that look alike", structure_folder)
def names_alike(data, folder):
    path = sorted(folder.glob("*_anterior_part_seg.nii.gz"))[1]
    path.rename(path.with_name(path.name.replace("anterior_part", "Anterior-Part")))
    return "nterior"


def told_of(folder: Path) -> set[str]:
    """Give whatever a user is told of a folder: findings, notes, or why it is refused."""
    try:
        found = find_cases(folder)
        notes = set(found.notes)
        return notes | {f"{f.severity}: {f.problem}" for f in check_cases(found) if f.severity != "note"}
    except AutosegError as error:
        return {f"refused: {error}"}


def measure_files(data: Path) -> tuple[int, int]:
    """Print what is told of each fault of files; give how many there are and how many are told."""
    told = 0
    for name, (clean, spoil) in FILE_FAULTS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            clean(data, folder)
            before = told_of(folder)
            wanted = spoil(data, folder)
            new = [words for words in told_of(folder) - before if wanted in words]
            told += bool(new)
            print(f"{name:44}{'told' if new else 'NOT TOLD':>9}  {min(new, default='')[:160]}")
    return len(FILE_FAULTS), told


# --- labels beside their image, by itself

MARGINS = (2, 6, 12, 25)
MOVES = 6


def cropped(case: LabelledImage, margin: int) -> LabelledImage | None:
    """Cut slices to what was drawn on any of them, and so many pixels around."""
    drawn = case.voxels.any(axis=0)
    box = []
    for axis, length in ((1, drawn.shape[0]), (0, drawn.shape[1])):
        there = np.flatnonzero(drawn.any(axis=axis))
        box.append(slice(max(0, there[0] - margin), min(length, there[-1] + margin + 1)))
    labels = case.voxels[:, box[0], box[1]]
    if min(labels.shape[1:]) < 16:
        return None
    image = replace(case.image, voxels=np.ascontiguousarray(case.image.voxels[..., box[0], box[1]]))
    return replace(case, image=image, voxels=np.ascontiguousarray(labels))


def misplaced(facts: list[Facts], structures: tuple[Structure, ...]) -> list[Finding]:
    return [f for f in check_placement(Cohort(tuple(facts), structures)) if f.kind in ("shifted", "turned")]


def measure_placement(real: RealSet, margin: int | None, seed: int) -> tuple[int, int, int, int, int]:
    """Give cases, false alarms, labels moved on purpose, those of them found, and wrong repairs."""
    random = np.random.default_rng([seed, margin or 0])
    cases = [case for case in real.cases if case.voxels.any()]
    if margin is not None:
        cases = [cut for case in cases if (cut := cropped(case, margin)) is not None]
    facts = {case.case.case_id: gather_facts(case) for case in cases}
    findings = misplaced(list(facts.values()), real.structures)
    false = {case_id for finding in findings for case_id in finding.cases}
    injected = found = wrong = 0
    for place in random.permutation(len(cases)).tolist():
        case = cases[place]
        shifted = moved(case, real, random)
        if injected == MOVES or np.count_nonzero(shifted.voxels) < 0.95 * np.count_nonzero(case.voxels):
            continue
        injected += 1
        others = [fact for name, fact in facts.items() if name != case.case.case_id]
        told = [f for f in misplaced([*others, gather_facts(shifted)], real.structures)]
        mine = [f for f in told if case.case.case_id in f.cases]
        found += bool(mine)
        wrong += len(wrong_repairs(mine, [case], [shifted]))
    return len(cases), len(false), injected, found, wrong


def placement(data: Path, seed: int) -> int:
    """Print the table of the placement check; 1 where it has too many false alarms or proposes a wrong repair."""
    print(f"{'set':16}{'cut to':>10}{'cases':>7}{'false alarms':>14}{'moved':>7}{'found':>7}{'wrong repairs':>15}")
    totals = np.zeros(5, int)
    for make in PLACED:
        real = make(data)
        for margin in (None, *MARGINS):
            row = measure_placement(real, margin, seed)
            totals += row
            where = "whole" if margin is None else f"+{margin} px"
            print(f"{real.name:16}{where:>10}{row[0]:7}{row[1]:14}{row[2]:7}{row[3]:7}{row[4]:15}", flush=True)
    print(f"{'all':26}{totals[0]:7}{totals[1]:14}{totals[2]:7}{totals[3]:7}{totals[4]:15}")
    print(f"{totals[1] / totals[0]:.2%} false alarms, {totals[3] / max(totals[2], 1):.1%} of moved labels found")
    return int(totals[1] > MOST_MISPLACED * totals[0] or totals[4] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cases", type=int, default=4, help="cases of each set that get a fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--placement", action="store_true", help="measure the check of labels beside their image")
    parser.add_argument("--files", action="store_true", help="only the faults of files")
    parser.add_argument("--tuning", action="store_true", help="use the subjects on which thresholds were chosen")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        print(f"The real sets are not here ({chosen.data}); say where with --data.")
        return 2
    if chosen.placement:
        return placement(chosen.data, chosen.seed)
    if chosen.files:
        return int(len(set(measure_files(chosen.data))) > 1)
    totals: dict[str, Count] = {name: Count() for name in ("clean cases", *FAULTS)}
    clean, false, start = Counter(), Counter(), time.perf_counter()
    for make in SETS:
        real = make(chosen.data)
        counts, clean[real.name], false[real.name], said = measure(
            real, cases=chosen.cases, seed=chosen.seed, tuning=chosen.tuning
        )
        for name, count in counts.items():
            totals[name].injected += count.injected
            totals[name].found += count.found
            totals[name].others += count.others
            totals[name].wrong += count.wrong
        print(*said, sep="\n")
        print(
            f"-- {real.name}: {clean[real.name]} of {len(real.cases)} cases, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print(*report(totals, clean.total(), false.total()), sep="\n")
    files, told = measure_files(chosen.data)
    print(f"{told} of {files} faults of files are told")
    return 0 if passes(totals, clean.total(), false.total()) and told == files else 1


if __name__ == "__main__":
    sys.exit(main())
