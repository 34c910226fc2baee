"""What the training panel says: how far, how long, what was kept, and no patient's name."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from trainings import alone, make_task

from autoseg.model.model import EpochResult, TrainedModel
from autoseg.panels.parts.background import State
from autoseg.panels.parts.follows_work import MOST_LINES, lines_as_html
from autoseg.panels.training.running import RunningTraining
from autoseg.panels.training.training import (
    best_words,
    describe_date,
    describe_question,
    describe_resume,
    describe_run,
    slices_as_html,
)
from autoseg.training.checkpoint import Unfinished
from autoseg.training.events import Epoch, Finder


def make_training(rows=(), **changes):
    """A training that never ran, as it would be after these (epoch, Dice)."""
    task = make_task(Path("nowhere"), **changes)
    training = RunningTraining(task)
    training.state = State.LEARNING
    training.epochs = tuple(
        EpochResult(n, 0.5, 0.01, 6.0 * n, 60.0, validation_dice=dice, is_best=True) for n, dice in rows
    )
    if rows:
        model = TrainedModel("discs", task.settings, task.structures, ("image",), {}, training.epochs, rows[-1][0])
        training.best = training.last = model
    return training


def test_how_far_a_training_is():
    assert describe_run(make_training()) == "Learning: the first epoch is on its way …"
    told = describe_run(make_training([(1, 0.5), (2, 0.75)], epochs=40))
    assert told.startswith("Learning: epoch 2 of 40 done, about a minute left")
    assert told.endswith("the best is epoch 2 with a validation Dice of 0.750.")
    latest = describe_run(make_training([(1, 0.75), (2, 0.5)], epochs=40, best_by="last"))
    assert latest.endswith("the latest is kept, epoch 2 with a validation Dice of 0.500.")
    finding = make_training()
    finding._hear(Finder(("subject1", "subject8"), 1, 3))
    assert finding.lines == ["Centrelines, fold 1 of 3: patient 2, patient 5"]
    assert describe_run(finding).startswith("Centrelines, fold 1 of 3: learning to find the centreline")
    finding._hear(Finder(("subject1",) * 4))
    assert describe_run(finding).startswith("The finder itself: learning")
    finding._hear(Epoch(EpochResult(1, 1.0, 0.1, 0.0, 60.0), finding.task.structures, finding.settings))
    assert finding.finder is None
    timed = describe_run(make_training([(1, 0.5), (2, 0.75)], epochs=None, minutes=1.2))
    assert "epoch 2 done, minute 0.2 of 1.2, about a minute left" in timed
    reading = make_training()
    reading.state = State.READING
    assert describe_run(reading) == "Reading 6 labelled images …"


def test_a_batch_that_had_to_be_halved_is_told():
    training = make_training([(1, 0.5), (2, 0.75)], epochs=40)
    notes = ["Epoch 1: the batch size is 4.", "Epoch 2: the batch size is 2."]
    training.last = replace(training.last, origin={"notes": notes})
    assert describe_run(training).endswith("validation Dice of 0.750. Epoch 2: the batch size is 2.")
    training.state = State.FINISHED
    assert describe_run(training).endswith("validation Dice of 0.750. Epoch 2: the batch size is 2.")


def test_without_a_score_it_says_why():
    assert "on validation patients yet" in best_words(make_training([(1, None)]))
    assert "there is no score of validation patients" in best_words(make_training([(1, None)], validation=()))


def test_resume_tells_from_where_and_of_when():
    now = datetime.now().astimezone()
    one = Unfinished("discs", Path("discs_resume.pt"), 12, 3.0, epochs=40, date=now.isoformat())
    assert describe_resume(one) == f"Resume from epoch 12 of 40, of today {now:%H:%M}"
    timed = replace(one, epochs=None, minutes=10.0, date=(now - timedelta(days=1)).isoformat())
    assert describe_resume(timed) == f"Resume from epoch 12, minute 3.0 of 10, of yesterday {now:%H:%M}"
    assert describe_resume(replace(one, epochs_done=40)).startswith("Resume from epoch 40 of 41")


def test_a_date_of_another_year_has_it():
    assert describe_date("2025-03-12T14:03:00", now=datetime(2026, 1, 1)) == "12 March 2025 14:03"


@pytest.mark.parametrize("problem", ["", "it is damaged."])
def test_what_a_new_start_gives_up_is_asked(problem):
    one = Unfinished("discs", Path("discs_resume.pt"), 12, epochs=40, date="2026-05-01T12:00:00", problem=problem)
    assert "click again" in describe_question(one).lower()
    assert problem in describe_question(one)
    assert "not saved yet" in describe_question(None)


def test_only_the_last_lines_are_on_the_page():
    lines = [f"Epoch {n}" for n in range(1, MOST_LINES + 51)]
    shown = lines_as_html(lines)
    assert "… 50 earlier lines" in shown
    assert ">Epoch 50<" not in shown.replace("\n", "<>")
    assert "Epoch 51\n" in shown
    assert shown.count("Epoch") == MOST_LINES


def test_the_slices_name_no_patient_and_say_of_which_side_they_are(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    for validation, words in (((8, 9), "Validation slices"), ((), "there are no validation patients")):
        training = make_training(validation=validation)
        training.watch.choose(training.task.split, training.task.structures)
        page = slices_as_html(training)
        assert words in page
        assert re.search(r">patient \d+, slice 1 of 2<", page)
        assert "subject8" not in page
        assert "case8" not in page


def test_slices_that_cannot_be_drawn_are_a_sentence():
    training = make_training()
    assert slices_as_html(training) == ""
    training.watch.problem = "a.dcm is damaged."
    assert "The slices cannot be shown: a.dcm is damaged." in slices_as_html(training)
