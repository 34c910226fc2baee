import nibabel
import numpy as np
import pydicom
import pytest

from autoseg.files.dicom.phantoms import CORONAL, Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_series
from autoseg.files.nifti.images import read_nifti_image
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


def test_mr_gets_windows_of_its_own_values_which_air_does_not_move():
    # Half of the image is air; tissue has 100 to 500, and a spike 4000.
    mr = np.zeros((2, 64, 64), np.int16)
    mr[:, 32:] = np.linspace(100, 500, 32)[:, None]
    mr[0, 40, 40] = 4000
    shown = {w.name: (w.centre - w.width / 2, w.centre + w.width / 2) for w in windows(mr)}
    assert list(shown) == ["auto", "more contrast", "dark parts", "bright parts", "whole range"]
    assert shown["auto"] == (0, 500)
    assert shown["whole range"] == (0, 4000)
    assert shown["more contrast"] == pytest.approx((140, 460), abs=15)
    assert shown["dark parts"] == pytest.approx((100, 340), abs=15)
    assert shown["bright parts"] == pytest.approx((260, 500), abs=15)
    assert [w.name for w in windows((mr > 0).astype(np.uint8))] == ["auto"]  # nothing else differs


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


def without_place(dataset):
    del dataset.ImagePositionPatient


def without_orientation(dataset):
    del dataset.ImageOrientationPatient


@pytest.mark.parametrize("change", [without_place, without_orientation])
def test_dicom_that_was_taken_as_axial_has_no_letters(tmp_path, change):
    """Whatever the millimetres: the header's, which are known, do not tell left from right."""
    for path in write_phantom(tmp_path, Phantom("leg", rows=24, columns=20, orientation=CORONAL)):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)
    (series,) = find_series(tmp_path).series
    (dicom,) = read_series(series)
    assert dicom.source.spacing_source == "header"
    assert edge_letters(dicom) == ("", "", "", "")
    (typed,) = read_series(series, pixel_spacing_mm=(2, 2))
    assert edge_letters(typed) == ("", "", "", "")


def test_dicom_with_its_place_keeps_its_letters_with_typed_millimetres_too(tmp_path):
    write_phantom(tmp_path, Phantom("leg", rows=24, columns=20, orientation=CORONAL))
    (series,) = find_series(tmp_path).series
    for spacing in (None, (2, 2)):
        (dicom,) = read_series(series, pixel_spacing_mm=spacing)
        assert edge_letters(dicom) == ("R", "L", "H", "F")


def test_nifti_that_does_not_tell_how_it_lies_has_no_letters(tmp_path):
    lying = nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
    nibabel.save(lying, tmp_path / "told.nii.gz")
    lying.set_sform(None, 0)
    lying.set_qform(None, 0)
    nibabel.save(lying, tmp_path / "untold.nii.gz")
    (told,), (untold,) = (read_nifti_image(tmp_path / f"{name}.nii.gz") for name in ("told", "untold"))
    assert edge_letters(told) == ("R", "L", "A", "P")
    assert untold.spacing_mm == told.spacing_mm
    assert edge_letters(untold) == ("", "", "", "")
