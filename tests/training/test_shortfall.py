"""What a training did not reach is said of the epoch that is kept."""

import pytest

from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.training.shortfall import say_shortfall, say_unscored

STRUCTURES = (Structure(1, "psoas"), Structure(2, "fat"))


def model(*rows, best=1):
    history = tuple(
        EpochResult(n, 1.0, 1e-3, n, 0, None, None, dice, training_dice=learnt)
        for n, (dice, learnt) in enumerate(rows, 1)
    )
    return TrainedModel("m", Settings(), STRUCTURES, ("image",), {}, best_epoch=best, history=history)


@pytest.mark.parametrize(
    ("dice", "words"),
    [
        ((0.9, 0.3), ""),
        ((0.9, 0.0), "This model does not find fat on the validation images: the Dice is 0."),
        ((0.0, 0.004), "This model does not find psoas and fat on the validation images"),
        ((0.9, 0.159), "This model hardly finds fat (Dice 0.16) on the validation images."),
    ],
)
def test_what_is_hardly_found_is_named(dice, words):
    said = say_shortfall(model((dice, (0.9, 0.9))))
    assert said.startswith(words)
    assert bool(said) == bool(words)
    assert say_unscored(model((dice, (0.9, 0.9)))) == ""


def test_the_kept_epoch_counts():
    rows = (((0.9, 0.0), ()), ((0.9, 0.9), ()))
    assert say_shortfall(model(*rows, best=1))
    assert say_shortfall(model(*rows, best=2)) == ""


def test_what_nobody_shows_is_not_known():
    said = say_unscored(model(((0.9, None), (0.9, 0.9))))
    assert said == "How well this model finds fat is not known: none of the validation images shows it."
    assert say_shortfall(model(((0.9, None), (0.9, 0.9)))) == ""


def test_without_validation_it_goes_by_what_was_learnt_from():
    assert "fat (Dice 0.10) on the images that it learnt from" in say_shortfall(model(((), (0.9, 0.1))))
    assert say_shortfall(model(((), ()))) == ""
