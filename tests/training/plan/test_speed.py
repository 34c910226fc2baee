"""How fast a computer learns, and what the plan says of the time."""

from dataclasses import replace

import pytest

from autoseg.model.device import Computer
from autoseg.model.settings.settings import Settings
from autoseg.training.plan.speed import LEARNING_PART, learning_speed, tell_time, views_in_time, wanted_pixels

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


def test_the_table_knows_processors_and_gpus_until_the_speed_is_measured():
    assert learning_speed(LAPTOP) == pytest.approx(300_000 * 2**0.8)
    assert learning_speed(replace(LAPTOP, precision="float32", cores=1)) == 150_000
    gpu = replace(LAPTOP, device="cuda")
    assert learning_speed(gpu) == 50e6
    for computer in (LAPTOP, gpu):
        measured = replace(computer, pixels_per_second=1e6)
        assert learning_speed(measured) == pytest.approx(LEARNING_PART * 1e6)
    assert 0.5 < LEARNING_PART < 1


def test_views_and_pixels_follow_from_the_time():
    minutes, epochs = Settings(minutes=2.0), Settings(epochs=10)
    assert views_in_time(minutes, 1e6, (100, 100)) == 12_000
    assert views_in_time(epochs, 1e6, (100, 100)) is None
    assert wanted_pixels(minutes, 1e6, 500) == 12_000
    assert wanted_pixels(epochs, 1e6, 500) == 720_000  # an hour at most


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1e6, "each of about 100 slices is seen about 60 times."),
        (1e5, "is seen about 6 times. More time may help: about 17 minutes."),
        (17_000, "is seen about once. More"),
        (5_000, "is seen less than once. More"),
    ],
)
def test_the_time_in_words(rate, words):
    choice = tell_time(Settings(minutes=1.0), rate, 100, (100, 100), measured=False)
    assert (choice.name, choice.value) == ("minutes", 1.0)
    assert choice.reason.startswith("By estimate, ")
    assert words in choice.reason


def test_epochs_in_words():
    choice = tell_time(Settings(epochs=30), 1e6, 200, (100, 100), measured=True)
    assert choice.reason == "As you chose; by the speed measured here about 1 minute."
