"""What is told of a full memory, in the words of every device, and what is not."""

import gc
import weakref

import pytest
import torch

from autoseg.errors import DataError
from autoseg.model.device import halve_batch, is_out_of_memory, where_memory_allows

CPU = torch.device("cpu")
FULL = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to "
        "allocate 4000000000000 bytes."
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 1.55 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:24] or type(error).__name__)
def test_a_full_memory_is_recognised(error):
    def work():
        raise error

    assert is_out_of_memory(error)
    assert where_memory_allows(work) is None


def test_what_torch_really_says_is_recognised():
    assert where_memory_allows(lambda: torch.empty(2**55)) is None


def test_other_faults_are_raised():
    def work():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        where_memory_allows(work)
    assert not is_out_of_memory(KeyError("out of memory"))
    assert where_memory_allows(lambda: 3) == 3


def test_what_the_failed_work_held_is_free_again():
    held = []

    class Large:
        pass

    def work():
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    assert where_memory_allows(work) is None
    gc.collect()
    assert held[0]() is None


def test_a_batch_is_halved_until_it_is_one_slice():
    assert [halve_batch(size, CPU) for size in (8, 5, 2)] == [4, 2, 1]
    with pytest.raises(DataError, match=r"single slice.*larger pixels.*crop.*smaller network"):
        halve_batch(1, CPU)
