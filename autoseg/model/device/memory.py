"""What a device says when its memory is full, and how to get memory back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from autoseg.errors import DataError

Result = TypeVar("Result")

# What torch and its libraries say of it in errors that have no kind of their own, in small letters.
WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the memory of the processor or of the GPU was not enough.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("MPS backend out of memory"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes do not fit"))
    False
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in WORDS)


def where_memory_allows(work: Callable[[], Result]) -> Result | None:
    """Give what `work` gives, or None if the memory was not enough; all that it held is free then."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return None  # only after the error is gone, which holds what filled the memory


def halve_batch(batch_size: int, device: torch.device) -> int:
    """Give half as many slices as were too many for the memory, which is handed back first.

    Raises
    ------
    DataError
        If it was one slice already; the message tells what needs less memory.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if batch_size == 1:
        raise DataError(
            "The memory is not enough for a single slice at once (batch_size is 1). Choose a larger spacing_mm, a "
            "crop (crop_mm) or a smaller network (network.filters), or close other programs, then start again."
        )
    return batch_size // 2
