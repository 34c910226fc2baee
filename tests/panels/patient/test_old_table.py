"""A table of the published workbench put right on the page."""

import io

import pandas as pd
import pytest

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.panels.patient.old_table import OldTablePanel

PIXEL = (240 / 224) ** 2
TRUE = 96 * 2.0 * 112 * 1.5 / 256**2  # of the picture's pixels, whose image has 96 × 112 of 2 × 1.5 mm
COUNTS = (1080, 990, 1101, 1057)
TABLE = "\n".join(["Image,psoas", *(f"{n}.png,{count * PIXEL:.4f}" for n, count in enumerate(COUNTS))])


@pytest.fixture
def panel():
    made = OldTablePanel()
    made.use("patient.csv", TABLE.encode())
    made.field_of_view.value, made.matrix_size.value = "240", "224"
    return made


def downloaded(panel):
    [one] = panel.download.children
    assert one.name == "patient_put_right.csv"
    return pd.read_csv(io.BytesIO(one.make()))


def test_a_table_is_put_right_by_the_headers_of_its_images(panel, tmp_path):
    write_phantom(tmp_path / "dicoms", Phantom("uneven", pixel_spacing_mm=(2.0, 1.5)))
    panel.chooser.choose(tmp_path / "dicoms")
    panel.wait(60)
    panel.make()
    panel.wait(60)
    assert downloaded(panel)["psoas"].tolist() == pytest.approx([count * TRUE for count in COUNTS], abs=1e-3)
    assert "133 % too large" in panel.shown.value
    assert panel.value.table["factor"][0] == pytest.approx(TRUE / PIXEL)


def test_or_by_what_is_typed_and_nothing_stands_there_of_other_numbers(panel):
    panel.size.value, panel.spacing.value = "96 x 112", "2 x 1.5"
    panel.make()
    panel.wait(60)
    assert downloaded(panel)["psoas"].tolist() == pytest.approx([count * TRUE for count in COUNTS], abs=1e-3)
    panel.spacing.value = "2 x 2"
    assert panel.value is None
    assert (panel.shown.value, panel.download.children) == ("", ())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"matrix_size": ""}, "Type the field of view and the matrix size"),
        ({"matrix_size": "200", "size": "96 x 112", "spacing": "2"}, "was not made with this field of view"),
        ({"size": "96 x 112"}, "type both"),
        ({"size": "96.5 x 112", "spacing": "2"}, "whole rows and columns"),
        ({}, "choose the folder with their DICOM files, or type"),
    ],
)
def test_what_is_missing_or_wrong_is_a_sentence(panel, typed, said):
    for name, value in typed.items():
        getattr(panel, name).value = value
    panel.make()
    panel.wait(60)
    assert said in panel.message.value
    assert panel.value is None


def test_without_a_table_nothing_is_made():
    panel = OldTablePanel()
    panel.make()
    assert "Choose the old table first" in panel.message.value
