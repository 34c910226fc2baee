"""The centrelines of a patient's images: what a model finds by itself, and what a person clicked and saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autoseg.data.patients import read_patient
from autoseg.errors import AutosegError, DataError
from autoseg.files.file_names import safe_name
from autoseg.image.image import Image
from autoseg.model.centreline import Centreline, crop_sizes, view_to_click, write_centreline
from autoseg.model.model import TrainedModel, subject_pseudonym
from autoseg.prediction import find_centreline
from autoseg.prediction.ensemble import Models, as_models
from autoseg.prediction.run import enough_memory

SAVED = "centrelines"  # in the folder of the predictions


@dataclass(frozen=True, eq=False)
class ImageCentreline:
    """An image, its axial slices to look at, and the centreline that the model finds by itself, if it can.

    `notes` are sentences that the reader should know.
    """

    image: Image
    view: Image
    automatic: Centreline | None
    notes: tuple[str, ...] = ()


def cropping_model(model: Models) -> TrainedModel | None:
    """Give the first model that sees a crop around a centreline, rather one that finds it; None if none does."""
    crop = [one for one in as_models(model) if sees_crop(one)]
    return next((one for one in crop if one.finder is not None), crop[0] if crop else None)


def sees_crop(model: TrainedModel) -> bool:
    """Tell whether a model sees a crop around a centreline."""
    return model.settings.spatial_dims == 3 and model.settings.volume.crop_mm is not None


def crop_of_model(model: TrainedModel) -> tuple[float, float]:
    """Give what a model sees around a centreline, from right to left and from front to back, in mm."""
    settings = model.settings.volume
    if not sees_crop(model) or settings.crop_mm is None:
        raise DataError(f"The model {model.name!r} sees whole images, so it needs no centreline.")
    return crop_sizes(settings.crop_mm, settings.orientation)


def find_patient_centrelines(
    model: Models,
    folder: Path,
    *,
    only: Collection[str] | None = None,
    typed: Mapping[str, Any] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> tuple[ImageCentreline, ...]:
    """Read a patient's images and find their centrelines as a prediction would.

    Parameters
    ----------
    model : TrainedModel, or sequence of TrainedModel
        Of several, the first that sees a crop and finds its centreline.
    folder, only, typed
        As of `patient_images.read_patient`.
    on_image : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    tuple of ImageCentreline
        One for each image; where nothing can be found a note says why.

    Raises
    ------
    DataError
        If no model sees a crop, or no image is a volume.
    AutosegError
        Of the kinds that reading raises.
    """
    models, chosen = as_models(model), cropping_model(model)
    if chosen is None:
        raise DataError(f"The model {models[0].name!r} sees whole images, so it needs no centreline.")
    plane = next((plane for one in models if (plane := one.origin.get("plane"))), None)
    found, problems = [], []
    with enough_memory(Path(folder)):
        images, _, _ = read_patient(Path(folder), only=only, channels=chosen.channels, plane=plane, typed=typed)
        for number, image in enumerate(images, start=1):
            try:
                found.append(_look(chosen, image))
            except AutosegError as error:  # a single slice, or no millimetres
                problems.append(error)
            if on_image is not None:
                on_image(number, len(images))
    if not found:
        raise problems[0]
    first = found[0]
    notes = (*first.notes, *(f"Without a centreline: {error}" for error in problems))
    return (ImageCentreline(first.image, first.view, first.automatic, notes), *found[1:])


def save_clicked(centreline: Centreline, image: Image, output: Path) -> Path:
    """Write a centreline to `centrelines` in a folder, under a new name; `saved_centrelines` finds it again.

    The name tells the image and the time, and the patient only by a digest.
    """
    stem = f"{_beginning(image)}_{datetime.now():%Y-%m-%d_%H%M%S}"
    names = (stem if number == 1 else f"{stem}_{number}" for number in range(1, 1000))
    path = next(path for name in names if not (path := Path(output) / SAVED / f"{name}.csv").exists())
    return write_centreline(centreline, path)


def saved_centrelines(image: Image, output: Path) -> tuple[Path, ...]:
    """Give the centrelines that were saved of an image, the last one first."""
    found = sorted((Path(output) / SAVED).glob("*.csv"), reverse=True)
    return tuple(path for path in found if path.name.startswith(f"{_beginning(image)}_"))


def _look(model: TrainedModel, image: Image) -> ImageCentreline:
    view = view_to_click(image)
    if model.finder is None:
        return ImageCentreline(image, view, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            line = find_centreline(model.finder, image)
        except DataError as error:  # other channels, say: a click helps no more than the finder
            return ImageCentreline(image, view, None, (str(error),))
    said = [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    return ImageCentreline(image, view, line, tuple(said))


def _beginning(image: Image) -> str:
    source = image.source
    return f"{safe_name(source.case_id)}_{subject_pseudonym(source.subject_id)[:8]}"
