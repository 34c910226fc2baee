"""A training that learns in the background of the kernel, whoever looks at it: a panel, a script, or nobody."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from autoseg.checkpoint import find_checkpoint, read_checkpoint, split_again
from autoseg.errors import AutosegError, DataError
from autoseg.history import format_epoch, write_history
from autoseg.model import EpochResult, TrainedModel, free_model_path, save_model
from autoseg.panels.turns import Turn
from autoseg.panels.values import Task, Trained
from autoseg.panels.watching import SlicePicture, SliceWatch
from autoseg.report import train_and_save
from autoseg.settings import Settings
from autoseg.split import subjects_of

State = Literal["waiting", "reading", "learning", "stopping", "finished", "failed"]
ACTIVE = ("waiting", "reading", "learning", "stopping")


class RunningTraining:
    """One training in a thread of its own; closing the page does not touch it.

    Everything here may be read at any time: `state`, `lines` (those that the manual prints), `epochs`, `best`
    and `last` (models, None before the first epoch), `pictures` of the watched slices, `trained` (what came out,
    None until `state` is "finished"), `error` (why it failed), `begun` (when).
    What was learnt stays in `best` when something fails; `keep_best` saves it.

    Parameters
    ----------
    task : Task
    choose_post : bool
        As for `autoseg.report.train_and_save`.
    watched : int
        How many slices are watched; 0: none.
    """

    def __init__(self, task: Task, *, choose_post: bool = False, watched: int = 6) -> None:
        self.task, self.choose_post, self.begun = task, choose_post, datetime.now()
        self.state: State = "waiting"
        self.lines: list[str] = []
        self.epochs: tuple[EpochResult, ...] = ()
        self.best: TrainedModel | None = None
        self.last: TrainedModel | None = None
        self.trained: Trained | None = None
        self.error: Exception | None = None
        self.is_resumed = False
        self.viewer: object = None  # the panel that shows it, if any
        self.watch = SliceWatch(most=watched)
        self._listeners: list[Callable[[], object]] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._epoch_at = time.monotonic()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"RunningTraining({self.task.name}: {self.state}, {len(self.epochs)} epochs)"

    # --- what a click does

    def start(self, *, resume: bool = False, turn: Turn | None = None) -> None:
        """Begin; with `resume` where an unfinished training of this name and folder stopped.

        `turn` is given back when the training ends. A training is started once; `start_training` makes a new one.
        """
        if self._thread is not None:
            raise DataError(f"{self.task.name!r} was started already. Start a new training.")
        self.is_resumed, self.state = resume, "reading"
        self._thread = threading.Thread(
            target=self._run, args=(resume, turn), daemon=True, name=f"training {self.task.name}"
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop and keep the best epoch; it does so after the step that it is at."""
        with self._lock:
            if not self.is_active:
                return
            self.state = "stopping"
            self._stop.set()
        self._tell()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is done; tell whether it is."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_active

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` whenever something changed, in the training's thread; give a function that ends it.

        It must be quick. What it raises is dropped: nobody who looks on can end a training.
        """
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def keep_best(self) -> Trained:
        """Save the best model after all, where the training failed or its file could not be written.

        Raises
        ------
        DataError
            If no epoch was finished.
        OutputError
            If it cannot be written; the model stays in `best`.
        """
        if self.best is None:
            raise DataError("No epoch was finished, so there is nothing to keep.")
        if self.trained is None:
            reading = self.task.split.training[0].reading
            origin = {"ended": "it ended early", **self.best.origin, "plane": reading.plane}
            model = replace(self.best, origin=origin)
            path = save_model(model, free_model_path(self.task.folder, model))
            write_history(model, Path(self.task.folder) / f"{self.task.name}_history.csv")
            self.trained = Trained(model, path, self.task)
            self.state = "finished"
            self._tell()
        return self.trained

    # --- what it tells

    @property
    def is_active(self) -> bool:
        """Whether it waits, reads, learns or is stopping."""
        return self.state in ACTIVE

    @property
    def pictures(self) -> tuple[SlicePicture, ...]:
        """The watched slices as they were last drawn."""
        return self.watch.pictures

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stop.is_set()

    @property
    def settings(self) -> Settings:
        """The settings that it learns with: where it was resumed, those of its beginning."""
        return self.task.settings if self.last is None else self.last.settings

    def seconds_left(self) -> float | None:
        """Estimate the seconds of learning left; None before the first epoch."""
        if not self.epochs:
            return None
        return max(0.0, self.epochs[-1].seconds_left - (time.monotonic() - self._epoch_at))

    def share(self) -> float:
        """Give how much of the learning is done, 0 to 1."""
        left = self.seconds_left()
        if left is None:
            return 0.0
        if self.settings.epochs is not None:
            return min(1.0, len(self.epochs) / self.settings.epochs)
        passed = self.epochs[-1].elapsed_s + self.epochs[-1].seconds_left - left
        return passed / (passed + left) if passed + left > 0 else 1.0

    def is_of(self, task: Task, *, also_settings: bool = False) -> bool:
        """Tell whether a task has the same cases and structures, and, if asked for, the same settings."""
        mine = self.task
        same = (mine.split.training, mine.split.validation) == (task.split.training, task.split.validation)
        same = same and tuple(mine.structures) == tuple(task.structures)
        return same and (not also_settings or mine.settings == task.settings)

    def details(self) -> str:
        """Give the traceback of what failed, for whoever helps; "" where the sentence says it all."""
        if self.error is None or isinstance(self.error, AutosegError):
            return ""
        return "".join(traceback.format_exception(self.error))

    def failure(self) -> str:
        """Give why it failed as a sentence with the remedy; "" if it did not."""
        return sentence_of_failure(self.error) if self.error is not None else ""

    # --- inside its thread

    def _run(self, resume: bool, turn: Turn | None) -> None:
        try:
            if resume:
                # Whichever patients validate in the settings now: those of its beginning do.
                now = self.task.split
                begun = read_checkpoint(find_checkpoint(self.task.folder, self.task.name))
                sides = split_again(begun, (*now.training, *now.validation), test_subjects=subjects_of(now.test))
                self.task = replace(self.task, split=replace(sides, test=now.test))
            self.watch.choose(self.task.split, self.task.structures)
            self._tell()
            model, path = train_and_save(
                self.task.split,
                self.task.settings,
                structures=self.task.structures,
                name=self.task.name,
                folder=self.task.folder,
                choose_post=self.choose_post,
                tell=self._say,
                on_epoch=self._after_epoch,
                should_stop=self._should_stop,
                resume=resume,
            )
            self.best, self.epochs = model, model.history
            self.watch.draw(model)
            self.trained = Trained(model, path, self.task)
        except Exception as error:
            self.error = error
            _let_go(error)
        finally:
            with self._lock:
                self.state = "finished" if self.trained is not None else "failed"
            if turn is not None:
                turn.give_back()
            self._tell()

    def _should_stop(self) -> bool:
        self._has_begun()
        return self._stop.is_set()

    def _has_begun(self) -> None:
        with self._lock:
            is_new = self.state == "reading"
            self.state = "learning" if is_new else self.state
        if is_new:
            self._tell()

    def _say(self, line: str) -> None:
        self.lines.append(line)

    def _after_epoch(self, result: EpochResult, best: TrainedModel, last: TrainedModel) -> bool:
        if len(last.history) > 1 and not self.epochs:  # the lines of the epochs before it was resumed
            every = self.task.settings.print_checkpoint
            earlier = [row for row in last.history[:-1] if row.epoch % every == 0]
            self.lines[:0] = [format_epoch(row, self.task.structures) for row in earlier]
        self._epoch_at = time.monotonic()
        self.best, self.last, self.epochs = best, last, last.history
        self._has_begun()
        if not self.was_stopped:
            self.watch.draw_if_due(last)
        self._tell()
        return self.was_stopped

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            with suppress(Exception):
                listener()


_TRAININGS: dict[tuple[Path, str], RunningTraining] = {}
_LOCK = threading.Lock()


def find_training(folder: Path, name: str) -> RunningTraining | None:
    """Give the running or latest training of this folder and name in this kernel, if there was one."""
    return _TRAININGS.get((Path(folder).resolve(), name))


def start_training(
    task: Task, *, resume: bool = False, choose_post: bool = False, watched: int = 6, alone: bool = True
) -> RunningTraining:
    """Start a training in the background and give it.

    Parameters
    ----------
    task : Task
    resume : bool
        Go on with the unfinished training of this name in `task.folder`.
    choose_post, watched
        As for `RunningTraining`.
    alone : bool
        Refuse while another training learns on this computer.

    Raises
    ------
    DataError
        If this one is running already, or another is and `alone` holds.
    """
    with _LOCK:
        earlier = find_training(task.folder, task.name)
        if earlier is not None and earlier.is_active:
            raise DataError(
                f"{task.name!r} is learning already. Stop it first, or give the new model another name."
            )
        turn = Turn(task.name) if alone else None
        training = RunningTraining(task, choose_post=choose_post, watched=watched)
        _TRAININGS[Path(task.folder).resolve(), task.name] = training
        training.start(resume=resume, turn=turn)
    return training


def _let_go(error: BaseException) -> None:
    """Free what the functions that failed held: the slices would fill the memory that the next try needs."""
    known: BaseException | None = error
    seen: list[BaseException] = []
    while known is not None and known not in seen:
        seen.append(known)
        traceback.clear_frames(known.__traceback__)
        known = known.__cause__ or known.__context__


def sentence_of_failure(error: Exception) -> str:
    """Say in plain words why a training failed, and what to do."""
    words = str(error)
    if isinstance(error, AutosegError):
        return words
    if isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words:
        return (
            "There was not enough memory to learn. Choose a smaller batch size or a larger spacing_mm, or close "
            "other programs, then start again."
        )
    return f"The training ended by a fault: {words or type(error).__name__}."
