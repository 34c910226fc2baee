"""Files that mark one structure, whatever number they use for it."""

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from autoseg.errors import LabelError, ReadError
from autoseg.files.labels import read_binary_file
from autoseg.files.nifti.images import read_nifti_image

MASK = np.zeros((12, 10), bool)
MASK[3:8, 2:7] = True


def read(path):
    marked, note = read_binary_file(path)
    assert marked.dtype == bool
    return marked, note


@pytest.mark.parametrize("value", [1, 255, 7, 1.0, 255.0, 0.5, True, 60000])
def test_any_one_value_marks(tmp_path, value):
    np.save(tmp_path / "a.npy", np.where(MASK, value, np.zeros((), np.array(value).dtype)))
    marked, note = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(marked, MASK[None])
    assert note == ""


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_black_and_white_pictures(tmp_path, name):
    PillowImage.fromarray(MASK * np.uint8(255)).save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name)[0], MASK[None])


def test_one_colour_marks_and_black_does_not(tmp_path):
    rgba = np.dstack([MASK * np.uint8(200), MASK * 0, MASK * np.uint8(9), np.full(MASK.shape, 255)]).astype(
        np.uint8
    )
    PillowImage.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], MASK[None])
    rgba[~MASK] = (255, 255, 255, 0)
    PillowImage.fromarray(rgba).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read(tmp_path / "b.png")[0], MASK[None])
    rgba[4, 4] = (0, 255, 0, 255)
    PillowImage.fromarray(rgba).save(tmp_path / "c.png")
    with pytest.raises(LabelError, match="2 values beside 0"):
        read(tmp_path / "c.png")


def test_nothing_or_everything_may_be_marked(tmp_path):
    for name, values in (("empty", MASK * 0), ("full", MASK * 0 + 1)):
        np.save(tmp_path / f"{name}.npy", values)
        assert read(tmp_path / f"{name}.npy")[0].mean() == (name == "full")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (MASK + 2 * MASK.T[:10, :10].repeat(2, 0)[:12], r"3 values beside 0 \(1, 2, 3\).*structures\.csv"),
        (MASK + 1, r"2 values beside 0 \(1, 2\)"),
        (-1 * MASK, r"1 values beside 0 \(-1\)"),
        (np.where(MASK, np.nan, 0), "NaN or infinity on 25 voxels"),
        (np.where(MASK, np.inf, 0), "NaN or infinity on 25 voxels"),
        (np.linspace(0, 700, 120).reshape(12, 10), r"119 values beside 0 \(5.88235, .*…\)"),
        (np.linspace(0, 255, 120).reshape(12, 10).astype(np.uint8), "smoothed edges"),
        (np.zeros((1, 2, 3, 4)), r"shape \(1, 2, 3, 4\)"),
        (np.array([["a"]]), "no numbers"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, values, words):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(LabelError, match=words):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(("highest", "threshold"), [(1.0, 0.5), (1.11, 0.5), (0.8, 0.4)])
def test_soft_edges_are_cut_at_half(tmp_path, highest, threshold):
    soft = np.array([[-0.05, 0, 0.2, threshold - 0.01, threshold, highest]], np.float32)
    np.save(tmp_path / "a.npy", soft)
    marked, note = read(tmp_path / "a.npy")
    assert marked.tolist() == [[[False, False, False, False, True, True]]]
    assert note.startswith(f"soft edges: voxels of {threshold} or more count, the highest is {highest:g}")


def test_pages_are_slices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([MASK, ~MASK]) * np.uint8(255), photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], [MASK, ~MASK])


def test_a_jpeg_in_doubt_is_refused(tmp_path):
    grey = np.where(MASK, 255, 0).astype(np.uint8)
    grey[0, 0] = 130
    PillowImage.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    with pytest.raises(LabelError, match="in doubt"):
        read(tmp_path / "a.jpg")


def test_volumes_come_to_their_images_axes(tmp_path):
    array = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 3, 1])), tmp_path / "image.nii")
    (image,) = read_nifti_image(tmp_path / "image.nii", slice_axis="coronal")
    turned = nibabel.Nifti1Image(array, np.diag([1.0, 1, 3, 1])).as_reoriented([[2, -1], [0, 1], [1, 1]])
    nibabel.save(turned, tmp_path / "mask.nii")
    np.testing.assert_array_equal(read_binary_file(tmp_path / "mask.nii", image)[0], image.voxels == 1)
    axial = read_binary_file(tmp_path / "mask.nii")[0]
    np.testing.assert_array_equal(axial, read_nifti_image(tmp_path / "image.nii")[0].voxels == 1)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "other.nii")
    with pytest.raises(LabelError, match="another grid"):
        read_binary_file(tmp_path / "other.nii", image)
    trusted = read_binary_file(tmp_path / "other.nii", image, trust_array=True)[0]
    np.testing.assert_array_equal(trusted, image.voxels == 1)


def test_a_missing_file(tmp_path):
    for name in ("a.npy", "a.png", "a.tif", "a.nii"):
        with pytest.raises(ReadError, match=name):
            read_binary_file(tmp_path / name)


def test_a_real_soft_mask_is_the_real_binary_one(shared_data):
    folder = shared_data / "cord-sct-testing" / "mt"
    soft, note = read_binary_file(folder / "mt1_gmseg.nii.gz")
    hard, _ = read_binary_file(folder / "mt1_gmseg_goldstandard.nii.gz")
    np.testing.assert_array_equal(soft, hard)
    assert "soft edges" in note
    assert "1.06" in note
    with pytest.raises(LabelError, match=r"5 values beside 0 \(2, 3, 4, 5, 6\)"):
        read_binary_file(shared_data / "cord-sct-testing" / "t2s" / "MNI-Poly-AMU_level_crop.nii.gz")
