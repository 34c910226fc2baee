"""How often intervals of areas hold what they promise: simulated cohorts, and folds of a cross-validation.

    python benchmarks/intervals.py [--cohorts 4000] [--patients 5 8 9 12 20 30] [--level 0.9]
    python benchmarks/intervals.py --cohorts 0 --folds FOLDS DATA [--folds FOLDS DATA …] [--look]

Simulated are areas of slices that are off by 5 % for all of a patient and by 6 % for each slice, with heavy tails
(t with 5 degrees of freedom), 12 slices a patient, and areas that differ between patients. A cohort has n to learn
from and a new one. "of slices": in what share of its slices the interval holds the true area; "of means": how often
that of the mean holds the true mean; in brackets half the mean width, as a share of the area. Below nine patients
there is no interval of 90 % by patient, and what stands there assumes a distribution.

Of each patient of the folds of `autoseg crossvalidate` (FOLDS: the folder with `fold_1` …, DATA: what it was given)
the areas are those that its fold's model found; they get intervals from the patients of all other folds (left out
one by one where those would be fewer than nine), by the functions that a prediction uses. With `--look` the images
are segmented again, so that the expected Dice of a slice counts too.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.cases import find_cases
from autoseg.evaluation.crossvalidation.fold import read_content, read_fold, read_model, read_prediction
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.measurement.intervals import Basis, fewest_patients, find_band, fit_expected
from autoseg.model.model import TrainedModel
from autoseg.model.trust import How, Trust
from autoseg.prediction import Predicted, predict_and_look
from autoseg.prediction.ensemble import Inference
from autoseg.prediction.intervals import add_intervals, patient_intervals
from autoseg.prediction.judge import expect_quality
from autoseg.report.area_tables import image_groups, volume_mm3
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.trust.calibration import calibrate_model
from autoseg.training.trust.examine import Examined
from autoseg.training.trust.quality import learn_quality

PATIENT_SD, SLICE_SD, SLICES, FREEDOM = 0.05, 0.06, 12, 5


def simulate(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give true and measured areas, (patients, slices), of n patients and a new one."""
    scale = math.sqrt((FREEDOM - 2) / FREEDOM)
    true = 1000 * np.exp(0.3 * rng.standard_normal((n + 1, 1)) + 0.2 * rng.standard_normal((n + 1, SLICES)))
    off = PATIENT_SD * rng.standard_t(FREEDOM, (n + 1, 1)) + SLICE_SD * rng.standard_t(FREEDOM, (n + 1, SLICES))
    return true, true * np.exp(scale * off)


def hold(true: np.ndarray, measured: np.ndarray, level: float) -> tuple[float, float, Basis] | None:
    """Give for the last patient in what share its areas were held, half the width of intervals, and the basis."""
    known, off = list(measured[:-1]), list((true - measured)[:-1])
    expected = fit_expected(known, off)
    scores = [own / expected.of(area) for own, area in zip(off, known, strict=True)]
    band = find_band(scores, level, may_assume=True)
    if band is None:
        return None
    ends = np.array([expected.interval(area, band) for area in measured[-1]])
    held = (ends[:, 0] <= true[-1]) & (true[-1] <= ends[:, 1])
    return float(held.mean()), float(np.mean((ends[:, 1] - ends[:, 0]) / 2 / measured[-1])), band.basis


def simulated(cohorts: int, counts: Sequence[int], level: float) -> None:
    """Print a line for each number of patients."""
    print(f"{cohorts} simulated cohorts, {level:.0%}\n{'n':>3}  {'of slices':18}{'of means':18}basis")
    for n in counts:
        rng = np.random.default_rng(n)
        rows = []
        for _ in range(cohorts):
            true, measured = simulate(n, rng)
            means = (areas.mean(axis=1, keepdims=True) for areas in (true, measured))
            rows.append((hold(true, measured, level), hold(*means, level)))
        if any(one is None for one, _ in rows):
            print(f"{n:>3}  not available: {fewest_patients(level) - n} patients more are wanting")
            continue
        words = []
        for place in (0, 1):
            held, half = np.mean([row[place][:2] for row in rows], axis=0)
            words.append(f"{held:.3f} (±{half:.1%})")
        basis = rows[0][0][2]
        note = "" if basis is Basis.BY_PATIENT else "; by patient: not available"
        print(f"{n:>3}  {words[0]:18}{words[1]:18}{basis.value}{note}", flush=True)


@dataclass(frozen=True)
class Seen:
    """A test case of a fold: what its fold's model made of it, and its true areas."""

    model: TrainedModel
    predicted: Predicted
    counted: Examined
    measured: list[Measurement]
    true: list[Measurement]


def see(folds: Path, data: Path, *, look: bool) -> Iterator[Seen]:
    """Give the test cases of all folds, as their fold's model segmented them, or segmented again."""
    cases = {case.case_id: case for case in find_cases(data, unlabelled="skip").cases}
    for place in sorted(folds.glob("fold_*")):
        fold = read_fold(place, int(place.name.removeprefix("fold_")))
        model = read_model(fold)
        for case_id in read_content(place)["made_from"]["test"]:
            image, reference = read_reference(cases[case_id], model.structures)
            if look:
                predicted = predict_and_look(model, image, Inference(look=True))
            else:
                labels = read_prediction(fold, case_id)
                predicted = Predicted(replace(reference, voxels=labels, annotated=None, shares=None))
            masks = [
                np.stack([one.mask(s.label) for s in model.structures]) for one in (reference, predicted.label_map)
            ]
            counts = [part.sum(axis=(2, 3)).T for part in (*masks, masks[0] & masks[1])]
            counted = Examined(
                case_id,
                reference.source.subject_id,
                *counts,
                drawn=np.array([reference.is_annotated(s.label) for s in model.structures]),
                signals=predicted.signals,
                pixel_mm2=None if image.affine is None else image.pixel_mm2,
                slice_mm=None if image.affine is None else image.spacing_mm[0],
            )
            measured = measure_areas(replace(predicted.label_map, source=reference.source))
            yield Seen(model, predicted, counted, measured, measure_areas(reference))


def of_folds(folds: Path, data: Path, level: float, *, look: bool) -> dict[str, list[float]]:
    """Print how often the intervals of each structure held; give the share of each patient by quantity."""
    seen = list(see(folds, data, look=look))
    subjects = sorted({one.counted.subject_id for one in seen})
    fold_of = {one.counted.subject_id: one.model.name for one in seen}
    enough = min(sum(fold_of[s] != name for s in subjects) for name in fold_of.values()) >= fewest_patients(level)
    part_of = fold_of if enough else {subject: subject for subject in subjects}
    held: dict[tuple[str, str], dict[str, list[tuple[bool, float]]]] = {}
    for part in sorted(set(part_of.values())):
        others = [one.counted for one in seen if part_of[one.counted.subject_id] != part]
        mine = [one for one in seen if part_of[one.counted.subject_id] == part]
        model = mine[0].model
        if look:
            model = replace(model, trust=Trust(quality=learn_quality(model, others)))
        calibration = calibrate_model(model, others, how=How.FOLDS)
        model = replace(model, trust=replace(model.trust, calibration=calibration))
        measured, true = [], []
        for one in mine:
            rows = expect_quality((model,), one.predicted, tuple(one.measured))
            measured += add_intervals((model,), rows, level=level)
            true += one.true
        for what, name, subject, held_here, width in _compare(model, measured, true, level):
            held.setdefault((what, name), {}).setdefault(subject, []).append((held_here, width))
    print(f"\n{folds}: {len(subjects)} patients, {'other folds' if enough else 'one left out'}, {level:.0%}")
    by_patient: dict[str, list[float]] = {}
    for (what, name), patients in sorted(held.items()):
        shares = [float(np.mean([one for one, _ in own])) for own in patients.values()]
        widths = [half for own in patients.values() for _, half in own if not math.isnan(half)]
        half = f"  (±{np.median(widths):.1%})" if widths else ""
        by_patient.setdefault(what, []).extend(shares)
        print(f"  {what:18}{name:20}{len(shares):4} patients  held {np.mean(shares):.3f}{half}", flush=True)
    return by_patient


def _compare(
    model: TrainedModel, measured: Sequence[Measurement], true: Sequence[Measurement], level: float
) -> Iterator[tuple[str, str, str, bool, float]]:
    """Give of every interval what it is of, the structure, the patient, whether it held, and half its width."""
    right = {(row.case_id, row.slice_index, row.name): row for row in true}
    for row in measured:
        key = (row.case_id, row.slice_index, row.name)
        if row.interval_level is not None and key in right:
            low, high = row.area_low_mm2, row.area_high_mm2
            if low is None or high is None:
                low, high = row.pixel_count_low, row.pixel_count_high
            what = "slice" if row.pixel_count else "slice, not found"
            yield what, row.name, row.subject_id, low <= right[key].area <= high, _half(low, high, row.area)
    groups = image_groups(true)
    found = image_groups(measured)
    for one in patient_intervals((model,), measured, level=level):
        rows = [row for row in groups[one.subject_id, one.image] if row.name == one.name]
        own = [row for row in found[one.subject_id, one.image] if row.name == one.name]
        shown = [row.area for row in rows if row.pixel_count and not row.is_cut_off] or [0.0]
        mine = [row.area for row in own if row.pixel_count and not row.is_cut_off]
        for what, low, high, value, area in (
            ("mean", one.mean_low, one.mean_high, np.mean(shown), np.mean(mine)),
            ("max", one.max_low, one.max_high, max(shown), max(mine)),
            ("volume", one.volume_low_mm3, one.volume_high_mm3, volume_mm3(rows), volume_mm3(own)),
        ):
            if low is not None and high is not None:
                yield what, one.name, one.subject_id, low <= value <= high, _half(low, high, area)


def _half(low: float, high: float, area: float) -> float:
    return (high - low) / 2 / area if area else math.nan


def main() -> None:
    """Print what was simulated, then what folds give, each set alone and all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=4000)
    parser.add_argument("--patients", type=int, nargs="*", default=[4, 5, 6, 7, 8, *range(9, 31)])
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--folds", type=Path, nargs=2, action="append", default=[], metavar=("FOLDS", "DATA"))
    parser.add_argument("--look", action="store_true", help="segment again, so that the expected Dice counts")
    chosen = parser.parse_args()
    if chosen.cohorts:
        simulated(chosen.cohorts, chosen.patients, chosen.level)
    together: dict[str, list[float]] = {}
    for folds, data in chosen.folds:
        for what, shares in of_folds(folds, data, chosen.level, look=chosen.look).items():
            together.setdefault(what, []).extend(shares)
    for what, shares in together.items():
        print(f"all sets together, {what}: held {np.mean(shares):.3f} of {len(shares)} patients' structures")


if __name__ == "__main__":
    main()
