"""What a cross-validation tells: lines for people, epochs for whoever asks for them."""

from autoseg.evaluation.crossvalidation import FoldBegins, FoldEpoch, FoldFailed, speaking
from autoseg.model.model import EpochResult
from autoseg.training.events import Note

RESULT = EpochResult(3, 0.5, 0.01, 6.0, 60.0)
EVENTS = (
    FoldBegins("unet", 2, "Fold 2 of 5, U-Net (1 of 2)"),
    FoldEpoch("unet", 2, "", RESULT),  # one that is not printed
    FoldFailed("unet", 2, "  U-Net failed, and the others go on. No memory."),
    Note("It goes on."),
)


def test_lines_go_to_people_and_epochs_to_whom_asks():
    lines, epochs = [], []
    hear = speaking(lines.append, lambda *epoch: epochs.append(epoch))
    for event in EVENTS:
        hear(event)
        speaking(None)(event)
    assert lines == [str(EVENTS[0]), str(EVENTS[2]), "It goes on."]
    assert epochs == [("unet", 2, RESULT)]
