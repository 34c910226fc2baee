"""What this computer offers: memory, processor, GPU, speed, and what to do where something is amiss."""

from __future__ import annotations

import math
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import torch

from autoseg.model.device.choice import (
    advise_gpu,
    choose_device,
    choose_precision,
    find_gpu,
    in_layout,
    with_layout,
)
from autoseg.words import counted

# Below these the advice speaks of memory.
LITTLE_GIB, LITTLE_FREE_GIB = 8.0, 2.0
# What the speed is measured on, where nothing else is said.
USUAL_FRAME, USUAL_BATCH = (128, 128), 8
_rates: dict[tuple[str, tuple[int, int], int, int], float] = {}


@dataclass(frozen=True)
class Computer:
    """What this computer offers: `device` ("cuda", "mps" or "cpu"), its name, memory in GiB, number format.

    `advice` says in plain sentences what to do where a GPU lies idle or memory is short; "" if all is well. The
    free memory is that of the moment. `pixels_per_second` is how fast a network learns, as it was measured
    (`measure_rate`) since Python started; None: not yet.
    """

    device: str
    device_name: str
    memory_gib: float
    device_memory_gib: float | None
    cores: int
    precision: str
    advice: str
    free_gib: float | None = None
    device_free_gib: float | None = None
    pixels_per_second: float | None = None

    def __str__(self) -> str:
        return "\n".join(filter(None, (f"Computer: {self.machine}", f"Learning on: {self.learner}", self.advice)))

    @property
    def machine(self) -> str:
        """System, processor cores and memory, in words."""
        memory = f"{self.memory_gib:.0f} GiB memory{_free(self.free_gib)}"
        return f"{platform.system()}, {self.cores} processor core{'' if self.cores == 1 else 's'}, {memory}"

    @property
    def learner(self) -> str:
        """What the network runs on, in words."""
        memory = (
            f" with {self.device_memory_gib:.0f} GiB{_free(self.device_free_gib)}" if self.device_memory_gib else ""
        )
        return f"{self.device_name}{memory}, numbers in {self.precision}"


def find_computer() -> Computer:
    """Look at this computer: memory, processor, GPU, and whether torch can use the GPU."""
    device = choose_device()
    name, device_memory, device_free = platform.processor() or platform.machine(), None, None
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        device_free, device_memory = (size / 2**30 for size in torch.cuda.mem_get_info(device))
    elif device.type == "mps":
        name = "Apple GPU (mps)"
    else:
        name = f"the processor ({torch.cpu.get_capabilities().get('cpu_name', name)}), no GPU in use"
    total, free = find_memory()
    advice = advise_gpu(find_gpu()) if device.type == "cpu" else ""
    return Computer(
        device=device.type,
        device_name=name,
        memory_gib=total,
        device_memory_gib=device_memory,
        cores=psutil.cpu_count(logical=True) or 1,
        precision=str(choose_precision("auto", device)).removeprefix("torch."),
        advice="\n".join(filter(None, (advice, advise_memory(total, free, device_free)))),
        free_gib=free,
        device_free_gib=device_free,
        pixels_per_second=_rates.get((device.type, USUAL_FRAME, USUAL_BATCH, 1)),
    )


def find_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[float, float]:
    """Give the memory, and what of it is free, in GiB; a container's own limit counts, as on a hub."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max" where there is none
        cached = re.search(r"^inactive_file (\d+)", (cgroup / "memory.stat").read_text(), re.MULTILINE)
        used = int((cgroup / "memory.current").read_text()) - (int(cached[1]) if cached else 0)
        total, free = min(total, limit), min(free, limit - used)
    except (OSError, ValueError):
        pass
    return total / 2**30, max(0, free) / 2**30


def advise_memory(total_gib: float, free_gib: float, device_free_gib: float | None = None) -> str:
    """Say that memory is short and what helps, or ""."""
    if free_gib < LITTLE_FREE_GIB:
        return (
            f"Only {free_gib:.1f} GiB of memory are free. Close other programs and notebooks before you train "
            "(Kernel ▸ Shut Down All Kernels), or it may stop half-way."
        )
    if device_free_gib is not None and device_free_gib < LITTLE_FREE_GIB:
        return (
            f"Only {device_free_gib:.1f} GiB of the GPU's memory are free. Close other programs that use it, or "
            "choose a smaller batch size."
        )
    if total_gib < LITTLE_GIB:
        return (
            f"This computer has only {total_gib:.1f} GiB of memory. Close other programs while it trains; with "
            "large images a smaller batch size helps."
        )
    return ""


def measure_speed(seconds: float = 2.0) -> str:
    """Run the default network on random slices of 128 × 128 for about `seconds` and say how fast it learns.

    `find_computer` knows the speed from then on.
    """
    rate = measure_rate(seconds=seconds, again=True) / math.prod(USUAL_FRAME)
    return f"Speed: learns from about {counted(round(rate), 'slice')} of 128 × 128 pixels in a second."


def measure_rate(
    frame: tuple[int, int] = USUAL_FRAME,
    batch: int = USUAL_BATCH,
    *,
    in_channels: int = 1,
    seconds: float = 1.0,
    again: bool = False,
) -> float:
    """Let the default network learn from random slices for about `seconds`; give the pixels per second.

    A training is a little slower, for it also varies its slices. The median of the steps counts, so that another
    program's short burst of work does not. What is known since Python started is only measured `again` if asked.
    """
    from autoseg.model.networks import build_network
    from autoseg.model.settings.settings import NetworkSettings

    device = choose_device()
    key = (device.type, frame, batch, in_channels)
    if key in _rates and not again:
        return _rates[key]
    precision = choose_precision("auto", device)
    network = with_layout(build_network(NetworkSettings(), in_channels=in_channels, out_channels=3), device)
    slices = in_layout(torch.randn(batch, in_channels, *frame, device=device))

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = network(slices)
        logits.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    step()
    end, steps = time.perf_counter() + seconds, list[float]()
    while not steps or time.perf_counter() < end:
        steps.append(step())
    _rates[key] = batch * math.prod(frame) / median(steps)
    return _rates[key]


def _free(gib: float | None) -> str:
    return "" if gib is None else f" ({gib:.1f} GiB free)"
