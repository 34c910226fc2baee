"""Areas of an old table are read whatever separator, decimal sign and words a spreadsheet gave them."""

import pytest

from autoseg.errors import ReadError
from autoseg.files.old_table import read_old_table


def _read(tmp_path, text, *, encoding="utf-8", **how):
    path = tmp_path / "old.csv"
    path.write_bytes(text.encode(encoding))
    return read_old_table(path, **how)


def _areas(table):
    return [[one.value for one in row.areas.values()] for row in table.rows]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Slice,psoas left,psoas right\na.png,1239.5,71.25\nMean,1240,70\n", "utf-8"),
        ("Slice;psoas left;psoas right\r\na.png;1239,5;71,25\r\nMean;1240;70\r\n", "utf-8-sig"),
        ("sep=;\nSchicht;Fläche links;Fläche rechts\na.png;1.239,5 mm²;71,25 mm²\nMittelwert;1240;70\n", "cp1252"),
        ("Slice\tpsoas left\tpsoas right\t\na.png\t1 239,5\t71,25\t\nMean\t1240\t70\t\n", "utf-16"),
        ('Areas of patient 7\n\nImage,L,R\na.png,"1,239.5",71.25\nAverage,"1,240",70\n', "utf-8"),
        (',area_L (mm2),area_R (mm2)\n0,1239.5,7.125e1\nmean,1240,70\n', "utf-8"),
    ],
    ids=["commas", "semicolons", "German", "tabs", "title", "pandas"],
)  # fmt: skip
def test_one_table_in_six_hands(tmp_path, text, encoding):
    table = _read(tmp_path, text, encoding=encoding)
    assert _areas(table) == [[1239.5, 71.25], [1240, 70]]
    assert table.areas == (1, 2)
    assert [row.kind for row in table.rows] == ["slice", "summary"]
    assert table.rows[0].areas[2].rounding == pytest.approx(0.005)


def test_what_is_no_area_is_left_as_it_is(tmp_path):
    header = "patient,file,psoas,psoas pixels,Dice,volume (ml)\n"
    text = header + "7,N-01.dcm,12.5,4,0.9,3.1\n7,n,1,1,1,1\n7,SD (n-1),2.5,1,1,1\n"
    table = _read(tmp_path, text)
    assert [table.columns[place] for place in table.areas] == ["psoas"]
    assert [row.kind for row in table.rows] == ["slice", "count", "summary"]
    assert _read(tmp_path, text, areas=["psoas", "volume (ml)"]).areas == (2, 5)


def test_a_table_without_names_of_slices(tmp_path):
    table = _read(tmp_path, "psoas\n12.25\nNaN\n3\n")
    assert _areas(table) == [[12.25], [], [3.0]]
    assert table.names is None
    assert table.rows[1].name(None) == "row 3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Slice;a\n1;1,239\n2;2,411\n", "more than a thousand, or less"),
        ("Slice;a\n1;12,5\n2;12.5\n", "with a decimal point (12.5) and with a decimal comma (12,5)"),
        ("Slice,a,b\n1,12,5,13,5\n", "save the table with semicolons"),
        ("Slice,a,b\n1,12.5,3\n2,1.5,2\n3,bad,3\n", "row 4, column 'a': 'bad' is no area"),
        ("Slice,a\n1,-12.5\n", "is below 0"),
        ("Slice,a,a\n1,2,3\n", "more than one column 'a'"),
        ("1,2,3\n4,5,6\n", "no row that names its columns"),
        ("Slice,a\n", "holds no table"),
        ("Slice,Dice\n1,0.5\n", "--areas"),
        ("Slice,a\nMean,3.5\n", "no area of a slice"),
        ("slice,slice_position_mm,psoas mm²\n1,2,3\n", "is a table of autoseg"),
        ("Slice,a (old),factor,a\n1,2,0.5,1\n", "put right already"),
    ],
)
def test_what_leaves_a_number_open_is_refused(tmp_path, text, words):
    with pytest.raises(ReadError) as error:
        _read(tmp_path, text)
    assert words in str(error.value)


def test_the_decimal_sign_can_be_typed(tmp_path):
    text = "Slice;a\n1;1,239\n"
    assert _areas(_read(tmp_path, text, decimal="comma")) == [[1.239]]
    assert _areas(_read(tmp_path, text, decimal="point")) == [[1239.0]]
    with pytest.raises(ReadError, match="has no column b"):
        _read(tmp_path, text, areas=["b"], decimal="point")


def test_a_workbook_is_no_text(tmp_path):
    path = tmp_path / "old.xlsx"
    path.write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(ReadError, match="as CSV, not as a workbook"):
        read_old_table(path)
    with pytest.raises(ReadError, match="cannot be read"):
        read_old_table(tmp_path / "gone.csv")
