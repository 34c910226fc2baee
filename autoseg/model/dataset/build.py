"""Cases read and made ready to be learnt from, as slices or as volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import nn

from autoseg.data.cases import Case, read_case
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline
from autoseg.model.dataset.batch import Samples
from autoseg.model.dataset.slices import build_slices
from autoseg.model.dataset.volumes import build_volumes
from autoseg.model.networks import strides_of
from autoseg.model.preprocessing.extents import plan_spacing
from autoseg.model.preprocessing.neighbouring_slices import plan_neighbours
from autoseg.model.preprocessing.standardise import learn_landmarks
from autoseg.model.preprocessing.volume_grids import plan_volume
from autoseg.model.settings.settings import PreprocessSettings, Settings


def read_cases(cases: Sequence[Case], structures: Sequence[Structure]) -> list[tuple[Image, LabelMap]]:
    """Read every case once, in order."""
    return [read_case(case, tuple(structures)) for case in cases]


def plan_input(settings: PreprocessSettings, images: Sequence[Image]) -> PreprocessSettings:
    """Fill in what the training images decide: the network's pixel size, and whether slices have neighbours."""
    return plan_neighbours(plan_spacing(settings, images), [image.shape[0] for image in images])


def plan_samples(
    settings: Settings, images: Sequence[Image], *, voxels: Iterable[npt.NDArray[np.generic]] | None = None
) -> Settings:
    """Fill in what the training images decide: of slices as `plan_input` does, of volumes spacing and landmarks.

    `voxels` (channels, slices, rows, columns) are those of the images, where these do not hold them.
    """
    if settings.spatial_dims == 2:
        return replace(settings, preprocess=plan_input(settings.preprocess, images))
    volume = plan_volume(settings.volume, images)
    if volume.standardise == "landmarks" and not volume.landmarks:
        own = (image.channel_voxels for image in images)
        learnt = learn_landmarks(own if voxels is None else voxels, settings)
        volume = replace(volume, landmarks=learnt)
    return replace(settings, volume=volume)


def build_samples(
    pairs: Sequence[tuple[Image, LabelMap]],
    settings: Settings,
    network: nn.Module,
    *,
    centrelines: Mapping[str, Centreline] | None = None,
) -> Samples:
    """Prepare cases as the settings say; a network tells what sizes it takes.

    `centrelines`, by case_id, are of volumes that are cropped.
    """
    if settings.spatial_dims == 2:
        return build_slices(pairs, settings.preprocess, stride=int(getattr(network, "stride", 1)))
    return build_volumes(pairs, settings, strides=strides_of(network, 3), centrelines=centrelines)


def fix_patch(settings: Settings, samples: Samples) -> Settings:
    """Write down the patch size that the training images decided, so that the model's file holds it."""
    if settings.spatial_dims == 2 or settings.volume.patch_size is not None:
        return settings
    x, y, z = samples.seen_size
    return replace(settings, volume=replace(settings.volume, patch_size=(x, y, z)))
