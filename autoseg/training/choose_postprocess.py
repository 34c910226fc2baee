"""Choosing a trained model's post-processing on its validation cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from autoseg.data.cases import Case
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.dataset import read_cases
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import (
    PostprocessChoice,
    Probabilities,
    StructurePostprocess,
    choose_postprocess,
    the_same_for_all,
)
from autoseg.prediction import predict_probabilities


def tune_postprocess(
    model: TrainedModel, validation: Sequence[Case]
) -> tuple[TrainedModel, PostprocessChoice | None]:
    """Choose each structure's post-processing on the validation cases.

    Without cases it is that of the settings, the same for every structure.
    """
    if not validation:
        post = StructurePostprocess(**asdict(model.settings.postprocess))
        fixed = the_same_for_all(post, model.structures)
        return (replace(model, postprocess=fixed) if fixed else model), None
    choice = choose_postprocess(_probabilities(model, validation))
    return replace(model, postprocess=choice.post), choice


def read_reference(case: Case, structures: Sequence[Structure]) -> tuple[Image, LabelMap]:
    """Read a case to score it: the labels go under the names by which it was split."""
    ((image, label_map),) = read_cases([case], structures)
    source = replace(label_map.source, case_id=case.case_id, subject_id=case.subject_id)
    return image, replace(label_map, source=source)


def _probabilities(model: TrainedModel, cases: Sequence[Case]) -> Iterator[tuple[LabelMap, Probabilities]]:
    """Give reference and probabilities of some slices at a time: a whole volume may not fit into memory."""
    for case in cases:
        image, reference = read_reference(case, model.structures)
        for chosen, probabilities in predict_probabilities(model, image):
            source = replace(reference.source, slices=reference.source.slices[chosen])
            part = replace(reference, voxels=reference.voxels[chosen], affine=None, source=source, shares=None)
            yield part, probabilities
