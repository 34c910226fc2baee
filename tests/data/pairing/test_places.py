"""Folders as people type and paste them, and where to start looking."""

import threading
import time
from pathlib import Path

import pytest

from autoseg.data.pairing import contents as places
from autoseg.data.pairing.contents import in_time, nearest_folder, roots, sub_folders, typed_folder
from autoseg.errors import DataError


@pytest.mark.parametrize(
    "form", ["{}", '"{}"', "'{}'", "  {}  ", "\u201c{}\u201d", "file://{}", "{}/", "{}/../my scans"]
)
def test_a_path_as_it_is_pasted(tmp_path, form):
    folder = tmp_path / "my scans"
    folder.mkdir()
    assert typed_folder(form.format(folder)) == folder


def test_blanks_as_a_terminal_writes_them_and_the_url_of_a_browser(tmp_path):
    folder = tmp_path / "my scans"
    folder.mkdir()
    assert typed_folder(str(folder).replace(" ", "\\ ")) == folder
    assert typed_folder(folder.as_uri()) == folder


def test_home_relative_paths_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.dcm").touch()
    assert typed_folder("~/scans") == tmp_path / "scans"
    assert typed_folder(str(tmp_path / "scans" / "a.dcm")) == tmp_path / "scans"
    monkeypatch.chdir(tmp_path)
    assert typed_folder("scans") == tmp_path / "scans"


def test_a_wrong_path_names_the_nearest_folder(tmp_path):
    with pytest.raises(DataError) as error:
        typed_folder(str(tmp_path / "nope" / "deeper"))
    assert f"There is no folder {tmp_path / 'nope' / 'deeper'}. The nearest that exists is {tmp_path}." in str(
        error.value
    )
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path


def test_nothing_typed_and_a_path_of_another_computer():
    with pytest.raises(DataError, match="No folder was typed"):
        typed_folder(' "" ')
    if places.os.name != "nt":
        with pytest.raises(DataError, match=r"C:\\scans is a folder on a Windows computer"):
            typed_folder("C:\\scans")


def test_sub_folders_in_natural_order_without_hidden_ones(tmp_path):
    for name in ("s10", "s2", ".git", "$RECYCLE.BIN"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert [path.name for path in sub_folders(tmp_path)] == ["s2", "s10"]
    with pytest.raises(DataError, match="not there"):
        sub_folders(tmp_path / "nowhere")


def test_roots_of_every_system(tmp_path):
    (tmp_path / "USB").mkdir()
    assert roots("win32", drives="CD")[1:] == (("Drive C:", Path("C:\\")), ("Drive D:", Path("D:\\")))
    expected = (("Home", Path.home()), ("Computer (/)", Path("/")), ("Disk USB", tmp_path / "USB"))
    assert roots("darwin", volumes=tmp_path) == expected
    assert roots("linux", volumes=tmp_path / "none") == expected[:2]


def test_waiting_ends(monkeypatch):
    answer = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        in_time(lambda: answer.wait(60), 0.1)
    answer.set()
    assert time.monotonic() - start < 5
    assert in_time(lambda: 3, 5) == 3
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 / 0, 5)

    def hangs(work, seconds):
        raise TimeoutError

    monkeypatch.setattr(places, "in_time", hangs)
    with pytest.raises(DataError, match="does not answer"):
        typed_folder("/mnt/server")
