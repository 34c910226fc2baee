"""Files are whole or not there."""

import errno
import os
import sys

import pytest

from autoseg.errors import OutputError
from autoseg.files.atomic import whole_file, whole_folder


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
