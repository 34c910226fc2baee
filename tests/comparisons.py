"""Made-up comparisons: scores by subject as they are wanted, without any training."""

from pathlib import Path

from autoseg.evaluation.comparison.compared import State, put_together
from autoseg.evaluation.crossvalidation import FoldCost, FoldResult
from autoseg.image.structures import Structure
from autoseg.measurement.scores import PixelScore, Score, accuracy_ratios, overlap_ratios

STRUCTURES = (Structure(1, "core"), Structure(5, "ring"))
PIXELS, SLICE = 1000, 4096


def make_score(subject, structure, dice, *, more=0, calibrated=True):
    """Give the score of a slice with about this Dice; `more` pixels are predicted than drawn."""
    predicted = PIXELS + more
    overlap = round(dice * (PIXELS + predicted) / 2)
    area = {"reference_mm2": float(PIXELS), "predicted_mm2": float(predicted), "area_error_mm2": float(more)}
    return Score(
        case_id=f"case of {subject}",
        subject_id=subject,
        slice_index=0,
        level="",
        label=structure.label,
        name=structure.name,
        **overlap_ratios(PIXELS, predicted, overlap),
        **accuracy_ratios(PIXELS, predicted, overlap, SLICE),
        hd95_mm=3.0 if calibrated else None,
        nsd=0.9 if calibrated else None,
        nsd_tolerance_mm=1.0,
        mean_distance_mm=1.0 if calibrated else None,
        reference_pixels=PIXELS,
        predicted_pixels=predicted,
        overlap_pixels=overlap,
        slice_pixels=SLICE,
        area_error_percent=100 * more / PIXELS,
        **(area if calibrated else dict.fromkeys(area)),
    )


def make_folds(dice, *, structures=STRUCTURES[:1], cost=None, folds=2, more=0, calibrated=True):
    """Give the folds of an entry from the Dice of its subjects, which take turns in the folds."""
    found = []
    for number in range(1, folds + 1):
        own = [(k, value) for k, value in enumerate(dice) if k % folds == number - 1 and value is not None]
        scores = [
            make_score(f"subject{k}", s, value, more=more, calibrated=calibrated)
            for k, value in own
            for s in structures
        ]
        pixels = [
            PixelScore(f"case of subject{k}", f"subject{k}", SLICE, SLICE - 100, SLICE - PIXELS) for k, _ in own
        ]
        costs = FoldCost(**(cost or {}))
        found.append(FoldResult(number, Path(f"fold_{number}"), tuple(scores), (), "", costs, tuple(pixels)))
    return found


def make_comparison(entries, *, folder=Path("nowhere"), folds=2, failed=None, derived=None, notes=()):
    """Give a comparison from the folds of each entry."""
    proper = tuple(entry for entry in entries if entry not in (derived or {}))
    state = State(proper, folds, STRUCTURES, derived or {}, failed or {}, notes)
    return put_together(folder, state, entries)
