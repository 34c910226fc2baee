"""How to read the files, as controls."""

import pytest

from autoseg.data.cases import Reading
from autoseg.panels.data.reading import HowToRead, ReadingPanel


def test_as_it_is_given():
    reading = Reading(("T1w", "T2w"), "staple", 3, True, (0.5, 0.75), "sagittal", True)
    assert ReadingPanel(reading, unlabelled="skip").value == HowToRead(reading, "skip")
    assert ReadingPanel().value == HowToRead()


@pytest.mark.parametrize(
    ("control", "typed", "wanted"),
    [
        ("channels", "T1w; T2w", {"channels": ("T1w", "T2w")}),
        ("raters", "mean", {"raters": "mean"}),
        ("agreeing", 2, {"agreeing": 2}),
        ("plane", "axial", {"plane": "axial"}),
        ("only_levels", True, {"only_levels": True}),
        ("trust_array", True, {"trust_array": True}),
        ("single_pictures", True, {"single_pictures": True}),
    ],
)
def test_each_control_is_a_field(control, typed, wanted):
    panel = ReadingPanel()
    getattr(panel, control).value = typed
    assert panel.value == HowToRead(Reading(**wanted))


def test_images_without_labels_are_left_out_if_wanted():
    panel = ReadingPanel()
    panel.skip.value = True
    assert panel.value == HowToRead(unlabelled="skip")


def test_the_pixel_size_needs_both_numbers_and_takes_a_comma():
    panel = ReadingPanel()
    before = panel.value
    panel.spacing[0].value = "0,5"
    assert panel.value is before  # nothing is read anew, nor folds away, while one types
    assert "Type the other distance" in panel.message.value
    panel.spacing[1].value = "0.75"
    assert panel.value == HowToRead(Reading(pixel_spacing_mm=(0.5, 0.75)))
    assert panel.message.value == ""
    panel.spacing[1].value = "-1"
    assert panel.value is None
    assert "two numbers in mm" in panel.message.value
    panel.spacing[1].value = "wide"
    assert panel.value is None
    assert "give both" in panel.message.value


def test_every_control_has_words():
    panel = ReadingPanel()
    controls = [control for control in panel.body.children if hasattr(control, "tooltip")][1:]
    assert len(controls) == 10
    assert all(control.description and control.tooltip for control in controls)
