"""Commands that look at images and labels: names answered once, one file in place of a folder, what is said."""

import numpy as np
import pytest
from structure_sets import contour, the_image, write_rtstruct

from autoseg.cli import main

OUTLINE = np.array([(3.5, 1.5), (3.5, 11.5), (15.5, 11.5), (15.5, 1.5)])  # 120 pixels


@pytest.fixture
def folder(tmp_path):
    for patient, name, pieces in (("p1", "Psoas left", [OUTLINE]), ("p2", "psoas_LEFT", [OUTLINE, OUTLINE + 2])):
        image = the_image(tmp_path / "dicoms" / patient, patient, pixel_spacing_mm=(0.5, 0.5))
        (tmp_path / "labels").mkdir(exist_ok=True)
        drawn = [[contour(image, 0, piece) for piece in pieces]]
        write_rtstruct(tmp_path / "labels" / f"{patient}.dcm", image, drawn, names=[name])
    (tmp_path / "dicoms" / "p1" / "Thumbs.db").write_bytes(b"of Windows")
    return tmp_path


def printed(capsys, *words):
    main([str(word) for word in words])
    return capsys.readouterr().out


def test_names_that_look_alike_are_asked_until_they_are_kept(folder, capsys):
    assert "warning: series-1-2 'psoas_LEFT' on series-1-2 is taken for 'Psoas left'." in printed(
        capsys, "check", folder
    )
    assert "kept in" in printed(capsys, "check", folder, "--same-names")
    assert "is taken for" not in printed(capsys, "check", folder)


def test_measure_says_where_contours_overlap(folder, capsys):
    said = printed(capsys, "measure", folder)
    assert "Note: series-1-2: Contours of psoas_LEFT overlap partly on slice 1: everything inside" in said
    assert "Left alone" not in said


def test_one_file_in_place_of_a_folder(folder, capsys):
    said = printed(capsys, "measure", folder / "labels" / "p1.dcm")
    assert "30.0" in said
    assert "series-1-2" not in said
    (first, *_) = sorted((folder / "dicoms" / "p1").glob("*.dcm"))
    said = printed(capsys, "series", first)
    assert said.count("MR") == 1
