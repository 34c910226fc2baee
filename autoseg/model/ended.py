"""How a training ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Ended(StrEnum):
    """How a training ended; in a model's `origin`, "ended_by" is this, and "ended" the sentence for people."""

    COMPLETE = "complete"  # all epochs or minutes were used
    PATIENCE = "patience"
    STOPPED = "stopped"
    NOT_A_NUMBER = "not a number"  # the loss
    FAILED = "failed"  # the best epoch was saved afterwards
    OTHER = "other"  # a file of another version tells something unknown


# How the sentences of earlier versions, which wrote nothing else, begin.
_SENTENCES = {
    "all epochs or minutes were used": Ended.COMPLETE,
    "there was no better ": Ended.PATIENCE,
    "there was no lower ": Ended.PATIENCE,
    "no better ": Ended.PATIENCE,  # the first versions
    "it was stopped": Ended.STOPPED,
    "the loss became NaN": Ended.NOT_A_NUMBER,
    "it ended early": Ended.FAILED,
}


def read_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Give the origin that a file holds with "ended_by", which earlier versions did not write."""
    origin, sentence = dict(origin), str(origin.get("ended") or "")
    if sentence and "ended_by" not in origin:
        known = (ended for begins, ended in _SENTENCES.items() if sentence.startswith(begins))
        origin["ended_by"] = next(known, Ended.OTHER).value
    return origin


def ended_by(origin: Mapping[str, Any]) -> Ended | None:
    """Give how the training of a model with this origin ended; None: it has not, or that is not known."""
    how = origin.get("ended_by")
    if how is None:
        return None
    try:
        return Ended(how)
    except ValueError:  # of a later version, or damaged
        return Ended.OTHER
