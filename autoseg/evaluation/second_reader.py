"""A model beside readers who drew the same images: what each found, slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.cases import Case, CaseFolder, read_case_image, read_rater_labels
from autoseg.data.digests import known_subjects
from autoseg.errors import DataError
from autoseg.evaluation.crossvalidation import FoldResult, read_folds, read_prediction
from autoseg.evaluation.crossvalidation.fold import structures_of
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.readers import MODEL, Reading, compare_labels
from autoseg.model.model import TrainedModel
from autoseg.prediction.run import segment_and_measure
from autoseg.words import counted


@dataclass(frozen=True)
class Readings:
    """What readers and the model found; `notes` say what was left out."""

    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()


def drawn_by_several(cases: Sequence[Case]) -> list[Case]:
    """Give the cases that more than one reader drew."""
    return [case for case in cases if len({file.rater for file in case.labels}) > 1]


def read_readers(found: CaseFolder) -> Readings:
    """Put the readers of a folder beside each other, without a model."""
    return _gather(found, lambda case: None)


def read_beside_model(found: CaseFolder, model: TrainedModel) -> Readings:
    """Let a model segment what several readers drew; patients whom it has learnt from are left out.

    Raises
    ------
    DataError
        If several readers drew none, or none that the model has never seen.
    """
    people = {case.subject_id for case in drawn_by_several(found.cases)}
    known = known_subjects(people, model.origin.get("subject_fingerprints", ()))
    if people and not people - known:
        raise DataError(
            f"The model {model.name!r} has learnt from every patient whom several readers drew: how it agrees with "
            "them says nothing of a new patient. Cross-validate, and give the folder of the folds (on the "
            "command line --folds)."
        )
    cases = tuple(case for case in found.cases if case.subject_id not in known)
    readings = _gather(
        replace(found, cases=cases), lambda case: segment_and_measure(model, read_case_image(case))[0]
    )
    left = f"{counted(len(known), 'patient')} of the model's own training left out: they would flatter it."
    return replace(readings, notes=(*readings.notes, *([left] if known else [])))


def read_beside_folds(found: CaseFolder, folder: Path) -> Readings:
    """Take what a cross-validation predicted for the patients that each fold left out; nothing is predicted anew.

    `folder` holds `fold_1`, `fold_2` …: that of a cross-validation (`<name>_folds`) or of a comparison's entry.

    Raises
    ------
    DataError
        If the folder holds no fold, or several readers drew none of its patients.
    """
    readings = read_predictions(_several(found), found.structures, read_folds(folder))
    if not readings:
        raise DataError(
            f"The folds in {folder} tested none of the images in {found.folder} that several readers drew. Give "
            "folds that were made from this folder."
        )
    return Readings(readings)


def read_predictions(
    cases: Sequence[Case], structures: Sequence[Structure], folds: Sequence[FoldResult]
) -> tuple[Reading, ...]:
    """Put what folds predicted for their test cases beside what several readers drew there; empty without any."""
    found: list[Reading] = []
    for case in drawn_by_several(cases):
        for fold in folds:
            voxels = read_prediction(fold, case.case_id)
            if voxels is not None:
                predicted = LabelMap(voxels, structures=structures_of(fold)).on_grid_of(read_case_image(case))
                found += beside_readers(predicted, _drawn(case, structures))
    return tuple(found)


def beside_readers(predicted: LabelMap | None, drawn: dict[str, LabelMap]) -> list[Reading]:
    """Put a prediction beside what readers drew on the same image; structures are matched by name."""
    structures = next(iter(drawn.values())).structures
    model = {} if predicted is None else {MODEL: _by_name(predicted, structures)}
    return compare_labels(drawn | model)


def _gather(found: CaseFolder, predicted: Callable[[Case], LabelMap | None]) -> Readings:
    readings: list[Reading] = []
    for case in _several(found):
        readings += beside_readers(predicted(case), _drawn(case, found.structures))
    if not readings:
        raise DataError(
            f"In {found.folder} no structure was drawn by two raters, and seen whole, on the same image."
        )
    return Readings(tuple(readings))


def _several(found: CaseFolder) -> list[Case]:
    """Give the cases that several readers drew; a DataError where there is none."""
    cases = drawn_by_several(found.cases)
    if not cases:
        raise DataError(f"No case in {found.folder} was drawn by several raters (files ending in -r1, -r2 …).")
    return cases


def _drawn(case: Case, structures: Sequence[Structure]) -> dict[str, LabelMap]:
    label_maps, names = read_rater_labels(case, structures)
    return dict(zip(names, label_maps, strict=True))


def _by_name(predicted: LabelMap, structures: Sequence[Structure]) -> LabelMap:
    """Give a prediction the labels of structures of the same names; others are as if not looked for."""
    known = {one.name: one.label for one in predicted.structures}
    voxels = np.zeros(predicted.shape, np.uint8)
    shared = [one for one in structures if one.name in known]
    for one in sorted(shared, key=lambda one: -len(one.includes)):  # what lies inside another comes after it
        voxels[predicted.mask(known[one.name])] = one.label
    return replace(
        predicted,
        voxels=voxels,
        structures=tuple(structures),
        annotated=frozenset(one.label for one in shared),
        shares=None,
    )
