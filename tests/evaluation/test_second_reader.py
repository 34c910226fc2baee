"""A model beside readers of a folder: by itself, by folds, and where it was trained on the same patients."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from two_readers import box, draw_patients, write_folds

from autoseg.data.cases import CaseFolder, Reading, find_cases, read_case_image
from autoseg.data.digests import subject_pseudonym
from autoseg.errors import DataError
from autoseg.evaluation import second_reader as module
from autoseg.evaluation.crossvalidation import read_fold
from autoseg.evaluation.expert import compare_with_expert
from autoseg.evaluation.second_reader import (
    beside_readers,
    read_beside_folds,
    read_beside_model,
    read_readers,
)
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.readers import MODEL, judge_model
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.prediction.run import Run

MODEL_OF = TrainedModel("m", Settings(), (Structure(1, "label 1"),), ("image",), {})


@pytest.fixture
def folder(tmp_path):
    return draw_patients(tmp_path)


@pytest.fixture
def seven_wide(monkeypatch):
    """A model that always finds a column more than reader 1."""
    monkeypatch.setattr(
        module,
        "segment_and_measure",
        lambda model, image: (LabelMap(box(7), structures=model.structures).on_grid_of(image), ()),
    )


def test_readers_without_a_model(folder):
    found = read_readers(folder)
    assert len(found.readings) == 18
    assert {one.readers for one in found.readings} == {("r1", "r2")}
    first = found.readings[0]
    assert (dict(first.pixels), first.pixel_mm2) == ({"r1": 30, "r2": 35}, 2.0)


@pytest.mark.usefixtures("seven_wide")
def test_a_model_beside_the_readers(folder):
    found = read_beside_model(folder, MODEL_OF)
    assert {one.pixels[MODEL] for one in found.readings} == {35}
    (verdict,) = judge_model(found.readings)
    # 10 mm² from reader 1 always, from reader 2 on three of six patients; the readers on three of six.
    assert verdict.model_difference == pytest.approx(np.sqrt((100 + 50) / 2))
    assert verdict.readers_difference == pytest.approx(np.sqrt(50))
    assert verdict.n_patients == 6


@pytest.mark.usefixtures("seven_wide")
def test_patients_of_the_training_are_left_out(folder):
    people = sorted({case.subject_id for case in folder.cases})
    known = replace(MODEL_OF, origin={"subject_fingerprints": [subject_pseudonym(people[0])]})
    found = read_beside_model(folder, known)
    assert {one.subject_id for one in found.readings} == set(people[1:])
    assert "1 patient of the model's own training left out" in found.notes[0]
    all_known = replace(MODEL_OF, origin={"subject_fingerprints": [*map(subject_pseudonym, people)]})
    with pytest.raises(DataError, match="--folds"):
        read_beside_model(folder, all_known)


def test_what_folds_predicted_beside_the_readers(folder, tmp_path):
    place = tmp_path / "m_folds"
    # The labels had other numbers when the folds were made; their names tell.
    write_folds(folder, place, wide=8, structures=(replace(folder.structures[0], label=4),))
    assert read_fold(place / "fold_1", 1).scores == ()
    found = read_beside_folds(folder, place)
    assert {one.pixels[MODEL] for one in found.readings} == {40}
    assert len({one.subject_id for one in found.readings}) == 6


def test_folds_of_something_else_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="holds no folds"):
        read_beside_folds(folder, tmp_path / "nothing")
    others = [replace(case, case_id=f"other {case.case_id}") for case in folder.cases]
    write_folds(replace(folder, cases=tuple(others)), tmp_path / "m_folds")
    with pytest.raises(DataError, match="tested none of the images"):
        read_beside_folds(folder, tmp_path / "m_folds")


def test_one_rater_is_not_enough(folder):
    alone = [replace(case, labels=case.labels[:1]) for case in folder.cases]
    with pytest.raises(DataError, match="several raters"):
        read_readers(CaseFolder(folder.folder, tuple(alone), folder.structures))


def test_structures_are_matched_by_name_and_unknown_ones_are_not_absent(folder):
    case = folder.cases[0]
    image = read_case_image(case)
    cord, inner, other = Structure(1, "cord", includes=(2,)), Structure(2, "grey"), Structure(3, "fat")
    drawn = LabelMap(box(6), structures=(cord, inner, other)).on_grid_of(image)
    whole = box(7) * 9
    whole[:, 3, 3] = 5
    predicted = LabelMap(whole, structures=(Structure(9, "cord", includes=(5,)), Structure(5, "grey")))
    found = beside_readers(predicted.on_grid_of(image), {"r1": drawn, "r2": drawn})
    counts = {one.name: dict(one.pixels) for one in found}
    assert counts["cord"][MODEL] == 35
    assert counts["grey"] == {"r1": 0, "r2": 0, MODEL: 1}
    assert "fat" not in counts
    with_fat = LabelMap(3 * box(2), structures=(cord, inner, other))
    found = beside_readers(predicted.on_grid_of(image), {"r1": with_fat.on_grid_of(image), "r2": drawn})
    assert MODEL not in next(one for one in found if one.name == "fat").pixels


def test_slices_that_a_case_leaves_out_are_left_out_of_every_reader(tmp_path, folder):
    (tmp_path / "p0-levels.txt").write_text("slice#, level\n0, -\n1, 2\n2, 3\n")
    cut = find_cases(tmp_path, reading=Reading(only_levels=True))
    readings = [one for one in read_readers(cut).readings if one.case_id.startswith("p0")]
    assert [one.slice for one in readings] == [2, 3]


def test_a_run_beside_several_readers(folder, tmp_path):
    image = read_case_image(folder.cases[0])
    predicted = LabelMap(box(7), structures=folder.structures).on_grid_of(image)
    run = Run(tmp_path, ((image, predicted),), (), pd.DataFrame(), (), ())
    found = compare_with_expert(run, folder)
    assert [dict(one.pixels) for one in found.readings] == [{"r1": 30, "r2": 35, MODEL: 35}] * 3
    assert [one.slice for one in found.readings] == [1, 2, 3]
    assert found.readings[0].subject_id == image.source.subject_id
    # The expert's labels are what both drew, as before.
    assert [(one.reference_pixels, one.predicted_pixels) for one in found.slices] == [(30, 35)] * 3
