"""The same slices segmented by every entry, kept so that they can be drawn again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from autoseg.data.cases import Case
from autoseg.errors import DataError, ReadError
from autoseg.evaluation.crossvalidation import CrossValidation, FoldResult, read_prediction
from autoseg.files.atomic import whole_file
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.scores import Score, overlap_ratios
from autoseg.report.kept_slices import SideBySide
from autoseg.training.choose_postprocess import read_reference

KEPT = "side_by_side.npz"
MOST = 6


def choose_slices(
    runs: Mapping[str, CrossValidation], cases: Sequence[Case], structures: Sequence[Structure], *, most: int = MOST
) -> tuple[SideBySide, ...]:
    """Choose slices to look at: of each subject the worst slice, the worst subjects first, then the second-worst.

    A slice's Dice is that of all its structures together, and how bad it is the mean over the entries. Slices on
    which nothing was drawn come last.
    """
    found: dict[tuple[str, int], dict[str, tuple[float, int]]] = {}
    for entry, run in runs.items():
        for place, group in _by_slice(run.scores).items():
            found.setdefault(place, {})[entry] = _together(group)
    dice = {place: {entry: value for entry, (value, _) in own.items()} for place, own in found.items()}
    drawn = {place: max(pixels for _, pixels in own.values()) > 0 for place, own in found.items()}
    # An entry without a score there neither drew nor missed anything.
    badness = {place: sum(own.values()) / len(own) for place, own in dice.items()}
    by_case = {case.case_id: case for case in cases}
    by_subject: dict[str, list[tuple[str, int]]] = {}
    for place in sorted(badness, key=lambda place: (not drawn[place], badness[place])):
        if place[0] in by_case:
            by_subject.setdefault(by_case[place[0]].subject_id, []).append(place)
    subjects = sorted(by_subject.values(), key=lambda own: sum(badness[place] for place in own) / len(own))
    order = [place for turn in zip_longest(*subjects) for place in turn if place is not None][:most]
    numbers = {case_id: number for number, case_id in enumerate(by_case, start=1)}
    slices = [_take(runs, by_case[case_id], structures, index, dice[case_id, index]) for case_id, index in order]
    return tuple(replace(one, number=numbers[one.case_id]) for one in slices if one is not None)


def write_side_by_side(folder: Path, slices: Sequence[SideBySide]) -> None:
    """Keep slices in the folder of a comparison."""
    arrays: dict[str, Any] = {}
    told = []
    for number, one in enumerate(slices):
        arrays[f"image_{number}"] = one.image.voxels
        arrays[f"reference_{number}"] = one.reference.voxels
        if one.image.affine is not None:
            arrays[f"affine_{number}"] = one.image.affine
        for place, predicted in enumerate(one.predicted.values()):
            arrays[f"predicted_{number}_{place}"] = predicted.voxels
        told.append(
            {
                "case_id": one.case_id,
                "number": one.number,
                "slice_index": one.slice_index,
                "slice": one.slice,
                "entries": list(one.predicted),
                "dice": dict(one.dice),
                "drawn": sorted(s.label for s in one.reference.structures if one.reference.is_annotated(s.label)),
                "structures": [asdict(structure) for structure in one.reference.structures],
            }
        )
    with whole_file(folder / KEPT) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, told=np.array(json.dumps(told)), **arrays)


def read_side_by_side(folder: Path, entries: Sequence[str]) -> tuple[SideBySide, ...]:
    """Read the slices that are kept; none where they are not of these entries."""
    path = folder / KEPT
    if not path.is_file():
        return ()
    try:
        with np.load(path, allow_pickle=False) as kept:
            told = json.loads(str(kept["told"]))
            slices = tuple(_read_one(kept, number, values) for number, values in enumerate(told))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise ReadError(
            f"{path} cannot be read ({error}). Remove it; the comparison then makes it anew."
        ) from error
    return slices if all(set(one.predicted) == set(entries) for one in slices) else ()


def _read_one(kept: Any, number: int, told: dict[str, Any]) -> SideBySide:
    structures = tuple(Structure(**values) for values in told["structures"])
    affine = kept.get(f"affine_{number}")
    # Before slices had numbers of their own, only the place in the case was kept.
    source = Source(case_id=told["case_id"], first_slice=told.get("slice", told["slice_index"] + 1))

    def label_map(name: str, drawn: frozenset[int] | None = None) -> LabelMap:
        return LabelMap(kept[name], affine, structures, annotated=drawn, source=source)

    return SideBySide(
        case_id=told["case_id"],
        number=told["number"],
        slice_index=told["slice_index"],
        image=Image(kept[f"image_{number}"], affine, source=source),
        reference=label_map(f"reference_{number}", frozenset(told["drawn"])),
        predicted={entry: label_map(f"predicted_{number}_{place}") for place, entry in enumerate(told["entries"])},
        dice=told["dice"],
    )


def _take(
    runs: Mapping[str, CrossValidation],
    case: Case,
    structures: Sequence[Structure],
    index: int,
    dice: dict[str, float],
) -> SideBySide | None:
    """Read a slice of a case and of what each entry predicted; None where an entry kept nothing."""
    predicted: dict[str, LabelMap] = {}
    image, reference = read_reference(case, structures)
    for entry, run in runs.items():
        labels = next((found for fold in run.folds if (found := _kept(fold, case)) is not None), None)
        if labels is None or labels.shape != reference.shape:
            return None
        whole = LabelMap(labels, reference.affine, reference.structures, source=reference.source)
        predicted[entry] = whole.one_slice(index)
    first = replace(image, voxels=image.channel_voxels[0], channels=image.channels[:1])
    return SideBySide(case.case_id, 0, index, first.one_slice(index), reference.one_slice(index), predicted, dice)


def _kept(fold: FoldResult, case: Case) -> Any:
    try:
        return read_prediction(fold, case.case_id)
    except (ReadError, DataError):  # a picture less, and no number
        return None


def _by_slice(scores: Sequence[Score]) -> dict[tuple[str, int], list[Score]]:
    groups: dict[tuple[str, int], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.case_id, score.slice_index), []).append(score)
    return groups


def _together(scores: Sequence[Score]) -> tuple[float, int]:
    """Give the Dice of all structures of a slice together, and the pixels that were drawn."""
    reference, predicted, both = (
        sum(getattr(score, f"{what}_pixels") for score in scores) for what in ("reference", "predicted", "overlap")
    )
    return overlap_ratios(reference, predicted, both)["dice"], reference
