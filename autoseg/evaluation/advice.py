"""Why a training went well or badly, in plain words: the usual causes, matched to what is actually seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from autoseg.data.checks import Finding
from autoseg.evaluation.validation_report import Appraisal
from autoseg.image.structures import Structure
from autoseg.model.ended import Ended
from autoseg.model.model import TrainedModel
from autoseg.training.shortfall import NEAR_ZERO
from autoseg.words import counted, listed

# Pooled Dice over a subject's slices, by more than which two readers of one image mostly agree.
GOOD_DICE = 0.80
# Training batches are augmented and so the harder ones: scores on them that lie so far above those on validation
# were learnt by heart. The smaller gap counts where the losses say the same.
WIDE_GAP, GAP = 0.15, 0.05
# Steps of the network (batches seen). It starts from nothing: the sample's hearts need about twice as many.
FEW_STEPS = 300
# Of the training batches, which are augmented: what a network cannot learn even by heart contradicts itself.
LOW_TRAINING_DICE = 0.70
# A rule of thumb; the sample's myocardium, drawn on 18 slices, stays at 0.77 where the cavity reaches 0.94.
FEW_SLICES = 30
# Of the network's grid: in a disc of so many pixels an outline half a pixel off changes the area by a quarter.
SMALL_PIXELS = 60
# Share of the image that all structures together cover; below, the network sees almost nothing but background.
SMALL_SHARE = 0.004
# Relative rise of the validation loss after its lowest point, and fall of the training loss since then.
LOSS_ROSE, LOSS_FELL = 0.10, 0.05
# In this last part of a finished training the schedule lets the Dice settle; gaining more means it was cut short.
LAST_PART, STILL_GAINING = 0.25, 0.03
# Share of the highest learning rate at which a training is still far from its end.
HIGH_RATE = 0.3
# Validated epochs below which a curve has no shape to speak of.
FEW_EPOCHS = 8
# A training loss that doubles from one epoch to the next, or ends so far above its lowest point, was thrown off.
LOSS_JUMP, LOSS_ENDED_ABOVE = 2.0, 1.25
# Each of fewer people is a quarter or more of all that the network knows about people.
FEW_SUBJECTS = 5
# A change of areas that many studies hope to find; a bias of the same sign on so many slices is no chance.
BIASED_PERCENT, ONE_SIGN = 5.0, 0.8

# What the check of the data may say about labels, by Finding.kind.
ABOUT_LABELS = {
    "sides": "sides exchanged",
    "permuted": "one structure with another's number",
    "values": "values without a name",
    "encoding": "one structure by several numbers",
    "palette": "colours that change their numbers",
    "rims": "smeared values",
    "turned": "labels turned or mirrored",
    "shifted": "labels beside their image",
    "order": "slices in another order",
    "unrelated": "labels that do not follow the image",
    "blank": "labels where the image is empty",
    "absent": "structures absent from some files",
    "rare": "a structure of a few pixels",
    "area": "outliers in size",
    "position": "outliers in place",
    "apart": "structures apart that touch elsewhere",
    "drawings": "two drawings of one image",
    "gap": "gaps between drawn slices",
}


@dataclass(frozen=True)
class Advice:
    """One thing that is seen of a training: a word for its kind, a sentence with the numbers, and what to do."""

    kind: str
    words: str
    remedy: str
    severity: Literal["good", "note", "warning"] = "warning"


def advise(model: TrainedModel, appraisal: Appraisal, *, findings: Sequence[Finding] = ()) -> tuple[Advice, ...]:
    """Match the usual causes of a poor training to what is seen of this one.

    A cause is named only where its numbers speak for it and the scores are poor, except for those that matter
    although the scores are good: areas with a bias, very few subjects, a training cut short. Thresholds are the
    constants of this module, with their reasons.

    Parameters
    ----------
    model : TrainedModel
        With its history.
    appraisal : Appraisal
        Of this model.
    findings : sequence of Finding
        Of the same data, from `check_cases`.

    Returns
    -------
    tuple of Advice
        The most important first, never empty. A good training has the kind "good" first; otherwise the kinds are
        "no validation", "too fast", "unfinished", "nothing learnt", "small structures", "few slices", "labels",
        "overfitting", "bias", "few subjects" and, where none of them is seen, "unexplained".
    """
    seen = Seen(model, appraisal)
    if not appraisal.scores:
        return (unvalidated(), *few_subjects(seen))
    causes = [*too_fast(seen), *unfinished(seen)]
    if seen.poor:
        # What a training cut short has not learnt says nothing of the labels.
        causes += [*of_structures(seen, learnt=not causes), *of_findings(findings)]
        causes += [] if any(cause.kind == "overfitting" for cause in causes) else overfits(seen)
    causes += biased(seen)
    if not seen.poor and not any(cause.kind in ("bias", "too fast") for cause in causes):
        causes.insert(0, good(seen))
    causes += few_subjects(seen)
    return tuple(causes) or (unexplained(seen),)


def advice_text(advice: Sequence[Advice]) -> str:
    """Give the advice as one paragraph.

    Examples
    --------
    >>> advice_text([Advice("few subjects", "It learnt from one person.", "Label more people.")])
    'It learnt from one person. Label more people.'
    """
    return " ".join(f"{one.words} {one.remedy}".strip() for one in advice)


class Seen:
    """The numbers that the causes look at."""

    def __init__(self, model: TrainedModel, appraisal: Appraisal) -> None:
        self.model, self.appraisal = model, appraisal
        self.settings = model.settings
        self.ended = str(model.origin.get("ended", ""))
        self.subjects = model.origin.get("training_subjects")
        self.history = model.history
        self.training_loss = smooth([row.training_loss for row in model.history])
        self.validated = [row for row in model.history if row.validation_loss is not None]
        self.rows: dict[Any, dict[Any, Any]] = {row["label"]: row for row in appraisal.summary.to_dict("records")}
        self.drawn = {drawn.label: drawn for drawn in appraisal.drawn}
        self.scored = [s for s in appraisal.structures if s.label in self.rows]
        self.poor = [s for s in self.scored if self.dice(s) < GOOD_DICE]

    def dice(self, structure: Structure) -> float:
        """Give the mean Dice over the validation subjects."""
        return float(self.rows[structure.label]["dice"])

    def named(self, structures: Sequence[Structure]) -> str:
        """Name structures with their Dice."""
        return listed([f"{s.name} (Dice {self.dice(s):.2f})" for s in structures])

    def training_dice(self, structure: Structure) -> float:
        """Give the Dice on training batches at the end; NaN where it is not known."""
        place = self.model.structures.index(structure)
        known = [row.training_dice[place] for row in self.history if row.training_dice]
        values = smooth([value for value in known if value is not None])
        return float(values[-1]) if values.size else math.nan

    def steps(self) -> float:
        """Give how many batches the network has seen; infinite where that is not known."""
        slices = self.model.origin.get("training_slices")
        return math.inf if slices is None else len(self.history) * math.ceil(slices / self.settings.batch_size)

    @property
    def has_hardly_begun(self) -> bool:
        """Whether so few steps were taken that poor scores need no other cause."""
        return bool(self.poor) and self.steps() < FEW_STEPS

    def network_pixels(self, structure: Structure) -> float:
        """Give the median size of a structure on a slice, in the network's pixels; infinite where not known."""
        scores = [s for s in self.appraisal.scores if s.label == structure.label and s.reference_pixels]
        areas = [s.reference_mm2 for s in scores if s.reference_mm2 is not None]
        if self.settings.spatial_dims == 3:
            spacing = self.settings.volume.spacing_mm
            # How slices lie to the network's axes is not known here; mostly its voxels are about cubes.
            known = spacing is not None and scores and len(areas) == len(scores)
            return float(np.median(areas)) / math.prod(spacing) ** (2 / 3) if known and spacing else math.inf
        prepared = self.settings.preprocess
        if not scores or prepared.crop_by_site or (prepared.crop_shape and prepared.input_shape):
            return math.inf
        if prepared.input_shape is not None:
            whole = math.prod(prepared.input_shape)
            return float(np.median([s.reference_pixels / s.slice_pixels for s in scores])) * whole
        if prepared.spacing_mm is None or len(areas) < len(scores):
            return math.inf
        return float(np.median(areas)) / prepared.spacing_mm**2

    def share(self) -> float:
        """Give the median share of a slice that all structures on it cover."""
        slices: dict[tuple[str, int], float] = {}
        for score in self.appraisal.scores:
            place = (score.case_id, score.slice_index)
            slices[place] = slices.get(place, 0) + score.reference_pixels / score.slice_pixels
        return float(np.median([share for share in slices.values() if share] or [1.0]))


def smooth(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Give the running median over about a fifth of the values, which one odd epoch does not move."""
    known = np.array(values, dtype=np.float64)
    half = max(1, len(known) // 10)
    return np.array([np.median(known[max(0, n - half) : n + half + 1]) for n in range(len(known))])


# --- the causes: each looks whether the numbers speak for it


def unvalidated() -> Advice:
    """Say that nobody was there to score."""
    return Advice(
        "no validation",
        "Nobody was set aside for validation, or nothing was drawn on those who were, so it is not known how well "
        "this model does on a new patient.",
        "Label at least two people, better five or more, and let autoseg set one aside.",
    )


def too_fast(seen: Seen) -> Iterator[Advice]:
    """Look for a loss that became no number, jumps, or ends above its lowest point."""
    remedy = f'Choose a learning rate of about a third ({seen.settings.learning_rate / 3:.2g}) under "more".'
    if seen.model.ended is Ended.NOT_A_NUMBER:
        yield Advice("too fast", f"Learning went too fast and broke down: {seen.ended}.", remedy)
        return
    raw = [row.training_loss for row in seen.history]
    if not seen.poor or len(raw) < FEW_EPOCHS:
        return
    jumps = sum(later > LOSS_JUMP * earlier > 0 for earlier, later in pairwise(raw))
    lowest, end = float(seen.training_loss.min()), float(seen.training_loss[-1])
    if jumps > 1:
        words = f"Learning was unsteady: the training loss doubled from one epoch to the next {jumps} times."
        yield Advice("too fast", words, remedy)
    elif end > LOSS_ENDED_ABOVE * lowest > 0:
        words = f"The training loss had come down to {lowest:.2f} and ends at {end:.2f}: learning was too fast."
        yield Advice("too fast", words, remedy)


def unfinished(seen: Seen) -> Iterator[Advice]:
    """Look whether the Dice was still rising at the end, or there were too few steps to learn anything."""
    if seen.has_hardly_begun:
        steps, epochs = round(seen.steps()), counted(len(seen.history), "epoch")
        words = (
            f"It has hardly begun: in {epochs} the network took {counted(steps, 'step')}; it needs several hundred."
        )
        factor = max(2, math.ceil(2 * FEW_STEPS / max(steps, 1)))
        yield Advice("unfinished", words, f"Give it about {factor} times as many minutes or epochs.")
        return
    dice = smooth([row.validation_dice for row in seen.validated if row.validation_dice is not None])
    if len(dice) < FEW_EPOCHS:
        return
    before = float(dice[round((1 - LAST_PART) * (len(dice) - 1))])
    stopped = " before it was stopped" if seen.model.ended is Ended.STOPPED else ""
    remedy = "Give it more time: about twice as many minutes or epochs."
    rates = [row.learning_rate for row in seen.history]
    if dice[-1] - before >= STILL_GAINING:
        words = (
            f"It was not finished: in the last quarter{stopped} the validation Dice was still rising, from "
            f"{before:.2f} to {dice[-1]:.2f}."
        )
        yield Advice("unfinished", words, remedy, "warning" if seen.poor else "note")
    elif seen.poor and stopped and rates[-1] > HIGH_RATE * max(rates):
        words = (
            f"It was stopped after {len(rates)} epochs, at {100 * rates[-1] / max(rates):.0f} % of the highest "
            "learning rate; the outlines become exact towards the end, when the rate is low."
        )
        yield Advice("unfinished", words, "Let it run to its end, or give it a shorter time from the start.")


def overfits(seen: Seen) -> Iterator[Advice]:
    """Look for a validation loss that rises while the training loss still falls."""
    if len(seen.validated) < FEW_EPOCHS:
        return
    place = {row.epoch: n for n, row in enumerate(seen.history)}
    validation = smooth([row.validation_loss or 0.0 for row in seen.validated])
    low = int(validation.argmin())
    epoch = seen.validated[low].epoch
    start, end = seen.training_loss[place[epoch]], seen.training_loss[-1]
    gaps = [gap for s in seen.scored if not math.isnan(gap := seen.training_dice(s) - seen.dice(s))]
    is_apart = not gaps or max(gaps) >= GAP
    if is_apart and validation[-1] > (1 + LOSS_ROSE) * validation[low] and end < (1 - LOSS_FELL) * start:
        yield Advice(
            "overfitting",
            f"It began to learn the pictures by heart (overfitting): from about epoch {epoch} on the validation "
            f"loss rose from {validation[low]:.2f} to {validation[-1]:.2f} while the training loss still fell, "
            f"from {start:.2f} to {end:.2f}. The weights kept are those of epoch {seen.model.best_epoch}.",
            more_variety(seen),
        )


def biased(seen: Seen) -> Iterator[Advice]:
    """Look for areas that are too large or too small although the Dice is good."""
    for structure in (s for s in seen.scored if s not in seen.poor):
        row = seen.rows[structure.label]
        error, low, high = (row[f"total_area_error_percent{end}"] for end in ("", "_low", "_high"))
        errors = [s.area_error_percent for s in seen.appraisal.scores if s.label == structure.label]
        known = np.array([e for e in errors if e is not None])
        if math.isnan(error) or abs(error) < BIASED_PERCENT or not known.size:
            continue
        one_sign = max(np.mean(known > 0), np.mean(known < 0)) >= ONE_SIGN
        # Where there is an interval it tells more than the signs.
        if one_sign if math.isnan(low) else low > 0 or high < 0:
            size = "large" if error > 0 else "small"
            people = counted(len(seen.appraisal.subjects), "validation patient")
            chance = f" With {people} this may be these people's own." if math.isnan(low) else ""
            yield Advice(
                "bias",
                f"The areas of {structure.name} are {abs(error):.0f} % too {size} on average, although its Dice of "
                f"{seen.dice(structure):.2f} is good: the outline runs {'out' if error > 0 else 'in'}side that of "
                f"the drawings.{chance}",
                "Look at the worst slices for where it does so. More time usually brings it closer.",
            )


def of_findings(findings: Sequence[Finding]) -> Iterator[Advice]:
    """Recall what the check of the data said about labels, where the scores are poor."""
    kinds = [f.kind for f in findings if f.severity != "note" and f.kind in ABOUT_LABELS]
    if kinds:
        words = listed([ABOUT_LABELS[kind] for kind in dict.fromkeys(kinds)])
        count = "one thing" if len(kinds) == 1 else f"{len(kinds)} things"
        yield Advice(
            "labels",
            f"The check of the data found {count} about the labels: {words}.",
            "Settle them, then train again.",
        )


def few_subjects(seen: Seen) -> Iterator[Advice]:
    """Look how many people it learnt from."""
    if seen.subjects is not None and seen.subjects < FEW_SUBJECTS:
        people = "one person" if seen.subjects == 1 else f"{seen.subjects} people"
        yield Advice(
            "few subjects",
            f"It learnt from {people} only, and patients differ more than that.",
            "Label more people; a few slices of another person help more than many of the same.",
            "warning" if seen.poor else "note",
        )


def good(seen: Seen) -> Advice:
    """Say that it is good, with the numbers."""
    people = counted(len(seen.appraisal.subjects), "validation patient")
    dice = [f"{seen.dice(s):.2f} for {s.name}" for s in seen.scored]
    return Advice(
        "good",
        f"This is a good training: on {people} the Dice is {listed(dice)}.",
        "Look at the worst slices below, then test it on a new patient.",
        "good",
    )


def unexplained(seen: Seen) -> Advice:
    """Say that it is poor and that none of the usual causes is seen."""
    return Advice(
        "unexplained",
        f"The Dice is low for {seen.named(seen.poor)}, and none of the usual causes stands out.",
        "Look at the worst slices: do they show another kind of image, another level of the body, or a border that "
        "the image does not show? Label more of these.",
    )


# --- why a structure scores poorly: for each the first cause that its numbers speak for


def of_structures(seen: Seen, *, learnt: bool) -> Iterator[Advice]:
    """Name for each structure that scores poorly the first cause that fits; `learnt`: the training was finished."""
    groups: dict[str, list[Structure]] = {}
    for structure in seen.poor:
        groups.setdefault(_cause(seen, structure, learnt), []).append(structure)
    say = {
        "small structures": _small,
        "few slices": _few_slices,
        "other labels": _other_labels,
        "overfitting": _by_heart,
        "labels": _contradictory,
        "nothing learnt": _nothing_learnt,
    }
    for kind, words in say.items():
        if kind in groups:
            yield words(seen, groups[kind])


def _cause(seen: Seen, structure: Structure, learnt: bool) -> str:
    dice, training = seen.dice(structure), seen.training_dice(structure)
    drawn = seen.drawn.get(structure.label)
    if drawn is not None and drawn.shown == 0:
        return "few slices"
    if seen.has_hardly_begun:
        return ""
    if dice < NEAR_ZERO and training >= LOW_TRAINING_DICE:
        return "other labels"
    if drawn is not None and drawn.shown < FEW_SLICES:
        return "few slices"
    if seen.network_pixels(structure) < SMALL_PIXELS:
        return "small structures"
    if training - dice >= WIDE_GAP:
        return "overfitting"
    if learnt and training < NEAR_ZERO and dice < NEAR_ZERO:
        return "small structures" if seen.share() < SMALL_SHARE else "nothing learnt"
    if learnt and training < LOW_TRAINING_DICE:
        return "small structures" if seen.share() < SMALL_SHARE else "labels"
    return ""


def _small(seen: Seen, structures: Sequence[Structure]) -> Advice:
    pixels = [seen.network_pixels(s) for s in structures]
    size = f" and about {min(pixels):.0f} of the network's pixels" if np.isfinite(min(pixels)) else ""
    prepared = seen.settings.preprocess
    cropped = prepared.crop_mm or prepared.crop_shape
    remedy = "Let the network see a region around the structures only, with smaller pixels."
    if seen.settings.spatial_dims == 3:
        remedy = "Choose smaller voxels for the network."
    elif cropped:
        remedy = "Choose smaller pixels for the network, or a smaller region around the structures."
    words = (
        f"The field of view is large for {seen.named(structures)}: what is drawn covers "
        f"{100 * seen.share():.2f} % of the image{size}."
    )
    return Advice("small structures", words, remedy)


def _few_slices(seen: Seen, structures: Sequence[Structure]) -> Advice:
    counts = [
        f"{seen.named([s])} is drawn on {counted(seen.drawn[s.label].shown, 'training slice')} of "
        f"{counted(seen.drawn[s.label].subjects, 'patient')}"
        for s in structures
    ]
    return Advice(
        "few slices",
        f"There is little to learn from: {listed(counts)}.",
        "Draw it on more slices of more people. If it was drawn on more, it has another value or name in those "
        "files: correct the structures table.",
    )


def _other_labels(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} (training {seen.training_dice(s):.2f}, validation {seen.dice(s):.2f})" for s in structures]
    return Advice(
        "labels",
        f"The network learnt {listed(words)}, but what it then finds is not what was drawn on the validation "
        "patients: there the label value, the side or what was drawn seems to be another.",
        "Compare the drawings of the validation patients with the others.",
    )


def _by_heart(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} ({seen.training_dice(s):.2f} against {seen.dice(s):.2f})" for s in structures]
    return Advice(
        "overfitting",
        "It knows the training slices by heart (overfitting): the Dice is much better there than on the validation "
        f"patients, for {listed(words)}.",
        more_variety(seen),
    )


def _contradictory(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} ({seen.training_dice(s):.2f})" for s in structures]
    return Advice(
        "labels",
        f"Even on the slices that it learnt from the Dice stays low, for {listed(words)}: the drawings seem to "
        "contradict each other, or the images do not show what was drawn.",
        "Look through the drawings: one rule for every slice, the same value for the same structure, no outlier.",
    )


def _nothing_learnt(seen: Seen, structures: Sequence[Structure]) -> Advice:
    return Advice(
        "nothing learnt",
        f"Nothing was learnt of {seen.named(structures)}, not even on the training slices.",
        "Look at the preview: do the colours lie on the right anatomy, under the right names? Is the label value "
        "the same in every file?",
    )


def more_variety(seen: Seen) -> str:
    """Say what helps against learning by heart."""
    varied = seen.settings.augmentation
    if max(varied.rotation_probability, varied.scaling_probability, varied.zoom_probability) == 0:
        return "Switch the augmentation on, and label more people."
    dropout = "" if seen.settings.network.dropout else "; a dropout of 0.1 to 0.2 may help too"
    return f"Label more people{dropout}."
