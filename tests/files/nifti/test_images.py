"""NIfTI images of other programs: any orientation, time points, channels, scaling, broken values."""

import struct
from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from autoseg.errors import ReadError
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image

RAS = np.diag([0.5, 0.5, 3.0, 1.0])


def save(path, array, affine=RAS, *, slope=None, shift=0.0):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    if slope is not None:
        # scl_slope and scl_inter in the header; nibabel would change what is stored.
        data = bytearray(path.read_bytes())
        struct.pack_into("<ff", data, 112, slope, shift)
        path.write_bytes(data)
    return path


def as_looked_at(canonical, plane):
    """What nibabel brought to (right, front, head), as slices a radiologist looks at."""
    right, front, head = canonical[::-1, ::-1, :], canonical[::-1, ::-1, ::-1], canonical[::-1, ::-1, ::-1]
    axes = {"axial": (right, (2, 1, 0)), "sagittal": (front, (0, 2, 1)), "coronal": (head, (1, 2, 0))}
    array, order = axes[plane]
    return array.transpose(order)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_nibabel_turns_every_orientation_alike(tmp_path, plane):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, list(axes)] * signs * (1, 1.1, 1.2)
        path = save(tmp_path / "a.nii", array, affine)
        (image,) = read_nifti_image(path, slice_axis=plane)
        canonical = nibabel.as_closest_canonical(nibabel.load(path))
        np.testing.assert_array_equal(image.voxels, as_looked_at(np.asarray(canonical.dataobj), plane))
        assert image.voxels.flags.c_contiguous
        assert image.voxels.dtype == np.int16


def test_slices_name_their_file_and_their_number_in_it(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(3, 4, 2)
    (image,) = read_nifti_image(save(tmp_path / "leg 07.nii.gz", array, np.diag([-0.5, -0.5, -3.0, 1.0])))
    # Here the file counts from the head to the feet.
    assert [source.frame for source in image.source.slices] == [1, 0]
    np.testing.assert_array_equal(image.voxels[1], array[..., 0].T)
    assert {source.path.name for source in image.source.slices} == {"leg 07.nii.gz"}
    assert (image.source.case_id, image.source.spacing_source) == ("leg 07", "header")
    np.testing.assert_allclose(image.spacing_mm, (3, 0.5, 0.5))


def test_time_points_are_images(tmp_path):
    array = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 7)).astype(np.int16)
    path = save(tmp_path / "dmri.nii.gz", array)
    images = read_nifti_image(path)
    assert [image.source.case_id for image in images] == [f"dmri_t{n:02d}" for n in range(1, 8)]
    for point, image in enumerate(images):
        np.testing.assert_array_equal(image.voxels, array[::-1, ::-1, :, point].transpose(2, 1, 0))
        assert [source.frame for source in image.source.slices] == list(range(5 * point, 5 * point + 5))
    (third,) = read_nifti_image(path, time_point=2)
    assert third.source == images[2].source
    np.testing.assert_array_equal(third.voxels, images[2].voxels)
    for wrong in (7, -1):
        with pytest.raises(ReadError, match=r"dmri\.nii\.gz has 7 time points"):
            read_nifti_image(path, time_point=wrong)
    with pytest.raises(ReadError, match="no time point 2"):
        read_nifti_image(save(tmp_path / "a.nii", array[..., 0]), time_point=1)


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (3, 4, 5, 1, 2)])
def test_a_small_last_axis_can_be_channels(tmp_path, shape):
    array = np.arange(120, dtype=np.int16).reshape(shape)
    (image,) = read_nifti_image(save(tmp_path / "a.nii", array), channels_last=True)
    assert image.channels == ("channel 1", "channel 2")
    np.testing.assert_array_equal(image.voxels[1], array.reshape(3, 4, 5, 2)[::-1, ::-1, :, 1].transpose(2, 1, 0))


def test_vectors_are_refused(tmp_path):
    path = save(tmp_path / "warp.nii", np.zeros((3, 4, 5, 1, 3), np.float32))
    with pytest.raises(ReadError, match=r"warp\.nii has the shape \(3, 4, 5, 1, 3\).*vectors"):
        read_nifti_image(path)


def test_scaling_is_applied_and_else_integers_stay(tmp_path):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    (image,) = read_nifti_image(save(tmp_path / "a.nii", stored, slope=0.5, shift=-3))
    assert image.voxels.dtype == np.float32
    np.testing.assert_array_equal(image.voxels, (stored * 0.5 - 3)[::-1, ::-1].transpose(2, 1, 0))
    (image,) = read_nifti_image(save(tmp_path / "b.nii", stored, slope=1))
    assert image.voxels.dtype == np.int16
    (image,) = read_nifti_image(save(tmp_path / "c.nii", stored.astype(">i4"), slope=2))
    assert image.voxels.dtype == np.float64


def test_bytes_in_the_other_order_become_the_machines(tmp_path):
    picture = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), RAS)
    header = picture.header.as_byteswapped()
    nibabel.Nifti1Image(picture.dataobj, RAS, header).to_filename(tmp_path / "a.nii")
    (image,) = read_nifti_image(tmp_path / "a.nii")
    assert image.voxels.dtype.isnative
    assert image.voxels.max() == 7


def test_a_file_without_coordinates_keeps_its_order_and_its_spacing(tmp_path):
    picture = nibabel.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), None)
    picture.header["pixdim"][1:4] = (0.5, 0.75, 3)
    nibabel.save(picture, tmp_path / "a.nii")
    (image,) = read_nifti_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.voxels, np.arange(60).reshape(3, 4, 5).transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, affine_from_spacing((3, 0.75, 0.5)))
    assert image.source.spacing_source == "header"
    picture.header["pixdim"][1:4] = (3, 0.5, 0.75)
    nibabel.save(picture, tmp_path / "a.nii")
    (image,) = read_nifti_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.voxels, np.arange(60).reshape(3, 4, 5).transpose(0, 2, 1))
    np.testing.assert_allclose(image.spacing_mm, (3, 0.75, 0.5))
    picture.header["pixdim"][1:4] = 1
    nibabel.save(picture, tmp_path / "a.nii")
    (image,) = read_nifti_image(tmp_path / "a.nii")
    assert image.affine is None
    assert image.source.spacing_source == "none"


def test_autosegs_own_files_come_back(tmp_path):
    image = Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine_from_spacing((3, 0.5, 0.75), (1, 2, 3)))
    (read,) = read_nifti_image(write_nifti(tmp_path / "a.nii.gz", image))
    assert read.same_grid(image)
    np.testing.assert_array_equal(read.voxels, image.voxels)


def test_voxels_that_are_no_numbers_are_counted(tmp_path):
    array = np.ones((3, 4, 5), np.float32)
    array[0, 0, :3] = (np.nan, np.inf, -np.inf)
    (image,) = read_nifti_image(save(tmp_path / "a.nii", array))
    assert image.non_finite_count == 3
    assert Image(np.ones((1, 2, 2), np.uint8)).non_finite_count == 0


def test_real_ratio_images_hold_infinities(shared_data):
    (image,) = read_nifti_image(shared_data / "cord-sct-testing" / "mt" / "mtr.nii.gz")
    assert image.non_finite_count == 633
    assert image.shape == (5, 40, 40)


def test_real_diffusion_has_seven_time_points(shared_data):
    images = read_nifti_image(shared_data / "cord-sct-testing" / "dmri" / "dmri.nii.gz")
    assert [image.shape for image in images] == [(5, 42, 40)] * 7


@pytest.mark.parametrize(("plane", "shape"), [(None, (55, 60, 52)), ("sagittal", (52, 55, 60))])
def test_a_real_sagittal_file_is_turned_as_asked(shared_data, plane, shape):
    path = shared_data / "cord-sct-testing" / "t2" / "t2.nii.gz"
    (image,) = read_nifti_image(path, slice_axis=plane)
    assert image.shape == shape
    canonical = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    np.testing.assert_array_equal(image.voxels, as_looked_at(canonical, plane or "axial"))
