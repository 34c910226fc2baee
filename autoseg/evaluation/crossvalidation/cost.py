"""What learning and predicting cost: memory, time, size."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import threading
from functools import cache
from types import TracebackType

import psutil
import torch

from autoseg.image.image import Image
from autoseg.model.device import choose_device
from autoseg.model.model import TrainedModel
from autoseg.model.networks.cost import count_cost
from autoseg.model.preprocessing.extents import crop_size, extent_of, frame_size
from autoseg.model.preprocessing.neighbouring_slices import network_channels

EVERY_S = 0.05
MIB = 2**20


class MemoryWatch:
    """Measure how much memory a `with` block takes at most, beyond what is in use before it.

    On a graphics card it is what is allocated there. On the processor it is the growth of the process, looked at
    20 times a second; what was freed before is handed back to the system first where that is possible (Linux), as
    it would be used again and not seen. `peak_mib` is known after the block.
    """

    def __init__(self) -> None:
        self.peak_mib = math.nan
        self._is_cuda = choose_device().type == "cuda"
        self._process, self._over = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = self._most = 0

    def __enter__(self) -> MemoryWatch:
        _load_all()
        _hand_back()
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            self._before = self._most = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_cuda:
            self._most = torch.cuda.max_memory_allocated()
        else:
            self._over.set()
            self._thread.join()
        self.peak_mib = max(0, self._most - self._before) / MIB

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            if self._over.wait(EVERY_S):
                return


def size_of(model: TrainedModel, image: Image) -> tuple[int, float]:
    """Give the number of parameters, and the multiply-adds of a pass over what the network sees of an image."""
    preprocess, network = model.settings.preprocess, model.build()
    channels = network_channels(len(image.channels), preprocess.neighbours)
    seen: tuple[int, ...] | None = model.settings.volume.patch_size
    if model.settings.spatial_dims == 2 or seen is None:
        stride = int(getattr(network, "stride", 1))
        whole = frame_size([extent_of(image, preprocess)], stride)
        seen = crop_size(preprocess, whole, stride) or whole
    cost = count_cost(network, (channels, *seen))
    # A network that is built to predict learns nothing any more, and so counts no parameters of its own.
    return sum(parameter.numel() for parameter in network.parameters()), cost.multiply_adds


@cache
def _load_all() -> None:
    """Let a first step of learning load what stays in memory, or it would be counted for the first training."""
    network = torch.nn.Conv2d(1, 8, 3).to(choose_device())
    network(next(network.parameters()).new_zeros(1, 1, 8, 8)).mean().backward()
    torch.optim.AdamW(network.parameters()).step()


def _hand_back() -> None:
    """Free what nobody holds, and give it back to the system where the C library knows how."""
    gc.collect()
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
