"""The computer: what it offers, and what to do where a GPU lies idle or memory is short."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from autoseg.errors import SettingsError
from autoseg.model.device import (
    Gpu,
    advise_gpu,
    advise_memory,
    choose_device,
    choose_precision,
    cuda_failure,
    find_computer,
    find_gpu,
    find_memory,
    measure_rate,
    measure_speed,
)
from autoseg.model.device import choice as gpu_module
from autoseg.model.device import computer as computer_module

SMI = "| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4     |"
IDLE = Gpu("NVIDIA RTX 4000", driver_cuda="12.4", torch_cuda="12.8", failure="No CUDA GPUs are available")


def answers(name="NVIDIA RTX 4000", banner=SMI):
    return lambda arguments: name if arguments else banner


def test_the_computer_is_described():
    computer = find_computer()
    assert computer.device == choose_device().type
    assert computer.cores >= 1
    assert 0 < computer.free_gib <= computer.memory_gib
    assert "Learning on:" in str(computer)
    assert computer.machine in str(computer)
    assert f"{computer.free_gib:.1f} GiB free" in computer.machine


def test_without_a_gpu_nothing_is_advised(tmp_path):
    gpu = find_gpu(lambda arguments: "", pci=tmp_path)
    assert gpu is None
    assert advise_gpu(gpu) == ""


def test_a_gpu_is_found_by_its_driver_and_on_the_bus(tmp_path):
    found = find_gpu(answers(), pci=tmp_path)
    assert (found.name, found.driver_cuda, found.torch_cuda) == ("NVIDIA RTX 4000", "12.4", torch.version.cuda)
    for number, (vendor, kind) in enumerate(
        [("0x8086", "0x030000"), ("0x10de", "0x040300"), ("0x10de", "0x030200")]
    ):
        assert find_gpu(lambda arguments: "", pci=tmp_path) is None  # Intel's; the sound of a graphics card
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "vendor").write_text(f"{vendor}\n")
        (tmp_path / str(number) / "class").write_text(f"{kind}\n")
    without_driver = find_gpu(lambda arguments: "", pci=tmp_path)
    assert without_driver.driver_cuda is None
    assert "driver does not answer" in advise_gpu(without_driver)


def test_a_torch_without_cuda_says_what_to_install():
    words = advise_gpu(replace(IDLE, torch_cuda=None))
    for part in ("NVIDIA RTX 4000", "built for processors only", "CUDA 12.4 or lower", "Restart Kernel"):
        assert part in words
    assert torch.__version__.partition("+")[0] in words
    assert "http" not in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"visible": ""}, "CUDA_VISIBLE_DEVICES is ''"),
        ({"visible": "-1"}, "CUDA_VISIBLE_DEVICES is '-1'"),
        ({"visible": "7"}, "CUDA_VISIBLE_DEVICES is '7'"),
        (
            {"driver_cuda": "11.4"},
            "its driver (it knows CUDA 11.4) is too old for this torch, which needs CUDA 12.8",
        ),
        ({"driver_cuda": "", "failure": "The NVIDIA driver on your system is too old"}, "its driver is too old"),
        ({"failure": "CUDA error: all CUDA-capable devices are busy or unavailable"}, "another program holds it"),
        ({"failure": "CUDA out of memory. Tried to allocate 2.00 MiB"}, "another program holds it"),
        ({"failure": "CUDA error: no kernel image is available for execution"}, "it is too old for this torch"),
        ({"failure": "CUDA error: unknown error"}, "torch cannot use it: CUDA error: unknown error"),
        ({"failure": "CUDA out of memory", "visible": "0"}, "another program holds it"),
    ],
)
def test_why_torch_cannot_use_the_gpu_is_told_apart(change, words):
    assert words in advise_gpu(replace(IDLE, **change))


def test_a_gpu_that_works_needs_no_advice():
    assert advise_gpu(replace(IDLE, failure="")) == ""


def test_a_gpu_that_refuses_is_not_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("autoseg.model.device.choice.cuda_failure", lambda: "CUDA error: busy")
    assert choose_device().type != "cuda"
    monkeypatch.setattr("autoseg.model.device.choice.cuda_failure", lambda: "")
    assert choose_device().type == "cuda"


def test_a_failure_is_tried_again_and_a_success_is_remembered(monkeypatch):
    gpu_module._use_cuda.cache_clear()
    tries = []

    def ones(*shape, device):
        tries.append(device)
        if len(tries) == 1:
            raise RuntimeError("CUDA error: busy\nmore")
        return torch.zeros(1)

    monkeypatch.setattr(gpu_module.torch, "ones", ones)
    assert [cuda_failure(), cuda_failure(), cuda_failure()] == ["CUDA error: busy", "", ""]
    assert len(tries) == 2
    gpu_module._use_cuda.cache_clear()


def test_the_driver_is_asked_and_may_be_missing_or_fail(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$1" ] && echo "Quadro" || echo "CUDA Version: 13.0"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert (found := find_gpu(pci=tmp_path)) is not None
    assert (found.name, found.driver_cuda) == ("Quadro", "13.0")
    tool.write_text("#!/bin/sh\necho failed\nexit 9\n")
    assert find_gpu(pci=tmp_path) is None
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_module, "DRIVER_TOOLS", ())
    assert find_gpu(pci=tmp_path) is None


def test_the_advice_reaches_the_computer(monkeypatch, tmp_path):
    monkeypatch.setattr(computer_module, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(computer_module, "find_gpu", lambda: replace(IDLE, torch_cuda=None))
    monkeypatch.setattr(computer_module, "find_memory", lambda: (4.0, 1.0))
    computer = find_computer()
    assert "built for processors only" in computer.advice
    assert "Only 1.0 GiB of memory are free" in computer.advice
    assert computer.advice in str(computer)


def test_the_limit_of_a_container_counts(tmp_path):
    total, free = find_memory(tmp_path)
    assert total > free > 0
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**28}\n")
    limited = find_memory(tmp_path)
    assert limited[0] == 1.0
    assert limited[1] <= 0.75
    (tmp_path / "memory.max").write_text("max\n")
    assert math.isclose(find_memory(tmp_path)[0], total)


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ((16, 8), ""),
        ((16, 1.9), "Only 1.9 GiB of memory are free"),
        ((7.6, 4), "only 7.6 GiB of memory"),
        ((64, 30, 1.5), "1.5 GiB of the GPU's memory"),
        ((64, 30, 20), ""),
    ],
)
def test_little_memory_is_said(memory, words):
    advice = advise_memory(*memory)
    assert words in advice
    assert bool(words) == bool(advice)


def test_number_formats():
    cpu = torch.device("cpu")
    assert choose_precision("float32", cpu) == torch.float32
    assert choose_precision("bfloat16", cpu) == torch.bfloat16
    assert choose_precision("auto", torch.device("mps")) == torch.float32
    with pytest.raises(SettingsError, match="'half'"):
        choose_precision("half", cpu)


@pytest.fixture
def no_rates(monkeypatch):
    """Forget what was measured, before and after."""
    monkeypatch.setattr(computer_module, "_rates", {})


def test_the_speed_is_measured_and_the_computer_knows_it_from_then_on(no_rates):
    assert find_computer().pixels_per_second is None
    words = measure_speed(0.1)
    assert " of 128 × 128 pixels in a second" in words
    rate = find_computer().pixels_per_second
    assert f"about {rate / 128**2:.0f} slices" in words


def test_a_rate_is_measured_once_for_a_frame_and_batch(no_rates, monkeypatch):
    seen = []

    def build(settings, *, in_channels, out_channels):
        seen.append(in_channels)
        return torch.nn.Conv2d(in_channels, out_channels, 1)

    monkeypatch.setattr("autoseg.model.networks.build_network", build)
    first = measure_rate((32, 64), 2, in_channels=3, seconds=0.01)
    assert first > 0
    assert measure_rate((32, 64), 2, in_channels=3) == first
    assert seen == [3]
    assert find_computer().pixels_per_second is None  # that is of the usual frame only
    measure_rate((32, 64), 2, in_channels=3, seconds=0.01, again=True)
    measure_rate((32, 32), 2, seconds=0.01)
    assert seen == [3, 3, 1]


def test_the_typical_step_counts_not_a_slow_one(no_rates, monkeypatch):
    # The first step warms up; then come, until 12 seconds are over, steps of 2, 9 and 2 seconds.
    times = iter([0, 5, 0, 0, 2, 2, 2, 11, 11, 11, 13, 13])
    monkeypatch.setattr(computer_module, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    monkeypatch.setattr(
        "autoseg.model.networks.build_network", lambda settings, **channels: torch.nn.Conv2d(1, 3, kernel_size=1)
    )
    assert measure_rate((32, 32), 1, seconds=12) == 32 * 32 / 2


@pytest.mark.gpu
def test_a_real_gpu_is_used_without_advice():
    computer = find_computer()
    assert computer.device == "cuda"
    assert computer.device_free_gib <= computer.device_memory_gib
    assert cuda_failure() == ""
