"""Headers that give two sizes of a voxel: asked, answered once beside the data, never believed in silence."""

import os

import nibabel
import numpy as np
import pytest

from autoseg.errors import ReadError, TwoSizesError
from autoseg.files.labels import read_label_volume
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.nifti.sizes import FILE_NAME, forget_answers, keep_answers, read_answers
from autoseg.files.nifti.volumes import nifti_header, read_nifti

RESET, TRUE = np.eye(4), np.diag([0.5, 0.5, 4.0, 1.0])
VOXELS = np.random.default_rng(0).integers(0, 4, (6, 7, 3)).astype(np.uint8)


def save(path, *, sform=RESET, qform=TRUE, pixdim=None, array=VOXELS):
    """Write a file whose parts of the header are what is given; None leaves one unset."""
    picture = nibabel.Nifti1Image(array, None)
    header = picture.header
    header.set_qform(qform, code=1 if qform is not None else 0)
    header.set_sform(sform, code=1 if sform is not None else 0)
    if pixdim is not None:
        header["pixdim"][1:4] = pixdim
    nibabel.save(picture, path)
    return path


def test_both_sizes_and_the_remedy_are_named(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    words = (
        r"a\.nii\.gz gives two sizes.*1 × 1 × 1 mm by its sform and 0\.5 × 0\.5 × 4 mm by its pixdim.*--voxel-sizes"
    )
    for read in (read_nifti_image, read_nifti):
        with pytest.raises(TwoSizesError, match=words) as error:
            read(path)
    assert (error.value.path, error.value.sform_mm, error.value.pixdim_mm) == (path, (1, 1, 1), (0.5, 0.5, 4))


@pytest.mark.parametrize(
    ("parts", "asks"),
    [
        ({"sform": TRUE}, False),
        ({"sform": TRUE * [1.004, 1, 1, 1]}, False),
        ({"sform": TRUE * [1.006, 1, 1, 1]}, True),
        ({"sform": TRUE * [1, 1, 1.006, 1]}, True),
        ({"sform": None}, False),
        ({"qform": None, "sform": TRUE, "pixdim": (0.5, 0.5, 4)}, False),
        ({"qform": None, "pixdim": (0.5, 0.5, 4)}, True),
        # A program that knows no spacing left the pixdim at 1.
        ({"qform": None, "sform": TRUE, "pixdim": (1, 1, 1)}, False),
        ({"qform": None, "sform": TRUE, "pixdim": (0, 0, 0)}, False),
        # The same voxels, turned.
        ({"sform": TRUE[[1, 0, 2, 3]]}, False),
    ],
)
def test_more_than_half_a_percent_in_a_step_is_asked_about(tmp_path, parts, asks):
    header = nifti_header(save(tmp_path / "a.nii", **parts))
    assert (header.sizes is not None) == asks


def test_one_slice_needs_no_distance_to_the_next(tmp_path):
    one = save(tmp_path / "a.nii", sform=np.diag([0.5, 0.5, 1, 1.0]), array=VOXELS[..., :1])
    assert nifti_header(one).sizes is None


@pytest.mark.parametrize("slices", [4.0, np.hypot(4.0, 1.0)])
def test_sheared_slices_may_tell_their_distance_or_the_way_between_them(tmp_path, slices):
    tilted = TRUE.copy()
    tilted[1, 2] = 1.0
    assert nifti_header(save(tmp_path / "a.nii", sform=tilted, qform=None, pixdim=(0.5, 0.5, slices))).sizes is None
    assert (
        nifti_header(save(tmp_path / "b.nii", sform=tilted, qform=None, pixdim=(0.5, 0.5, 4.5))).sizes is not None
    )


@pytest.mark.parametrize("qform", [TRUE, None])
@pytest.mark.parametrize(("holds", "spacing"), [("sform", (1, 1, 1)), ("pixdim", (4, 0.5, 0.5))])
def test_an_answer_is_kept_beside_the_data_and_holds_everywhere_below(tmp_path, holds, spacing, qform):
    (tmp_path / "images").mkdir()
    path = save(tmp_path / "images" / "a.nii.gz", qform=qform, pixdim=(0.5, 0.5, 4))
    other = save(tmp_path / "images" / "b.nii.gz")
    keep_answers(tmp_path, [nifti_header(path).sizes], holds)
    assert read_answers(tmp_path) == {"images/a.nii.gz": holds}
    (image,) = read_nifti_image(path, slice_axis="axial")
    assert image.spacing_mm == pytest.approx(spacing)
    np.testing.assert_array_equal(np.sort(image.voxels.ravel()), np.sort(VOXELS.ravel()))
    assert f"{holds} was said to hold" in image.source.notes[0]
    with pytest.raises(TwoSizesError):  # of another file nobody said anything
        read_nifti_image(other)
    forget_answers(tmp_path)
    with pytest.raises(TwoSizesError):
        read_nifti_image(path)


def test_an_answer_can_be_changed_and_is_for_these_two_sizes_only(tmp_path):
    path = save(tmp_path / "a.nii")
    for holds, step in (("sform", 1.0), ("pixdim", 0.5)):
        keep_answers(tmp_path, [nifti_header(path).sizes], holds)
        assert read_nifti_image(path, slice_axis="axial")[0].spacing_mm[1] == step
    assert len(read_answers(tmp_path)) == 1
    save(path, sform=np.diag([2.0, 2, 2, 1]))
    with pytest.raises(TwoSizesError):
        read_nifti_image(path)


def test_an_answer_that_is_none_is_named(tmp_path):
    path = save(tmp_path / "a.nii")
    keep_answers(tmp_path, [nifti_header(path).sizes], "sform")
    table = tmp_path / FILE_NAME
    table.write_text(table.read_text(encoding="utf-8").replace(",sform,", ",both,"), encoding="utf-8")
    os.utime(table, (1, 1))
    with pytest.raises(ReadError, match=r"voxel_sizes\.csv, row 2: holds is 'both'"):
        read_nifti_image(path)


@pytest.mark.parametrize("image_sform", [np.eye(4), TRUE])
def test_a_label_file_lies_on_its_image_by_either_size(tmp_path, image_sform):
    path = save(tmp_path / "image.nii", sform=image_sform)
    header = nifti_header(path)
    if header.sizes is not None:
        keep_answers(tmp_path, [header.sizes], "pixdim")
    (image,) = read_nifti_image(path, slice_axis="axial")
    voxels, affine = read_label_volume(save(tmp_path / "label.nii"), image)
    np.testing.assert_array_equal(voxels, image.voxels)
    assert affine is image.affine
