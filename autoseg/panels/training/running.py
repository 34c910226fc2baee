"""A training that learns in the background of the kernel, whoever looks at it: a panel, a script, or nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from autoseg.data.split import Split, subjects_of
from autoseg.errors import AutosegError, DataError, let_go
from autoseg.evaluation.calibrate import (
    CalibrationBegins,
    CalibrationPlan,
    TwinTried,
    calibrate_by_folds,
    plan_calibration,
)
from autoseg.evaluation.crossvalidation import FoldBegins, FoldEpoch
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel, load_model
from autoseg.model.settings.settings import Settings
from autoseg.panels.parts.background import Background, Budget, Kernel, State, sentence_of_failure
from autoseg.panels.parts.values import Task, Trained, same_base
from autoseg.prediction.watched import WatchedSlice, choose_watched, draw_watched, needs_whole, predict_watched
from autoseg.training.checkpoint import find_checkpoint, read_checkpoint, split_again
from autoseg.training.events import Epoch, Event, Finder, Note
from autoseg.training.history import format_epoch
from autoseg.training.keeping.alone import training_alone
from autoseg.training.keeping.elsewhere import NotResumable, NotSavedError, Unsaved
from autoseg.training.save import train_and_save, ways_to_read
from autoseg.training.together import how_many, train_together

# --- the slices that improve before one's eyes, redrawn for a small share of the time of learning

# The slices are redrawn at most so often, and at most for this share of the time.
EVERY_S, SHARE = 3.0, 0.04


@dataclass(frozen=True)
class SlicePicture:
    """A watched slice as it was last drawn: JPEG, whose it is, and by which epoch (0: the reference alone)."""

    jpeg: bytes
    caption: str
    epoch: int


class SliceWatch:
    """A few fixed slices of a split, and their latest pictures.

    `pictures` is empty until `choose`; `side` says of which side they are, "validation" or "training"; `problem`
    says why they could not be drawn, in which case there are none. Nothing here raises: no picture is worth a
    training.

    Parameters
    ----------
    most : int
        How many slices; 0: none.
    """

    def __init__(self, *, most: int = 6) -> None:
        self.most, self.side, self.problem = most, "validation", ""
        self.pictures: tuple[SlicePicture, ...] = ()
        self.budget = Budget(EVERY_S, SHARE)
        self._slices: tuple[WatchedSlice, ...] = ()

    def choose(
        self, split: Split, structures: Sequence[Structure], neighbours: int = 0, *, volumes: bool = False
    ) -> None:
        """Choose the slices, and draw them with their reference alone.

        `neighbours` is that of the settings; `volumes` tells that volumes are learnt from.
        """
        try:
            if self.most:
                self._slices = choose_watched(
                    split, structures, most=self.most, neighbours=neighbours, volumes=volumes
                )
        except Exception as error:
            self.problem = str(error)
        if self._slices:
            self.side = self._slices[0].side
            self.draw(None)

    def draw_if_due(self, model: TrainedModel) -> None:
        """Draw the slices with what a model predicts, if that does not cost too much of the time."""
        if self._slices and self.budget.is_due():
            self.budget.do(lambda: self.draw(model))

    def draw(self, model: TrainedModel | None) -> None:
        """Draw the slices with what a model predicts, or with the reference alone."""
        try:
            predicted: tuple[LabelMap | None, ...] = (None,) * len(self._slices)
            if model is not None and self._slices:
                predicted = predict_watched(model, self._slices)
            self.pictures = tuple(
                SlicePicture(draw_watched(one, labels), one.caption, model.best_epoch if model else 0)
                for one, labels in zip(self._slices, predicted, strict=True)
            )
        except Exception as error:
            self.problem, self._slices, self.pictures = str(error), (), ()


class RunningTraining(Background):
    """One training in a thread of its own; closing the page does not touch it.

    Beside what every `Background` tells: `epochs`, `best` and `last` (models, None before the first epoch),
    `finder` (which one of the centreline learns, before the model itself does), `pictures` of the watched slices,
    and `trained` (what came out, None until it is finished). Its `lines` are those that the manual prints.
    What was learnt stays in `best` when something fails; `keep_best` saves it, in another folder if that is wanted.
    `unsaved` is what could not be saved in the task's own folder, None as long as everything could.

    Where twins of the model are to measure how far its areas can be off: `twins` is what they do, `fold` the one
    that learns or measures now, and `uncalibrated` says why that came to no end. The model is saved before.

    Parameters
    ----------
    task : Task
    choose_post : bool
        As for `autoseg.training.save.train_and_save`.
    watched : int
        How many slices are watched; 0: none.
    resume : bool
        Begin where an unfinished training of this name and folder stopped.
    calibrates : Path, optional
        The file of a model that is trained already: only its twins learn, or go on.
    processes : int
        How many processes learn the model together, each on a GPU of its own; its twins learn in this one.
    """

    def __init__(
        self,
        task: Task,
        *,
        choose_post: bool = False,
        watched: int = 6,
        resume: bool = False,
        calibrates: Path | None = None,
        processes: int = 1,
    ) -> None:
        split = task.split
        super().__init__(task.name, (*split.training, *split.validation, *split.test))
        self.task, self.choose_post = task, choose_post
        self.epochs: tuple[EpochResult, ...] = ()
        self.best: TrainedModel | None = None
        self.last: TrainedModel | None = None
        self.trained: Trained | None = None
        self.finder: Finder | None = None
        self.is_resumed = resume
        self.calibrates, self.processes = calibrates, processes
        self.twins: CalibrationPlan | None = None
        self.fold: FoldBegins | TwinTried | None = None
        self.fold_epochs: tuple[EpochResult, ...] = ()
        self.uncalibrated = ""
        self.unsaved: Unsaved | None = None
        self.watch = SliceWatch(most=watched)
        self._epoch_at = time.monotonic()

    def __repr__(self) -> str:
        return f"RunningTraining({self.task.name}: {self.state}, {len(self.epochs)} epochs)"

    # --- what a click does

    @property
    def has_unsaved(self) -> bool:
        """Whether something was learnt that `keep_best` can save."""
        is_lost = self.state is State.FAILED and self.best is not None
        return is_lost or (not self.is_active and self.unsaved is not None)

    def keep_best(self, folder: Path | None = None) -> Trained:
        """Save what was learnt after all, where the training failed or a file could not be written.

        `folder` takes the place of the task's own; what it takes to go on with a training that was stopped comes
        with it.
        """
        if self.best is None or self.is_active:
            raise DataError("No epoch was finished, so there is nothing to keep.")
        if self.has_unsaved:
            unsaved = self.unsaved or self._unsaved_best(self.best)
            path = unsaved.save_in(self.task.folder if folder is None else folder)
            if unsaved.model is not None:
                self.trained = Trained(unsaved.model, path, self.task)
            self.state, self.unsaved = State.FINISHED, None
            self._tell()
        if self.trained is None:
            raise AssertionError("what was learnt is saved")
        return self.trained

    def _unsaved_best(self, best: TrainedModel) -> Unsaved:
        early = {"ended": "it ended early", "ended_by": Ended.FAILED.value}
        model = replace(best, origin={**early, **best.origin, **ways_to_read(self.task.split)})
        return Unsaved(self.task.folder, self.task.name, model)

    # --- what it tells

    @property
    def pictures(self) -> tuple[SlicePicture, ...]:
        """The watched slices as they were last drawn."""
        return self.watch.pictures

    @property
    def settings(self) -> Settings:
        """The settings that it learns with: where it was resumed, those of its beginning."""
        return self.task.settings if self.last is None else self.last.settings

    def seconds_left(self) -> float | None:
        """Estimate the seconds of learning left, those of twins included; None before the first epoch."""
        if not self.epochs:
            return None
        if self.twins is None:
            return max(0.0, self._epoch_left()) + self._twins_seconds()
        if self.fold is None:
            return self._twins_seconds()
        if isinstance(self.fold, TwinTried):
            return 0.0
        one, epochs = self._twins_seconds() / self.twins.folds, self.fold_epochs
        now = max(0.0, self._epoch_left()) if epochs else one
        return now + one * (self.twins.folds - self.fold.fold)

    def _epoch_left(self) -> float:
        row = (self.fold_epochs or self.epochs)[-1]
        return row.seconds_left - (time.monotonic() - self._epoch_at)

    def _twins_seconds(self) -> float:
        """Give for how long all twins will learn; 0 where there are none. By epochs each as long as the model."""
        plan = self.twins or (self._planned_twins() if self.task.calibrate and not self.was_stopped else None)
        if plan is None:
            return 0.0
        if plan.twins_minutes is not None:
            return 60 * plan.twins_minutes
        row, planned = self.epochs[-1], plan.twin.epochs or 1
        return plan.folds * row.elapsed_s * planned / max(1, row.epoch)

    def _planned_twins(self) -> CalibrationPlan | None:
        cases = (*self.task.split.training, *self.task.split.validation)
        try:
            return plan_calibration(self.settings, len(subjects_of(cases)))
        except DataError:  # it is told where they begin
            return None

    def share(self) -> float:
        """Give how much of the learning is done, 0 to 1."""
        if self.twins is not None:
            return self._share_of_twins(self.twins)
        left = self.seconds_left()
        if left is None:
            return 0.0
        plan = self._planned_twins() if self.task.calibrate else None
        own = 1.0 if plan is None else plan.model_share
        if self.settings.epochs is not None:
            return own * min(1.0, len(self.epochs) / self.settings.epochs)
        left = max(0.0, self._epoch_left())
        passed = self.epochs[-1].elapsed_s + self.epochs[-1].seconds_left - left
        return own * (passed / (passed + left) if passed + left > 0 else 1.0)

    def _share_of_twins(self, plan: CalibrationPlan) -> float:
        own = 0.0 if self.calibrates is not None else plan.model_share
        if isinstance(self.fold, TwinTried):
            return 1.0
        done = 0.0 if self.fold is None else self.fold.fold - 1.0
        if self.fold_epochs:
            last = self.fold_epochs[-1]
            done += last.elapsed_s / max(1e-9, last.elapsed_s + last.seconds_left)
        return own + (1 - own) * min(1.0, done / plan.folds)

    def is_of(self, task: Task, *, also_settings: bool = False) -> bool:
        """Tell whether a task has the same cases, structures and base, and, if asked for, the same settings."""
        mine = self.task
        same = (mine.split.training, mine.split.validation) == (task.split.training, task.split.validation)
        same = same and tuple(mine.structures) == tuple(task.structures) and same_base(mine.base, task.base)
        as_now = (mine.settings, mine.calibrate) == (task.settings, task.calibrate)
        return same and (not also_settings or as_now)

    # --- inside its thread

    def _work(self) -> None:
        with training_alone(self.task.folder, self.task.name):  # before anything is read
            self._train_alone()

    def _train_alone(self) -> None:
        if self.calibrates is not None:
            self._show_trained(load_model(self.calibrates), self.calibrates)
            self._calibrate(self.calibrates)
            return
        settings = self.task.settings
        if self.is_resumed:
            # Whichever patients validate in the settings now: those of its beginning do.
            now = self.task.split
            begun = read_checkpoint(find_checkpoint(self.task.folder, self.task.name))
            sides = split_again(begun, (*now.training, *now.validation), test_subjects=subjects_of(now.test))
            self.task = replace(self.task, split=replace(sides, test=now.test))
            settings = begun.settings
        if self.processes > 1:
            self.processes, words = how_many(settings, self.processes)
            if words:
                self._hear(Note(words))
        neighbours, volumes = self.task.settings.preprocess.neighbours, needs_whole(self.task.settings)
        self.watch.choose(self.task.split, self.task.structures, neighbours, volumes=volumes)
        self._tell()
        model, path = self._learn()
        self._show_trained(model, path)
        self.watch.draw(model)
        if self.task.calibrate:
            self._calibrate(path)

    def _show_trained(self, model: TrainedModel, path: Path) -> None:
        self.best, self.last, self.epochs = model, model, model.history
        self.trained = Trained(model, path, self.task)

    def _calibrate(self, path: Path) -> None:
        """Let twins measure how far areas can be off; what keeps them from it takes nothing from the model."""
        split = self.task.split
        try:
            if self.was_stopped:
                raise KeyboardInterrupt
            model = calibrate_by_folds(
                path,
                (*split.training, *split.validation),
                self.task.structures,
                base=self.task.base,
                on_event=self._hear,
                should_stop=self._should_stop,
            )
        except KeyboardInterrupt:
            self.uncalibrated = "It was stopped."
        except (AutosegError, OSError, MemoryError, RuntimeError) as error:
            self.uncalibrated = self.hidden(sentence_of_failure(error))
            let_go(error)
        else:
            self._show_trained(model, path)

    def _learn(self) -> tuple[TrainedModel, Path]:
        try:
            return self._train()
        except NotSavedError as error:
            self.unsaved = error.unsaved
            raise
        except KeyboardInterrupt:
            raise DataError(
                "It was stopped while the finders of the centreline were learning, before the model itself began. "
                "Those that are done are kept; Start goes on after them."
            ) from None

    def _train(self) -> tuple[TrainedModel, Path]:
        how: Callable[..., tuple[TrainedModel, Path]] = partial(train_and_save, finder=self.task.finder)
        if self.processes > 1:
            how = partial(train_together, count=self.processes)
        return how(
            self.task.split,
            self.task.settings,
            structures=self.task.structures,
            name=self.task.name,
            folder=self.task.folder,
            choose_post=self.choose_post,
            on_event=self._hear,
            on_epoch=self._after_epoch,
            should_stop=self._should_stop,
            resume=self.is_resumed,
            base=self.task.base,
        )

    def _hear(self, event: Event) -> None:
        if str(event):
            super()._hear(event)
        self._hear_of_twins(event)
        if isinstance(event, NotResumable) and event.unsaved.checkpoint is not None:
            self.unsaved = event.unsaved
        if isinstance(event, Finder | Epoch):
            self.finder = event if isinstance(event, Finder) else None

    def _hear_of_twins(self, event: Event) -> None:
        if isinstance(event, CalibrationBegins):
            self.twins = event.plan
        elif isinstance(event, FoldBegins | TwinTried):
            self.fold, self.fold_epochs = event, ()
        elif isinstance(event, FoldEpoch):
            self.fold_epochs, self._epoch_at = (*self.fold_epochs, event.result), time.monotonic()
            self._has_begun()
        if self.twins is not None:
            self._tell()

    def _end_state(self) -> State:
        return State.FINISHED if self.trained is not None else State.FAILED

    def _after_epoch(self, result: EpochResult, best: TrainedModel, last: TrainedModel) -> bool:
        if len(last.history) > 1 and not self.epochs:  # the lines of the epochs before it was resumed
            every = self.task.settings.print_checkpoint
            earlier = [row for row in last.history[:-1] if row.epoch % every == 0]
            self.lines[:0] = [self._line(row) for row in earlier]
        self._epoch_at = time.monotonic()
        self.best, self.last, self.epochs = best, last, last.history
        self._has_begun()
        if not self.was_stopped:
            self.watch.draw_if_due(last)
        self._tell()
        return self.was_stopped

    def _line(self, row: EpochResult) -> str:
        return format_epoch(row, self.task.structures, settings=self.task.settings)


TRAININGS: Kernel[RunningTraining] = Kernel()


def find_training(folder: Path, name: str) -> RunningTraining | None:
    """Give the running or latest training of this folder and name in this kernel, if there was one."""
    return TRAININGS.find((Path(folder).resolve(), name))


def start_training(
    task: Task,
    *,
    resume: bool = False,
    choose_post: bool = False,
    watched: int = 6,
    alone: bool = True,
    calibrates: Path | None = None,
    processes: int = 1,
) -> RunningTraining:
    """Start a training in the background, or the twins of a model that is trained already, and give it."""
    return TRAININGS.start(
        (Path(task.folder).resolve(), task.name),
        lambda: RunningTraining(
            task,
            choose_post=choose_post,
            watched=watched,
            resume=resume,
            calibrates=calibrates,
            processes=processes,
        ),
        busy=f"{task.name!r} is learning already. Stop it first, or give the new model another name.",
        alone=alone,
    )
