import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.kit import write_kit
from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.nifti.volumes import read_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.panels.parts import viewer as module
from autoseg.panels.parts.viewer import GreyScale, SliceViewer, decode_slice

CORD = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter", (1, 2, 3)))


def result(case_id="series-1", *, slices=6, drawn=None, annotated=None, spaced="header"):
    rng = np.random.default_rng(3)
    voxels = rng.integers(-1000, 2000, (slices, 20, 30)).astype(np.int16)
    labels = np.zeros(voxels.shape, np.uint8)
    for index in range(2, slices) if drawn is None else drawn:
        labels[index, 4:16, 4:20] = 1
        labels[index, 8:12, 8:12] = 2
    levels = tuple(SliceSource(Path("a.dcm"), level="L3" if index == 2 else "") for index in range(slices))
    source = Source(case_id, spacing_source="header", slice_spacing_source=spaced, slices=levels)
    affine = affine_from_spacing((3.0, 1.0, 0.5), (0.0, 0.0, -7.5))
    return Image(voxels, affine, source=source), LabelMap(labels, affine, CORD, annotated, source)


def build(*results, **more):
    rows = [row for image, label_map in results for row in measure_areas(label_map, image=image)]
    return SliceViewer(results, rows, **more)


class Page:
    """Stands in for the browser: asks the viewer, and keeps what it sends."""

    def __init__(self, viewer, monkeypatch):
        self.viewer, self.got = viewer, []
        monkeypatch.setattr(viewer, "send", lambda content, buffers=None: self.got.append((content, buffers)))

    def ask(self, content):
        self.viewer._handle_custom_msg(content, [])
        got, self.got = self.got, []
        return got

    def set(self, **state):
        self.viewer.set_state(state)


@pytest.fixture
def page(monkeypatch):
    return Page(build(result(), result("series-2", slices=3)), monkeypatch)


def test_a_slice_arrives_as_it_is(page):
    ((content, buffers),) = page.ask({"image": 0, "slices": [3]})
    image, label_map = page.viewer.results[0]
    assert (content["image"], content["slice"], content["labels"], content["reference"]) == (0, 3, True, False)
    first, step, most = page.viewer._images[0]["scale"]
    grey = decode_slice(zlib.decompress(buffers[0]), GreyScale(first, step, most), (20, 30))
    assert (grey == image.voxels[3]).all()
    labels = np.frombuffer(zlib.decompress(buffers[1]), np.uint8).reshape(20, 30)
    assert (labels == label_map.voxels[3]).all()


def test_areas_travel_with_their_slice(page):
    ((content, _),) = page.ask({"image": 0, "slices": [3]})
    # 12 x 16 pixels of 0.5 mm²: the inner structure is counted too.
    assert content["areas"]["1"] == {
        **{"area": "96", "interval": "", "pixels": 192, "flags": "", "dice": "", "poor": False}
    }
    assert (content["areas"]["2"]["area"], content["areas"]["2"]["pixels"]) == ("8", 16)
    ((empty, _),) = page.ask({"image": 0, "slices": [0]})
    assert (empty["areas"]["1"]["area"], empty["areas"]["1"]["pixels"]) == ("0", 0)


def test_interval_and_expected_dice_stand_beside_the_area():
    image, label_map = result()
    known = {"expected_dice": 0.62, "expected_error_percent": 24.3, "flags": "poor", "interval_level": 0.9}
    rows = [replace(row, suitability="red", **known) for row in measure_areas(label_map)]
    rows = [replace(row, area_low_mm2=0.9 * row.area_mm2, area_high_mm2=1.25 * row.area_mm2) for row in rows]
    viewer = SliceViewer([(image, label_map)], rows, withheld="The light is red.")
    shown = viewer._images[0]
    assert (shown["level"], shown["light"]["light"], list(shown["flagged"])) == ("90 %", "red", list("012345"))
    assert viewer.slice_message(0, 3)[0]["areas"] == {}
    viewer.withheld = ""
    cord = viewer.slice_message(0, 3)[0]["areas"]["1"]
    assert (cord["interval"], cord["dice"]) == ("86.4–120", "expected Dice 0.62, area about 24 % off – look")


def test_slices_come_one_by_one_in_the_order_asked(page):
    answers = page.ask({"image": 1, "slices": [2, 0, 1]})
    assert [(content["image"], content["slice"]) for content, _ in answers] == [(1, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    "nonsense",
    [
        "text",
        None,
        {},
        {"image": 9, "slices": [0]},
        {"image": "0", "slices": [0]},
        {"image": 0, "slices": [-1, 6, "1"]},
    ],
)
def test_nonsense_is_not_answered(page, nonsense):
    assert page.ask(nonsense) == []


def test_one_message_cannot_ask_for_everything(monkeypatch):
    page = Page(build(result(slices=40)), monkeypatch)
    assert len(page.ask({"image": 0, "slices": list(range(40))})) == module.MOST_SLICES_AT_ONCE


def test_the_page_learns_what_it_needs_to_know():
    viewer = build(result(drawn=(2, 4)), result("series-2", slices=3, spaced="none"))
    first, second = viewer._images
    assert (first["slices"], first["rows"], first["columns"], first["aspect"]) == (6, 20, 30, 2.0)
    assert first["positions"] == [-7.5, -4.5, -1.5, 1.5, 4.5, 7.5]
    assert second["positions"] is None  # a placeholder's millimetres are never shown
    assert first["levels"] == ["", "", "L3", "", "", ""]
    assert first["letters"] == ["R", "L", "A", "P"]
    assert first["structures"][1]["colour"] == [1, 2, 3]
    assert first["structures"][0]["includes"] == [2]
    assert list(first["flagged"]) == ["3"]
    assert "cord is missing here" in first["flagged"]["3"]
    assert second["flagged"] == {}


def test_distances_follow_a_sheared_grid_and_have_no_millimetres_without_a_source():
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0.3, 2], [0, 1.5, 0], [4, 0, 0]]  # columns: slice, row, column
    down, both, right = SliceViewer([(Image(np.zeros((2, 4, 8)), affine), None)])._images[0]["metric"]
    way = affine[:3, 1] * 3 - affine[:3, 2] * 5  # three rows down, five columns to the left
    assert down * 9 + 2 * both * 3 * -5 + right * 25 == pytest.approx(way @ way)
    assert SliceViewer([(Image(np.zeros((2, 4, 8))), None)])._images[0]["metric"] is None


def test_the_page_learns_where_a_voxel_has_no_number():
    voxels = np.zeros((2, 4, 8))
    voxels[1, 2, 3] = np.nan
    viewer = SliceViewer([(Image(voxels), None)])
    assert [viewer.slice_message(0, index)[0]["gaps"] for index in (0, 1)] == [False, True]


def test_slices_come_in_little_for_the_strip(page):
    page.viewer._stroke = 3
    ((content, buffers),) = page.ask({"image": 0, "slices": [4, 2, 9], "small": True})
    # Pixels are twice as high as wide: 20 rows of 30 columns become 96 rows of 72.
    assert content == {"small": {"image": 0, "slices": [4, 2], "shape": [96, 72], "labels": True, "stroke": 3}}
    image, label_map = page.viewer.results[0]
    labels = np.frombuffer(zlib.decompress(buffers[1]), np.uint8).reshape(2, 96, 72)
    rows, columns = ((np.arange(n) + 0.5) * old // n for n, old in ((96, 20), (72, 30)))
    for small, index in zip(labels, (4, 2), strict=True):
        assert np.array_equal(small, label_map.voxels[index][np.ix_(rows.astype(int), columns.astype(int))])
    first, step, most = page.viewer._images[0]["scale"]
    grey = decode_slice(zlib.decompress(buffers[0]), GreyScale(first, step, most), (2, 96, 72))
    assert grey[0, 0, 0] == image.voxels[4, 0, 0]
    assert page.ask({"image": 0, "slices": [9], "small": True}) == []


def test_it_begins_where_something_is_drawn():
    assert build(result(drawn=(1,))).slice_index == 1
    assert build(result(drawn=())).slice_index == 3


def test_what_was_not_drawn_is_told_apart_from_what_is_absent():
    viewer = build(result(annotated=frozenset({1})))
    assert [structure["drawn"] for structure in viewer._images[0]["structures"]] == [True, False]
    assert "2" not in viewer.slice_message(0, 3)[0]["areas"]


def test_show_goes_to_slice_and_structure():
    viewer = build(result(), result("series-2", slices=3))
    seen = []
    viewer.observe(lambda change: seen.append((change["name"], change["new"])), ["image_index", "slice_index"])
    viewer.show("series-2", 2, 1)
    assert (viewer.image_index, viewer.slice_index, viewer.highlight) == (1, 2, 1)
    viewer.show("series-1", 5)
    assert (viewer.image_index, viewer.slice_index, viewer.highlight) == (0, 5, 0)
    assert ("slice_index", 5) in seen


@pytest.mark.parametrize(("case_id", "index", "words"), [("other", 0, "series-1"), ("series-1", 6, "0 to 5")])
def test_show_says_what_there_is(case_id, index, words):
    with pytest.raises(DataError, match=words):
        build(result()).show(case_id, index)


def test_indices_stay_inside(page):
    page.set(image_index=1, slice_index=2)  # as the page sends them, in one message
    assert (page.viewer.image_index, page.viewer.slice_index) == (1, 2)
    page.viewer.slice_index = 99
    assert page.viewer.slice_index == 2
    page.viewer.image_index, page.viewer.slice_index = 0, 5
    page.viewer.image_index = 1
    assert 0 <= page.viewer.slice_index < 3


def test_images_without_labels_and_with_an_experts(monkeypatch):
    image, label_map = result()
    alone = SliceViewer([(image, None)])
    assert alone._images[0]["structures"] == []
    assert len(alone.slice_message(0, 0)[1]) == 1
    beside = SliceViewer([(image, None)], references=[label_map])
    content, buffers = beside.slice_message(0, 3)
    assert (content["labels"], content["reference"], len(buffers)) == (False, True, 2)
    assert (np.frombuffer(zlib.decompress(buffers[1]), np.uint8) == label_map.voxels[3].ravel()).all()
    both = SliceViewer([(image, label_map)], references=[label_map])
    assert len(both.slice_message(0, 3)[1]) == 3
    assert len(both._images[0]["structures"]) == 2


def test_uncalibrated_images_are_shown_without_millimetres():
    viewer = SliceViewer([(Image(np.zeros((2, 4, 8))), None)])
    described = viewer._images[0]
    assert (described["positions"], described["aspect"], described["letters"]) == (None, 1.0, ["", "", "", ""])


def test_ct_begins_with_soft_tissue():
    voxels = np.full((2, 50, 50), -1000, np.int16)
    voxels[:, 10:40, 10:40] = 50
    described = SliceViewer([(Image(voxels), None)])._images[0]
    assert described["windows"][described["window"]][0] == "soft tissue"
    assert build(result())._images[0]["window"] == 0


def test_what_cannot_be_shown_is_refused():
    image, label_map = result()
    with pytest.raises(DataError, match="no image"):
        SliceViewer([])
    with pytest.raises(DataError, match="series-1"):
        SliceViewer([(image, None), (image, None)])
    with pytest.raises(DataError, match="references"):
        SliceViewer([(image, None)], references=[None, None])
    smaller = LabelMap(label_map.voxels[:, :5], None, CORD)
    with pytest.raises(LabelError, match="shape"):
        SliceViewer([(image, smaller)])


def test_a_click_is_handed_on_with_its_place(page):
    got = []
    page.ask({"click": [0, 3, 4.5, 7.0]})  # nobody asked for clicks
    page.viewer.on_click(lambda *place: got.append(place), hint="Click the middle.")
    assert page.viewer._click_hint == "Click the middle."
    for click in ([0, 3, 4.5, 7.0], [1, 2, -0.5, 29.5]):
        assert page.ask({"click": click}) == []
    assert got == [(0, 3, 4.5, 7.0), (1, 2, -0.5, 29.5)]
    inf, nan = float("inf"), float("nan")
    for nonsense in (
        *([2, 0, 1, 1], [-1, 0, 1, 1], [0, 6, 1, 1], [0, -1, 1, 1], [0, 0, 19.6, 1], [0, 0, 1, -0.6]),
        *([0, 0, inf, 1], [0, 0, nan, 1], [0, 0, "1", 1], [0, 0, 1], None, 3, {}),
    ):
        page.ask({"click": nonsense})
    assert len(got) == 2


def test_marks_reach_the_page():
    viewer = build(result())
    viewer.marks = [
        module.mark((3, 4.5, 7), text="1"),
        module.mark((3, 4, 7), image=1, colour="#fff", size=(6, 8)),
    ]
    cross, box = viewer.get_state("marks")["marks"]
    assert cross == {"image": 0, "slice": 3, "row": 4.5, "column": 7.0, "colour": "#ffe100", "text": "1"}
    assert (box["size"], box["image"]) == ([6.0, 8.0], 1)
    assert "text" not in box


def test_further_slices_are_flagged_and_outlines_named():
    image, label_map = result(drawn=(2, 4))
    flags = {("series-1", 3): "was changed", ("series-1", 0): "was changed", ("series-9", 1): "of another"}
    viewer = build((image, label_map), references=[label_map], reference_name="before", flags=flags)
    flagged = viewer._images[0]["flagged"]
    assert flagged["0"] == "was changed"
    assert "cord is missing here" in flagged["3"]
    assert flagged["3"].endswith("; was changed")
    assert set(flagged) == {"0", "3"}
    assert viewer._reference_name == "before"
    assert build(result())._reference_name == "expert's outline"


def test_the_script_and_the_style_are_whole_and_ask_no_server():
    for name in ("viewer.js", "viewer.css", "area_table.js", "area_table.css"):
        text = (Path(module.__file__).parent / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!\))|\bimport\b .* from|@import|fetch\(", text), name
    assert "data-lm-suppress-shortcuts" in str(SliceViewer._esm)


def test_a_stack_is_offered_cut_from_the_side_and_from_the_front():
    image, label_map = result()
    viewer = SliceViewer([(image, label_map)], references=[label_map], cuts=True)
    assert [one["name"] for one in viewer._images] == ["series-1", "series-1, sagittal", "series-1, coronal"]
    # Slices 3 mm apart, rows 1 mm, columns 0.5 mm: a row of a sagittal cut is three times as high as it is wide.
    assert [one["aspect"] for one in viewer._images] == [2, 3, 6]
    assert [one["letters"] for one in viewer._images[1:]] == [["A", "P", "H", "F"], ["R", "L", "H", "F"]]
    assert [(one["slices"], one["rows"], one["columns"]) for one in viewer._images[1:]] == [
        (30, 6, 20),
        (20, 6, 30),
    ]
    description, parts = viewer.slice_message(1, 8)
    labels = np.frombuffer(zlib.decompress(parts[1]), np.uint8).reshape(6, 20)
    # The last slice lies towards the head, which is above.
    assert np.array_equal(labels, label_map.voxels[::-1, :, 8])
    assert description["areas"] == {}
    viewer.show("series-1, coronal", 5)
    assert viewer.image_index == 2


def test_no_cut_is_offered_where_distances_are_unknown():
    assert len(SliceViewer([result(spaced="none")], cuts=True)._images) == 1


# --- drawing


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    results = [result(), result("series-2", slices=3)]
    viewer = build(*results, cuts=True)
    drawing = Drawing(write_kit(tmp_path / "kit", results), results, by="AB")
    page = Page(viewer, monkeypatch)
    viewer.draw(drawing)
    page.got.clear()
    return page, drawing


def stroke(number, tool="brush", **more):
    return {"draw": {"tool": tool, "number": number, "image": 0, "slice": 3, "label": 1, "size": 5, **more}}


def test_a_stroke_comes_back_with_its_area_and_is_on_the_disk(drawn, tmp_path):
    page, drawing = drawn
    before = page.ask({"image": 0, "slices": [3]})[0][0]["areas"]
    (content, buffers), waiting, saved = page.ask(stroke(1, points=[[16, 25]]))
    # Pixels are 1 × 0.5 mm: 3 + 5 + 3 of them, of 0.5 mm².
    assert (content["areas"]["1"]["area"], content["areas"]["1"]["pixels"]) == ("101.5", 203)
    assert content["areas"]["2"] == before["2"]
    labels = np.frombuffer(zlib.decompress(buffers[1]), np.uint8).reshape(20, 30)
    assert np.array_equal(labels, drawing.label_map(0).voxels[3])
    assert (content["stroke"], waiting[0]["drawing"]["saved"], saved[0]["drawing"]["saved"]) == (1, False, True)
    assert np.array_equal(read_nifti(tmp_path / "kit" / "series-1_labels.nii.gz")[0][3], labels)
    assert page.viewer._corrected == [[0, 3]]
    (undone, _), _, state = page.ask(stroke(2, "undo"))
    assert undone["areas"] == before
    assert page.viewer._corrected == []
    assert state[0]["drawing"] == {
        **{"undo": False, "redo": True, "said": "", "saved": True, "stroke": 2, "where": []},
    }


def test_the_page_limits_a_stroke_smooths_and_fills(drawn):
    page, drawing = drawn
    grey, now = drawing.images[0].voxels[3], drawing.label_map(0).voxels
    page.ask(stroke(1, points=[[5, 25]], size=7, within=[-2000, 400]))
    painted = now[3] != drawing.original(0).voxels[3]
    assert painted.any()
    assert grey[painted].max() <= 400
    page.ask(stroke(2, "holes"))
    page.ask(stroke(3, "smooth"))
    (content, _), _, saved = page.ask(stroke(4, "smooth", label=2))
    assert (content["slice"], saved[0]["drawing"]["said"]) == (3, "")
    assert content["areas"]["2"]["pixels"] == 16  # the area is kept


def test_the_images_of_a_run_are_never_changed_by_drawing(drawn):
    page, drawing = drawn
    _, label_map = result()
    page.ask(stroke(1, points=[[18, 25]]))
    assert np.array_equal(drawing.original(0).voxels, label_map.voxels)
    assert page.viewer.results[0][1].voxels[3].sum() == label_map.voxels[3].sum() + 11


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tool": "spray"}, "no tool 'spray'"),
        ({"image": 2}, "not drawn in"),  # a cut from the side
        ({"image": "0"}, "not drawn in"),
        ({"slice": 6}, "no such slice"),
        ({"label": 9}, "no structure with the label 9"),
        ({"points": [[1]]}, "no place"),
        ({"points": 3}, "no place"),
        ({"points": [[1, float("nan")]]}, "no place"),
        ({"size": 1e9}, "no place"),
        ({"tool": "polygon", "points": [[1, 1]]}, "three corners"),
        ({"within": [3, None]}, "Type two grey values"),
        ({"within": 3}, "Type two grey values"),
        ({"within": [30, 20]}, "between 30 and 20"),
        ({"within": [float("nan"), 20]}, "between nan and 20"),
    ],
)
def test_a_stroke_that_makes_no_sense_is_said_and_changes_nothing(drawn, more, words):
    page, drawing = drawn
    answers = page.ask({"draw": stroke(1, points=[[1, 1]])["draw"] | more})
    assert words in answers[-1][0]["drawing"]["said"]
    assert not any(drawing.is_changed((0, index)) for index in range(6))


def test_what_cannot_be_saved_is_said_and_saved_with_the_next_stroke(drawn, tmp_path, monkeypatch):
    page, drawing = drawn

    def full(labels, path):
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr("autoseg.files.nifti.volumes.PackedLabels.write", full)
        state = page.ask(stroke(1, points=[[18, 25]]))[-1][0]["drawing"]
    assert (state["said"], state["saved"]) == ("Not saved: The disk is full.", False)
    page.ask(stroke(2, points=[[2, 25]]))
    saved = read_nifti(tmp_path / "kit" / "series-1_labels.nii.gz")[0]
    assert np.array_equal(saved, drawing.label_map(0).voxels)


def test_after_the_end_nobody_draws(drawn):
    page, drawing = drawn
    page.viewer.end_drawing()
    assert page.ask(stroke(1, points=[[18, 25]])) == []
    assert not drawing.is_changed((0, 3))
