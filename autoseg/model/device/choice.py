"""The device that learns and predicts, its number format, and how numbers lie in its memory."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn

from autoseg.errors import DataError, SettingsError, is_out_of_memory

# --- an NVIDIA GPU that torch does not use: found without torch, with what to do about it

# Where NVIDIA's own tool lies when it is not on the PATH: Windows, old Windows drivers, Linux in Windows.
DRIVER_TOOLS = (
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
    "/usr/lib/wsl/lib/nvidia-smi",
)
AGAIN = "Then restart the notebook's kernel (Kernel ▸ Restart Kernel)."


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU that was found without torch, and what torch can make of it.

    `driver_cuda` is the newest CUDA version that the driver supports, "12.4" ("" if unknown, None if no driver
    answers), `torch_cuda` the one that torch was built for (None: for processors only), `visible` the variable
    CUDA_VISIBLE_DEVICES where it is set, and `failure` what torch said when it was to use the GPU.
    """

    name: str
    driver_cuda: str | None
    torch_cuda: str | None
    visible: str | None = None
    failure: str = ""


def find_gpu(
    ask: Callable[[Sequence[str]], str] | None = None, *, pci: Path = Path("/sys/bus/pci/devices")
) -> Gpu | None:
    """Find an NVIDIA GPU without torch: by the driver's own tool, and on Linux on the bus; None if there is none.

    `ask` gives what the driver's tool prints for some arguments, "" where it is missing or fails.
    """
    ask = ask or _ask_driver
    name = ask(("--query-gpu=name", "--format=csv,noheader")).strip().partition("\n")[0]
    if not name and not _has_nvidia(pci):
        return None
    version = re.search(r"CUDA Version:\s*([\d.]+)", ask(()))
    return Gpu(
        name=name or "NVIDIA GPU",
        driver_cuda=(version[1] if version else "") if name else None,
        torch_cuda=torch.version.cuda,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        failure=cuda_failure() if torch.version.cuda else "",
    )


def cuda_failure() -> str:
    """Try to compute on the GPU; give torch's words where it refuses, or ""."""
    try:
        _use_cuda()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


@cache  # a success is remembered, a failure is not: a busy GPU may be free later
def _use_cuda() -> None:
    torch.ones(1, device="cuda").add(1).item()


def advise_gpu(gpu: Gpu | None) -> str:
    """Say why torch cannot use the NVIDIA GPU and what to do, or "" where there is none or nothing is wrong."""
    if gpu is None:
        return ""
    there = f"This computer has a GPU ({gpu.name})"
    if gpu.driver_cuda is None:
        return (
            f"{there}, but NVIDIA's driver does not answer. Install the driver from NVIDIA's website, or ask "
            "whoever looks after the computer, and start the computer again."
        )
    if gpu.torch_cuda is None:
        fitting = f"CUDA {gpu.driver_cuda} or lower" if gpu.driver_cuda else "CUDA"
        return (
            f"{there}, but the torch that is installed was built for processors only, so that learning is slow. "
            "Open a terminal in this environment (Anaconda Navigator ▸ Environments ▸ Open Terminal), and install "
            f"the same version of torch, {torch.__version__.partition('+')[0]}, with the command that the PyTorch "
            f"website shows for your system, Pip and {fitting}. {AGAIN} Everything else stays as it is."
        )
    if not gpu.failure:
        return ""
    if gpu.visible is not None and (gpu.visible.strip() in ("", "-1") or "No CUDA GPUs" in gpu.failure):
        return (
            f"{there}, but it is hidden from this notebook: the environment variable CUDA_VISIBLE_DEVICES is "
            f"{gpu.visible!r}. Remove it, or set it to 0, where the notebook is started. {AGAIN}"
        )
    if "too old" in gpu.failure or _major(gpu.driver_cuda) < _major(gpu.torch_cuda):
        knows = f" (it knows CUDA {gpu.driver_cuda})" if gpu.driver_cuda else ""
        return (
            f"{there}, but its driver{knows} is too old for this torch, which needs CUDA {gpu.torch_cuda}. Install "
            "the newest driver from NVIDIA's website, or ask whoever looks after the computer, and start it again."
        )
    if "no kernel image" in gpu.failure:
        return f"{there}, but it is too old for this torch ({gpu.failure}). The processor is used instead."
    if re.search("busy|unavailable|out of memory", gpu.failure):
        return (
            f"{there}, but another program holds it or fills its memory. Close that program (perhaps another "
            f"notebook: Kernel ▸ Shut Down All Kernels). {AGAIN}"
        )
    return f"{there}, but torch cannot use it: {gpu.failure}. Show this line to whoever looks after the computer."


def _ask_driver(arguments: Sequence[str]) -> str:
    tool = shutil.which("nvidia-smi") or next((path for path in DRIVER_TOOLS if Path(path).is_file()), None)
    if tool is None:
        return ""
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, timeout=8, creationflags=no_window
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _has_nvidia(pci: Path) -> bool:
    """Tell whether a display device (class 03) of NVIDIA (vendor 10de) is on Linux's bus."""
    for vendor in pci.glob("*/vendor"):
        try:
            if vendor.read_text().strip() == "0x10de" and (vendor.parent / "class").read_text().startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _major(version: str) -> float:
    return int(version.partition(".")[0]) if version else float("inf")


def choose_device() -> torch.device:
    """Give the fastest device that torch can use: a CUDA GPU, Apple's GPU, or the processor.

    A GPU that is there but refuses to work (full, reserved by another program, too old) is not chosen.
    """
    if torch.cuda.is_available() and not cuda_failure():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def count_gpus() -> int:
    """Count the CUDA GPUs that can learn one model together: all, where they are of one kind; otherwise 1."""
    if choose_device().type != "cuda":
        return 1
    count = torch.cuda.device_count()
    return count if len({torch.cuda.get_device_name(number) for number in range(count)}) == 1 else 1


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Give the number format of the network's convolutions.

    "auto" is bfloat16 where there are units for it; elsewhere it would be emulated, and slow.
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


# --- what a device says when its memory is full, and how to get memory back

Result = TypeVar("Result")


def where_memory_allows(work: Callable[[], Result]) -> Result | None:
    """Give what `work` gives, or None if the memory was not enough; all that it held is free then."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return None  # only after the error is gone, which holds what filled the memory


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Raise DataError, which names what needs so many bytes and what helps, unless they are free."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise DataError(
            f"{what} need {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free. Close other "
            f"programs, {remedy}."
        )


def halve_batch(batch_size: int, device: torch.device) -> int:
    """Give half as many slices as were too many for the memory, which is handed back first."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if batch_size == 1:
        raise DataError(
            "The memory is not enough for a single slice at once. Choose larger pixels, a crop around the "
            "structures or a smaller network (fewer channels), or close other programs, then start again."
        )
    return batch_size // 2
