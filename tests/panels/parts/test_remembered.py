"""What was chosen on other days: the latest first, of this notebook's folder alone, and never in the way."""

import json
import sys

import pytest

from autoseg.files.cache import cache_folder
from autoseg.panels.parts.remembered import FILE, MOST, remember, remembered


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_CACHE", str(tmp_path / "cache"))
    for name in ("notebooks", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")


def paths(what):
    return [chosen.path for chosen in remembered(what)]


def test_the_latest_comes_first_and_only_what_is_still_there(tmp_path, monkeypatch):
    folders = [tmp_path / f"patient {number}" for number in range(MOST + 1)]
    for folder in folders:
        folder.mkdir()
        remember("patient", folder)
    assert paths("patient") == folders[:0:-1]
    remember("patient", folders[2])
    assert paths("patient")[0] == folders[2]
    assert len(paths("patient")) == MOST
    folders[2].rmdir()
    assert folders[2] not in paths("patient")
    assert paths("data") == []
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert paths("patient") == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_nobody_else_may_read_it(tmp_path):
    remember("patient", tmp_path)
    assert (cache_folder() / FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", ["no JSON", "[]", '{"HERE": 3}', '{"HERE": {"patient": [1, ["x"], [2, 3]]}}'])
def test_a_file_that_somebody_changed_is_as_if_nothing_was_chosen(tmp_path, kept):
    cache_folder().mkdir()
    here = json.dumps(str(tmp_path / "notebooks"))[1:-1]
    (cache_folder() / FILE).write_text(kept.replace("HERE", here))
    assert paths("patient") == []
    remember("patient", tmp_path)
    assert paths("patient") == [tmp_path]


def test_where_nothing_can_be_kept_nothing_fails(tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    remember("patient", tmp_path)
    assert paths("patient") == []
