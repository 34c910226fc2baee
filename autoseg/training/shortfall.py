"""What a training did not reach: structures that it does not find, or of which nobody knows how well it does."""

from __future__ import annotations

from autoseg.model.model import TrainedModel
from autoseg.words import listed

# Below this Dice what is found has hardly to do with what was drawn; below the other it is nothing.
NEAR_ZERO, NOTHING = 0.2, 0.005


def say_shortfall(model: TrainedModel) -> str:
    """Say which structures the kept epoch does not find, or hardly; "" if all is well.

    Without validation it goes by what the network learnt from.
    """
    scores, where = _scores(model)
    known = [(name, dice) for name, dice in scores if dice is not None]
    missed = [name for name, dice in known if dice < NOTHING]
    poor = [f"{name} (Dice {dice:.2f})" for name, dice in known if NOTHING <= dice < NEAR_ZERO]
    words = []
    if missed:
        words.append(f"This model does not find {listed(missed)} on the {where}: the Dice is 0.")
    if poor:
        words.append(f"This model hardly finds {listed(poor)} on the {where}.")
    if words:
        words.append(
            "Areas that it measures there are wrong. Check the labels; more time or more of them may help."
        )
    return " ".join(words)


def say_unscored(model: TrainedModel) -> str:
    """Say of which structures nothing is known, because no image shows them; "" if there is none."""
    scores, where = _scores(model)
    unknown = [name for name, dice in scores if dice is None]
    them = "it" if len(unknown) == 1 else "them"
    words = f"How well this model finds {listed(unknown)} is not known: none of the {where} shows {them}."
    return words if unknown else ""


def _scores(model: TrainedModel) -> tuple[list[tuple[str, float | None]], str]:
    """Give the Dice of each structure at the kept epoch, and on which images; none where it was not validated."""
    row = next((row for row in model.history if row.epoch == model.best_epoch), None)
    scores = () if row is None else row.dice or row.training_dice
    where = "validation images" if row is not None and row.dice else "images that it learnt from"
    return list(zip([structure.name for structure in model.structures], scores, strict=False)), where
