"""The computer that learns and predicts: its device, its number format and its speed."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

from autoseg.errors import SettingsError


@dataclass(frozen=True)
class Computer:
    """What this computer offers: `device` ("cuda", "mps" or "cpu"), its name, memory in GiB, number format."""

    device: str
    device_name: str
    memory_gib: float
    device_memory_gib: float | None
    cores: int
    precision: str
    advice: str

    def __str__(self) -> str:
        lines = [
            f"Computer: {platform.system()}, {self.cores} processor core(s), {self.memory_gib:.0f} GiB memory",
            f"Learning on: {self.device_name}"
            + (f" with {self.device_memory_gib:.0f} GiB" if self.device_memory_gib else "")
            + f", numbers in {self.precision}",
        ]
        return "\n".join([*lines, self.advice] if self.advice else lines)


def find_computer() -> Computer:
    """Look at this computer: memory, processor, GPU, and whether torch can use the GPU."""
    device = choose_device()
    name, device_memory, advice = platform.processor() or platform.machine(), None, ""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, device_memory = properties.name, properties.total_memory / 2**30
    elif device.type == "mps":
        name = "Apple GPU (mps)"
    else:
        name = f"the processor ({torch.cpu.get_capabilities().get('cpu_name', name)}), no GPU in use"
        if torch.version.cuda is None and sys.platform != "darwin":
            advice = (
                "This torch was built without GPU support. If the computer has an NVIDIA GPU, install the CUDA "
                "build of torch in this environment; everything else stays as it is."
            )
    return Computer(
        device=device.type,
        device_name=name,
        memory_gib=psutil.virtual_memory().total / 2**30,
        device_memory_gib=device_memory,
        cores=psutil.cpu_count(logical=True) or 1,
        precision=str(choose_precision("auto", device)).removeprefix("torch."),
        advice=advice,
    )


def choose_device() -> torch.device:
    """Give the fastest device that torch can use: a CUDA GPU, Apple's GPU, or the processor."""
    if torch.cuda.is_available():
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


# How images and filters lie in memory; convolutions are fastest with the channels last.
LAYOUT = torch.channels_last


def with_layout(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device with its filters in the fastest layout."""
    # torch's type hints do not know the argument that its documentation recommends.
    return network.to(device, memory_format=LAYOUT)  # type: ignore[call-overload]


def in_layout(images: Tensor) -> Tensor:
    """Give images in the layout of the network's filters."""
    return images.contiguous(memory_format=LAYOUT)


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


def measure_speed(seconds: float = 2.0) -> str:
    """Run the default network on random slices of 128 × 128 for about `seconds` and say how fast it learns."""
    from autoseg.networks import build_network
    from autoseg.settings import NetworkSettings

    device, batch = choose_device(), 8
    precision = choose_precision("auto", device)
    network = with_layout(build_network(NetworkSettings(), in_channels=1, out_channels=3), device)
    slices = in_layout(torch.randn(batch, 1, 128, 128, device=device))

    def step() -> None:
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = network(slices)
        logits.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    rate = steps * batch / (time.perf_counter() - start)
    return f"Speed: learns from about {rate:.0f} slices of 128 × 128 pixels in a second."
