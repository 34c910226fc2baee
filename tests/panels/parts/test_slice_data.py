from pathlib import Path

import numpy as np
import pytest

from autoseg.files.dicom.grids import plan_grids
from autoseg.files.dicom.records import SliceHeader
from autoseg.image.calibration import calibrate
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.panels.parts.viewer import (
    decode_slice,
    edge_letters,
    encode_slice,
    grey_scale,
    intensity_range,
    looks_like_ct,
    windows,
)


def round_trip(voxels):
    scale = grey_scale(voxels)
    back = [decode_slice(encode_slice(part, scale), scale, part.shape) for part in voxels]
    return np.stack(back), scale


@pytest.mark.parametrize(
    ("low", "high", "dtype", "most"),
    [
        (0, 255, np.uint8, 255),
        (-1024, 3071, np.int16, 65535),
        (10, 265, np.int32, 255),
        (0, 65535, np.uint16, 65535),
    ],
)
def test_whole_numbers_come_back_exactly(low, high, dtype, most):
    voxels = np.random.default_rng(0).integers(low, high + 1, (3, 8, 9)).astype(dtype)
    voxels[0, 0, :2] = low, high
    back, scale = round_trip(voxels)
    assert (back == voxels).all()
    assert scale.most == most


def test_whole_numbers_held_as_floats_come_back_exactly():
    voxels = np.random.default_rng(0).integers(-1024, 3000, (2, 8, 8)).astype(np.float64)
    back, scale = round_trip(voxels)
    assert scale.step == 1
    assert (back == voxels).all()


def test_fractions_lose_less_than_an_eye_sees():
    voxels = np.random.default_rng(0).normal(0.4, 0.1, (2, 64, 64))
    back, _ = round_trip(voxels)
    assert np.abs(back - voxels).max() < (voxels.max() - voxels.min()) / 65535


def test_a_spike_does_not_cost_the_rest_its_greys():
    voxels = np.random.default_rng(0).normal(100, 10.0, (2, 64, 64))
    voxels[0, 0, 0], voxels[0, 0, 1] = 1e12, -np.inf
    back, _ = round_trip(voxels)
    assert np.abs(back - voxels)[np.isfinite(voxels) & (voxels < 1e11)].max() < 0.05
    assert back[0, 0, 1] == back.min()


def test_large_integers_and_nothing_finite_are_taken():
    back, scale = round_trip(np.array([[[0, 10_000_000]]], np.int64))
    assert scale.most == 65535
    assert back[0, 0].tolist() == pytest.approx([0, 10_000_000], rel=1e-4)
    empty = np.full((1, 2, 2), np.nan)
    assert intensity_range(empty) == (0.0, 0.0)
    assert np.isfinite(round_trip(empty)[0]).all()
    assert windows(empty)[0].width > 0


def test_ct_gets_the_windows_that_radiologists_use_and_mr_does_not():
    ct = np.full((2, 50, 50), -1000, np.int16)
    ct[:, 10:40, 10:40] = 50
    assert looks_like_ct(ct)
    assert [(w.name, w.centre, w.width) for w in windows(ct)][1:3] == [
        ("soft tissue", 40, 400),
        ("bone", 400, 1800),
    ]
    mr = np.random.default_rng(0).integers(0, 900, (2, 50, 50))
    assert [w.name for w in windows(mr)] == ["auto"]


def image(affine, **source):
    return Image(np.zeros((2, 4, 4)), affine, source=Source(**source))


def test_letters_say_where_the_patient_lies():
    assert edge_letters(image(affine_from_spacing((3, 1, 1)))) == ("R", "L", "A", "P")
    sagittal = affine_from_axes(
        position_mm=(0, 0, 0), orientation=(0, 1, 0, 0, 0, -1), pixel_spacing_mm=(1, 2), slice_step_mm=(3, 0, 0)
    )
    assert edge_letters(image(sagittal)) == ("A", "P", "H", "F")
    oblique = affine_from_axes(
        position_mm=(0, 0, 0),
        orientation=(0.8, 0.6, 0, 0, 0, -1),
        pixel_spacing_mm=(1, 2),
        slice_step_mm=(-3, 4, 0),
    )
    assert edge_letters(image(oblique)) == ("RA", "LP", "H", "F")


def test_no_letters_are_made_up():
    none = ("", "", "", "")
    unknown = image(None)
    assert edge_letters(unknown) == none
    # A picture with a typed field of view is taken as axial; nobody knows whether it is.
    assert edge_letters(calibrate(unknown, field_of_view_mm=240)) == none


def test_the_reader_says_that_it_took_slices_as_axial():
    header = SliceHeader(Path("a.dcm"), 0, "1", 1, (), 4, 4, "MONOCHROME2", None, None, (1, 1), 3.0, 1, 0)
    _, notes = plan_grids([header])
    dicom = image(affine_from_spacing((3, 1, 1)), spacing_source="header", notes=notes)
    assert edge_letters(dicom) == ("", "", "", "")
