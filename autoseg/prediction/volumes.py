"""A model that sees volumes, run over one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.errors import DataError, SettingsError
from autoseg.image.image import Image
from autoseg.model.dataset import crop_of, store_image
from autoseg.model.dataset.voxels import pad_to, padded_before, read_linear
from autoseg.model.device import choose_device, choose_precision, in_layout, require_memory
from autoseg.model.model import TrainedModel
from autoseg.model.preprocessing.classes import mirrored_classes
from autoseg.model.preprocessing.sliding_window import run_by_slabs
from autoseg.model.preprocessing.volume_grids import VolumeGrid, grid_of, to_native
from autoseg.prediction.centreline import find_centreline
from autoseg.prediction.ensemble import Inference, copies_of, mirrored_axes
from autoseg.prediction.second_look import second_look

# Bytes of a voxel while a volume is segmented: probabilities and logits of a class, and the image.
CLASS_BYTES, LOGIT_BYTES, IMAGE_BYTES = 2, 4, 8


class VolumeRun:
    """A model that sees volumes, made ready for one image.

    The probabilities of the whole volume are kept on the network's grid, in half precision; each slice is brought
    back to the image's own grid when it is asked for. `cut_off` counts nothing here. A model that sees a crop looks
    around the centreline that is given, or around what its own finder finds; outside is background.
    """

    cut_off = 0

    def __init__(self, model: TrainedModel, image: Image, how: Inference) -> None:
        self.model, self.image, self.settings = model, image, model.settings
        self.copies = copies_of(how.copies)
        if any(copy.turns % 2 for copy in self.copies):
            raise SettingsError(
                f"copies is {how.copies!r}, which are of slices; of volumes choose left-right or mirrored."
            )
        self.sides = mirrored_classes(model.structures)
        self.device = choose_device()
        self.number_format = choose_precision(how.precision, self.device)
        self.network = how.network_of(model)
        self.grid = grid_of(image, model.settings.volume)
        patch = model.settings.volume.patch_size
        if patch is None:
            raise DataError(f"The model {model.name!r} does not say how large its patches are; train it anew.")
        self.patch = patch
        centreline = how.centreline
        if centreline is None and model.finder is not None and model.settings.volume.crop_mm is not None:
            centreline = find_centreline(model.finder, image, precision=how.precision)
        self.crop = crop_of(image, self.grid, model.settings.volume, centreline)
        self.size = self.grid.network if self.crop is None else self.crop.shape
        self.look = second_look(model.settings.augmentation)
        self.looks = how.look
        self._check_memory()
        self.probabilities: Tensor | None = None
        self.seen_again: Tensor | None = None
        self.stored: Tensor | None = None  # the image, kept for the second look

    def find_regions(self, batches: Sequence[slice]) -> None:
        """Segment the whole volume; `batches` are brought back one by one later."""
        self.probabilities = self._segment()

    @torch.inference_mode()
    def native(self, chosen: slice) -> npt.NDArray[np.float32]:
        """Give the probabilities of some slices on the image's own grid."""
        if self.probabilities is None:
            self.probabilities = self._segment()
        found: npt.NDArray[np.float32] = to_native(self.probabilities, self.grid, chosen).cpu().numpy()
        return found

    @torch.inference_mode()
    def again(self, chosen: slice) -> npt.NDArray[np.float32]:
        """Give the probabilities of some slices by a second look, on the image's own grid as `native` does."""
        if self.seen_again is None:
            self.seen_again = self._segment_again()
        found: npt.NDArray[np.float32] = to_native(self.seen_again, self.grid, chosen).cpu().numpy()
        return found

    @torch.inference_mode()
    def _segment(self) -> Tensor:
        """Give the probabilities on the network's grid, (classes, x, y, z) float16, the mean over the copies."""
        stored = self._read()
        self.stored = stored if self.looks else None
        found = self._run(stored, self._answer)
        return found if self.crop is None else self.crop.put_back(found, outside=torch.eye(len(self.sides))[0])

    def _read(self) -> Tensor:
        stored = store_image(self.image, self.grid, self.settings)
        return stored if self.crop is None else self.crop.cut(stored)

    def _run(self, stored: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """Give the probabilities of a stored image (channels, x, y, z), patch by patch."""
        size = stored.shape[1:]
        volume = pad_to(stored, self.patch, mode="edge")[None].to(self.device)
        before = padded_before(size, self.patch)
        found = torch.empty((len(self.sides), *size), dtype=torch.float16, device=self.device)
        inner = tuple(slice(b, b + n) for b, n in zip(before[1:], size[1:], strict=True))
        for where, logits in run_by_slabs(answer, volume, self.patch, overlap=self.settings.volume.overlap):
            planes = range(max(where.start, before[0]), min(where.stop, before[0] + size[0]))
            if planes:
                kept = logits[0, :, planes.start - where.start : planes.stop - where.start]
                chosen = slice(planes.start - before[0], planes.stop - before[0])
                found[:, chosen] = kept[(slice(None), slice(None), *inner)].softmax(0)
        return found

    def _segment_again(self) -> Tensor:
        """Give the probabilities by a second look, turned and enlarged back to where the first ones lie."""
        stored = self._read() if self.stored is None else self.stored
        self.stored = None
        matrix = self.look.matrix(self.grid.spacing_mm, stored.device)
        seen = self._run(_turned(stored, matrix, [self.look.along(n) for n in self.size]), self._logits)
        found = _turned(seen, torch.linalg.inv(matrix).to(self.device), self.size)
        return found if self.crop is None else self.crop.put_back(found, outside=torch.eye(len(self.sides))[0])

    def _answer(self, patches: Tensor) -> Tensor:
        """Give the logits of patches, those of the mean over the copies."""
        if len(self.copies) == 1:
            return self._logits(patches)
        mean: Tensor | None = None
        for copy in self.copies:
            axes = [2 + axis for axis in mirrored_axes(copy, self.settings.volume.orientation)]
            answer = self._logits(patches.flip(axes)).float().softmax(1).flip(axes)
            answer = answer[:, self.sides.to(self.device)] if copy.is_mirrored else answer
            mean = answer if mean is None else mean.add_(answer)
        # Far below what half precision tells from 0, and finite.
        return torch.as_tensor(mean).div_(len(self.copies)).clamp_(min=1e-12).log_()

    def _logits(self, patches: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.number_format, enabled=self.number_format != torch.float32):
            logits: Tensor = self.network(in_layout(patches))
        return logits

    def _check_memory(self) -> None:
        voxels = math.prod(max(n, one) for n, one in zip(self.size, self.patch, strict=True))
        classes = len(self.model.structures) + 1
        # Of a slab there are logits.
        slab = voxels // max(self.size[0], self.patch[0]) * self.patch[0]
        needed = voxels * (classes * CLASS_BYTES + IMAGE_BYTES * len(self.image.channels))
        needed += slab * classes * LOGIT_BYTES + math.prod(self.grid.native) * IMAGE_BYTES * len(
            self.image.channels
        )
        if self.looks:
            needed += voxels * (2 * classes * CLASS_BYTES + IMAGE_BYTES * len(self.image.channels))
        if self.crop is not None:  # the whole image, and what is put back into its place
            needed += math.prod(self.grid.network) * (2 * classes + IMAGE_BYTES)
        require_memory_for(self.image, self.grid, needed)


def require_memory_for(image: Image, grid: VolumeGrid, needed: float) -> None:
    """Raise DataError unless so many bytes are free for an image on the network's grid."""
    shown = " × ".join(map(str, grid.network))
    what = f"{image.source.name} would have {shown} voxels for the network, which"
    require_memory(needed, what, "or train a model with a larger volume.spacing_mm")


def _turned(voxels: Tensor, matrix: Tensor, size: Sequence[int]) -> Tensor:
    """Read voxels (channels, x, y, z) on a grid of this size about the same middle, plane by plane.

    `matrix` takes a voxel's distance from the middle there to that here; beyond the edge the last voxels count.
    """
    found = voxels.new_empty((len(voxels), *size))
    middle = (torch.tensor(voxels.shape[1:], device=voxels.device) - 1) / 2
    x, y, z = (torch.arange(n, device=voxels.device) - (n - 1) / 2 for n in size)
    plane = torch.stack(torch.meshgrid(x[:1], y, z, indexing="ij"), dim=-1)
    for number, along in enumerate(x):
        plane[..., 0] = along
        found[:, number : number + 1] = read_linear(voxels, plane @ matrix.T + middle)
    return found
