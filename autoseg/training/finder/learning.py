"""Training a small 2-D network that finds the middle of an elongated structure on axial slices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.digests import Seal
from autoseg.data.split import Split
from autoseg.errors import SettingsError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import AXIAL, CENTRELINE, axial_target, axial_view
from autoseg.model.dataset import read_cases
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import (
    AugmentationSettings,
    LossSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)
from autoseg.training.inputs import Inputs
from autoseg.training.training import OnEpoch, train

# What of a finder's settings the others depend on.
PIXEL_MM, STEP_MM = 1.0, 2.0


def finder_settings(*, pixel_mm: float = PIXEL_MM, step_mm: float = STEP_MM, **changes: Any) -> Settings:
    """Give the settings of a training that learns to find a centreline, 2 minutes long unless `changes` say else.

    `pixel_mm` are the pixels of the axial slices that it sees, of which a few should lie across the structure;
    `step_mm` is the distance between slices, but an image's own that are further apart stay as they are.

    Examples
    --------
    >>> finder_settings(epochs=30).network.name
    'dilated'
    """
    defaults: dict[str, Any] = {
        "minutes": None if changes.get("epochs") else 2.0,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "network": NetworkSettings(name="dilated"),
        "preprocess": PreprocessSettings(spacing_mm=pixel_mm),
        "volume": VolumeSettings(orientation=AXIAL, spacing_mm=(step_mm, pixel_mm, pixel_mm)),
        "augmentation": AugmentationSettings(
            rotation_deg=30.0, zoom=(0.7, 1.4), scaling=(0.85, 1.2), shift=0.2, flip_probability=0.5
        ),
        "loss": LossSettings(),
        "best_by": "dice",
    }
    return Settings(**{**defaults, **changes})


def train_finder(
    split: Split,
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    labels: Collection[int] | None = None,
    name: str = "finder",
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    seal: Seal | None = None,
) -> TrainedModel:
    """Train a network that finds the centreline of an elongated structure, on the same cases as any other.

    It learns, on axial slices of coarse pixels, a blob about the structure's middle. Slices beyond the structure's
    end stay in and have none, so that it learns where the structure stops. The training is an ordinary one
    (`train`), and so is its model file; its Dice is that of the blobs.

    Parameters
    ----------
    split : Split
    structures : sequence of Structure
        Those of the labels.
    settings : Settings, optional
        From `finder_settings`.
    labels : collection of int, optional
        The structures whose middle is looked for, taken together; by default all.
    name, on_epoch, should_stop
        As of `train`.
    seal : Seal, optional
        Of the fingerprints of the subjects, by default a new one.

    Returns
    -------
    TrainedModel
        For `autoseg.prediction.find_centreline`, and for `TrainedModel.finder` of others.

    Raises
    ------
    SettingsError
        If the settings are not those of a finder.
    DataError, GeometryError
        As `train` does, or if an image is no volume with millimetres.
    """
    settings = settings or finder_settings()
    if settings.spatial_dims != 2 or settings.volume.spacing_mm is None or settings.volume.orientation != AXIAL:
        raise SettingsError("These are not the settings of a finder; make them with finder_settings.")
    chosen, known = settings.volume, tuple(structures)

    def read(cases: Sequence[Case], _: Sequence[Structure]) -> list[tuple[Image, LabelMap]]:
        return [
            (axial_view(image, chosen), axial_target(label_map, chosen, labels))
            for case in cases
            for image, label_map in read_cases([case], known)
        ]

    model = train(
        split,
        settings,
        structures=(CENTRELINE,),
        name=name,
        on_epoch=on_epoch,
        should_stop=should_stop,
        inputs=Inputs(read=read, seal=seal),
    )
    names = [s.name for s in known if labels is None or s.label in labels]
    return replace(model, origin={**model.origin, "centreline_of": names})
