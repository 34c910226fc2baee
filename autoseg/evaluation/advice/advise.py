"""Advice on a finished training: which of the usual causes are seen, the most important first."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.data.checks import Finding
from autoseg.evaluation.advice import causes as of
from autoseg.evaluation.advice.seen import Advice, Appraised, Seen
from autoseg.evaluation.advice.structures import of_structures
from autoseg.model.model import TrainedModel


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
