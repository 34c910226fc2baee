"""Nothing that was learnt is lost: what cannot be saved where it belongs is saved in another folder."""

import errno
import os
from pathlib import Path

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings
from trainings import stand_in

from autoseg.cli import learning
from autoseg.errors import DataError, OutputError
from autoseg.model.model import load_model
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training import save
from autoseg.training.checkpoint import find_unfinished
from autoseg.training.keeping.elsewhere import NotResumable, NotSavedError, somewhere
from autoseg.training.save import train_and_save


@pytest.fixture(autouse=True)
def at_once(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    stand_in(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")


def full_from(monkeypatch, folder, number):
    """Let the disk of a folder be full from the `number`-th file on that a training writes there."""
    import torch

    real, written = torch.save, []

    def write(content, path):
        if Path(folder) in Path(path).parents:
            written.append(path)
            if len(written) >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(content, path)

    monkeypatch.setattr(torch, "save", write)
    return written


def learn(folder, *, stop_after=None, **options):
    done = []
    return train_and_save(
        make_split([0], [1]),
        quick_settings(epochs=5, save_checkpoint=2, network=NetworkSettings(filters=(2, 4))),
        structures=STRUCTURES,
        name="discs",
        folder=folder,
        on_epoch=lambda result, *_: done.append(result) or len(done) == stop_after,
        should_stop=lambda: False,
        **options,
    )


def test_a_disk_full_at_any_write_leaves_the_model_in_memory(tmp_path):
    """Two checkpoints of three files each, and the model: seven."""
    for number in range(1, 8):
        with pytest.MonkeyPatch.context() as monkeypatch:
            folder, told = tmp_path / f"full_from_{number}", []
            full_from(monkeypatch, folder, number)
            with pytest.raises(NotSavedError, match="No space left") as caught:
                learn(folder, tell=told.append)
            path = caught.value.unsaved.save_in(tmp_path / "other")
        assert len(load_model(path).history) == 5
        assert sum("No checkpoint" in line and "The training goes on" in line for line in told) == (
            2 if number <= 3 else 1 if number <= 6 else 0
        )
        # What lies in the full folder belongs together, and can be gone on with.
        names = {one.name: one.stat().st_mtime for one in folder.glob("discs_*")}
        whole = {"discs_best.pt", "discs_last.pt", "discs_resume.pt", "discs_history.csv"}
        assert set(names) == (set() if number <= 3 else whole)
        assert [one.epochs_done for one in find_unfinished(folder)] == (
            [] if number <= 3 else [2 + 2 * (number > 6)]
        )
    assert sorted(one.name for one in (tmp_path / "other").glob("*.pt")) == [
        "discs_5.pt",
        *(f"discs_5_{number}.pt" for number in range(2, 8)),
    ]


def test_a_stopped_training_goes_on_from_the_other_folder(tmp_path, monkeypatch):
    full_from(monkeypatch, tmp_path / "full", 1)
    lines = tmp_path / "full" / "discs_centrelines" / "fold_1"
    lines.mkdir(parents=True)
    (lines / "line.csv").write_text("kept", encoding="utf-8")
    heard = []
    with pytest.raises(NotSavedError) as caught:
        learn(tmp_path / "full", stop_after=3, on_event=heard.append)
    assert any(isinstance(event, NotResumable) and event.unsaved.checkpoint is not None for event in heard)
    other = tmp_path / "other"
    assert caught.value.unsaved.save_in(other).name == "discs_3.pt"
    assert (other / "discs_centrelines" / "fold_1" / "line.csv").read_text(encoding="utf-8") == "kept"
    with pytest.raises(OutputError, match="another unfinished training of this name"):
        caught.value.unsaved.save_in(other)
    model, _ = learn(other, resume=True)
    assert len(model.history) == 5


def test_on_the_command_line_it_is_saved_in_the_users_folder_which_is_said(tmp_path, monkeypatch, capsys):
    full_from(monkeypatch, tmp_path / "full", 3)  # neither what can be resumed nor the model
    found = type("Found", (), {"structures": STRUCTURES})

    def learn_there(name):
        return learning._learn(
            make_split([0], [1]), found, quick_settings(epochs=5), name=name, output=tmp_path / "full"
        )

    monkeypatch.setattr(learning, "stop_at_interrupt", pressed_after_an_epoch)
    with pytest.raises(OutputError, match=r"No space left.*What was learnt is saved in ") as caught:
        learn_there("discs")
    (place,) = (tmp_path / "home").iterdir()
    assert f"saved in {place}: move it to {tmp_path / 'full'} once there is room" in str(caught.value)
    assert f"--resume and --output {place}" in str(caught.value)
    assert sorted(one.name for one in place.iterdir()) == [
        "discs_1.pt",
        "discs_1_MODEL_CARD.md",
        "discs_history.csv",
        "discs_resume.pt",
    ]
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home" / "full.txt")
    (tmp_path / "home" / "full.txt").write_text("no folder", encoding="utf-8")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "home" / "full.txt"))
    with pytest.raises(OutputError, match="Nor could what was learnt be saved"):
        learn_there("rings")


def pressed_after_an_epoch():
    from contextlib import nullcontext

    return nullcontext(lambda: True)


def test_a_model_whose_images_are_gone_is_kept_without_post_processing(tmp_path, monkeypatch):
    def gone(*_):
        raise DataError("The folder is gone.")

    monkeypatch.setattr(save, "tune_postprocess", lambda model, cases: gone() if cases else (model, None))
    told = []
    _, path = learn(tmp_path, choose_post=True, tell=told.append)
    assert path.is_file()
    assert any("No post-processing was chosen" in line and "The folder is gone." in line for line in told)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("with_offsets", "they were not made right"),
        ("tune_postprocess", "No post-processing was chosen"),
        ("examine_cases", "can be trusted is not known"),
    ],
)
def test_an_interrupt_after_the_learning_costs_what_is_done_then_and_not_the_model(
    tmp_path, monkeypatch, step, words
):
    real, asked = getattr(save, step), []

    def impatient(model, *rest):
        if step == "tune_postprocess" and not rest[0]:  # as every checkpoint asks
            return real(model, *rest)
        asked.append(step)
        raise KeyboardInterrupt

    monkeypatch.setattr(save, step, impatient)
    told = []
    model, path = learn(tmp_path, choose_post=True, tell=told.append)
    assert asked == [step]
    assert load_model(path).best_epoch == model.best_epoch
    assert any(words in line and line.endswith("It was interrupted.") for line in told)


def test_somewhere_is_a_new_folder_each_time(tmp_path):
    first, second = (somewhere("fold_1", lambda place: place.mkdir(parents=True)) for _ in range(2))
    assert first != second
    assert first.parent == second.parent == tmp_path / "home"
