"""Which slices to draw next: where models are in doubt, and what looks unlike all that was drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure, voxels_of
from autoseg.model.trust.quality import SIGNALS
from autoseg.prediction.ensemble import PLAIN, Inference, Models, as_models
from autoseg.prediction.predict import predict, predict_and_look

Numbers = npt.NDArray[np.float64]
Place = tuple[int, int]
"""An image and a slice of it, both from 0."""

# Slices are compared in little: contours of organs show at this size, and noise does not.
LITTLE = 16
# Of more slices than this not all are looked at, for each is compared with each.
MOST = 2000
# Validation needs a patient of its own, and one patient alone says little of the next.
FEW_PATIENTS = 3


class Reason(Enum):
    """Why a slice is worth drawing: nothing is drawn of its patient yet, it looks new, or models are in doubt."""

    PATIENT = "patient"
    UNLIKE = "unlike"
    DOUBT = "doubt"


@dataclass(frozen=True)
class NextSlice:
    """A slice that is worth drawing, and why.

    `stands_for` counts the slices, itself among them, that look more like it than like any that is drawn or was
    chosen before it. `doubt` is the area about which models (or two looks of one) disagree, as a share of the usual
    area of a structure, mean over the structures; None where there is no model.
    """

    place: Place
    reason: Reason
    stands_for: int
    doubt: float | None = None


@dataclass(frozen=True, eq=False)
class Proposal:
    """What models drew on an image; `areas` and `disputed` (slices, structures) are areas of it in mm² or pixels.

    `disputed` is where several models draw a structure and others do not, mean over pairs of them; of one model,
    where its second look at the image does not draw what the first one does.
    """

    label_map: LabelMap
    areas: Numbers
    disputed: Numbers


def propose(models: Models, image: Image, how: Inference = PLAIN) -> Proposal:
    """Let models draw an image, and tell where they are in doubt."""
    together = as_models(models)
    if len(together) == 1:
        predicted = predict_and_look(together, image, replace(how, look=True))
        signals = dict(zip(SIGNALS, np.moveaxis(np.asarray(predicted.signals, dtype=float), -1, 0), strict=True))
        disputed = (1 - signals["agreement"]) * (signals["area"] + signals["area_again"])
        return Proposal(predicted.label_map, signals["area"], disputed)
    label_map = predict_and_look(together, image, replace(how, look=False)).label_map
    apart = [
        predict(one, image, copies=how.copies, batch_size=how.batch_size, precision=how.precision)
        for one in together
    ]
    pixel = 1.0 if image.affine is None else image.pixel_mm2
    areas, disputed = [], []
    for structure in label_map.structures:
        masks = [_mask(structure, one) for one in apart]
        areas.append(np.count_nonzero(label_map.mask(structure.label), axis=(1, 2)))
        differences = [np.count_nonzero(one != other, axis=(1, 2)) for one, other in combinations(masks, 2)]
        disputed.append(np.mean(differences, axis=0))
    return Proposal(label_map, np.stack(areas, -1) * pixel, np.stack(disputed, -1) * pixel)


def doubts_of(proposals: Sequence[Proposal]) -> list[Numbers]:
    """Give for each image how far its slices are in doubt: disputed areas as shares of a structure's usual area.

    Small structures then count as much as large ones, and a stray pixel beyond the end of one counts little.
    """
    areas, disputed = (
        np.concatenate(each) for each in zip(*((p.areas, p.disputed) for p in proposals), strict=True)
    )
    usual = [
        float(np.median(own[own > 0])) if (own > 0).any() else max(float(theirs.max()), 1.0)
        for own, theirs in zip(areas.T, disputed.T, strict=True)
    ]
    return [(one.disputed / usual).mean(axis=1) for one in proposals]


def choose_slices(
    images: Sequence[Image],
    drawn: Collection[Place] = (),
    *,
    count: int = 5,
    doubts: Sequence[Numbers] | None = None,
) -> tuple[NextSlice, ...]:
    """Choose the slices that are worth drawing next, the best one first.

    Each is chosen for how many slices look more like it than like any drawn one, and for how far models are in
    doubt about it; both weigh the same, and what was chosen before counts as drawn. As long as patients are few of
    whom anything is drawn, others come first: validation needs patients of its own.

    Parameters
    ----------
    images : sequence of Image
        Of one or more patients (`Source.subject_id`), with as many channels each; the first one is looked at.
    drawn : collection of (image, slice)
        Slices that were drawn, or looked at and found right; none of them is chosen.
    count : int
        How many to choose; fewer are given where there are no more.
    doubts : sequence of ndarray (slices,), optional
        As `doubts_of` gives them.

    Returns
    -------
    tuple of NextSlice

    Examples
    --------
    Three slices alike, and two of another kind:

    >>> kinds = np.stack([np.eye(32)] * 3 + [np.eye(32)[::-1]] * 2)
    >>> [(one.place[1], one.stands_for) for one in choose_slices([Image(kinds, None)], count=2)]
    [(1, 5), (3, 2)]
    """
    places = [(number, index) for number, image in enumerate(images) for index in range(image.shape[0])]
    known = set(drawn)
    if len(places) > MOST:
        kept = set(places[:: len(places) // MOST + 1]) | known
        places = [place for place in places if place in kept]
    looks = _in_little(images, places)
    squares = (looks**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * looks @ looks.T, 0))
    are_drawn = np.array([place in known for place in places], dtype=bool)
    doubt = None if doubts is None else np.array([doubts[number][index] for number, index in places])
    # Before anything is drawn every slice is as far from it as any two are from each other.
    nearest = apart[:, are_drawn].min(1) if are_drawn.any() else np.full(len(places), apart.max() + 1)
    whose = np.array([images[number].source.subject_id or f"image {number}" for number, _ in places])
    chosen: list[NextSlice] = []
    for _ in range(min(count, int((~are_drawn).sum()))):
        is_new_patient = ~np.isin(whose, whose[are_drawn])
        patients = len(set(whose[are_drawn]))
        wants_patient = patients < FEW_PATIENTS and bool(is_new_patient.any())
        free = ~are_drawn & is_new_patient if wants_patient else ~are_drawn
        gain = np.maximum(nearest[:, None] - apart, 0).sum(0)
        new = gain / max(float(gain[free].max()), 1e-9)
        unsure = np.zeros(len(places)) if doubt is None else doubt / max(float(doubt[free].max()), 1e-9)
        best = int(np.argmax(np.where(free, new + unsure, -1.0)))
        reason = Reason.PATIENT if wants_patient else Reason.DOUBT if unsure[best] > new[best] else Reason.UNLIKE
        stands_for = int((apart[:, best] < nearest).sum())
        told = None if doubt is None else float(doubt[best])
        chosen.append(NextSlice(places[best], reason, stands_for, told))
        are_drawn[best] = True
        nearest = np.minimum(nearest, apart[:, best])
    return tuple(chosen)


def _in_little(images: Sequence[Image], places: Sequence[Place]) -> Numbers:
    """Give of each slice what it looks like, whatever its brightness, and where in its stack it lies."""
    found = np.zeros((len(places), LITTLE * LITTLE + 1))
    for row, (number, index) in zip(found, places, strict=True):
        voxels = np.nan_to_num(np.asarray(images[number].channel_voxels[0, index], dtype=np.float32))
        little = cv2.resize(voxels, (LITTLE, LITTLE), interpolation=cv2.INTER_AREA).astype(np.float64)
        spread = float(little.std())
        row[:-1] = ((little - little.mean()) / spread / LITTLE).ravel() if spread > 0 else 0.0
        row[-1] = index / max(1, images[number].shape[0] - 1)
    return found


def _mask(structure: Structure, label_map: LabelMap) -> npt.NDArray[np.bool_]:
    return voxels_of(structure, label_map.voxels)
