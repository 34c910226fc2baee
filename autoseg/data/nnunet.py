"""Write a folder of cases as nnU-Net's raw data set, with our folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.cases import Case, CaseFolder, read_case
from autoseg.data.split import k_folds
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import DataError, Told, private
from autoseg.files.atomic import whole_folder
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.nnunet import FILE_NAME
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.words import counted, name_private

ENDING = ".nii.gz"


def write_nnunet(
    found: CaseFolder,
    target: Path,
    *,
    folds: int = 5,
    seed: int = 0,
    on_case: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write images, labels, `dataset.json` and `splits_final.json` as nnU-Net (version 2) takes them.

    Images keep their grid and their intensities. Labels are numbered from 1 without gaps, as nnU-Net wants; a
    structure that includes others is a region. Folds are those of `autoseg.k_folds`, by subject: each is nnU-Net's
    `val` once. Subjects who were set aside for a last test are in `imagesTs` and `labelsTs`, and in no fold.

    Parameters
    ----------
    found : CaseFolder
    target : Path
        A new folder, such as nnUNet_raw/Dataset501_Psoas.
    folds, seed : int
        As of `autoseg.k_folds`.
    on_case : callable, optional
        Told before each case how many are written, and of how many. What it raises ends the writing; nothing of the
        folder is left then.

    Returns
    -------
    tuple of str
        What the reader should know: cases that were left out, and what to do with the files.

    Raises
    ------
    DataError
        If no case is left, or there are fewer than two subjects.
    GeometryError
        If the size of an image's pixels is unknown.
    """
    cases, notes = _fully_drawn(found)
    names = names_of(cases)
    ledger = read_ledger(found.folder)
    aside = {c.subject_id for c in cases} & set(ledger.subjects if ledger else ())
    splits = k_folds(cases, folds=folds, seed=seed, test_subjects=aside)
    ordered, number = numbers_of(found.structures)
    channels: tuple[str, ...] = ()
    with whole_folder(target) as temporary:
        for done, case in enumerate(cases):
            if on_case is not None:
                on_case(done, len(cases))
            image, label_map = read_case(case, found.structures)
            if channels and channels != _channels(image):
                raise DataError(
                    f"{private(case.case_id)} has the channels {', '.join(_channels(image))}, and others have "
                    f"{', '.join(channels)}. nnU-Net wants the same of all: choose them when the folder is read."
                )
            channels = _channels(image)
            if image.source.slice_spacing_source == "none" and image.shape[0] > 1:
                where = private(case.case_id)
                notes.append(Told(f"{where}: the distance of its slices is not known; 1 mm stands there."))
            side = "Ts" if case.subject_id in aside else "Tr"
            _write(temporary, side, names[case.case_id], image, label_map, number)
        learnt = [case for case in cases if case.subject_id not in aside]
        listed = [
            {
                "train": [names[case.case_id] for case in (*split.training, *split.validation)],
                "val": [names[case.case_id] for case in split.test],
            }
            for split in splits
        ]
        _write_json(temporary / FILE_NAME, _description(ordered, number, channels, len(learnt)))
        _write_json(temporary / "splits_final.json", listed)
    notes.append(
        "splits_final.json belongs into nnU-Net's folder of preprocessed data (nnUNet_preprocessed), after "
        "nnUNetv2_plan_and_preprocess and before the training: otherwise nnU-Net draws folds of its own, by image."
    )
    return tuple(notes)


def names_of(cases: Sequence[Case]) -> dict[str, str]:
    """Give what each case is called in nnU-Net's folders, by its case_id."""
    return dict(zip([c.case_id for c in cases], unique_names([safe_name(c.case_id) for c in cases]), strict=True))


def numbers_of(structures: Sequence[Structure]) -> tuple[list[Structure], dict[int, int]]:
    """Give the structures in nnU-Net's order, the outer ones first, and the number that stands for each label."""
    ordered = sorted(structures, key=lambda one: -len(one.includes))
    return ordered, {one.label: place for place, one in enumerate(ordered, start=1)}


def exported_cases(found: CaseFolder) -> list[Case]:
    """Give the cases that `write_nnunet` writes: those on which every structure was drawn."""
    return _fully_drawn(found)[0]


def _fully_drawn(found: CaseFolder) -> tuple[list[Case], list[str]]:
    """Give the cases on which every structure was drawn, and a note on the others."""
    labels = {one.label for one in found.structures}
    kept = [case for case in found.cases if case.labels and (case.annotated is None or labels <= case.annotated)]
    left = [case.case_id for case in found.cases if case not in kept]
    if not kept:
        raise DataError(f"{found.folder} has no case on which every structure was drawn; nnU-Net wants such.")
    if not left:
        return kept, []
    note = (
        f"{counted(len(left), 'case')} left out, where not every structure was drawn ({name_private(left)}): "
        "nnU-Net would take what was not drawn for background."
    )
    return kept, [Told(note)]


def _channels(image: Image) -> tuple[str, ...]:
    # This name alone tells nnU-Net that intensities mean the same in every image.
    return ("CT",) if image.source.modality == "CT" and len(image.channels) == 1 else image.channels


def _write(folder: Path, side: str, name: str, image: Image, label_map: LabelMap, number: dict[int, int]) -> None:
    for place, voxels in enumerate(image.channel_voxels):
        own = replace(image, voxels=voxels, channels=("image",))
        write_nifti(folder / f"images{side}" / f"{name}_{place:04d}{ENDING}", own)
    own_numbers = np.zeros(256, np.uint8)
    for label, new in number.items():
        own_numbers[label] = new
    structures = tuple(Structure(new, f"label {new}") for new in number.values())
    labels = LabelMap(own_numbers[label_map.voxels], label_map.affine, structures, source=label_map.source)
    write_nifti(folder / f"labels{side}" / f"{name}{ENDING}", labels)


def _description(
    ordered: Sequence[Structure], number: dict[int, int], channels: Sequence[str], count: int
) -> dict[str, object]:
    labels: dict[str, object] = {"background": 0}
    for one in ordered:
        inside = sorted(number[label] for label in one.includes)
        labels[one.name] = [number[one.label], *inside] if inside else number[one.label]
    regions = {"regions_class_order": [number[one.label] for one in ordered]}
    return {
        "channel_names": {str(place): name for place, name in enumerate(channels)},
        "labels": labels,
        **(regions if any(one.includes for one in ordered) else {}),
        "numTraining": count,
        "file_ending": ENDING,
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
