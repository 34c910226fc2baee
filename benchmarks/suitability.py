"""What light models give to images of their own kind that they never saw, and to all others.

    python benchmarks/suitability.py OUTPUT [--folds /tmp/folds] [--only hearts hippo] [--fold 1 3] [--most 60]

Every folder NAME in `--folds` holds a cross-validation (`NAME_folds/fold_1` …) with its models, and its data lie
in `--cases/d_NAME`. A model gets its profile from its own training and validation patients; the test patients are
those that it never saw. They are shown as they are, and changed: pixels of another size, greys inverted, upside
down, turned, noise, another plane, phantoms. All other sets of `--data` are shown as they are, at most `--most`
images of each. Stacks are cut to ten slices in their middle. An image that the model refuses (no millimetres, other
channels, too few slices) never gets a number, and is counted apart.

What files tell and how an image looks is compared first; nothing is segmented where the light is red by then, for
it stays red. Each pair is a line of OUTPUT/pairs.csv as soon as it is found, and each model with its profile lies
beside it: the same command goes on where it was, and with `--table` shows what there is.

"own" counts images of patients that are not green for another reason than the model's own poor validation, which is
a property of a model that learnt for a minute. Of images that are upside down, turned or in another plane (which
models of volumes bring back) it is measured whether a set's models segment them worse than upright ones: where mean
Dice is lower by at most 0.02, and areas are farther off by at most 5 %, areas are right, and such images count
apart. The bars: own not green at most 5 %, others amber or red at least 95 %, other anatomy red at least 95 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np

from autoseg.data.cases import find_cases
from autoseg.data.patients import read_patient
from autoseg.errors import AutosegError
from autoseg.image.image import Image, LabelMap
from autoseg.model.model import TrainedModel, load_model, save_model
from autoseg.model.trust import Light
from autoseg.prediction import predict_and_look
from autoseg.prediction.suitability import compare_image
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.trust import examine_cases, learn_profile, learn_trust

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SLICES, CHANGED, TURNED_IMAGES = 10, 4, 10
OWN, UPSIDE_DOWN, HALF_TURN, QUARTER = "own, unseen", "upside down", "half turn", "quarter turn"
OTHER_PLANE = "other plane"
TURNED = (UPSIDE_DOWN, HALF_TURN, QUARTER, OTHER_PLANE)
WORSE, AREA_WORSE = 0.02, 0.05
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
    """An image, the set or change that it comes from, what it shows, and what was drawn on it if that is known."""

    kind: str
    anatomy: str
    image: Image
    reference: LabelMap | None = None


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
    for folder in sorted((data / "dicom-seg-rtstruct").glob("*/")):
        yield from patient_images("liver CT", "body", folder, most=3)
    for folder in sorted((data / "brain-lgg-flair-tiff/kaggle_3m").glob("*/"))[:2]:
        yield from patient_images("brain", "brain", folder, most=2)
    for folder in sorted(path for path in zoo.iterdir() if path.is_dir()):
        if folder.name not in ("dicomdir", "same-slice-nine-syntaxes", "one-ct-slice-14-syntaxes"):
            yield from patient_images("zoo", "heads, phantoms, noise", folder, most=5)


def limited(shown: Iterator[Shown], most: int) -> list[Shown]:
    """Give at most so many images of each set."""
    counts: Counter[str] = Counter()
    found = []
    for one in shown:
        counts[one.kind] += 1
        if counts[one.kind] <= most:
            found.append(one)
    return found


def patient_images(
    kind: str, anatomy: str, folder: Path, *, every: int = 1, most: int | None = None
) -> list[Shown]:
    """Read the images of a patient's folder, as a prediction reads them."""
    try:
        images, _, _ = read_patient(folder)
    except AutosegError as error:
        print(f"left out: {folder.name}: {str(error)[:90]}")
        return []
    return [Shown(kind, anatomy, middle_of(image, folder.name)) for image in islice(images[::every], most)]


def middle_of(image: Image, folder: str) -> Image:
    """Cut a stack to its middle, and call it after its folder, too."""
    first = max(0, (image.shape[0] - SLICES) // 2)
    chosen = slice(first, first + SLICES)
    case_id = f"{folder} {image.source.case_id}"
    source = replace(image.source, case_id=case_id, slices=image.source.slices[chosen])
    return replace(image, voxels=image.voxels[..., chosen, :, :], source=source)


# --- changes


def changed(own: Shown, rng: np.random.Generator) -> Iterator[Shown]:
    """Give an image in ways in which it should not be measured."""
    image = own.image
    grey = image.voxels.astype(np.float32)

    def give(kind: str, voxels: np.ndarray, affine: np.ndarray | None = image.affine) -> Shown:
        source = replace(image.source, case_id=f"{image.source.case_id} {kind}", slices=())
        return Shown(kind, kind, Image(np.ascontiguousarray(voxels), affine, image.channels, source))

    def turn(kind: str, way: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None) -> Shown:
        drawn = own.reference
        if drawn is not None:
            source = replace(drawn.source, slices=())
            voxels = np.ascontiguousarray(way(drawn.voxels))
            drawn = replace(drawn, voxels=voxels, affine=affine, source=source, shares=None)
        return replace(give(kind, way(image.voxels), affine), reference=drawn)

    if image.affine is not None:
        for factor in (0.4, 0.6, 1.6, 2.5):
            affine = image.affine.copy()
            affine[:3, 1:3] *= factor
            yield give(f"pixels x {factor}", image.voxels, affine)
    yield give("inverted", grey.max() + grey.min() - grey)
    yield turn(UPSIDE_DOWN, lambda voxels: voxels[..., ::-1, :], image.affine)
    yield turn(HALF_TURN, lambda voxels: voxels[..., ::-1, ::-1], image.affine)
    yield turn(QUARTER, lambda voxels: np.rot90(voxels, 1, (-2, -1)), _exchanged(image.affine, 1, 2))
    yield give("noisy", grey + rng.normal(0, grey.std(), grey.shape).astype(np.float32))
    if image.shape[0] >= SLICES // 2:
        yield turn(OTHER_PLANE, lambda voxels: np.swapaxes(voxels, -3, -2), _exchanged(image.affine, 0, 1))
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
    unseen: list[Shown]


def models_of(folds: Path, cases: Path, only: list[str], kept: Path, numbers: list[int]) -> Iterator[Known]:
    """Load models of cross-validations, and give them profiles, which are kept."""
    for name in only:
        found = find_cases(cases / f"d_{name}", unlabelled="skip")
        for fold in (folds / name / f"{name}_folds" / f"fold_{number}" for number in numbers):
            sides = json.loads((fold / "fold.json").read_text(encoding="utf-8"))["made_from"]
            parts = {
                side: [case for case in found.cases if case.case_id in sides[side]]
                for side in ("training", "validation", "test")
            }
            place = kept / f"{name}_{fold.name}.pt"
            if not place.is_file():
                model = load_model(next(fold.glob("*.pt")))
                examined = examine_cases(model, parts["validation"])
                profile = learn_profile(model, parts["training"], parts["validation"], examined)
                save_model(learn_trust(model, examined, profile=profile), place)
            model = load_model(place)
            profile = model.trust.profile
            print(
                f"{name} {fold.name}: Dice {profile.dice}, areas off {profile.area_error}, told apart: "
                f"{', '.join(profile.turned) or 'nothing'}; usual distances "
                + ", ".join(f"{part.part} {part.usual:.2f}" for part in profile.parts),
                flush=True,
            )
            read = [read_reference(case, model.structures) for case in parts["test"]]
            unseen = [Shown(OWN, ANATOMY[name], image, drawn) for image, drawn in read]
            yield Known(f"{name} {fold.name[5:]}", ANATOMY[name], model, unseen)


# --- what is found of each pair


@dataclass(frozen=True)
class Pair:
    """What a model made of an image, as a line of pairs.csv.

    `what` is one of the groups of the bars; `counted` is the light that a better model of the same profile would
    give. `dice` is of all structures together, and `area_error` the largest relative error of one; empty where it
    is not known.
    """

    model: str
    kind: str
    what: str
    image: str
    light: str
    counted: str
    segmented: bool
    seconds: float
    dice: float | str
    area_error: float | str
    reasons: str


OWN_FAULT = ("The model is not good enough", "The model was validated on no", "The model learnt from a single")


def pair_of(known: Known, shown: Shown, what: str) -> Pair:
    """Compare an image with a model; what is red without what is found on it is not segmented."""
    started, is_segmented, scored = time.perf_counter(), False, ("", "")
    try:
        compared = compare_image([known.model], shown.image)
        found = compared.so_far
        if found.light is not Light.RED or shown.reference is not None:
            predicted = predict_and_look(known.model, shown.image).label_map
            is_segmented, found = True, compared.with_found(predicted)
            scored = ("", "") if shown.reference is None else score(shown.reference, predicted)
        light, reasons = found.light.value, found.reasons
    except AutosegError as error:
        light, reasons = "refused", (str(error),)
    left = [reason for reason in reasons if not reason.startswith(OWN_FAULT)]
    counted = light if left or light == "refused" else Light.GREEN.value
    seconds = round(time.perf_counter() - started, 2)
    name = shown.image.source.case_id
    return Pair(
        known.name, shown.kind, what, name, light, counted, is_segmented, seconds, *scored, " ".join(reasons)
    )


def score(reference: LabelMap, predicted: LabelMap) -> tuple[float | str, float | str]:
    """Give Dice of all drawn structures together, and the largest relative error of an area."""
    both, sizes, errors = 0, 0, list[float]()
    for structure in predicted.structures:
        if reference.is_annotated(structure.label):
            drawn, found = reference.mask(structure.label), predicted.mask(structure.label)
            both, sizes = both + int((drawn & found).sum()), sizes + int(drawn.sum() + found.sum())
            if drawn.any():
                errors.append(found.sum() / drawn.sum() - 1)
    return (round(2 * both / sizes, 4), round(float(max(errors, key=abs)), 4)) if errors else ("", "")


def pairs_of(known: Known, others: Sequence[Shown], done: Container[tuple[str, str, str]]) -> Iterator[Pair]:
    """Show a model all that was not shown to it yet."""
    rng = np.random.default_rng(0)
    shown = [(OWN, one) for one in known.unseen]
    if others:
        some = known.unseen[:: max(1, len(known.unseen) // CHANGED)][:CHANGED]
        shown += [("changed", changed_one) for one in some for changed_one in changed(one, rng)]
        left = [one for one in known.unseen[:: max(1, len(known.unseen) // TURNED_IMAGES)] if one not in some]
        shown += [("changed", two) for one in left for two in changed(one, rng) if two.kind in TURNED]
    for one in others:
        if not known.name.startswith(f"{one.kind} "):
            shown.append(("the same anatomy, elsewhere" if one.anatomy == known.anatomy else "other anatomy", one))
    for what, one in shown:
        if (known.name, one.kind, one.image.source.case_id) not in done:
            yield pair_of(known, one, what)


# --- what it comes to


def is_known(number: float | str) -> bool:
    """Tell whether a number of a line is there."""
    return number != ""


def covered_turns(pairs: Sequence[Pair]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Give by set and turn: mean Dice and mean error of areas upright and turned, and how many images there are."""
    upright = {(one.model, one.image): one for one in pairs if one.what == OWN}
    groups: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for one in pairs:
        own = upright.get((one.model, one.image.removesuffix(f" {one.kind}")))
        if one.kind in TURNED and own is not None and is_known(one.dice) and is_known(own.dice):
            numbers = own.dice, own.area_error, one.dice, one.area_error
            groups[set_of(one), one.kind].append(tuple(abs(float(number)) for number in numbers))
    return {key: (*np.mean(some, axis=0).tolist(), len(some)) for key, some in groups.items()}


def is_covered(dice: float, error: float, dice_turned: float, error_turned: float, _: float) -> bool:
    """Tell whether turned images are segmented as well as upright ones."""
    return dice - dice_turned <= WORSE and error_turned - error <= AREA_WORSE


def set_of(pair: Pair) -> str:
    """Give the set that the model learnt from."""
    return pair.model.split()[0]


def show_table(pairs: Sequence[Pair]) -> None:
    """Print all pairs of models and sets, and the bars."""
    turned = covered_turns(pairs)
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for one in pairs:
        table[one.model, one.kind][one.counted] += 1
        totals[one.what][one.counted] += 1
        if one.what == OWN:
            totals["own, with the model's own score"][one.light] += 1
        else:
            totals["all others"][one.counted] += 1
        if one.what == "changed":
            numbers = turned.get((set_of(one), one.kind))
            covered = numbers is not None and is_covered(*numbers)
            totals["changed, segmented as well" if covered else "changed, others"][one.counted] += 1
    kinds = list(dict.fromkeys(kind for _, kind in table))
    names = list(dict.fromkeys(name for name, _ in table))
    width = max(map(len, kinds))
    print("\ngreen / amber / red (refused)")
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
    print("\nturned images beside upright ones: mean Dice, mean of the largest error of an area")
    for (name, kind), numbers in turned.items():
        dice, error, dice_turned, error_turned, count = numbers
        print(
            f"{name} {kind}, {count:.0f} images: {dice:.3f}, {error:.3f}; turned {dice_turned:.3f}, "
            f"{error_turned:.3f}{' (as well)' if is_covered(*numbers) else ''}"
        )
    print("\nlights that are wrong")
    for one in pairs:
        is_own = one.what == OWN
        if (one.counted != "green") == is_own or (one.what == "other anatomy" and one.counted == "amber"):
            print(f"{one.model} | {one.kind} | {one.image} | {one.counted}: {one.reasons[:300]}")


def read_pairs(path: Path) -> list[Pair]:
    """Read the lines that are whole."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return [Pair(**row) for row in csv.DictReader(lines) if None not in row.values()]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folds", type=Path, default=Path("/tmp/folds"))
    parser.add_argument("--cases", type=Path, default=Path("/tmp/bias"))
    parser.add_argument("--only", nargs="+", default=["hearts", "hippo", "spider", "cord"])
    parser.add_argument("--fold", nargs="+", type=int, default=[1], help="of each, by default the first")
    parser.add_argument("--own", action="store_true", help="only images of patients of the model's own kind")
    parser.add_argument("--most", type=int, default=60, help="images of a set")
    parser.add_argument("--table", action="store_true", help="show what there is, and go on with nothing")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen.output.mkdir(parents=True, exist_ok=True)
    path = chosen.output / "pairs.csv"
    if not chosen.table:
        done = {(one.model, one.kind, one.image) for one in read_pairs(path)}
        others = [] if chosen.own else limited(other_sets(chosen.data), chosen.most)
        print(f"{len(others)} images of other sets", flush=True)
        with path.open("a", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, [one.name for one in fields(Pair)])
            if lines.tell() == 0:
                writer.writeheader()
            models = models_of(chosen.folds, chosen.cases, chosen.only, chosen.output, chosen.fold)
            for known in models:
                for pair in pairs_of(known, others, done):
                    writer.writerow(asdict(pair))
                    lines.flush()
    show_table(read_pairs(path))


if __name__ == "__main__":
    main()
