"""A memory that is full, and a file without end, are sentences in every command and every panel."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from autoseg import cli
from autoseg.errors import DataError, ReadError, in_words, is_out_of_memory
from autoseg.panels.parts.panel import Panel
from autoseg.prediction.run import _enough_memory


def opencv():
    return cv2.error("OpenCV(4.9) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes")


FULL = [
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((9,), np.dtype("u1")),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("std::bad_alloc"),
    opencv(),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_what_libraries_say_of_a_full_memory_is_known(error):
    assert is_out_of_memory(error)
    told = in_words(error, "to read a.dcm")
    assert str(told) == (
        "There was not enough memory to read a.dcm. Close other programs, or choose fewer images or patients at "
        "once."
    )


def test_other_faults_stay_what_they_are():
    assert in_words(RuntimeError("shapes do not fit"), "") is None
    assert in_words(cv2.error("(-215:Assertion failed) !empty()"), "") is None
    assert in_words(ReadError("out of memory"), "") is None


@pytest.mark.parametrize("error", [*FULL[:2], opencv(), RecursionError()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("room", ["data", "learning"])
def test_every_command_says_so_in_a_sentence(error, room, monkeypatch, capsys):
    def run(_):
        raise error

    run.__module__ = f"autoseg.cli.{room}"
    parser = argparse.ArgumentParser()
    real = cli.build_parser().parse_args(["check", "folder"])
    real.run = run
    monkeypatch.setattr(parser, "parse_args", lambda _: real)
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    assert cli.main(["check", "folder"]) == 1
    said = capsys.readouterr().err
    if isinstance(error, RecursionError):
        assert "autoseg check: a file holds parts within parts without end" in said
    else:
        assert "not enough memory for autoseg check. " in said
        assert ("(batch)" in said) == (room == "learning")


@pytest.mark.parametrize("error", [MemoryError(), opencv(), RecursionError()], ids=lambda e: type(e).__name__)
def test_every_panel_says_so_in_a_sentence(error):
    panel = Panel()
    with panel.attempt():
        raise error
    assert str(in_words(error, "for this"))[:40] in panel.message.value
    assert "This did not work" not in panel.message.value
    assert "Traceback" not in panel.message.value


def test_what_failed_is_let_go():
    held = []

    def fill():
        slices = np.zeros(10)
        held.append(slices)
        raise MemoryError

    panel = Panel()
    try:
        fill()
    except MemoryError as error:
        panel.fail(error)
        frame = error.__traceback__.tb_next.tb_frame
        assert "slices" not in frame.f_locals


def test_a_run_keeps_its_own_words():
    with (
        pytest.raises(DataError, match=r"nothing was written\. Close other programs, or choose fewer series"),
        _enough_memory(Path("folder")),
    ):
        raise MemoryError
