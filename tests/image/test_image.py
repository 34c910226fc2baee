"""Images and label maps: valid once built."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import DataError, GeometryError, LabelError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import COLOURS, Structure, default_colour

AFFINE = affine_from_spacing((5.0, 0.5, 0.25))
PSOAS = (Structure(1, "psoas left", side="left"), Structure(2, "psoas right", side="right"))


def test_an_uncalibrated_image_has_no_millimetres():
    image = Image(np.zeros((1, 4, 4)), source=Source(slices=(SliceSource(Path("scan/a.dcm")),)))
    for ask in ("spacing_mm", "pixel_mm2", "slice_positions_mm"):
        with pytest.raises(GeometryError, match=r"a\.dcm has no pixel spacing.*field of view"):
            getattr(image, ask)


def test_a_slice_keeps_its_number_wherever_it_is_cut_out():
    whole = Image(np.zeros((6, 4, 4)), AFFINE)
    assert [whole.say_slice(index) for index in (0, 5)] == ["slice 1 of 6", "slice 6 of 6"]
    one = whole.one_slice(4)
    assert (one.slice_number(0), one.say_slice(0)) == (5, "slice 5")
    part = Image(np.zeros((3, 4, 4)), AFFINE, source=Source(first_slice=4))
    assert (part.slice_number(2), part.say_slice(1)) == (6, "slice 5 (4 to 6)")
    assert part.one_slice(1).slice_number(0) == 5


def test_geometry_comes_from_the_affine():
    image = Image(np.zeros((3, 4, 6)), AFFINE)
    assert image.shape == (3, 4, 6)
    assert image.spacing_mm == (5.0, 0.5, 0.25)
    assert image.pixel_mm2 == 0.125
    assert image.slice_positions_mm.tolist() == [0, 5, 10]
    assert "3 slices of 4 × 6, 0.5 × 0.25 mm, slices every 5 mm" in repr(image)


def test_channels_stand_in_front():
    image = Image(np.zeros((2, 3, 4, 6)), AFFINE, channels=("t1", "t2"))
    assert image.shape == (3, 4, 6)
    assert image.channel_voxels.shape == (2, 3, 4, 6)
    with pytest.raises(DataError, match=r"the names .* do not fit its channels, of which there are 2"):
        Image(np.zeros((2, 3, 4, 6)), AFFINE)
    with pytest.raises(DataError, match="axes"):
        Image(np.zeros((4, 6)), AFFINE)
    with pytest.raises(DataError, match="empty"):
        Image(np.zeros((0, 4, 6)), AFFINE)
    with pytest.raises(DataError, match="2 slices but 1 slice sources"):
        Image(np.zeros((2, 4, 6)), AFFINE, source=Source(slices=(SliceSource(Path("a")),)))


def test_a_value_without_a_name_is_told_with_the_known_ones():
    voxels = np.zeros((1, 4, 4), dtype=np.uint8)
    voxels[0, 0, 0] = 7
    with pytest.raises(LabelError, match=r"label 7 without a name.*psoas left.*structures\.csv"):
        LabelMap(voxels, AFFINE, PSOAS)
    negative = np.full((1, 4, 4), -1, dtype=np.int16)
    with pytest.raises(LabelError, match=r"label -1 without"):
        LabelMap(negative, AFFINE, PSOAS)
    with pytest.raises(LabelError, match="integers"):
        LabelMap(np.zeros((1, 4, 4)), AFFINE, PSOAS)


def test_not_drawn_is_not_the_same_as_absent():
    voxels = np.zeros((1, 4, 4), dtype=np.uint8)
    assert LabelMap(voxels, AFFINE, PSOAS).annotated == {1, 2}
    partly = LabelMap(voxels, AFFINE, PSOAS, annotated=frozenset({2}))
    assert not partly.is_annotated(1)
    assert partly.is_annotated(2)
    with pytest.raises(LabelError, match=r"annotated is label 3 without a name"):
        LabelMap(voxels, AFFINE, PSOAS, annotated=frozenset({3}))


def test_another_shape_is_never_stretched():
    label_map = LabelMap(np.zeros((1, 5, 4), dtype=np.uint8), None, PSOAS, source=Source(case_id="p01 label"))
    image = Image(np.zeros((1, 4, 4)), AFFINE, source=Source(case_id="p01"))
    with pytest.raises(LabelError, match=r"\(1, 5, 4\).*\(1, 4, 4\)"):
        label_map.on_grid_of(image)
    fitting = LabelMap(np.zeros((1, 4, 4), dtype=np.uint8), None, PSOAS).on_grid_of(image)
    assert fitting.same_grid(image)
    assert fitting.source.case_id == "p01"


def test_structures_are_checked_and_coloured():
    assert [Structure(i, f"s{i}").rgb for i in range(1, 8)] == list(COLOURS)
    assert len({default_colour(i) for i in range(1, 22)}) == 21
    assert min(max(default_colour(i)) for i in range(1, 256)) > 60  # none is lost on black
    for bad, words in (
        ({"label": 0, "name": "x"}, "0 is the background"),
        ({"label": 256, "name": "x"}, "1 to 255"),
        ({"label": 1, "name": " "}, "empty name"),
        ({"label": 1, "name": "x", "side": "top"}, "left, right"),
        ({"label": 1, "name": "x", "colour": (1, 2, 300)}, "0 to 255"),
    ):
        with pytest.raises(LabelError, match=words):
            Structure(**bad)
    with pytest.raises(LabelError, match="label 1 more than once"):
        LabelMap(np.zeros((1, 2, 2), dtype=np.uint8), None, (Structure(1, "a"), Structure(1, "b")))
    with pytest.raises(LabelError, match=r"name psoas more than once"):
        LabelMap(np.zeros((1, 2, 2), dtype=np.uint8), None, (Structure(1, "psoas"), Structure(2, "Psoas")))


def test_they_pickle():
    label_map = LabelMap(np.ones((1, 2, 2), dtype=np.uint8), AFFINE, PSOAS, annotated=frozenset({1}))
    copy = pickle.loads(pickle.dumps(label_map))
    assert copy.annotated == {1}
    assert copy.structures == PSOAS
    assert copy.same_grid(label_map)
