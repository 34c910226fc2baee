from dataclasses import replace

import numpy as np
import pytest

from autoseg.errors import DataError, OutputError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.panels.parts.area_table import AreaTable, table_content
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.report.area_tables import areas_table

CORD = (Structure(1, "cord", (9, 8, 7), includes=(2,)), Structure(2, "grey matter"))


def label_map(case_id="series-1", *, annotated=None, gap=False):
    voxels = np.zeros((5, 40, 40), np.uint8)
    voxels[1:, 5:30, 5:30] = 1
    voxels[1:, 10:20, 10:20] = 2
    if gap:
        voxels[2] = 0
    source = Source(case_id, "SUBJECT7", spacing_source="header", slice_spacing_source="header")
    return LabelMap(voxels, affine_from_spacing((3.0, 0.9375, 0.9375)), CORD, annotated, source)


def rows_of(*label_maps):
    return [row for drawn in label_maps for row in measure_areas(drawn)]


def asked(table, monkeypatch, message):
    got = []
    monkeypatch.setattr(table, "send", lambda content, buffers=None: got.append((content, buffers)))
    table._handle_custom_msg(message, [])
    return got


def test_cells_and_statistics_are_those_of_the_table():
    rows = rows_of(label_map(gap=True))
    (block,) = table_content(rows)["blocks"]
    table = areas_table(rows)
    shown = [[row["number"], row["position"], *row["cells"]] for row in block["rows"]]
    wide = table[["slice", "slice_position_mm", "cord mm²", "grey matter mm²"]]
    assert shown == wide[:5].to_numpy().tolist()
    assert [row["slice"] for row in block["rows"]] == [0, 1, 2, 3, 4]  # places, for programs
    assert [word for word, _ in block["statistics"]] == list(table["slice"][5:])
    assert [values for _, values in block["statistics"]] == wide.iloc[5:, 2:].to_numpy().tolist()
    assert block["title"] == ""


def test_flags_stand_at_their_cell_in_words():
    (block,) = table_content(rows_of(label_map(gap=True)))["blocks"]
    flags = [row["flags"] for row in block["rows"]]
    assert [bool(flag) for flag in flags] == [False, False, True, False, False]
    assert flags[2]["0"].startswith("is missing here")


def test_what_is_cut_off_is_marked_and_told():
    rows = [replace(row, touches_edge=row.slice_index == 2 and row.label == 1) for row in rows_of(label_map())]
    (block,) = table_content(rows)["blocks"]
    assert [row["cut"] for row in block["rows"]] == [[], [], [0], [], []]
    assert dict(block["statistics"])["n"][0] == 3
    table = AreaTable(rows)
    table.select("series-1", 2, 1)
    assert table.explanation.startswith("Slice 3, cord: at least 549.3 mm² (cut off) = 625 pixels × ")


def test_what_was_not_drawn_is_no_number():
    rows = rows_of(label_map(annotated=frozenset({1})), label_map("series-2"))
    first, second = table_content(rows)["blocks"]
    assert [row["cells"][1] for row in first["rows"]] == [None] * 5
    assert second["rows"][3]["cells"][1] == pytest.approx(100 * 0.9375**2)
    assert [values[1] for word, values in first["statistics"] if not word.startswith("n")] == [None] * 4
    assert (first["title"], second["title"]) == ("series-1", "series-2")


def test_columns_have_the_structures_colours_and_enough_digits():
    rows = rows_of(label_map())
    cord, grey = table_content(rows, CORD)["columns"]
    assert (cord["name"], cord["colour"], cord["label"]) == ("cord", [9, 8, 7], 1)
    assert (cord["decimals"], grey["decimals"]) == (1, 2)  # 549.3 and 87.89
    assert table_content([])["blocks"] == []


def test_one_name_is_one_column_whatever_its_label():
    other = [replace(row, label=row.label + 10, case_id="series-2") for row in rows_of(label_map())]
    content = table_content([*rows_of(label_map()), *other])
    assert [column["name"] for column in content["columns"]] == ["cord", "grey matter"]
    assert [block["rows"][1]["labels"] for block in content["blocks"]] == [{}, {"0": 11, "1": 12}]


def test_patients_are_named_only_if_asked():
    singles = [replace(row, case_id=f"image-{row.slice_index}", slice_index=0) for row in rows_of(label_map())]
    (hidden,) = table_content(singles)["blocks"]
    assert "SUBJECT7" not in str(hidden)
    assert hidden["single"]
    (shown,) = table_content(singles, show_ids=True)["blocks"]
    assert shown["title"] == "all of SUBJECT7"
    assert "SUBJECT7" not in str(AreaTable(singles)._content)


def test_a_chosen_cell_is_explained():
    table = AreaTable(rows_of(label_map(gap=True)), CORD)
    assert table.selected is None
    assert table.explanation == ""
    table.select("series-1", 3, 1)
    assert table.explanation == (
        "Slice 4, cord: 549.3 mm² = 625 pixels × 0.8789 mm² (header); grey matter inside it is counted too"
    )
    table.select("series-1", 2, 2)
    assert "⚠ The structure is missing here" in table.explanation
    table.select("series-1", 2)
    assert table.explanation == ""
    table.selected = None
    assert table._line == {"selected": None, "text": ""}


def test_a_cell_has_its_interval_and_what_dice_is_expected():
    rows = [
        replace(row, suitability="amber", expected_dice=0.6 + row.slice_index / 10, interval_level=0.9)
        for row in rows_of(label_map())
    ]
    rows = [replace(row, area_low_mm2=0.9 * row.area_mm2, area_high_mm2=1.2 * row.area_mm2) for row in rows]
    rows[2] = replace(rows[2], flags="poor")
    table = AreaTable(rows, CORD)
    content, (block,) = table._content, table._content["blocks"]
    assert (content["interval"], content["lights"], block["light"]["words"]) == ("90 %", True, "Amber: look twice")
    cord = rows[2].area_mm2
    assert block["rows"][1]["intervals"]["0"] == [0.9 * cord, 1.2 * cord]
    assert block["rows"][1]["dice"]["0"] == "expected Dice 0.70 – look"
    assert block["rows"][2]["dice"]["0"] == "expected Dice 0.80"
    table.select("series-1", 1, 1)
    assert "; 90 % interval 494–659 mm²; expected Dice 0.70 – look. ⚠ The structure" in table.explanation
    assert table.explanation.endswith("it. Amber: look twice.")
    table.select("series-1", 2, 1)
    assert table.explanation.endswith("expected Dice 0.80. Amber: look twice.")


def test_where_nothing_is_known_nothing_is_said():
    content = table_content(rows_of(label_map()))
    assert (content["interval"], content["lights"], content["blocks"][0]["light"]) == ("", False, None)
    assert all(row["intervals"] == row["dice"] == {} for row in content["blocks"][0]["rows"])


def test_the_page_chooses_as_a_script_does():
    table = AreaTable(rows_of(label_map(), label_map("series-2")))
    table.set_state({"selected": {"case_id": "series-2", "slice_index": 4, "label": 2}})
    assert table.selected == {"case_id": "series-2", "slice_index": 4, "label": 2}
    assert table.explanation.startswith("series-2, slice 5, grey matter: 87.89 mm² = 100 pixels")


@pytest.mark.parametrize("cell", [("series-9", 0, 1), ("series-1", 7, 1), ("series-1", 0, 5)])
def test_a_cell_that_is_not_there_is_refused(cell):
    table = AreaTable(rows_of(label_map()))
    with pytest.raises(DataError, match="no area"):
        table.select(*cell)
    assert table.selected is None


def test_the_viewer_follows():
    drawn = label_map()
    image = Image(np.zeros(drawn.shape), drawn.affine, source=drawn.source)
    viewer, table = SliceViewer([(image, drawn)]), AreaTable(rows_of(drawn))
    table.lead(viewer)
    table.select("series-1", 4, 2)
    assert (viewer.slice_index, viewer.highlight) == (4, 2)
    table.selected = None
    assert (viewer.slice_index, viewer.highlight) == (4, 2)


def test_downloads_are_exactly_the_bytes_given(monkeypatch):
    made = []

    def workbook():
        made.append(1)
        return b"PK\x00\xff"

    table = AreaTable(rows_of(label_map()), files={"areas.csv": b"\xef\xbb\xbfa\r\n", "areas.xlsx": workbook})
    assert table._content["files"] == ["areas.csv", "areas.xlsx"]
    assert made == []  # made at the click, not before
    assert asked(table, monkeypatch, {"file": "areas.csv"}) == [({"file": "areas.csv"}, [b"\xef\xbb\xbfa\r\n"])]
    assert asked(table, monkeypatch, {"file": "areas.xlsx"}) == [({"file": "areas.xlsx"}, [b"PK\x00\xff"])]
    assert asked(table, monkeypatch, {"file": "../secret"}) == []
    assert asked(table, monkeypatch, "nonsense") == []


def test_a_file_that_cannot_be_made_says_why(monkeypatch):
    def broken():
        raise OutputError("areas.csv is gone. Predict again.")

    table = AreaTable(rows_of(label_map()), files={"areas.csv": broken, "areas.xlsx": lambda: 1 / 0})
    assert asked(table, monkeypatch, {"file": "areas.csv"}) == [
        ({"file": "areas.csv", "failed": "areas.csv is gone. Predict again."}, None)
    ]
    ((answer, _),) = asked(table, monkeypatch, {"file": "areas.xlsx"})
    assert answer["failed"].startswith("areas.xlsx could not be made")


def test_blocks_of_several_patients_say_whose_they_are():
    names = {"series-1": "Doe", "series-2": "Roe"}
    rows = rows_of(label_map("series-1"), label_map("series-2"))
    measured_twice = [replace(row, subject_id=names[row.case_id]) for row in rows]
    titles = [block["title"] for block in table_content(measured_twice)["blocks"]]
    assert titles == ["patient 1: series-1", "patient 2: series-2"]
    titles = [block["title"] for block in table_content(measured_twice, show_ids=True)["blocks"]]
    assert titles == ["Doe: series-1", "Roe: series-2"]
