"""The device that learns and predicts, its number format, and how numbers lie in its memory."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from autoseg.errors import SettingsError
from autoseg.model.device.gpu import cuda_failure


def choose_device() -> torch.device:
    """Give the fastest device that torch can use: a CUDA GPU, Apple's GPU, or the processor.

    A GPU that is there but refuses to work (full, reserved by another program, too old) is not chosen.
    """
    if torch.cuda.is_available() and not cuda_failure():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Give the number format of the network's convolutions.

    Parameters
    ----------
    wanted : {"auto", "float32", "bfloat16"}
        "auto" takes bfloat16 on GPUs that have it and on processors with AMX or AVX512-BF16 units;
        elsewhere bfloat16 would be emulated, and slow.

    Raises
    ------
    SettingsError
        For any other word.
    """
    if wanted == "float32":
        return torch.float32
    if wanted == "bfloat16":
        return torch.bfloat16
    if wanted != "auto":
        raise SettingsError(f"precision is {wanted!r}; give auto, float32 or bfloat16.")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        units = torch.cpu.get_capabilities()
        return torch.bfloat16 if units.get("amx_bf16") or units.get("avx512_bf16") else torch.float32
    return torch.float32


# How images and filters lie in memory, by their axes; convolutions are fastest with the channels last.
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def with_layout(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device with its filters in the fastest layout, in 2-D and 3-D."""
    layout = LAYOUTS[max([4, *(weight.dim() for weight in network.parameters())])]
    # torch's type hints do not know the argument that its documentation recommends.
    return network.to(device, memory_format=layout)  # type: ignore[call-overload]


def in_layout(images: Tensor) -> Tensor:
    """Give images (batch, channels, …) in the layout of the network's filters."""
    return images.contiguous(memory_format=LAYOUTS[images.dim()])


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of handing it back to the system.

    A training step frees and asks for the same large blocks again and again; on Linux each round costs
    page faults worth a quarter of the time. Elsewhere this does nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, which has other rules
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_threshold, 2**31 - 1)
    mallopt(mmap_max, 0)
