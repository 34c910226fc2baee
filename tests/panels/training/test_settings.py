"""The settings: planned with reasons, open to change, and never those of yesterday's images."""

import html
import threading
from dataclasses import fields, is_dataclass, replace

import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.data import label_counts
from autoseg.data.cases import CaseFolder
from autoseg.data.split import subjects_of
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.model.device import Computer
from autoseg.model.settings.settings import (
    AugmentationSettings,
    Settings,
)
from autoseg.model.settings.text import all_settings, value_of
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Data, Task
from autoseg.panels.training.settings import SettingsPanel, fingerprint_table
from autoseg.training.plan import Fingerprint, StructureFacts, plan_settings
from autoseg.training.recipes import recipe

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    monkeypatch.setattr(
        "autoseg.training.plan.survey.read_case", lambda case, _: make_pair(int(case.case_id.removeprefix("case")))
    )
    monkeypatch.setattr("autoseg.training.plan.choices.find_computer", lambda: LAPTOP)


def make_data(folder, numbers=range(5)):
    cases = CaseFolder(folder, tuple(make_case(number) for number in numbers), STRUCTURES)
    return Data(cases, (), plan_settings(cases))


@pytest.fixture
def source(tmp_path):
    panel = Panel()
    panel.value = make_data(tmp_path)
    return panel


def shown(source, *arguments, **named):
    panel = SettingsPanel(source, *arguments, **{"folder": source.value.cases.folder, **named})
    panel.wait(60)
    return panel


# --- who validates, and what that leaves unknown


def test_what_cannot_be_learnt_or_validated_is_said_before_learning(tmp_path, monkeypatch):
    def show(case, structures):
        """Only subject2 shows the ring."""
        voxels = make_pair(int(case.case_id.removeprefix("case")))[1].voxels
        return voxels if case.case_id == "case2" else voxels * (voxels == 1)

    monkeypatch.setattr(label_counts, "read_case_labels", show)
    label_counts._counted.cache_clear()
    panel = Panel()
    panel.value = make_data(tmp_path)
    try:
        settings = shown(panel)
        assert "subject2" in subjects_of(settings.value.split.training)
        assert "Validation lacks ring, so nothing will be known" in settings.message.value
        settings.validation.value = ("subject2",)
        assert "Nobody who is learnt from shows ring, so it cannot be learnt" in settings.message.value
        assert settings.value is not None
    finally:
        label_counts._counted.cache_clear()


# --- the plan


def test_the_plan_is_shown_with_its_reasons_and_handed_on(source):
    panel = shown(source, name="leg")
    task, plan = panel.value, source.value.plan
    assert isinstance(task, Task)
    assert task.settings == plan.settings
    assert subjects_of(task.split.validation) == plan.validation_subjects
    assert (task.name, task.folder, task.structures) == ("leg", source.value.cases.folder, STRUCTURES)
    for choice in plan.choices:
        assert choice.name.rpartition(".")[2] in panel.table.value
    assert "is seen about" in panel.table.value
    assert "Your choice" not in panel.table.value
    assert panel.message.value == ""
    assert panel.more.selected_index is None


def test_what_the_plan_saw_of_the_images_stands_above_it(source):
    table = shown(source).table.value
    for words in (
        "5 images of 5 patients, about 10 slices of typically 64 × 64 pixels of 1.5 mm.",
        "An image has about 2 slices, 8 mm apart; 100% of the slices show a structure.",
        "What the structures are like",
        "clearly brighter (",
        'title="network.name"',
        ">Network</th>",
        ">EfficientNet U-Net</td>",
        ">Slices seen on either side</th>",
        ">With a structure, part</th>",
    ):
        assert words in table
    assert table.index("5 images") < table.index("Setting")
    assert "subject0" not in table


def test_names_and_lengths_in_the_table_of_structures_are_shown_as_they_are():
    structures = (StructureFacts("a <b>", None, 0.004, 0.5, None), StructureFacts("c", 7.25, 0.25, 1.0, -1.5))
    found = Fingerprint(3, 3, 3, "pixels", 1.0, 64, 64, 1.0, 1.0, None, 1.0, structures)
    table = fingerprint_table(found)
    assert "a &lt;b&gt;" in table
    for words in (">not seen<", ">unknown<", ">0.40%<", ">50%<", ">7.2 pixels<", ">darker (1.5 SD)<", ">25%<"):
        assert words in table


def test_a_changed_setting_is_told_to_be_the_users_choice(source):
    panel = shown(source)
    panel.form.fields["batch_size"].value = "4"
    assert panel.value.settings.batch_size == 4
    assert "Your choice. Planned 32" in panel.table.value
    panel.back.click()
    assert panel.value.settings == source.value.plan.settings
    assert "Your choice" not in panel.table.value
    panel.validation.value = ("subject0", "subject1")
    assert subjects_of(panel.value.split.validation) == ("subject0", "subject1")
    assert "Your choice" in panel.table.value


def test_arguments_go_before_the_plan_also_after_back_to_the_plan(source):
    changes = {"preprocess.spacing_mm": 2.2, "best_by": "iou"}
    panel = shown(source, epochs=7, validation_subjects=["subject4"], changes=changes)
    for _ in range(2):
        settings = panel.value.settings
        assert (settings.epochs, settings.minutes) == (7, None)
        assert (settings.preprocess.spacing_mm, settings.best_by) == (2.2, "iou")
        assert subjects_of(panel.value.split.validation) == ("subject4",)
        panel.amount.value = "9"
        panel.validation.value = ("subject1",)
        panel.back.click()


def test_a_budget_given_as_argument_is_planned_for(source):
    quick, slow = shown(source, minutes=0.01), shown(source, minutes=60)
    assert quick.value.settings.preprocess.spacing_mm > slow.value.settings.preprocess.spacing_mm
    assert quick.value.settings.minutes == 0.01


def test_it_can_be_planned_anew_for_another_time(source):
    panel = shown(source)
    before = panel.value.settings.preprocess.spacing_mm
    panel.amount.value = "0.01"
    assert panel.value.settings.preprocess.spacing_mm == before
    panel.again.click()
    panel.wait(60)
    assert panel.value.settings.preprocess.spacing_mm > before
    assert panel.value.settings.minutes == 0.01


# --- the few questions


def test_minutes_or_epochs(source):
    panel = shown(source)
    panel.unit.value = "epochs"
    assert (panel.value.settings.epochs, panel.value.settings.minutes) == (100, None)
    panel.amount.value = "12"
    assert panel.value.settings.epochs == 12
    panel.unit.value = "minutes"
    assert (panel.value.settings.epochs, panel.value.settings.minutes) == (None, 5)
    panel.amount.value = "2,5"
    assert panel.value.settings.minutes == 2.5
    panel.best_by.value = "loss"
    assert panel.value.settings.best_by == "loss"


def test_the_name_is_checked_at_once_and_an_older_model_is_said(source):
    folder = source.value.cases.folder
    (folder / "leg_40.pt").write_bytes(b"")
    panel = shown(source)
    assert "a new model" in panel.name_note.value
    panel.name.value = "leg"
    assert "leg_40.pt is there already; it stays" in panel.name_note.value
    assert panel.value.name == "leg"
    panel.name.value = "a/b"
    assert panel.value is None
    assert "cannot be a file name" in panel.message.value
    assert panel.name_note.value == ""
    panel.name.value = "knee"
    assert panel.value.name == "knee"
    assert panel.message.value == ""


def test_patients_are_shown_by_numbers_until_ids_are_asked_for(source):
    panel = shown(source)
    labels = [label for label, _ in panel.validation.options]
    assert labels[0] == "patient 1 (1 image)"
    assert "subject" not in panel.table.value.replace("validation_subjects", "")
    chosen = panel.validation.value
    panel.show_ids.value = True
    assert next(label for label, _ in panel.validation.options) == "subject0 (1 image)"
    assert panel.validation.value == chosen
    assert panel.value is not None


def test_patients_set_aside_are_not_offered_and_stay_apart(tmp_path):
    freeze_test_subjects(tmp_path, ["subject2"])
    source = Panel()
    source.value = make_data(tmp_path)
    panel = shown(source)
    assert [value for _, value in panel.validation.options] == [f"subject{n}" for n in (0, 1, 3, 4)]
    assert subjects_of(panel.value.split.test) == ("subject2",)
    assert "subject2" not in subjects_of(panel.value.split.training)


def test_nobody_to_validate_on_is_allowed_and_warned_of(source):
    panel = shown(source)
    panel.validation.value = ()
    assert panel.value.split.validation == ()
    assert "No patient is set aside" in panel.message.value
    panel.validation.value = tuple(f"subject{n}" for n in range(5))
    assert panel.value is None
    assert "No case is left to train on: patient 1" in panel.message.value
    assert "subject0" not in panel.message.value
    panel.show_ids.value = True
    panel.validation.value = tuple(f"subject{n}" for n in range(5))
    panel.name.value = "again"
    assert "train on: subject0, subject1" in panel.message.value


# --- everything else


def test_the_form_has_every_setting_once_with_its_own_name_and_a_tooltip(source):
    panel = shown(source)
    apart = {"epochs", "minutes", "best_by"}
    expected = set()
    for item in fields(Settings):
        part = getattr(Settings(), item.name)
        if item.name == "finetune":  # without effect in a training from scratch
            continue
        if is_dataclass(part):
            expected |= {f"{item.name}.{inner.name}" for inner in fields(part)}
        elif item.name not in apart:
            expected.add(item.name)
    assert set(panel.form.fields) == expected
    for name, field in panel.form.fields.items():
        assert field.description == all_settings()[name].label
        assert field.tooltip.startswith(f"{name}: ")
    (labels,) = panel.form.fixed.values()
    assert (labels.value, labels.description) == ("3", "Structures and background")
    assert labels.disabled


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "0,001", 0.001),
        ("patience", "20", 20),
        ("network.dropout", "0.2", 0.2),
        ("network.filters", "8, 16, 32", (8, 16, 32)),
        ("preprocess.clip_percentiles", "1 99", (1.0, 99.0)),
        ("preprocess.crop_mm", "80 × 96", (80.0, 96.0)),
        ("preprocess.clahe", True, True),
        ("loss.overlap_until", "inf", float("inf")),
        ("precision", "float32", "float32"),
    ],
)
def test_a_field_changes_its_setting(source, name, typed, value):
    panel = shown(source)
    panel.form.fields[name].value = typed
    assert value_of(panel.value.settings, name) == value
    assert panel.value.settings != source.value.plan.settings


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("learning_rate", "fast", "learning_rate is 'fast'; give a number"),
        ("learning_rate", "", "learning_rate is ''; give a number"),
        ("batch_size", "2.5", "batch_size is '2.5'; give a whole number"),
        ("batch_size", "0", "batch_size is 0; give a whole number from 1"),
        ("network.dropout", "2", "dropout is 2.0; give a number from 0, below 1"),
        ("preprocess.clip_percentiles", "99", "clip_percentiles is '99'; give two numbers"),
        ("preprocess.spacing_mm", "nan", "spacing_mm is nan"),
    ],
)
def test_a_wrong_value_gets_its_sentence_beside_it_and_nothing_is_handed_on(source, name, typed, words):
    panel = shown(source)
    panel.form.fields[name].value = typed
    assert panel.value is None
    message = panel.message.value.replace("&#x27;", "'")
    assert f"{html.escape(all_settings()[name].label)}: {words}" in message
    assert "Traceback" not in message
    assert words in panel.form.notes[name].value.replace("&#x27;", "'")
    assert sum(bool(note.value) for note in panel.form.notes.values()) == 1
    panel.back.click()
    assert panel.value is not None
    assert panel.message.value == ""
    assert not any(note.value for note in panel.form.notes.values())


def test_values_that_do_not_fit_together_are_said(source):
    panel = shown(source)
    panel.form.fields["preprocess.input_shape"].value = "128, 128"
    assert "Give spacing_mm or input_shape, not both" in panel.message.value
    assert panel.value is None
    panel.form.fields["preprocess.spacing_mm"].value = ""
    assert panel.value.settings.preprocess.input_shape == (128, 128)


def test_settings_can_be_chosen_by_a_script(source):
    panel = shown(source)
    panel.choose(epochs=3, batch_size=2)
    assert (panel.value.settings.epochs, panel.value.settings.minutes) == (3, None)
    assert panel.value.settings.batch_size == 2
    assert (panel.unit.value, panel.amount.value) == ("epochs", "3")
    panel.choose(epochs=0)
    assert panel.value is None
    assert "epochs is 0" in panel.message.value


# --- what other panels say


def test_the_augmentation_is_that_of_the_preview_or_stands_in_the_form(source):
    preview = Panel()
    preview.value = AugmentationSettings(rotation_deg=11)
    panel = shown(source, preview)
    assert panel.value.settings.augmentation.rotation_deg == 11
    preview.value = AugmentationSettings(rotation_deg=12)
    assert panel.value.settings.augmentation.rotation_deg == 12
    assert not any(name.startswith("augmentation.") for name in panel.form.fields)
    preview.value = None  # it reads, or something in it must be mended
    assert panel.value is None
    assert "as soon as the preview" in panel.message.value
    alone = shown(source)
    alone.form.fields["augmentation.rotation_deg"].value = "13"
    assert alone.value.settings.augmentation.rotation_deg == 13


def test_without_data_it_says_what_to_do_first(source):
    data, source.value = source.value, None
    panel = SettingsPanel(source)
    panel.wait(60)
    assert panel.value is None
    assert "Choose your images above first" in panel.message.value
    assert panel.validation.disabled
    source.value = data
    assert panel.value is not None
    assert "changed" not in panel.message.value
    assert not panel.validation.disabled


def test_other_images_bring_their_plan_and_never_keep_yesterdays_subjects(source, tmp_path):
    panel = shown(source, name="leg")
    panel.form.fields["batch_size"].value = "3"
    panel.validation.value = ("subject1",)
    source.value = None
    panel.wait(60)
    assert panel.value is None
    assert panel.table.value == ""
    assert panel.validation.options == ()
    assert panel.more.layout.display == "none"
    source.value = make_data(tmp_path, range(10, 14))
    assert panel.table.value
    assert panel.more.layout.display == ""
    assert "The images changed" in panel.message.value
    assert panel.value.settings == source.value.plan.settings
    assert subjects_of(panel.value.split.validation) == source.value.plan.validation_subjects
    assert {value for _, value in panel.validation.options} == {f"subject{n}" for n in range(10, 14)}
    panel.amount.value = "4"
    assert panel.message.value == ""


def test_older_settings_never_go_with_other_images_though_the_preview_comes_in_between(
    source, tmp_path, monkeypatch
):
    preview = Panel()
    preview.value = AugmentationSettings()
    panel, seen, threads = shown(source, preview), [], []
    panel.choose(batch_size=1)
    panel.observe(lambda change: seen.append(change["new"]), "value")
    real = panel._show_settings

    def interrupted(settings):
        hands_on = threading.Thread(target=setattr, args=(preview, "value", AugmentationSettings(noise=0.2)))
        hands_on.start()
        hands_on.join(0.3)
        threads.append(hands_on)
        real(settings)

    monkeypatch.setattr(panel, "_show_settings", interrupted)
    source.value = make_data(tmp_path / "other")
    for thread in threads:
        thread.join(10)
    assert panel.value.settings.augmentation.noise == 0.2
    assert {task.settings.batch_size for task in seen if task} == {source.value.plan.settings.batch_size}


def test_the_preview_of_older_images_hands_nothing_on(source, tmp_path):
    preview = Panel()
    preview.value = AugmentationSettings()
    panel = shown(source, preview)
    older, seen = panel.value, []
    panel.observe(lambda change: seen.append(change["new"]), "value")

    def first(_):  # the preview follows the data before the settings do
        preview.value = AugmentationSettings(rotation_deg=3)

    source.observe(first, "value")
    source._trait_notifiers["value"]["change"].reverse()
    source.value = make_data(tmp_path, range(10, 14))
    tasks = [task for task in seen if task is not None]
    assert tasks
    assert all(
        case.case_id not in {c.case_id for c in older.split.training} for t in tasks for case in t.split.training
    )


def test_subjects_asked_for_that_are_not_there_are_said(source):
    panel = shown(source, validation_subjects=["subject1", "Mr Nobody"])
    assert subjects_of(panel.value.split.validation) == source.value.plan.validation_subjects
    assert "Mr Nobody" in panel.message.value


def test_fewer_patients_and_who_of_them_validates_reach_the_page_in_one_message(source, tmp_path, monkeypatch):
    source.value = make_data(tmp_path, range(9))
    panel = shown(source)
    panel.validation.value = ("subject8",)
    sent = []
    monkeypatch.setattr(
        type(panel.validation),
        "send_state",
        lambda _, key=None: sent.append({key} if isinstance(key, str) else set(key)),
    )
    source.value = make_data(tmp_path, range(2))
    # A place that the shorter list does not have would be an error in the page.
    lists = [keys for keys in sent if "_options_labels" in keys]
    assert lists
    assert all("index" in keys for keys in lists)


# --- slices or volumes


@pytest.fixture
def volumes(monkeypatch, tmp_path):
    """A panel with data that are planned as volumes."""
    monkeypatch.setattr(
        "autoseg.training.plan.survey.read_case",
        lambda case, _: make_pair(
            int(case.case_id.removeprefix("case")), slices=24, size=(40, 48), spacing=(1.5, 1.5, 1.5)
        ),
    )
    panel = Panel()
    panel.value = make_data(tmp_path)
    return panel


def test_volumes_are_planned_and_shown_with_the_reason(volumes):
    panel = shown(volumes)
    assert panel.value.settings.spatial_dims == 3
    assert panel.value.settings == volumes.value.plan.settings
    for words in ("Volumes (3-D)", "Seen at once, voxels", "48, 40, 24", "Each stage divides by"):
        assert words in panel.table.value
    panel.form.fields["volume.patch_size"].value = "32 x 32"
    assert panel.value is None
    assert "patch_size" in panel.form.notes["volume.patch_size"].value
    panel.form.fields["volume.patch_size"].value = "32, 32, 16"
    assert panel.value.settings.volume.patch_size == (32, 32, 16)
    assert "Your choice. Planned 48, 40, 24" in panel.table.value


def test_who_chooses_slices_gets_the_plan_for_slices_and_comes_back(volumes):
    panel = shown(volumes, minutes=3)
    panel.form.fields["spatial_dims"].value = 2
    panel.wait(60)
    settings = panel.value.settings
    assert (settings.spatial_dims, settings.minutes, settings.preprocess.neighbours) == (2, 3, 1)
    assert settings == plan_settings(volumes.value.cases, minutes=3, computer=LAPTOP, spatial_dims=2).settings
    assert "As you chose. By the plan: Volumes" in panel.table.value
    panel.amount.value = "4"
    panel.again.click()
    panel.wait(60)
    assert (panel.value.settings.spatial_dims, panel.value.settings.minutes) == (2, 4)
    panel.back.click()
    panel.wait(60)
    assert (panel.value.settings.spatial_dims, panel.value.settings.minutes) == (3, 4)
    panel.choose(spatial_dims=2, batch_size=5)
    panel.wait(60)
    assert (panel.value.settings.spatial_dims, panel.value.settings.batch_size) == (2, 5)
    panel.choose(batch_size=6)
    assert (panel.value.settings.spatial_dims, panel.value.settings.batch_size) == (2, 6)


def test_slices_or_volumes_can_be_an_argument(volumes):
    panel = shown(volumes, changes={"spatial_dims": 2, "batch_size": 3})
    assert (panel.value.settings.spatial_dims, panel.value.settings.batch_size) == (2, 3)
    panel.back.click()
    panel.wait(60)
    assert (panel.value.settings.spatial_dims, panel.value.settings.batch_size) == (2, 3)


def test_volumes_that_cannot_be_are_a_sentence_and_slices_still_there(monkeypatch, source):
    panel = shown(source)
    monkeypatch.setattr(
        "autoseg.training.plan.survey.read_case",
        lambda case, _: make_pair(int(case.case_id.removeprefix("case")), slices=1),
    )
    panel.form.fields["spatial_dims"].value = 3
    panel.wait(60)
    assert panel.value is None
    assert "has a single slice" in panel.message.value
    panel.form.fields["spatial_dims"].value = 2
    panel.wait(60)
    assert panel.value.settings == source.value.plan.settings


def test_of_volumes_the_variation_is_not_that_planned_for_slices_above(volumes):
    preview = Panel()
    preview.value = volumes.value.plan.settings.augmentation
    panel = shown(volumes, preview)
    assert panel.value.settings.augmentation == AugmentationSettings.volumes()
    assert panel.message.value == ""
    panel.form.fields["spatial_dims"].value = 2
    panel.wait(60)
    planned = plan_settings(volumes.value.cases, computer=LAPTOP, spatial_dims=2).settings.augmentation
    assert panel.value.settings.augmentation == planned != preview.value
    assert "The preview above shows volumes, and you chose slices" in panel.message.value
    preview.value = AugmentationSettings.off()
    assert panel.value.settings.augmentation == AugmentationSettings.off()


def test_a_recipe_takes_the_place_of_the_plan_for_the_same_pixels_and_time(source):
    panel = shown(source, epochs=7, recipe="pyramid-published")
    plan = panel._plan.settings
    assert panel.value.settings == recipe("pyramid-published", base=plan)
    assert (panel.value.settings.batch_size, panel.value.settings.epochs) == (5, 7)
    assert "Published for 500 epochs" in panel.recipe_words.value
    panel.amount.value = "9"
    panel.recipe.value = "unext"
    assert panel.value.settings == replace(recipe("unext", base=plan), epochs=9)
    assert "Published" not in panel.recipe_words.value
    panel.form.fields["batch_size"].value = "4"
    assert (panel.value.settings.batch_size, panel.value.settings.network.name) == (4, "unext")
    panel.back.click()
    assert (panel.recipe.value, panel.value.settings) == ("", plan)
    assert panel.recipe_words.value == ""
    assert "There is no recipe" in shown(source, recipe="unetx").message.value


def test_a_recipe_varies_images_in_its_own_way_until_the_preview_is_changed(source):
    preview = Panel()
    preview.value = source.value.plan.settings.augmentation
    panel = shown(source, preview, recipe="pyramid-published")
    assert panel.value.settings.augmentation == AugmentationSettings.manual()
    assert "varies images as it says itself" in panel.message.value
    changed = replace(preview.value, noise=0.7)
    preview.value = changed
    assert panel.value.settings.augmentation == changed


def test_a_recipe_of_volumes_is_planned_for_volumes(volumes):
    panel = shown(volumes, recipe="unet-3d")
    assert panel.value.settings.spatial_dims == 3
    assert panel.value.settings.volume.patch_size is not None
    panel.recipe.value = "pyramid"
    panel.wait(60)
    assert (panel.value.settings.spatial_dims, panel.value.settings.network.name) == (2, "pyramid")
    panel.recipe.value = ""
    panel.wait(60)
    assert panel.value.settings == volumes.value.plan.settings


# --- twins that measure how far areas can be off


def test_half_of_the_time_is_said_and_handed_on_where_twins_learn_too(source):
    panel = shown(source)
    assert not panel.value.calibrate
    assert panel.calibrate_words.value == ""
    panel.choose(minutes=20)
    panel.calibrate.value = True
    assert panel.calibrate.description.endswith("(uses half of the time)")
    assert panel.value.calibrate
    assert panel.value.settings.minutes == 10
    assert panel.settings().minutes == 20
    assert panel.amount.value == "20"
    assert "Of 20 minutes of learning the model gets 10 minutes" in panel.calibrate_words.value
    assert "5 twins of the model learn for 2 minutes each" in panel.calibrate_words.value
    panel.choose(epochs=8)
    assert panel.calibrate.description.endswith("(takes several times as long)")
    assert panel.value.settings.epochs == 8
    assert "learns for 8 epochs: at most 6 times as long as the model alone" in panel.calibrate_words.value
    panel.calibrate.value = False
    assert (panel.value.calibrate, panel.calibrate_words.value) == (False, "")


def test_too_few_patients_for_twins_are_said_before_learning(tmp_path):
    source = Panel()
    source.value = make_data(tmp_path, range(2))
    panel = shown(source, calibrate=True)
    assert panel.value is None
    assert "cannot be measured with 2 patients" in panel.message.value
    panel.calibrate.value = False
    assert panel.value is not None
    assert "cannot be measured" not in panel.message.value
