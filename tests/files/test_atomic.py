"""Files are whole or not there."""

import errno
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from autoseg.errors import OutputError
from autoseg.files import atomic
from autoseg.files.atomic import held, one_step, remove, remove_folder, settle, whole_file, whole_folder


def _write_until_full(writing):
    with writing as temporary:
        part = temporary / "part" if temporary.is_dir() else temporary
        part.write_text("half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))


def test_a_file_takes_its_name_only_when_whole(tmp_path):
    path = tmp_path / "new" / "areas.csv"
    with whole_file(path) as temporary:
        temporary.write_text("a")
        assert not path.exists()
        assert temporary.suffix == ".csv"
    assert path.read_text() == "a"
    with pytest.raises(OutputError, match=r"areas\.csv could not be written: No space left"):
        _write_until_full(whole_file(path))
    assert path.read_text() == "a"
    assert [p.name for p in path.parent.iterdir()] == ["areas.csv"]


def test_a_programs_own_error_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "x.txt") as temporary:
        temporary.write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_two_runs_are_never_mixed(tmp_path):
    with whole_folder(tmp_path / "run") as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(OutputError, match="exists already"), whole_folder(tmp_path / "run"):
        pass
    with pytest.raises(OutputError, match="No space left"):
        _write_until_full(whole_folder(tmp_path / "other"))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(sys.platform == "win32", reason="a file in a folder's place reports differently there")
def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"could not be written.*folder in which you may write"),
        whole_file(tmp_path / "file" / "x.csv"),
    ):
        pass


def test_an_error_in_reading_elsewhere_is_not_called_a_writing_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "out" / "x.csv"):
        (tmp_path / "missing.txt").read_text()


def test_a_full_disk_inside_a_folder_is_told_of_the_folder_alone(tmp_path):
    with pytest.raises(OutputError) as caught, whole_folder(tmp_path / "run") as folder:
        _write_until_full(whole_file(folder / "overlays" / "MUELLER_7.jpg"))
    assert str(caught.value).startswith(f"{tmp_path / 'run'} could not be written: {os.strerror(errno.ENOSPC)}.")
    assert "MUELLER" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- several files in one step, by one program at a time


def _state(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


def _write(path, text):
    with whole_file(path) as temporary:
        temporary.write_text(text)


def _fail(folder, change, error=ValueError):
    """Change something in a step, and fail."""
    with one_step(folder):
        change(folder)
        raise error


def _change_all(folder):
    """Change a file, twice; make one in a new folder; move a folder away, and put another in its place."""
    _write(folder / "a.csv", "new")
    _write(folder / "a.csv", "newer")
    _write(folder / "labels" / "x" / "b.nii", "new")
    remove_folder(folder / "old")
    with whole_folder(folder / "old") as temporary:
        _write(temporary / "deep" / "c", "new")
    remove(folder / "d")
    remove(folder / "never there")
    remove_folder(folder / "never there")


@pytest.fixture
def begun(tmp_path):
    """A folder with a few files."""
    for name in ("a.csv", "d", "old/c"):
        _write(tmp_path / "data" / name, "old")
    return tmp_path / "data"


def test_a_step_is_done_as_a_whole_and_seen_within(begun):
    with one_step(begun):
        _change_all(begun)
        assert (begun / "a.csv").read_text() == "newer"
        with one_step(begun):  # belongs to the other
            _write(begun / "e", "new")
    new = {"a.csv": "newer", "labels/x/b.nii": "new", "old/deep/c": "new", "e": "new"}
    assert _state(begun) == new | dict.fromkeys(["labels", "labels/x", "old", "old/deep"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_fails_leaves_all_as_it_was(begun, error):
    before = _state(begun)
    with pytest.raises(error):
        _fail(begun, _change_all, error)
    assert _state(begun) == before
    with pytest.raises(error):
        _fail(begun / "new", lambda folder: _write(folder / "labels" / "x", "new"), error)
    assert _state(begun) == before


def test_without_second_names_files_are_copied(begun, monkeypatch):
    def link(*_args, **_keywords):
        raise OSError(errno.EPERM, "no second names on this drive")

    monkeypatch.setattr(os, "link", link)
    before = _state(begun)
    with pytest.raises(ZeroDivisionError):
        _fail(begun, _change_all, ZeroDivisionError)
    assert _state(begun) == before


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.files.test_atomic import _change_all
from autoseg.files.atomic import one_step, whole_folder, held
folder, last = Path(sys.argv[1]), sys.argv[2]
with one_step(folder), held(folder / "name", "busy"), whole_folder(folder.parent / "run"):
    _change_all(folder)
    if last == "killed":
        os._exit(9)
    print("ready", flush=True)
    sys.stdin.read()
"""


def _start(folder, last):
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLED, str(folder), last, root]
    environment = os.environ | {"PYTHONPATH": root}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    )


def test_a_full_disk_in_a_step_is_a_sentence(begun):
    before = _state(begun)
    with (
        pytest.raises(OutputError, match=r"b\.nii could not be written: No space left"),
        one_step(begun),
    ):
        _write_until_full(whole_file(begun / "labels" / "b.nii"))
    assert _state(begun) == before


def test_what_a_killed_program_left_is_taken_back(begun):
    before = _state(begun)
    with _start(begun, "killed") as process:
        process.communicate()
    assert _state(begun) != before
    settle(begun, begun.parent)
    assert _state(begun) == before
    assert [path.name for path in begun.parent.iterdir()] == ["data"]


def test_a_living_program_is_waited_for_and_its_names_are_held(begun, monkeypatch):
    monkeypatch.setattr(atomic, "LONGEST_WAIT_S", 0.1)
    with _start(begun, "lives") as process:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(OutputError, match=r"Another program is writing in .*data.* Wait until it is done"):
            settle(begun)
        with pytest.raises(OutputError, match="Another program"), one_step(begun):
            pass
        with pytest.raises(OutputError, match=r"^Psoas"), held(begun / "name", "Psoas is being trained."):
            pass
        settle(begun.parent)  # nobody waits for a folder that becomes whole
        assert len([path for path in begun.parent.iterdir() if path.is_dir()]) == 2
        process.kill()
    with held(begun / "name", "Psoas is being trained."):
        assert (begun / "a.csv").read_text() == "newer"
    monkeypatch.setattr(atomic, "LONGEST_WAIT_S", 60.0)
    with one_step(begun):
        assert (begun / "a.csv").read_text() == "old"


def test_leftovers_of_earlier_versions_go_too(tmp_path):
    (tmp_path / ".unfinished-ab2_defg").mkdir()
    (tmp_path / ".unfinished-ab2_defg" / "x").touch()
    (tmp_path / ".unfinished-zb2_defg.nii.gz").touch()
    (tmp_path / ".unfinished-thesis of mine").mkdir()
    _write(tmp_path / "a", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished-thesis of mine", "a"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("row", [["../mine", "", False], ["a.csv", "../../mine", False], ["link/mine", ""], [3], 4])
def test_a_foreign_journal_does_nothing(begun, row):
    (begun.parent / "mine").write_text("mine")
    (begun / "link").symlink_to(begun.parent)
    place = begun / f"{atomic.BEGUN}0123456789ab"
    place.mkdir()
    (place / atomic.JOURNAL).write_text(json.dumps([row]))
    before = _state(begun)
    with pytest.raises(OutputError, match=r"journal.json was not written by autoseg"):
        settle(begun)
    assert _state(begun) == before
    assert (begun.parent / "mine").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_what_lies_behind_a_link_is_not_of_the_step(begun):
    (begun.parent / "other").mkdir()
    (begun / "link").symlink_to(begun.parent / "other")
    with pytest.raises(ZeroDivisionError):
        _fail(begun, lambda folder: _write(folder / "link" / "x", "new"), ZeroDivisionError)
    assert _state(begun.parent / "other") == {"x": "new"}


def test_a_step_that_cannot_be_taken_back_says_so_until_it_can(begun, monkeypatch):
    before, replace = _state(begun), os.replace

    def in_use(source, target):
        if Path(target).name == "a.csv" and Path(source).name.startswith("before"):
            raise PermissionError(errno.EACCES, "the file is in use", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", in_use)
    with pytest.raises(OutputError, match=r"a\.csv.*Close other programs"):
        _fail(begun, _change_all)
    with pytest.raises(OutputError, match=r"a\.csv.*Close other programs"):
        settle(begun)
    monkeypatch.undo()
    settle(begun)
    assert _state(begun) == before


def test_a_journal_lies_on_the_disk_before_the_change(begun, monkeypatch):
    seen, replace = [], os.replace

    def watch(source, target):
        if Path(target).name == "a.csv":
            journal = next(begun.glob(f"{atomic.BEGUN}*/{atomic.JOURNAL}"))
            seen.append(json.loads(journal.read_text())[-1][0])
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    with one_step(begun):
        _write(begun / "a.csv", "new")
    assert seen == ["a.csv"]


def test_a_name_is_held_without_a_trace(tmp_path):
    with held(tmp_path / "new" / "deep" / "name", "busy"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_step", [False, True])
def test_a_folder_in_the_place_of_a_file_is_not_removed(begun, in_step):
    with one_step(begun) if in_step else nullcontext(), pytest.raises(OutputError, match="old is a folder"):
        remove(begun / "old")
    assert (begun / "old" / "c").read_text() == "old"
    remove_folder(begun / "old")
    remove(begun / "a.csv")
    assert _state(begun) == {"d": "old"}


def test_a_step_whose_end_cannot_be_written_is_taken_back(begun, monkeypatch):
    before, unlink = _state(begun), Path.unlink

    def gone(path, **keywords):
        if path.name == atomic.JOURNAL and not keywords:
            raise OSError(errno.EIO, "the drive is gone", str(path))
        unlink(path, **keywords)

    monkeypatch.setattr(Path, "unlink", gone)
    with pytest.raises(OutputError, match=r"data could not be written: the drive is gone"), one_step(begun):
        _change_all(begun)
    assert _state(begun) == before
