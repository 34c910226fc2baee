"""One training at a time on a computer, whoever starts it, and however it ends."""

import errno
import subprocess
import sys

import pytest

from autoseg.errors import DataError
from autoseg.panels.parts.background import Turn, turn_file


def test_a_second_one_is_told_who_learns_and_gets_the_turn_afterwards(tmp_path):
    first = Turn("heart", place=tmp_path / "turn")
    with pytest.raises(DataError, match=r"'heart', since \d\d:\d\d.*stop it first"):
        Turn("leg", place=tmp_path / "turn")
    first.give_back()
    first.give_back()
    second = Turn("leg", place=tmp_path / "turn")
    with pytest.raises(DataError, match="'leg'"):
        Turn("heart", place=tmp_path / "turn")
    second.give_back()


def test_the_turn_of_a_process_that_was_killed_is_free(tmp_path):
    code = "import sys; from pathlib import Path; from autoseg.panels.parts.background import Turn; "
    code += "turn = Turn('heart', place=Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "turn")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(DataError, match="'heart'"):
            Turn("leg", place=tmp_path / "turn")
        other.kill()
    Turn("leg", place=tmp_path / "turn").give_back()


def test_where_no_file_can_be_made_nobody_is_refused(tmp_path):
    for _ in range(2):
        Turn("heart", place=tmp_path / "no such folder" / "turn")


def test_each_user_has_a_file_of_their_own(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "Anna B")
    assert turn_file().name == "autoseg-learning-Anna_B.lock"


def test_where_the_disk_knows_no_locks_nobody_is_refused(tmp_path, monkeypatch):
    def no_locks(file):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("autoseg.panels.parts.background._lock", no_locks)
    Turn("heart", place=tmp_path / "turn").give_back()
