"""What a fold has learnt so far, kept beside the folds: who begins it again goes on from there.

A worker may be lost in the middle of a fold, or the whole program. As long as a fold is learnt a checkpoint lies in
the folder of its entry, always of a whole epoch, so that what is learnt after it is what would have been learnt.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoseg.errors import AutosegError, DataError, ModelFileError, OutputError
from autoseg.evaluation.crossvalidation.events import FoldEpoch
from autoseg.evaluation.crossvalidation.request import FoldPlan
from autoseg.files.atomic import remove, settle
from autoseg.model.identity import plain_digest
from autoseg.model.model import TrainedModel, model_digest
from autoseg.training.checkpoint import Checkpoint, checkpoint_path, describe_now, read_checkpoint, write_checkpoint
from autoseg.training.events import Note
from autoseg.training.inputs import Inputs
from autoseg.training.training import OnCheckpoint

# How much learning may be lost; longer where saving takes more than a fiftieth of that.
LEAST_UNSAVED_S, TIMES_AS_LONG = 60.0, 50
# Given what it goes on from, if anything, and who keeps what was learnt.
Learn = Callable[[Checkpoint | None, OnCheckpoint], TrainedModel]


def model_name(plan: FoldPlan, number: int) -> str:
    """Give the name of a fold's model."""
    return f"{plan.name}_fold{number}"


def forget_begun(plan: FoldPlan, number: int) -> None:
    """Remove what was kept of a fold (from 1), which is done."""
    remove(checkpoint_path(plan.folder, model_name(plan, number)))


def go_on_with(plan: FoldPlan, number: int, inputs: Inputs, learn: Learn) -> TrainedModel:
    """Learn a fold (from 1), from where the same work was ended before, if it was; it is told which.

    What lies there of other work (settings, cases, centrelines, base, versions), or is damaged, is not used.
    """
    path = checkpoint_path(plan.folder, model_name(plan, number))
    kept = _Kept(plan, path, _work_of(plan, number, inputs))
    begun = kept.read()
    if begun is not None:
        for row in begun.last.history:  # for curves, which begin with the fold
            plan.on_event(FoldEpoch(plan.name, number, "", row))
        plan.on_event(Note(f"  It was begun before, and goes on after epoch {len(begun.last.history)}."))
        try:
            return learn(begun, kept.keep)
        except (DataError, ModelFileError):
            kept.say_anew("does not fit the images or the network")
    return learn(None, kept.keep)


@dataclass
class _Kept:
    """The checkpoint of a fold at `path`; `work` stands for all on which the learning depends."""

    plan: FoldPlan
    path: Path
    work: str
    saved_at_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0
    is_told: bool = False

    def read(self) -> Checkpoint | None:
        """Give what can be gone on with; where something else lies there, say so."""
        settle(self.path.parent)
        if not self.path.exists():
            return None
        try:
            checkpoint = read_checkpoint(self.path)
        except AutosegError:
            self.say_anew("is damaged, or was not written by autoseg")
            return None
        if checkpoint.work != self.work:
            self.say_anew("is of other settings, images or versions")
            return None
        return checkpoint

    def say_anew(self, why: str) -> None:
        """Tell that what lies there is not used."""
        self.plan.on_event(Note(f"  {self.path.name} {why}, so the fold begins anew."))

    def keep(self, take: Callable[[], Checkpoint], stopped: bool) -> None:
        """Keep a checkpoint, if that was long ago; of an epoch that was stopped in its middle none is made."""
        began = time.monotonic()
        if stopped or began - self.saved_at_s < max(LEAST_UNSAVED_S, TIMES_AS_LONG * self.took_s):
            return
        try:
            write_checkpoint(replace(take(), work=self.work), self.path)
        except (OutputError, OSError) as error:  # learning is worth more than what it takes to go on with it
            if not self.is_told:
                self.plan.on_event(Note(f"  What was learnt so far could not be kept: {error} The fold goes on."))
            self.is_told = True
        self.saved_at_s = time.monotonic()
        self.took_s = self.saved_at_s - began


def _work_of(plan: FoldPlan, number: int, inputs: Inputs) -> str:
    """Give a digest of all on which the learning of a fold depends."""
    lines = hashlib.sha256()
    for case_id, line in sorted(inputs.centrelines.items()):
        lines.update(case_id.encode("utf-8", "surrogateescape") + line.points_mm.tobytes())
    sides = plan.folds.splits[number - 1].sides()
    return plain_digest(
        {
            "made from": plan.made_from(number),
            "order": {side: [case.case_id for case in cases] for side, cases in sides.items()},
            "centrelines": lines.hexdigest(),
            "finder": None if inputs.finder is None else model_digest(inputs.finder),
            "made with": describe_now()["made_with"],
        }
    )
