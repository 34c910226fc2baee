"""Every format's broken twin: a clear sentence that names the file, never a crash, and the file stays as it is."""

import gzip
import struct
from itertools import product

import cv2
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from autoseg.errors import AutosegError, LabelError, ReadError
from autoseg.files.labels import read_binary_file, read_label_file, read_label_volume
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.nifti.volumes import nifti_header
from autoseg.files.pictures.images import read_picture_image
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure

LABELS = np.zeros((24, 32), np.uint8)
LABELS[5:15, 8:20] = 1
NAMED = (Structure(1, "psoas"), Structure(255, "disc"))
ENDINGS = (".nii", ".nii.gz", ".png", ".tif", ".npy", ".jpg")


def write(path, array=LABELS):
    """Save an array in the format that the name's ending tells."""
    if path.name.endswith((".nii", ".nii.gz")):
        volume = array.T[..., None] if array.ndim == 2 else array.T
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([-0.5, -0.5, 3.0, 1.0])), path)
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="minisblack", compression="zlib")
    else:
        PillowImage.fromarray(array * 255 if path.suffix == ".jpg" else array).save(path)
    return path


def read_image(path):
    return read_nifti_image(path)[0] if ".nii" in path.name else read_picture_image(path)


def read_labels(path):
    # A JPEG keeps no two labels apart that lie as near as 0 and 1.
    return read_label_file(path, NAMED[1:] if path.suffix == ".jpg" else NAMED)


READERS = {"image": read_image, "labels": read_labels, "mask": lambda path: read_binary_file(path)[0]}
EVERY_ENDING = pytest.mark.parametrize("ending", ENDINGS)
EVERY = [(ending, reader) for ending in ENDINGS for reader in READERS.values()]


def refused(reader, path, *words):
    """Read what cannot be read: the sentence names the file, and the file is as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(AutosegError) as error:
        reader(path)
    text = str(error.value)
    assert path.name in text
    assert all(word in text for word in words), text
    assert text.rstrip().endswith((".", ")")), text
    assert before == (path.read_bytes() if path.is_file() else None)
    return error


def test_the_sound_twin_is_read(tmp_path):
    for ending, reader in EVERY:
        assert reader(write(tmp_path / f"a{ending}")).shape == (1, 24, 32), ending


def test_empty_files(tmp_path):
    for ending, reader in EVERY:
        (tmp_path / f"a{ending}").touch()
        refused(reader, tmp_path / f"a{ending}")


def test_missing_files_and_folders_in_their_place(tmp_path):
    for ending, reader in EVERY:
        refused(reader, tmp_path / f"missing{ending}")
        (tmp_path / f"folder{ending}").mkdir(exist_ok=True)
        refused(reader, tmp_path / f"folder{ending}")


def test_text_under_a_false_name(tmp_path):
    for ending, reader in EVERY:
        (tmp_path / f"a{ending}").write_text("slice#, level\n1, 2/3\n" * 100, encoding="utf-8")
        refused(reader, tmp_path / f"a{ending}")


@EVERY_ENDING
def test_another_format_under_a_false_name(tmp_path, ending):
    for other in ENDINGS:
        same_kind = {ending, other} <= {".nii", ".nii.gz"} or {ending, other} <= {".png", ".jpg"}
        if not same_kind and other != ending:
            write(tmp_path / f"b{other}").rename(tmp_path / f"a{ending}")
            for reader in READERS.values():
                refused(reader, tmp_path / f"a{ending}")


@EVERY_ENDING
def test_truncated_files(tmp_path, ending):
    noisy = np.random.default_rng(0).integers(0, 2, (120, 140), dtype=np.uint8)
    data = write(tmp_path / f"a{ending}", noisy).read_bytes()
    for share in (0.01, 0.3, 0.6, 0.95):
        (tmp_path / f"a{ending}").write_bytes(data[: int(share * len(data))])
        for reader in READERS.values():
            refused(reader, tmp_path / f"a{ending}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), keep=st.floats(0, 1), flips=st.integers(0, 6))
@EVERY_ENDING
def test_a_damaged_file_is_read_or_refused_but_nothing_else(tmp_path, ending, seed, keep, flips):
    rng = np.random.default_rng(seed)
    path = write(tmp_path / f"a{ending}")
    data = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
    # Headers stand at the front, and there most can go wrong.
    for place in (rng.random(flips) ** 3 * len(data)).astype(int):
        data[place] = rng.integers(256)
    data = data[: max(1, int(len(data) * keep**0.1))]
    path.write_bytes(gzip.compress(data) if ending == ".nii.gz" else data)
    for reader in READERS.values():
        try:
            text = reader(path) is not None and path.name
        except AutosegError as error:
            text = str(error)
        assert path.name in text


def test_values_that_are_no_numbers(tmp_path):
    for ending, value in product((".nii", ".npy", ".tif"), (np.nan, np.inf, -np.inf)):
        array = LABELS.astype(np.float32)
        array[3, 4] = value
        path = write(tmp_path / f"a{ending}", array)
        assert read_image(path).non_finite_count == 1
        refused(read_labels, path, "not whole", "on 1 pixels")
        refused(READERS["mask"], path, "NaN or infinity on 1 voxels")


def test_volumes_of_no_size(tmp_path):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), path)
    data = bytearray(path.read_bytes())
    for shape in ((0, 4, 5), (4, 0, 5), (4, 5, 0)):
        struct.pack_into("<3h", data, 42, *shape)
        path.write_bytes(data)
        for reader in (*READERS.values(), nifti_header):
            refused(reader, path, "is empty")
        np.save(tmp_path / "b.npy", np.zeros(shape))
        for reader in READERS.values():
            refused(reader, tmp_path / "b.npy", "is empty")


def test_labels_of_four_axes(tmp_path):
    for ending in (".nii", ".nii.gz", ".npy"):
        path = write(tmp_path / f"a{ending}", np.zeros((2, 3, 4, 5), np.uint8))
        for reader in (read_labels, READERS["mask"], read_label_volume):
            error = refused(reader, path, "(2, 3, 4, 5)" if ending == ".npy" else "(5, 4, 3, 2)")
            assert error.type is LabelError


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".npy", ".tif", ".png"])
def test_65535_values_are_an_image_and_no_labels(tmp_path, ending):
    many = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = write(tmp_path / f"a{ending}", many)
    np.testing.assert_array_equal(read_image(path).voxels[0], many)
    read = read_labels(path)
    with pytest.raises(LabelError, match=r"labels 2, 3, 4, .* … without a name") as error:
        LabelMap(read, structures=NAMED)
    assert len(str(error.value)) < 400
    mapped = refused(lambda p: read_label_file(p, NAMED, values={1: 1}), path, "stand for no structure", "…")
    assert len(str(mapped.value)) < 400 + len(str(path))
    assert len(str(refused(READERS["mask"], path, "65535 values beside 0").value)) < 400 + len(str(path))


@EVERY_ENDING
def test_unusual_names(tmp_path, ending):
    plain = ("with spaces", " leading", "a.b.c", "a%20b", "'quoted'", "#1 [2]")
    for name in (*plain, "Müller-Straße", "Mu\u0308ller", "脊柱"):
        folder = tmp_path / f"{name} (1)"
        folder.mkdir()
        path = write(folder / f"{name}{ending}")
        assert read_image(path).source.case_id == name
        np.testing.assert_array_equal(read_labels(path) > 0, LABELS[None] > 0)
        np.testing.assert_array_equal(READERS["mask"](path), LABELS[None] > 0)


@EVERY_ENDING
def test_long_paths(tmp_path, ending):
    folder = tmp_path
    while len(str(folder)) < 300:
        folder = folder / ("long folder name " * 3).strip()
    try:
        folder.mkdir(parents=True)
        path = write(folder / f"a{ending}")
    except OSError:
        pytest.skip("this computer has no such long paths")
    assert len(str(path)) > 300
    assert read_image(path).shape == (1, 24, 32)
    np.testing.assert_array_equal(READERS["mask"](path), LABELS[None] > 0)


def test_names_that_no_computer_has(tmp_path):
    for ending, reader in EVERY:
        with pytest.raises(ReadError):
            reader(tmp_path / f"{'x' * 400}{ending}")


@EVERY_ENDING
def test_links_that_lead_nowhere_or_in_a_circle(tmp_path, ending):
    first, second, dead = (tmp_path / f"{name}{ending}" for name in ("first", "second", "dead"))
    try:
        first.symlink_to(second)
        second.symlink_to(first)
        dead.symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("this computer allows no links")
    for reader in READERS.values():
        refused(reader, first)
        refused(reader, dead)


def test_types_of_numbers_that_labels_cannot_have(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.complex64), np.eye(4)), tmp_path / "a.nii")
    for reader in READERS.values():
        refused(reader, tmp_path / "a.nii", "complex")
    assert cv2.imwrite(str(tmp_path / "a.tif"), np.random.default_rng(0).random((8, 8, 3)).astype(np.float32))
    refused(read_labels, tmp_path / "a.tif", "not whole")
    assert read_image(tmp_path / "a.tif").voxels.shape == (3, 1, 8, 8)


def test_what_fuzzing_found(tmp_path):
    """Headers that promise the impossible: benchmarks/attack.py found each of these."""
    data = bytearray(write(tmp_path / "a.npy").read_bytes())
    data[10 : 10 + data[10:].index(b"\n")] = (
        b"{'descr': '|u1', 'fortran_order': False, 'shape': ('x', 32), }".ljust(data[10:].index(b"\n"))
    )
    (tmp_path / "a.npy").write_bytes(data)
    refused(read_picture_image, tmp_path / "a.npy")
    data = bytearray(write(tmp_path / "a.nii").read_bytes())
    data[108:112] = struct.pack("<f", float("inf"))  # where the voxels begin
    (tmp_path / "a.nii").write_bytes(data)
    refused(read_nifti_image, tmp_path / "a.nii")
    tifffile.imwrite(tmp_path / "a.tif", LABELS, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(16_777_240)
    refused(read_picture_image, tmp_path / "a.tif", "cannot hold")
