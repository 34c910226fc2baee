"""Segmenting a new patient's image, on the image's own grid, with one model or the mean of several."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.errors import AreaWarning
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import Centreline
from autoseg.model.device import keep_freed_memory
from autoseg.model.model import TrainedModel
from autoseg.model.offsets import add_offsets
from autoseg.model.postprocess import choose_classes, clean_labels
from autoseg.prediction.ensemble import (
    PLAIN,
    Copies,
    Inference,
    Models,
    as_models,
    check_channels,
    class_order,
    shared_postprocess,
    unseen_note,
)
from autoseg.prediction.signals import Signals
from autoseg.prediction.slices import SliceRun
from autoseg.prediction.volumes import VolumeRun


def predict(
    model: Models,
    image: Image,
    *,
    copies: Copies = "none",
    batch_size: int = 16,
    precision: str = "float32",
    on_slices: Callable[[int, int], None] | None = None,
    centreline: Centreline | None = None,
) -> LabelMap:
    """Segment every slice of an image.

    The image is brought to the model's pixel size and normalised as in training; the probabilities are brought back
    to the image's own pixels, and the model's `offsets` added to their log-odds, before each pixel takes its most
    probable structure; the result is cleaned as was chosen for the model. A model that was trained on crops first
    looks where the structures are (`PreprocessSettings.find_region`).

    Of several models (of the folds of a cross-validation, or of different networks) the mean of the probabilities
    counts. It is cleaned only where all of them clean a structure in the same way.

    Parameters
    ----------
    model : TrainedModel, or sequence of TrainedModel
        Several have the same structures and channels; network, pixel size and neighbours may differ.
    image : Image
        Any size and spacing; as many channels as the model was trained on.
    copies : {"none", "left-right", "mirrored", "turned", "both"}
        Also segment copies of each slice, and take the mean: mirrored left to right (2 with the slice itself, which
        take twice the time), mirrored left to right and up and down (4), turned by quarters (4), or both (8).
        Structures of one side are exchanged in a mirror. Choose what training saw too (`autoseg.wise_copies`): a
        model that was trained with turns of up to 20 degrees gains nothing from quarter turns.
    batch_size : int
        Slices computed at once.
    precision : {"float32", "bfloat16", "auto"}
        Number format of the network. In float32 a scan measures the same on every computer; "auto" is twice
        as fast on some, and moved the areas of the sample's hearts by 0.2 % on average, 0.9 % at most.
    on_slices : callable, optional
        Called with (slices done, slices in all).
    centreline : Centreline, optional
        Of this image, for models that see a crop around it (`volume.crop_mm`); by default their own finder finds
        it. Without effect on others.

    Returns
    -------
    LabelMap
        On the image's grid, with the model's structures; of several, in the order of the first.

    Warns
    -----
    UserWarning
        If a structure reaches the edge of the region that was looked at, the models clean a structure in different
        ways, or a model never met such copies in training.

    Raises
    ------
    DataError
        If the channels do not fit, the models do not fit each other, or a model that sees a crop has no centreline.
    GeometryError
        If the model needs millimetres and the image has none; the message says how to type them.
    SettingsError
        If there are no such copies.
    """
    how = Inference(copies, batch_size, precision, on_slices, centreline)
    return predict_and_look(model, image, how).label_map


@dataclass(frozen=True, eq=False)
class Predicted:
    """A label map on the image's grid, and what tells how far to trust it.

    `signals` (slices, structures, signals) have one value for each of `autoseg.prediction.signals.SIGNALS`, None
    where nobody asked for them.
    """

    label_map: LabelMap
    signals: npt.NDArray[np.float32] | None = None


def predict_and_look(model: Models, image: Image, how: Inference = PLAIN) -> Predicted:
    """Segment every slice of an image, as `predict` does, and give what tells how far to trust the labels."""
    models = as_models(model)
    structures = models[0].structures
    post, differing = shared_postprocess(models)
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    labels = np.empty(image.shape, dtype=np.uint8)
    pixel_area = 1.0 if image.affine is None else image.pixel_mm2
    signals = Signals(structures, image.shape, post, pixel_area) if how.look else None
    for chosen, probabilities, again in _probabilities(models, image, how):
        labels[chosen] = table[choose_classes(probabilities, post)]
        if signals is not None and again is not None:
            signals.add(chosen, probabilities, again, labels[chosen])
    if differing:
        warnings.warn(
            f"The models clean {', '.join(differing)} in different ways, so what they found together is not "
            "cleaned there: it may hold small stray pieces.",
            stacklevel=3,
        )
    label_map = LabelMap(voxels=labels, affine=image.affine, structures=structures, source=image.source)
    label_map = clean_labels(label_map, post)
    return Predicted(label_map, None if signals is None else signals.of(label_map))


def predict_probabilities(
    model: Models, image: Image, how: Inference = PLAIN
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Give the probabilities (slices, classes, rows, columns) on the image's grid, some slices at a time.

    Class 0 is the background, class k the first model's k-th structure. They are those from which a pixel takes its
    most probable structure: each model's own offsets are in them.
    """
    return ((chosen, mean) for chosen, mean, _ in _probabilities(as_models(model), image, how))


def _probabilities(
    models: tuple[TrainedModel, ...], image: Image, how: Inference
) -> Iterator[tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.float32] | None]]:
    """Give the probabilities some slices at a time, and those of a second look where it is wished for."""
    strange = unseen_note(models, how.copies)
    if strange:
        warnings.warn(strange, stacklevel=2)
    for one in models:
        check_channels(one, image)
    keep_freed_memory()
    count = image.shape[0]
    batches = [slice(n, min(n + how.batch_size, count)) for n in range(0, count, how.batch_size)]
    runs: list[SliceRun | VolumeRun] = [
        VolumeRun(one, image, how) if one.settings.spatial_dims == 3 else SliceRun(one, image, how)
        for one in models
    ]
    orders = [class_order(one, models[0]) for one in models]
    for run in runs:
        run.find_regions(batches)
    for chosen in batches:
        mean = _mean((run.native(chosen) for run in runs), models, orders)
        yield chosen, mean, _mean((run.again(chosen) for run in runs), models, orders) if how.look else None
        if how.on_slices is not None:
            how.on_slices(chosen.stop, count)
    cut_off = max(run.cut_off for run in runs)
    if cut_off:
        warnings.warn(
            f"{image.source.name}: on {cut_off} of {count} slices a structure reaches the edge of the "
            "region that was segmented, and may go on beyond it. Look at them; a model with a larger crop, or "
            "with the setting find_region = whole, sees more.",
            AreaWarning,
            stacklevel=2,
        )


def _mean(
    answers: Iterable[npt.NDArray[np.float32]], models: Sequence[TrainedModel], orders: Sequence[Sequence[int]]
) -> npt.NDArray[np.float32]:
    """Give the mean of models' probabilities, each with its offsets, in the order of the first one's classes."""
    each = (add_offsets(answer, one.offsets) for answer, one in zip(answers, models, strict=True))
    mean = next(each)
    for answer, order in zip(each, orders[1:], strict=True):
        for number, place in enumerate(order):
            mean[:, number] += answer[:, place]
    if len(orders) > 1:
        mean /= len(orders)
    return mean
