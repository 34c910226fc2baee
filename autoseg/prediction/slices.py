"""A model that sees slices, run over one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.image.image import Image
from autoseg.model.device import choose_device, choose_precision, in_layout
from autoseg.model.model import TrainedModel
from autoseg.model.preprocessing.classes import mirrored_classes
from autoseg.model.preprocessing.extents import crop_size, extent_of, frame_size
from autoseg.model.preprocessing.neighbouring_slices import gather_slices
from autoseg.model.preprocessing.preprocess import (
    frame_middles,
    frame_offsets,
    measure_intensities,
    read_places,
    sample_frames,
    store_slices,
    to_native,
)
from autoseg.model.preprocessing.regions import count_cut_off, find_centres
from autoseg.model.preprocessing.sliding_window import run_in_tiles
from autoseg.prediction.ensemble import Inference, copies_of, looks_for_region, make_copy, undo_copy
from autoseg.prediction.second_look import second_look


class SliceRun:
    """A model that sees slices, made ready for one image: its network on its device, and its sizes.

    `centres` (slices, 2) are the middles of the frames; `cut_off` counts the slices on which a structure reaches
    the edge of its region, `last` are the slices that were read last.
    """

    def __init__(self, model: TrainedModel, image: Image, how: Inference) -> None:
        self.image, self.settings = image, model.settings.preprocess
        self.copies, self.sides = copies_of(how.copies), mirrored_classes(model.structures)
        self.device = choose_device()
        self.number_format = choose_precision(how.precision, self.device)
        self.network = how.network_of(model)
        self.stride = stride = int(getattr(self.network, "stride", 1))
        self.look = second_look(model.settings.augmentation)
        self.last: tuple[slice, Tensor] | None = None
        self.extent = extent_of(image, self.settings)
        self.intensities = measure_intensities(image, self.settings)
        self.network_size = torch.tensor([self.extent.network], device=self.device)
        self.whole = frame_size([self.extent], stride)
        self.tile = crop_size(self.settings, self.whole, stride)
        self.crop = self.tile if looks_for_region(model) else None
        self.centres = frame_middles(self.whole, self.network_size.expand(image.shape[0], 2))
        self.cut_off = 0

    @torch.inference_mode()
    def find_regions(self, batches: Sequence[slice]) -> None:
        """Look on the whole slices where the structures are, if the model sees crops."""
        if self.crop is None:
            return
        # Only the processor's memory need hold the whole scan, and only once.
        foreground = np.empty((self.image.shape[0], *self.whole), dtype=np.float32)
        for part in batches:
            answer = self._answer(self._frames(part, self.whole), self.tile)
            foreground[part] = (1 - answer[:, 0]).cpu().numpy()
        found = find_centres(foreground, self.crop, self.extent.network)
        self.centres = torch.from_numpy(found).to(self.device)

    @torch.inference_mode()
    def native(self, chosen: slice) -> npt.NDArray[np.float32]:
        """Give the probabilities of some slices on the image's own grid, the mean over the copies."""
        frames, mean = self._frames(chosen, self.crop or self.whole), None
        for copy in self.copies:
            tile = self.tile if self.tile is None or copy.turns % 2 == 0 else self.tile[::-1]
            answer = undo_copy(self._answer(make_copy(frames, copy), tile), copy, self.sides.to(self.device))
            mean = answer if mean is None else mean.add_(answer)
        framed = torch.as_tensor(mean)
        if len(self.copies) > 1:
            framed /= len(self.copies)
        if self.crop is not None:
            self.cut_off += count_cut_off(framed.argmax(1) > 0, self.centres[chosen], self.network_size)
        return to_native(framed, self.extent, centres=self._middles(chosen)).cpu().numpy()

    @torch.inference_mode()
    def again(self, chosen: slice) -> npt.NDArray[np.float32]:
        """Give the probabilities of some slices by a second look, on the image's own grid as `native` does."""
        first = self.crop or self.whole
        rows, columns = frame = self.look.frame(first, self.stride)
        matrix = self.look.matrix((1.0, 1.0), self.device)
        tile = None if self.tile is None else self.look.frame(self.tile, self.stride)
        answer = self._answer(self._frames(chosen, frame, matrix), tile)
        where = [
            (torch.arange(count, device=self.device) + 0.5) / count * network - network / 2
            for count, network in zip(self.extent.native, self.extent.network, strict=True)
        ]
        there = torch.stack(torch.meshgrid(*where, indexing="ij"), dim=-1) - self._middles(chosen)[:, None, None]
        size = there.new_tensor([rows, columns])
        native = read_places(answer, 2 * (there @ torch.linalg.inv(matrix).T) / size)
        if self.crop is not None:
            outside = (there.abs() > there.new_tensor(first) / 2).any(-1)
            native.masked_fill_(outside[:, None], 0.0)
            native[:, 0].masked_fill_(outside, 1.0)
        return native.cpu().numpy()

    def _frames(self, chosen: slice, frame: tuple[int, int], matrix: Tensor | None = None) -> Tensor:
        """Give some slices, with their neighbours, on frames of this size around their centres."""
        slices = self._stored(chosen)
        offsets = frame_offsets(frame, self.device)
        offsets = (offsets if matrix is None else offsets @ matrix.T) + self._middles(chosen)[:, None, None]
        stored = torch.tensor([self.extent.stored], device=self.device)
        return sample_frames(slices, offsets, stored, self.network_size)

    def _middles(self, chosen: slice) -> Tensor:
        """Give the middles of the frames of some slices, (slices, 2); one for all where they hold whole slices."""
        return self.centres[:1] if self.crop is None else self.centres[chosen]

    def _stored(self, chosen: slice) -> Tensor:
        """Give some slices with their neighbours, normalised; those that were asked for last are kept."""
        if self.last is not None and self.last[0] == chosen:
            return self.last[1]
        k, last = self.settings.neighbours, self.image.shape[0] - 1
        read = slice(max(0, chosen.start - k), min(last, chosen.stop - 1 + k) + 1)
        source = replace(self.image.source, slices=self.image.source.slices[read])
        part = Image(self.image.channel_voxels[:, read], self.image.affine, self.image.channels, source)
        slices = store_slices(part, self.extent, self.settings, self.intensities).to(self.device)
        places = torch.arange(chosen.start, chosen.stop, device=self.device) - read.start
        slices = gather_slices(slices, places, places.new_tensor([[0, len(slices) - 1]]), k)
        self.last = chosen, slices
        return slices

    def _answer(self, frames: Tensor, tile: tuple[int, int] | None) -> Tensor:
        """Give the network's probabilities on frames."""
        with torch.autocast(self.device.type, self.number_format, enabled=self.number_format != torch.float32):
            logits = run_in_tiles(self.network, in_layout(frames), tile)
        return logits.float().softmax(1)
