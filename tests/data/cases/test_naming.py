"""What stands in the label files: named, merged, left out, kept, and found again."""

from dataclasses import replace

import numpy as np
import pytest
from folders import add_subject, change_label, write_table
from PIL import Image as PillowImage

from autoseg.data.cases import (
    build_table,
    find_cases,
    leave_out_structures,
    list_namings,
    name_structures,
    read_case_labels,
)
from autoseg.data.cases.naming import LEFT_OUT, UNNAMED
from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.tables import read_structures, write_structures
from autoseg.image.structures import Structure


@pytest.fixture
def folder(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return tmp_path


def rows_of(folder, **options):
    return {row.value: row for row in list_namings(find_cases(folder), **options)}


def keep(folder, rows):
    table = build_table(list(rows.values()))
    name_structures(find_cases(folder), table)
    return table


def values_of(folder):
    cases = find_cases(folder)
    return set(np.unique(read_case_labels(cases.cases[0], cases.structures)).tolist())


def test_names_are_kept_and_found_again(folder):
    rows = rows_of(folder)
    assert [(row.label, row.name, row.counts_as) for row in rows.values()] == [
        (value, f"label {value}", value) for value in (1, 2, 3)
    ]
    rows[1] = replace(rows[1], name=" psoas left ", side="left", colour=(1, 2, 3))
    keep(folder, rows)
    assert find_cases(folder).structures[0] == Structure(1, "psoas left", (1, 2, 3), "left")
    assert "values" not in (folder / "structures.csv").read_text().splitlines()[0]


def test_values_are_merged_left_out_and_separated_again(folder):
    rows = rows_of(folder)
    rows[2], rows[3] = replace(rows[2], counts_as=1), replace(rows[3], counts_as=LEFT_OUT)
    keep(folder, rows)
    assert [s.label for s in find_cases(folder).structures] == [1]
    assert values_of(folder) == {0, 1}
    rows = rows_of(folder)
    assert [(row.value, row.counts_as) for row in rows.values()] == [(1, 1), (2, 1), (3, LEFT_OUT)]
    rows[3] = replace(rows[3], name="fat", counts_as=rows[3].label)
    keep(folder, rows)
    assert values_of(folder) == {0, 1, 3}
    assert rows_of(folder)[2].counts_as == 1


def test_a_value_that_nobody_named_can_be_named(folder):
    write_table(folder, "structures.csv", "label,name", "1,psoas", "2,disc", "3,fat")
    change_label(folder, "Anna_01", lambda labels: np.where(labels == 2, 7, labels))
    rows = rows_of(folder, unnamed=[7])
    assert rows[7].counts_as == UNNAMED
    assert 7 not in {s.label for s in build_table(list(rows.values())).structures}
    rows[7] = replace(rows[7], counts_as=2)
    keep(folder, rows)
    assert values_of(folder) == {0, 1, 2, 3}


def test_binary_files_stay_tied_to_their_names_and_what_lies_inside_stays_inside(tmp_path):
    for number in (1, 2):
        labels = np.zeros((24, 20), np.uint8)
        labels[4:14, 4:14] = 1
        inner = np.zeros_like(labels)
        inner[6:9, 6 : 9 + number] = 1
        for name, voxels in (("", labels * 90 + 5), ("_cord", labels), ("_gm", inner)):
            (tmp_path / "images" if not name else tmp_path / "masks").mkdir(exist_ok=True)
            place = tmp_path / ("masks" if name else "images") / f"p{number}{name}.png"
            PillowImage.fromarray(voxels * (255 if name else 1)).save(place)
    rows = rows_of(tmp_path)
    assert {row.value: row.includes for row in rows.values()} == {"cord": (2,), "gm": ()}
    rows["gm"] = replace(rows["gm"], name="grey matter")
    keep(tmp_path, rows)
    found = find_cases(tmp_path)
    assert [(s.name, s.includes) for s in found.structures] == [("cord", (2,)), ("grey matter", ())]
    assert all(case.annotated is None for case in found.cases)
    assert values_of(tmp_path) == {0, 1, 2}


def test_what_was_drawn_where_keeps_its_columns(folder):
    write_table(folder, "structures.csv", "label,name", "1,psoas", "2,disc", "3,fat")
    names = ("Anna_01", "Anna_02", "Bert_01", "Bert_02")
    write_table(
        folder, "annotated.csv", "case_id,psoas,disc,fat", *(f"{name},1,1,0" for name in names[:3]), "Bert_02,1,?,1"
    )
    change_label(folder, "Bert_02", lambda labels: np.where(labels == 1, 9, labels))
    rows = rows_of(folder, unnamed=[9])
    rows[1] = replace(rows[1], name="muscle")
    rows[3] = replace(rows[3], counts_as=2)
    rows[9] = replace(rows[9], counts_as=9, name="nerve")
    keep(folder, rows)
    assert (folder / "annotated.csv").read_text().split() == [
        "case_id,muscle,disc,nerve",
        *(f"{name},1,0,?" for name in names[:3]),
        "Bert_02,1,?,?",
    ]
    case = find_cases(folder).cases[0]
    assert case.annotated == {1, 9}
    assert case.unsaid == {9}


@pytest.mark.parametrize(
    ("value", "changes", "words"),
    [
        (1, {"name": "  "}, "value 1 has no name"),
        (1, {"name": "Label 2"}, "name label 2 more than once"),
        (1, {"name": "slices"}, "cannot be used"),
        (1, {"includes": (9,)}, "includes the label 9"),
        (2, {"counts_as": 8}, "part of label 8, which is no structure"),
    ],
)
def test_what_cannot_be_a_table_is_refused_in_a_sentence(folder, value, changes, words):
    rows = rows_of(folder)
    rows[value] = replace(rows[value], **changes)
    with pytest.raises(LabelError, match=words):
        build_table(list(rows.values()))


def test_what_lies_inside_another_is_not_left_out_by_mistake(folder):
    rows = rows_of(folder)
    rows[1] = replace(rows[1], includes=(2,))
    rows[2] = replace(rows[2], counts_as=LEFT_OUT)
    with pytest.raises(LabelError, match="pixels would be missing from label 1"):
        build_table(list(rows.values()))
    rows[2] = replace(rows[2], counts_as=1)
    assert build_table(list(rows.values())).structures[0].includes == ()


def test_one_structure_is_left_out_and_the_last_one_is_not(folder):
    for name in ("label 2", "label 3"):
        leave_out_structures(find_cases(folder), [name])
    assert [s.name for s in find_cases(folder).structures] == ["label 1"]
    with pytest.raises(LabelError, match="No structure remains"):
        leave_out_structures(find_cases(folder), ["label 1"])
    with pytest.raises(DataError, match="No structure is called 'disc'"):
        leave_out_structures(find_cases(folder), ["disc"])


def test_if_one_table_cannot_be_written_both_stay(folder, monkeypatch):
    write_table(folder, "structures.csv", "label,name", "1,psoas", "2,disc", "3,fat")
    names = ("Anna_01", "Anna_02", "Bert_01", "Bert_02")
    write_table(folder, "annotated.csv", "case_id,psoas,disc,fat", *(f"{name},1,1,0" for name in names))
    before = {path: path.read_bytes() for path in folder.glob("*.csv")}

    def refuse(*_):
        raise OutputError("The disk is full.")

    monkeypatch.setattr("autoseg.data.cases.naming.write_rows", refuse)
    rows = rows_of(folder)
    rows[1] = replace(rows[1], name="muscle")
    with pytest.raises(OutputError, match="full"):
        keep(folder, rows)
    assert {path: path.read_bytes() for path in folder.glob("*.csv")} == before


def test_a_name_of_files_that_the_table_cannot_hold_is_said(folder):
    found = replace(find_cases(folder), values=(("a;b", 1),))
    with pytest.raises(LabelError, match="semicolon"):
        name_structures(found, build_table(list_namings(found)))
    assert not (folder / "structures.csv").exists()
    assert read_structures  # the table is read back before it counts as kept


def test_terms_of_snomed_ct_are_kept_and_checked(folder):
    liver = Structure(1, "a", category="91723000 Anatomical structure", type="10200004 Liver")
    write_structures(folder / "structures.csv", (liver, Structure(2, "b")))
    assert read_structures(folder / "structures.csv").structures[0] == liver
    rows = rows_of(folder)
    assert (rows[1].category, rows[1].type, rows[2].type) == (liver.category, liver.type, "")
    rows[1] = replace(rows[1], name="renamed")
    keep(folder, rows)
    assert find_cases(folder).structures[0] == replace(liver, name="renamed", colour=liver.rgb)
    for wrong, words in (
        ("Liver", "Write the number of SNOMED CT and what it means, for instance 10200004 Liver"),
        ("10200004", "and what it means"),
        ("10200040 Liver", "a digit was mistyped, or two changed places"),
        ("10200014 Liver", "no number of SNOMED CT"),
    ):
        write_table(folder, "structures.csv", "label,name,type", f"1,a,{wrong}", "2,b,")
        with pytest.raises(LabelError) as error:
            find_cases(folder)
        assert words in str(error.value)
