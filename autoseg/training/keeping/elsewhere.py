"""What was learnt and could not be saved where it belongs: kept in memory, and saved in another folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autoseg.errors import OutputError
from autoseg.files.atomic import one_step, whole_folder
from autoseg.files.tables import write_table
from autoseg.model.card import save_with_card
from autoseg.model.model import TrainedModel, free_model_path
from autoseg.model.postprocess import PostprocessChoice
from autoseg.report.run_folder import free_run_folder
from autoseg.training.checkpoint import Checkpoint, checkpoint_path, write_checkpoint
from autoseg.training.events import Event
from autoseg.training.history import write_history
from autoseg.training.keeping.alone import training_alone


@dataclass(frozen=True, eq=False)
class Unsaved:
    """What could not be saved in `folder`: the model of a training, what it takes to go on with it, or both."""

    folder: Path
    name: str
    model: TrainedModel | None = None
    choice: PostprocessChoice | None = None
    checkpoint: Checkpoint | None = None

    def save_in(self, folder: Path) -> Path:
        """Save it in another folder, from which the training can also go on; give the file of the model.

        Of what can only be gone on with, it is that file. OutputError where it cannot be written there either.
        """
        folder = Path(folder)
        with training_alone(folder, self.name), one_step(folder):
            path = resumed = checkpoint_path(folder, self.name)
            if self.checkpoint is not None:
                if resumed.exists():
                    raise OutputError(
                        f"{resumed} is another unfinished training of this name, which would be lost. Choose "
                        "another folder."
                    )
                write_checkpoint(self.checkpoint, resumed)
                self._bring_centrelines(folder)
            if self.model is not None:
                path = write_learnt(self.model, self.choice, folder, free_model_path(folder, self.model))
        return path

    def _bring_centrelines(self, folder: Path) -> None:
        """With other centrelines it could not go on."""
        lines, target = centrelines_folder(self.folder, self.name), centrelines_folder(folder, self.name)
        if lines.is_dir() and not target.exists():
            with whole_folder(target) as temporary:
                shutil.copytree(lines, temporary, dirs_exist_ok=True)


class NotSavedError(OutputError):
    """A model was learnt and could not be saved; `unsaved` has it, and saves it in another folder."""

    def __init__(self, message: str, unsaved: Unsaved) -> None:
        super().__init__(message, unsaved)
        self.unsaved = unsaved

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class NotResumable(Event):
    """A training could not be saved to go on with it, and why; where it was stopped `unsaved` has it."""

    words: str
    unsaved: Unsaved

    def __str__(self) -> str:
        return self.words


def centrelines_folder(folder: Path, name: str) -> Path:
    """Give the folder of the centrelines that a training learns with."""
    return Path(folder) / f"{name}_centrelines"


def history_path(folder: Path, name: str) -> Path:
    """Give the place of a training's epochs as a table."""
    return Path(folder) / f"{name}_history.csv"


def write_learnt(model: TrainedModel, choice: PostprocessChoice | None, folder: Path, path: Path) -> Path:
    """Write a model to `path`, and beside it its epochs and what post-processing was tried."""
    if choice is not None:
        write_table(Path(folder) / f"{model.name}_postprocess.csv", choice.table())
    write_history(model, history_path(folder, model.name))
    return save_with_card(model, path)


def somewhere(name: str, write: Callable[[Path], object]) -> Path | None:
    """Let `write` write to a new folder in the user's own, or in that for temporary files; None where neither can.

    The folder is called after `name` and the time, and given.
    """
    for parent in (_home(), Path(tempfile.gettempdir())):
        with suppress(OutputError, OSError):
            if parent is not None:
                place = free_run_folder(parent, name, datetime.now())
                write(place)
                return place
    return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user without one, as in some containers
        return None
