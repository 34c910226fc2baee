"""The list of models: the newest is chosen, whatever cannot be read says why, and nothing is typed."""

import os
import time
from dataclasses import replace

import pytest
from untrained import made_up_model, unfinished

from autoseg.data.digests import known_subjects, subject_pseudonym
from autoseg.image.structures import Structure
from autoseg.model import shipped
from autoseg.model.model import save_model
from autoseg.panels.patient.models import ONE, BasePanel, ModelPanel


@pytest.fixture(autouse=True)
def box(tmp_path_factory, monkeypatch):
    """Nothing comes with autoseg, unless a test puts it there."""
    monkeypatch.setattr(shipped, "BOX", tmp_path_factory.mktemp("box"))
    return shipped.BOX


@pytest.fixture
def folder(tmp_path):
    save_model(made_up_model("thigh", "2025-05-05"), tmp_path)
    save_model(made_up_model("heart", "2024-05-05"), tmp_path)
    (tmp_path / "part.pt").write_bytes((tmp_path / "heart_3.pt").read_bytes()[:2000])
    return tmp_path


def shown(panel):
    panel.wait(60)
    return panel


def lines(panel):
    return [line for line, _ in panel.list.options]


def test_the_newest_model_that_can_be_read_is_loaded(folder):
    panel = shown(ModelPanel(folder))
    assert [line.split(" — ")[0] for line in lines(panel)] == ["part.pt", "thigh_3.pt", "heart_3.pt"]
    assert panel.list.index == (1,)
    assert panel.value.model.name == "thigh"
    assert panel.value.path == folder / "thigh_3.pt"
    assert panel.value.model.weights
    for words in ("psoas (left), gracilis", "Dice 0.20", "9 patients, 1,234 slices", "0.75 mm"):
        assert words in panel.details.value
    assert panel.message.value == ""


def test_another_folder_can_be_looked_for_and_left_again(folder):
    panel = shown(ModelPanel(folder))
    before = panel.value
    panel.other.click()
    panel.chooser.wait(60)
    assert panel.stay in panel.body.children[-2].children
    panel.stay.click()
    assert panel.chooser is None
    assert panel.other in panel.body.children[-1].children
    assert panel.value is before


def test_the_model_of_last_time_is_chosen_unless_there_is_a_newer_one(folder, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("AUTOSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
    panel = shown(ModelPanel(folder))
    panel.list.index = (2,)
    assert shown(panel).value.model.name == "heart"
    again = shown(ModelPanel(folder))
    assert again.value.model.name == "heart"
    assert "heart_3.pt is chosen as last time" in again.where.value
    assert shown(ModelPanel(folder, "thigh")).value.model.name == "thigh"
    assert shown(BasePanel(folder)).value.model.name == "thigh"
    new = save_model(made_up_model("spine", "2025-06-05"), folder)
    os.utime(new, (time.time() + 9, time.time() + 9))
    newest = shown(ModelPanel(folder))
    assert newest.value.model.name == "spine"
    assert "last time" not in newest.where.value


def test_a_model_whose_patients_can_be_guessed_says_so_and_is_written_anew(tmp_path, monkeypatch):
    old = replace(made_up_model("old"), origin={"subject_fingerprints": [subject_pseudonym("s1")]})
    with monkeypatch.context() as patch:  # as an earlier version wrote it
        patch.setattr("autoseg.model.model.seal_model", lambda model: model)
        save_model(old, tmp_path)
    panel = shown(ModelPanel(tmp_path))
    assert panel.sealing.layout.display == ""
    assert "can find the IDs" in panel.guessed.value
    assert "can find the IDs" in panel.details.value
    panel.seal()
    shown(panel)
    assert panel.sealing.layout.display == "none"
    assert "can find the IDs" not in panel.details.value
    assert known_subjects(["s1", "s2"], panel.value.model.origin["subject_fingerprints"]) == {"s1"}


def test_a_name_chooses_its_newest_and_an_unknown_one_nothing(folder):
    assert shown(ModelPanel(folder, name="heart")).value.path.name == "heart_3.pt"
    panel = shown(ModelPanel(folder, name="liver"))
    assert panel.value is None
    assert "No model here is named &#x27;liver&#x27;" in panel.message.value


def test_another_model_is_chosen_in_the_list(folder):
    panel = shown(ModelPanel(folder))
    panel.list.index = (2,)
    shown(panel)
    assert panel.value.path.name == "heart_3.pt"
    assert "heart_3.pt" in panel.details.value


def test_a_file_that_cannot_be_read_says_why_and_leaves_no_earlier_model(folder):
    panel = shown(ModelPanel(folder))
    panel.list.index = (0,)
    shown(panel)
    assert panel.value is None
    assert "only a part of one" in panel.message.value
    assert 'role="alert"' in panel.message.value
    assert panel.details.value == ""


def test_look_again_finds_a_new_model(tmp_path):
    panel = shown(ModelPanel(tmp_path))
    assert panel.value is None
    assert "There is no model in" in panel.message.value
    assert "1_train.ipynb" in panel.message.value
    assert panel.list.layout.display == "none"
    save_model(made_up_model(), tmp_path)
    panel.again.click()
    assert shown(panel).value.model.name == "thigh"
    assert panel.list.layout.display == ""


def test_what_comes_with_autoseg_stands_below_ones_own_and_is_chosen_where_there_is_none(box, folder, tmp_path):
    save_model(made_up_model("cord"), shipped.box_path("cord"))
    save_model(made_up_model("heart"), shipped.box_path("heart"))
    panel = shown(ModelPanel(tmp_path / "nowhere"))
    assert [line.split(" — ")[:2] for line in lines(panel)] == [
        ["heart.pt", "comes with autoseg, 9 patients"],
        ["cord.pt", "comes with autoseg, 9 patients"],
    ]
    assert panel.value.path == box / "heart.pt"
    assert "There is no model of your own in" in panel.where.value
    panel = shown(ModelPanel(folder))
    assert [line.split(" — ")[0] for line in lines(panel)] == [
        *("part.pt", "thigh_3.pt", "heart_3.pt"),
        *("heart.pt", "cord.pt"),
    ]
    assert panel.value.path == folder / "thigh_3.pt"
    assert "of your own" not in panel.where.value
    assert shown(ModelPanel(folder, name="heart")).value.path == folder / "heart_3.pt"
    assert shown(ModelPanel(folder, name="cord")).value.path == box / "cord.pt"
    assert shown(BasePanel(folder, "cord")).value.path == box / "cord.pt"


def test_a_folder_that_does_not_exist_is_like_an_empty_one(tmp_path):
    panel = shown(ModelPanel(tmp_path / "nowhere"))
    assert panel.value is None
    assert "There is no model in" in panel.message.value


def test_a_model_that_went_away_meanwhile(folder):
    panel = shown(ModelPanel(folder))
    (folder / "heart_3.pt").unlink()
    panel.list.index = (2,)
    shown(panel)
    assert panel.value is None
    assert "is not there" in panel.message.value


def test_only_files_that_cannot_be_used(tmp_path):
    (tmp_path / "part.pt").write_bytes(b"PK")
    save_model(unfinished(made_up_model()), tmp_path / "thigh_last.pt")
    panel = shown(ModelPanel(tmp_path))
    assert panel.value is None
    assert "choose one in the list" in panel.message.value
    panel.choose(tmp_path / "thigh_last.pt")
    assert shown(panel).value.model.name == "thigh"
    assert panel.list.index == (1,)


def test_another_folder_is_chosen_in_the_chooser(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    panel = shown(ModelPanel(empty))
    panel.other.click()
    shown(panel.chooser)
    assert "no models" in panel.chooser.holds.value
    panel.chooser.choose(folder)
    chooser = panel.chooser
    chooser.wait(60)
    assert shown(panel).value.path == folder / "thigh_3.pt"
    assert panel.chooser is None
    assert chooser not in panel.body.children


# --- several


def test_several_are_chosen_by_ctrl_and_click_and_taken_together(folder):
    panel = shown(ModelPanel(folder))
    panel.list.index = (1, 2)
    value = shown(panel).value
    assert value.path.name == "thigh_3.pt"
    assert [model.name for model in value.models] == ["thigh", "heart"]
    assert [other.path.name for other in value.others] == ["heart_3.pt"]
    for words in ("2 models", "takes 2 times as long", "thigh_3.pt", "heart_3.pt"):
        assert words in panel.details.value
    panel.list.index = (2,)
    assert shown(panel).value.others == ()
    assert "2 models" not in panel.details.value


def test_several_can_be_named_from_the_start(folder):
    panel = shown(ModelPanel(folder, name=["heart", "thigh"]))
    assert [model.name for model in panel.value.models] == ["heart", "thigh"]
    assert panel.list.index == (1, 2)
    panel = shown(ModelPanel(folder, name=["heart", "liver"]))
    assert panel.value is None
    assert "No model here is named &#x27;liver&#x27;" in panel.message.value


def test_models_of_other_structures_are_not_taken_together(folder):
    other = made_up_model("knee", "2023-05-05")
    save_model(replace(other, structures=(Structure(1, "femur"), *other.structures[1:])), folder)
    panel = shown(ModelPanel(folder))
    panel.list.index = (1, 3)
    assert shown(panel).value is None
    assert "cannot be averaged" in panel.message.value
    assert "&#x27;femur&#x27;" in panel.message.value


def test_a_broken_one_among_several_leaves_none(folder):
    panel = shown(ModelPanel(folder))
    panel.list.index = (0, 1)
    assert shown(panel).value is None
    assert "only a part of one" in panel.message.value
    panel.list.index = ()
    assert shown(panel).value is None
    assert "Choose a model" in panel.message.value
    assert panel.details.value == ""


def test_the_same_file_twice_is_one_model(folder):
    panel = shown(ModelPanel(folder))
    panel.choose(folder / "heart_3.pt", folder / "heart_3.pt")
    assert len(shown(panel).value.models) == 1


# --- the model to begin from is one model, chosen as in the list of models


def test_the_newest_is_chosen_and_said_in_plain_words(tmp_path):
    save_model(made_up_model("thigh", "2025-05-05"), tmp_path)
    save_model(made_up_model("heart", "2024-05-05"), tmp_path)
    panel = BasePanel(tmp_path)
    panel.wait(60)
    assert panel.value.model.name == "thigh"
    for words in ("psoas (left), gracilis", "slice by slice (2-D)", "0.75 mm", "T1w", "9 patients"):
        assert words in panel.details.value
    named = BasePanel(tmp_path, "heart")
    named.wait(60)
    assert named.value.model.name == "heart"


def test_several_are_refused_and_one_again_counts(tmp_path):
    for name in ("thigh", "heart"):
        save_model(made_up_model(name), tmp_path)
    panel = BasePanel(tmp_path)
    panel.wait(60)
    panel.list.index = (0, 1)
    panel.wait(60)
    assert panel.value is None
    assert ONE in panel.message.value
    assert panel.details.value == ""
    panel.list.index = (1,)
    panel.wait(60)
    assert panel.value is not None
    assert panel.message.value == ""
