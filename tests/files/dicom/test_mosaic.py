"""Siemens mosaics: the same slices as single files and as one picture must be the same image."""

import re
import struct

import numpy as np
import pydicom
import pytest

from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.kit import write_kit
from autoseg.data.corrections.read import read_corrections
from autoseg.errors import ReadError
from autoseg.files.dicom.phantoms import SAGITTAL, Phantom, write_phantom
from autoseg.files.dicom.records import quiet
from autoseg.files.dicom.series import find_series, read_dicom_file, read_series
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def csa_header(count, normal):
    """Write Siemens' private header (CSA2) with two of its tags; source: NiBabel's description of it."""
    counted = [] if count is None else [count]
    wanted = (("NumberOfImagesInMosaic", b"US", counted), ("SliceNormalVector", b"FD", normal or []))
    data = b"SV10\4\3\2\1" + struct.pack("<2I", len(wanted), 77)
    for name, kind, values in wanted:
        data += struct.pack("<64si4s3i", name.encode(), len(values), kind, 4, len(values), 77)
        for value in values:
            text = f"{value:.8f}".encode() if isinstance(value, float) else str(value).encode()
            text += bytes(4 - len(text) % 4)
            data += struct.pack("<4i", len(text), len(text), 77, len(text)) + text
    return data


def stack(folder, count, **phantom):
    options = {"rows": 24, "columns": 20, "pixel_spacing_mm": (3.5, 4.0), **phantom}
    places = tuple(5.0 * number for number in range(count))
    return write_phantom(folder, Phantom("mosaic", places_mm=places, **options))


def tile(folder, files, *, csa=True, change=None, number=1):
    """Write the slices as the picture that a Siemens scanner would make of them."""
    slices = [pydicom.dcmread(path) for path in files]
    first = slices[0]
    side = int(np.ceil(np.sqrt(len(slices))))
    rows, columns = first.Rows, first.Columns
    picture = np.zeros((side * rows, side * columns), dtype=first.pixel_array.dtype)
    for place, dataset in enumerate(slices):
        down, across = divmod(place, side)
        picture[down * rows :, across * columns :][:rows, :columns] = dataset.pixel_array
    row, column = np.reshape(np.array(first.ImageOrientationPatient, dtype=float), (2, 3))
    steps = np.array(slices[-1].ImagePositionPatient, float) - np.array(first.ImagePositionPatient, float)
    normal = (steps / np.linalg.norm(steps)).tolist() if len(slices) > 1 else [0.0, 0.0, 1.0]
    down_mm, across_mm = map(float, first.PixelSpacing)
    corner = np.array(first.ImagePositionPatient, dtype=float)
    corner -= row * across_mm * columns * (side - 1) / 2 + column * down_mm * rows * (side - 1) / 2
    first.ImagePositionPatient = [f"{value:.10f}" for value in corner]
    first.Rows, first.Columns = picture.shape
    first.PixelData = picture.tobytes()
    first.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    first.SpacingBetweenSlices = 5
    first.SOPInstanceUID = f"1.2.3.{number}"
    first.AcquisitionNumber = first.InstanceNumber = number
    if csa:
        block = first.private_block(0x29, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", csa_header(len(slices), normal))
    if change is not None:
        change(first)
    folder.mkdir(exist_ok=True)
    first.save_as(folder / f"mosaic {number}.dcm")
    return folder


def only(folder):
    (series,) = find_series(folder).series
    return series


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("count", [2, 4, 5, 7, 9])
def test_tiles_become_the_slices_that_they_were(tmp_path, orientation, is_reversed, count):
    files = stack(tmp_path / "single", count, orientation=orientation)
    (expected,) = read_series(only(tmp_path / "single"))
    folder = tile(tmp_path / "tiled", files[::-1] if is_reversed else files)
    (image,) = read_series(only(folder))
    assert image.shape == (count, 24, 20), "tiles without a slice are left out"
    np.testing.assert_array_equal(image.voxels, expected.voxels)
    np.testing.assert_allclose(image.affine, expected.affine, atol=1e-6)
    assert sorted(source.frame for source in image.source.slices) == list(range(count))
    side = int(np.ceil(np.sqrt(count)))
    assert f"{side} × {side} tiles in one picture: read as {count} slices" in " ".join(only(folder).notes)


def test_what_is_drawn_on_a_tile_lies_on_its_slice(tmp_path):
    files = stack(tmp_path / "single", 5, orientation=OBLIQUE)
    (single,) = read_series(only(tmp_path / "single"))
    (image,) = read_series(only(tile(tmp_path / "tiled", files[::-1])))
    empty = LabelMap(np.zeros(image.shape, np.uint8), image.affine, (Structure(1, "disc"),), source=image.source)
    drawing = Drawing(write_kit(tmp_path / "kit", [(image, empty)]), [(image, empty)], by="AB")
    drawing.brush((0, 3), 1, [(12, 9)], size=5)
    drawing.save()
    (correction,) = read_corrections(drawing.kit.folder, by="AB")
    drawn = correction.label_map.voxels
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [3]
    assert drawn[3, 12, 9] == 1
    (area,) = (row.area_mm2 for row in measure_areas(correction.label_map) if row.area_mm2)
    assert area == pytest.approx(14.0 * drawn.sum())
    # The file lies where the slices lay before they became tiles.
    np.testing.assert_allclose(correction.label_map.affine, single.affine, atol=1e-4)


def test_several_mosaics_are_several_time_points(tmp_path):
    files = stack(tmp_path / "single", 5)
    for number in (2, 1, 3):
        tile(tmp_path / "tiled", files, number=number)
    images = read_series(only(tmp_path / "tiled"))
    assert [image.source.case_id for image in images] == ["series-1_t01", "series-1_t02", "series-1_t03"]
    assert [image.source.slices[0].path.name for image in images] == [f"mosaic {k}.dcm" for k in (1, 2, 3)]
    assert all(image.shape == (5, 24, 20) for image in images)


def test_the_number_may_stand_in_the_other_private_tag(tmp_path):
    def change(dataset):
        dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(
            0x10, "OB", csa_header(None, [0.0, 0.0, 1.0])
        )
        dataset.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 3)

    files = stack(tmp_path / "single", 3)
    (expected,) = read_series(only(tmp_path / "single"))
    (image,) = read_series(only(tile(tmp_path / "tiled", files, csa=False, change=change)))
    np.testing.assert_array_equal(image.voxels, expected.voxels)
    np.testing.assert_allclose(image.affine, expected.affine, atol=1e-6)


def _without_normal(dataset):
    dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa_header(4, None))


def _askew(dataset):
    dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(
        0x10, "OB", csa_header(4, [0.0, 1.0, 0.0])
    )


def _without_distance(dataset):
    del dataset.SpacingBetweenSlices


@pytest.mark.parametrize("change", [_without_normal, _askew, _without_distance])
def test_slices_whose_places_are_not_known_get_none(tmp_path, change):
    folder = tile(tmp_path / "tiled", stack(tmp_path / "single", 4), change=change)
    (image,) = read_series(only(folder))
    assert image.shape == (4, 24, 20)
    assert image.pixel_mm2 == pytest.approx(14.0), "areas need no place"
    words = " ".join(only(folder).notes)
    assert "does not tell where the mosaic's slices lie" in words
    assert "taken as axial" in words


@pytest.mark.parametrize(
    ("count", "words"), [(None, "how many they are is nowhere in the header"), (17, r"cannot be cut into 5 × 5")]
)
def test_a_mosaic_that_cannot_be_cut_is_refused_with_the_reason(tmp_path, count, words):
    def change(dataset):
        dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa_header(count, None))

    folder = tile(tmp_path / "tiled", stack(tmp_path / "single", 4), change=change)
    assert re.search(words, only(folder).refusal)
    with pytest.raises(ReadError, match=f"mosaic 1.dcm.*{words}.*Export"):
        read_series(only(folder))


MORE_ITEMS = csa_header(4, [0.0, 0.0, 1.0]).replace(struct.pack("<i", 3) + b"FD", struct.pack("<i", 1) + b"FD")


@pytest.mark.parametrize("data", [b"", b"SV10", b"SV10\4\3\2\1" + bytes(80), b"\xff" * 400, MORE_ITEMS])
def test_a_damaged_private_header_is_as_none(tmp_path, data):
    def change(dataset):
        dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", data)

    folder = tile(tmp_path / "tiled", stack(tmp_path / "single", 4), csa=False, change=change)
    assert "private tags are missing" in only(folder).refusal


# --- what scanners wrote


def protocol_centres(path):
    """Give the centres of the slices that the scanner's operator planned, from the protocol in the file."""
    with quiet():
        from nibabel.nicom import csareader
    tags = csareader.get_csa_header(pydicom.dcmread(path, stop_before_pixels=True), "series")["tags"]
    text = (tags.get("MrPhoenixProtocol") or tags["MrProtocol"])["items"][0]
    found = re.findall(r"sSliceArray\.asSlice\[(\d+)\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*(\S+)", text)
    centres = np.zeros((1 + max(int(place) for place, _, _ in found), 3))
    for place, axis, value in found:
        centres[int(place), ("Sag", "Cor", "Tra").index(axis)] = float(value)
    return centres


@pytest.mark.parametrize(
    ("name", "shape", "spacing_mm"),
    [
        ("siemens-mosaic/ep2d-384x384/IM-0001-0001.dcm", (36, 64, 64), (3.6, 3.203125, 3.203125)),
        ("siemens-mosaic/nih-216x216/epi_pe_ap-00001.dcm", (5, 72, 72), (12, 3, 3)),
        ("same-slice-nine-syntaxes/1.dcm", (35, 64, 64), (3.6, 3.25, 3.25)),
        ("mixed-series-one-folder/IM00002", (5, 72, 72), (12, 3, 3)),
    ],
)
def test_real_mosaics_lie_where_their_protocol_planned_them(shared_data, name, shape, spacing_mm):
    """Siemens counts a slice's centre from its corner's pixel centre: half the field of view from there."""
    path = shared_data / "dicom-zoo" / name
    (image,) = read_dicom_file(path)
    assert image.shape == shape
    assert image.spacing_mm == pytest.approx(spacing_mm, abs=1e-5)
    centres = protocol_centres(path)
    assert len(centres) == shape[0]
    index = np.column_stack([np.arange(shape[0]), *np.full((2, shape[0]), shape[1] / 2), np.ones(shape[0])])
    np.testing.assert_allclose((index @ image.affine.T)[:, :3], centres, atol=1e-4)


def test_no_slice_of_a_real_mosaic_is_empty_and_the_tile_behind_is(shared_data):
    path = shared_data / "dicom-zoo" / "same-slice-nine-syntaxes" / "1.dcm"
    (image,) = read_dicom_file(path)
    assert image.voxels.reshape(35, -1).any(axis=1).all()
    assert not pydicom.dcmread(path).pixel_array[320:, 320:].any()
