import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.errors import GeometryError, OutputError, ReadError
from autoseg.files.nifti import volumes as nifti
from autoseg.files.nifti.volumes import PackedLabels, nifti_header, open_nifti, read_nifti, write_nifti
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

OBLIQUE = affine_from_axes(
    position_mm=(-80.5, 12.25, 300.0),
    orientation=(0.8, 0.6, 0, 0, 0, -1),
    pixel_spacing_mm=(0.5, 0.75),
    slice_step_mm=(-2.4, 3.2, 0),
)
SHEARED = affine_from_axes(
    position_mm=(1, 2, 3),
    orientation=(1, 0, 0, 0, 1, 0),
    pixel_spacing_mm=(0.5, 0.5),
    slice_step_mm=(0, 1, 4),
)


def label_map(affine=OBLIQUE):
    voxels = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.int64)
    return LabelMap(voxels, affine, (Structure(1, "disc"), Structure(2, "cord")))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED, affine_from_spacing((3.0, 0.5, 0.25))])
def test_labels_come_back_with_their_places(tmp_path, name, affine):
    labels = label_map(affine)
    path = write_nifti(tmp_path / name, labels)
    voxels, found = read_nifti(path)
    np.testing.assert_array_equal(voxels, labels.voxels)
    np.testing.assert_allclose(found, affine, atol=1e-4)
    assert voxels.dtype == np.uint8


def test_another_program_sees_every_voxel_where_dicom_puts_it(tmp_path):
    labels = label_map()
    picture = nibabel.load(write_nifti(tmp_path / "a.nii.gz", labels))
    assert picture.shape == (6, 5, 4)
    assert picture.header.get_xyzt_units()[0] == "mm"
    assert int(picture.header["sform_code"]) == int(picture.header["qform_code"]) == 1
    for place in ((0, 0, 0), (3, 1, 5), (2, 4, 0)):
        x, y, z, _ = OBLIQUE @ (*place, 1)
        right_front_head = picture.affine @ (*place[::-1], 1)
        np.testing.assert_allclose(right_front_head[:3], (-x, -y, z), atol=1e-4)
        assert picture.dataobj[place[::-1]] == labels.voxels[place]
    np.testing.assert_allclose(picture.get_qform(), picture.get_sform(), atol=1e-3)


def test_a_sheared_grid_has_no_qform_which_could_not_hold_it(tmp_path):
    header = nibabel.load(write_nifti(tmp_path / "a.nii", label_map(SHEARED))).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)


@pytest.mark.parametrize(
    ("dtype", "values", "stored"),
    [
        (np.bool_, (0, 1), np.uint8),
        (np.int16, (-3, 32767), np.int16),
        (np.uint16, (0, 65535), np.uint16),
        (np.int64, (-3, 2**31 - 1), np.int32),
        (np.float16, (-0.5, 65504), np.float32),
        (np.float64, (1e-300, np.nan), np.float64),
    ],
)
def test_images_keep_their_values(tmp_path, dtype, values, stored):
    values = np.array([[values, values]], dtype)
    voxels, _ = read_nifti(write_nifti(tmp_path / "a.nii.gz", Image(values, OBLIQUE)))
    assert voxels.dtype == stored
    np.testing.assert_array_equal(voxels, values)


def test_the_same_labels_give_the_same_bytes(tmp_path):
    first, second = (write_nifti(tmp_path / name, label_map()).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    assert first == second


def test_without_millimetres_nothing_is_written(tmp_path):
    with pytest.raises(GeometryError, match="no pixel spacing"):
        write_nifti(tmp_path / "a.nii.gz", label_map(None))
    assert list(tmp_path.iterdir()) == []


def test_names_and_images_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(OutputError, match=r"\.nii or \.nii\.gz"):
        write_nifti(tmp_path / "a.img", label_map())
    with pytest.raises(OutputError, match="one channel"):
        write_nifti(tmp_path / "a.nii", Image(np.zeros((2, 1, 4, 4)), OBLIQUE, ("T1", "T2")))
    with pytest.raises(OutputError, match="32 bits"):
        write_nifti(tmp_path / "a.nii", Image(np.array([[[2**40, 0], [0, 0]]]), OBLIQUE))


def test_a_file_that_reads_back_differently_does_not_get_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "_in_file_order", lambda path, header, data: np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(OutputError, match="reads back differently"):
        write_nifti(tmp_path / "a.nii", label_map())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED])
def test_labels_packed_slice_by_slice_are_the_same_file(tmp_path, affine):
    labels = label_map(affine)
    packed = PackedLabels(labels)
    packed.write(tmp_path / "a.nii.gz")
    labels.voxels[2] = 2 - labels.voxels[2]
    packed.update(2, labels.voxels[2])
    packed.write(tmp_path / "b.nii.gz")
    assert not np.array_equal(*(read_nifti(tmp_path / name)[0] for name in ("a.nii.gz", "b.nii.gz")))
    whole = write_nifti(tmp_path / "whole.nii.gz", labels)
    assert gzip.decompress((tmp_path / "b.nii.gz").read_bytes()) == gzip.decompress(whole.read_bytes())
    voxels, found = read_nifti(tmp_path / "b.nii.gz")
    assert np.array_equal(voxels, labels.voxels)
    assert np.allclose(found, affine)
    other = nibabel.load(tmp_path / "b.nii.gz")  # as other programs read it
    assert np.array_equal(np.asarray(other.dataobj).transpose(2, 1, 0), labels.voxels)


def test_packed_labels_that_read_back_differently_do_not_get_their_name(tmp_path, monkeypatch):
    packed = PackedLabels(label_map())
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: b"")
        with pytest.raises(OutputError, match="reads back differently"):
            packed.write(tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patched:
        patched.setattr(gzip, "decompress", lambda data: b"")
        with pytest.raises(OutputError, match="could not be packed"):
            packed.update(0, label_map().voxels[0])


def test_damaged_and_foreign_files_are_explained(tmp_path):
    whole = write_nifti(tmp_path / "a.nii.gz", label_map()).read_bytes()
    for number, data in enumerate(
        [b"", b"no nifti" * 100, whole[:60], gzip.compress(gzip.decompress(whole)[:400])]
    ):
        path = tmp_path / f"{number}.nii.gz"
        path.write_bytes(data)
        with pytest.raises(ReadError, match=rf"{number}\.nii\.gz is damaged or no NIfTI"):
            read_nifti(path)
    with pytest.raises(ReadError, match=r"missing\.nii does not exist"):
        read_nifti(tmp_path / "missing.nii")


def test_four_axes_and_missing_coordinates_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 2), np.uint8), np.eye(4)), tmp_path / "four.nii")
    with pytest.raises(ReadError, match="three axes"):
        read_nifti(tmp_path / "four.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None), tmp_path / "nowhere.nii")
    with pytest.raises(ReadError, match="codes are 0"):
        read_nifti(tmp_path / "nowhere.nii")


def test_a_real_file_keeps_its_places(shared_data):
    path = next(iter(sorted(Path(shared_data / "hippocampus-msd").rglob("*.nii.gz"))), None)
    if path is None:
        pytest.skip("no NIfTI file in hippocampus-msd")
    picture = nibabel.load(path)
    voxels, affine = read_nifti(path)
    last = np.array(voxels.shape) - 1
    left_back_head = affine @ (*last, 1)
    np.testing.assert_allclose(left_back_head * (-1, -1, 1, 1), picture.affine @ (*last[::-1], 1), atol=1e-4)
    assert voxels[tuple(last // 2)] == np.asanyarray(picture.dataobj)[tuple((last // 2)[::-1])]


def saved(path, affine=None, *, shape=(3, 4, 5), kind=nibabel.Nifti1Image, dtype=np.int16, **header):
    """Write a file of another program: nothing is said of its place but what is given."""
    picture = kind(np.arange(np.prod(shape)).astype(dtype).reshape(shape), affine)
    for key, value in header.items():
        picture.header[key] = value
    nibabel.save(picture, path)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_header_is_the_files_own(tmp_path, kind, name):
    affine = np.array([[-2.0, 0, 0, 7], [0, 3, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])
    header = nifti_header(saved(tmp_path / name, affine, shape=(3, 4, 5, 1, 1), kind=kind))
    assert (header.shape, header.is_oriented, header.is_scaled) == ((3, 4, 5), True, False)
    # Right and front become left and back.
    np.testing.assert_allclose(header.affine, np.diag([-1, -1, 1, 1]) @ affine)
    assert nifti_header(saved(tmp_path / "b.nii", affine, shape=(3, 4))).shape == (3, 4, 1)


def test_the_header_is_read_without_the_voxels(tmp_path):
    path = saved(tmp_path / "a.nii", np.eye(4), shape=(30, 40, 50))
    path.write_bytes(path.read_bytes()[:400])
    assert nifti_header(path).shape == (30, 40, 50)
    with pytest.raises(ReadError, match=r"a\.nii is damaged.*cut off: 400 bytes of 120,352"):
        open_nifti(path)


@pytest.mark.parametrize("name", ["a.img", "a.hdr"])
def test_a_pair_of_files_is_one_image(tmp_path, name):
    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    saved(tmp_path / "a.img", affine, kind=nibabel.Nifti1Pair)
    assert {path.name for path in tmp_path.iterdir()} == {"a.img", "a.hdr"}
    voxels, found = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(voxels, np.arange(60).reshape(3, 4, 5).transpose(2, 1, 0))
    np.testing.assert_allclose(found, affine_from_spacing((4, 3, 2)))
    (tmp_path / "a.img").unlink()
    with pytest.raises(ReadError, match="could not be read"):
        read_nifti(tmp_path / "a.hdr")


@pytest.mark.parametrize(("unit", "factor"), [("unknown", 1), ("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_lengths_are_millimetres_whatever_the_unit(tmp_path, unit, factor):
    picture = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([0.02, 0.05, 3 / factor, 1]))
    picture.header.set_xyzt_units(unit)
    nibabel.save(picture, tmp_path / "a.nii")
    affine = nifti_header(tmp_path / "a.nii").affine
    if factor < 1:
        assert affine is None  # 0.02 µm is no voxel of a person.
    else:
        np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), (0.02 * factor, 0.05 * factor, 3))


@pytest.mark.parametrize(
    ("steps", "spacing"),
    [
        ((0.5, 0.75, 3), (0.5, 0.75, 3)),
        ((1, 1, 1), None),
        ((0.5, 0.5, 0), None),
        ((-0.5, 0.5, 3), None),
        ((np.nan, 0.5, 3), None),
        ((0.5, 0.5, 5000), None),
    ],
)
def test_without_coordinates_the_spacing_is_taken_if_it_can_be_one(tmp_path, steps, spacing):
    path = saved(tmp_path / "a.nii", pixdim=(1, *steps, 0, 0, 0, 0))
    header = nifti_header(path)
    assert not header.is_oriented
    if spacing is None:
        assert header.affine is None
    else:
        np.testing.assert_allclose(header.affine, np.diag([*spacing, 1]))
    with pytest.raises(ReadError, match="codes are 0"):
        read_nifti(path)


def test_a_single_slice_needs_no_distance_to_the_next(tmp_path):
    header = nifti_header(saved(tmp_path / "a.nii", shape=(3, 4, 1), pixdim=(1, 0.5, 0.5, 0, 0, 0, 0, 0)))
    np.testing.assert_allclose(header.affine, np.diag([0.5, 0.5, 1, 1]))


def test_an_impossible_sform_gives_way_to_the_qform(tmp_path):
    picture = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([-2.0, -3.0, 4.0, 1.0]))
    picture.set_qform(picture.affine, code=1)
    for broken in (0.0, np.nan):
        picture.header["srow_x"] = broken
        (tmp_path / "a.nii").write_bytes(picture.to_bytes())
        header = nifti_header(tmp_path / "a.nii")
        assert header.is_oriented
        np.testing.assert_allclose(header.affine, np.diag([2, 3, 4, 1]), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_colours_and_complex_numbers_are_refused(tmp_path, dtype):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), dtype), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ReadError, match=r"a\.nii holds colours or complex numbers"):
        open_nifti(tmp_path / "a.nii")


def test_names_do_not_decide_whether_a_file_is_packed(tmp_path):
    path = saved(tmp_path / "a.nii", np.eye(4))
    expected = read_nifti(path)[0]
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_nifti(packed)[0], expected)
    np.testing.assert_array_equal(read_nifti(path.rename(tmp_path / "plain.nii.gz"))[0], expected)
    assert nifti_header(packed).shape == (3, 4, 5)


def test_a_sheared_grid_keeps_its_steps_and_has_no_qform_and_labels_say_what_they_are(tmp_path):
    """Without a qform nothing wrote the steps, and programs that take them from the header read 1 mm."""
    tilted = affine_from_spacing((4.0, 0.5, 0.8)).copy()
    tilted[1, 0] = 3.0
    path = write_nifti(tmp_path / "tilted.nii.gz", LabelMap(np.zeros((3, 4, 5), np.uint8), tilted))
    header = nibabel.load(path).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert np.allclose(header.get_zooms(), (0.8, 0.5, 5.0))
    assert header.get_intent()[0] == "label"
