"""Contours and levels in text files: what is read, and what the error says of the rest."""

import numpy as np
import pytest

from autoseg.errors import LabelError, ReadError
from autoseg.files.text_files import read_contour_file, read_levels


def write(folder, text, encoding="utf-8"):
    path = folder / "Kontur größe.txt"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1 2\n3.5 4\n5 6.25\n",
        "1\t2\r\n3.5\t4\r\n\r\n5\t6.25",
        "x,y\n1,2\n3.5,4\n5,6.25\n",
        "# drawn on Monday\n1; 2\n3.5; 4\n5; 6.25;\n",
        "\ufeff1.00 2.00\n+3.5e0 4\n5 6.25\n",
    ],
)
def test_x_and_y_become_row_and_column(tmp_path, text):
    points = read_contour_file(write(tmp_path, text))
    np.testing.assert_array_equal(points, [(2, 1), (4, 3.5), (6.25, 5)])


@pytest.mark.parametrize("bad", ["1 2 3", "1", "1 two", "130,00 112,50", "nan 1", "1 inf"])
def test_a_line_that_is_no_point_is_named(tmp_path, bad):
    with pytest.raises(LabelError, match=r"Kontur größe.txt, line 3: .*two numbers, x and y"):
        read_contour_file(write(tmp_path, f"1 2\n3 4\n{bad}\n5 6\n"))


@pytest.mark.parametrize("text", ["", "\n\n", "1 2\n3 4\n"])
def test_fewer_than_three_points_are_no_contour(tmp_path, text):
    with pytest.raises(LabelError, match="three or more"):
        read_contour_file(write(tmp_path, text))


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(ReadError, match=r"missing.txt cannot be read"):
        read_contour_file(tmp_path / "missing.txt")
    with pytest.raises(ReadError, match="text file with x and y"):
        read_contour_file(write(tmp_path, "1 2\nÄ 4\n", encoding="latin-1"))
    with pytest.raises(ReadError, match="is no contour"):
        read_contour_file(write(tmp_path, "1 2\n\0\0\0"))
    with pytest.raises(ReadError, match="cannot be read as a contour"):
        read_contour_file(tmp_path)


def test_real_contours(shared_data):
    folder = shared_data / "cardiac-sunnybrook-dicom" / "contourfiles"
    paths = sorted(folder.rglob("*.txt"))
    assert len(paths) == 142
    for path in paths:
        points = read_contour_file(path)
        assert len(points) >= 30
        assert points.min() > 50
        assert points.max() < 206


# --- levels


def write_lines(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_levels_between_levels_and_none(tmp_path):
    path = write_lines(
        tmp_path / "site1-sc01-levels.txt", "slice#, level", "0, 2", "1, 2/3", "2, 2+", "3, -", "", "5, 4"
    )
    assert read_levels(path) == {0: "2", 1: "2/3", 2: "2+", 3: "", 5: "4"}


def test_slices_counted_from_one(tmp_path):
    assert read_levels(write_lines(tmp_path / "l.txt", "1 C2", "2 C3")) == {0: "C2", 1: "C3"}


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
        read_levels(write_lines(tmp_path / "l.txt", *lines))


def test_a_missing_level_file(tmp_path):
    with pytest.raises(ReadError, match="x-levels"):
        read_levels(tmp_path / "x-levels.txt")
