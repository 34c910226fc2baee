"""The trap itself: what is wrong at one moment is seen, and what is right at all of them passes."""

import os

import pytest
from kills import fail_everywhere, hold_open, kill_everywhere

from autoseg.errors import OutputError
from autoseg.files.atomic import one_step, settle, whole_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_text("old")
    return tmp_path / "data"


def seen(folder):
    settle(folder)
    return {name: (folder / name).read_text() for name in ("a", "b")}


def write_apart(folder):
    for name in ("a", "b"):
        with whole_file(folder / name) as temporary:
            temporary.write_text("new")


def write_together(folder):
    with one_step(folder):
        write_apart(folder)


def test_two_files_one_after_the_other_are_seen_between_them(folder):
    survey = kill_everywhere(folder, lambda: write_apart(folder), lambda: seen(folder))
    assert survey.moments > 10
    assert survey.wrong
    assert all("seen is other in a" in words for words in survey.wrong)
    assert seen(folder) == {"a": "old", "b": "old"}


def test_a_step_passes_and_the_folder_is_as_before(folder):
    survey = kill_everywhere(folder, lambda: write_together(folder), lambda: seen(folder))
    assert survey, survey.wrong
    assert survey.moments > 20
    assert seen(folder) == {"a": "old", "b": "old"}
    assert [path.name for path in folder.parent.iterdir()] == ["data"]


def test_a_file_that_is_half_written_is_seen(folder):
    survey = kill_everywhere(
        folder, lambda: [(folder / name).write_text("new, and longer") for name in "ab"], lambda: seen(folder)
    )
    assert any("while a is written: seen" in words for words in survey.wrong)


def test_what_is_left_behind_and_what_cannot_be_read_is_told(folder):
    def write():
        (folder / ".unfinished-mine").mkdir()
        (folder / "b").unlink()
        (folder / "b").write_text("new")

    survey = kill_everywhere(folder, write, lambda: seen(folder))
    assert "before os.mkdir of .unfinished-mine: .unfinished-mine is left" not in survey.wrong
    assert "before os.remove of b: .unfinished-mine is left" in survey.wrong
    assert any("before open of b: reading fails: FileNotFoundError" in words for words in survey.wrong)


def test_a_refusal_takes_all_back_and_is_a_sentence(folder):
    survey = fail_everywhere(folder, lambda: write_together(folder), lambda: seen(folder))
    assert survey, survey.wrong
    apart = fail_everywhere(folder, lambda: write_apart(folder), lambda: seen(folder))
    assert any("seen is other in a" in words for words in apart.wrong)
    direct = fail_everywhere(folder, lambda: (folder / "a").write_text("new"), lambda: seen(folder))
    assert any("unexpected OSError" in words for words in direct.wrong)


def test_success_that_is_none_is_told(folder):
    def quiet():
        try:
            write_together(folder)
        except OutputError:
            return

    survey = fail_everywhere(folder, quiet, lambda: seen(folder))
    assert len(survey.wrong) == survey.moments


def test_a_file_that_another_program_holds_open(folder):
    survey = hold_open(folder, lambda: write_together(folder), lambda: seen(folder))
    assert survey, survey.wrong
    assert survey.moments == 2

    def remove():
        try:
            os.remove(folder / "b")
        except PermissionError as error:
            raise OutputError("No.") from error

    survey = hold_open(folder, remove, lambda: sorted(path.name for path in folder.iterdir()))
    assert survey.wrong == ["b open elsewhere: No."]
