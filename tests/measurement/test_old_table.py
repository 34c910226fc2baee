"""The published workbench's areas are put right: pixels of its picture × what one of them was in truth."""

import pandas as pd
import pytest

from autoseg.cli import main
from autoseg.errors import GeometryError, OutputError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.old_table import read_old_table
from autoseg.measurement.old_table import (
    NativePixels,
    OldPixel,
    put_right,
    read_native_pixels,
    write_put_right,
)

PIXEL = (240 / 224) ** 2  # of the published manual
COUNTS = {"1": (1080, 62), "2": (990, 0), "3": (1101, 58)}  # on the 256 × 256 picture
# 96 × 112 pixels of 2 × 1.5 mm: what a pixel of the picture was.
TRUE = 96 * 2.0 * 112 * 1.5 / 256**2


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "patient.csv"
    rows = [f"{name}.png,{left * PIXEL:.4f},{right * PIXEL:.4f}" for name, (left, right) in COUNTS.items()]
    path.write_text(
        "\n".join(["Image,left,right", *rows, f"Mean,{1057 * PIXEL:.4f},{40 * PIXEL:.4f}", "n,3,3"]), "utf-8"
    )
    return path


@pytest.fixture
def dicoms(tmp_path):
    write_phantom(tmp_path / "dicoms", Phantom("uneven", pixel_spacing_mm=(2.0, 1.5)))
    return tmp_path / "dicoms"


def test_the_areas_are_those_of_the_pixels_that_were_counted(old, dicoms):
    made = put_right(read_old_table(old), OldPixel(240, 224), native=read_native_pixels(dicoms))
    assert list(made.table) == ["Image", "left (old)", "right (old)", "factor", "left", "right", "why"]
    assert made.table["factor"][:4].tolist() == pytest.approx([TRUE / PIXEL] * 4)
    assert made.table["left"][:4].tolist() == pytest.approx(
        [count * TRUE for count in (1080, 990, 1101, 1057)], abs=1e-4
    )
    assert made.table["right"][:3].tolist() == pytest.approx([62 * TRUE, 0, 58 * TRUE], abs=1e-4)
    assert made.table.iloc[4][["factor", "left"]].isna().all()
    assert made.why == (
        "The old table took 1.148 mm² per pixel (240 mm ÷ 224, squared); a pixel of the 256 × 256 picture was "
        "0.4922 mm² (96 × 112 pixels of 2 × 1.5 mm): areas were 133 % too large, and were multiplied by 0.4288.",
    )
    assert made.notes[0].startswith("5 of 5 areas of the old table are whole numbers of pixels of 1.148 mm²")
    assert "Rows that are no areas have no factor: n." in made.notes


def test_an_image_that_spans_the_field_of_view_was_measured_31_percent_too_large(old):
    typed = NativePixels(512, 512, (240 / 512, 240 / 512))
    made = put_right(read_old_table(old), OldPixel(240, 224), typed=typed)
    assert made.table["factor"][0] == pytest.approx((224 / 256) ** 2)
    assert "areas were 30.6 % too large, and were multiplied by 0.7656" in made.why[0]
    right = put_right(
        read_old_table(old), OldPixel(240, 224), typed=NativePixels(224, 224, (240 / 224,) * 2), grid=224
    )
    assert right.why[0].endswith("areas were right.")
    assert right.table["left"][0] == pytest.approx(right.table["left (old)"][0])


def test_images_that_differ_have_factors_of_their_own(old, tmp_path):
    write_phantom(tmp_path / "all", Phantom("first", pixel_spacing_mm=(2.0, 1.5)))
    write_phantom(tmp_path / "other", Phantom("other", pixel_spacing_mm=(1.0, 1.0), places_mm=(0.0, 4.0)))
    (tmp_path / "other" / "2.dcm").replace(tmp_path / "all" / "2.dcm")
    native = read_native_pixels(tmp_path / "all")
    made = put_right(read_old_table(old), OldPixel(240, 224), native=native)
    small = 96 * 112 / 256**2
    assert made.table["left"][:3].tolist() == pytest.approx([1080 * TRUE, 990 * small, 1101 * TRUE], abs=1e-4)
    assert pd.isna(made.table["left"][3])
    assert len(made.why) == 2
    assert any(note.startswith("Mean: empty, for the images differ") for note in made.notes)
    del native["2"]
    native["4"] = NativePixels(5, 5, (1.0, 1.0))
    with pytest.raises(GeometryError, match=r"row 3 \(2.png\) names none of their files"):
        put_right(read_old_table(old), OldPixel(240, 224), native=native)


@pytest.mark.parametrize(
    ("used", "how", "words"),
    [
        (OldPixel(240, 224), {}, "is not known: choose the folder"),
        (OldPixel(250, 224), {"typed": NativePixels(512, 512, (0.5, 0.5))}, "was not made with this field of view"),
        (OldPixel(24, 22.4), {"typed": NativePixels(512, 512, (50, 50))}, "Are all sizes in mm"),
        (OldPixel(0, 224), {"typed": NativePixels(512, 512, (0.5, 0.5))}, "field of view (mm) is 0"),
        (
            OldPixel(240, 224),
            {"typed": NativePixels(512, 512, (0.5, 0.5)), "native": {"1": NativePixels(512, 512, (0.5, 0.6))}},
            "is not what the header of 1 says (512 × 512 pixels of 0.5 × 0.6 mm)",
        ),
    ],
    ids=["nothing known", "another field of view", "metres", "zero", "typed against header"],
)  # fmt: skip
def test_facts_that_are_missing_or_contradict_each_other_are_refused(old, used, how, words):
    with pytest.raises(GeometryError) as error:
        put_right(read_old_table(old), used, **how)
    assert words in str(error.value)


def test_rounded_areas_cannot_be_held_against_whole_pixels(tmp_path):
    (tmp_path / "old.csv").write_text("Slice,a\n1,1239\n2,1140\n3,990\n4,71\n", "utf-8")
    made = put_right(
        read_old_table(tmp_path / "old.csv"), OldPixel(240, 224), typed=NativePixels(512, 512, (0.5, 0.5))
    )
    assert made.notes[0].startswith("The table's areas are too few, or rounded too much")


def test_a_header_without_a_size_is_refused(tmp_path):
    import pydicom

    (path, *_) = write_phantom(tmp_path / "dicoms", Phantom("plain"))
    dataset = pydicom.dcmread(path)
    del dataset.PixelSpacing
    dataset.save_as(path)
    with pytest.raises(GeometryError, match="does not tell the size of a pixel"):
        read_native_pixels(tmp_path / "dicoms")


def test_the_command_writes_beside_the_old_table_and_over_nothing(old, dicoms, capsys):
    before = old.read_bytes()
    command = ["old-table", str(old), "--field-of-view-mm", "240", "--matrix-size", "224"]
    assert main([*command, "--dicom", str(dicoms)]) == 0
    said = capsys.readouterr().out
    assert "areas were 133 % too large" in said
    assert "531.6" in said  # 1080 × 0.4922
    written = pd.read_csv(old.with_name("patient_put_right.csv"))
    assert written["left"][0] == pytest.approx(1080 * TRUE, abs=1e-4)
    assert written["why"][0].startswith("The old table took 1.148 mm² per pixel")
    assert old.read_bytes() == before
    assert main([*command, "--dicom", str(dicoms)]) == 1
    assert "not written over" in capsys.readouterr().err
    assert main([*command, "--image-size", "96", "112"]) == 1
    assert "Something is missing" in capsys.readouterr().err
    typed = ["--image-size", "96", "112", "--pixel-spacing-mm", "2", "1.5", "--output", str(old.with_name("b.csv"))]
    assert main([*command, *typed]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(old.with_name("b.csv")), written)


def test_no_file_is_written_over(old, dicoms):
    made = put_right(read_old_table(old), OldPixel(240, 224), native=read_native_pixels(dicoms))
    with pytest.raises(OutputError, match="not written over"):
        write_put_right(made, old, old)
