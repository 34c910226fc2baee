"""The zoo of real DICOM: what every folder holds, read right or refused with the reason (`-s` shows the table)."""

import functools

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import AutosegError, ReadError
from autoseg.files.dicom.pixels import read_frames
from autoseg.files.dicom.series import find_series, read_dicom_file, read_series
from autoseg.files.dicom.table import series_table, thumbnail

# Of every series: shape of each image, millimetres (slices, rows, columns; None where there are none), words in
# the notes.
ZOO = {
    "classic-mr-t1-axial": [([(10, 384, 274)], (0.6667, 0.6667, 0.7), "")],
    "one-series-per-syntax/uncompressed": [([(4, 256, 256)], (1, 1, 1), "")],
    "one-series-per-syntax/compressed_rle": [([(4, 256, 256)], (1, 1, 1), "")],
    "one-series-per-syntax/compressed_jpeg": [([(4, 256, 256)], (1, 1, 1), "")],
    "one-series-per-syntax/compressed_jpegls": [([(4, 256, 256)], (1, 1, 1), "")],
    "one-series-per-syntax/compressed_j2k": [([(4, 256, 256)], (1, 1, 1), "")],
    "same-slice-nine-syntaxes": [
        ([(35, 64, 64)] * 9, (3.6, 3.25, 3.25), "does not tell which slices belong together")
    ],
    "one-ct-slice-14-syntaxes": [
        ([(1, 512, 512)] * 4, (6.5, 0.6758, 0.6758), "left out: its pixels are compressed")
    ],
    "enhanced-multiframe/hyperfine": [([(8, 138, 112)], (5, 1.61, 1.59), "")],
    "enhanced-multiframe/philips-fieldmap": [([(32, 64, 64)] * 2, (4, 4, 4), "magnitude and real images")],
    "enhanced-multiframe/philips-pcasl": [([(40, 96, 96)], (4, 2.5, 2.5), "")],
    "enhanced-multiframe/siemens-xa10": [([(6, 64, 64)] * 4, (2.4, 3.375, 3.375), "there 4 times")],
    "enhanced-multiframe/siemens-xa30-epi": [([(63, 86, 86)], (2.2, 2.2326, 2.2326), "")],
    "enhanced-multiframe/pydicom": [
        ([(2, 512, 512)], (10, 0.3887, 0.3887), ""),
        ([(10, 64, 64)], None, "no PixelSpacing"),
    ],
    "siemens-mosaic/ep2d-384x384": [([(36, 64, 64)] * 2, (3.6, 3.2031, 3.2031), "read as 36 slices")],
    "siemens-mosaic/nih-216x216": [([(5, 72, 72)] * 2, (12, 3, 3), "read as 5 slices")],
    "time-series-single-folder": [
        ([(15, 64, 64)] * 4 + [(9, 64, 64)], (5, 3.75, 3.75), "_t05 lacks 6 slices of 15")
    ],
    "no-extension": [
        ([(4, 64, 64)] * 4, (3.7998, 3.4375, 3.4375), "there 4 times"),
        ([(1, 512, 512)], (5, 0.6615, 0.6615), ""),
        ([(1, 512, 512)], (10, 0.468, 0.468), ""),
    ],
    "mixed-series-one-folder": [
        *[([(5, 72, 72)] * 2, (12, 3, 3), "mosaic")] * 3,
        *[([(15, 64, 64)], (5, 3.75, 3.75), "")] * 2,
        ([(4, 256, 256)], (1, 1, 1), ""),
    ],
    "odd-geometry/gantry-tilt": [([(4, 512, 512)], (5, 0.418, 0.418), "sheared by 14.0°")],
    "odd-geometry/uneven-increment": [([(3, 512, 512), (1, 512, 512)], (5, 0.4297, 0.4297), "it is 10 mm")],
    "odd-geometry/mixed-orientation": [
        ([(2, 288, 288)], (3.3, 0.32, 0.32), "One of 2 series"),
        ([(2, 288, 288)], (4.4, 0.5556, 0.5556), "One of 2 series"),
    ],
    "odd-geometry/two-slices": [([(2, 256, 256)], (1, 1, 1), "")],
    "odd-geometry/non-isotropic": [([(4, 28, 64)], (0.5, 4, 6.4), "")],
    "patient-position/HFS": [([(2, 256, 256)], (4.8, 1.0156, 1.0156), "")],
    "patient-position/HFP": [([(2, 256, 256)], (4.8, 1.0156, 1.0156), "")],
    "patient-position/HFDL": [([(2, 256, 256)], (4.8, 1.0156, 1.0156), "")],
    "monochrome1-or-no-spacing": [
        ([(1, 1760, 1760)], None, "no PixelSpacing"),
        ([(1, 169, 211)], (1, 1.2, 1.2012), "magnified"),
        ([(1, 600, 800)], (1, 0.3305, 0.3305), "ultrasound region"),
    ],
    "colour-palette-overlay/rgb-volume": [([(4, 77, 52)], (3, 3, 3), "luminance")],
}


@pytest.fixture(scope="module")
def zoo(shared_data):
    return shared_data / "dicom-zoo"


@functools.cache
def opened(folder):
    return find_series(folder)


@pytest.mark.parametrize("name", ZOO)
def test_a_folder_is_read_as_its_scanner_meant_it(zoo, name):
    found = opened(zoo / name)
    assert len(found.series) == len(ZOO[name])
    for series, (shapes, spacing, words) in zip(found.series, ZOO[name], strict=True):
        images = read_series(series)
        assert [image.shape for image in images] == shapes
        assert (
            images[0].affine is None
            if spacing is None
            else images[0].spacing_mm == pytest.approx(spacing, abs=1e-4)
        )
        assert words in " ".join(series.notes)
        assert words or not series.notes, "nothing is said where nothing is odd"
        assert thumbnail(series).shape == shapes[0][1:]


def test_no_folder_of_the_zoo_is_forgotten(zoo):
    folders = {path.parent.relative_to(zoo).as_posix() for path in zoo.rglob("*") if path.is_file()}
    elsewhere = {"broken-or-odd-headers", "colour-palette-overlay"}  # file by file, below
    left = {name for name in folders - set(ZOO) - elsewhere if not name.startswith("dicomdir")}
    assert left <= {"."}


def test_the_table_of_all_sets(shared_data):
    """What a user is shown of the zoo and of the DICOM beside it: no row without an answer."""
    sets = ("dicom-seg-rtstruct", "cardiac-sunnybrook-dicom", "hippocampus-msd", "ct-mr-totalsegmentator-dicom")
    folders = [path for path in sorted((shared_data / "dicom-zoo").iterdir()) if path.is_dir()]
    rows = []
    for folder in [*folders, *(shared_data / name for name in sets)]:
        table = series_table(opened(folder))
        rows.append(table.assign(folder=folder.name))
        known = table["orientation"] != ""
        assert set(table["orientation"][known]) <= {"axial", "sagittal", "coronal", "oblique"}
        assert table.loc[known, ["rows", "columns", "slices", "time_points"]].gt(0).all(axis=None)
        assert table["case_id"].is_unique
    whole = pd.concat(rows).drop(columns="notes").set_index("folder")
    print(whole.to_string(max_colwidth=40, na_rep="?"))  # noqa: T201 - for the reader of `pytest -s`
    assert len(whole) > 80
    assert (whole["refusal"] == "").all()


def test_nine_mosaics_of_nine_syntaxes_are_the_same_slices(zoo):
    (series,) = opened(zoo / "same-slice-nine-syntaxes").series
    first, *others = read_series(series)
    for other in others:
        np.testing.assert_array_equal(other.voxels, first.voxels)
        np.testing.assert_array_equal(other.affine, first.affine)


def test_four_compressed_series_are_equal_and_the_uncompressed_lies_in_the_same_place(zoo):
    folders = [zoo / "one-series-per-syntax" / f"compressed_{kind}" for kind in ("rle", "jpeg", "jpegls", "j2k")]
    first, *others = (read_series(opened(folder).series[0])[0] for folder in folders)
    (plain,) = read_series(opened(zoo / "one-series-per-syntax/uncompressed").series[0])
    assert plain.same_grid(first)
    for other in others:
        np.testing.assert_array_equal(other.voxels, first.voxels)
        assert other.same_grid(first)


LOSSLESS = ("1.2", "1.2.1", "1.2.2", "1.2.1.99", "1.2.5", "4.57", "4.70", "4.80", "4.90")


def test_one_ct_slice_is_the_same_in_every_lossless_syntax(zoo):
    folder = zoo / "one-ct-slice-14-syntaxes"
    files = {path.stem.split("1.2.840.10008.")[1]: path for path in folder.glob("*.dcm")}
    files = {name.removeprefix("1.2.") if ".4." in name else name: path for name, path in files.items()}
    reference = read_frames(files["1.2.1"])
    for name in LOSSLESS:
        np.testing.assert_array_equal(read_frames(files[name]), reference)
    for name in ("4.50", "4.81", "4.91"):
        assert read_frames(files[name]).shape == reference.shape
    assert len(files) == 15


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("4.53", "Process 6 and 8.*no decoder here reads"),
        ("4.55", "Process 10 and 12.*no decoder here reads"),
        ("4.51", "Process 2 and 4.*of 12 bits, which no decoder here reads; the file itself may be whole"),
    ],
)
def test_what_no_decoder_reads_is_said_with_the_remedy(zoo, syntax, words):
    (path,) = (zoo / "one-ct-slice-14-syntaxes").glob(f"*.{syntax}.dcm")
    with pytest.raises(ReadError, match=f"{words}"):
        read_dicom_file(path)
    with pytest.raises(ReadError, match="Export the file again uncompressed"):
        read_dicom_file(path)


# Of the odd files: the reason why it is none of ours, or words of the error, or the shape that it has.
ODD = {
    "MR_truncated.dcm": "8130 of 8192 bytes",
    "csa_slice_norm.dcm": "header without pixel data",
    "image_dfl.dcm": (1, 512, 512),
    "slicethickness_empty_string.dcm": (1, 384, 384),
    "MR_small_bigendian.dcm": (1, 64, 64),
    "693_J2KI.dcm": (1, 512, 512),
    "J2K_pixelrep_mismatch.dcm": (1, 512, 512),
    "decimal_rescale.dcm": (1, 96, 128),
    "OBXXXX1A_rle_2frame.dcm": (2, 600, 800),
    "SC_rgb_16bit.dcm": (1, 100, 100),
    "SC_rgb_small_odd.dcm": (1, 3, 3),
    "MR-SIEMENS-DICOM-WithOverlays.dcm": (1, 484, 484),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_read_or_refused_with_the_reason(zoo, name):
    (path,) = [
        path for part in ("broken-or-odd-headers", "colour-palette-overlay") for path in (zoo / part).glob(name)
    ]
    if isinstance(ODD[name], str):
        with pytest.raises(ReadError, match=f"{name}.*{ODD[name]}"):
            read_dicom_file(path)
    else:
        (image,) = read_dicom_file(path)
        assert image.shape == ODD[name]


def test_every_other_odd_file_has_an_answer_too(zoo):
    for path in sorted(path for path in (zoo / "broken-or-odd-headers").iterdir() if path.is_file()):
        answer = refusal(path)
        assert not answer or (str(path) in answer and answer[-1] == ".")


def refusal(path):
    """Give the reason why a file is not read, or ""."""
    try:
        read_dicom_file(path)
    except AutosegError as error:
        return str(error)
    return ""


def test_eight_dicomdirs_are_indexes_beside_their_images(zoo):
    found = opened(zoo / "dicomdir")
    assert sum("DICOMDIR" in item.reason for item in found.skipped) >= 7
    assert sum(len(series.files) for series in found.series) >= 30
    pixelless = [item for item in found.skipped if "TINY_ALPHA" in item.path.parts]
    assert pixelless
    kinds = ("without an image (CT Image Storage)", "DICOMDIR", "not a DICOM file")
    assert all(any(kind in item.reason for kind in kinds) for item in pixelless)
