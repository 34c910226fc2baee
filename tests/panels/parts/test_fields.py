"""Fields, boxes and buttons: named for everybody, and what fails at a click is said in the panel."""

import ipywidgets as widgets

from autoseg.data.codes import is_without_ids
from autoseg.errors import DataError
from autoseg.panels.parts.fields import WithoutIds, button, field, tick
from autoseg.panels.parts.panel import Panel


def test_a_field_has_its_words_and_tells_them_on_hovering():
    name = field(widgets.Text, "Name", value="leg", width="80px", label="0px")
    assert (name.description, name.tooltip, name.value) == ("Name", "Name", "leg")
    assert (name.layout.width, name.style.description_width) == ("80px", "0px")
    assert not name.continuous_update
    assert field(widgets.Text, "Name", continuous_update=True).continuous_update
    assert field(widgets.Dropdown, "Unit", "Of time", options=["s", "min"], value="min").tooltip == "Of time"
    assert tick("Show IDs", value=True).value


def test_what_fails_at_a_click_is_said_in_the_panel():
    def fail():
        raise DataError("Nothing is chosen.")

    panel = Panel()
    panel.value = 1
    button("Go", fail, panel=panel).click()
    assert "Nothing is chosen." in panel.message.value
    assert panel.value is None


def test_a_tick_has_codes_stand_for_the_patients_of_a_folder_from_then_on(tmp_path):
    looked = []
    box = WithoutIds(lambda: looked.append(is_without_ids(tmp_path)))
    assert box.layout.display == "none"
    box.show(tmp_path)
    assert (box.layout.display, box.box.value, looked) == ("", False, [])
    box.box.value = True
    assert looked == [True]
    assert "without_patient_ids.txt" in box.said.value
    again = WithoutIds(looked.clear)
    again.show(tmp_path)
    assert (again.box.value, looked) == (True, [True])
    box.box.value = False
    assert looked == [True, False]
    (tmp_path / "in").mkdir()
    box.box.value = True
    box.show(tmp_path / "in")
    box.box.value = False
    assert "delete that file by hand" in box.said.value
    assert box.box.value
    box.show(None)
    assert box.layout.display == "none"
