"""What lies in a run's folder, and opening it; the names of its files are tested in test_export.py."""

import os
import subprocess

import pytest

from autoseg.errors import OutputError, ReadError
from autoseg.report import run_folder
from autoseg.report.run_folder import list_run_files, open_folder, read_run_file, why_not_openable


@pytest.fixture
def folder(tmp_path):
    for name in (
        "areas.csv",
        "areas.xlsx",
        "run.json",
        "series-2.nii.gz",
        "labels/a.png",
        "labels/b.png",
        "odd.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"123")
    return tmp_path


def test_tables_come_first_and_pictures_are_one_line(folder):
    files = list_run_files(folder)
    names = ["areas.xlsx", "areas.csv", "run.json", "series-2.nii.gz", "labels/", "odd.txt"]
    assert [file.name for file in files] == names
    assert [file.count for file in files] == [1, 1, 1, 1, 2, 1]
    assert files[4].size == 6
    assert all(file.meaning for file in files[:-1])
    assert files[-1].meaning == ""


def test_a_file_is_read_as_it_stands_or_told(folder):
    assert read_run_file(folder, "areas.csv") == b"123"
    with pytest.raises(ReadError, match="moved or deleted"):
        read_run_file(folder, "gone.csv")


def on(monkeypatch, platform, **environment):
    monkeypatch.setattr(run_folder.sys, "platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "JUPYTERHUB_SERVICE_PREFIX", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_why_a_folder_cannot_be_opened(monkeypatch):
    on(monkeypatch, "linux")
    assert "no screen" in why_not_openable()
    on(monkeypatch, "linux", DISPLAY=":0")
    monkeypatch.setattr(run_folder.shutil, "which", lambda name: None)
    assert "xdg-open" in why_not_openable()
    on(monkeypatch, "darwin", SSH_CONNECTION="1")
    assert "another computer" in why_not_openable()
    on(monkeypatch, "darwin")
    assert why_not_openable() == ""


def test_each_system_opens_a_folder_in_its_own_way(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: commands.append(command))
    on(monkeypatch, "darwin")
    open_folder(tmp_path)
    assert commands == [["open", str(tmp_path)]]
    on(monkeypatch, "win32")
    monkeypatch.setattr(os, "startfile", commands.append, raising=False)
    open_folder(tmp_path)
    assert commands[-1] == tmp_path
    with pytest.raises(OutputError, match="moved or deleted"):
        open_folder(tmp_path / "gone")
