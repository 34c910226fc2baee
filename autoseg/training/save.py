"""Train, and keep what was learnt in a folder: the model, its history, and what it takes to go on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.data.cases import Reading
from autoseg.data.split import Split
from autoseg.errors import AutosegError, ModelFileError, OutputError
from autoseg.files.atomic import check_writable, one_step, remove
from autoseg.image.structures import Structure
from autoseg.model.card import save_with_card
from autoseg.model.ended import Ended
from autoseg.model.model import (
    EpochResult,
    TrainedModel,
    check_model_name,
    free_model_path,
    save_model,
)
from autoseg.model.postprocess import PostprocessChoice
from autoseg.model.settings.settings import Settings
from autoseg.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    describe_now,
    find_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from autoseg.training.choose_postprocess import tune_postprocess
from autoseg.training.events import Epoch, Event, Note, OnEvent, Saved, listener
from autoseg.training.finder import automatic_inputs, finder_settings, kept_inputs
from autoseg.training.history import write_history
from autoseg.training.inputs import Inputs, sees_crop
from autoseg.training.keeping.alone import training_alone
from autoseg.training.keeping.elsewhere import (
    NotResumable,
    NotSavedError,
    Unsaved,
    centrelines_folder,
    history_path,
    write_learnt,
)
from autoseg.training.keeping.room import check_training_room
from autoseg.training.training import OnEpoch, train
from autoseg.training.trust import examine_cases, learn_profile, learn_trust, with_offsets

# What is done with a learnt model before it is saved may fail (the images may be gone since), or be interrupted by
# somebody for whom it takes too long: the model is saved without it.
NOT_WORTH_A_MODEL = (AutosegError, OSError, MemoryError, RuntimeError, KeyboardInterrupt)
# Of learning, that a crash may lose where epochs are short.
LONGEST_UNSAVED_S = 60.0
# By how many finders the centrelines are found that a model learns with.
FINDER_FOLDS = 3


def train_and_save(
    split: Split,
    settings: Settings,
    *,
    structures: Sequence[Structure],
    name: str,
    folder: Path,
    choose_post: bool = False,
    tell: Callable[[str], object] | None = None,
    on_event: OnEvent | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = False,
    base: TrainedModel | None = None,
    finder: Settings | None = None,
) -> tuple[TrainedModel, Path]:
    """Train, and keep what was learnt in `folder`.

    Every `settings.save_checkpoint` epochs, after the first epoch that ends a minute later, and when it is stopped,
    the best model so far and the latest one are saved as `<name>_best.pt` and `<name>_last.pt`, with which
    predictions can be made, and the training itself as `<name>_resume.pt`, from which it can go on. With
    `settings.keep_checkpoints` the latest one of every `save_checkpoint` epochs also stays, as `<name>_<epoch>.pt`.
    At the end `<name>_<epochs>.pt` takes the place of the best and the latest (`<name>_<epochs>_2.pt` where an
    older model has that name: none is lost); of a training that was stopped `<name>_resume.pt` stays.
    `<name>_history.csv` has one row an epoch. Files that belong together are written in one step: a program that is
    killed leaves the earlier ones or these.

    Parameters
    ----------
    split, settings, structures, name, on_epoch, should_stop
        As for `autoseg.training.training.train`.
    folder : Path
        Where the model lands, normally trained_model.
    choose_post : bool
        Choose a post-processing on the validation cases (`autoseg.training.choose_postprocess.tune_postprocess`)
        and keep it in the model; what was tried is in `<name>_postprocess.csv`.
    tell : callable, optional
        Gets a line of text every `settings.print_checkpoint` epochs; `print`, for instance.
    on_event : callable, optional
        Gets what `tell` gets as an `autoseg.training.events.Event`, for programs.
    resume : bool
        Go on with the unfinished training of this name (`autoseg.training.checkpoint.find_unfinished` lists them),
        with its own settings; `settings` is not looked at.
    base : TrainedModel, optional
        Fine-tuned, as for `autoseg.training.training.train`; what of it did not fit is told.
    finder : Settings, optional
        Of what finds the centreline, from `autoseg.training.finder.finder_settings`, where the model sees a crop
        around it
        (`volume.crop_mm`). Four are trained before the model, so that it learns with centrelines of such as did
        not see the subject; they are kept in `<name>_centrelines`. With `resume` those count, whatever is given.

    Returns
    -------
    tuple of TrainedModel and Path
        The model and its file.

    Raises
    ------
    OutputError
        If the folder cannot be written, or another program trains a model of this name there; both are tried before
        the training starts.
    NotSavedError
        An OutputError: the model was learnt and could not be saved. `error.unsaved.save_in(folder)` saves it in
        another folder.
    ModelFileError
        If there is nothing to resume, or it cannot be read.
    DataError
        If the data are not those of the training to resume; the message says what has changed.
    KeyboardInterrupt
        If it was stopped before the model itself began to learn.
    """
    check_model_name(name)
    hear = listener(tell, on_event)
    is_heard = tell is not None or on_event is not None
    files = _TrainingFiles(Path(folder), name, hear, is_heard=is_heard, ways=ways_to_read(split))
    with training_alone(files.folder, name):
        check_writable(files.folder)
        unfinished = files.read_unfinished(resume)
        settings = settings if unfinished is None else unfinished.settings
        files.check_room(settings, structures, finder)
        noted = 0 if unfinished is None else len(unfinished.last.origin.get("notes", ()))

        def after_epoch(result: EpochResult, best: TrainedModel, last: TrainedModel) -> bool | None:
            nonlocal noted
            if result.epoch % settings.print_checkpoint == 0:
                hear(Epoch(result, tuple(structures), settings))
            notes = last.origin.get("notes", ())
            for note in notes[noted:]:
                hear(Note(note))
            noted = len(notes)
            return on_epoch(result, best, last) if on_epoch is not None else None

        def after_checkpoint(take: Callable[[], Checkpoint], stopped: bool) -> None:
            files.epochs += 1
            due = files.epochs % settings.save_checkpoint == 0
            if stopped or due or files.is_long_unsaved():
                files.save(
                    take(), stopped=stopped, keep=due and settings.keep_checkpoints, told=due and not stopped
                )

        inputs = Inputs()
        if sees_crop(settings):
            lines, cases = files.centrelines, (*split.training, *split.validation)
            # With other centrelines it could not go on.
            inputs = (kept_inputs(cases, lines) if resume else None) or automatic_inputs(
                split, structures, finder, folder=lines, folds=FINDER_FOLDS, on_event=hear, should_stop=should_stop
            )
        model = train(
            split,
            settings,
            structures=structures,
            name=name,
            on_epoch=after_epoch,
            should_stop=should_stop,
            on_checkpoint=after_checkpoint,
            resume=unfinished,
            base=base,
            inputs=replace(inputs, tell=files.note if is_heard else None),
        )
        for note in model.origin.get("notes", ())[noted:]:
            hear(Note(note))
        return files.conclude(model, split, choose_post=choose_post)


def ways_to_read(split: Split) -> dict[str, object]:
    """Give how new images are to be read: cut along which plane, and whether numbered pictures are stacks."""
    first = split.training[0].reading if split.training else Reading()
    return {"plane": first.plane, "picture_stacks": any(case.is_picture_stack for case in split.training)}


class _TrainingFiles:
    """What a training leaves in a folder before it has ended, so that a crash loses little."""

    def __init__(
        self, folder: Path, name: str, hear: OnEvent, *, is_heard: bool, ways: Mapping[str, object]
    ) -> None:
        self.folder, self.name, self.ways = folder, name, ways
        self.hear, self.is_heard = hear, is_heard
        self.history, self.centrelines = history_path(folder, name), centrelines_folder(folder, name)
        self.best, self.last = (folder / f"{name}_{kind}.pt" for kind in ("best", "last"))
        self.epochs, self.saved_at_s = 0, time.monotonic()
        self.kept: tuple[Path, int] | None = None  # the last file that stays, and of which epoch
        self.unsaved: Checkpoint | None = None  # of a training that was stopped

    def read_unfinished(self, resume: bool) -> Checkpoint | None:
        """Give the training to go on with, if that is wanted; say so if one is there and is not."""
        if not resume:
            if checkpoint_path(self.folder, self.name).exists():
                words = (
                    f"There is an unfinished training {self.name!r}; it is not resumed, and this takes its place."
                )
                self.hear(Note(words))
            return None
        path = find_checkpoint(self.folder, self.name)
        checkpoint = read_checkpoint(path)
        if checkpoint.name != self.name:
            raise ModelFileError(
                f"{path} holds the training {checkpoint.name!r}, under another name. Rename it to "
                f"{checkpoint_path(self.folder, checkpoint.name).name}, and resume {checkpoint.name!r}."
            )
        self.epochs = len(checkpoint.last.history)
        words = f"Going on with {self.name!r} after epoch {self.epochs}, with the settings it was started with."
        self.hear(Note(words))
        if checkpoint.made_with != (now := describe_now()["made_with"]):
            before, today = (", ".join(f"{k} {v}" for k, v in some.items()) for some in (checkpoint.made_with, now))
            words = f"It was begun with {before}, and this is {today}"
            self.caution(Note(f"{words}: the result may differ a little from a training in one go."))
        return checkpoint

    def check_room(self, settings: Settings, structures: Sequence[Structure], finder: Settings | None) -> None:
        """Say that the disk may become full; OutputError where it surely does."""
        finds, is_begun = sees_crop(settings), self.epochs > 0
        words = check_training_room(
            self.folder,
            self.name,
            settings,
            structures,
            finder=(finder or finder_settings()) if finds else None,
            finders=FINDER_FOLDS + 1 if finds and not is_begun else 0,
            replaced=(self.best, self.last, checkpoint_path(self.folder, self.name)),
        )
        if words:
            self.caution(Note(words))

    def note(self, words: str) -> None:
        """Tell words."""
        self.hear(Note(words))

    def caution(self, event: Event) -> None:
        """Tell what may be wrong; where nobody listens, as a warning."""
        if self.is_heard:
            self.hear(event)
        else:
            warnings.warn(str(event), stacklevel=4)

    def is_long_unsaved(self) -> bool:
        """Tell whether a crash would lose much."""
        return time.monotonic() - self.saved_at_s >= LONGEST_UNSAVED_S

    def completed(self, model: TrainedModel) -> TrainedModel:
        """Give a model with what a prediction must know beside what was learnt."""
        return tune_postprocess(replace(model, origin={**model.origin, **self.ways}), ())[0]

    def place_of(self, model: TrainedModel) -> Path:
        """Give the place of the model at the end, to which one that was kept after the last epoch gives way."""
        if self.kept is not None and self.kept[1] == len(model.history):
            return self.kept[0]
        return free_model_path(self.folder, model)

    def save(self, checkpoint: Checkpoint, *, stopped: bool, keep: bool = False, told: bool = False) -> None:
        """Save the models and the training; a disk that is full does not end it.

        With `keep` the latest model also gets a file that stays; `told` says where the last file lies.
        """
        best, last = self.completed(checkpoint.best), self.completed(checkpoint.last)
        saved = self.best, best.best_epoch
        try:
            with one_step(self.folder):
                if keep:
                    saved = save_with_card(last, free_model_path(self.folder, last)), self.epochs
                save_model(best, self.best)  # the model at the end gets a card
                save_model(last, self.last)
                write_history(checkpoint.best, self.history)
                write_checkpoint(checkpoint, checkpoint_path(self.folder, self.name))
            self.kept = saved if keep else self.kept
            if told:
                self.hear(Saved(*saved))
        except (OutputError, OSError) as error:  # hours of learning are worth more than a checkpoint
            then = "The training goes on."
            if stopped:
                then = "What was learnt is kept, but it cannot be resumed, or only from an earlier epoch."
                self.unsaved = checkpoint
            self.caution(NotResumable(f"No checkpoint: {error} {then}", self._unsaved()))
        self.saved_at_s = time.monotonic()

    def conclude(self, model: TrainedModel, split: Split, *, choose_post: bool) -> tuple[TrainedModel, Path]:
        """Let the model take the place of the rest, with offsets, and what validation cases tell of its limits.

        With `choose_post` they choose a post-processing first.

        What could be resumed stays of a training that was stopped.
        """
        model, choice = self.completed(model), None
        try:
            model = with_offsets(model, split)
        except NOT_WORTH_A_MODEL as error:
            self.caution(Note(f"Areas may be too small by some percent; they were not made right. {_why(error)}"))
        try:
            model, choice = tune_postprocess(model, split.validation if choose_post else ())
        except NOT_WORTH_A_MODEL as error:
            self.caution(Note(f"No post-processing was chosen, and the model is kept without one. {_why(error)}"))
        try:
            examined = examine_cases(model, split.validation)
            profile = learn_profile(model, split.training, split.validation, examined)
            model = learn_trust(model, examined, profile=profile)
        except NOT_WORTH_A_MODEL as error:
            self.caution(Note(f"How far the model can be trusted is not known. {_why(error)}"))
        try:
            with one_step(self.folder):
                path = write_learnt(model, choice, self.folder, self.place_of(model))
                for other in (self.best, self.last):
                    remove(other)
                if model.ended is not Ended.STOPPED:
                    remove(checkpoint_path(self.folder, self.name))
        except (OutputError, OSError) as error:
            raise NotSavedError(str(error), self._unsaved(model, choice)) from error
        return model, path

    def _unsaved(self, model: TrainedModel | None = None, choice: PostprocessChoice | None = None) -> Unsaved:
        return Unsaved(self.folder, self.name, model, choice, self.unsaved)


def _why(error: BaseException) -> str:
    return "It was interrupted." if isinstance(error, KeyboardInterrupt) else str(error)
