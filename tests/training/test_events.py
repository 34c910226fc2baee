"""What a long run tells: events for programs, and their lines for people."""

from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult
from autoseg.model.settings.settings import Settings
from autoseg.training.events import Epoch, Finder, Note, listener

RESULT = EpochResult(3, 0.5, 0.01, 6.0, 60.0, validation_loss=0.4, validation_dice=0.9, dice=(0.9,), is_best=True)


def test_each_has_a_line():
    epoch = str(Epoch(RESULT, (Structure(1, "psoas"),), Settings(), indent="  "))
    assert epoch.startswith(
        "  Epoch 3 of 100, training loss 0.500, validation loss 0.400, mean Dice 0.900, 0:06 min gone, 1:00 min "
    )
    assert str(Note("It goes on.")) == "It goes on."
    assert str(Finder(("a", "b"), 1, 3)) == "Centrelines, fold 1 of 3: a, b"
    assert str(Finder(("a", "b"))) == "The finder itself, from 2 patients"


def test_lines_go_to_people_and_events_to_programs():
    lines, events = [], []
    for tell in (None, lines.append):
        for on_event in (None, events.append):
            listener(tell, on_event)(Note("once"))
    assert (lines, events) == (["once"] * 2, [Note("once")] * 2)
