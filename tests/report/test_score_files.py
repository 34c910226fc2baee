from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import DataError, OutputError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices, score_volume
from autoseg.measurement.summary import score_subject
from autoseg.report.score_files import write_results

MUSCLES = (Structure(1, "Rückenstrecker"), Structure(2, "psoas"))


def labels(voxels, *, subject="S1", levels=("", "")):
    slices = tuple(SliceSource(Path(f"Jane Doe/{place}.dcm"), level=level) for place, level in enumerate(levels))
    source = Source(case_id=f"{subject}_t2", subject_id=subject, slice_spacing_source="header", slices=slices)
    return LabelMap(np.asarray(voxels, np.uint8), affine_from_spacing((8.0, 2.0, 1.0)), MUSCLES, source=source)


def pair(subject="S1", **options):
    reference = labels([[[1, 1, 0, 0]], [[1, 1, 1, 1]]], subject=subject, **options)
    return reference, labels([[[1, 1, 1, 0]], [[1, 1, 1, 0]]], subject=subject, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_row_a_subject_and_structure_and_the_summary_beside_it(tmp_path):
    scores = [score for subject in ("S1", "S2") for score in score_slices(*pair(subject))]
    written = write_results(tmp_path / "new" / "results.csv", scores)
    assert names(tmp_path / "new") == ["results.csv", "results_slices.csv", "results_summary.csv"]
    assert sorted(path.name for path in written) == names(tmp_path / "new")
    results = pd.read_csv(tmp_path / "new" / "results.csv")
    assert results[["subject_id", "name", "n"]].values.tolist() == [
        ["S1", "Rückenstrecker", 2],
        ["S2", "Rückenstrecker", 2],
    ]
    assert results["dice"].tolist() == pytest.approx([10 / 12] * 2)
    (summary,) = pd.read_csv(tmp_path / "new" / "results_summary.csv").to_dict("records")
    assert (summary["n_subjects"], summary["n_slices"]) == (2, 4)
    assert summary["dice"] == pytest.approx(10 / 12)
    slices = pd.read_csv(tmp_path / "new" / "results_slices.csv")
    assert slices["area_error_mm2"].tolist() == [2.0, -2.0, 2.0, -2.0]
    for path in written:
        assert "Jane" not in path.read_text(encoding="utf-8")


def test_what_is_unknown_is_empty(tmp_path):
    reference, _ = pair()
    scores = score_slices(reference, labels([[[0] * 4], [[0] * 4]]))
    write_results(tmp_path / "results.csv", scores)
    rows = pd.read_csv(tmp_path / "results_slices.csv", keep_default_na=False, dtype=str)
    assert rows["hd95_mm"].tolist() == rows["precision"].tolist() == ["", ""]
    assert rows["nsd"].tolist() == ["0", "0"]


def test_structures_that_never_occurred_can_be_listed(tmp_path):
    subjects = score_subject([pair()])
    write_results(tmp_path / "results.csv", score_slices(*pair()), subjects=subjects)
    assert pd.read_csv(tmp_path / "results.csv")["n"].tolist() == [2, 0]


def test_levels_and_volumes_have_files_which_do_not_outlive_their_evaluation(tmp_path):
    with_levels = pair(levels=("2", "2/3"))
    path = tmp_path / "heart.csv"
    write_results(path, score_slices(*with_levels), volumes=score_volume(*with_levels))
    levels = pd.read_csv(tmp_path / "heart_levels.csv", dtype={"level": str})
    assert levels["level"].tolist() == ["2", "2/3"]
    assert pd.read_csv(tmp_path / "heart_volumes.csv")["reference_mm3"].tolist() == [96.0]
    write_results(path, score_slices(*pair()))
    assert names(tmp_path) == ["heart.csv", "heart_slices.csv", "heart_summary.csv"]


def test_nothing_scored_is_said_and_a_path_that_cannot_be_written_too(tmp_path):
    with pytest.raises(DataError, match="no score to write"):
        write_results(tmp_path / "results.csv", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        write_results(tmp_path / "file" / "results.csv", score_slices(*pair()))
    (tmp_path / "results_levels.csv").mkdir()
    with pytest.raises(OutputError, match=r"results_levels\.csv is a folder, .* Move it away"):
        write_results(tmp_path / "results.csv", score_slices(*pair()))
