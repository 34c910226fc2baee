"""structures.csv and annotated.csv, as people and their spreadsheets write them."""

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis.strategies import text

import autoseg
from autoseg.errors import LabelError, OutputError, ReadError
from autoseg.files.tables import (
    Drawn,
    csv_bytes,
    harmless_cell,
    join_tables,
    plain_cell,
    read_annotated,
    read_rows,
    read_structures,
    read_subjects,
    read_table,
    write_annotated,
    write_rows,
    write_structures,
    write_table,
)
from autoseg.image.structures import Structure

PACKAGE = Path(autoseg.__file__).parent

STRUCTURES = (
    Structure(1, "Rückenstrecker, links", (1, 2, 254), "left"),
    Structure(7, 'disc "L4"'),
    Structure(255, "psoas right", side="right"),
)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_structures_come_back(tmp_path):
    write_structures(tmp_path / "s.csv", STRUCTURES)
    assert read_structures(tmp_path / "s.csv").structures == STRUCTURES
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[0] == "label,name,colour,side"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_spreadsheets_csv_is_read(tmp_path, separator, mark, newline):
    rows = ["Label;Name;Colour;Side;", "1;großer Muskel;#0a0B0c;Left;", ";;;;", "2; disc ;;;", ""]
    text = mark + newline.join(rows).replace(";", separator)
    structures = read_structures(write(tmp_path / "s.csv", text)).structures
    assert structures == (Structure(1, "großer Muskel", (10, 11, 12), "left"), Structure(2, "disc"))


def test_label_and_name_suffice_and_other_columns_do_not_disturb(tmp_path):
    path = write(tmp_path / "s.csv", "name,remark,label\ndisc,L4/L5,3\n")
    assert read_structures(path).structures == (Structure(3, "disc"),)


def test_american_spelling_of_the_colour_is_read(tmp_path):
    assert read_structures(write(tmp_path / "s.csv", "label,name,color\n1,a,#010203\n")).structures[0].rgb == (
        1,
        2,
        3,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"lacks the columns label, name"),
        ("1,psoas\n", r"lacks the column.*its columns are 1, psoas"),
        ("label,name\n", "names no structure"),
        ("label,label,name\n1,1,a\n", "more than once"),
        ("label,name\n1,a,b\n", r"row 2 has more cells.*\['b'\]"),
        ("label,name\nx,a\n", "row 2: label 'x' is not a whole number"),
        ("label,name\n1,a\n\n1.5,b\n", "row 4: label '1.5'"),
        ("label,name\n0,a\n", "names no structure"),
        ("label,name,values\n1,a,7\n2,b,7 8\n", "row 3: the value 7 stands in another row"),
        ("label,name\n256,a\n", "row 2: .*256"),
        ("label,name\n3,\n", "row 2: Label 3 has an empty name"),
        ("label,name,colour\n3,a,red\n", "row 2: colour 'red'.*#rrggbb"),
        ("label,name,side\n3,a,links\n", "row 2: .*side 'links'"),
        ("label,name\n1,a\n1,b\n", "label 1 more than once"),
        ("label,name\n1,a\n2,a\n", "name a more than once"),
    ],
)
def test_what_is_wrong_with_a_structures_table_is_said(tmp_path, text, words):
    with pytest.raises((LabelError, ReadError), match=words) as caught:
        read_structures(write(tmp_path / "my structures.csv", text))
    assert "my structures.csv" in str(caught.value)


def test_a_table_in_another_encoding_names_the_remedy(tmp_path):
    path = write(tmp_path / "s.csv", "label;name\n1;Rückenstrecker\n", encoding="cp1252")
    with pytest.raises(ReadError, match=r"not text in UTF-8.*CSV UTF-8"):
        read_structures(path)


def test_a_missing_table_and_a_folder_in_its_place_are_named(tmp_path):
    with pytest.raises(ReadError, match=r"s\.csv does not exist"):
        read_structures(tmp_path / "s.csv")
    with pytest.raises(ReadError, match="cannot be read"):
        read_structures(tmp_path)


def test_annotated_comes_back(tmp_path):
    drawn = {"leg_1": {1, 255}, "leg_2": (), "leg 3, left": {7}}
    write_annotated(tmp_path / "a.csv", drawn, STRUCTURES)
    read = read_annotated(tmp_path / "a.csv", STRUCTURES)
    assert read == {name: (Drawn(frozenset(labels)),) for name, labels in drawn.items()}
    assert list(read) == list(drawn)


def test_annotated_from_excel(tmp_path):
    text = "\ufeffCase_ID;Psoas Right;disc \r\nleg_1;1;0\r\nleg_2; 0 ;1\r\n;;\r\n"
    structures = (Structure(4, "psoas right"), Structure(5, "disc"))
    read = read_annotated(write(tmp_path / "a.csv", text), structures)
    assert read == {"leg_1": (Drawn(frozenset({4})),), "leg_2": (Drawn(frozenset({5})),)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id,psoas\nx,1\n", r"lacks the column disc"),
        ("psoas,disc\n1,1\n", r"lacks the column case_id"),
        ("case_id,psoas,disc,dsic\nx,1,1,1\n", r"'dsic', which names no structure.*psoas, disc"),
        ("case_id,psoas,disc\nx,1,yes\n", "row 2, column 'disc': 'yes' is neither"),
        ("case_id,psoas,disc\nx,1,\n", "row 2, column 'disc': '' is neither"),
        ("case_id,psoas,disc\nx,1\n", "row 2, column 'disc': '' is neither"),
        ("case_id,psoas,disc\nx,1,1\nx,1,0\n", "row 3: case_id 'x' stands there already"),
        ("case_id,psoas,disc\n,1,1\n", "row 2: case_id '' is empty"),
    ],
)
def test_what_is_wrong_with_an_annotated_table_is_said(tmp_path, text, words):
    with pytest.raises(ReadError, match=words):
        read_annotated(write(tmp_path / "a.csv", text), (Structure(1, "psoas"), Structure(2, "disc")))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_structures(tmp_path / "file" / "s.csv", STRUCTURES)


# --- names are data: no cell becomes a formula, and each comes back as it was


def cells_of_a_spreadsheet(data, separator=","):
    """Give what Excel takes for cells, also where another sign parts them than the one it was written with."""
    text = data.decode("utf-8-sig")
    pieces = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    return [cell for row in pieces for cell in row] + re.split(r"[;\n\r\t]", text)


def is_formula(cell):
    bare = re.sub(r"^[\s\"\x00-\x1f\u200b-\u200f\u202a-\u202e\u2060\ufeff]*", "", cell)
    is_number = re.match(r"[\" ]*[+-]?[\d.]+([eE][+-]?\d+)?(\"?,| *$)", cell)
    return bare[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") and not is_number


def test_text_is_kept_by_python_also_where_pyarrow_is_installed():
    assert pd.DataFrame({"name": ["caf\udce9"]})["name"].dtype.storage == "python"


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_no_formula_and_comes_back(tmp_path, name):
    path = tmp_path / "t.csv"
    write_rows(path, ("case_id", "note"), [(name, "a"), ("b", name)])
    assert not any(map(is_formula, cells_of_a_spreadsheet(path.read_bytes())))
    if name == name.strip():
        _, rows = read_rows(path)
        assert [row for _, row in rows] == [{"case_id": name, "note": "a"}, {"case_id": "b", "note": name}]
    table = pd.DataFrame({"case_id": [name, "b"], name + "!": [-1.5, 2], "n": [-3, 4]})
    write_table(path, table, marked=True)
    assert not any(map(is_formula, cells_of_a_spreadsheet(path.read_bytes())))
    pd.testing.assert_frame_equal(read_table(path, ["case_id"]), table)


@given(text(max_size=30) | text(alphabet="='\" ;\t\r\n-+@7.\uff1da", max_size=12))
def test_whatever_is_written_comes_back(name):
    cell = harmless_cell(name)
    assert plain_cell(cell) == name
    assert not any(map(is_formula, re.split(r"[;\n\r\t]", cell)))


def test_numbers_stay_numbers(tmp_path):
    write_rows(tmp_path / "t.csv", ("a", "b", "c"), [(-7, -1.5, "-7")])
    assert (tmp_path / "t.csv").read_text() == "a,b,c\n-7,-1.5,-7\n"
    assert csv_bytes(pd.DataFrame({"a": [-7], "b": [-0.1 - 0.2]})) == b"a,b\n-7,-0.3\n"


def test_a_folders_tables_keep_names_that_look_like_formulas(tmp_path):
    structures = (Structure(1, "=A1"), Structure(2, "-7"), Structure(3, "@x; +y"))
    write_structures(tmp_path / "s.csv", structures, values=[("=seg", 1)])
    read = read_structures(tmp_path / "s.csv")
    assert (read.structures, read.values) == (structures, (("=seg", 1),))
    write_annotated(tmp_path / "a.csv", {"=A1": [1], "-7": [2]}, structures)
    assert read_annotated(tmp_path / "a.csv", structures)["=A1"] == (Drawn(frozenset({1})),)
    assert set(read_annotated(tmp_path / "a.csv", structures)) == {"=A1", "-7"}


def test_a_table_of_an_earlier_version_is_read_as_it_was_meant(tmp_path):
    write(tmp_path / "subjects.csv", "case_id,subject_id\n=A1,-7\n+b,@c\n")
    assert read_subjects(tmp_path / "subjects.csv") == {"=A1": "-7", "+b": "@c"}


def test_only_one_module_knows_csv():
    """Whatever else wrote a table would forget that names may be formulas."""
    # A key of codes is read to the letter: a blank at the end of a name is a part of it.
    allowed = {"files/tables.py": ("csv.writer", "csv.reader", "read_csv"), "data/codes.py": ("csv.reader",)}
    found = [
        f"{path.relative_to(PACKAGE).as_posix()}: {call}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in (
            "csv.writer",
            "DictWriter",
            "to_csv",
            "csv.reader",
            "DictReader",
            "read_csv",
            "to_json",
            "to_excel",
        )
        if call in path.read_text(encoding="utf-8")
        and call not in allowed.get(path.relative_to(PACKAGE).as_posix(), ())
    ]
    assert found == []


def test_tables_are_joined_row_by_row_whatever_columns_they_have(tmp_path):
    write_table(
        tmp_path / "a.csv",
        pd.DataFrame({"case": ["=1+2", 'b "\r\nc'], "patient": [1, 2], "mm²": [0.5, 2]}),
        marked=True,
    )
    write_table(tmp_path / "b.csv", pd.DataFrame({"case": ["007"], "low": [0.25], "mm²": [float("nan")]}))
    parts = [("run a", tmp_path / "a.csv"), ("gone", tmp_path / "c.csv"), ("=b", tmp_path / "b.csv")]
    assert join_tables(tmp_path / "all.csv", parts, "run", without=("patient",), marked=True)
    found = read_table(tmp_path / "all.csv", ["run", "case"])
    assert list(found) == ["run", "case", "low", "mm²"]
    assert found["run"].tolist() == ["run a", "run a", "=b"]
    assert found["case"].tolist() == ["=1+2", 'b "\r\nc', "007"]
    assert found["mm²"].tolist()[:2] == [0.5, 2]
    assert b",'=1+2," in (tmp_path / "all.csv").read_bytes()
    assert not join_tables(tmp_path / "none.csv", [("gone", tmp_path / "c.csv")], "run")
    assert not (tmp_path / "none.csv").exists()
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ReadError, match=r"b\.csv cannot be read as a table"):
        join_tables(tmp_path / "all.csv", parts, "run")
    assert len(read_table(tmp_path / "all.csv")) == 3
