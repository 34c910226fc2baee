"""Volumes as tensors: turned, resampled and standardised once, kept in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline, Crop, plan_crop
from autoseg.model.dataset.batch import Batch, check_channels, check_pairs, drawn_of, on_device, with_background
from autoseg.model.dataset.kept import KeptCase, KeptPixels
from autoseg.model.dataset.voxels import is_inside, pad_to, padded_before, read_linear, read_nearest
from autoseg.model.device import in_layout, require_memory
from autoseg.model.networks import Outputs, learn
from autoseg.model.preprocessing.augment import draw_volume_geometry
from autoseg.model.preprocessing.classes import classes_of, mirrored_classes, outer_classes, shares_of
from autoseg.model.preprocessing.sliding_window import run_in_windows, window_starts
from autoseg.model.preprocessing.standardise import standardise
from autoseg.model.preprocessing.volume_grids import VolumeGrid, grid_of, to_network
from autoseg.model.settings.settings import AugmentationSettings, Settings, VolumeSettings

# --- volumes on the network's grid, sampled patch by patch

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Volume:
    """One case on the network's grid.

    `image` (channels, x, y, z) float32, `labels` (x, y, z) uint8 classes, `drawn` (structures,) bool; `shares`
    (structures, x, y, z) float16 where raters drew shares. The axes are those of the settings' orientation.
    """

    image: Tensor
    labels: Tensor
    drawn: Tensor
    case_id: str
    subject_id: str
    shares: Tensor | None = None

    @property
    def size(self) -> Size:
        """Voxels along the three axes."""
        x, y, z = self.labels.shape
        return x, y, z

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.image.device

    def to(self, device: torch.device) -> Volume:
        """Move every tensor to a device."""
        return on_device(self, device)


@dataclass(frozen=True, eq=False)
class KeptVolume:
    """The same of a case that lies in the cache: image, labels and shares are read whenever they are asked for."""

    drawn: Tensor
    case_id: str
    subject_id: str
    pixels: KeptPixels
    soft: bool = False
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # it never changes

    @property
    def image(self) -> Tensor:
        """Intensities (channels, x, y, z) float32."""
        return self.pixels.row("image", 0).to(self.device)

    @property
    def labels(self) -> Tensor:
        """Classes (x, y, z) uint8."""
        return self.pixels.row("labels", 0).to(self.device)

    @property
    def shares(self) -> Tensor | None:
        """Raters' shares (structures, x, y, z) float16, if any."""
        return self.pixels.row("shares", 0).to(self.device) if self.soft else None

    @property
    def size(self) -> Size:
        """Voxels along the three axes."""
        _, x, y, z = self.pixels.entry.shape("labels")
        return x, y, z

    def to(self, device: torch.device) -> KeptVolume:
        """Let what is read go to a device."""
        return replace(self, drawn=self.drawn.to(device), device=device)


@dataclass(frozen=True, eq=False)
class VolumeSet:
    """Volumes ready to be learnt from, all on one device; a sample is a patch of one of them.

    `places` (n, 4) are the number of the volume and where the patch starts; patches cover every volume, with the
    settings' overlap. `holds` (n,) tells which of them have a structure. `patch` is their size, `spacing_mm` the
    distance between voxels, `sides` the classes after mirroring left to right, `outer` the class in which each
    lies.
    """

    volumes: tuple[Volume | KeptVolume, ...]
    places: Tensor
    holds: Tensor
    patch: Size
    spacing_mm: tuple[float, float, float]
    settings: VolumeSettings
    sides: Tensor
    outer: Tensor

    def __len__(self) -> int:
        return len(self.places)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The case of every patch."""
        return tuple(self.volumes[number].case_id for number in self.places[:, 0].tolist())

    @property
    def subject_ids(self) -> tuple[str, ...]:
        """The subject of every patch."""
        return tuple(self.volumes[number].subject_id for number in self.places[:, 0].tolist())

    @property
    def drawn(self) -> Tensor:
        """Which structures were drawn, (n, structures) bool."""
        return torch.stack([volume.drawn for volume in self.volumes])[self.places[:, 0].to(self.device)]

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.volumes[0].device

    @property
    def seen_size(self) -> tuple[int, ...]:
        """Voxels that the network sees at once."""
        return self.patch

    @property
    def with_structure(self) -> Tensor:
        """Which patches have a structure that was drawn, (n,) bool on the processor."""
        return self.holds

    @property
    def wholes(self) -> int:
        """Number of volumes."""
        return len(self.volumes)

    @property
    def wholes_at_once(self) -> int:
        """How many volumes can be seen together: one, unless each has the size of a patch."""
        return len(self.volumes) if all(volume.size == self.patch for volume in self.volumes) else 1

    def to(self, device: torch.device) -> VolumeSet:
        """Move every tensor to a device; where patches lie stays on the processor."""
        return replace(
            self,
            volumes=tuple(volume.to(device) for volume in self.volumes),
            sides=self.sides.to(device),
            outer=self.outer.to(device),
        )

    def sample(
        self,
        indices: Tensor,
        *,
        augmentation: AugmentationSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Give the patches with these indices; with `augmentation` each is moved, turned, zoomed and varied.

        Patches then move by up to half a step too; mirrors are those of `volume.flips`. The generator is on the
        processor.
        """
        places = self.places[indices.cpu()]
        starts = places[:, 1:].float()
        if augmentation is None:
            return self._placed(places, starts, torch.eye(3).expand(len(indices), 3, 3)).laid_out()
        if generator is None:
            raise DataError("Augmentation needs a random generator.")
        matrix, shift, across = draw_volume_geometry(
            len(indices), augmentation, self.settings.flips, self.spacing_mm, generator
        )
        starts = self._moved(starts, places[:, 0], generator) + shift * torch.tensor(self.patch)
        flipped = across.sum(1) % 2 == 1  # mirrored twice it is only turned
        batch = self._placed(places, starts, matrix).mirrored(flipped, self.sides)
        return batch.varied(augmentation, generator).laid_out()

    def _placed(self, places: Tensor, starts: Tensor, matrix: Tensor) -> Batch:
        """Read patches that begin at (batch, 3) starts, turned about their middles by (batch, 3, 3) matrices."""
        device, middle = self.device, (torch.tensor(self.patch) - 1) / 2
        offsets = torch.stack(
            torch.meshgrid(*(torch.arange(n, device=device) - (n - 1) / 2 for n in self.patch), indexing="ij"), -1
        )
        images, classes, shares = [], [], []
        for number, start, turn in zip(places[:, 0].tolist(), starts, matrix, strict=True):
            volume = self.volumes[number]
            placed = offsets @ turn.T.to(device) + (start + middle).to(device)
            images.append(read_linear(volume.image, placed))
            classes.append(read_nearest(volume.labels, placed))
            if (drawn := volume.shares) is not None:
                shares.append(read_linear(drawn, placed) * is_inside(volume.size, placed))
        drawn = torch.stack([self.volumes[number].drawn for number in places[:, 0].tolist()])
        targets = with_background(torch.stack(shares)) if shares else None
        return Batch(torch.stack(images), torch.stack(classes).long(), drawn, targets, self.outer)

    def whole(self, indices: Tensor) -> Batch:
        """Give whole volumes as they are; several have one size."""
        chosen = [self.volumes[number] for number in indices.tolist()]
        shares = [one for volume in chosen if (one := volume.shares) is not None]
        targets = with_background(torch.stack(shares).float()) if len(shares) == len(chosen) else None
        images, labels, drawn = (
            torch.stack([getattr(volume, name) for volume in chosen]) for name in ("image", "labels", "drawn")
        )
        return Batch(in_layout(images), labels.long(), drawn, targets, self.outer)

    def answer(self, network: nn.Module, batch: Batch) -> Outputs:
        """Give all that is compared in training too, where a patch is the volume; else the answer itself.

        As in prediction a smaller volume is padded, a larger one seen in windows. What was added counts nothing.
        """
        size = tuple(batch.images.shape[2:])
        if size == self.patch:
            return learn(network, batch.images, batch.labels, batch.drawn)
        padded = torch.stack([pad_to(image, self.patch, mode="edge") for image in batch.images])
        logits = run_in_windows(network, padded, self.patch, overlap=self.settings.overlap)
        inner = (slice(b, b + n) for b, n in zip(padded_before(size, self.patch), size, strict=True))
        return Outputs(logits[(slice(None), slice(None), *inner)])

    def _moved(self, starts: Tensor, numbers: Tensor, generator: torch.Generator) -> Tensor:
        """Move patches by up to half a step, but not out of their volumes."""
        patch = torch.tensor(self.patch).float()
        step = patch * (1 - self.settings.overlap)
        moved = starts + (torch.rand(starts.shape, generator=generator) - 0.5) * step
        room = torch.tensor([self.volumes[number].size for number in numbers.tolist()]).float() - patch
        return torch.where(room > 0, moved.clamp(min=0).minimum(room.clamp(min=0)), starts)


# Voxels of a patch where its size is not given.
MOST_IN_PATCH = 128**3


def build_volumes(
    pairs: Sequence[tuple[Image, LabelMap]],
    settings: Settings,
    *,
    strides: Sequence[int],
    centrelines: Mapping[str, Centreline] | None = None,
) -> VolumeSet:
    """Bring every case to the network's grid, with `volume.crop_mm` each cropped around its own centreline.

    The spacing, and landmarks where they are asked for, were chosen before (`plan_samples`). Centrelines are by
    case_id; the patch's sizes are multiples of the (3,) strides.
    """
    soft = check_pairs(pairs)
    grids = [grid_of(image, settings.volume) for image, _ in pairs]
    structures = pairs[0][1].structures
    _check_memory(grids, channels=len(pairs[0][0].channels), shares=len(structures) if soft else 0)
    crops = [
        crop_of(image, grid, settings.volume, (centrelines or {}).get(image.source.case_id))
        for (image, _), grid in zip(pairs, grids, strict=True)
    ]
    volumes = [
        _stored(*pair, grid, settings, crop, soft=soft)
        for pair, grid, crop in zip(pairs, grids, crops, strict=True)
    ]
    return _put_together(volumes, grids, structures, settings, strides)


def _put_together(
    volumes: Sequence[Volume | KeptVolume],
    grids: Sequence[VolumeGrid],
    structures: Sequence[Structure],
    settings: Settings,
    strides: Sequence[int],
) -> VolumeSet:
    """Cover volumes with patches."""
    patch = patch_size(settings.volume, [volume.size for volume in volumes], strides)
    places, holds = [], []
    for number, volume in enumerate(volumes):
        labels = volume.labels
        sides = (_starts(n, one, settings.volume.overlap) for n, one in zip(volume.size, patch, strict=True))
        for start in product(*sides):
            places.append((number, *start))
            holds.append(bool(_cut(labels, start, patch).any()))
    return VolumeSet(
        volumes=tuple(volumes),
        places=torch.tensor(places),
        holds=torch.tensor(holds),
        patch=patch,
        spacing_mm=settings.volume.spacing_mm or grids[0].spacing_mm,
        settings=settings.volume,
        sides=mirrored_classes(structures),
        outer=outer_classes(structures),
    )


# --- the same in the cache, for cases that are too many for the memory


def keep_volume(
    image: Image, label_map: LabelMap, settings: Settings, *, soft: bool
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Give what the cache keeps of a case: what is noted (nothing), and arrays of one row each.

    But `native`, the classes on the image's own grid, has a row for each slice.
    """
    volume = _stored(image, label_map, grid_of(image, settings.volume), settings, None, soft=soft)
    kept = {"image": volume.image, "labels": volume.labels, "shares": volume.shares}
    arrays = {name: tensor.contiguous().numpy()[None] for name, tensor in kept.items() if tensor is not None}
    return {}, {**arrays, "native": classes_of(label_map)}


def open_volumes(cases: Sequence[KeptCase], settings: Settings, *, strides: Sequence[int]) -> VolumeSet:
    """Give the set of `build_volumes`, without crops, of cases that lie in the cache."""
    check_channels([case.outline for case in cases])
    soft = any(case.is_soft for case in cases)
    owners = [(case.outline.source.case_id, case.outline.source.subject_id) for case in cases]
    volumes = [
        KeptVolume(torch.tensor(case.drawn), *owner, case.pixels, soft)
        for case, owner in zip(cases, owners, strict=True)
    ]
    grids = [grid_of(case.outline, settings.volume) for case in cases]
    return _put_together(volumes, grids, cases[0].structures, settings, strides)


def patch_size(settings: VolumeSettings, sizes: Sequence[Size], strides: Sequence[int]) -> Size:
    """Give the voxels seen at once, multiples of the strides: as the settings say, else those of the largest."""
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
    """Choose what is seen of an image on the network's grid; None where the settings ask for no crop."""
    if settings.crop_mm is None:
        return None
    if centreline is None:
        raise DataError(
            f"{image.source.name} is to be cropped around its centreline (volume.crop_mm is {settings.crop_mm}), "
            "and none is given. Give one for this case, train with a finder, or see whole volumes (volume.crop_mm "
            "= none)."
        )
    return plan_crop(centreline, grid, image, settings)


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
        drawn=torch.tensor(drawn_of(label_map)),
        case_id=image.source.case_id,
        subject_id=image.source.subject_id,
        shares=shares,
    )


def _check_memory(grids: Sequence[VolumeGrid], *, channels: int, shares: int) -> None:
    voxels = sum(math.prod(grid.network) for grid in grids)
    largest = max(math.prod(grid.native) for grid in grids)
    needed = voxels * (4 * channels + 1 + 2 * shares) + largest * 4 * (channels + 2 * shares + 2)
    what = f"{len(grids)} volumes of {voxels / 1e6:.0f} million voxels in all"
    require_memory(1.2 * needed, what, "use fewer images, or choose a larger volume.spacing_mm")


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """As `window_starts`; a volume smaller than the window lies in its middle, on whole voxels."""
    return [(size - window) // 2] if size < window else window_starts(size, window, overlap)


def _cut(labels: Tensor, start: Sequence[int], patch: Size) -> Tensor:
    return labels[tuple(slice(max(0, n), n + one) for n, one in zip(start, patch, strict=True))]
