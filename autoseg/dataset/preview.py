"""Augmented batches to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from autoseg.cases import Case
from autoseg.dataset.build import plan_input, read_cases
from autoseg.dataset.slices import SliceSet, build_slices, sample_batch
from autoseg.neighbours import own_channel
from autoseg.networks import stride_of
from autoseg.settings import AugmentationSettings, Settings
from autoseg.split import Split
from autoseg.structures import Structure


def preview(
    split: Split, settings: Settings, *, structures: Sequence[Structure], count: int = 8, batch: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Give an augmented batch that training on this split with these settings would see; by default the first.

    All training cases are read; to read once for many batches, or for the originals, see `preview_batch`.

    Returns
    -------
    tuple of ndarray
        Images (count, rows, columns), of the first channel of the slices themselves, and labels (count, rows,
        columns), as `figures.show_batch` takes them.
    """
    slices, varied = preview_slices(split.training, settings, structures=structures), settings.augmentation
    return preview_batch(slices, varied, structures=structures, seed=settings.seed, count=count, batch=batch)


def preview_slices(cases: Sequence[Case], settings: Settings, *, structures: Sequence[Structure]) -> SliceSet:
    """Read cases once and prepare their slices as training would, for `preview_batch`."""
    pairs = read_cases(cases, structures)
    preprocess = plan_input(settings.preprocess, [image for image, _ in pairs])
    return build_slices(pairs, preprocess, stride=stride_of(settings.network))


def preview_batch(
    slices: SliceSet,
    augmentation: AugmentationSettings | None,
    *,
    structures: Sequence[Structure],
    seed: int = 0,
    count: int = 8,
    batch: int = 0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Give the slices of batch 0, 1, 2 …, varied, or as they are if `augmentation` is None.

    The same number gives the same slices, whatever the augmentation, so that the varied can stand beside the
    originals. Batches go through all slices before one comes again; a batch never holds one twice. With crops the
    varied are smaller than the originals.

    Returns
    -------
    tuple of ndarray
        Images (count, rows, columns) float32, of the first channel of the slices themselves, and labels (count,
        rows, columns) uint8.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(slices), generator=generator)
    count = min(count, len(slices))
    indices = order[torch.arange(batch * count, (batch + 1) * count) % len(slices)]
    if batch:  # the first one draws on, as training does
        generator.manual_seed(seed + batch)
    seen = sample_batch(slices, indices, augmentation=augmentation, generator=generator)
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    shown = own_channel(slices.images.shape[1], slices.neighbours)
    return seen.images[:, shown].numpy(), table[seen.labels.numpy()]
