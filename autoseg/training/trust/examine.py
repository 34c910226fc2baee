"""One image as it was drawn, beside what a model that never saw its subject makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import count_pieces
from autoseg.model.model import TrainedModel
from autoseg.prediction import own_centreline, predict_and_look
from autoseg.prediction.ensemble import Inference, Networks
from autoseg.training.choose_postprocess import read_reference

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examined:
    """What is learnt from one image of a subject whom the model never saw.

    `reference`, `predicted` and `both` are pixels (slices, structures), a structure counted with those that it
    includes; `drawn` (structures,) tells which were drawn. `pieces` (slices, structures) are those in which a
    structure was drawn, as `measurement.areas.count_pieces` counts them. `signals` are as of
    `autoseg.prediction.Predicted`. `pixel_mm2` and `slice_mm` are None where they are unknown.
    """

    case_id: str
    subject_id: str
    reference: Counts
    predicted: Counts
    both: Counts
    drawn: npt.NDArray[np.bool_]
    pieces: Counts | None = None
    signals: npt.NDArray[np.float32] | None = None
    pixel_mm2: float | None = None
    slice_mm: float | None = None


def examine(
    model: TrainedModel, image: Image, reference: LabelMap, *, networks: Networks | None = None
) -> Examined:
    """Segment an image with a model that never saw its subject, and count pixels beside what was drawn."""
    line = own_centreline((model,), image)
    found = predict_and_look(model, image, Inference(centreline=line, look=True, networks=networks))
    labels = [structure.label for structure in model.structures]
    wanted = np.stack([reference.mask(label) for label in labels])
    answered = np.stack([found.label_map.mask(label) for label in labels])

    def count(masks: npt.NDArray[np.bool_]) -> Counts:
        return masks.sum(axis=(2, 3), dtype=np.int64).T

    return Examined(
        case_id=reference.source.case_id,
        subject_id=reference.source.subject_id,
        reference=count(wanted),
        predicted=count(answered),
        both=count(wanted & answered),
        drawn=np.array([reference.is_annotated(label) for label in labels]),
        pieces=np.array([[count_pieces(mask) for mask in masks] for masks in wanted], dtype=np.int64).T,
        signals=found.signals,
        pixel_mm2=None if image.affine is None else image.pixel_mm2,
        slice_mm=None if image.affine is None else image.spacing_mm[0],
    )


def examine_cases(model: TrainedModel, cases: Sequence[Case]) -> list[Examined]:
    """Read cases and examine them, one at a time."""
    networks = Networks()
    return [examine(model, *read_reference(case, model.structures), networks=networks) for case in cases]
