"""Agreement with an expert: slices with raters' shares, and the one test on subjects that were set aside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discs import STRUCTURES, make_case, make_pair, patch_reading
from PIL import Image as PillowImage

from autoseg.data.cases import CaseFolder
from autoseg.data.digests import subject_pseudonym
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger
from autoseg.errors import DataError, OutputError
from autoseg.evaluation import expert as agreement
from autoseg.evaluation.expert import (
    compare_with_expert,
    comparison_table,
    count_inside,
    pair_with_expert,
    score_test_subjects,
)
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, SliceSource
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.measurement.scores import score_slices
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.prediction.run import Run

MODEL = TrainedModel("discs", Settings(), STRUCTURES, ("image",), {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six subjects, of whom 1 and 2 are kept for the test; a prediction is what was drawn."""
    patch_reading(monkeypatch)
    made = {make_pair(number)[0].source.case_id: make_pair(number)[1] for number in range(6)}
    monkeypatch.setattr(agreement, "segment_and_measure", lambda model, image: (made[image.source.case_id], ()))
    (tmp_path / "data").mkdir()
    freeze_test_subjects(tmp_path / "data", ["subject1", "subject2"])
    return CaseFolder(tmp_path / "data", tuple(map(make_case, range(6))), STRUCTURES)


def test_every_look_is_counted_and_has_a_folder_of_its_own(folder, tmp_path):
    first = score_test_subjects(MODEL, folder, output=tmp_path / "out")
    before = (first.folder / "results.csv").read_bytes()
    second = score_test_subjects(replace(MODEL, name="other"), folder, output=tmp_path / "out")
    third = score_test_subjects(MODEL, folder, output=tmp_path / "out")
    assert len({first.folder, second.folder, third.folder}) == 3 == len(list((tmp_path / "out").iterdir()))
    assert first.folder.name.startswith("discs_test_")
    assert (first.folder / "results.csv").read_bytes() == before
    assert set(pd.read_csv(first.folder / "results.csv")["subject_id"]) == {"subject1", "subject2"}
    assert first.summary["dice"].tolist() == [1, 1]
    assert [look.model for look in third.ledger.looks] == ["discs", "other", "discs"]
    assert third.ledger == read_ledger(folder.folder)


def test_the_worst_slices_are_pictures_worst_first_and_no_more_than_some(folder, tmp_path, monkeypatch):
    def shifted(model, image):
        # Subject 2 is off by more than subject 1, so that its slices are the worse ones.
        _, drawn = make_pair(int(image.source.case_id.removeprefix("case")))
        return replace(drawn, voxels=np.roll(drawn.voxels, 2 if "2" in image.source.case_id else 1, axis=2)), ()

    monkeypatch.setattr(agreement, "segment_and_measure", shifted)
    monkeypatch.setattr(agreement, "PICTURES", 3)
    found = score_test_subjects(MODEL, folder, output=tmp_path / "out")
    rows = pd.read_csv(found.folder / "results_slices.csv")
    order = rows.groupby(["case_id", "slice"])["dice"].min().sort_values().index[:3]
    names = sorted(path.name for path in (found.folder / "worst").iterdir())
    assert names == [f"{n:02d}_{case}_slice_{number}.png" for n, (case, number) in enumerate(order, start=1)]
    assert names[0].startswith("01_case2_")
    with PillowImage.open(found.folder / "worst" / names[0]) as picture:
        assert min(picture.size) > 300


def test_a_frozen_subject_without_a_case_is_named(folder, tmp_path):
    fewer = replace(folder, cases=tuple(case for case in folder.cases if case.subject_id != "subject2"))
    with pytest.raises(DataError, match=r"is of subject2, frozen.*subjects\.csv"):
        score_test_subjects(MODEL, fewer, output=tmp_path / "out")
    assert read_ledger(folder.folder).looks == ()


def test_a_model_that_saw_a_test_subject_is_refused(folder, tmp_path):
    model = replace(MODEL, origin={"subject_fingerprints": [subject_pseudonym("subject2")]})
    with pytest.raises(DataError, match=r"trained or validated on subject2"):
        score_test_subjects(model, folder, output=tmp_path / "out")
    with pytest.raises(DataError, match="No test patients are frozen"):
        score_test_subjects(MODEL, replace(folder, folder=tmp_path), output=tmp_path / "out")


def test_a_last_test_counts_the_areas_inside_their_intervals(folder, tmp_path, monkeypatch):
    def segmented(model, image):
        drawn = make_pair(int(image.source.case_id.removeprefix("case")))[1]
        # Subject 2's intervals lie beside its areas.
        off = 0.5 if image.source.case_id == "case2" else 0.0
        rows = measure_areas(drawn)
        return drawn, [replace(row, area_low_mm2=row.area + off, area_high_mm2=row.area + 1) for row in rows]

    monkeypatch.setattr(agreement, "segment_and_measure", segmented)
    found = score_test_subjects(MODEL, folder, output=tmp_path / "out")
    slices = pd.read_csv(found.folder / "results_slices.csv")
    of_first = int((slices["case_id"] == "case1").sum())
    assert 0 < of_first < len(slices)
    assert (found.inside, found.bounded) == (of_first, len(slices))


def test_what_fails_is_no_look(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        score_test_subjects(MODEL, folder, output=tmp_path / "file")

    def broken(model, image):
        raise DataError("channels")

    monkeypatch.setattr(agreement, "segment_and_measure", broken)
    with pytest.raises(DataError, match="channels"):
        score_test_subjects(MODEL, folder, output=tmp_path / "out")
    assert read_ledger(folder.folder).looks == ()
    assert not (tmp_path / "out").exists()


def test_labels_with_shares_are_compared_slice_by_slice(monkeypatch, tmp_path):
    image, drawn = make_pair(3)
    source = replace(image.source, slices=tuple(SliceSource(Path(f"{k}.png")) for k in range(2)))
    shares = np.stack([drawn.voxels == structure.label for structure in STRUCTURES]).astype(np.float32)
    image, soft = replace(image, source=source), replace(drawn, source=source, shares=shares)
    monkeypatch.setattr(agreement, "read_case", lambda case, structures: (image, soft))
    run = Run(tmp_path, ((image, replace(drawn, source=source)),), (), pd.DataFrame(), (), ())
    pairs = pair_with_expert(run, CaseFolder(tmp_path, (make_case(3),), STRUCTURES))
    assert [(place, reference.shares.shape) for place, reference, _ in pairs] == [
        ((0, k), (2, 1, 64, 64)) for k in (0, 1)
    ]
    np.testing.assert_array_equal(pairs[1][1].shares[:, 0], shares[:, 1])


def test_the_areas_whose_interval_holds_the_experts_are_counted(monkeypatch, tmp_path):
    image, drawn = make_pair(3)
    source = replace(image.source, slices=tuple(SliceSource(Path(f"{k}.png")) for k in range(2)))
    image, drawn = replace(image, source=source), replace(drawn, source=source)
    monkeypatch.setattr(agreement, "read_case", lambda case, structures: (image, drawn))
    rows = [
        replace(row, area_low_mm2=row.area - 1, area_high_mm2=row.area + (1 if row.slice_index else -0.5))
        for row in measure_areas(drawn)
        if row.area
    ]
    assert {row.slice_index for row in rows} == {0, 1}
    of_first = sum(row.slice_index == 0 for row in rows)
    run = Run(tmp_path, ((image, drawn),), tuple(rows), pd.DataFrame(), (), ())
    labelled = CaseFolder(tmp_path, (make_case(3),), STRUCTURES)
    assert count_inside(run, compare_with_expert(run, labelled)) == (len(rows) - of_first, len(rows))
    silent = replace(run, measurements=tuple(measure_areas(drawn)))
    assert count_inside(silent, compare_with_expert(silent, labelled)) == (0, 0)


def test_areas_beside_an_experts_are_the_least_where_either_is_cut_off():
    drawn, found = np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)
    drawn[:, 2:6, 2:6], found[0, 2:6, 1:6], found[1, 2:6, :6] = 1, 1, 1  # the second reaches the edge
    both = (LabelMap(v, affine_from_spacing((3.0, 2.0, 2.0)), (Structure(1, "disc"),)) for v in (drawn, found))
    table = comparison_table(score_slices(*both))
    assert table["Expert mm²"].tolist() == [64.0, "at least 64 (cut off)"]
    assert table["autoseg mm²"].tolist() == [80.0, "at least 96 (cut off)"]
    assert table["Error %"].tolist() == [25.0, 50.0]
