"""The form of settings: groups left out, what was typed read, an error under the very field that it is about."""

import pytest

from autoseg.errors import DataError, SettingsError
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.training.plan import change_settings


@pytest.fixture
def form():
    shown = SettingsForm(Settings(), lambda: seen.append(1), without=("epochs", "finetune"), fixed={"n": "Labels"})
    seen = shown.seen = []
    return shown


def test_what_stands_in_it_gives_the_same_settings(form):
    assert change_settings(Settings(), form.read()) == Settings()
    assert not {"epochs", "finetune.frozen"} & set(form.fields)
    form.fields["network.filters"].value = "8 16"
    form.fields["watch_erosion"].value = True
    assert len(form.seen) == 2
    changed = change_settings(Settings(), form.read())
    assert (changed.network.filters, changed.watch_erosion) == ((8, 16), True)
    form.show(Settings())
    assert (form.fields["network.filters"].value, len(form.seen)) == ("", 2)


def test_what_cannot_be_changed_is_told(form):
    form.tell({"n": "3"})
    assert (form.fixed["n"].value, form.fixed["n"].tooltip, form.fixed["n"].disabled) == ("3", "Labels", True)


@pytest.mark.parametrize(
    ("name", "typed"), [("volume.overlap", "2"), ("volume.spacing_mm", "1"), ("preprocess.spacing_mm", "x")]
)
def test_an_error_stands_under_the_field_though_another_group_has_one_of_that_name(form, name, typed):
    form.fields[name].value = typed
    with pytest.raises(SettingsError) as raised:
        change_settings(Settings(), form.read())
    form.complain(raised.value)
    assert [other for other, note in form.notes.items() if note.value] == [name]
    form.complain(DataError("batch_size is a word at the beginning of another error."))
    assert not any(note.value for note in form.notes.values())


def test_values_that_do_not_fit_together_are_said_at_a_field_that_can_mend_it(form):
    form.fields["preprocess.spacing_mm"].value, form.fields["preprocess.input_shape"].value = "1", "64 64"
    with pytest.raises(SettingsError, match="not both") as raised:
        change_settings(Settings(), form.read())
    form.complain(raised.value)
    assert form.notes["preprocess.spacing_mm"].value


def shown_of(form):
    return {name for name, row in form.rows.items() if row.layout.display != "none"}


def test_simple_settings_are_shown_and_all_at_a_tick_or_where_one_is_wrong(form):
    simple = {name for name in form.fields if all_settings()[name].simple}
    assert "preprocess.spacing_mm" in simple
    assert shown_of(form) == simple
    form.all.value = True
    assert shown_of(form) == {*form.fields}
    form.all.value = False
    assert shown_of(form) == simple
    form.fields["loss.focal_gamma"].value = "-1"
    with pytest.raises(SettingsError) as raised:
        change_settings(Settings(), form.read())
    form.complain(raised.value)
    assert "loss.focal_gamma" in shown_of(form)


def test_a_form_of_simple_settings_alone_needs_no_tick_and_no_heading_stands_over_nothing():
    few = [name for name, one in all_settings().items() if not (name == "batch_size" or name.startswith("loss."))]
    shown = SettingsForm(Settings(), print, without=few)
    heads = [row for row in shown.children if 'role="heading"' in str(getattr(row, "value", ""))]
    seen = [head.layout.display for head in heads]
    assert seen == ["none"]
    shown.all.value = True
    assert [head.layout.display for head in heads] == [""]
    assert shown.all not in SettingsForm(Settings(), print, without=[*few, "loss"]).children


def test_its_tooltips_say_unit_and_limits(form):
    assert form.fields["preprocess.spacing_mm"].tooltip.endswith(
        "Give a number above 0, at most 20, in mm, or None."
    )
    assert form.fields["spatial_dims"].tooltip.endswith("Give 2 or 3.")
