"""`autoseg morphometry` on drawn labels and on a run's folder."""

import inspect

import nibabel
import numpy as np
import pandas as pd
import pytest
from cords import label_map, lumbosacral_cord

from autoseg.cli import main, morphometry
from autoseg.image.geometry import LPS_TO_RAS
from autoseg.image.image import Image
from autoseg.measurement.morphometry import SMOOTHING_MM, STEP_MM, measure_morphometry
from autoseg.measurement.morphometry.sections import Along
from autoseg.model.trust import Light, Suitability
from autoseg.report.export import write_run


@pytest.fixture
def folder(tmp_path):
    """Three people with a lumbosacral cord each, as NIfTI."""
    for number in range(3):
        mask, affine = lumbosacral_cord(tip_z_mm=-42.0 + number, spacing_mm=(2.0, 0.4, 0.4), scale=1 + number / 20)
        world = LPS_TO_RAS @ affine @ np.eye(4)[[2, 1, 0, 3]]
        for kind, values in (("dicoms", mask * 100), ("labels", mask)):
            path = tmp_path / "data" / kind / f"sub-{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.nifti1.Nifti1Image(values.transpose(2, 1, 0).astype(np.int16), world), path)
    return tmp_path / "data"


def test_tables_landmarks_and_picture(folder, tmp_path, capsys):
    command = ["morphometry", str(folder), "--output", str(tmp_path / "out"), "--step-mm", "2"]
    picture = ["--picture", str(tmp_path / "cord.png"), "--case", "sub-1", "--cohort", str(tmp_path / "others")]
    assert main(["morphometry", str(folder), "--output", str(tmp_path / "others")]) == 0
    capsys.readouterr()
    name = pd.read_csv(tmp_path / "others" / "morphometry_arc.csv")["name"].iloc[0]
    assert main([*command, *picture, "--enlargement", name]) == 0
    shown = capsys.readouterr().out
    assert "area_corrected_mm2" in shown
    assert shown.count("conus 3") == 3  # mm long, of each cord
    assert (tmp_path / "cord.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "out" / "morphometry_arc.csv")
    assert table["arc_mm"].diff().median() == 2
    assert table.groupby("case_id").size().tolist() == [46, 46, 45]


def test_the_folder_of_a_run_will_do(tmp_path, capsys):
    mask, affine = lumbosacral_cord(spacing_mm=(2.0, 0.4, 0.4))
    drawn = label_map(mask, affine, case_id="series-5", subject_id="007")
    image = Image(np.zeros(mask.shape, np.int16), affine, source=drawn.source)
    folder = write_run(tmp_path / "run", [(image, drawn)], model_name="cord")
    assert main(["morphometry", str(folder), "--output", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "morphometry_arc.csv", dtype={"subject_id": str})
    assert set(table["subject_id"]) == {"007"}
    assert table["area_corrected_mm2"].max() == pytest.approx(np.pi * 4.5**2, rel=0.02)


def test_of_a_red_run_every_table_has_the_word_and_no_number_is_printed(tmp_path, capsys):
    mask, affine = lumbosacral_cord(spacing_mm=(2.0, 0.4, 0.4))
    drawn = label_map(mask, affine, case_id="series-5", subject_id="007")
    image = Image(np.zeros(mask.shape, np.int16), affine, source=drawn.source)
    red = {"series-5": Suitability(Light.RED, ("It lies on its side.",))}
    folder = write_run(tmp_path / "run", [(image, drawn)], model_name="cord", suitability=red)
    command = ["morphometry", str(folder), "--enlargement", "cord"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "Suitability of series-5: RED. It lies on its side." in shown
    assert "mm" not in shown.partition("with --show-red they are.")[2].partition("Saved")[0]
    for path in (tmp_path / "out").glob("*.csv"):
        assert set(pd.read_csv(path)["suitability"]) == {"red"}
    assert main([*command, "--show-red"]) == 0
    shown = capsys.readouterr().out
    assert "area_corrected_mm2" in shown
    assert "conus" in shown


def test_a_cohort_too_small_for_a_band_is_said(folder, tmp_path, capsys):
    assert main(["morphometry", str(folder), "--output", str(tmp_path / "others")]) == 0
    command = ["morphometry", str(folder), "--picture", str(tmp_path / "x.png"), "--case", "sub-1"]
    capsys.readouterr()
    assert main([*command, "--cohort", str(tmp_path / "others")]) == 0
    words = "has no band: three people are needed at a place, and the cohort has 2 people with it."
    assert words in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "others" / "morphometry_arc.csv")
    fourth = table[table["case_id"] == "sub-2"].assign(case_id="sub-9", subject_id="sub-9")
    fourth.to_csv(tmp_path / "fourth.csv", index=False)
    assert main([*command, "--cohort", str(tmp_path / "others"), str(tmp_path / "fourth.csv")]) == 0
    assert "has no band" not in capsys.readouterr().out


def test_wishes_that_cannot_be_granted_are_refused_before_the_work(folder, tmp_path, capsys, monkeypatch):
    import autoseg.measurement.morphometry as room

    monkeypatch.setattr(room, "measure_morphometry", lambda *_, **__: pytest.fail("it was measured"))
    for more, words in (
        (["--enlargement", "psoas"], "No image has 'psoas'"),
        (["--cohort", str(tmp_path)], "--picture"),
        (["--cohort", str(tmp_path), "--picture", "x.png", "--case", "sub-1"], "holds no morphometry_arc.csv"),
        (["--picture", "x.png", "--case", "sub-9"], "There is no image 'sub-9'"),
    ):
        assert main(["morphometry", str(folder), *more]) == 1
        assert words in capsys.readouterr().err


def test_what_is_wrong_is_a_sentence(folder, tmp_path, capsys):
    command = ["morphometry", str(folder)]
    for more, words in (
        (["--enlargement", "psoas"], "No image has 'psoas'"),
        (["--picture", str(tmp_path / "x.png")], "say which to draw with --case"),
        (["--picture", str(tmp_path / "x.png"), "--case", "sub-9"], "There is no image 'sub-9'"),
        (["--smoothing-mm", "0"], "smoothing of the curve is 0.0 mm"),
        (["--step-mm", "0"], "step along the curve is 0.0 mm"),
    ):
        assert main([*command, *more]) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_its_defaults_are_those_of_the_functions():
    assert (morphometry.SMOOTHING_MM, morphometry.STEP_MM) == (SMOOTHING_MM, STEP_MM)
    assert Along.__args__ == morphometry.ALONG
    assert inspect.signature(measure_morphometry).parameters["along"].default == "auto"
