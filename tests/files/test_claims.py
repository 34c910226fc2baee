"""What a header announces is asked against the file's size and the memory before anything is read.

Every file here is small; what it announces or unpacks to is not. Legitimate files that shrink as much are read.
"""

import gzip
import io
import struct
import tracemalloc
import zlib
from types import SimpleNamespace

import cv2
import nibabel
import numpy as np
import psutil
import pydicom
import pytest

from autoseg.data.patients import find_patient, read_patient
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import LabelError, ReadError
from autoseg.files import arrays
from autoseg.files.arrays import check_claim, read_npy
from autoseg.files.dicom.headers import read_header
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.pixels import read_frames
from autoseg.files.labels import read_label_volume
from autoseg.files.nifti import images
from autoseg.files.nifti.images import read_nifti_image, read_nifti_labels
from autoseg.files.nnunet import DatasetDescription, read_dataset_json
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.pictures.tiff import read_tiff
from autoseg.files.tables import read_rows
from autoseg.image.image import Image

MOST = 60 * 2**20  # bytes that may be taken to refuse a file


@pytest.fixture
def little_memory():
    """Hold what a test takes while it refuses under `MOST` (what NumPy and Python ask for)."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST, f"{peak / 2**20:.0f} MiB"


def forget():
    """Count from here: to make a file takes more than to refuse it."""
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()


# --- the one question


def test_what_a_file_or_the_memory_cannot_hold_is_refused_with_both_sizes(tmp_path, monkeypatch):
    path = tmp_path / "a"
    with pytest.raises(ReadError, match=r"announces 10 voxels \(2\.0 GB\), which the 1\.0 MB .*cannot hold"):
        check_claim(path, 2 * 10**9, "10 voxels", stored=10**6)
    check_claim(path, 10**6, "voxels", stored=10**6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 10**9))
    check_claim(path, 10**9, "voxels", stored=10**9)
    with pytest.raises(ReadError, match=r"takes 4\.0 GB of memory, and 3\.0 GB are free.*more memory"):
        check_claim(path, 2 * 10**9, "voxels", stored=2 * 10**9)


def test_only_a_large_image_can_be_too_blank(tmp_path):
    for needed, stored in ((2**27, 2**17), (2**29, 2**20)):  # small, or packed like labels
        check_claim(tmp_path, needed, "pixels", stored=stored, most=arrays.PACKED, blank=arrays.BLANK)
    with pytest.raises(ReadError, match="one value throughout"):
        check_claim(tmp_path, 2**29, "pixels", stored=2**19, most=1032, blank=arrays.BLANK)


# --- NIfTI


def nifti(path, shape, voxels=b"", offset=352, behind=0, kind=2):
    header = nibabel.Nifti1Header()
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["datatype"], header["bitpix"], header["vox_offset"] = kind, 8 if kind == 2 else 16, offset
    header["magic"], header["pixdim"][1:4] = b"n+1", 1.5
    header.set_sform(np.diag([1.5, 1.5, 1.5, 1]), code=1)
    data = header.binaryblock + bytes(4) + voxels + bytes(behind)
    path.write_bytes(gzip.compress(data, 6) if path.suffix == ".gz" else data)
    del data
    forget()
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("shape", "offset", "words"),
    [
        ((1000, 1000, 1000), 352, "1,000,000,352|1000 × 1000 × 1000 voxels"),
        ((32000, 32000, 32000), 352, "32,768,000,000,352|32.8 TB"),
        ((8, 8, 8), 2e9, "2,000,000,512|behind byte 2,000,000,000"),
        ((8, -8, 8), 352, "is empty"),
        ((8, 0, 8), 352, "is empty"),
    ],
)
def test_a_nifti_that_announces_more_than_it_has_is_refused(name, shape, offset, words, tmp_path, little_memory):
    path = nifti(tmp_path / name, shape, bytes(512), offset)
    with pytest.raises(ReadError, match=words):
        read_nifti_image(path)


def test_a_packed_nifti_is_unpacked_no_further_than_its_voxels(tmp_path, little_memory):
    path = nifti(tmp_path / "a.nii.gz", (8, 8, 8), bytes(512), behind=8 * 10**7)
    with pytest.raises(ReadError, match=r"8 × 8 × 8 voxels more than 6\d\.\d MB follow"):
        read_nifti_image(path)


def test_a_mask_of_nothing_shrinks_a_thousand_times_and_is_read(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", (256, 256, 100), bytes(256 * 256 * 100))
    assert path.stat().st_size * 900 < 256 * 256 * 100
    assert read_nifti_labels(path)[1].shape == (256, 256, 100)
    assert read_nifti_image(path)[0].shape == (100, 256, 256)


def test_damage_in_a_packed_nifti_is_told_by_the_sum_at_its_end(tmp_path):
    path = nifti(tmp_path / "a.nii.gz", (8, 8, 8), np.random.default_rng(0).bytes(512))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match="damaged"):
        read_nifti_image(path)


def test_labels_of_another_size_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii.gz", (64, 64, 64), bytes(64**3))
    monkeypatch.setattr(images, "open_nifti", None)
    with pytest.raises(LabelError, match="another grid"):
        read_label_volume(path, Image(np.zeros((4, 5, 6), np.uint8)))


def test_many_time_points_are_counted_and_not_read(tmp_path, monkeypatch):
    nifti(tmp_path / "a.nii.gz", (4, 4, 1, 3000), bytes(48000))
    monkeypatch.setattr(images, "open_nifti", None)
    (only,) = find_patient(tmp_path).candidates
    assert "3000 time points" in only.refusal


# --- plain arrays


@pytest.mark.parametrize("shape", [(3000, 1000, 1000), (10**5, 10**5, 10**5)])
def test_an_array_that_is_not_there_is_refused(shape, tmp_path, little_memory):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    (tmp_path / "a.npy").write_bytes(file.getvalue() + bytes(100))
    with pytest.raises(ReadError, match="cut off or damaged: its header announces uint8"):
        read_npy(tmp_path / "a.npy")


# --- pictures


def png(path, side, depth, colour, *, rows=1, extra=b""):
    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    samples = {0: 1, 2: 3, 6: 4}[colour]
    line = bytes(1 + side * samples * depth // 8)
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", side, side, depth, colour, 0, 0, 0))
    parts = (b"\x89PNG\r\n\x1a\n", head, extra, chunk(b"IDAT", zlib.compress(line * rows)), chunk(b"IEND", b""))
    path.write_bytes(b"".join(parts))
    return path


def test_a_picture_just_under_the_decoders_limit_is_refused(tmp_path, little_memory):
    with pytest.raises(ReadError, match=r"13300 × 13300 pixels \(707\.6 MB\).*cannot hold"):
        read_picture_image(png(tmp_path / "a.png", 13300, 8, 6))


def test_a_large_blank_picture_is_refused_and_a_small_one_read(tmp_path, monkeypatch):
    path = png(tmp_path / "a.png", 1000, 8, 2, rows=1000)
    assert read_picture_image(path).shape == (1, 1000, 1000)
    monkeypatch.setattr(arrays, "BLANK_BYTES", 2**20)
    with pytest.raises(ReadError, match="one value throughout"):
        read_picture_image(path)


def tiff(path, side, data, tile=None):
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile, 323: tile, 324: 8, 325: len(data)} if tile else {273: 8, 278: side, 279: len(data)}
    at = 8 + len(data) + len(data) % 2
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    body = (b"II*\0" + struct.pack("<L", at) + data).ljust(at, b"\0")
    path.write_bytes(body + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


def test_a_part_of_a_tiff_that_unpacks_to_more_than_its_pixels_is_refused(tmp_path, little_memory):
    packed = zlib.compress(bytes(5 * 10**7))
    forget()
    for tile in (None, 64):
        with pytest.raises(ReadError, match=r"unpacks to more than the 1\.1 MB that its pixels have"):
            read_tiff(tiff(tmp_path / "a.tif", 64, packed, tile))


def test_a_giant_tile_is_refused_and_an_ordinary_one_read(tmp_path, little_memory):
    with pytest.raises(ReadError, match=r"tiles of shape .* \(1\.1 TB\).*cannot hold"):
        read_tiff(tiff(tmp_path / "a.tif", 64, zlib.compress(bytes(4096)), tile=2**20))
    assert read_tiff(tiff(tmp_path / "b.tif", 64, zlib.compress(bytes(4096)), tile=64))[0].pixels.shape == (64, 64)


# --- DICOM


def dicom(folder, syntax="explicit", number=1, **changes):
    (path,) = write_phantom(folder, Phantom("test", rows=40, columns=36, places_mm=(0.0,), syntax=syntax))
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "rle", "jpeg 2000"])
def test_frames_that_are_not_there_are_counted_and_not_read(syntax, tmp_path, little_memory):
    header = read_header(dicom(tmp_path, syntax, NumberOfFrames=90_000))
    assert "announces 90,000 frames of 40 × 36 pixels" in header.refusal
    assert len(header.slices) == 1


def test_rows_that_are_not_there_are_refused(tmp_path, little_memory):
    path = dicom(tmp_path, Rows=65535, Columns=65535)
    with pytest.raises(ReadError, match=r"65535 × 65535 pixels.*cannot hold"):
        read_frames(path)


def deflated(path, behind=b"", before=b""):
    """Take the pixels' element apart and put bytes before it and behind the last."""
    data = path.read_bytes()
    start = 132 + 12 + struct.unpack("<L", data[140:144])[0]
    inside = zlib.decompress(data[start:], -15)
    at = inside.index(b"\xe0\x7f\x10\x00OW")
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    path.write_bytes(data[:start] + packer.compress(inside[:at] + before + inside[at:] + behind) + packer.flush())
    return path


def test_a_deflated_file_is_unpacked_no_further_than_its_pixels(tmp_path, monkeypatch):
    path = dicom(tmp_path, "deflated")
    whole = read_frames(path)
    assert np.array_equal(read_frames(deflated(path, behind=b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0\0\0")), whole)
    monkeypatch.setattr("autoseg.files.dicom.records.MOST_BEHIND", 2**21)
    padding = b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<L", 2**30) + bytes(2**24)
    assert read_header(deflated(path, behind=padding)).refusal == ""
    with pytest.raises(ReadError, match=r"behind its pixels more than 2\.1 MB follow"):
        read_frames(path)


def test_a_deflated_header_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("autoseg.files.dicom.records.MOST_OF_HEADER", 2**21)
    giant = b"\x91\x70\x10\x00LO\x04\0TEST\x91\x70\x01\x10OB\0\0" + struct.pack("<L", 2**23) + bytes(2**23)
    path = deflated(dicom(tmp_path, "deflated"), before=giant)
    assert "goes on for more than 2.1 MB" in read_header(path).reason
    monkeypatch.setattr("autoseg.files.dicom.records.MOST_OF_HEADER", 2**24)
    assert len(read_header(path).slices) == 1


def code_stream(side):
    _, data = cv2.imencode(".jp2", np.zeros((40, 36), np.uint8))
    code = bytearray(data.tobytes()[data.tobytes().index(b"\xff\x4f\xff\x51") :])
    if side:
        code[8:16], code[24:32] = struct.pack(">LL", side, side), struct.pack(">LL", side, side)
    return bytes(code)


def test_every_frame_is_held_against_the_header_before_it_is_decoded(tmp_path, little_memory):
    changes = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "NumberOfFrames": 2}
    codes = [code_stream(0), code_stream(30_000)]
    path = dicom(tmp_path, "jpeg 2000", PixelData=pydicom.encaps.encapsulate(codes), **changes)
    with pytest.raises(ReadError, match="picture itself is 30000 × 30000"):
        read_frames(path)


def test_parts_within_parts_without_end_are_said_in_words(tmp_path):
    path = dicom(tmp_path)
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW")
    begin = b"\x00\x52\x29\x92SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    path.write_bytes(data[:at] + begin * 5000 + data[at:])
    assert "parts within parts without end" in read_header(path).reason


def test_one_hostile_file_among_good_ones_is_left_out(tmp_path):
    good = tmp_path / "good"
    write_phantom(good, Phantom("test", rows=40, columns=36, places_mm=(0.0, 3.0)))
    bad = dicom(tmp_path / "bad", SeriesInstanceUID="1.2.3.4", NumberOfFrames=90_000)
    found, notes, _ = read_patient(tmp_path)
    assert [image.shape for image in found] == [(2, 40, 36)]
    assert any(note.startswith(f"Left out: {bad}") for note in notes)


# --- tables and JSON


@pytest.mark.parametrize(
    "content", ["label,name" + ",a" * 100_000 + "\n" + "1,b\n" * 100, "label,name\n" + "x" * 10**7 * 3]
)
def test_a_table_of_millions_of_cells_is_refused(content, tmp_path):
    path = tmp_path / "structures.csv"
    path.write_text(content)
    with pytest.raises(ReadError, match=r"structures\.csv has (100,002 columns and 100 rows|30\.0 MB)"):
        read_rows(path)


def test_json_that_is_nested_without_end_is_none(tmp_path):
    for name in ("dataset.json", "test_subjects.json"):
        (tmp_path / name).write_text("[" * 100_000 + "]" * 100_000)
    assert read_dataset_json(tmp_path) == DatasetDescription()
    with pytest.raises(ReadError, match="parts within parts"):
        read_ledger(tmp_path)
