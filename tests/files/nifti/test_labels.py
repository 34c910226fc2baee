"""Labels of NIfTI files are brought to their image's axes exactly, or refused with both grids in words."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from autoseg.errors import LabelError
from autoseg.files.dicom.series import find_series, read_series
from autoseg.files.labels import read_label_file, read_label_volume
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

RAS = np.array([[0.5, 0, 0, -20], [0, 0.5, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1.0]])
LABELS = np.random.default_rng(0).integers(0, 4, (6, 5, 4)).astype(np.uint8)


def save(path, array=LABELS, affine=RAS, pixdim=None):
    picture = nibabel.Nifti1Image(array, affine)
    if pixdim is not None:
        picture.header["pixdim"][1:4] = pixdim
    nibabel.save(picture, path)
    return path


@pytest.mark.parametrize("plane", [None, "sagittal", "coronal"])
def test_labels_in_any_orientation_come_to_the_images_axes(tmp_path, plane):
    (image,) = read_nifti_image(save(tmp_path / "image.nii"), slice_axis=plane)
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        picture = nibabel.Nifti1Image(LABELS, RAS).as_reoriented(np.column_stack([axes, signs]))
        nibabel.save(picture, tmp_path / "label.nii")
        voxels, affine = read_label_volume(tmp_path / "label.nii", image)
        np.testing.assert_array_equal(voxels, image.voxels)
        assert affine is image.affine


def test_a_label_on_another_grid_is_refused_with_both_grids(tmp_path):
    (image,) = read_nifti_image(save(tmp_path / "image.nii"))
    smaller = save(tmp_path / "label.nii", LABELS[:3], RAS)
    with pytest.raises(
        LabelError, match=r"label\.nii lies on another grid.*\(4, 5, 3\).*\(4, 5, 6\).*stretch"
    ) as error:
        read_label_volume(smaller, image)
    assert "trust_array" not in str(error.value)
    with pytest.raises(LabelError, match="another grid"):
        read_label_volume(smaller, image, trust_array=True)
    moved = save(tmp_path / "moved.nii", LABELS, RAS + np.outer((1, 1, 1, 0), (0, 0, 0, 2.0)))
    with pytest.raises(
        LabelError, match=r"3 × 0\.5 × 0\.5 mm, first voxel at \(15\.5, -9\.0, 9\.0\) mm.*--trust-array"
    ):
        read_label_volume(moved, image)


def test_arrays_are_trusted_if_one_says_so(tmp_path):
    (image,) = read_nifti_image(save(tmp_path / "image.nii"), slice_axis="sagittal")
    # Everything about its place was lost, and even the direction of an axis.
    for number, affine in enumerate((np.diag([-0.5, 0.5, 3, 1]), np.diag([9.0, 1, 1, 1]), None)):
        reset = save(tmp_path / f"{number}.nii", LABELS, affine)
        with pytest.raises(LabelError, match="trust-array"):
            read_label_volume(reset, image)
        voxels, found = read_label_volume(reset, image, trust_array=True)
        np.testing.assert_array_equal(voxels, image.voxels)
        assert found is image.affine


def test_files_without_coordinates_belong_together_by_their_arrays(tmp_path):
    for pixdim in (None, (0.5, 0.5, 3)):
        (image,) = read_nifti_image(save(tmp_path / "image.nii", affine=None, pixdim=pixdim))
        assert (image.affine is None) == (pixdim is None)
        voxels, _ = read_label_volume(save(tmp_path / "label.nii", affine=None), image)
        np.testing.assert_array_equal(voxels, image.voxels)
        with pytest.raises(LabelError, match=r"label\.nii lies on another grid"):
            read_label_volume(save(tmp_path / "label.nii"), image)


def test_an_image_without_millimetres_takes_labels_by_shape(tmp_path):
    image = Image(LABELS.transpose(2, 1, 0))
    voxels, affine = read_label_volume(save(tmp_path / "label.nii", affine=None), image)
    np.testing.assert_array_equal(voxels, image.voxels)
    assert affine is None
    with pytest.raises(LabelError, match=r"the image has shape .* without coordinates"):
        read_label_volume(save(tmp_path / "placed.nii"), image)


def test_autosegs_own_labels_fit_their_image(tmp_path):
    affine = affine_from_spacing((3, 0.5, 0.5), (7, 8, 9))
    labels = LabelMap(LABELS.transpose(2, 1, 0) % 2, affine, (Structure(1, "disc"),))
    image = Image(labels.voxels.astype(np.float32), affine)
    voxels, _ = read_label_volume(write_nifti(tmp_path / "a.nii.gz", labels), image)
    np.testing.assert_array_equal(voxels, labels.voxels)


def test_real_labels_fit_the_dicom_series_that_they_were_made_from(shared_data):
    folder = shared_data / "ct-mr-totalsegmentator-dicom"
    (series,) = find_series(folder / "ct_dicom").series
    (image,) = read_series(series)
    voxels, _ = read_label_volume(folder / "example_seg_dicom.nii.gz", image)
    assert len(np.unique(voxels)) > 20
    pictures = [folder / "ct_dicom_labels_png" / f"{source.path.name}.png" for source in image.source.slices]
    np.testing.assert_array_equal(voxels, np.concatenate([read_label_file(path) for path in pictures]))


def test_real_labels_with_a_reset_origin(shared_data):
    folder = shared_data / "lumbar-muscle-myosegmentum"
    if not folder.is_dir():
        pytest.skip("the lumbar muscles are not on this machine")
    (water,) = read_nifti_image(next((folder / "images").glob("*water*.nii.gz")))
    labels_of_fat = next((folder / "labels").glob("*fat*.nii.gz"))
    with pytest.raises(LabelError, match=r"4 × 1\.019 .*first voxel at \(-204\.5.*4 × 1\.018.*--trust-array"):
        read_label_volume(labels_of_fat, water)
    voxels, _ = read_label_volume(labels_of_fat, water, trust_array=True)
    own, _ = read_label_volume(next((folder / "labels").glob("*water*.nii.gz")), water)
    np.testing.assert_array_equal(voxels, own)


def test_real_labels_whose_headers_were_rounded(shared_data):
    folder = shared_data / "cord-gm-t2star-bids"
    paths = sorted(folder.glob("sub-*/anat/*_run-1_T2starw.nii.gz"))
    assert len(paths) == 5
    for path in paths:
        (image,) = read_nifti_image(path)
        for kind in ("seg-manual", "gmseg-manual"):
            place = folder / "derivatives" / "labels" / path.parent.relative_to(folder)
            label = place / path.name.replace(".nii.gz", f"_{kind}.nii.gz")
            voxels, _ = read_label_volume(label, image)
            assert voxels.shape == image.shape
            assert voxels.sum() == np.asanyarray(nibabel.load(label).dataobj).sum()


def test_real_hippocampi_fit_their_images(shared_data):
    folder = shared_data / "hippocampus-msd"
    pairs = [(path, folder / "images" / path.name) for path in sorted((folder / "labels").glob("*.nii.gz"))]
    pairs = [pair for pair in pairs if pair[1].exists()]
    assert len(pairs) == 66
    for label, path in [*pairs[::15], *(pair for pair in pairs if "243" in pair[0].name)]:
        (image,) = read_nifti_image(path)
        voxels, _ = read_label_volume(label, image)
        assert voxels.shape == image.shape
        assert set(np.unique(voxels).tolist()) == {0, 1, 2}
