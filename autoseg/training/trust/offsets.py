"""Offsets by which a model's areas are right on average: fitted on its training and its validation images.

The most probable class makes round and thin structures too small, as much on new patients as on known ones, while
the sum of a structure's probabilities is about right (`autoseg.model.offsets`). So on validation images as many
pixels shall be of a structure as its probabilities add up to. By how much that sum is off itself is told by all
images; a few subjects tell it badly, and it is believed the less the more they differ. Areas alone, of few
validation subjects, would tell nothing: a subject's area is off by 7 to 15 % either way. Where a network has learnt
for a short time only, and is unsure everywhere, areas of all images count instead. Either is believed as far as the
subjects are many and agree, beside what is known beforehand: that models are off by a few percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case
from autoseg.data.split import Split
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import Centreline
from autoseg.model.model import TrainedModel
from autoseg.model.offsets import MOST
from autoseg.model.preprocessing.classes import classes_of
from autoseg.prediction import predict_probabilities
from autoseg.prediction.ensemble import PLAIN, Inference, Networks
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.validation import class_members

Values = npt.NDArray[np.float64]

# Of the images' own pixels, of training and of validation images each; one image at least.
MOST_PIXELS = 2**24
# So that it costs little beside the training: a part of the images that it saw, and so many at least.
PART_OF_TRAINING, FEWEST = 0.1, 8
# Smaller probabilities are no structure's edge; far from it they are many, and add up to a haze.
LEAST_PROBABILITY = 0.03
# By how much sums of probabilities are off, as a standard deviation between models that have learnt well: what the
# images say of one counts the less the less sure it is beside this, or beside itself where it is more.
SUM_SD = 0.03
# A sum that is off by more tells nothing of edges: the network is not sure of the background yet. Then the pixels
# that were drawn on all images count.
MOST_EXCESS = 0.1
# By how much models' areas are off before any offset. By how much more or less on one subject than on another,
# beside what was drawn, and beside the sum of the probabilities (of hippocampi 1 %, of hearts' cavities 2 %). The
# mean of few subjects is believed the less, the less sure it is beside the first.
USUAL_BIAS, SUBJECT_SD, RULE_SD = 0.05, 0.1, 0.03
# An offset that costs a structure more of its Dice, on the images that it is fitted on, is left out.
DICE_LOSS = 0.005
ROUNDS = 10
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Answered:
    """What a model answers on an image, added up for each structure with those that it includes.

    `reference` (structures,) are pixels that were drawn, `expected` the sums of their probabilities; `drawn` tells
    which structures count. No offset changes the class of `sure` pixels, how many there are (class, class drawn);
    of all others `unsure` (pixels, classes) has the logarithms of the probabilities, and `truth` the class drawn.
    """

    subject_id: str
    is_validation: bool
    drawn: npt.NDArray[np.bool_]
    reference: Values
    expected: Values
    sure: Values
    unsure: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]


def with_offsets(
    model: TrainedModel, split: Split, *, centrelines: Mapping[str, Centreline] | None = None
) -> TrainedModel:
    """Give the model with offsets by which its areas are right on average; without any where nothing tells of them.

    They count before a post-processing, which is chosen after them. A model that sees a crop looks around the
    `centrelines` (by case_id), or where its own finder finds one.
    """
    lines = centrelines or {}
    some = max(FEWEST, round(PART_OF_TRAINING * len(model.history) * len(split.training)))
    plain = replace(model, offsets=())
    members = class_members(model.structures, len(model.structures)).numpy()
    how = Inference(networks=Networks())
    answered = []
    for is_validation, cases in ((False, split.training), (True, split.validation)):
        for case_id, image, reference in _sample(cases, model, some):
            own = replace(how, centreline=lines.get(case_id))
            answered.append(answer(plain, image, reference, members, is_validation=is_validation, how=own))
    offsets = fit_offsets(answered, members)
    return replace(plain, offsets=tuple(offsets.tolist()) if offsets.any() else ())


def fit_offsets(answered: Sequence[Answered], members: npt.NDArray[np.bool_]) -> Values:
    """Give the offset of every structure; `members` (structures, classes) are the classes that make each up.

    0 where it was drawn on no image, or was not found.
    """
    edges = [_edge(k, answered, members) for k in range(len(members))]
    while True:
        offsets = _solve(edges)
        worse = [
            k
            for k, edge in enumerate(edges)
            if edge is not None and edge.dice(offsets) < edge.dice(np.zeros(len(edges))) - DICE_LOSS
        ]
        if not worse:
            return offsets
        edges = [None if k in worse else edge for k, edge in enumerate(edges)]


def _solve(edges: Sequence[_Edge | None]) -> Values:
    """Give the offsets with which every structure has the pixels that it shall have."""
    offsets = np.zeros(len(edges))
    for _ in range(ROUNDS):
        before = offsets.copy()
        for k, edge in enumerate(edges):
            offsets[k] = 0.0 if edge is None else edge.solve(k, offsets)
        if np.abs(offsets - before).max() < 0.001:
            break
    return offsets.round(4)


def answer(
    model: TrainedModel,
    image: Image,
    reference: LabelMap,
    members: npt.NDArray[np.bool_],
    *,
    is_validation: bool,
    how: Inference = PLAIN,
) -> Answered:
    """Add up what a model answers on an image."""
    labels = [structure.label for structure in model.structures]
    count, classes = len(members) + 1, classes_of(reference)
    expected, sure = np.zeros(len(members)), np.zeros((count, count))
    unsure, truth = [], []
    for chosen, probabilities in predict_probabilities(model, image, how):
        for k, own in enumerate(members):
            together = probabilities[:, own].sum(1)
            expected[k] += together[together >= LEAST_PROBABILITY].sum(dtype=np.float64)
        best, second = _two_most(probabilities)
        # Offsets can change the class where the second is lifted, and the best lowered, by the most.
        is_open = second * math.exp(2 * MOST) > best
        pairs = count * probabilities.argmax(1)[~is_open] + classes[chosen][~is_open]
        sure += np.bincount(pairs, minlength=count**2).reshape(count, count)
        truth.append(classes[chosen][is_open])
        unsure.append(np.log(np.maximum(np.moveaxis(probabilities, 1, -1)[is_open], TINY)))
        if chosen.stop == image.shape[0]:
            break  # before it warns of what concerns a new patient
    return Answered(
        subject_id=reference.source.subject_id,
        is_validation=is_validation,
        drawn=np.array([reference.is_annotated(label) for label in labels]),
        reference=np.array([reference.mask(label).sum() for label in labels], dtype=np.float64),
        expected=expected,
        sure=sure,
        unsure=np.concatenate(unsure),
        truth=np.concatenate(truth),
    )


def _two_most(probabilities: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give the largest and the second largest probability of every pixel, (slices, rows, columns)."""
    best, second = probabilities[:, 0].copy(), np.zeros_like(probabilities[:, 0])
    for one in np.moveaxis(probabilities, 1, 0)[1:]:
        np.maximum(second, np.minimum(best, one), out=second)
        np.maximum(best, one, out=best)
    return best, second


@dataclass(frozen=True, eq=False)
class _Edge:
    """The pixels that may or may not be of a structure, and how many of the others are `certain` to be of it.

    Of all `wanted` shall be of it. `certain` has (both, predicted, reference) pixels, `truth` tells which of the
    unsure ones were drawn, `own` and `inner` which classes make it up, and which of these are others.
    """

    unsure: npt.NDArray[np.float32]
    truth: npt.NDArray[np.bool_]
    own: npt.NDArray[np.bool_]
    inner: npt.NDArray[np.bool_]
    certain: Values
    wanted: float

    def dice(self, offsets: Values) -> float:
        """Give the Dice of all its pixels with these offsets."""
        found = self.own[(self.unsure + _of_classes(offsets)).argmax(1)] if len(self.unsure) else self.truth
        counts = np.array([(found & self.truth).sum(), found.sum(), self.truth.sum()])
        both, predicted, reference = self.certain + counts
        return float(2 * both / (predicted + reference))

    def solve(self, k: int, offsets: Values) -> float:
        """Give the offset with which as many pixels are of the structure as shall be; 0 where none comes near."""
        if not len(self.unsure):
            return 0.0
        shifted = self.unsure + _of_classes(offsets)
        rest = shifted[:, ~self.own].max(1)
        needed = rest - self.unsure[:, k + 1]
        if self.inner.any():  # what an inner structure takes is of the outer one without its help
            needed[shifted[:, self.inner].max(1) >= rest] = -np.inf
        needed.sort()
        count = round(self.wanted - self.certain[1])
        if needed[0] > MOST:
            return 0.0
        ends = needed[[max(0, min(len(needed) - 1, place)) for place in (count - 1, count)]]
        return float(np.clip(ends, -MOST, MOST).mean())


def _edge(k: int, answered: Sequence[Answered], members: npt.NDArray[np.bool_]) -> _Edge | None:
    """Collect the edge of a structure: on validation images where it is there, or on all."""
    known = [one for one in answered if one.drawn[k]]
    shown = [one for one in known if one.reference[k] > 0]
    if not any(one.expected[k] for one in shown):
        return None
    excess = _excess(k, known)
    is_hazy = abs(excess) > MOST_EXCESS
    used = [one for one in known if one.is_validation and not is_hazy]
    used = used if any(one in used for one in shown) else known
    own, certain = members[k], np.zeros(3)
    unsure, truth = [], []
    for one in used:
        drawn = own[one.truth]
        lead = one.unsure[:, own].max(1, initial=-np.inf) - one.unsure[:, ~own].max(1, initial=-np.inf)
        near, is_own = np.abs(lead) < 2 * MOST, lead > 0
        certain += [one.sure[own][:, own].sum(), one.sure[own].sum(), one.sure[:, own].sum()]
        certain += [(drawn & is_own & ~near).sum(), (is_own & ~near).sum(), (drawn & ~near).sum()]
        unsure.append(one.unsure[near])
        truth.append(drawn[near])
    inner = own.copy()
    inner[k + 1] = False
    shall_have = [one.reference[k] if is_hazy else one.expected[k] / (1 + excess) for one in used]
    counts = zip(used, shall_have, strict=True)
    pixels = [(one.subject_id, float(its), _found(own, one)) for one, its in counts]
    wanted = _likely_pixels(pixels, SUBJECT_SD if is_hazy else RULE_SD)
    return _Edge(np.concatenate(unsure), np.concatenate(truth), own, inner, certain, wanted)


def _found(own: npt.NDArray[np.bool_], one: Answered) -> float:
    """Give how many pixels of an image are of a structure without any offset."""
    return float(one.sure[own].sum() + own[one.unsure.argmax(1)].sum())


def _likely_pixels(counts: Sequence[tuple[str, float, float]], known_sd: float) -> float:
    """Give how many pixels a structure shall have, from those that it should have and has on images of subjects.

    By how much it has too many is believed as far as subjects agree on it, and there are enough of them: one
    differs from another by about `known_sd`.
    """
    right, found = _by_subject(counts)
    if not found.sum():
        return float(right.sum())
    change, variance = _ratio(right, found, known_sd)
    part = USUAL_BIAS**2 / (USUAL_BIAS**2 + variance)
    return float(found.sum() * change**part)


def _of_classes(offsets: Values) -> npt.NDArray[np.float32]:
    return np.concatenate([[0.0], offsets]).astype(np.float32)


def _excess(k: int, answered: Sequence[Answered]) -> float:
    """Give by what part sums of probabilities are too large, as far as the subjects agree on it."""
    expected, reference = _by_subject([(one.subject_id, one.expected[k], one.reference[k]) for one in answered])
    known = reference > 0
    if known.sum() < 2:
        return 0.0
    ratio, variance = _ratio(expected[known], reference[known])
    excess = ratio - 1
    between = max(SUM_SD**2, excess**2 - variance)
    return float(excess * between / (between + variance))


def _by_subject(counts: Sequence[tuple[str, float, float]]) -> Values:
    """Add up both counts of the images of each subject: (2, subjects)."""
    subjects: dict[str, Values] = {}
    for subject, *both in counts:
        subjects[subject] = subjects.get(subject, np.zeros(2)) + both
    return np.stack(list(subjects.values())).T


def _ratio(one: Values, other: Values, known_sd: float = 0.0) -> tuple[float, float]:
    """Give the ratio of two sums over subjects, and its variance (Cochran, Sampling Techniques, 1977, 2.11).

    By how much subjects differ is known beforehand as by one of them, of `known_sd`.
    """
    count = len(one)
    ratio = one.sum() / other.sum()
    scatter = float((((one - ratio * other) / other.mean()) ** 2).sum())
    freedom = count - 1 + (known_sd > 0)
    return float(ratio), (scatter + known_sd**2) / freedom / count


def _sample(cases: Sequence[Case], model: TrainedModel, most: int) -> Iterator[tuple[str, Image, LabelMap]]:
    """Read cases, one of each subject in turn, until there are `most`, or they have pixels enough."""
    generator, pixels = np.random.default_rng(model.settings.seed), 0
    seen: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for place in generator.permutation(len(cases)).tolist():
        subject = cases[place].subject_id
        seen[subject] = seen.get(subject, 0) + 1
        turns.append((seen[subject], len(turns), place))
    for count, (*_, place) in enumerate(sorted(turns)):
        if pixels >= MOST_PIXELS or count >= most:
            return
        image, reference = read_reference(cases[place], model.structures)
        pixels += math.prod(image.shape)
        yield cases[place].case_id, image, reference
