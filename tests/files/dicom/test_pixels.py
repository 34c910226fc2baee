"""Headers that contradict their own pixels are refused in words, and nothing scrambled is measured."""

import numpy as np
import pydicom
import pytest

from autoseg.errors import AutosegError, ReadError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_dicom_file, read_series

UNCOMPRESSED = ("explicit", "implicit", "big endian", "deflated")


def write(folder, syntax, **changes):
    """Write one slice of 40 rows and 36 columns, 16 bits, and change its header alone."""
    (path,) = write_phantom(folder, Phantom("test", rows=40, columns=36, places_mm=(0.0,), syntax=syntax))
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, "rle", "jpeg 2000"])
@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 20},
        {"Columns": 18},
        {"Rows": 39},
        {"Columns": 35},
        {"Rows": 80},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_its_pixels_is_refused(tmp_path, syntax, changes):
    path = write(tmp_path, syntax, **changes)
    with pytest.raises(ReadError, match=r"1\.dcm.*[Ee]xport"):
        read_dicom_file(path)


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_the_refusal_tells_both_sizes(tmp_path, syntax):
    path = write(tmp_path, syntax, Rows=20)
    with pytest.raises(ReadError, match=r"20 × 36 pixels of 1 × 16 bits, which are 1,440 bytes, but 2,880 bytes"):
        read_dicom_file(path)


def test_jpeg_2000_tells_its_own_size(tmp_path):
    for changes in ({"Rows": 36, "Columns": 40}, {"Rows": 20, "Columns": 72}):
        with pytest.raises(ReadError, match=r"compressed picture itself is 40 × 36 pixels of 1 × 16 bits"):
            read_dicom_file(write(tmp_path, "jpeg 2000", **changes))


def test_padding_behind_the_pixels_is_no_contradiction(tmp_path):
    path = write(tmp_path, "explicit")
    expected = read_dicom_file(path)[0].voxels
    dataset = pydicom.dcmread(path)
    dataset.PixelData += bytes(70)  # less than a row of 72 bytes
    dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom_file(path)[0].voxels, expected)


def test_a_contradicting_slice_is_left_out_where_others_can_be_read(tmp_path):
    files = write_phantom(tmp_path, Phantom("test", rows=40, columns=36))
    dataset = pydicom.dcmread(files[2])
    dataset.PixelData += dataset.PixelData
    dataset.save_as(files[2])
    (series,) = find_series(tmp_path).series
    (image,) = read_series(series)
    assert image.shape == (2, 40, 36)
    assert "3.dcm was left out: Its header says 40 × 36" in image.source.notes[0]


@pytest.mark.parametrize("number", ["4.50", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91"])
@pytest.mark.parametrize(
    "changes", [{"Rows": 256}, {"Columns": 256}, {"Rows": 256, "Columns": 1024}, {"SamplesPerPixel": 3}], ids=str
)
def test_real_compressed_pictures_are_held_against_their_headers(shared_data, tmp_path, number, changes):
    folder = shared_data / "dicom-zoo" / "one-ct-slice-14-syntaxes"
    (path,) = folder.glob(f"*1.2.840.10008.1.2.{number}.dcm")
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "1.dcm")
    with pytest.raises(AutosegError, match=r"1\.dcm.*compressed picture itself is 512 × 512 pixels of 1 ×"):
        read_dicom_file(tmp_path / "1.dcm")


@pytest.mark.parametrize("number", ["4.57", "4.70"])
def test_more_bits_than_jpeg_holds_are_refused_before_a_decoder_ends_the_program(shared_data, tmp_path, number):
    folder = shared_data / "dicom-zoo" / "one-ct-slice-14-syntaxes"
    (path,) = folder.glob(f"*1.2.840.10008.1.2.{number}.dcm")
    dataset = pydicom.dcmread(path)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
    dataset.save_as(tmp_path / "1.dcm")
    with pytest.raises(ReadError, match="512 × 512 pixels of 1 × 16 bits"):
        read_dicom_file(tmp_path / "1.dcm")


def test_a_frame_that_is_announced_and_not_there_is_refused(tmp_path):
    with pytest.raises(ReadError, match=r"1\.dcm"):
        read_dicom_file(write(tmp_path, "jpeg 2000", NumberOfFrames=2))


def smooth(folder, **changes):
    """Write a smooth picture of 64 rows and 36 columns, whose last rows are empty, and change its header alone."""
    (path,) = write_phantom(folder, Phantom("test", rows=64, columns=36, places_mm=(0.0,)))
    dataset = pydicom.dcmread(path)
    down, across = np.mgrid[:64, :36]
    picture = (900 * np.exp(-((down - 28) ** 2) / 90 - ((across - 15) ** 2) / 60)).astype("<u2")
    picture[58:] = 0
    dataset.PixelData = picture.tobytes()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path, picture


def test_lines_of_a_wrong_length_are_seen_where_only_empty_pixels_are_left_over(tmp_path):
    with pytest.raises(ReadError, match="lines seem to be of 36 pixels"):
        read_dicom_file(smooth(tmp_path, Columns=35)[0])


def test_exchanged_rows_and_columns_are_seen(tmp_path):
    with pytest.raises(ReadError, match="look like 64 × 36: rows and columns are exchanged"):
        read_dicom_file(smooth(tmp_path, Rows=36, Columns=64)[0])
    path, picture = smooth(tmp_path)
    np.testing.assert_array_equal(read_dicom_file(path)[0].voxels[0], picture)
