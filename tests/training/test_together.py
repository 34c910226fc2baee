"""A training by two processes that this one starts and listens to; on processors, as there is no GPU in a test."""

import psutil
import pytest
from discs import STRUCTURES, quick_settings
from errands import write_discs

from autoseg.data.split import split_cases
from autoseg.errors import AutosegError
from autoseg.model.ended import Ended
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.events import Epoch
from autoseg.training.save import train_and_save
from autoseg.training.together import how_many, train_together

SETTINGS = quick_settings(epochs=500, network=NetworkSettings(filters=(4, 8)))


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    cases = write_discs(tmp_path_factory.mktemp("discs"))
    return split_cases(cases.cases, validation_subjects=[cases.cases[-1].subject_id])


def until_second(epochs):
    """Note the epochs and their models, and stop after the second."""

    def after_epoch(result, best, last):
        epochs.append((result, best, last))
        return len(epochs) == 2

    return after_epoch


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_two_processes_are_started_tell_their_epochs_stop_and_leave_the_model(split, tmp_path):
    before, events, epochs, alone = children(), [], [], []
    common = {"structures": STRUCTURES, "name": "discs"}
    model, path = train_together(
        split,
        SETTINGS,
        count=2,
        folder=tmp_path / "two",
        on_event=events.append,
        on_epoch=until_second(epochs),
        should_stop=lambda: False,
        **common,
    )
    assert children() <= before
    assert model.ended is Ended.STOPPED
    assert path.parent == tmp_path / "two"
    assert [event.result for event in events if isinstance(event, Epoch)] == list(model.history)
    assert all(best.weights and last.weights for _, best, last in epochs)
    train_and_save(split, SETTINGS, folder=tmp_path / "one", on_epoch=until_second(alone), **common)
    for (_, _, two), (_, _, one) in zip(epochs[:2], alone, strict=True):
        assert max(float((two.weights[key] - one.weights[key]).abs().max()) for key in one.weights) < 1e-4


def test_what_fails_in_them_is_one_sentence_and_none_stays(split, tmp_path):
    before = children()
    image = split.training[0].image_path
    whole = image.read_bytes()
    image.write_bytes(b"no image")
    try:
        with pytest.raises(AutosegError, match=image.name):
            train_together(split, SETTINGS, count=2, structures=STRUCTURES, name="discs", folder=tmp_path)
    finally:
        image.write_bytes(whole)
    assert children() <= before


def test_what_one_gpu_must_learn_is_said():
    assert how_many(SETTINGS, 2) == (2, "")
    assert how_many(quick_settings(batch_size=1), 2) == (1, "")
    count, words = how_many(quick_settings(network=NetworkSettings(name="maskdino")), 2)
    assert count == 1
    assert "'maskdino' matches its queries within a batch" in words
