"""The preview: what training would see, at a click, and how it is varied."""

from dataclasses import fields, replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, patch_reading, quick_settings

from autoseg.data.cases import CaseFolder
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import AugmentationSettings
from autoseg.panels.data.preview import CHANGES, PreviewPanel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Data
from autoseg.training.plan import Plan


def make_data(tmp_path, count=4, structures=STRUCTURES, **settings):
    cases = CaseFolder(tmp_path, tuple(make_case(number) for number in range(count)), structures)
    return Data(cases, (), Plan(quick_settings(**settings), ("subject0",), ()))


@pytest.fixture
def source(monkeypatch, tmp_path):
    """A panel with data whose cases are made up; `tmp_path` is their folder."""
    patch_reading(monkeypatch)
    panel = Panel()
    panel.value = make_data(tmp_path)
    return panel


def shown(source, **arguments):
    panel = PreviewPanel(source, **arguments)
    panel.wait(60)
    return panel


def test_a_batch_is_shown_at_once_as_planned(source):
    panel = shown(source)
    assert panel.value == source.value.plan.settings.augmentation
    assert panel.picture.value.count("<img") == 6  # three training subjects with two slices each
    assert "core, ring" in panel.picture.value
    assert panel.message.value == ""


def test_a_click_shows_the_next_batch_without_reading_again(source, monkeypatch):
    panel = shown(source)
    first = panel.picture.value
    monkeypatch.setattr("autoseg.model.dataset.build.read_case", None)
    panel.next.click()
    assert panel.batch == 1
    assert panel.picture.value != first
    assert panel.value is not None
    panel.show_batch(0)
    assert panel.picture.value == first


def test_validation_subjects_and_those_set_aside_are_not_shown(source, monkeypatch):
    from autoseg.data.test_subjects import freeze_test_subjects

    freeze_test_subjects(source.value.cases.folder, ["subject1"])
    seen = []
    monkeypatch.setattr("autoseg.panels.data.preview.preview_slices", lambda cases, *_, **__: seen.extend(cases))
    shown(source)
    assert [case.case_id for case in seen] == ["case2", "case3"]


def test_every_setting_of_the_augmentation_has_its_place(source):
    panel = shown(source)
    read = {name for switch in panel.switches.values() for name in switch.read()}
    assert read == {item.name for item in fields(AugmentationSettings)}
    assert len(panel.switches) == len(CHANGES) == 12
    for switch in panel.switches.values():
        for control in switch.controls():
            assert control.tooltip
            assert control.description


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_a_switch(source, name):
    panel = shown(source, augmentation=AugmentationSettings.off())
    assert panel.value == AugmentationSettings.off()
    panel.switches[name].on.value = True
    panel.switches[name].chance.value = 30
    assert panel.value == replace(AugmentationSettings.off(), **{f"{name}_probability": 0.3})
    panel.switches[name].on.value = False
    assert panel.value == AugmentationSettings.off()


def test_an_amount_changes_the_value_and_the_picture(source):
    panel = shown(source)
    before = panel.picture.value
    panel.switches["rotation"].amount.value = "5"
    panel.switches["zoom"].amount.value = "0.9, 1.2"
    assert (panel.value.rotation_deg, panel.value.zoom) == (5, (0.9, 1.2))
    assert panel.picture.value != before


def test_none_of_them_and_as_planned(source):
    panel = shown(source, augmentation=AugmentationSettings(rotation_deg=33))
    assert panel.value.rotation_deg == 33
    panel.none.click()
    assert not any(getattr(panel.value, f"{name}_probability") for name in CHANGES)
    panel.planned.click()
    assert panel.value == AugmentationSettings(rotation_deg=33)


def test_what_a_script_asks_for_is_kept_exactly(source):
    wanted = replace(AugmentationSettings(), zoom=(0.2, 1 / 3), noise_probability=0.001, gamma_probability=1 / 3)
    panel = shown(source, augmentation=wanted)
    assert panel.value.noise_probability == 0.001
    assert panel.value.gamma_probability == 1 / 3
    assert panel.value.zoom == pytest.approx((0.2, 1 / 3))


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("rotation", "far", "rotation_deg is 'far'; give a number"),
        ("rotation", "200", "rotation_deg is 200.0; give a number from 0 to 180, in degrees"),
        ("zoom", "1.2", "zoom is '1.2'; give two numbers"),
        ("zoom", "2, 1", "the smaller first"),
    ],
)
def test_a_wrong_amount_is_a_sentence(source, name, typed, words):
    panel = shown(source)
    panel.switches[name].amount.value = typed
    assert words in panel.message.value.replace("&#x27;", "'")
    assert panel.value is None
    panel.planned.click()
    assert panel.value == source.value.plan.settings.augmentation
    assert panel.message.value == ""


def test_the_overlay_can_be_made_fainter(source):
    panel = shown(source)
    before, value = panel.picture.value, panel.value
    panel.opacity.value = 0.0
    assert panel.picture.value != before
    assert panel.value == value


@pytest.mark.parametrize(
    ("structures", "words"),
    [
        (STRUCTURES, "No structure here has a counterpart"),
        ((Structure(1, "psoas left"), Structure(5, "psoas right")), "psoas left and psoas right"),
        ((Structure(1, "kidney", side="left"), Structure(5, "disc")), "Leave mirroring off"),
    ],
)
def test_mirroring_says_what_becomes_of_the_sides(monkeypatch, tmp_path, structures, words):
    patch_reading(monkeypatch)
    source = Panel()
    source.value = make_data(tmp_path, structures=structures)
    panel = shown(source)
    assert "Mirroring" not in panel.message.value
    panel.switches["flip"].on.value = True
    assert words in panel.message.value
    assert panel.value.flip_probability == 0.5


def test_without_data_it_says_what_to_do_first(source):
    data, source.value = source.value, None
    panel = shown(source)
    assert "Choose your images above first" in panel.message.value
    assert panel.value is None
    assert panel.next.disabled
    source.value = data
    panel.wait(60)
    assert panel.value is not None
    assert not panel.next.disabled
    source.value = None
    panel.wait(60)
    assert (panel.value, panel.picture.value) == (None, "")


def test_other_data_bring_their_own_plan_and_slices(source, tmp_path):
    panel = shown(source)
    panel.none.click()
    panel.next.click()
    before = panel.picture.value
    source.value = make_data(tmp_path, 3, augmentation=AugmentationSettings(rotation_deg=7))
    panel.wait(60)
    assert panel.value.rotation_deg == 7
    assert panel.batch == 0
    assert panel.picture.value.count("<img") == 4
    assert panel.picture.value != before


def test_what_cannot_be_read_is_a_sentence(source, monkeypatch):
    from autoseg.errors import ReadError

    def fail(case, structures):
        raise ReadError("subject1/leg.dcm is damaged. Export it again.")

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", fail)
    panel = shown(source)
    assert "a file of patient 2 is damaged" in panel.message.value
    assert (panel.value, panel.picture.value) == (None, "")


def test_of_a_large_folder_a_part_is_read(monkeypatch, tmp_path):
    patch_reading(monkeypatch, size=(16, 16), slices=1)
    seen = []
    from autoseg.panels.data import preview as module

    original = module.preview_slices
    monkeypatch.setattr(
        module, "preview_slices", lambda cases, *a, **k: seen.append(len(cases)) or original(cases, *a, **k)
    )
    source = Panel()
    source.value = make_data(tmp_path, 60)
    assert shown(source).value is not None
    assert seen == [40]


def test_changes_of_brightness_can_be_seen(source):
    bright = replace(AugmentationSettings.off(), brightness_probability=1.0, brightness=2.0)
    panel = shown(source, augmentation=AugmentationSettings.off())
    before = panel.picture.value
    panel.set_augmentation(bright)
    assert panel.picture.value != before
    assert np.isclose(panel.value.brightness, 2.0)


# --- volumes


def volume_data(tmp_path):
    from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, VolumeSettings

    return make_data(
        tmp_path,
        spatial_dims=3,
        preprocess=PreprocessSettings(),
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 3.0)),
        augmentation=AugmentationSettings.volumes(),
    )


def test_of_volumes_middle_slices_are_shown_and_what_is_of_slices_is_hidden(monkeypatch, tmp_path):
    patch_reading(monkeypatch, slices=12, size=(24, 24), spacing=(3.0, 3.0, 3.0))
    panel = Panel()
    panel.value = volume_data(tmp_path)
    preview = shown(panel)
    assert preview.value == AugmentationSettings.volumes()
    assert preview.picture.value.count("<img") == 3  # a patch is a volume, of three training subjects
    assert "Middle slice of part 1 of a volume" in preview.picture.value
    assert "mirrors are among all settings" in preview.hint.value
    hidden = {name for name, switch in preview.switches.items() if switch.layout.display == "none"}
    assert hidden == {"crop", "flip", "flip_rows", "quarter_turn"}
    before = preview.picture.value
    preview.switches["rotation"].amount.value = "5"
    assert preview.value.rotation_deg == 5
    assert preview.picture.value != before
    panel.value = None
    preview.wait(60)
    panel.value = make_data(tmp_path)
    preview.wait(60)
    assert not any(switch.layout.display for switch in preview.switches.values())
    assert "slices are varied" in preview.hint.value
