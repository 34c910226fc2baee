"""Finding the centreline of a structure on a new image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from autoseg.data.digests import subject_pseudonym
from autoseg.errors import AreaWarning, DataError
from autoseg.files.file_names import safe_name
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import (
    Centreline,
    axial_view,
    crop_sizes,
    find_path,
    longest_run,
    plan_crop,
    refine_path,
    smooth,
    view_to_click,
    write_centreline,
)
from autoseg.model.model import TrainedModel
from autoseg.model.preprocessing.volume_grids import grid_of, to_network
from autoseg.prediction.ensemble import Inference
from autoseg.prediction.slices import SliceRun
from autoseg.words import GraveNote, counted

# Waves of a found curve that are halved, and over how much it turns upright beyond what was found.
WAVELENGTH_MM, FLATTEN_MM = 30.0, 40.0
# On a slice with less than this nothing was found; on an image with less than the second nowhere.
FOUND, SURE = 0.05, 0.3
AT_ONCE = 16


def find_centreline(finder: TrainedModel, image: Image, *, precision: str = "float32") -> Centreline:
    """Find the centreline of an elongated structure, from the image's lower end to its upper one.

    The finder gives the probability of the middle on every axial slice. The way through all of them that is best as
    a whole (`find_path`) passes over slices that mislead or are blind; it is then smoothed, each slice by what was
    found on it.

    Parameters
    ----------
    finder : TrainedModel
        From `autoseg.training.finder.train_finder`.
    image : Image
        A volume with millimetres; its slices may be axial, sagittal or coronal.
    precision : {"float32", "bfloat16", "auto"}
        As of `predict`.

    Returns
    -------
    Centreline
        With `begins_mm` and `ends_mm`, if the structure was found at all.

    Warns
    -----
    UserWarning
        If the structure was hardly found: the centreline is then a guess.

    Raises
    ------
    DataError
        If the model finds no centrelines, the channels do not fit, or the image has a single slice.
    GeometryError
        If the image has no millimetres.
    """
    if finder.settings.network.name != "dilated" or finder.settings.volume.spacing_mm is None:
        raise DataError(f"The model {finder.name!r} finds no centrelines. Choose one that does.")
    if len(image.channels) != len(finder.channels):
        raise DataError(
            f"{image.source.name} has {counted(len(image.channels), 'channel')} and {finder.name!r}, which finds "
            f"the centreline, was trained on {len(finder.channels)}. Choose images of the same kind."
        )
    view = axial_view(image, finder.settings.volume)
    probability = find_probability(finder, view, precision=precision)
    path = find_path(probability, view.spacing_mm)
    middles, peaks = refine_path(probability, path, view.spacing_mm)
    if peaks.max() < SURE:
        warnings.warn(
            f"{image.source.name}: the structure was hardly found on any slice (its highest probability is "
            f"{peaks.max():.2f}), so its centreline is a guess. Look at it, or click it.",
            AreaWarning,
            stacklevel=2,
        )
    weights = np.where(peaks >= min(FOUND, peaks.max()), peaks, 0.0)
    weights = weights if weights.any() else np.ones(len(weights))
    own = np.array(view.spacing_mm[1:])
    line = smooth(
        middles * own,
        weights,
        step_mm=view.spacing_mm[0],
        wavelength_mm=WAVELENGTH_MM,
        flatten_mm=FLATTEN_MM,
    )
    index = np.column_stack([np.arange(len(line)), line / own, np.ones(len(line))])
    points = index @ view.calibrated_affine[:3].T
    run = longest_run(peaks)
    half = abs(view.calibrated_affine[2, 0]) / 2
    begins, ends = (None, None) if run is None else (points[run[0], 2] - half, points[run[1], 2] + half)
    return Centreline(points, "automatic", begins, ends)


def own_centreline(models: Sequence[TrainedModel], image: Image) -> Centreline | None:
    """Find the centreline around which models see an image; None where they see it whole, or each finds its own."""
    crop = [one for one in models if sees_crop(one)]
    if len(crop) != 1 or crop[0].finder is None:
        return None
    return find_centreline(crop[0].finder, image)


def cut_off_note(models: Sequence[TrainedModel], label_map: LabelMap, centreline: Centreline) -> str:
    """Say on how many slices a structure reaches the edge of what models saw around a centreline; "" if on none."""
    worst, count = 0, 1
    for one in models:
        volume = one.settings.volume
        if one.settings.spatial_dims != 3 or volume.crop_mm is None:
            continue
        grid = grid_of(label_map, volume)
        crop = plan_crop(centreline, grid, label_map, volume)
        found = torch.from_numpy((label_map.voxels > 0).astype(np.uint8)[None])
        inside = crop.cut(to_network(found, grid, mode="nearest"), outside=0)
        worst, count = max(worst, crop.count_cut_off(inside[0] > 0)), inside.shape[1 + crop.axis]
    if not worst:
        return ""
    return (
        f"{label_map.source.case_id}: on {worst} of {count} slices across the centreline a structure reaches the "
        "edge of what the model saw, and may go on beyond it: its area is too small then. Look at them, and click "
        "a centreline through its middle where this one is beside it."
    )


def find_probability(finder: TrainedModel, view: Image, *, precision: str = "float32") -> npt.NDArray[np.float32]:
    """Give the probability of the middle in every pixel of an `axial_view`, (slices, rows, columns)."""
    run = SliceRun(finder, view, Inference(precision=precision))
    count = view.shape[0]
    batches = [slice(n, min(n + AT_ONCE, count)) for n in range(0, count, AT_ONCE)]
    run.find_regions(batches)
    return np.concatenate([run.native(chosen)[:, 1] for chosen in batches])


# --- what a model finds by itself on a patient's images, and what a person clicked and saved

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


def cropping_model(models: Sequence[TrainedModel]) -> TrainedModel | None:
    """Give the first model that sees a crop around a centreline, rather one that finds it; None if none does."""
    crop = [one for one in models if sees_crop(one)]
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


def look_for_centreline(model: TrainedModel, image: Image) -> ImageCentreline:
    """Give an image with what a model's own finder finds on it; where it fails a note says why."""
    view = view_to_click(image)
    if model.finder is None:
        return ImageCentreline(image, view, None)
    try:
        with warnings_as_notes() as notes:
            line = find_centreline(model.finder, image)
    except DataError as error:  # other channels, say: a click helps no more than the finder
        return ImageCentreline(image, view, None, (str(error),))
    return ImageCentreline(image, view, line, tuple(notes))


@contextmanager
def warnings_as_notes() -> Iterator[list[str]]:
    """Collect what is warned of inside as sentences, which a notebook shows; on areas they are a GraveNote."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    for item in caught:
        if issubclass(item.category, UserWarning):
            kind = GraveNote if issubclass(item.category, AreaWarning) else str
            notes.append(kind(item.message))


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


def _beginning(image: Image) -> str:
    source = image.source
    return f"{safe_name(source.case_id)}_{subject_pseudonym(source.subject_id)[:8]}"
