"""How much room trainings need on the disk: models, and what it takes to go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.files.room import check_room
from autoseg.image.structures import Structure
from autoseg.model.networks import network_sizes
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import Settings

# Beside the weights a model's file holds settings, and some numbers of each epoch.
FRAME_BYTES, EPOCH_BYTES = 30_000, 500
# Of a training by time it is not known how many epochs there will be.
USUAL_EPOCHS = 300


def weight_bytes(settings: Settings, structures: int) -> int:
    """Give the bytes of a network's weights for so many structures, on images of one channel."""
    sizes = network_sizes(
        settings.network,
        in_channels=network_channels(1, settings.preprocess.neighbours),
        out_channels=structures + 1,
        spatial_dims=settings.spatial_dims,
    )
    return sum(value.numel() * value.element_size() for value in sizes.values())


def unfinished_bytes(settings: Settings, structures: int) -> int:
    """Give the bytes of what can be resumed: two models, the network that learns, and the optimiser's state."""
    states = {"adamw": 2, "muon": 2, "adam": 2}.get(settings.optimizer, int(settings.momentum > 0))
    model = FRAME_BYTES + (settings.epochs or USUAL_EPOCHS) * EPOCH_BYTES
    return 2 * model + (3 + states) * weight_bytes(settings, structures)


def check_training_room(
    folder: Path,
    name: str,
    settings: Settings,
    structures: Sequence[Structure],
    *,
    finder: Settings | None = None,
    finders: int = 0,
    replaced: Sequence[Path] = (),
) -> str:
    """Say that the disk may become full in a training, or "" where it has room enough.

    OutputError where not even the model fits. `replaced` are files of which new ones take the place. `finder` are
    the settings of what finds the centreline, None where nothing does; so many `finders` still learn beside it.
    """
    weights = weight_bytes(settings, len(structures))
    found = weight_bytes(finder, 1) if finder is not None else 0
    epochs = settings.epochs or USUAL_EPOCHS
    model = weights + found + FRAME_BYTES + epochs * EPOCH_BYTES
    # Best, latest and what can be resumed.
    once = 2 * model + 2 * found + unfinished_bytes(settings, len(structures))
    # While they are written the earlier ones stay; they lie there already where a training goes on.
    likely = 2 * once - sum(path.stat().st_size for path in replaced if path.is_file())
    if settings.keep_checkpoints and settings.epochs is not None:
        likely += settings.epochs // settings.save_checkpoint * model
    likely += finders * found
    return check_room(folder, f"the training {name!r}", least=weights + found, likely=likely)


def check_folds_room(folder: Path, scenarios: Sequence[tuple[Settings, int]], structures: int) -> str:
    """Say the same of folds that are still to be done: of each scenario the settings, and how many."""
    weights = sum(weight_bytes(settings, structures) * count for settings, count in scenarios)
    count = sum(count for _, count in scenarios)
    # What one is gone on with is written anew, and goes when it is done.
    begun = 2 * max((unfinished_bytes(settings, structures) for settings, left in scenarios if left), default=0)
    what = f"{count} trainings" if count > 1 else "the last training"
    return check_room(folder, what, least=weights, likely=1.2 * weights + begun)
