"""The training panel, driven by its buttons: start, stop, resume, see it again, and fail in plain words."""

import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bases import SMALL, make_base
from trainings import LONG, alone, make_task, stand_in, until

from autoseg.errors import OutputError, ReadError
from autoseg.model.model import load_model
from autoseg.panels.parts.background import Kernel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.training import running
from autoseg.panels.training.training import GIVE_UP, TrainingPanel
from autoseg.training.checkpoint import find_unfinished


@pytest.fixture
def really():
    """For tests in which a network learns; in all others epochs are made up."""


@pytest.fixture(autouse=True)
def quiet(request, monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    if "really" not in request.fixturenames:
        stand_in(monkeypatch)
    monkeypatch.setattr("autoseg.panels.parts.follows_work.GLANCE_S", 0.02)
    yield
    for training in running.TRAININGS:
        training.stop()
        assert training.wait(60)


def make_panel(task=None, **arguments):
    settings = Panel()
    settings.value = task
    return TrainingPanel(settings, **arguments), settings


def is_shown(widget):
    return widget.layout.display != "none"


def stopped_panel(task, epochs=2):
    """A panel whose training was stopped by its button after some epochs."""
    panel, settings = make_panel(task)
    panel.start_button.click()
    until(lambda: len(panel.running.epochs) >= epochs)
    panel.stop_button.click()
    panel.wait(60)
    return panel, settings


def test_start_learns_and_hands_on_what_came_out(tmp_path, really):
    task = make_task(tmp_path, epochs=3)
    panel, _ = make_panel(task)
    assert panel.stop_button.disabled
    panel.start_button.click()
    assert panel.start_button.disabled
    panel.wait(60)
    assert panel.value.task is task
    assert panel.value.path.is_file()
    assert str(panel.value.path) in panel.message.value
    model, card = (row.children[0] for row in panel.files.children)
    assert (model.description, card.description) == ("discs_3.pt", "discs_3_MODEL_CARD.md")
    assert model.make() == panel.value.path.read_bytes()
    assert "Done after epoch 3 of 3" in panel.state_line.value
    assert panel.curves.value.count("<polyline") == 6
    assert panel.slices.value.count("<img") == 4
    assert "Epoch 3 of 3, training loss" in panel.lines.value
    assert is_shown(panel.lines_box)
    assert not panel.start_button.disabled
    assert panel.stop_button.disabled
    assert not is_shown(panel.share_bar)
    assert not is_shown(panel.resume_button)
    assert is_shown(panel.start_button)


def test_without_settings_there_is_nothing_to_start():
    panel, _ = make_panel()
    assert panel.start_button.disabled
    assert "Choose the settings above first" in panel.state_line.value
    panel.learn()
    assert "nothing to start yet" in panel.message.value


def test_what_the_check_called_an_error_is_pointed_out(tmp_path):
    data, settings = Panel(), Panel()
    settings.value = make_task(tmp_path)
    data.value = SimpleNamespace(findings=[SimpleNamespace(severity=s) for s in ("error", "error", "note")])
    assert "found 2 errors" in TrainingPanel(settings, data=data).state_line.value


def test_while_it_learns_the_panel_tells_how_far_it_is(tmp_path):
    panel, _ = make_panel(make_task(tmp_path, epochs=500))
    panel.learn()
    until(lambda: "Learning: epoch" in panel.state_line.value and "<polyline" in panel.curves.value)
    assert re.search(r"epoch \d+ of 500 done, (about|a few) .* left; the best is epoch", panel.state_line.value)
    assert panel.value is None
    assert is_shown(panel.share_bar)
    assert 0 < panel.share_bar.value < 1
    assert re.search(r">patient \d+, slice", panel.slices.value)
    assert re.search(r"mean Dice 0\.\d+ \(core", panel.lines.value)


def test_stop_keeps_the_best_and_resume_goes_on(tmp_path):
    panel, _ = stopped_panel(make_task(tmp_path, epochs=12))
    done = len(panel.value.model.history)
    assert 2 <= done < 12
    assert f"Epoch {panel.value.model.best_epoch} of {done} was kept" in panel.message.value
    assert "Resume goes on" in panel.message.value
    assert is_shown(panel.resume_button)
    assert re.fullmatch(rf"Resume from epoch {done} of 12, of today \d\d:\d\d", panel.resume_button.description)
    panel.resume_button.click()
    assert panel.value is None
    panel.wait(60)
    total = len(panel.value.model.history)
    assert total == 12
    assert f"Done after epoch {total} of {total}" in panel.state_line.value
    assert [line.split(",")[0] for line in panel.running.lines if line.startswith("Epoch")] == [
        f"Epoch {n} of {total}" for n in range(1, total + 1)
    ]
    assert not is_shown(panel.resume_button)


def test_starting_anew_over_an_unfinished_training_takes_a_second_click(tmp_path):
    panel, settings = stopped_panel(make_task(tmp_path, epochs=50))
    first = panel.running
    panel.start_button.click()
    assert panel.running is first
    assert panel.start_button.description == GIVE_UP
    assert "unfinished training of this name" in panel.message.value
    settings.value = make_task(tmp_path, epochs=2)  # another choice in between: it must be asked again
    assert panel.start_button.description == "Start"
    panel.start_button.click()
    assert panel.running is first
    panel.start_button.click()
    assert panel.running is not first
    panel.wait(60)
    assert len(panel.value.model.history) == 2
    assert find_unfinished(tmp_path) == ()


def test_a_panel_made_anew_shows_the_running_training_and_starts_no_second_one(tmp_path):
    task = make_task(tmp_path, epochs=500)
    panel, _ = make_panel(task)
    panel.learn()
    until(lambda: panel.running.epochs)
    again, _ = make_panel(make_task(tmp_path, epochs=500))
    assert again.running is panel.running
    assert again.start_button.disabled
    until(lambda: "<polyline" in again.curves.value)
    again.stop_button.click()
    again.wait(60)
    panel.wait(60)
    assert again.value.path == panel.value.path
    third, _ = make_panel(make_task(tmp_path, epochs=500))
    third.wait(60)
    assert third.value.path == panel.value.path


def test_a_training_of_other_images_is_not_shown_again(tmp_path):
    panel, settings = make_panel(make_task(tmp_path, epochs=1))
    panel.learn()
    panel.wait(60)
    settings.value = make_task(tmp_path, epochs=1, training=(4, 5))
    assert panel.value is None
    assert panel.curves.value == ""
    settings.value = make_task(tmp_path, epochs=1)
    panel.wait(60)
    assert panel.value is not None


def test_settings_changed_meanwhile_count_from_the_next_start(tmp_path):
    panel, settings = make_panel(make_task(tmp_path, epochs=500))
    panel.learn()
    first = panel.running
    settings.value = make_task(tmp_path, epochs=1)
    assert panel.running is first
    assert first.is_active
    assert "counts from the next start" in panel.note.value
    settings.value = make_task(tmp_path, name="other", epochs=1)
    assert "&#x27;other&#x27; can be started when it is done" in panel.note.value
    settings.value = None
    assert first.is_active
    settings.value = make_task(tmp_path, epochs=1)
    panel.stop()
    panel.wait(60)
    assert panel.value.task.settings.epochs == 500
    assert "count from the next start" in panel.note.value
    panel.learn(give_up=True)
    panel.wait(60)
    assert len(panel.value.model.history) == 1
    assert panel.note.value == ""


def test_a_second_training_at_the_same_time_gets_a_sentence(tmp_path):
    panel, _ = make_panel(make_task(tmp_path, epochs=500))
    panel.learn()
    other, _ = make_panel(make_task(tmp_path, name="other"))
    other.start_button.click()
    assert other.running is None
    assert "Another training (&#x27;discs&#x27;, since" in other.message.value
    panel.stop()
    panel.wait(60)
    other.start_button.click()
    other.wait(60)
    assert other.value is not None


def test_a_full_disk_at_the_end_loses_nothing(tmp_path, monkeypatch):
    is_full = threading.Event()
    is_full.set()
    from autoseg.training import save as saving

    def fails(save):
        def write(model, path):
            if is_full.is_set() and (tmp_path / "other") not in path.parents:
                raise OutputError(f"{path} could not be written: the disk is full. Free some space.")
            return save(model, path)

        return write

    monkeypatch.setattr(saving, "save_model", fails(saving.save_model))
    for module in ("save", "keeping.elsewhere"):
        monkeypatch.setattr(f"autoseg.training.{module}.save_with_card", fails(saving.save_with_card))
    panel, _ = make_panel(make_task(tmp_path, epochs=2))
    panel.learn()
    panel.wait(60)
    assert panel.value is None
    assert "the disk is full. Free some space. Nothing of what was learnt is lost" in panel.message.value
    assert "Traceback" not in panel.message.value
    assert is_shown(panel.keep_button)
    panel.keep_button.click()  # still full
    panel.wait(60)
    assert "the disk is full" in panel.message.value
    panel.start_button.click()  # would give it up: asks
    assert panel.start_button.description == GIVE_UP
    panel.keep_folder.value = str(tmp_path / "other")
    panel.keep_button.click()
    panel.wait(60)
    assert panel.value.path == tmp_path / "other" / "discs_2.pt"
    assert load_model(panel.value.path).best_epoch == panel.value.model.best_epoch
    assert not is_shown(panel.keep_button)
    assert not is_shown(panel.keep_folder)


def test_a_stopped_training_whose_checkpoint_has_no_room_is_saved_in_another_folder(tmp_path, monkeypatch):
    from autoseg.training.keeping import elsewhere

    def save(checkpoint, path, _save=elsewhere.write_checkpoint):
        if path.parent == tmp_path:
            raise OutputError(f"{path} could not be written: the disk is full. Free some space.")
        return _save(checkpoint, path)

    for module in ("save", "keeping.elsewhere"):
        monkeypatch.setattr(f"autoseg.training.{module}.write_checkpoint", save)
    panel, _ = make_panel(make_task(tmp_path, epochs=LONG))
    panel.learn()
    until(lambda: len(panel.running.epochs) == 3)
    panel.stop()
    panel.wait(60)
    assert panel.value.path == tmp_path / "discs_3.pt"
    assert "What it takes to go on with it could not be saved, and is still in memory" in panel.message.value
    assert not is_shown(panel.resume_button)
    panel.keep_folder.value = str(tmp_path / "other")
    panel.keep_button.click()
    panel.wait(60)
    assert [one.epochs_done for one in find_unfinished(tmp_path / "other")] == [3]
    assert panel.value.path == tmp_path / "discs_3.pt"
    assert not is_shown(panel.keep_button)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "fewer images at once (batch)"),
        (ReadError("a.dcm is damaged. Copy it again."), "a.dcm is damaged. Copy it again."),
    ],
)
def test_a_failure_is_a_sentence_and_the_panel_can_start_again(error, words, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    panel, _ = make_panel(make_task(tmp_path, epochs=1))
    with monkeypatch.context() as broken:
        broken.setattr(running, "train_and_save", fail)
        panel.learn()
        panel.wait(60)
    assert words in panel.message.value
    assert 'role="alert"' in panel.message.value
    assert panel.value is None
    assert not is_shown(panel.keep_button)
    panel.start_button.click()
    panel.wait(60)
    assert panel.value is not None
    assert words not in panel.message.value


def test_a_fault_of_ours_unfolds_its_details(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "train_and_save", lambda *_, **__: 1 / 0)
    panel, _ = make_panel(make_task(tmp_path))
    panel.learn()
    panel.wait(60)
    assert "ended by a fault: division by zero" in panel.message.value
    assert panel.message.value.index("<details") < panel.message.value.index("Traceback")


def test_a_loss_that_becomes_no_number_keeps_the_best(tmp_path, monkeypatch):
    stand_in(monkeypatch, nan_in=4)
    panel, _ = make_panel(make_task(tmp_path, epochs=9))
    panel.learn()
    panel.wait(60)
    assert "Epoch 3 of 3 was kept" in panel.message.value
    assert "smaller learning rate" in panel.message.value
    assert panel.value.path.is_file()


@pytest.mark.parametrize(
    ("dice", "sign", "words"),
    [
        ((0.9, 0.8), "✔", "was kept"),
        ((0.9, 0.0), "⚠", "This model does not find ring on the validation images: the Dice is 0."),
        ((0.159, 0.8), "⚠", "hardly finds core (Dice 0.16)"),
        ((0.9, None), "⚠", "How well this model finds ring is not known"),
    ],
)
def test_a_model_that_finds_nothing_does_not_end_in_green(dice, sign, words, tmp_path, monkeypatch):
    stand_in(monkeypatch, dice=dice)
    panel, _ = make_panel(make_task(tmp_path, epochs=3))
    panel.learn()
    panel.wait(60)
    assert "Epoch 3 of 3 was kept" in panel.message.value
    assert words in panel.message.value
    assert sign in panel.message.value
    assert panel.value.path.is_file()  # it is kept all the same


KILLED = """
import sys, time
from pathlib import Path
import pytest
folder = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from trainings import alone, make_task
from autoseg.panels.training.running import start_training
alone(pytest.MonkeyPatch(), folder)
training = start_training(make_task(folder, epochs=5, save_checkpoint=1))
training.listen(lambda: len(training.epochs) == 3 and (print("third", flush=True), time.sleep(600)))
training.wait()
"""


def test_after_the_kernel_was_killed_a_new_panel_resumes(tmp_path, really):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kernel:
        try:
            assert kernel.stdout.readline() == "third\n"
        finally:
            kernel.kill()
    panel, _ = make_panel(make_task(tmp_path, epochs=5, save_checkpoint=1))
    assert panel.running is None
    assert panel.resume_button.description.startswith("Resume from epoch 2 of 5, of today")
    panel.resume_button.click()
    panel.wait(60)
    assert [row.epoch for row in panel.value.model.history] == [1, 2, 3, 4, 5]
    assert panel.value.model.origin["resumed_after_epochs"] == [2]
    uninterrupted, _ = make_panel(make_task(tmp_path / "again", epochs=5))
    uninterrupted.learn()
    uninterrupted.wait(60)
    one, other = panel.value.model.weights, uninterrupted.value.model.weights
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_an_unfinished_training_of_another_name_is_not_offered(tmp_path):
    stopped_panel(make_task(tmp_path, epochs=50))
    other, _ = make_panel(make_task(tmp_path, name="other"))
    assert not is_shown(other.resume_button)


def test_a_damaged_unfinished_training_is_explained(tmp_path):
    (tmp_path / "discs_resume.pt").write_bytes(b"half")
    panel, _ = make_panel(make_task(tmp_path, epochs=1))
    assert not is_shown(panel.resume_button)
    panel.start_button.click()
    assert "which cannot go on:" in panel.message.value
    panel.start_button.click()
    panel.wait(60)
    assert panel.value is not None


def test_drawing_that_fails_does_not_end_the_training(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no ink")

    with monkeypatch.context() as broken:
        broken.setattr("autoseg.panels.training.training.draw_curves", fail)
        panel, _ = make_panel(make_task(tmp_path, epochs=500))
        panel.learn()
        until(lambda: "no ink" in panel.message.value and len(panel.running.epochs) > 2)
    panel.stop()
    panel.wait(60)
    assert panel.value is not None


# --- from a model


def tuned_task(folder, base, **changes):
    """Give a task that goes on from a model."""
    task = make_task(folder, network=SMALL, **{"epochs": 2} | changes)
    return replace(task, base=base)


def test_a_model_is_gone_on_from(tmp_path, really):
    base = make_base(taught_by=["subject77"])
    panel, settings = make_panel(tuned_task(tmp_path, base))
    panel.start_button.click()
    panel.wait(60)
    origin = panel.value.model.origin
    assert origin["base"]["name"] == "neck"
    assert set(base.origin["subject_fingerprints"]) < set(origin["subject_fingerprints"])
    training = panel.running
    assert training.is_of(tuned_task(tmp_path, make_base(taught_by=["subject77"])))
    settings.value = make_task(tmp_path, network=SMALL, epochs=2)  # the same from scratch is another training
    assert panel.running is None


def test_a_stopped_fine_tuning_resumes_also_with_the_model_read_again(tmp_path, monkeypatch, really):
    panel, _ = stopped_panel(tuned_task(tmp_path, make_base(), epochs=60))
    done = len(panel.running.epochs)
    assert done < 60
    monkeypatch.setattr(running, "TRAININGS", Kernel())  # another kernel
    later, settings = make_panel(tuned_task(tmp_path, make_base(), epochs=60))
    assert is_shown(later.resume_button)
    later.resume_button.click()
    until(lambda: len(later.running.epochs) > done)
    later.stop_button.click()
    later.wait(60)
    assert later.value.model.origin["base"]["name"] == "neck"
    # Another model under the same name is not mixed with it.
    monkeypatch.setattr(running, "TRAININGS", Kernel())
    other = make_base()
    other.weights[next(iter(other.weights))] += 1
    settings.value = tuned_task(tmp_path, other, epochs=60)
    later.resume_button.click()
    later.wait(60)
    assert later.value is None
    assert "was begun from the base model &#x27;neck&#x27;, and another one is given now" in later.message.value


def test_a_model_that_knows_who_validates_is_refused_in_words(tmp_path, really):
    panel, _ = make_panel(tuned_task(tmp_path, make_base(taught_by=["subject8"])))
    panel.start_button.click()
    panel.wait(60)
    assert panel.value is None
    assert "has learnt from patient 5, who validate" in panel.message.value


def test_how_many_validated_the_model_before_is_told(tmp_path, really):
    base = make_base(taught_by=["subject9"])
    base.origin["learnt_fingerprints"] = []
    panel, _ = make_panel(tuned_task(tmp_path, base))
    panel.start_button.click()
    panel.wait(60)
    assert "was validated on 1 of these 2 validation patients, too" in panel.lines.value
    assert not re.search("subject[0-9]", panel.lines.value + panel.state_line.value)


def test_stopped_while_the_finders_learn_is_a_sentence(tmp_path, monkeypatch):
    def train_and_save(*args, **arguments):
        assert arguments["finder"] is task.finder
        raise KeyboardInterrupt

    task = replace(tuned_task(tmp_path, make_base()), finder=make_base().settings)
    monkeypatch.setattr(running, "train_and_save", train_and_save)
    panel, _ = make_panel(task)
    panel.start_button.click()
    panel.wait(60)
    assert panel.value is None
    assert "stopped while the finders of the centreline were learning" in panel.message.value
    assert not panel.start_button.disabled


def test_all_gpus_learn_where_there_are_several_and_somebody_ticks_it(tmp_path, monkeypatch):
    counts = []

    def together(*given, count, **how):
        counts.append(count)
        return running.train_and_save(*given, **how)

    monkeypatch.setattr(running, "train_together", together)
    assert not is_shown(make_panel()[0].use_all)
    panel, _ = make_panel(make_task(tmp_path, epochs=1), processes=2)
    assert is_shown(panel.use_all)
    assert panel.use_all.description == "Use all 2 GPUs"
    assert not panel.use_all.value
    for ticked in (True, False):
        panel.use_all.value = ticked
        panel.start_button.click()
        panel.wait(60)
        assert panel.value.path.is_file()
    assert counts == [2]
