"""Augmented batches to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from autoseg.data.cases import Case
from autoseg.data.split import Split
from autoseg.image.structures import Structure
from autoseg.model.dataset.build import plan_input, plan_samples, read_cases
from autoseg.model.dataset.slices import SliceSet, build_slices
from autoseg.model.dataset.volumes import VolumeSet, build_volumes
from autoseg.model.networks import build_network, stride_of, strides_of
from autoseg.model.preprocessing.neighbouring_slices import own_channel
from autoseg.model.preprocessing.volume_grids import axes_of
from autoseg.model.settings.settings import AugmentationSettings, Settings

Kind = TypeVar("Kind", bound=np.generic)
Pictures = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]
# Where the rows and the columns of a picture begin, by the axis that is looked along: as radiologists see it.
LOOKS = {"IS": ("A", "R"), "AP": ("S", "R"), "RL": ("S", "A")}


@dataclass(frozen=True, eq=False)
class VolumePreview:
    """Patches of volumes to look at, each by its middle slice across `axis`, along which the images' slices lie."""

    samples: VolumeSet
    axis: int

    def __len__(self) -> int:
        return len(self.samples)


Previewed = SliceSet | VolumePreview


def preview(
    split: Split, settings: Settings, *, structures: Sequence[Structure], count: int = 8, batch: int = 0
) -> Pictures:
    """Give an augmented batch that training on this split with these settings would see; by default the first.

    All training cases are read; to read once for many batches, or for the originals, see `preview_batch`.

    Returns
    -------
    tuple of ndarray
        Images (count, rows, columns), of the first channel of the slices themselves, and labels (count, rows,
        columns), as `figures.show_batch` takes them. Of a patch of a volume it is the middle slice.
    """
    samples, varied = preview_slices(split.training, settings, structures=structures), settings.augmentation
    return preview_batch(samples, varied, structures=structures, seed=settings.seed, count=count, batch=batch)


def preview_slices(cases: Sequence[Case], settings: Settings, *, structures: Sequence[Structure]) -> Previewed:
    """Read cases once and prepare their slices, or patches, as training would, for `preview_batch`."""
    pairs = read_cases(cases, structures)
    images = [image for image, _ in pairs]
    if settings.spatial_dims == 2:
        preprocess = plan_input(settings.preprocess, images)
        return build_slices(pairs, preprocess, stride=stride_of(settings.network))
    planned = plan_samples(settings, images)
    network = build_network(planned.network, in_channels=1, out_channels=2, spatial_dims=3)
    samples = build_volumes(pairs, planned, strides=strides_of(network, 3))
    along = Counter(axes_of(image.calibrated_affine, planned.volume.orientation)[0].index(0) for image in images)
    return VolumePreview(samples, along.most_common(1)[0][0])


def preview_batch(
    samples: Previewed,
    augmentation: AugmentationSettings | None,
    *,
    structures: Sequence[Structure],
    seed: int = 0,
    count: int = 8,
    batch: int = 0,
) -> Pictures:
    """Give the samples of batch 0, 1, 2 …, varied, or as they are if `augmentation` is None.

    The same number gives the same samples, whatever the augmentation, so that the varied can stand beside the
    originals. Batches go through all of them before one comes again; a batch never holds one twice. With crops the
    varied slices are smaller than the originals. Of patches of volumes the middle slices are shown; where patches
    move, the varied ones lie elsewhere in the volume.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator)
    count = min(count, len(samples))
    indices = order[torch.arange(batch * count, (batch + 1) * count) % len(samples)]
    if batch:  # the first one draws on, as training does
        generator.manual_seed(seed + batch)
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    if isinstance(samples, VolumePreview):
        seen = samples.samples.sample(indices, augmentation=augmentation, generator=generator)
        orientation = samples.samples.settings.orientation
        images = _middle_slices(seen.images[:, 0].numpy(), samples.axis, orientation)
        return images, table[_middle_slices(seen.labels.numpy(), samples.axis, orientation)]
    seen = samples.sample(indices, augmentation=augmentation, generator=generator)
    shown = own_channel(samples.images.shape[1], samples.neighbours)
    return seen.images[:, shown].numpy(), table[seen.labels.numpy()]


def _middle_slices(voxels: npt.NDArray[Kind], axis: int, orientation: str) -> npt.NDArray[Kind]:
    """Give the middle slice of each patch (count, x, y, z) as it is looked at: (count, rows, columns)."""
    middle: npt.NDArray[Kind] = voxels.take(voxels.shape[1 + axis] // 2, axis=1 + axis)
    letters = [letter for place, letter in enumerate(orientation) if place != axis]
    begins = next(look for pair, look in LOOKS.items() if orientation[axis] in pair)
    if letters[0] not in next(pair for pair in LOOKS if begins[0] in pair):
        middle, letters = middle.swapaxes(1, 2), letters[::-1]
    turned = tuple(1 + place for place in (0, 1) if letters[place] != begins[place])
    return np.ascontiguousarray(np.flip(middle, turned))
