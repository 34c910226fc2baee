import pytest

from autoseg.errors import ReadError
from autoseg.files.text_files import read_levels


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_levels_between_levels_and_none(tmp_path):
    path = write(tmp_path / "site1-sc01-levels.txt", "slice#, level", "0, 2", "1, 2/3", "2, 2+", "3, -", "", "5, 4")
    assert read_levels(path) == {0: "2", 1: "2/3", 2: "2+", 3: "", 5: "4"}


def test_slices_counted_from_one(tmp_path):
    assert read_levels(write(tmp_path / "l.txt", "1 C2", "2 C3")) == {0: "C2", 1: "C3"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["0, 2", "one, 3"], "line 2: 'one, 3'"),
        (["0, 2", "0, 3"], "line 2"),
        (["0, high"], "line 1: '0, high'.*2/3"),
        (["slice, level"], "holds no level"),
        ([""], "holds no level"),
    ],
)
def test_what_is_no_level_is_said(tmp_path, lines, words):
    with pytest.raises(ReadError, match=words):
        read_levels(write(tmp_path / "l.txt", *lines))


def test_a_missing_file(tmp_path):
    with pytest.raises(ReadError, match="x-levels"):
        read_levels(tmp_path / "x-levels.txt")
