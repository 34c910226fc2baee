"""What is kept and printed of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.files.tables import write_rows
from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.training.recipes import has_published_scale, mean_dice_of

UNKNOWN = "–"


def write_history(model: TrainedModel, path: Path) -> Path:
    """Write one row an epoch as CSV: losses, Dice and IoU of every structure, learning rate, seconds."""
    rows = history_rows(model)
    # Epochs that were not validated have no erosion columns.
    columns = dict.fromkeys(column for row in rows for column in row) or {"epoch": None}
    write_rows(path, list(columns), [[row.get(column) for column in columns] for row in rows])
    return path


def history_rows(model: TrainedModel) -> list[dict[str, object]]:
    """Give one dictionary an epoch.

    Its columns are the losses, `validation_dice` and `validation_iou` (means over the structures), and for every
    structure `dice_<name>`, `iou_<name>`, `training_dice_<name>` and `training_iou_<name>`. Where erosion was
    watched, `iou_<name>_eroded_<n>` follow.
    """
    rows: list[dict[str, object]] = []
    empty = (None,) * len(model.structures)
    for row in model.history:
        scores = {
            "dice": row.dice,
            "iou": row.iou,
            "training_dice": row.training_dice,
            "training_iou": row.training_iou,
        }
        columns: dict[str, object] = {
            f"{what}_{s.name}": value
            for what, values in scores.items()
            for s, value in zip(model.structures, values or empty, strict=True)
        }
        for structure, eroded in zip(model.structures, row.erosion_iou, strict=False):
            columns |= {f"iou_{structure.name}_eroded_{n}": value for n, value in enumerate(eroded)}
        rows.append(
            {
                "epoch": row.epoch,
                "training_loss": row.training_loss,
                "validation_loss": row.validation_loss,
                "validation_dice": row.validation_dice,
                "validation_iou": row.validation_iou,
                **columns,
                "learning_rate": row.learning_rate,
                "elapsed_s": round(row.elapsed_s, 2),
                "is_best": row.epoch == model.best_epoch,
            }
        )
    return rows


def format_epoch(
    result: EpochResult, structures: Sequence[Structure] = (), *, settings: Settings | None = None
) -> str:
    """Give the line that is printed after an epoch: how far it is, loss, mean Dice, time gone and left.

    The Dice is of the validation subjects; of an epoch that was not validated it is that of the batches that were
    learnt from. With the settings the line tells the epochs or minutes in all and, where it chooses the epoch, the
    IoU. With those of a training whose loss is that of the published multi-scale pyramid, between 0 and 2, the mean
    Dice stands beside the loss as there (`recipes.mean_dice_of`).
    """
    scaled = settings is not None and has_published_scale(settings)
    keeps_last = settings is not None and settings.best_by == "last"

    def told(loss: float) -> str:
        return f"{loss:.3f}" + (f" (mean Dice {mean_dice_of(loss):.3f})" if scaled else "")

    parts = [f"Epoch {result.epoch}{_of_how_many(result, settings)}", f"training loss {told(result.training_loss)}"]
    if result.validation_loss is not None:
        parts.append(f"validation loss {told(result.validation_loss)}")
        parts.append(_scores("Dice", result.validation_dice, result.dice, structures))
        if settings is not None and settings.best_by == "iou":
            parts.append(_scores("IoU", result.validation_iou, result.iou, structures))
    elif result.training_dice:
        known = [value for value in result.training_dice if value is not None]
        mean = sum(known) / len(known) if known else None
        parts.append(_scores("training Dice", mean, result.training_dice, structures))
    parts += [f"{_minutes(result.elapsed_s)} min gone", f"{_minutes(result.seconds_left)} min left"]
    return ", ".join(parts) + (" (best so far)" if result.is_best and result.dice and not keeps_last else "")


def _of_how_many(result: EpochResult, settings: Settings | None) -> str:
    """Say how many epochs there are in all; with a time budget as many as will fit if they go on as fast."""
    if settings is None:
        return ""
    if settings.epochs is not None:  # one that was cut short is made up for by one more
        return f" of {max(settings.epochs, result.epoch)}"
    if result.elapsed_s <= 0:
        return ""
    return f" of about {result.epoch + round(result.epoch * result.seconds_left / result.elapsed_s)}"


def _scores(what: str, mean: float | None, values: Sequence[float | None], structures: Sequence[Structure]) -> str:
    """Give the mean of a score, and where there are several structures that of each."""

    def told(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.3f}"

    named = [f"{s.name} {told(value)}" for s, value in zip(structures, values, strict=False)]
    return f"mean {what} {told(mean)}" + (f" ({', '.join(named)})" if len(named) > 1 else "")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
