"""Two trainings of one name, or two comparisons in one folder: the second is told at once, and harms nothing."""

import re
import subprocess
import sys

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings
from trainings import stand_in

from autoseg.cli import main
from autoseg.errors import DataError, OutputError
from autoseg.evaluation.crossvalidation import cross_validate
from autoseg.training.finder import automatic_centrelines
from autoseg.training.keeping.alone import folds_alone, training_alone
from autoseg.training.save import train_and_save

# Another program that holds the names until it is killed; it imports no more than it needs, to be quick.
HOLDER = """
import sys
from pathlib import Path
from autoseg.files.atomic import held
folder = Path(sys.argv[1])
folds, comparison = (folder / f"discs_{what}" / "folds" for what in ("folds", "comparison"))
with held(folder / "discs", ""), held(folds, ""), held(comparison, ""):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A folder in which another program trains 'discs', and learns folds in two folders."""
    folder = tmp_path_factory.mktemp("models")
    program = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "mine\n"
        (folder / "discs_best.pt").write_bytes(b"of the first")
        (folder / "discs_resume.pt").write_bytes(b"of the first")
        yield folder, process
        process.kill()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


@pytest.fixture
def unread(monkeypatch):
    """Nothing may be read before the second is told."""

    def read(*_, **__):
        raise AssertionError("it was read")

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", read)
    monkeypatch.setattr("autoseg.cli.options.find", read)
    monkeypatch.setattr("autoseg.cli.learning.find", read)


def train(folder, name="discs", **options):
    return train_and_save(
        make_split([0], [1]), quick_settings(epochs=1), structures=STRUCTURES, name=name, folder=folder, **options
    )


def test_a_second_training_of_the_name_is_told_and_the_first_keeps_its_files(other, unread):
    folder, _ = other
    before = contents(folder)
    for resume in (False, True):
        with pytest.raises(
            OutputError, match=r"'discs' is being trained in .*another name.* Wait until it is done"
        ):
            train(folder, resume=resume)
    with pytest.raises(OutputError, match="learning folds"):
        cross_validate([], STRUCTURES, quick_settings(), folder=folder / "discs_folds", name="discs")
    with pytest.raises(OutputError, match="learning folds"):
        automatic_centrelines([], STRUCTURES, folder=folder / "discs_folds")
    assert contents(folder) == before


@pytest.mark.parametrize("command", ["train", "train --resume", "crossvalidate", "compare", "finetune --base x"])
def test_a_command_is_told_before_it_reads(other, unread, command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("autoseg.cli.learning.base_of", lambda _: None if "finetune" not in command else object())
    folder, _ = other
    before = contents(folder)
    word, *more = command.split()
    assert main([word, str(tmp_path), *more, "--name", "discs", "--output", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "being trained in" in said or "learning folds in" in said
    assert "another name" in said
    assert contents(folder) == before


def test_another_name_is_free(other, monkeypatch):
    patch_reading(monkeypatch)
    stand_in(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)
    train(other[0], name="rings", should_stop=lambda: False)
    assert (other[0] / "rings_1.pt").is_file()


def test_who_holds_a_name_may_ask_for_it_again_and_leaves_no_trace(tmp_path):
    with training_alone(tmp_path / "models", "discs"), training_alone(tmp_path / "models", "discs"):
        pass
    with folds_alone(tmp_path / "folds"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="cannot be a file name"), training_alone(tmp_path, "a/b"):
        pass


def test_a_dead_program_holds_nothing(other, monkeypatch):
    patch_reading(monkeypatch)
    stand_in(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)
    folder, process = other
    process.kill()
    process.wait()
    _, path = train(folder, should_stop=lambda: False)
    assert re.fullmatch(r"discs_1\.pt", path.name)
    assert not (folder / "discs_best.pt").exists()
