"""A model that sees volumes, run over one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.classes import mirrored_classes
from autoseg.copies import Copies, copies_of
from autoseg.dataset import store_image
from autoseg.device import choose_device, choose_precision, in_layout, with_layout
from autoseg.errors import DataError, SettingsError
from autoseg.image import Image
from autoseg.model import TrainedModel
from autoseg.volume_grids import grid_of, to_native
from autoseg.windows import run_in_windows

# Bytes of a voxel while a volume is segmented: logits and probabilities of a class, and the image.
CLASS_BYTES, IMAGE_BYTES = 10, 8


class VolumeRun:
    """A model that sees volumes, made ready for one image.

    The probabilities of the whole volume are kept on the network's grid, in half precision; each slice is brought
    back to the image's own grid when it is asked for. `cut_off` counts nothing here.
    """

    cut_off = 0

    def __init__(self, model: TrainedModel, image: Image, precision: str, copies: Copies) -> None:
        self.model, self.image, self.settings = model, image, model.settings
        self.copies = copies_of(copies)
        if any(copy.turns % 2 for copy in self.copies):
            raise SettingsError(
                f"copies is {copies!r}, which are of slices; of volumes choose left-right or mirrored."
            )
        self.sides = mirrored_classes(model.structures)
        self.device = choose_device()
        self.number_format = choose_precision(precision, self.device)
        self.network = with_layout(model.build(), self.device)
        self.grid = grid_of(image, model.settings.volume)
        patch = model.settings.volume.patch_size
        if patch is None:
            raise DataError(f"The model {model.name!r} does not say how large its patches are; train it anew.")
        self.patch = patch
        self._check_memory()
        self.probabilities: Tensor | None = None

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
    def _segment(self) -> Tensor:
        """Give the probabilities on the network's grid, (classes, x, y, z) float16, the mean over the copies."""
        volume = store_image(self.image, self.grid, self.settings)[None].to(self.device)
        before = [max(0, -((n - one) // 2)) for n, one in zip(volume.shape[2:], self.patch, strict=True)]
        after = [max(0, one - n - b) for n, one, b in zip(volume.shape[2:], self.patch, before, strict=True)]
        if any((*before, *after)):
            widths = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
            volume = functional.pad(volume, widths, mode="replicate")
        total: Tensor | None = None
        for copy in self.copies:
            axes, mirrored = self._mirror_axes(copy.is_mirrored, copy.turns)
            logits = run_in_windows(
                self._network, in_layout(volume.flip(axes)), self.patch, overlap=self.settings.volume.overlap
            )
            answer = _softmax(logits)[0].flip([axis - 1 for axis in axes])
            answer = answer[self.sides.to(self.device)] if mirrored else answer
            total = answer if total is None else total.add_(answer)
        found = torch.as_tensor(total)
        inner = tuple(slice(b, b + n) for b, n in zip(before, self.grid.network, strict=True))
        return (found[(slice(None), *inner)] / len(self.copies)).half()

    def _network(self, patches: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.number_format, enabled=self.number_format != torch.float32):
            logits: Tensor = self.network(in_layout(patches))
        return logits

    def _mirror_axes(self, mirrored: bool, turns: int) -> tuple[list[int], bool]:
        """Give the axes of (batch, channels, x, y, z) to flip, and whether left and right change places.

        As slices are mirrored left to right, and, turned by a half too, front to back.
        """
        letters = self.settings.volume.orientation
        side = 2 + next(k for k, letter in enumerate(letters) if letter in "RL")
        front = 2 + next(k for k, letter in enumerate(letters) if letter in "AP")
        axes = ([side] if mirrored != (turns == 2) else []) + ([front] if turns == 2 else [])
        return axes, side in axes

    def _check_memory(self) -> None:
        voxels = math.prod(max(n, one) for n, one in zip(self.grid.network, self.patch, strict=True))
        classes = len(self.model.structures) + 1
        needed = voxels * (classes * CLASS_BYTES + IMAGE_BYTES) + math.prod(self.grid.native) * 9
        free = psutil.virtual_memory().available
        if needed > free:
            raise DataError(
                f"{self.image.source.name} would have {' × '.join(map(str, self.grid.network))} voxels for the "
                f"network and need {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free. Close other "
                "programs, or train a model with a larger volume.spacing_mm."
            )


def _softmax(logits: Tensor) -> Tensor:
    """Take logits (1, classes, …) to probabilities in place."""
    logits -= logits.amax(1, keepdim=True)
    logits.exp_()
    return logits.div_(logits.sum(1, keepdim=True))
