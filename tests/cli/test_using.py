"""Several models and copies on the command line; what one model does is in test_cli.py."""

import json
import re
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from folders import add_stacks
from structure_sets import the_image
from tubes import cropping, make_tube
from untrained import OF_9_MM, untrained_model

from autoseg.cli import main
from autoseg.cli.options import load_models, typed_calibration
from autoseg.cli.parser import build_parser
from autoseg.data.cases import find_images, read_case_image
from autoseg.data.corrections.kit import write_kit
from autoseg.errors import DataError, ModelFileError, OutputError
from autoseg.files.dicom.writing.report import read_report_areas
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.image.image import LabelMap
from autoseg.measurement.areas import Measurement
from autoseg.measurement.morphometry.run_labels import read_run_labels
from autoseg.model import shipped
from autoseg.model.centreline import clicked, read_centreline, write_centreline
from autoseg.model.model import save_model
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.model.trust import Light, Suitability
from autoseg.prediction import run
from autoseg.prediction.judge import Judged
from autoseg.report.area_tables import area_text


@pytest.fixture
def models(tmp_path):
    """A folder with two models of the same structures, "heart" and "fold"."""
    folder = tmp_path / "models"
    folder.mkdir()
    save_model(untrained_model(), folder)
    save_model(replace(untrained_model(spacing_mm=8.0), name="fold"), folder)
    return folder


def test_further_models_go_by_name_or_by_file(models):
    first = models / "heart_0.pt"
    assert [model.name for model in load_models(first, [])] == ["heart"]
    for further in ("fold", str(models / "fold_0.pt")):
        assert [model.name for model in load_models(first, [further])] == ["heart", "fold"]
    for again in ("heart", str(first)):
        with pytest.raises(DataError, match=r"heart_0\.pt is given twice"):
            load_models(first, [again])
    with pytest.raises(ModelFileError, match="no model named 'knee'"):
        load_models(first, ["knee"])


def test_models_are_listed_and_one_that_cannot_be_read_is_told(models, capsys, monkeypatch):
    monkeypatch.setattr(shipped, "BOX", models / "none")
    (models / "heart_0.pt").write_bytes(b"")
    assert main(["models", str(models)]) == 0
    first, second, third = sorted(capsys.readouterr().out.splitlines())
    assert first.strip().startswith(
        f"{models / 'heart_0.pt'} is not a model file of autoseg, or only a part of one"
    )
    assert second.startswith("fold_0.pt — ")
    assert third == "heart_0.pt — cannot be read"
    assert main(["models", str(models / "none")]) == 0
    assert "There is no model in" in capsys.readouterr().out
    monkeypatch.setattr(shipped, "NAMES", ("fold 0",))  # below one's own stands what comes with autoseg
    monkeypatch.setattr(shipped, "BOX", models)
    assert main(["models", str(models / "none")]) == 0
    assert "\nfold_0.pt — comes with autoseg, " in capsys.readouterr().out


def test_predict_takes_the_mean_and_says_of_what(models, sample, tmp_path, capsys):
    command = ["predict", str(models / "heart_0.pt"), str(sample / "test" / "dicoms"), "--series", "series-5"]
    command += ["--output", str(tmp_path / "out")]
    assert main([*command, "--model", "fold", "--copies", "turned"]) == 0
    shown = capsys.readouterr().out
    assert "Segmented with the mean of heart + fold, turned copies" in shown
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name.startswith("heart_+_fold_turned_copies_")
    assert main(command) == 0
    assert "mean of" not in capsys.readouterr().out


def test_dicom_objects_lie_in_the_runs_folder_with_the_areas_of_its_tables(models, tmp_path, capsys):
    the_image(tmp_path / "in")
    command = ["predict", str(models / "heart_0.pt"), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*command, "--dicom", "labelmap"]) == 0
    assert "read back and compared" in capsys.readouterr().out
    (folder,) = (tmp_path / "out").iterdir()
    (report,) = (folder / "dicom").glob("*_SR.dcm")
    table = pd.read_csv(folder / "measurements.csv")
    table = table[table["pixel_count"] > 0]
    is_cut_off = table["touches_edge"].astype(bool)
    assert is_cut_off.any()
    told = read_report_areas(report)
    assert sum("at least: cut off" in words for words, _, _ in told) == is_cut_off.sum()
    areas = table["area_mm2"].fillna(table["area_at_least_mm2"])
    assert sorted(area for _, _, area in told) == pytest.approx(sorted(areas))
    kinds = [path.stem.rpartition("_")[2] for path in (folder / "dicom").iterdir()]
    assert sorted(kind for kind in kinds if kind != "SC") == ["RTSTRUCT", "SEG", "SR"]
    assert "SC" in kinds  # the pages of the report


def test_models_that_do_not_go_together_are_a_sentence(models, sample, tmp_path, capsys):
    save_model(replace(untrained_model(channels=("a", "b")), name="two"), models)
    command = ["predict", str(models / "heart_0.pt"), str(sample / "test" / "dicoms"), "--model", "two"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    assert "cannot be averaged" in capsys.readouterr().err


def test_an_error_begins_on_a_line_of_its_own(models, tmp_path, capsys, monkeypatch):
    write_nifti(tmp_path / "in" / "tube7.nii.gz", make_tube(7)[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def full(*_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr(run, "write_run", full)
    command = ["predict", str(models / "heart_0.pt"), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "Series 1 of 1, slice" in said
    assert said.endswith("\nautoseg: the disk is full\n")
    assert said.count("\n") == 2


@pytest.mark.parametrize(
    ("typed", "view", "pixel"),
    [
        ([], None, None),
        (["--field-of-view-mm", "240"], 240.0, None),
        (["--field-of-view-mm", "240", "180"], (240.0, 180.0), None),
        (["--field-of-view-mm", "64x64=240", "32x16=200x100"], {(64, 64): 240.0, (32, 16): (200.0, 100.0)}, None),
        (["--pixel-spacing-mm", "0.5", "0.4"], None, [0.5, 0.4]),
    ],
)
def test_millimetres_are_typed_for_all_images_or_for_each_size(typed, view, pixel):
    found = typed_calibration(build_parser().parse_args(["predict", "m.pt", "in", *typed]))
    assert (found.field_of_view_mm, found.pixel_spacing_mm) == (view, pixel)


def test_millimetres_that_are_none_are_a_sentence(models, tmp_path, capsys):
    for typed, words in (("64=240", "64x64=240"), ("wide", "is not understood")):
        command = ["predict", str(models / "heart_0.pt"), str(tmp_path), "--field-of-view-mm"]
        if "=" in typed:
            words = "Write the rows and columns of an image"
        assert main([*command, typed]) == 1
        assert words in capsys.readouterr().err


def test_pictures_without_millimetres_are_segmented_in_pixels(models, tmp_path, capsys):
    pixels = untrained_model()
    settings = replace(pixels.settings, preprocess=PreprocessSettings(input_shape=(32, 32)))
    path = save_model(replace(pixels, name="pixels", settings=settings), models)
    np.save(tmp_path / "stack.npy", np.random.default_rng(2).normal(0, 9, (5, 40, 40)).astype(np.float32))
    (tmp_path / "in").mkdir()
    (tmp_path / "stack.npy").rename(tmp_path / "in" / "stack.npy")
    command = ["predict", str(path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "cavity pixels" in shown
    assert "mm²" not in shown[shown.index("cavity pixels") :]
    assert "Warning: The file of stack does not tell the size of a pixel, so areas there are in pixels" in shown
    (folder,) = (tmp_path / "out").iterdir()
    assert len(list((folder / "labels").iterdir())) == len(list((folder / "overlays").iterdir())) == 5
    assert main([*command, "--field-of-view-mm", "40x40=80"]) == 0
    assert "cavity mm²" in capsys.readouterr().out
    # A model that sees images in their size cannot do without.
    assert main(["predict", str(models / "heart_0.pt"), *command[2:]]) == 1
    assert "Type the field of view" in capsys.readouterr().err


def test_a_model_that_finds_nothing_says_so(models, tmp_path, capsys):
    nothing = untrained_model()
    weights = {name: value.clone() for name, value in nothing.weights.items()}
    last = list(weights)[-1]
    assert weights[last].shape == (3,)
    weights[last] = torch.tensor([99.0, -99.0, -99.0])
    path = save_model(replace(nothing, name="nothing", weights=weights), models)
    write_nifti(tmp_path / "in" / "tube7.nii.gz", make_tube(7)[0])
    assert main(["predict", str(path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 0
    assert "Warning: Nothing was found on any slice of tube7: every area is 0." in capsys.readouterr().out
    (folder,) = (tmp_path / "out").iterdir()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert [(one["case_id"], one["name"]) for one in record["not_found"]] == [
        ("tube7", "cavity"), ("tube7", "myocardium"),
    ]  # fmt: skip
    assert any("Nothing was found" in note for note in record["details"]["notes"])


def test_a_clicked_centreline_is_given_by_its_image(models, tmp_path, capsys):
    for number in (7, 8):
        write_nifti(tmp_path / "in" / f"tube{number}.nii.gz", make_tube(number)[0])
    path = save_model(cropping(finder=False), models)
    line = write_centreline(clicked([(0.0, 0.0, -40.0), (0.0, 0.0, 40.0)]), tmp_path / "line.csv")
    given = [words for number in (7, 8) for words in ("--centreline", f"tube{number}={line}")]
    command = ["predict", str(path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*command, *given]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert read_centreline(folder / "centrelines" / "tube8.csv").clicks_mm == read_centreline(line).clicks_mm
    assert main([*command, "--centreline", str(line)]) == 1
    assert "say of which image it is, as ID=CSV" in capsys.readouterr().err


# --- how far to trust what is printed

REASON = "Its reasons are told."


@pytest.fixture
def lit(models, tmp_path, monkeypatch):
    """Two tubes, of which number 8 is red, with an interval of ± 10 % on every area; gives the command."""
    for number in (7, 8):
        write_nifti(tmp_path / "in" / f"tube{number}.nii.gz", make_tube(number)[0])

    def judge(models, compared, predicted, measurements):
        light = Light.RED if predicted.label_map.source.case_id == "tube8" else Light.AMBER
        known = {"suitability": light.value, "interval_level": 0.9}
        rows = [
            replace(row, area_low_mm2=0.9 * row.area, area_high_mm2=1.1 * row.area, **known) for row in measurements
        ]
        return Judged(tuple(rows), Suitability(light, (REASON,)))

    monkeypatch.setattr(run, "judge", judge)
    return ["predict", str(models / "heart_0.pt"), str(tmp_path / "in"), "--output", str(tmp_path / "out")]


def test_lights_stand_before_the_areas_and_red_areas_are_not_printed(lit, tmp_path, capsys):
    assert main(lit) == 0
    shown = capsys.readouterr().out
    places = [
        shown.index(words)
        for words in (
            f"Suitability of tube8: RED. {REASON}", f"Suitability of tube7: AMBER. {REASON}",
            "The areas of tube8 are not printed", "cavity mm²", "Saved in",
        )
    ]  # fmt: skip
    assert all(one < other for one, other in pairwise(places))
    table = shown[places[3] : places[4]]
    assert "tube8" not in table
    assert "amber" in table
    # The files hold all of it.
    (folder,) = (tmp_path / "out").iterdir()
    kept = (folder / "areas.csv").read_text(encoding="utf-8-sig")
    assert "tube8,mean" in kept
    assert kept.count("red") == sum(line.startswith("tube8") for line in kept.splitlines()) > 0
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["suitability"] == {
        "light": "red",
        "reasons": [REASON],
    }


def test_what_is_red_by_its_header_is_told_before_it_is_segmented(models, tmp_path, capsys, monkeypatch):
    path = save_model(replace(untrained_model(trust=OF_9_MM), name="coarse"), models)
    write_nifti(tmp_path / "in" / "tube7.nii.gz", make_tube(7)[0])
    said = []

    def predict(*given):
        said.append(capsys.readouterr().err)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "predict_and_look", predict)
    command = [str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(["predict", str(path), *command]) == 130
    assert capsys.readouterr().err == "autoseg: stopped.\n"
    assert main(["predict", str(models / "heart_0.pt"), *command]) == 130
    told, nothing = said
    assert told.startswith("Suitability of tube7: RED. Its pixels are")
    assert "the model learnt from 9, so areas may be far off" in told
    assert told.endswith("Ctrl+C stops it, and nothing is written then.\n")
    assert nothing == ""  # a model of which nobody knows that
    assert not (tmp_path / "out").exists()


def test_red_areas_are_printed_where_they_are_asked_for(lit, capsys):
    assert main([*lit, "--show-red"]) == 0
    shown = capsys.readouterr().out
    assert f"Suitability of tube8: RED. {REASON}" in shown
    assert "not printed" not in shown
    assert "tube8" in shown[shown.index("cavity mm²") :]
    assert re.search(r"at least [\d,]+ \(cut off\)", shown)  # an untrained model draws up to the edges


def test_where_all_is_red_no_table_is_printed(lit, tmp_path, capsys):
    (tmp_path / "in" / "tube7.nii.gz").unlink()
    assert main(lit) == 0
    shown = capsys.readouterr().out
    assert "with --show-red they are" in shown
    assert "mm²" not in shown


def test_intervals_stand_behind_their_areas(lit, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Measurement, "is_cut_off", False)  # an untrained model draws everywhere
    (tmp_path / "in" / "tube8.nii.gz").unlink()
    assert main(lit) == 0
    shown = capsys.readouterr().out
    (folder,) = (tmp_path / "out").iterdir()
    areas = pd.read_csv(folder / "areas.csv")
    area = next(area for area in areas["cavity mm²"] if area > 100)
    low, high = (area_text(share * area, 3) for share in (0.9, 1.1))
    assert f" {area_text(area)} ({low}–{high})" in shown
    assert " low" not in shown[shown.index("cavity mm²") :]


def test_a_red_image_is_compared_with_an_expert_only_where_it_is_asked_for(lit, tmp_path, capsys):
    for part, place in (("images", 0), ("labels", 1)):
        for number in (7, 8):
            made = make_tube(number)[place]
            write_nifti(tmp_path / "drawn" / part / f"tube{number}.nii.gz", made)
    lit[2] = str(tmp_path / "drawn" / "images")
    lit += ["--reference", str(tmp_path / "drawn")]
    assert main(lit) == 0
    shown = capsys.readouterr().out
    beside = shown[shown.index("beside the expert's") :]
    assert "tube7" in beside
    assert "tube8" not in beside
    assert "The expert's area lies inside the interval of autoseg's for " in beside
    assert main([*lit, "--show-red"]) == 0
    shown = capsys.readouterr().out
    assert "tube8" in shown[shown.index("beside the expert's") :]


def test_a_report_is_written_with_a_run_and_later_of_what_was_corrected(models, tmp_path, capsys):
    patient = add_stacks(tmp_path / "in")
    assert main(["predict", str(models / "heart_0.pt"), str(patient), "--output", str(tmp_path), "--report"]) == 0
    (folder,) = tmp_path.glob("heart_2*")
    assert f"Report: {folder / 'report.html'}, {folder / 'report.pdf'}" in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["details"]["model_cards"][0][0][1] in page
    assert main(["report", str(folder), "--no-ids"]) == 0
    assert (folder / "report_without_ids.pdf").read_bytes().startswith(b"%PDF-")
    images = [read_case_image(case) for case in find_images(patient)]
    kit = write_kit(folder / "to_correct", list(zip(images, read_run_labels(folder)[0], strict=True)))
    labels = kit.folder / kit.cases[0].labels_name
    voxels, affine = read_nifti(labels)
    write_nifti(labels, LabelMap(np.where(voxels == 0, 2, voxels).astype(np.uint8), affine, kit.structures))
    assert main(["report", str(folder)]) == 1
    assert "Say who corrected them" in capsys.readouterr().err
    assert main(["report", str(folder), "--by", "MK"]) == 0
    assert "by MK" in (folder / "report_corrected.html").read_text(encoding="utf-8")
    assert main(["report", str(patient)]) == 1
    assert "not the folder of a run" in capsys.readouterr().err
