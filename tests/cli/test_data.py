"""Commands that look at images and labels: what is asked and answered once, one file in place of a folder."""

import re

import nibabel
import numpy as np
import pytest
from folders import add_shares, add_two_sizes
from structure_sets import contour, the_image, write_rtstruct
from two_readers import draw_patients, write_folds

from autoseg.cli import main
from autoseg.data.repairs import read_repairs
from autoseg.files.cache import open_cache
from autoseg.files.nifti.sizes import read_answers
from autoseg.files.tables import read_table

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


def run(*words):
    return main([str(word) for word in words])


def test_two_sizes_of_a_voxel_are_answered_by_an_option(tmp_path, capsys):
    folder = add_two_sizes(tmp_path)
    assert run("measure", folder) == 1
    assert "1 × 1 × 1 mm by its sform and 0.5 × 0.5 × 4 mm by its pixdim" in (error := capsys.readouterr().err)
    assert "--voxel-sizes" in error
    assert run("check", folder, "--voxel-sizes", "pixdim") == 0
    assert "6 files with 1 × 1 × 1 mm" in capsys.readouterr().out
    assert set(read_answers(folder).values()) == {"pixdim"}
    assert run("measure", folder) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"p0 +mean +([\d.]+)", shown) == ["30.0"]
    assert run("measure", folder, "--voxel-sizes", "sform") == 0
    assert re.findall(r"p0 +mean +([\d.]+)", capsys.readouterr().out) == ["120.0"]


def test_an_answer_that_nothing_asks_for_changes_nothing(tmp_path, capsys):
    folder = add_shares(tmp_path)
    run("check", folder, "--voxel-sizes", "sform")
    assert "changes nothing" in capsys.readouterr().out
    assert read_answers(folder) == {}


@pytest.mark.parametrize(("more", "threshold"), [((), "0.5"), (("--threshold", "0.25"), "0.25")])
def test_probabilities_are_asked_about_and_a_share_can_be_given(tmp_path, capsys, more, threshold):
    folder = add_shares(tmp_path)
    assert run("check", folder) == 1
    assert "[repair 1]" in capsys.readouterr().out
    assert run("check", folder, "--repair", "1", *more) == 0
    assert {repair.arguments for repair in read_repairs(folder)} == {(("from", threshold),)}
    assert run("check", folder) == 0


def test_the_cache_is_shown_limited_and_cleared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUTOSEG_CACHE", str(tmp_path / "cache"))
    open_cache().put("ab" * 32, {}, {"labels": np.zeros((1, 5_000_000), np.uint8)})
    assert main(["cache", "--limit-gb", "2.5"]) == 0
    shown = capsys.readouterr().out
    assert shown == f"In {tmp_path / 'cache'} are 5.0 MB of pixels of patients' images, of 2.5 GB at most.\n"
    assert main(["cache", "--clear"]) == 0
    deleted, left = capsys.readouterr().out.splitlines()
    assert deleted == "Deleted: 5.0 MB."
    assert left == f"In {tmp_path / 'cache'} are no pixels of patients' images, of 2.5 GB at most."
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.startswith("Deleted: nothing")
    assert main(["cache", "--limit-gb", "-1"]) == 1
    assert "above 0" in capsys.readouterr().err


def test_fat_is_told_from_channels_that_are_named_or_typed(tmp_path, capsys):
    labels = np.zeros((20, 20, 4), np.uint8)
    labels[4:14, 4:14, 1:3] = 1
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    for kind, name, voxels in (
        ("images", "leg_water", np.full(labels.shape, 90.0)), ("images", "leg_fat", np.full(labels.shape, 30.0)),
        ("labels", "leg", labels),
    ):  # fmt: skip
        (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "in" / kind / f"{name}.nii.gz")
    dixon = ("measure", tmp_path / "in", "--channels", "water", "fat")
    said = printed(capsys, *dixon, "--output", tmp_path / "out")
    assert "fat_fraction_percent" in said
    assert "Brightness, all slices together:" in said
    rows = (tmp_path / "out" / "fat_fraction.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[-3] for row in rows[1:]] == ["25"] * 3
    assert "75.0" in printed(capsys, *dixon, "--water", "fat", "--fat", "water")
    assert "not of two kinds" in printed(capsys, *dixon, "--estimate-fat", "fat")
    assert main([*map(str, dixon), "--water", "water"]) == 1
    assert "say which is water and which is fat" in capsys.readouterr().err


def test_raters_are_put_beside_each_other_and_beside_folds(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    found = draw_patients(tmp_path / "data")
    write_folds(found, tmp_path / "m_folds")
    alone = printed(capsys, "raters", tmp_path / "data", "--output", tmp_path / "alone")
    assert re.search(r"p0:\s+label +name +rater_1", alone)
    assert re.search(r"label 1 +r1, r2 +6 +18", alone)
    assert "The model" not in alone
    assert sorted(path.name for path in (tmp_path / "alone").iterdir()) == ["readers.csv", "readers_slices.csv"]
    words = ("--folds", tmp_path / "m_folds", "--margin", "20%", "--output", tmp_path / "alone")
    asked = printed(capsys, "raters", tmp_path / "data", *words)
    assert "label 1: Whether the model differs from readers r1 and r2 by no more than they differ" in asked
    (verdict,) = read_table(tmp_path / "alone" / "readers_verdicts.csv").to_dict("records")
    # Of the readers' mean area: 60 mm², and of reader 2 60 or 70.
    assert verdict["margin"] == pytest.approx(0.2 * 62.5)
    assert main(["raters", str(tmp_path / "data"), "--margin", "much"]) == 1
    assert "margin 'much' is not understood" in capsys.readouterr().err
