"""How many more patients? The same settings learnt from few subjects and from more, and the curve carried on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import pandas as pd

from autoseg.data.cases import Case
from autoseg.data.split import k_folds, subjects_of
from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.entries import EntryName
from autoseg.evaluation.comparison.tables import MEAN
from autoseg.evaluation.crossvalidation import CrossValidation, Scenario
from autoseg.measurement.learning_curve import (
    FARTHEST,
    FEWEST_PATIENTS,
    FEWEST_SIZES,
    WIDEST,
    Doubt,
    LearningCurve,
    fit_learning_curve,
)
from autoseg.measurement.summary import pool_subjects
from autoseg.model.settings.settings import Settings
from autoseg.words import are, counted, listed

# How many more are asked about, beside as many again.
MORE = 12
# With fewer to learn from there are no three sizes.
FEWEST_TO_LEARN = 4
# A structure that is missed is off by 100 %; one that is invented in its place counts no more.
MOST_PERCENT = 100.0


@dataclass(frozen=True)
class Measure:
    """What is forecast: the name of its column, its title, its unit and its value without an error."""

    column: str
    title: str
    unit: str
    perfect: float

    def write(self, *values: float) -> list[str]:
        """Write values without their unit, with as many decimals as tell the first from the others."""
        decimals = (0 if max(values) >= 9.5 else 1) if self.unit else 2
        while True:
            written = [f"{value:.{decimals}f}" for value in values]
            if written[0] not in written[1:] or decimals > 3:
                return written
            decimals += 1

    @property
    def axis(self) -> str:
        """What stands at an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


MEASURES = (Measure("area_error_percent", "area error", "%", 0.0), Measure("dice", "Dice", "", 1.0))
COLUMNS = (
    *("structure", "measure", "patients_to_learn_from", "kind", "n_patients"),
    *("value", "low", "high", "note"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """What was measured with several numbers of patients to learn from, and what is expected of more.

    `curves` are by structure, MEAN first where there are several, and by the column of the measure.
    """

    curves: Mapping[tuple[str, str], LearningCurve]

    def __repr__(self) -> str:
        return f"Forecast({self.sentence})"

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures, their mean first."""
        return tuple(dict.fromkeys(structure for structure, _ in self.curves))

    def shown(self, structure: str | None = None) -> dict[str, LearningCurve]:
        """Give the curves of a structure, by default of the mean, by what stands at their axes."""
        name = structure or next(iter(self.structures), "")
        return {one.axis: self.curves[name, one.column] for one in MEASURES if (name, one.column) in self.curves}

    @property
    def table(self) -> pd.DataFrame:
        """What was measured and what is expected, one row a structure, measure and number of patients.

        `low` and `high` are the ends of 80 % intervals. Where nothing can be told, the `note` says why.
        """
        rows = [row for key, curve in self.curves.items() for row in _rows(*key, curve)]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def sentence(self) -> str:
        """Say what more patients would do, or why that cannot be told; of the mean over structures."""
        curves = [(one, self.curves[key]) for one in MEASURES for key in self.curves if _is_first(self, key, one)]
        if not curves:
            return "How much more patients would help cannot be told: nothing was scored."
        now = round(curves[0][1].sizes[-1])
        more = next((count for count in (now + MORE, 2 * now) if count <= FARTHEST * now), 2 * now)
        told = [(one, curve) for one, curve in curves if curve.doubt_at(more) is None]
        doubts = {
            why: [one.title for one, curve in curves if curve.doubt_at(more) is why]
            for why in dict.fromkeys(curve.doubt_at(more) for _, curve in curves)
            if why is not None
        }
        why_not = "; ".join(f"{' and '.join(titles)}: {_say(why, curves[0][1])}" for why, titles in doubts.items())
        if not told:
            words = why_not if len(doubts) > 1 else _say(next(iter(doubts)), curves[0][1])
            return f"How much more patients would help cannot be told: {words}."
        counts = f"{more - now} more patients to learn from ({more} in place of {now})"
        found = ", ".join(_expect(one, curve, more) for one, curve in told)
        rest = f" Not told: {why_not}." if why_not else ""
        return f"With {counts}: {found} (80 % interval{'s' * (len(told) > 1)}).{rest}"


def sizes_for(most: int) -> tuple[int, ...]:
    """Give numbers of patients to learn from, each about twice the one before, up to all.

    Examples
    --------
    >>> sizes_for(12), sizes_for(9), sizes_for(5)
    ((2, 4, 8, 12), (2, 4, 9), (2, 3, 5))
    """
    if most < FEWEST_TO_LEARN:
        raise DataError(
            f"Each fold has {counted(most, 'patient')} to learn from; a forecast needs {FEWEST_TO_LEARN} "
            "at least, of which some learn from fewer. Draw more patients; as long as there are fewer folds than "
            "patients, more folds help, too."
        )
    sizes = [2]
    while sizes[-1] * 2 * 1.5 <= most:
        sizes.append(sizes[-1] * 2)
    middle = [] if len(sizes) > 1 else [round(math.sqrt(2 * most))]
    return (*sizes, *middle, most)


def forecast_entries(
    entry: Settings | Scenario,
    cases: Sequence[Case],
    stem: str,
    *,
    folds: int = 5,
    test_subjects: Collection[str] = (),
    sizes: Collection[int] = (),
) -> dict[str, Scenario]:
    """Give the same settings or scenario with few subjects to learn from and with more, last with all, by name.

    A training from few makes as many steps as one from all, or they would differ by what they had time to learn:
    `minutes` are the same for all, and `epochs`, which are those of the training from all, are more with fewer
    subjects. The best epoch is kept, so that a small training is not harmed by going on. Compare them with
    `few_by_fold`, without which there is no forecast.

    Raises
    ------
    SettingsError
        If a size is not between 1 and all but one of a fold's.
    DataError
        If the folds have too few subjects.
    """
    scenario = Scenario.of(entry)
    settings = scenario.settings
    splits = k_folds(cases, folds=folds, seed=settings.seed, test_subjects=test_subjects)
    most = min(len(subjects_of(split.training)) for split in splits)
    wanted = sorted(set(sizes)) or sizes_for(most)[:-1]
    if wanted[0] < 1 or wanted[-1] >= most:
        raise SettingsError(
            f"From {counted(most, 'patient')} a fold learns at most; give sizes from 1 to {most - 1} (not "
            f"{listed([str(size) for size in wanted if not 1 <= size < most])}). All are learnt from in any case."
        )
    entries = {}
    for size in wanted:
        own = settings
        if settings.minutes is None and settings.epochs is not None:
            own = replace(settings, epochs=math.ceil(settings.epochs * most / size))
        entries[str(EntryName(stem, size))] = replace(scenario, settings=own, subjects=size)
    return {**entries, stem: replace(scenario, subjects=None)}


def forecast_of(runs: Mapping[str, CrossValidation], learnt: Mapping[str, float]) -> Forecast:
    """Fit curves to entries that learnt from so many subjects each, over the folds that all have."""
    by_size = {learnt[entry]: run for entry, run in runs.items() if entry in learnt}
    sizes = sorted(by_size)
    scores = [_values(by_size[size]) for size in sizes]
    keys = list(dict.fromkeys(key for found in scores for key in found))
    names = [name for name in dict.fromkeys(name for name, _ in keys) if name != MEAN]
    fold_of = {
        score.subject_id: fold.number for run in by_size.values() for fold in run.folds for score in fold.scores
    }
    curves = {}
    for structure in [*([MEAN] if len(names) > 1 else []), *names]:
        subjects = [subject for name, subject in keys if name == structure]
        for one in MEASURES:
            values = [
                [found.get((structure, subject), {}).get(one.column, math.nan) for found in scores]
                for subject in subjects
            ]
            folds = [fold_of[subject] for subject in subjects]
            curves[structure, one.column] = fit_learning_curve(values, sizes, folds, perfect=one.perfect)
    return Forecast(curves)


def _values(run: CrossValidation) -> dict[tuple[str, str], dict[str, float]]:
    """Give Dice and area error by structure and subject; the error is that of all slices together, either way."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for score in pool_subjects(run.scores):
        error = min(abs(score.total_area_error_percent), MOST_PERCENT)  # NaN stays
        found[score.name, score.subject_id] = {
            "dice": score.dice,
            "area_error_percent": math.nan if math.isnan(score.total_area_error_percent) else error,
        }
    of_subject: dict[str, list[dict[str, float]]] = {}
    for (_, subject), values in found.items():
        of_subject.setdefault(subject, []).append(values)
    for subject, rows in of_subject.items():
        known = {one.column: [r[one.column] for r in rows if not math.isnan(r[one.column])] for one in MEASURES}
        found[MEAN, subject] = {name: fmean(values) if values else math.nan for name, values in known.items()}
    return found


def _is_first(forecast: Forecast, key: tuple[str, str], one: Measure) -> bool:
    return key == (forecast.structures[0], one.column)


def _rows(structure: str, measure: str, curve: LearningCurve) -> list[dict[str, Any]]:
    front = {"structure": structure, "measure": measure, "n_patients": curve.n_patients}
    rows = [
        {"patients_to_learn_from": size, "kind": "measured", **_ends(found), "note": ""}
        for size, found in zip(curve.sizes, curve.measured, strict=True)
    ]
    now = round(curve.sizes[-1])
    for count in sorted({now + MORE, 2 * now}):
        why = curve.doubt_at(count)
        found = _ends(curve.at(count) if why is None else None)
        note = "" if why is None else _say(why, curve)
        rows.append({"patients_to_learn_from": count, "kind": "expected", **found, "note": note})
    return [front | row for row in rows]


def _ends(found: Any) -> dict[str, float]:
    return {end: math.nan if found is None else getattr(found, end) for end in ("value", "low", "high")}


def _expect(one: Measure, curve: LearningCurve, count: float) -> str:
    """Say what is expected in place of what is, such as "area error 6.2 to 9.1 % in place of 11 %"."""
    found, now, unit = curve.at(count), curve.measured[-1].value, f" {one.unit}" if one.unit else ""
    then, low, high = one.write(now, found.low, found.high)
    words = f"{one.title} {low}{f' to {high}' if high != low else ''}{unit}"
    is_better = found.low > now if one.perfect else found.high < now
    if is_better:
        return f"{words} in place of {then}{unit}"
    return f"{words}, which may be no better than the {then}{unit} of now"


def _say(why: Doubt, curve: LearningCurve) -> str:
    """Say why nothing is told."""
    sizes = f"from {curve.sizes[0]:.0f} to {curve.sizes[-1]:.0f} patients" if curve.sizes else ""
    return {
        Doubt.FEW_SIZES: f"it takes {FEWEST_SIZES} numbers of patients to learn from, and there are "
        f"{len(curve.sizes)} so far",
        Doubt.FEW_PATIENTS: f"only {counted(curve.n_patients, 'patient')} {are(curve.n_patients)} scored so "
        f"far, and it takes {FEWEST_PATIENTS} in two folds",
        Doubt.RISES: f"more patients made it worse somewhere {sizes}, which no learning curve does; learning "
        "longer, or more folds, may settle it",
        Doubt.FLAT: f"it did not surely get better {sizes}",
        Doubt.WIDE: f"the interval would be wider than {100 * WIDEST:.0f} % of the error of now",
        Doubt.FAR: f"that is more than {FARTHEST:g} times what was learnt from",
    }[why]
