"""How good a finished training is: its validation cases predicted and scored, and the worst slices kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import pandas as pd

from autoseg.data.cases import Case
from autoseg.data.split import Split, subjects_of
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MM2
from autoseg.measurement.intervals import Expected, find_band
from autoseg.measurement.scores import Score, VolumeScore, score_slices, score_volume
from autoseg.measurement.statistics import FEWEST_FOR_INTERVAL
from autoseg.measurement.summary import summarise
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Calibration, Errors, How
from autoseg.prediction import predict
from autoseg.report.kept_slices import WorstSlice
from autoseg.training.choose_postprocess import read_reference
from autoseg.words import counted, listed

WORST = 8
# A case that is predicted takes about so many times as long as one that is only read.
PREDICTING = 10
UNKNOWN = "–"


@dataclass(frozen=True)
class Drawn:
    """What training had of one structure.

    `subjects` are the people who show it, `slices` those on which it was drawn or is known to be absent, `shown`
    those of them that show it.
    """

    label: int
    name: str
    subjects: int
    slices: int
    shown: int


@dataclass(frozen=True, eq=False, repr=False)
class Appraisal:
    """What is known of a finished training.

    `subjects` were validated on; `scores` and `volumes` are theirs, `summary` has one row a structure (`summarise`,
    empty without a score), `worst` the worst slices, worst first. `drawn` tells what training had of each
    structure. `notes` are sentences that the reader of the numbers should know.
    """

    structures: tuple[Structure, ...]
    subjects: tuple[str, ...]
    scores: tuple[Score, ...]
    volumes: tuple[VolumeScore, ...]
    summary: pd.DataFrame
    worst: tuple[WorstSlice, ...]
    drawn: tuple[Drawn, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        dice = ", ".join(f"{row.name} {row.dice:.3f}" for row in self.summary.itertuples()) or "nothing scored"
        return f"Appraisal({counted(len(self.subjects), 'validation patient')}; Dice {dice})"


def appraise(
    model: TrainedModel,
    split: Split,
    *,
    worst: int = WORST,
    on_progress: Callable[[float], object] | None = None,
) -> Appraisal:
    """Predict the validation cases on their own grids and score them against what was drawn.

    Epoch, post-processing or offsets were chosen on these same cases, so their scores are a little better than a
    new patient's; the notes say so. Test cases are not touched.

    Parameters
    ----------
    model : TrainedModel
    split : Split
        By which it was trained.
    worst : int
        So many of the worst slices are kept with their images.
    on_progress : callable, optional
        Called with the share of the work that is done, 0 to 1.

    Returns
    -------
    Appraisal
        Without validation cases it has no scores, and a note.

    Raises
    ------
    AutosegError
        Of the kinds that reading, prediction and scoring raise.
    """
    tell = _Progress(on_progress, len(split.training) + PREDICTING * len(split.validation))
    drawn = _count_drawn(split.training, model.structures, tell)
    scores: list[Score] = []
    volumes: list[VolumeScore] = []
    kept: list[WorstSlice] = []
    for number, case in enumerate(split.validation, start=1):
        image, reference = read_reference(case, model.structures)
        predicted = predict(model, image, on_slices=tell.slices)
        tell.done(PREDICTING)
        mine = score_slices(reference, predicted)
        scores += mine
        volumes += score_volume(reference, predicted)
        kept = keep_worst(kept, mine, number, (image, reference, predicted), most=worst)
    subjects = subjects_of(split.validation)
    return Appraisal(
        structures=model.structures,
        subjects=subjects,
        scores=tuple(scores),
        volumes=tuple(volumes),
        summary=summarise(scores),
        worst=tuple(kept),
        drawn=drawn,
        notes=_notes(model, subjects, scores),
    )


def rank_worst(scores: Sequence[Score]) -> list[Score]:
    """Give the scores worst first.

    Structures that were missed entirely, or invented where there is none, come first, the largest of them first;
    then the lowest Dice. What was not drawn has no score (`score_slices`) and so no place here.
    """
    return sorted(scores, key=_badness)


def keep_worst(
    kept: Sequence[WorstSlice],
    scores: Sequence[Score],
    number: int,
    maps: tuple[Image, LabelMap, LabelMap],
    *,
    most: int,
) -> list[WorstSlice]:
    """Give the worst slices of those kept and of one case more, worst first.

    `maps` are the case's image, reference and prediction, of which only what may be shown is kept: whole images of
    many patients would fill the memory.
    """
    found, (image, reference, predicted) = list(kept), maps
    for score in rank_worst(scores)[:most]:
        at = score.slice_index
        found.append(
            WorstSlice(score, number, image.one_slice(at), reference.one_slice(at), predicted.one_slice(at))
        )
    return sorted(found, key=lambda item: _badness(item.score))[:most]


def appraisal_table(appraisal: Appraisal) -> pd.DataFrame:
    """Show the appraisal as a table of text, one row a structure.

    Returns
    -------
    DataFrame
        The columns name their units. Intervals in brackets are those of `summarise`; "–" stands for what is not
        known. A structure that was not scored has a row too.
    """
    rows = []
    summed: dict[Any, dict[Any, Any]] = {row["label"]: row for row in appraisal.summary.to_dict("records")}
    seen = {drawn.label: drawn for drawn in appraisal.drawn}
    for structure in appraisal.structures:
        row = summed.get(structure.label, {})
        drawn = seen.get(structure.label)
        rows.append(
            {
                "Structure": structure.name,
                "Dice [95 %]": with_ends(row, 2, "dice", "dice_low", "dice_high"),
                "Area error of a slice, % [95 %]": with_ends(
                    row, 1, "area_error_percent", "area_error_percent_low", "area_error_percent_high"
                ),
                "Area bias, mm² [limits of agreement]": with_ends(
                    row, 0, "area_bias_mm2", "area_limit_low_mm2", "area_limit_high_mm2"
                ),
                "Mean area drawn, mm²": number_text(row.get("reference_mm2"), 0),
                "Mean area predicted, mm²": number_text(row.get("predicted_mm2"), 0),
                "Slices (patients)": _of(row.get("n_slices"), row.get("n_subjects")),
                "Slices missed": number_text(row.get("n_missed"), 0),
                "Slices invented": number_text(row.get("n_invented"), 0),
                "Learnt from slices (patients)": UNKNOWN if drawn is None else _of(drawn.shown, drawn.subjects),
            }
        )
    return pd.DataFrame(rows)


def errors_table(model: TrainedModel, appraisal: Appraisal) -> pd.DataFrame:
    """Show how far areas can be off, as a table of text, one row a structure; empty where nothing is known of it.

    Per cent of an area or volume as usual on the appraisal's patients (where nobody was scored, as nothing is
    known of their sizes, there is no row): the interval in which the true one lies, and by how much it typically is
    off, the median over the patients of the calibration of each one's mean.
    """
    calibration, rows = model.trust.calibration, []
    for structure in model.structures if calibration is not None else ():
        usual = _usual(appraisal, structure.label, calibration.unit if calibration is not None else "")
        if calibration is None or not usual:
            continue
        row = {"Structure": structure.name}
        for words, quantity in ERRORS.items():
            errors = calibration.errors_of(structure.name, quantity)
            row[words] = (
                UNKNOWN if errors is None else _off(errors, calibration, usual.get(quantity), usual["doubt"])
            )
        place = calibration.structures.index(structure.name) if structure.name in calibration.structures else None
        held = None if place is None else calibration.coverage[place]
        row["Intervals of slices that held, %"] = UNKNOWN if held is None else number_text(100 * held, 0)
        rows.append(row)
    return pd.DataFrame(rows)


# What is told, by the quantity whose errors are kept.
ERRORS = {
    "Area of a slice, %": "found",
    "Mean area of a patient, %": "mean",
    "Volume of a patient, %": "volume",
}


def _usual(appraisal: Appraisal, label: int, unit: str) -> dict[str, float]:
    """Give the usual size of each quantity of a structure, and the doubt of a usual slice; {} without any."""
    mine = [score for score in appraisal.scores if score.label == label and score.predicted_pixels]
    areas = [score.predicted_mm2 if unit == MM2 else score.predicted_pixels for score in mine]
    known = [float(area) for area in areas if area is not None]
    if not known:
        return {}
    usual = {"found": fmean(known), "mean": fmean(known), "doubt": 1 - fmean(score.dice for score in mine)}
    of_stacks = [one.predicted_mm3 for one in appraisal.volumes if one.label == label and one.predicted_mm3]
    volumes = [volume for volume in of_stacks if volume is not None]
    return {**usual, "volume": fmean(volumes)} if volumes else usual


def _off(errors: Errors, calibration: Calibration, usual: float | None, doubt: float) -> str:
    """Write between how many per cent a usual value can be off, and by how many it typically is."""
    if not usual:
        return UNKNOWN
    expected = Expected(errors.base, errors.share, errors.doubt)
    each = [fmean(abs(score) for score in own) for own in errors.scores]
    typical = f"typically {number_text(100 * median(each) * float(expected.of(usual, doubt)) / usual, 1)}"
    band = find_band(errors.scores, calibration.level, may_assume=calibration.how == How.FOLDS)
    if band is None:
        return typical
    low, high = (100 * (end - usual) / usual for end in expected.interval(usual, band, doubt))
    return f"{number_text(low, 0)} to +{number_text(high, 0)} ({typical})"


class _Progress:
    """Turn slices and cases into a share of all work."""

    def __init__(self, on_progress: Callable[[float], object] | None, work: int) -> None:
        self.on_progress, self.work, self.before = on_progress, max(work, 1), 0

    def slices(self, done: int, count: int) -> None:
        self._tell(self.before + PREDICTING * done / count)

    def done(self, work: int) -> None:
        self.before += work
        self._tell(self.before)

    def _tell(self, done: float) -> None:
        if self.on_progress is not None:
            self.on_progress(done / self.work)


def _count_drawn(cases: Sequence[Case], structures: Sequence[Structure], tell: _Progress) -> tuple[Drawn, ...]:
    """Count the training slices of each structure, one case in memory at a time."""
    known, shown = ({s.label: 0 for s in structures} for _ in range(2))
    owners: dict[int, set[str]] = {s.label: set() for s in structures}
    for case in cases:
        _, reference = read_reference(case, structures)
        for label in (s.label for s in structures if reference.is_annotated(s.label)):
            there = int(reference.mask(label).any(axis=(1, 2)).sum())
            known[label] += reference.shape[0]
            shown[label] += there
            owners[label] |= {case.subject_id} if there else set()
        tell.done(1)
    return tuple(Drawn(s.label, s.name, len(owners[s.label]), known[s.label], shown[s.label]) for s in structures)


def _badness(score: Score) -> tuple[int, float, float]:
    """Give what sorts the worst first."""
    areas = (score.reference_mm2, score.predicted_mm2)
    known = [area for area in areas if area is not None] or [score.reference_pixels, score.predicted_pixels]
    one_sided = not (score.reference_pixels and score.predicted_pixels)
    return (0 if one_sided else 1, score.dice, -max(known))


def _kindness(model: TrainedModel) -> str:
    """Say why validation scores may be better than a new patient's."""
    chosen = ["the epoch"] * (model.settings.best_by != "last")
    chosen += ["the post-processing"] * bool(model.postprocess) + ["the offsets of areas"] * bool(model.offsets)
    kind = "Nothing of the model was chosen on these patients. "
    if chosen:
        was = "was" if chosen == ["the epoch"] else "were"
        kind = f"These scores are a little kind: {listed(chosen)} {was} chosen on these same patients. "
    return f"{kind}What a new patient would get is told by patients set aside for a test, or by cross-validation."


def _notes(model: TrainedModel, subjects: Sequence[str], scores: Sequence[Score]) -> tuple[str, ...]:
    if not subjects:
        return ("There are no validation patients, so nothing was scored.",)
    notes = [_kindness(model)]
    if len(subjects) < FEWEST_FOR_INTERVAL:
        notes.append(
            f"With {counted(len(subjects), 'validation patient')} there is no 95 % interval; "
            f"{FEWEST_FOR_INTERVAL} are needed. Another person may do much better or worse."
        )
    scored = {score.label for score in scores}
    missing = [s.name for s in model.structures if s.label not in scored]
    if missing:
        notes.append(
            f"Nothing is known of {listed(missing)}: not drawn on any validation slice, or neither drawn nor "
            "predicted there. Validate on a patient that shows it."
        )
    if any(score.reference_mm2 is None for score in scores):
        notes.append("Some images have no pixel size, so there is no area in mm².")
    return tuple(notes)


def with_ends(row: dict[Any, Any], digits: int, *fields: str) -> str:
    """Write a value with the ends of its interval, where these are known."""
    value, low, high = (number_text(row.get(field), digits) for field in fields)
    return value if UNKNOWN in (low, high) else f"{value} [{low} to {high}]"


def _of(slices: float | None, subjects: float | None) -> str:
    return UNKNOWN if slices is None else f"{number_text(slices, 0)} ({number_text(subjects, 0)})"


def number_text(value: float | None, digits: int) -> str:
    """Write a number with so many decimals; "–" where it is not known."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:,.{digits}f}"
    # Rounded to nothing, it has no sign; otherwise the sign is a minus and not a hyphen.
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")
