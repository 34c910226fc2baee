"""How a run agrees with the labels that an expert drew on the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from autoseg.cases import CaseFolder, find_cases, read_case
from autoseg.errors import DataError
from autoseg.evaluation import Score, SubjectScore, score_slices, score_subject
from autoseg.image import LabelMap
from autoseg.report import Run


def pair_with_expert(run: Run, cases: CaseFolder) -> list[tuple[LabelMap, LabelMap]]:
    """Match a run, slice by slice, with the labels that an expert drew on the same files.

    Returns
    -------
    list of (LabelMap, LabelMap)
        (reference, predicted) of one slice each, in the order of the cases.

    Raises
    ------
    DataError
        If no labelled file is among those that were segmented.
    """
    predicted: dict[tuple[object, int], tuple[LabelMap, int]] = {}
    for image, label_map in run.results:
        for index, source in enumerate(image.source.slices):
            # By its place, or, in a copy of the folder, by the instance's own identifier.
            for name in (source.path.resolve(), source.sop_uid):
                predicted[name, source.frame] = (label_map, index)
    pairs = []
    for case in cases.cases:
        image, reference = read_case(case, cases.structures)
        for place, source in enumerate(image.source.slices):
            match = predicted.get((source.path.resolve(), source.frame))
            if match is None and source.sop_uid:
                match = predicted.get((source.sop_uid, source.frame))
            if match is not None:
                one = _one_slice(*match)
                # The same pixels of the same file: what the run measured with holds for both.
                pairs.append((replace(_one_slice(reference, place), affine=one.affine), one))
    if not pairs:
        raise DataError(
            f"None of the labels in {cases.folder} belongs to a file that was segmented into {run.folder}. "
            "Choose the labels of the same patient."
        )
    return pairs


@dataclass(frozen=True)
class Comparison:
    """How a run agrees with an expert: `subjects` pooled over each patient's slices, `slices` one by one."""

    subjects: tuple[SubjectScore, ...] = ()
    slices: tuple[Score, ...] = ()


def compare_with_expert(run: Run, labelled: CaseFolder | Path | str | None) -> Comparison:
    """Score a run against an expert's labels.

    Structures that the expert did not draw on a slice are left out.

    Parameters
    ----------
    run : Run
    labelled : CaseFolder, Path, str or None
        The same patient's folder with dicoms and labels. None: there are no labels, the comparison is empty.

    Raises
    ------
    DataError
        If no labelled file is among those that were segmented.
    """
    if labelled is None:
        return Comparison()
    cases = labelled if isinstance(labelled, CaseFolder) else find_cases(Path(labelled), unlabelled="skip")
    pairs = pair_with_expert(run, cases)
    subjects = sorted({reference.source.subject_id for reference, _ in pairs})
    return Comparison(
        subjects=tuple(
            score
            for subject in subjects
            for score in score_subject([pair for pair in pairs if pair[0].source.subject_id == subject])
        ),
        slices=tuple(score for pair in pairs for score in score_slices(*pair)),
    )


def comparison_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Give each slice's areas beside the expert's in mm², with the error in percent, and the Dice."""
    rows = [
        {
            "case_id": score.case_id,
            "structure": score.name,
            "expert mm²": score.reference_mm2,
            "autoseg mm²": score.predicted_mm2,
            "error %": score.area_error_percent,
            "Dice": score.dice,
        }
        for score in scores
    ]
    return pd.DataFrame(rows)


def _one_slice(label_map: LabelMap, index: int) -> LabelMap:
    """Take one slice, in its place."""
    affine = label_map.affine
    if affine is not None:
        affine = affine.copy()
        affine[:3, 3] += index * affine[:3, 0]
    slices = label_map.source.slices[index : index + 1]
    return replace(
        label_map,
        voxels=label_map.voxels[index : index + 1],
        affine=affine,
        source=replace(label_map.source, slices=slices),
    )
