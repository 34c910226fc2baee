"""The usual causes of a poor training: each looks whether the numbers speak for it, and says so with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from autoseg.data.checks import Finding
from autoseg.evaluation.advice import causes as of
from autoseg.evaluation.advice.seen import (
    FEW_STEPS,
    GAP,
    Advice,
    Appraised,
    Seen,
    counted,
    dices,
    listed,
    more_variety,
    of_structures,
    smooth,
)
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.training.training import STOPPED

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
    if "NaN" in seen.ended:
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
    stopped = " before it was stopped" if seen.ended == STOPPED else ""
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
            few = len(seen.appraisal.subjects)
            chance = (
                f" With {counted(few, 'validation subject')} this may be these people's own."
                if math.isnan(low)
                else ""
            )
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
    people = counted(len(seen.appraisal.subjects), "validation subject")
    return Advice(
        "good",
        f"This is a good training: on {people} the Dice is {listed([_named(seen, s) for s in seen.scored])}.",
        "Look at the worst slices below, then test it on a new patient.",
        "good",
    )


def unexplained(seen: Seen) -> Advice:
    """Say that it is poor and that none of the usual causes is seen."""
    return Advice(
        "unexplained",
        f"The Dice is low for {listed(dices(seen, seen.poor))}, and none of the usual causes stands out.",
        "Look at the worst slices: do they show another kind of image, another level of the body, or a border that "
        "the image does not show? Label more of these.",
    )


def _named(seen: Seen, structure: Structure) -> str:
    return f"{seen.dice(structure):.2f} for {structure.name}"


# --- advice on a finished training: which of the usual causes are seen, the most important first


def advise(model: TrainedModel, appraisal: Appraised, *, findings: Sequence[Finding] = ()) -> tuple[Advice, ...]:
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
        return (of.unvalidated(), *of.few_subjects(seen))
    causes = [*of.too_fast(seen), *of.unfinished(seen)]
    if seen.poor:
        # What a training cut short has not learnt says nothing of the labels.
        causes += [*of_structures(seen, learnt=not causes), *of.of_findings(findings)]
        causes += [] if any(cause.kind == "overfitting" for cause in causes) else of.overfits(seen)
    causes += of.biased(seen)
    if not seen.poor and not any(cause.kind in ("bias", "too fast") for cause in causes):
        causes.insert(0, of.good(seen))
    causes += of.few_subjects(seen)
    return tuple(causes) or (of.unexplained(seen),)


def advice_text(advice: Sequence[Advice]) -> str:
    """Give the advice as one paragraph.

    Examples
    --------
    >>> advice_text([Advice("few subjects", "It learnt from one person.", "Label more people.")])
    'It learnt from one person. Label more people.'
    """
    return " ".join(f"{one.words} {one.remedy}".strip() for one in advice)
