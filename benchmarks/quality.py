"""Which slices failed: how well that is told before anybody looks, on patients who chose nothing.

    python benchmarks/quality.py hearts=DATA,FOLDS discs=DATA,FOLDS …

DATA is a folder of labelled images, FOLDS the folder of a cross-validation of them (`autoseg crossvalidate`), which
holds its models. Each fold's model examines its validation patients, from whom it learns, and its test patients, on
whom it is scored. The weights that it starts from are those of autoseg, or (`other sets`) are fitted to the other
sets alone, so that no patient of a set had a part in them. The last lines are the weights fitted to the validation
patients of all sets, which are those of `autoseg/model/trust/quality.py`, and what a second look costs.

Dice of a slice and structure counts where it was drawn or found; AUROC is of Dice below 0.7. "right" are good ones
and those on which rightly nothing was found; "missed" is what was drawn and not found, of any size or of so much.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from autoseg.data.cases import find_cases
from autoseg.measurement.areas import measure_areas
from autoseg.model.model import TrainedModel, load_model
from autoseg.model.trust.quality import EMPTY, FOUND, SIGNALS, Quality
from autoseg.prediction import predict_and_look, predict_probabilities
from autoseg.prediction.ensemble import Inference
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.trust.examine import Examined, examine
from autoseg.training.trust.quality import GOOD, Rows, fit_weights, join, learn_quality, rows_of

FAILED = 0.5
# Area of what is more than a few pixels that one expert draws and the next does not, at an end of a structure.
SOME_MM2 = 5.0
# Of a pixel's structure and the rest, where a mean entropy is taken: 1 and beyond is surely outside.
NEAR = 0.05


@dataclass(frozen=True, eq=False)
class Seen:
    """An image that was examined, and what other methods say: entropy, that near each structure, flags."""

    examined: Examined
    entropy: np.ndarray
    near: np.ndarray
    flagged: np.ndarray


@dataclass(frozen=True, eq=False)
class Fold:
    """A fold's model with its validation and test patients."""

    model: TrainedModel
    validation: tuple[Seen, ...]
    test: tuple[Seen, ...]


def read_folds(data: Path, folds: Path) -> Iterator[Fold]:
    """Examine the validation and test patients of each fold that is finished."""
    cases = find_cases(data, unlabelled="skip").cases
    for place in sorted(folds.glob("fold_*")):
        if not (place / "fold.json").exists():
            continue
        sides = json.loads((place / "fold.json").read_text(encoding="utf-8"))["made_from"]
        model = load_model(next(place.glob("*.pt")))
        validation, test = (
            tuple(look(model, case) for case in cases if case.case_id in sides[side])
            for side in ("validation", "test")
        )
        yield Fold(model, validation, test)


def look(model: TrainedModel, case) -> Seen:
    """Examine one case, and ask the other methods."""
    image, reference = read_reference(case, model.structures)
    examined = examine(model, image, reference)
    entropy, near = [], []
    for _, p in predict_probabilities(model, image):
        each = -(p * np.log(np.maximum(p, 1e-7))).sum(1)[:, None]
        close = p[:, 1:] > NEAR
        entropy.append(np.broadcast_to(each.mean((2, 3)), close.shape[:2]))
        near.append((each * close).sum((2, 3)) / np.maximum(close.sum((2, 3)), 1))
    label_map = predict_and_look(model, image).label_map
    flagged = np.zeros(examined.reference.shape)
    columns = {structure.label: column for column, structure in enumerate(model.structures)}
    for row in measure_areas(label_map):
        flagged[row.slice_index, columns[row.label]] = bool(row.flags)
    return Seen(examined, np.concatenate(entropy), np.concatenate(near), flagged)


def fit_start(groups: Sequence[Sequence[Fold]]) -> Quality:
    """Fit the weights that hold for any model to the validation patients of sets, each set weighing the same."""
    together = []
    for folds in groups:
        images = [(fold, seen.examined) for fold in folds for seen in fold.validation]
        rows = join([rows_of(one, learn_quality(fold.model, [one]).areas) for fold, one in images])
        together.append(replace(rows, weights=100 * rows.weights / rows.weights.sum()))
    fields = ("found", "empty", "is_found", "dice", "error", "weights", "columns")
    joined = [np.concatenate([getattr(rows, name) for rows in together]) for name in fields]
    nothing = Quality(found=(0.0,) * len(FOUND), empty=(0.0,) * len(EMPTY), error=(0.0,) * len(FOUND))
    found, empty, error = fit_weights(Rows(*joined, subjects=()), nothing, strength=1.0)
    return replace(nothing, found=found, empty=empty, error=error)


def auroc(badness: np.ndarray, is_bad: np.ndarray) -> float:
    """Give the area under the receiver operating characteristic; NaN where all are bad, or none."""
    ranks, bad = rankdata(badness), int(is_bad.sum())
    good = len(is_bad) - bad
    return float((ranks[is_bad].sum() - bad * (bad + 1) / 2) / (bad * good)) if bad and good else float("nan")


def score(folds: Sequence[Fold], start: Quality | None) -> dict[str, float]:
    """Score the test patients of a set with what each fold's validation patients taught."""
    rows = []
    for fold in folds:
        quality = learn_quality(fold.model, [seen.examined for seen in fold.validation], start=start)
        for seen in fold.test:
            one = seen.examined
            expected, _ = quality.expect(one.signals, in_mm=one.pixel_mm2 is not None)
            poor = quality.is_poor(one.signals, expected)
            sizes = one.reference + one.predicted
            dice = np.where(sizes > 0, 2 * one.both / np.maximum(sizes, 1), 1.0)
            reference_mm2 = one.reference * (one.pixel_mm2 or 1.0)
            columns = (expected, poor, dice, reference_mm2, one.predicted, seen.entropy, seen.near, seen.flagged)
            drawn = np.broadcast_to(one.drawn, dice.shape)
            signals = one.signals[drawn]
            rows.append([*(np.asarray(each, float)[drawn] for each in columns), *signals.T])
    expected, poor, dice, reference_mm2, predicted, entropy, near, flagged, *signals = (
        np.concatenate(each) for each in zip(*rows, strict=True)
    )
    counts, found, bad = reference_mm2 + predicted > 0, predicted > 0, dice < GOOD
    failed = dice < FAILED

    def part(chosen: np.ndarray) -> float:
        """Give the part of these that are called poor."""
        return poor[chosen].mean() if chosen.any() else float("nan")

    values = {
        "slices": counts.sum(), "bad": bad.sum(), "failed": failed.sum(), "missed": (failed & ~found).sum(),
        "AUROC": auroc(-expected[counts], bad[counts]),
        "found only": auroc(-expected[found], bad[found]),
        "none found": auroc(-expected[~found], bad[~found]),
        "entropy": auroc(entropy[counts], bad[counts]),
        "near": auroc(near[counts], bad[counts]),
        "flags": auroc(flagged[counts], bad[counts]),
        "good called poor": part(counts & ~bad),
        "absent called poor": part(~counts),
        "right called poor": part(~bad),
        "failed called poor": part(failed),
        "failed, found": part(failed & found),
        "failed, missed": part(failed & ~found),
        "missed, 5 mm²": part(failed & ~found & (reference_mm2 >= SOME_MM2)),
        "mean error of Dice": np.abs(expected - dice)[counts].mean(),
    }  # fmt: skip
    for name, signal in zip(SIGNALS, signals, strict=True):
        way = 1 if name == "spread" else -1
        values[f"  {name}"] = auroc(way * np.nan_to_num(signal[found]), bad[found])
    return {name: float(value) for name, value in values.items()}


def cost(folds: Sequence[Fold], data: Path) -> float:
    """Give by what a second look multiplies the time of a prediction: the median over some images."""
    cases = find_cases(data, unlabelled="skip").cases[:6]
    ratios = []
    for case in cases:
        image, _ = read_reference(case, folds[0].model.structures)
        times = {}
        for look_again in (False, True, False, True):
            started = time.process_time()
            predict_and_look(folds[0].model, image, Inference(look=look_again))
            taken = time.process_time() - started
            times[look_again] = min(taken, times.get(look_again, taken))
        ratios.append(times[True] / times[False])
    return float(np.median(ratios))


def main() -> None:
    """Examine, learn, score, and print a column a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", help="NAME=DATA,FOLDS")
    places = {}
    for given in parser.parse_args().sets:
        name, _, both = given.partition("=")
        data, _, folds = both.partition(",")
        places[name] = Path(data), Path(folds)
    sets = {name: list(read_folds(*place)) for name, place in places.items()}
    tables = {"autoseg's": {name: score(folds, None) for name, folds in sets.items()}}
    if len(sets) > 1:
        tables["other sets'"] = {
            name: score(folds, fit_start([others for other, others in sets.items() if other != name]))
            for name, folds in sets.items()
        }
    for title, columns in tables.items():
        print(f"\nDrawn towards {title} weights\n{'':22}" + "".join(f"{name:>12}" for name in columns))
        for line in next(iter(columns.values())):
            whole = line in ("slices", "bad", "failed", "missed")
            shown = (f"{column[line]:12.0f}" if whole else f"{column[line]:12.3f}" for column in columns.values())
            print(f"{line:22}" + "".join(shown))
    start = fit_start(list(sets.values()))
    for name in ("found", "empty", "error"):
        print(f"{name}: {tuple(round(value, 2) for value in getattr(start, name))}")
    for name, folds in sets.items():
        print(f"{name}: a second look makes a prediction take {cost(folds, places[name][0]):.2f} times as long")


if __name__ == "__main__":
    main()
