"""The folder chooser: clicked, typed into and pasted into, without a browser."""

import threading

import pytest

from autoseg.panels.parts import chooser as module
from autoseg.panels.parts import chooser as system_dialog
from autoseg.panels.parts.chooser import FolderChooser, ask_for_folder, why_no_dialog


@pytest.fixture
def data(tmp_path):
    for name in ("series2/images", "series2/labels", "series10", "empty"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in ("series2/images/a.png", "series2/labels/a.png", "series10/b.tif"):
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def shown(panel):
    panel.wait(60)
    return panel


def lines(panel):
    return [line for line, _ in panel.list.options]


def is_folded(panel):
    return panel.change in panel.body.children[-1].children


def test_the_list_says_what_each_folder_holds(data):
    panel = shown(FolderChooser(data))
    assert lines(panel) == ["empty — empty", "series2 — 1 image, 1 label, 2 folders", "series10 — 1 image"]
    assert panel.path.value == str(data)
    assert "data holds: 2 images, 1 label, 3 folders" in panel.holds.value
    assert panel.value is None
    assert panel.list.index is None


def test_open_use_and_change(data):
    panel = shown(FolderChooser(data))
    panel.list.index = 1
    assert panel.use.description == "Use series2"
    panel.open.click()
    shown(panel)
    assert panel.folder == data / "series2"
    assert panel.use.description == "Use this folder"
    assert lines(panel) == ["images — 1 image", "labels — 1 label"]
    panel.use.click()
    assert shown(panel).value == data / "series2"
    assert is_folded(panel)
    assert f"Folder: {data / 'series2'} — 1 image, 1 label, 2 folders" in panel.line.value


def test_cancel_changes_nothing_however_far_one_walked(data):
    panel = shown(FolderChooser(chosen=data / "series2"))
    line, told = panel.line.value, []
    panel.observe(told.append, "value")
    for walk in (panel.up.click, lambda: panel.show(data / "nowhere"), lambda: panel.show(data / "series10")):
        panel.change.click()
        shown(panel)
        assert not is_folded(panel)
        walk()
        assert shown(panel).folder != data / "series2"
        assert (panel.keep.description, panel.keep.layout.display) == ("Cancel", "")
        assert str(data / "series2") in panel.keep.tooltip
        panel.keep.click()
        assert is_folded(panel)
        assert (panel.value, panel.folder, panel.line.value) == (data / "series2", data / "series2", line)
        assert panel.message.value == ""
    assert told == []


def test_a_walk_that_fails_takes_nothing_back(data):
    def fails(folder):
        if folder.name == "series10":
            raise OSError("the disk is on fire")
        return "much"

    panel = shown(FolderChooser(chosen=data / "series2", describe=fails))
    panel.show(data / "series10")
    assert "the disk is on fire" in shown(panel).message.value
    assert panel.value == data / "series2"


def test_cancel_after_a_folder_that_could_not_be_had_chooses_the_one_before(data):
    panel = shown(FolderChooser(chosen=data / "series2"))
    panel.choose(data / "nowhere")
    assert shown(panel).value is None
    panel.keep.click()
    assert shown(panel).value == data / "series2"


def test_the_folder_selected_in_the_list_is_used_without_opening_it(data):
    panel = shown(FolderChooser(data))
    panel.list.index = 2
    assert str(data / "series10") in panel.use.tooltip
    panel.use.click()
    assert shown(panel).value == data / "series10"


def test_a_typed_path_is_shown_and_used(data):
    panel = shown(FolderChooser(data))
    panel.path.value = f'"{data / "series10"}"'
    shown(panel)
    assert (panel.folder, panel.path.value) == (data / "series10", str(data / "series10"))
    assert panel.value is None


def test_use_takes_what_was_just_typed_not_what_was_shown_before(data, monkeypatch):
    panel = shown(FolderChooser(data))
    panel.list.index = 0
    go, look = threading.Event(), panel._look
    monkeypatch.setattr(panel, "_look", lambda *a, **k: go.wait(30) and look(*a, **k))
    panel.path.value = str(data / "series10")
    panel.use.click()  # before it could be shown
    go.set()
    assert shown(panel).value == data / "series10"


def test_a_wrong_path_names_the_nearest_and_shows_it(data):
    panel = shown(FolderChooser(data / "series2"))
    panel.path.value = str(data / "seriesX" / "1")
    shown(panel)
    assert f"The nearest that exists is {data}." in panel.message.value
    assert 'role="alert"' in panel.message.value
    assert (panel.folder, panel.path.value, panel.value) == (data, str(data), None)
    assert len(lines(panel)) == 3


def test_a_folder_chosen_by_argument(data, monkeypatch):
    panel = shown(FolderChooser(chosen=data / "series2", title="Images <of> mine"))
    assert panel.value == data / "series2"
    assert is_folded(panel)
    assert "Images &lt;of&gt; mine" in panel.body.children[0].value
    monkeypatch.chdir(data)
    assert shown(FolderChooser(chosen="series10")).value == data / "series10"


def test_a_wrong_choice_takes_back_the_former_one(data):
    panel = shown(FolderChooser(chosen=data))
    panel.choose(data / "nowhere")
    shown(panel)
    assert panel.value is None
    assert not is_folded(panel)
    assert "There is no folder" in panel.message.value


def test_home_and_other_places(data, monkeypatch):
    monkeypatch.setattr(module, "roots", lambda: (("Home", data), ("Drive Z:", data / "series2")))
    panel = shown(FolderChooser(data / "empty"))
    panel.home.click()
    assert shown(panel).folder == data
    for _ in range(2):  # the same place a second time
        panel.places.index = 1
        assert shown(panel).folder == data / "series2"
        assert panel.places.index == 0
        panel.up.click()
        assert shown(panel).folder == data


def test_the_folder_of_last_time_is_offered_until_another_is_chosen(data, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_CACHE", str(tmp_path / "cache"))
    sample = data / "empty"
    first = shown(FolderChooser(chosen=sample, remembers="patient"))
    assert first.last.layout.display == "none"  # the sample was not chosen by a person
    first.choose(data / "series2")
    shown(first)
    assert first.last.layout.display == "none"
    again = shown(FolderChooser(chosen=sample, remembers="patient"))
    assert (again.value, again.last.description) == (sample, "As last time: series2")
    again.change.click()
    shown(again)
    assert [words.partition(" (")[0] for words, _ in again.places.options][:2] == ["…", "series2"]
    again.keep.click()
    shown(again).last.click()
    assert shown(again).value == data / "series2"
    assert shown(FolderChooser(chosen=sample, remembers="expert")).last.layout.display == "none"


def test_a_double_click_enters_a_folder(data):
    panel = shown(FolderChooser(data))
    panel.double_click._handle_custom_msg({"line": 1}, [])
    assert shown(panel).folder == data / "series2"
    panel.double_click._handle_custom_msg({"line": -1}, [])  # beside the lines
    assert shown(panel).folder == data / "series2"


def test_up_ends_at_the_root(data):
    panel = shown(FolderChooser("/", describe=lambda folder: "much"))
    assert panel.up.disabled
    panel.show(data)
    assert not shown(panel).up.disabled


def test_open_without_a_selection_says_what_to_do(data):
    panel = shown(FolderChooser(data))
    panel.open.click()
    assert "in the list first" in panel.message.value


def test_the_names_show_before_the_counts_and_a_slow_folder_freezes_nothing(data):
    go = threading.Event()

    def slowly(folder):
        if folder != data:
            go.wait(30)
        return "much"

    panel = FolderChooser(data, describe=slowly)
    counting = threading.Event()
    panel.message.observe(lambda change: "Counting" in change["new"] and counting.set(), "value")
    assert counting.wait(30) or "Counting" in panel.message.value
    assert lines(panel) == ["empty", "series2", "series10"]
    panel.list.index = 1
    panel.use.click()
    go.set()
    assert shown(panel).value == data / "series2"


def test_a_selection_outlasts_the_counting(data, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(module, "SECONDS_BETWEEN_UPDATES", 0)
    panel = FolderChooser(data, describe=lambda folder: "much" if folder == data or go.wait(30) else "")
    while lines(panel) == []:
        pass
    panel.list.index = 2
    go.set()
    assert shown(panel).list.index == 2
    assert lines(panel)[2] == "series10 — much"
    assert panel.use.description == "Use series10"


def test_what_goes_wrong_is_a_sentence(data):
    def fails(folder):
        raise OSError("the disk is on fire")

    panel = shown(FolderChooser(data, describe=fails))
    assert "the disk is on fire" in panel.message.value
    assert panel.value is None


# --- the system's dialog


@pytest.mark.parametrize(
    ("environment", "system", "words"),
    [
        ({}, "linux", "no screen"),
        ({"DISPLAY": ":0"}, "linux", ""),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", ""),
        ({}, "win32", ""),
        ({}, "darwin", ""),
        ({"SSH_CONNECTION": "a b"}, "darwin", "no screen"),
        ({"JUPYTERHUB_USER": "a", "DISPLAY": ":0"}, "linux", "a hub"),
    ],
)
def test_where_the_system_s_dialog_can_be_shown(environment, system, words):
    why = why_no_dialog(environment, system, has_tkinter=True)
    assert words in why
    assert bool(words) == bool(why)


def test_without_tkinter_there_is_no_dialog():
    assert "tkinter" in why_no_dialog({"DISPLAY": ":0"}, "linux", has_tkinter=False)


def test_a_dialog_that_cannot_be_shown_says_why_on_its_button(data, monkeypatch):
    monkeypatch.setattr(module, "why_no_dialog", lambda: "No screen here.")
    panel = shown(FolderChooser(data))
    assert panel.dialog.disabled
    assert panel.dialog.tooltip == "No screen here."


def test_the_folder_of_the_system_s_dialog_is_chosen(data, monkeypatch):
    monkeypatch.setattr(module, "why_no_dialog", lambda: "")
    answers = [None, data / "series2"]
    monkeypatch.setattr(module, "ask_for_folder", lambda start, title: answers.pop(0))
    panel = shown(FolderChooser(data))
    panel.dialog.click()
    assert shown(panel).value is None  # closed without a choice
    panel.dialog.click()
    assert shown(panel).value == data / "series2"


def test_the_dialog_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(system_dialog, "DIALOG", "import sys; print(sys.argv[2], end='')")
    assert ask_for_folder(tmp_path, "Title") == tmp_path
    monkeypatch.setattr(system_dialog, "DIALOG", "")
    assert ask_for_folder(tmp_path, "Title") is None
    monkeypatch.setattr(system_dialog, "DIALOG", "raise SystemExit('no display name')")
    with pytest.raises(module.DataError, match="no display name"):
        ask_for_folder(tmp_path, "Title")
    monkeypatch.setattr(system_dialog, "DIALOG", "import time; time.sleep(60)")
    monkeypatch.setattr(system_dialog, "LONGEST_S", 0.2)
    with pytest.raises(module.DataError, match="not answered"):
        ask_for_folder(tmp_path, "Title")
