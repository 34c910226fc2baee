"""What light models give to images of their own kind that they never saw, and to all others.

    python benchmarks/suitability.py [--folds /tmp/folds] [--data ../shared/data] [--only hearts] [--all-folds]

Every folder NAME in `--folds` holds a cross-validation (`NAME_folds/fold_1` …) with its models, and its data lie
in `--cases/d_NAME`. A model gets its profile from its own training and validation patients; the test patients are
those that it never saw. They are shown as they are, and changed: pixels of another size, greys inverted, upside
down, turned, noise, another plane, phantoms. All other sets of `--data` are shown as they are. Stacks are cut to
ten slices in their middle. An image that the model refuses (no millimetres, other channels, too few slices) never
gets a number, and is counted apart.

"own" counts images of patients that are not green for another reason than the model's own poor validation, which is
a property of a model that learnt for a minute. The bars: own not green at most 5 %, others amber or red at least
95 %, other anatomy red at least 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from autoseg.data.cases import find_cases, read_case
from autoseg.data.patients import read_patient
from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.model.model import TrainedModel, load_model
from autoseg.model.trust import Light
from autoseg.prediction import predict_and_look
from autoseg.prediction.suitability import compare_image
from autoseg.training.trust import examine_cases, learn_profile, learn_trust

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SLICES, CHANGED = 10, 4
# What each set shows: of another anatomy are those whose word is another one.
ANATOMY = {
    "hearts": "heart",
    "hippo": "hippocampus",
    "spider": "lumbar spine",
    "discs": "lumbar spine",
    "cord": "neck",
    "muscle": "lumbar muscle",
}


@dataclass(frozen=True)
class Shown:
    """An image, the set or change that it comes from, and what it shows."""

    kind: str
    anatomy: str
    image: Image


def other_sets(data: Path) -> Iterator[Shown]:
    """Read some images of every set."""
    cardiac, total = data / "cardiac-sunnybrook-dicom/dicoms", data / "ct-mr-totalsegmentator-dicom"
    sct, zoo = data / "cord-sct-testing", data / "dicom-zoo"
    for patient in sorted(cardiac.iterdir()):
        yield from patient_images("hearts", "heart", patient, most=2)
    yield from patient_images("hippo", "hippocampus", data / "hippocampus-msd/images", most=12)
    yield from patient_images("hippo", "hippocampus", data / "hippocampus-msd/dicom-crop")
    yield from patient_images("spider", "lumbar spine", data / "lumbar-spider-sagittal-png/images", every=5)
    yield from patient_images("discs", "lumbar spine", data / "spine-sagittal-discs-npy/images", every=2)
    for path in sorted((data / "cord-gm-t2star-bids").glob("sub-*/anat/*run-1*.nii.gz")):
        yield from patient_images("cord", "neck", path)
    yield from patient_images("cord crops", "neck, cropped", sct / "t2s/t2s_uncropped.nii.gz")
    for name in ("dmri/dwi_mean", "mt/mt0", "mt/mt1", "mt/t1w", "t1/t1w", "t2/t2", "t2s/t2s"):
        yield from patient_images("cord crops", "neck, cropped", sct / f"{name}.nii.gz")
    yield from patient_images("muscle", "lumbar muscle", data / "lumbar-muscle-myosegmentum/images")
    yield from patient_images("body CT", "body", total / "ct_dicom")
    for name in ("example_ct", "example_ct_sm", "example_mr_sm"):
        yield from patient_images("body", "body", total / f"{name}.nii.gz")
    for folder in sorted(path for path in zoo.iterdir() if path.is_dir()):
        if folder.name not in ("dicomdir", "same-slice-nine-syntaxes", "one-ct-slice-14-syntaxes"):
            yield from patient_images("zoo", "heads, phantoms, noise", folder, most=5)


def patient_images(
    kind: str, anatomy: str, folder: Path, *, every: int = 1, most: int | None = None
) -> list[Shown]:
    """Read the images of a patient's folder, as a prediction reads them."""
    try:
        images, _, _ = read_patient(folder)
    except AutosegError as error:
        print(f"left out: {folder.name}: {str(error)[:90]}")
        return []
    return [Shown(kind, anatomy, middle_of(image)) for image in islice(images[::every], most)]


def middle_of(image: Image) -> Image:
    """Cut a stack to its middle."""
    first = max(0, (image.shape[0] - SLICES) // 2)
    chosen = slice(first, first + SLICES)
    source = replace(image.source, slices=image.source.slices[chosen])
    return replace(image, voxels=image.voxels[..., chosen, :, :], source=source)


# --- changes


def changed(image: Image, rng: np.random.Generator) -> Iterator[Shown]:
    """Give an image in ways in which it should not be measured."""
    grey = image.voxels.astype(np.float32)

    def give(kind: str, voxels: np.ndarray, affine: np.ndarray | None = image.affine) -> Shown:
        source = replace(image.source, case_id=f"{image.source.case_id} {kind}", slices=())
        return Shown(kind, kind, Image(np.ascontiguousarray(voxels), affine, image.channels, source))

    if image.affine is not None:
        for factor in (0.4, 0.6, 1.6, 2.5):
            affine = image.affine.copy()
            affine[:3, 1:3] *= factor
            yield give(f"pixels x {factor}", image.voxels, affine)
    yield give("inverted", grey.max() + grey.min() - grey)
    yield give("upside down", image.voxels[..., ::-1, :])
    yield give("turned", np.rot90(image.voxels, 1, (-2, -1)), _exchanged(image.affine, 1, 2))
    yield give("noisy", grey + rng.normal(0, grey.std(), grey.shape).astype(np.float32))
    if image.shape[0] >= SLICES // 2:
        yield give("other plane", np.swapaxes(image.voxels, -3, -2), _exchanged(image.affine, 0, 1))
    slices, rows, columns = image.shape
    down, across = np.mgrid[:rows, :columns]
    disc = 100.0 * ((down - rows / 2) ** 2 + (across - columns / 2) ** 2 < (min(rows, columns) / 4) ** 2)
    block = 100.0 * ((down > rows / 3) & (across > columns / 2))
    pictures = {"disc": disc, "blocks": block, "ramp": 1.0 * across, "noise": 0.0 * across}
    for name, picture in pictures.items():
        voxels = picture + rng.normal(0, 2, (slices, rows, columns))
        yield give(f"phantom: {name}", np.broadcast_to(voxels.astype(np.float32), image.voxels.shape))


def _exchanged(affine: np.ndarray | None, one: int, other: int) -> np.ndarray | None:
    if affine is None:
        return None
    affine = affine.copy()
    affine[:, [one, other]] = affine[:, [other, one]]
    return affine


# --- models


@dataclass(frozen=True)
class Known:
    """A model with its profile, what it shows, and images of patients that it never saw."""

    name: str
    anatomy: str
    model: TrainedModel
    unseen: list[Image]


def models_of(folds: Path, cases: Path, only: list[str], *, all_folds: bool) -> Iterator[Known]:
    """Load models of cross-validations, and give them profiles."""
    for name in only:
        found = find_cases(cases / f"d_{name}", unlabelled="skip")
        for fold in sorted((folds / name / f"{name}_folds").glob("fold_*"))[: None if all_folds else 1]:
            sides = json.loads((fold / "fold.json").read_text(encoding="utf-8"))["made_from"]
            model = load_model(next(fold.glob("*.pt")))
            parts = {
                side: [case for case in found.cases if case.case_id in sides[side]]
                for side in ("training", "validation", "test")
            }
            started = time.perf_counter()
            examined = examine_cases(model, parts["validation"])
            middle = time.perf_counter()
            profile = learn_profile(model, parts["training"], parts["validation"], examined)
            print(
                f"{name} {fold.name}: examined in {middle - started:.1f} s, profile in "
                f"{time.perf_counter() - middle:.1f} s; Dice {profile.dice}, areas off {profile.area_error}, told "
                f"apart: {', '.join(profile.turned) or 'nothing'}; usual distances "
                + ", ".join(f"{part.part} {part.usual:.2f}" for part in profile.parts),
                flush=True,
            )
            model = learn_trust(model, examined, profile=profile)
            unseen = [read_case(case, found.structures)[0] for case in parts["test"]]
            yield Known(f"{name} {fold.name[5:]}", ANATOMY[name], model, unseen)


def light_of(model: TrainedModel, image: Image) -> tuple[str, tuple[str, ...], float]:
    """Give the light (or "refused"), its reasons, and the seconds that comparing took."""
    try:
        predicted = predict_and_look(model, image)
    except AutosegError as error:
        return "refused", (str(error),), 0.0
    started = time.perf_counter()
    found = compare_image([model], image).with_found(predicted.label_map)
    return found.light.value, found.reasons, time.perf_counter() - started


OWN_FAULT = ("The model is not good enough", "The model was validated on no", "The model learnt from a single")


def without_own_fault(light: str, reasons: tuple[str, ...]) -> str:
    """Give the light that a better model of the same profile would give."""
    left = [reason for reason in reasons if not reason.startswith(OWN_FAULT)]
    return light if left or light == "refused" else Light.GREEN.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folds", type=Path, default=Path("/tmp/folds"))
    parser.add_argument("--cases", type=Path, default=Path("/tmp/bias"))
    parser.add_argument("--only", nargs="+", default=["hearts", "hippo", "spider", "cord"])
    parser.add_argument("--all-folds", action="store_true", help="by default the first of each")
    parser.add_argument("--own", action="store_true", help="only images of patients of the model's own kind")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    others = [] if chosen.own else list(other_sets(chosen.data))
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for known in models_of(chosen.folds, chosen.cases, chosen.only, all_folds=chosen.all_folds):
        rng, seconds = np.random.default_rng(0), []
        shown = [Shown("own, unseen", known.anatomy, image) for image in known.unseen]
        changes = [] if chosen.own else known.unseen[:: max(1, len(known.unseen) // CHANGED)][:CHANGED]
        shown += [one for image in changes for one in changed(image, rng)]
        shown += [one for one in others if not known.name.startswith(f"{one.kind} ")]
        for one in shown:
            light, reasons, took = light_of(known.model, one.image)
            own = one.kind == "own, unseen"
            counted = without_own_fault(light, reasons)
            seconds.append(took)
            table[known.name, one.kind][counted] += 1
            alike = one.anatomy == known.anatomy
            what = "own" if own else "the same anatomy, elsewhere" if alike else None
            what = what or ("other anatomy" if one in others else "changed")
            totals[what][counted] += 1
            if own:
                totals["own, with the model's own score"][light] += 1
            if (counted != "green") == own or (what == "other anatomy" and counted == "amber"):
                print(
                    f"    {known.name} | {one.kind} {one.image.source.case_id} {counted}: {' '.join(reasons)[:400]}"
                )
        print(f"{known.name}: compared in {np.median(seconds):.2f} s (median)", flush=True)
    kinds = list(dict.fromkeys(kind for _, kind in table))
    names = list(dict.fromkeys(name for name, _ in table))
    print("\ngreen / amber / red (refused)")
    width = max(map(len, kinds))
    print(" " * width, *(f"{name:>16}" for name in names))
    for kind in kinds:
        cells = [table.get((name, kind), Counter()) for name in names]
        told = [f"{c['green']}/{c['amber']}/{c['red']} ({c['refused']})" if c else "" for c in cells]
        print(f"{kind:{width}}", *(f"{cell:>16}" for cell in told))
    for what, counts in totals.items():
        count = counts["green"] + counts["amber"] + counts["red"]
        if count:
            shares = {light: f"{100 * counts[light] / count:.1f} %" for light in ("green", "amber", "red")}
            print(f"{what}: {count} images, {shares}; refused {counts['refused']}")


if __name__ == "__main__":
    main()
