"""Predicting and scoring the test cases of a fold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.data.cases import Case
from autoseg.evaluation.crossvalidation.centrelines import centreline_of, quality_of
from autoseg.evaluation.crossvalidation.fold import Labels
from autoseg.evaluation.crossvalidation.scenario import on_structures
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.scores import PixelScore, Score, VolumeScore, score_pixels, score_slices, score_volume
from autoseg.model.centreline import Centreline
from autoseg.model.model import TrainedModel
from autoseg.prediction import predict
from autoseg.prediction.ensemble import Copies
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.finder import CentrelineScore
from autoseg.training.inputs import sees_crop

FoldScores = tuple[tuple[Score, ...], tuple[VolumeScore, ...], tuple[PixelScore, ...]]
# The first run builds what later ones use again, and is slower.
WARM_UP_SLICES = 16


@dataclass(frozen=True, eq=False)
class Scored:
    """Test cases predicted and scored; `ms_per_slice` is the median over them, `image` the first of them.

    It counts the search for centrelines, of which `centrelines` says how good they are.
    """

    scores: tuple[Score, ...]
    volumes: tuple[VolumeScore, ...]
    pixels: tuple[PixelScore, ...]
    predicted: dict[str, Labels]
    ms_per_slice: float
    image: Image
    centrelines: tuple[CentrelineScore, ...] = ()


def score_fold(
    models: Sequence[TrainedModel],
    cases: Sequence[Case],
    structures: Sequence[Structure],
    *,
    copies: Copies = "none",
    exact: bool = False,
) -> Scored:
    """Predict cases and score them against what was drawn, on their own grids."""
    scores: list[Score] = []
    volumes: list[VolumeScore] = []
    pixels: list[PixelScore] = []
    predicted: dict[str, Labels] = {}
    milliseconds: list[float] = []
    lines: list[CentrelineScore] = []
    first: Image | None = None
    for case in cases:
        image, reference = read_reference(case, structures)
        if first is None:
            first = image
            if not any(sees_crop(model.settings) for model in models):  # a few slices have no centreline
                _predict(models, _first_slices(image, WARM_UP_SLICES), copies)
        start = time.perf_counter()
        line = centreline_of(models[0], image, reference, exact=exact) if len(models) == 1 else None
        found = on_structures(_predict(models, image, copies, line), structures)
        milliseconds.append(1000 * (time.perf_counter() - start) / image.shape[0])
        scores += score_slices(reference, found)
        volumes += score_volume(reference, found)
        pixels.append(score_pixels(reference, found))
        quality = None if line is None else quality_of(line, models[0], case, reference)
        lines += [] if quality is None else [quality]
        predicted[case.case_id] = found.voxels.astype(np.uint8)
    if first is None:
        raise ValueError("There is no case to score.")
    typical = statistics.median(milliseconds)
    return Scored(tuple(scores), tuple(volumes), tuple(pixels), predicted, typical, first, tuple(lines))


def score_labels(pairs: Iterable[tuple[Case, LabelMap, LabelMap]]) -> tuple[FoldScores, dict[str, Labels]]:
    """Score labels that lie there already: (case, reference, found), on the images' own grids."""
    scores, volumes, pixels, kept = list[Score](), list[VolumeScore](), list[PixelScore](), dict[str, Labels]()
    for case, reference, found in pairs:
        scores += score_slices(reference, found)
        volumes += score_volume(reference, found)
        pixels.append(score_pixels(reference, found))
        kept[case.case_id] = found.voxels.astype(np.uint8)
    return (tuple(scores), tuple(volumes), tuple(pixels)), kept


def _predict(
    models: Sequence[TrainedModel], image: Image, copies: Copies, line: Centreline | None = None
) -> LabelMap:
    if len(models) == 1 and copies == "none":
        return predict(models[0], image, centreline=line)
    return predict(models, image, copies=copies, centreline=line)


def _first_slices(image: Image, count: int) -> Image:
    source = replace(image.source, slices=image.source.slices[:count])
    return replace(image, voxels=image.voxels[..., :count, :, :], source=source)
