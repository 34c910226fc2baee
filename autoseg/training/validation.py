"""Scoring a network while it learns: images brought to the network and back as prediction does, on their own grids.

Prediction (`autoseg.prediction`) walks the same steps with a whole model; a test holds that both find the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline, Crop
from autoseg.model.dataset import Batch, build_slices, build_volumes, crop_of
from autoseg.model.dataset.batch import check_channels, check_pairs
from autoseg.model.dataset.kept import KeptCase, KeptRows
from autoseg.model.dataset.slices import SliceSet, open_native, open_slices
from autoseg.model.dataset.volumes import VolumeSet, open_volumes
from autoseg.model.device import choose_precision, halve_batch, where_memory_allows
from autoseg.model.networks import Outputs, strides_of
from autoseg.model.preprocessing import preprocess, volume_grids
from autoseg.model.preprocessing.classes import classes_of
from autoseg.model.preprocessing.extents import Extent, extent_of
from autoseg.model.preprocessing.regions import find_centres
from autoseg.model.preprocessing.sliding_window import run_in_tiles
from autoseg.model.preprocessing.volume_grids import VolumeGrid, grid_of
from autoseg.model.settings.settings import Settings
from autoseg.training.losses import outputs_loss
from autoseg.training.processes import ALONE, Processes

EROSIONS = 4
# Probabilities on the images' own grids at once, at most, but one slice at least.
AT_ONCE = 2**24
Scores = tuple[float | None, ...]
Result = TypeVar("Result")
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class SliceScores:
    """Loss, Dice and IoU of each structure (None where it was drawn on no slice) and their means, on whole images.

    `erosion_iou` has the IoU of each structure after 0, 1, 2 and 3 erosions, or is empty.
    """

    loss: float
    dice: Scores
    iou: Scores
    mean_dice: float | None
    mean_iou: float | None
    erosion_iou: tuple[Scores, ...] = ()


@dataclass(frozen=True)
class Stack:
    """A case among whole images: the first and the last of them, and how many slices it has."""

    subject_id: str
    first: int
    last: int
    slices: int


@dataclass(frozen=True, eq=False)
class Scored:
    """Of some images the loss, times their number, and the pixels (erosions, 3, structures) of `count_pixels`.

    Where a region is looked for, `foreground` (images, rows, columns) tells where structures are, on the processor.
    """

    loss: Tensor | int = 0
    counts: Tensor | int = 0
    foreground: Tensor | None = None

    def on(self, device: torch.device) -> Scored:
        """Give the same with loss and counts on a device."""
        loss, counts = (torch.as_tensor(values, device=device) for values in (self.loss, self.counts))
        return Scored(loss, counts, self.foreground)


# --- what is validated on: images ready for the network, and what was drawn on their own grids


@dataclass(frozen=True, eq=False)
class Validation(ABC):
    """Images of one kind, ready to be validated on."""

    samples: SliceSet | VolumeSet

    @property
    def subject_ids(self) -> tuple[str, ...]:
        """The subject of every sample."""
        return self.samples.subject_ids

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.samples.device

    @property
    def wholes(self) -> int:
        """Number of whole images: slices or volumes."""
        return self.samples.wholes

    @property
    @abstractmethod
    def stacks(self) -> list[Stack]:
        """Which of the whole images belong to one case."""

    @abstractmethod
    def score(self, network: nn.Module, scorer: Scorer, chosen: Tensor) -> Iterator[Scored]:
        """Run a network over the chosen images, some at a time, and give what it scored there.

        Of slices either all of a case are chosen, or none.
        """


def build_validation(
    pairs: Sequence[tuple[Image, LabelMap]],
    settings: Settings,
    network: nn.Module,
    *,
    device: torch.device,
    centrelines: Mapping[str, Centreline] | None = None,
) -> tuple[Validation, ...]:
    """Prepare images as prediction does: slices of each size by themselves, in a frame that fits them."""
    if not pairs:
        return ()
    check_pairs(pairs)
    if settings.spatial_dims == 3:
        return (_Volumes.build(pairs, settings, network, device, centrelines or {}),)
    stride = int(getattr(network, "stride", 1))
    groups = _by_extent(pairs, [image for image, _ in pairs], settings)
    return tuple(_Slices.build(some, settings, stride, extent, device) for extent, some in groups.items())


def open_validation(
    cases: Sequence[KeptCase], settings: Settings, network: nn.Module, *, device: torch.device
) -> tuple[Validation, ...]:
    """Give the same of cases that lie in the cache."""
    if not cases:
        return ()
    check_channels([case.outline for case in cases])
    if settings.spatial_dims == 3:
        return (_Volumes.open(cases, settings, network, device),)
    stride = int(getattr(network, "stride", 1))
    groups = _by_extent(cases, [case.outline for case in cases], settings)
    return tuple(_Slices.open(some, settings, stride, extent, device) for extent, some in groups.items())


def _by_extent(cases: Sequence[Kind], images: Sequence[Image], settings: Settings) -> dict[Extent, list[Kind]]:
    groups: dict[Extent, list[Kind]] = {}
    for case, image in zip(cases, images, strict=True):
        groups.setdefault(extent_of(image, settings.preprocess), []).append(case)
    return groups


@dataclass(frozen=True, eq=False)
class _Slices(Validation):
    """Slices of one size, and the classes (slices, rows, columns) that were drawn on them.

    `looks_for_region` tells that a first pass over whole slices finds the region that is segmented.
    """

    samples: SliceSet
    extent: Extent
    labels: Tensor | KeptRows
    looks_for_region: bool

    @classmethod
    def build(
        cls,
        pairs: Sequence[tuple[Image, LabelMap]],
        settings: Settings,
        stride: int,
        extent: Extent,
        device: torch.device,
    ) -> _Slices:
        samples = build_slices(pairs, settings.preprocess, stride=stride).to(device)
        labels = torch.from_numpy(np.concatenate([classes_of(label_map) for _, label_map in pairs]))
        return cls(samples, extent, labels, _looks(samples, settings))

    @classmethod
    def open(
        cls,
        cases: Sequence[KeptCase],
        settings: Settings,
        stride: int,
        extent: Extent,
        device: torch.device,
    ) -> _Slices:
        samples = open_slices(cases, settings.preprocess, stride=stride).to(device)
        return cls(samples, extent, open_native(cases), _looks(samples, settings))

    @property
    def stacks(self) -> list[Stack]:
        """The slices of each case."""
        ends = dict.fromkeys((first, last) for first, last in self.samples.ends.tolist())
        subjects = self.samples.subject_ids
        return [Stack(subjects[first], first, last, last - first + 1) for first, last in ends]

    def score(self, network: nn.Module, scorer: Scorer, chosen: Tensor) -> Iterator[Scored]:
        """Look at whole slices, and then, where the settings say so, at the region in which structures are."""
        count, foreground = len(chosen), list[Tensor]()
        for scored in scorer.by_parts(chosen, count, partial(self._whole, network, scorer)):
            yield scored
            foreground += [] if scored.foreground is None else [scored.foreground]
        if self.looks_for_region:
            centres = self._centres(torch.cat(foreground).numpy(), chosen)
            yield from scorer.by_parts(chosen, count, partial(self._region, network, scorer, centres))

    def _whole(self, network: nn.Module, scorer: Scorer, indices: Tensor) -> Scored:
        """Score whole slices; where a region is looked for, only their loss, and give where structures may be."""
        batch = self.samples.whole(indices)
        outputs = scorer.run(lambda: self.samples.answer(network, batch))
        found, scored = outputs.logits.float().softmax(1), Scored(scorer.loss(outputs, batch) * len(indices))
        if self.looks_for_region:
            return replace(scored, foreground=1 - found[:, 0].cpu())
        middles = preprocess.frame_middles(self.samples.frame, self.samples.network[indices.to(found.device)])
        return replace(scored, counts=self._count(scorer, found, middles, indices))

    def _region(self, network: nn.Module, scorer: Scorer, centres: Tensor, indices: Tensor) -> Scored:
        size, middles = self.samples.seen_size, centres[indices.to(centres.device)]
        frames = self.samples.around(indices, size, middles).images
        found = scorer.run(lambda: run_in_tiles(network, frames, size)).float().softmax(1)
        return Scored(counts=self._count(scorer, found, middles, indices))

    def _centres(self, foreground: np.ndarray, chosen: Tensor) -> Tensor:
        """Find the middles of the regions, case by case; those of slices that are not chosen stay 0."""
        centres, ends, start = torch.zeros(len(self.samples), 2), self.samples.ends.tolist(), 0
        while start < len(foreground):
            first, last = ends[int(chosen[start])]
            stop = start + last - first + 1
            found = find_centres(foreground[start:stop], self.samples.seen_size, self.extent.network)
            centres[first : last + 1] = torch.from_numpy(found)
            start = stop
        return centres.to(self.samples.device)

    def _count(self, scorer: Scorer, probabilities: Tensor, middles: Tensor, indices: Tensor) -> Tensor:
        def native(part: slice) -> Tensor:
            return preprocess.to_native(probabilities[part], self.extent, centres=middles[part])

        return scorer.count(native, self.labels[indices], self.samples.drawn[indices.to(self.samples.device)])


def _looks(samples: SliceSet, settings: Settings) -> bool:
    return samples.crops is not None and settings.preprocess.find_region == "coarse"


@dataclass(frozen=True, eq=False)
class _Volumes(Validation):
    """Volumes, how each lies on the network's grid, the crop that is seen, and the classes that were drawn."""

    samples: VolumeSet
    grids: tuple[VolumeGrid, ...]
    crops: tuple[Crop | None, ...]
    labels: tuple[Tensor | KeptRows, ...]

    @classmethod
    def build(
        cls,
        pairs: Sequence[tuple[Image, LabelMap]],
        settings: Settings,
        network: nn.Module,
        device: torch.device,
        centrelines: Mapping[str, Centreline],
    ) -> _Volumes:
        samples = build_volumes(pairs, settings, strides=strides_of(network, 3), centrelines=centrelines)
        grids = tuple(grid_of(image, settings.volume) for image, _ in pairs)
        crops = tuple(
            crop_of(image, grid, settings.volume, centrelines.get(image.source.case_id))
            for (image, _), grid in zip(pairs, grids, strict=True)
        )
        labels = tuple(torch.from_numpy(np.ascontiguousarray(classes_of(label_map))) for _, label_map in pairs)
        return cls(samples.to(device), grids, crops, labels)

    @classmethod
    def open(
        cls, cases: Sequence[KeptCase], settings: Settings, network: nn.Module, device: torch.device
    ) -> _Volumes:
        samples = open_volumes(cases, settings, strides=strides_of(network, 3))
        grids = tuple(grid_of(case.outline, settings.volume) for case in cases)
        return cls(samples.to(device), grids, (None,) * len(cases), tuple(open_native([case]) for case in cases))

    @property
    def stacks(self) -> list[Stack]:
        """Each volume by itself."""
        subjects = [volume.subject_id for volume in self.samples.volumes]
        return [Stack(subjects[k], k, k, grid.native[0]) for k, grid in enumerate(self.grids)]

    def score(self, network: nn.Module, scorer: Scorer, chosen: Tensor) -> Iterator[Scored]:
        """Look at whole volumes, in windows where they are larger than a patch."""
        most = self.samples.wholes_at_once
        yield from scorer.by_parts(chosen, most, partial(self._some, network, scorer))

    def _some(self, network: nn.Module, scorer: Scorer, indices: Tensor) -> Scored:
        batch = self.samples.whole(indices)
        outputs = scorer.run(lambda: self.samples.answer(network, batch))
        counts = [
            self._count(scorer, logits.float().softmax(0).half(), number)
            for number, logits in zip(indices.tolist(), outputs.logits, strict=True)
        ]
        return Scored(scorer.loss(outputs, batch) * len(indices), torch.stack(counts).sum(0))

    def _count(self, scorer: Scorer, probabilities: Tensor, number: int) -> Tensor:
        crop, grid = self.crops[number], self.grids[number]
        if crop is not None:
            probabilities = crop.put_back(probabilities, outside=torch.eye(len(probabilities))[0])
        drawn = self.samples.volumes[number].drawn.expand(grid.native[0], -1)
        return scorer.count(
            lambda part: volume_grids.to_native(probabilities, grid, part), self.labels[number][:], drawn
        )


# --- how it is scored


class Scorer:
    """How what a network finds is compared with what was drawn; several `processes` share the work."""

    def __init__(
        self,
        settings: Settings,
        structures: Sequence[Structure],
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.settings, self.device, self.processes = settings, device, processes
        self.precision = choose_precision(settings.precision, device)
        self.members = class_members(structures, len(structures)).to(device)
        self.erosions = EROSIONS if settings.watch_erosion else 1

    def by_parts(self, numbers: Tensor, most: int, work: Callable[[Tensor], Scored]) -> Iterator[Scored]:
        """Do the work on all numbers, at most `most` at once, and fewer where the memory is not enough.

        A part is what one process alone would look at together, because the loss of a part is not the mean of its
        images'. So every process gets what one would have got, in the same order.
        """
        size = min(2 * self.settings.batch_size, most)
        if self.processes.count == 1:
            yield from self._by_parts(numbers, size, work)
            return
        cpu = torch.device("cpu")
        own = [
            [scored.on(cpu) for scored in self._by_parts(part, size, work)]
            for part in self.processes.deal(numbers.split(size))
        ]
        for some in self.processes.gather(own):
            yield from (scored.on(self.device) for scored in some)

    def _by_parts(self, left: Tensor, size: int, work: Callable[[Tensor], Scored]) -> Iterator[Scored]:
        while len(left):
            done = where_memory_allows(partial(work, left[:size]))
            if done is None:
                size = halve_batch(min(size, len(left)), self.device)
                continue
            left = left[size:]
            yield done

    def run(self, answer: Callable[[], Result]) -> Result:
        """Let a network answer in the settings' number format."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            return answer()

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Give the loss of a batch, with its weights of the start, without what a network compares by itself."""
        parts = outputs_loss(outputs, batch.reference, batch.drawn, self.settings.loss, outer=batch.outer)
        return replace(parts, own=None).total(self.settings.loss)

    def count(self, native: Callable[[slice], Tensor], labels: Tensor, drawn: Tensor) -> Tensor:
        """Count the pixels of slices on their own grid, (erosions, 3, structures).

        `native` gives the probabilities (slices, classes, rows, columns) of some of them, `labels` (slices, rows,
        columns) are the classes that were drawn, `drawn` (slices, structures) tells which structures were.
        """
        step = max(1, AT_ONCE // ((len(self.members) + 1) * labels[0].numel()))
        total = torch.zeros(self.erosions, 3, len(self.members), dtype=torch.int64, device=self.device)
        for start in range(0, len(labels), step):
            part = slice(start, min(start + step, len(labels)))
            predicted = self.members[:, most_likely(native(part))]
            reference = self.members[:, labels[part].to(self.device).long()]
            for number in range(self.erosions):
                predicted = erode(predicted) if number else predicted
                total[number] += count_pixels(reference, predicted, drawn[part])
        return total


Sample = tuple[Tensor, ...]


def sample_of(validation: Sequence[Validation], most: int, seed: int) -> Sample:
    """Choose whole cases, one of each subject in turn, until they have `most` slices; the same ones every time.

    Gives the numbers of the chosen images of each kind.
    """
    stacks = [(number, stack) for number, images in enumerate(validation) for stack in images.stacks]
    seen: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for place in np.random.default_rng(seed).permutation(len(stacks)).tolist():
        subject = stacks[place][1].subject_id
        seen[subject] = seen.get(subject, 0) + 1
        turns.append((seen[subject], len(turns), place))
    kept, slices = set[int](), 0
    for *_, place in sorted(turns):
        if slices >= most:
            break
        kept.add(place)
        slices += stacks[place][1].slices
    chosen: list[list[int]] = [[] for _ in validation]
    for place in sorted(kept):
        number, stack = stacks[place]
        chosen[number] += range(stack.first, stack.last + 1)
    return tuple(torch.tensor(numbers, dtype=torch.int64) for numbers in chosen)


def share_of(validation: Sequence[Validation], sample: Sample) -> tuple[int, int]:
    """Give how many slices a sample has, and how many there are."""
    counts = [
        (stack.slices if stack.first in own else 0, stack.slices)
        for images, numbers in zip(validation, sample, strict=True)
        for own in [set(numbers.tolist())]
        for stack in images.stacks
    ]
    return sum(some for some, _ in counts), sum(every for _, every in counts)


@torch.inference_mode()
def evaluate_slices(
    network: nn.Module,
    validation: Sequence[Validation],
    settings: Settings,
    *,
    structures: Sequence[Structure],
    sample: Sample | None = None,
    processes: Processes = ALONE,
) -> SliceScores:
    """Score a network on whole images as they are, on their own grids, as a prediction would be.

    Of a structure with the reference pixels R and the predicted ones P, summed over every slice on which it was
    drawn, the Dice is 2 n(R and P) / (n(R) + n(P)) and the IoU n(R and P) / n(R or P). Where structures were not
    drawn, nothing is counted for them. One that includes others is scored with them. Models of crops look for their
    region first, as in prediction.

    The loss is the training's, on the network's grid of the whole image, with its weights of the start and with
    everything that the network answers beside while it learns, but without what it compares in a way of its own
    (`Outputs.own_loss`), which is costly and partly drawn at random. In tiles only the answer itself is compared.
    Where the memory is not enough, fewer slices are looked at together. Of a `sample` nothing else is looked at.
    Several `processes`, all of which must call it with the same network, share the images and get the same scores.
    """
    network.eval()
    scorer = Scorer(settings, structures, validation[0].device, processes)
    counts = torch.zeros(scorer.erosions, 3, len(structures), dtype=torch.int64, device=scorer.device)
    loss = torch.zeros((), device=scorer.device)
    sample = tuple(torch.arange(images.wholes) for images in validation) if sample is None else sample
    for images, chosen in zip(validation, sample, strict=True):
        for scored in images.score(network, scorer, chosen) if len(chosen) else ():
            counts += scored.counts
            loss += scored.loss
    found = [ratios(one) for one in counts]
    dice, iou = found[0]
    return SliceScores(
        loss=float(loss) / sum(len(chosen) for chosen in sample),
        dice=dice,
        iou=iou,
        mean_dice=_mean(dice),
        mean_iou=_mean(iou),
        erosion_iou=tuple(zip(*(own for _, own in found), strict=True)) if scorer.erosions > 1 else (),
    )


def most_likely(logits: Tensor) -> Tensor:
    """Give each pixel's class, shape (batch, rows, columns)."""
    return logits.max(1).indices  # ten times as fast as argmax on some processors


def class_members(structures: Sequence[Structure], count: int) -> Tensor:
    """Tell which classes make up each structure, bool, shape (structures, classes).

    Its own and those of the structures that it includes; only its own where `structures` is empty.
    """
    members = torch.eye(count + 1, dtype=torch.bool)[1:]
    place = {structure.label: k for k, structure in enumerate(structures, start=1)}
    for k, structure in enumerate(structures):
        for label in structure.includes:
            members[k, place[label]] = True
    return members


def count_pixels(reference: Tensor, predicted: Tensor, drawn: Tensor) -> Tensor:
    """Count the pixels of each structure in both, in the reference and in the prediction, shape (3, structures).

    `reference` and `predicted` are masks (structures, batch, …); images on which a structure was not
    drawn (`drawn`, (batch, structures)) are left out of its counts.
    """
    counts = torch.stack([mask.flatten(2).sum(2) for mask in (reference & predicted, reference, predicted)])
    return (counts * drawn.T).sum(2)


def ratios(counts: Tensor) -> tuple[Scores, Scores]:
    """Give Dice and IoU of each structure from `count_pixels`; None where the reference does not show it."""
    rows = counts.T.tolist()
    dice = tuple(2 * both / (r + p) if r else None for both, r, p in rows)
    return dice, tuple(both / (r + p - both) if r else None for both, r, p in rows)


def erode(masks: Tensor) -> Tensor:
    """Take off the pixels of masks (structures, batch, …) that share a face with one outside.

    The image's edge is no such face.
    """
    kept = masks
    for axis in range(2, masks.dim()):
        count = masks.shape[axis]
        if count > 1:
            inner = masks.narrow(axis, 1, count - 1)
            before = masks.narrow(axis, 0, count - 1)
            ends = masks.narrow(axis, 0, 1), masks.narrow(axis, count - 1, 1)
            kept = kept & torch.cat([ends[0], before], axis) & torch.cat([inner, ends[1]], axis)
    return kept


def _mean(values: Scores) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
