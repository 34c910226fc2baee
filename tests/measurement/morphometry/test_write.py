"""Tables as files, and a cohort's tables read back."""

import pandas as pd
import pytest
from cords import cylinder, grid, label_map

from autoseg.errors import DataError, OutputError, ReadError
from autoseg.measurement.morphometry import (
    arc_table,
    measure_morphometry,
    morphometry_tables,
    read_arc_tables,
    sections_table,
    write_morphometry,
)
from autoseg.measurement.morphometry.tables import ARC_FILE


def measured(subject="007", **source):
    affine, points = grid((3.0, 0.5, 0.5), (9, 9, 15))
    tube = label_map(cylinder(points, (0, 0, 1), (6, 4)), affine, case_id="cörd", subject_id=subject, **source)
    return measure_morphometry([tube])


def test_the_files_hold_the_tables(tmp_path):
    found = measured(levels=["2"] * 11)
    folder = write_morphometry(tmp_path / "out", found, step_mm=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        "morphometry_arc.csv", "morphometry_levels.csv", "morphometry_sections.csv",
    ]  # fmt: skip
    read = pd.read_csv(folder / "morphometry_sections.csv", dtype={"subject_id": str, "level": str})
    table = sections_table(found)
    assert read["subject_id"].iloc[0] == "007"
    assert read["area_corrected_mm2"].to_numpy() == pytest.approx(table["area_corrected_mm2"].to_numpy())
    assert b"c\xc3\xb6rd" in (folder / ARC_FILE).read_bytes()
    assert set(morphometry_tables(measured())) == {"morphometry_arc.csv", "morphometry_sections.csv"}


def test_a_folder_that_is_there_is_not_written_into(tmp_path):
    write_morphometry(tmp_path / "out", measured())
    with pytest.raises(OutputError, match="exists already"):
        write_morphometry(tmp_path / "out", measured())


def test_a_cohort_is_read_from_folders_and_files(tmp_path):
    for subject in ("007", "008"):
        write_morphometry(tmp_path / "people" / subject, measured(subject))
    joined = read_arc_tables([tmp_path / "people"])
    assert set(joined["subject_id"]) == {"007", "008"}
    assert joined["level"].eq("").all()
    same = read_arc_tables([tmp_path / "people" / "007" / ARC_FILE])
    expected = arc_table(measured("007"))
    assert list(same.columns) == list(expected.columns)
    assert same["area_corrected_mm2"].to_numpy() == pytest.approx(expected["area_corrected_mm2"].to_numpy())


def test_what_is_no_cohort_is_a_sentence(tmp_path):
    write_morphometry(tmp_path / "a", measured())
    with pytest.raises(DataError, match="given twice"):
        read_arc_tables([tmp_path / "a", tmp_path / "a" / ARC_FILE])
    with pytest.raises(DataError, match="no table for the cohort"):
        read_arc_tables([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no morphometry_arc\.csv"):
        read_arc_tables([tmp_path / "empty"])
    with pytest.raises(ReadError, match="no column name, arc_mm"):
        read_arc_tables([_written(tmp_path / "x.csv", "case_id,area_corrected_mm2\n1,2\n")])
    with pytest.raises(ReadError, match="cannot be read as a table"):
        read_arc_tables([_written(tmp_path / "y.csv", "")])
    with pytest.raises(ReadError, match=r"gone\.csv cannot be read"):
        read_arc_tables([tmp_path / "gone.csv"])


def _written(path, text):
    path.write_text(text, encoding="utf-8")
    return path
