"""Volumes as tensors: turned, resampled and standardised once, kept in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import psutil
import torch
from torch import Tensor

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import Centreline, Crop, plan_crop
from autoseg.model.dataset.volume_set import Size, Volume, VolumeSet
from autoseg.model.preprocessing.classes import classes_of, mirrored_classes, outer_classes, shares_of
from autoseg.model.preprocessing.sliding_window import window_starts
from autoseg.model.preprocessing.standardise import standardise
from autoseg.model.preprocessing.volume_grids import VolumeGrid, grid_of, to_network
from autoseg.model.settings.settings import Settings, VolumeSettings

# Voxels of a patch where its size is not given.
MOST_IN_PATCH = 128**3


def build_volumes(
    pairs: Sequence[tuple[Image, LabelMap]],
    settings: Settings,
    *,
    strides: Sequence[int],
    centrelines: Mapping[str, Centreline] | None = None,
) -> VolumeSet:
    """Bring every case to the network's grid.

    Parameters
    ----------
    pairs : sequence of (Image, LabelMap)
        On one grid each, with the same structures and the same number of channels.
    settings : Settings
        With the spacing chosen (`plan_volume`) and, where they are asked for, the landmarks learnt.
    strides : (3,) sequence of int
        The patch's sizes are multiples of these.
    centrelines : mapping of Centreline by case_id, optional
        With `volume.crop_mm` each volume is cropped around its own.

    Raises
    ------
    DataError
        If there is no case, the channels differ, a case has no centreline or one that leaves it, or memory would
        not suffice; nothing was stored then.
    """
    if not pairs:
        raise DataError("There are no cases to learn from.")
    channels = {len(image.channels) for image, _ in pairs}
    if len(channels) > 1:
        raise DataError(f"The images have {sorted(channels)} channels. Use one kind of image.")
    grids = [grid_of(image, settings.volume) for image, _ in pairs]
    soft = any(label_map.shares is not None for _, label_map in pairs)
    structures = pairs[0][1].structures
    _check_memory(grids, channels=channels.pop(), shares=len(structures) if soft else 0)
    crops = [
        crop_of(image, grid, settings.volume, (centrelines or {}).get(image.source.case_id))
        for (image, _), grid in zip(pairs, grids, strict=True)
    ]
    sizes = [grid.network if crop is None else crop.shape for grid, crop in zip(grids, crops, strict=True)]
    patch = patch_size(settings.volume, sizes, strides)
    volumes = tuple(
        _stored(*pair, grid, settings, crop, soft=soft)
        for pair, grid, crop in zip(pairs, grids, crops, strict=True)
    )
    places = torch.tensor(
        [
            (number, *start)
            for number, volume in enumerate(volumes)
            for start in product(
                *(_starts(n, one, settings.volume.overlap) for n, one in zip(volume.size, patch, strict=True))
            )
        ]
    )
    holds = [bool(_cut(volumes[number].labels, start, patch).any()) for number, *start in places.tolist()]
    return VolumeSet(
        volumes=volumes,
        places=places,
        holds=torch.tensor(holds),
        patch=patch,
        spacing_mm=settings.volume.spacing_mm or grids[0].spacing_mm,
        settings=settings.volume,
        sides=mirrored_classes(structures),
        outer=outer_classes(structures),
    )


def patch_size(settings: VolumeSettings, sizes: Sequence[Size], strides: Sequence[int]) -> Size:
    """Give the voxels that a network sees at once: as the settings say, else those of a typical volume.

    Parameters
    ----------
    settings : VolumeSettings
    sizes : sequence of (3,) tuple of int
        Of the training volumes on the network's grid.
    strides : (3,) sequence of int
        What each size is rounded up to a multiple of.
    """
    wanted = [float(n) for n in settings.patch_size or np.max(sizes, axis=0)]
    while settings.patch_size is None and math.prod(wanted) > MOST_IN_PATCH:
        longest = max(range(3), key=lambda k: wanted[k])
        wanted[longest] *= 0.9
    x, y, z = (max(1, math.ceil(n / step)) * step for n, step in zip(wanted, strides, strict=True))
    return x, y, z


def store_image(image: Image, grid: VolumeGrid, settings: Settings) -> Tensor:
    """Standardise an image and bring it to the network's grid, (channels, x, y, z) float32."""
    return to_network(torch.from_numpy(standardise(image.channel_voxels, settings, name=image.source.name)), grid)


def crop_of(image: Image, grid: VolumeGrid, settings: VolumeSettings, centreline: Centreline | None) -> Crop | None:
    """Choose what is seen of an image on the network's grid; None where the settings ask for no crop.

    Raises
    ------
    DataError
        If there is no centreline, or it does not meet the image.
    """
    if settings.crop_mm is None:
        return None
    name = image.source.name
    if centreline is None:
        raise DataError(
            f"{name} is to be cropped around its centreline (volume.crop_mm is {settings.crop_mm}), and none is "
            "given. Give one for this case, or train with a finder; crop_mm = None takes whole volumes."
        )
    return plan_crop(centreline, grid, image.calibrated_affine, settings.crop_mm, settings.orientation, name=name)


def _stored(
    image: Image, label_map: LabelMap, grid: VolumeGrid, settings: Settings, crop: Crop | None, *, soft: bool
) -> Volume:
    classes = torch.from_numpy(np.ascontiguousarray(classes_of(label_map)))
    shares = None
    if soft:
        given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(shares_of(label_map), 1, 0)))
        shares = to_network(given, grid).half()
    seen, labels = store_image(image, grid, settings), to_network(classes[None], grid, mode="nearest")
    if crop is not None:
        seen, labels = crop.cut(seen), crop.cut(labels, outside=0)
        shares = None if shares is None else crop.cut(shares, outside=0)
    return Volume(
        image=seen,
        labels=labels[0],
        drawn=torch.tensor([label_map.is_annotated(s.label) for s in label_map.structures]),
        case_id=image.source.case_id,
        subject_id=image.source.subject_id,
        shares=shares,
    )


def _check_memory(grids: Sequence[VolumeGrid], *, channels: int, shares: int) -> None:
    voxels = sum(math.prod(grid.network) for grid in grids)
    largest = max(math.prod(grid.native) for grid in grids)
    needed = voxels * (4 * channels + 1 + 2 * shares) + largest * 4 * (channels + 2 * shares + 2)
    free = psutil.virtual_memory().available
    if needed * 1.2 > free:
        raise DataError(
            f"{len(grids)} volumes of {voxels / 1e6:.0f} million voxels in all need {needed / 2**30:.1f} GiB of "
            f"memory and {free / 2**30:.1f} GiB are free. Close other programs, use fewer images, or choose a "
            "larger volume.spacing_mm."
        )


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """As `window_starts`; a volume smaller than the window lies in its middle, on whole voxels."""
    return [(size - window) // 2] if size < window else window_starts(size, window, overlap)


def _cut(labels: Tensor, start: Sequence[int], patch: Size) -> Tensor:
    return labels[tuple(slice(max(0, n), n + one) for n, one in zip(start, patch, strict=True))]
