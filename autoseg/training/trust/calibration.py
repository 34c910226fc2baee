"""What is kept of a model's errors, so that areas of new patients get their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from autoseg.measurement.areas import MM2, PIXELS
from autoseg.measurement.intervals import (
    AS_THEY_ARE,
    LEVEL,
    Expected,
    SliceKind,
    coverage_by_patient,
    find_band,
    fit_expected,
    slice_kinds,
)
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Quality
from autoseg.model.trust.calibration import QUANTITIES, Calibration, Errors, How
from autoseg.training.trust.examine import Examined
from autoseg.training.trust.quality import learn_quality

Floats = npt.NDArray[np.float64]
# What is kept of one patient and quantity: of more, so many of them from the smallest to the largest.
MOST_KEPT = 100
# What is expected of the Dice counts where intervals become narrower than this times the others: on hippocampi it
# tells nothing of errors that the size of an area does not.
NARROWER = 0.95
# Parts in which subjects are left out where the quality is learnt from which their own expected Dice comes.
PARTS = 5


def calibrate_model(
    model: TrainedModel, examined: Sequence[Examined], *, how: How = How.VALIDATION, minutes: float | None = None
) -> Calibration | None:
    """Give what the errors on these images of unseen subjects tell of new ones; None without an image.

    Parameters
    ----------
    model : TrainedModel
        With the structures in whose order pixels were counted; its quality tells what Dice was to be expected.
    examined : sequence of Examined
    how : How
        Whether twins of the model segmented all subjects in folds, or the model its own validation subjects.
    minutes : float, optional
        For which the model, or each twin, learnt; by default as the history of a model without twins has it.

    Returns
    -------
    Calibration or None
    """
    if not examined:
        return None
    unit = MM2 if all(one.pixel_mm2 is not None for one in examined) else PIXELS
    subjects = _by_subject(list(zip(examined, _doubts(model, examined), strict=True)))
    names = tuple(structure.name for structure in model.structures)
    errors, coverage = [], []
    for column, name in enumerate(names):
        patients = [_measure(images, column, unit) for images in subjects]
        found = [one for quantity in QUANTITIES for one in _errors(name, quantity, patients)]
        errors += found
        of_slices = [one for one in found if one.quantity == SliceKind.FOUND]
        coverage.append(coverage_by_patient(of_slices[-1].scores, LEVEL) if of_slices else None)
    if minutes is None and how == How.VALIDATION and model.history:
        minutes = model.history[-1].elapsed_s / 60
    return Calibration(
        how=how.value,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        patients=len(subjects),
        unit=unit,
        structures=names,
        errors=tuple(errors),
        level=LEVEL,
        coverage=tuple(coverage),
        minutes=minutes,
    )


Doubted = tuple[Examined, Floats]


def _doubts(model: TrainedModel, examined: Sequence[Examined]) -> list[Floats]:
    """Give 1 - the expected Dice of each image, (slices, structures), as learnt from others; NaN where unknown."""
    subjects = sorted({one.subject_id for one in examined})
    parts = {subject: place % PARTS for place, subject in enumerate(subjects)}
    learnt: dict[int, Quality | None] = {}
    found = []
    for one in examined:
        part = parts[one.subject_id]
        if part not in learnt:
            learnt[part] = learn_quality(model, [other for other in examined if parts[other.subject_id] != part])
        quality, doubt = learnt[part], np.full(one.predicted.shape, np.nan)
        if quality is not None and one.signals is not None:
            doubt = 1 - quality.expect(one.signals, in_mm=one.pixel_mm2 is not None)[0]
        found.append(doubt)
    return found


def _by_subject(examined: Sequence[Doubted]) -> list[list[list[Doubted]]]:
    """Give the images of each subject; where all are single slices, those of a subject are one image."""
    single = all(len(one.predicted) == 1 for one, _ in examined)
    subjects: dict[str, list[list[Doubted]]] = {}
    for one, doubt in examined:
        mine = subjects.setdefault(one.subject_id, [])
        if single and mine:
            mine[0].append((one, doubt))
        else:
            mine.append([(one, doubt)])
    return list(subjects.values())


# Of one patient and quantity a row a value: measured, true, 1 - expected Dice.
Rows = dict[str, list[tuple[float, float, float]]]


def _measure(images: Sequence[Sequence[Doubted]], column: int, unit: str) -> Rows:
    """Give what was measured of one structure of a subject, and what was true; an image may be several parts."""
    rows: Rows = {}
    for image in images:
        parts = [part for part, _ in image if part.drawn[column]]
        if not parts:
            continue
        pixels = [part.pixel_mm2 or 0.0 if unit == MM2 else 1.0 for part in parts]
        measured = [part.predicted[:, column] * pixel for part, pixel in zip(parts, pixels, strict=True)]
        true = [part.reference[:, column] * pixel for part, pixel in zip(parts, pixels, strict=True)]
        doubts = [doubt[:, column] for part, doubt in image if part.drawn[column]]
        for areas, right, doubt in zip(measured, true, doubts, strict=True):
            for kind, *row in zip(slice_kinds(areas), areas.tolist(), right.tolist(), doubt.tolist(), strict=True):
                rows.setdefault(kind.value, []).append((row[0], row[1], row[2]))
        found, drawn, doubt = np.concatenate(measured), np.concatenate(true), np.concatenate(doubts)
        shown = found > 0
        if not shown.any():
            continue
        unsure = float(np.average(doubt[shown], weights=found[shown]))
        mean = float(drawn[drawn > 0].mean()) if (drawn > 0).any() else 0.0
        rows.setdefault("mean", []).append((float(found[shown].mean()), mean, unsure))
        rows.setdefault("max", []).append((float(found.max()), float(drawn.max()), unsure))
        if unit == MM2 and len(parts) == 1 and len(found) > 1 and parts[0].slice_mm is not None:
            step = parts[0].slice_mm
            rows.setdefault("volume", []).append((step * float(found.sum()), step * float(drawn.sum()), unsure))
    return rows


def _errors(name: str, quantity: str, patients: Sequence[Rows]) -> list[Errors]:
    """Give the errors of one quantity of a structure, in units of what is to be expected; none without any.

    What was to be expected of the Dice counts in second ones, where it makes intervals narrower.
    """
    known = [np.array(rows[quantity]) for rows in patients if rows.get(quantity)]
    if not known:
        return []
    measured, off = [own[:, 0] for own in known], [own[:, 1] - own[:, 0] for own in known]
    doubts = [own[:, 2] for own in known]
    if quantity in (SliceKind.BESIDE, SliceKind.EMPTY):
        return [_in_units(name, quantity, AS_THEY_ARE, measured, off, doubts)]
    plain = _in_units(name, quantity, fit_expected(measured, off), measured, off, doubts)
    if any(np.isnan(own).any() for own in doubts):
        return [plain]
    expected = fit_expected(measured, off, doubts)
    doubted = _in_units(name, quantity, expected, measured, off, doubts)
    widths = [_width(one, measured, doubts) for one in (plain, doubted)]
    return [plain, doubted] if expected.doubt and widths[1] < NARROWER * widths[0] else [plain]


def _in_units(
    name: str,
    quantity: str,
    expected: Expected,
    measured: Sequence[Floats],
    off: Sequence[Floats],
    doubts: Sequence[Floats],
) -> Errors:
    doubts = [np.nan_to_num(own) for own in doubts]
    scores = [own / expected.of(area, doubt) for own, area, doubt in zip(off, measured, doubts, strict=True)]
    # In an order that does not tell who it is.
    kept = sorted(tuple(map(float, _thinned(np.sort(own)))) for own in scores)
    return Errors(name, quantity, expected.base, expected.share, expected.doubt, tuple(kept))


def _width(errors: Errors, measured: Sequence[Floats], doubts: Sequence[Floats]) -> float:
    """Give the mean width of the intervals that follow; 0 where there are none."""
    band = find_band(errors.scores, LEVEL, may_assume=True)
    if band is None:
        return 0.0
    expected = Expected(errors.base, errors.share, errors.doubt)
    means = [expected.of(area, doubt).mean() for area, doubt in zip(measured, doubts, strict=True)]
    return (band.high - band.low) * float(np.mean(means))


def _thinned(values: Floats) -> Floats:
    if len(values) <= MOST_KEPT:
        return values
    return values[np.linspace(0, len(values) - 1, MOST_KEPT).round().astype(int)]
