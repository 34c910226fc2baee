"""Why a structure scores poorly: for each the first cause that its numbers speak for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autoseg.evaluation.advice.seen import NEAR_ZERO, WIDE_GAP, Advice, Seen, counted, listed
from autoseg.image.structures import Structure

# Of the training batches, which are augmented: what a network cannot learn even by heart contradicts itself.
LOW_TRAINING_DICE = 0.70
# A rule of thumb; the sample's myocardium, drawn on 18 slices, stays at 0.77 where the cavity reaches 0.94.
FEW_SLICES = 30
# Of the network's grid: in a disc of so many pixels an outline half a pixel off changes the area by a quarter.
SMALL_PIXELS = 60
# Share of the image that all structures together cover; below, the network sees almost nothing but background.
SMALL_SHARE = 0.004


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
    remedy = "Let the network see a crop around the structures only (crop_mm), with smaller pixels (spacing_mm)."
    if seen.settings.spatial_dims == 3:
        remedy = "Choose smaller voxels for the network (volume.spacing_mm)."
    elif cropped:
        remedy = "Choose smaller pixels for the network (spacing_mm), or a smaller crop."
    words = (
        f"The field of view is large for {listed(dices(seen, structures))}: what is drawn covers "
        f"{100 * seen.share():.2f} % of the image{size}."
    )
    return Advice("small structures", words, remedy)


def _few_slices(seen: Seen, structures: Sequence[Structure]) -> Advice:
    counts = [
        f"{_dice(seen, s)} is drawn on {counted(seen.drawn[s.label].shown, 'training slice')} of "
        f"{counted(seen.drawn[s.label].subjects, 'subject')}"
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
        "subjects: there the label value, the side or what was drawn seems to be another.",
        "Compare the drawings of the validation subjects with the others.",
    )


def _by_heart(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} ({seen.training_dice(s):.2f} against {seen.dice(s):.2f})" for s in structures]
    return Advice(
        "overfitting",
        "It knows the training slices by heart (overfitting): the Dice is much better there than on the validation "
        f"subjects, for {listed(words)}.",
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
        f"Nothing was learnt of {listed(dices(seen, structures))}, not even on the training slices.",
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


def _dice(seen: Seen, structure: Structure) -> str:
    return f"{structure.name} (Dice {seen.dice(structure):.2f})"


def dices(seen: Seen, structures: Sequence[Structure]) -> list[str]:
    """Give names with their Dice."""
    return [_dice(seen, structure) for structure in structures]
