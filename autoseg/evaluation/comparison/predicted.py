"""Labels that another program drew, as an entry of a comparison: scored on the same folds as our networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.cases import Case, CaseFolder
from autoseg.data.nnunet import ENDING, exported_cases, names_of, numbers_of
from autoseg.errors import DataError, LabelError
from autoseg.evaluation.comparison.compared import STATE, Comparison, read_comparison, read_state, write_state
from autoseg.evaluation.comparison.entries import check_names
from autoseg.evaluation.comparison.run import write_pictures, write_tables
from autoseg.evaluation.comparison.side_by_side import choose_slices, write_side_by_side
from autoseg.evaluation.crossvalidation import FoldResult, settle_folds
from autoseg.evaluation.crossvalidation.fold import read_content, write_fold
from autoseg.evaluation.crossvalidation.scoring import score_labels
from autoseg.files.arrays import whole_numbers
from autoseg.files.atomic import one_step, remove_folder
from autoseg.files.nifti.volumes import read_nifti
from autoseg.files.nnunet import read_dataset_json
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.keeping.alone import folds_alone
from autoseg.training.recipes import RECIPES
from autoseg.words import counted, name_private

# Where nnU-Net leaves what each fold's network drew on the cases that it did not learn from, from fold 0.
VALIDATION = "fold_{}/validation"
# A `dataset.json` lies beside the files or in one of so many folders above.
FOLDERS_ABOVE = 3


def add_predictions(found: CaseFolder, folder: Path, predicted: Path, *, name: str) -> Comparison:
    """Score labels of another program on the folds of a comparison, as an entry `name` beside its own.

    Parameters
    ----------
    found : CaseFolder
        The images and labels that the comparison was made from.
    folder : Path
        Of a comparison whose folds are finished.
    predicted : Path
        A folder of nnU-Net's results (with fold_0/validation, fold_1/validation …), trained on what `write_nnunet`
        made of the same folder, folds and seed; or one folder with a NIfTI file for each case. Numbers are those of
        the `dataset.json` there, else those of `write_nnunet`.
    name : str
        What the entry is called; labels that were added under this name before are replaced.

    Raises
    ------
    DataError
        If a case has no file, lies in another fold, or the name is that of a network.
    LabelError
        If a file lies on another grid than its image, or holds what is no whole number or stands for no structure.
    """
    folder, predicted = Path(folder), Path(predicted)
    check_names([name])
    with folds_alone(folder):
        settle_folds(folder)
        state = read_state(folder)
        if name in RECIPES or (name in state.expected and name not in state.added):
            raise DataError(f"{name!r} is a network of this comparison. Give --name another one, such as nnU-Net.")
        of_folds = _test_cases(folder, state.entries, state.folds, found)
        files = _Files(predicted, found, state.structures)
        made = [files.fold(number, cases) for number, cases in of_folds.items()]
        with one_step(folder):
            remove_folder(folder / name)
            for number, pairs in zip(of_folds, made, strict=True):
                (scores, volumes, pixels), kept = score_labels(pairs)
                result = FoldResult(number, folder / name / f"fold_{number}", scores, volumes, pixels=pixels)
                write_fold(result, files.made_from(of_folds[number]), predicted=kept)
            entries = (*(one for one in state.entries if one != name), name)
            write_state(folder, replace(state, entries=entries, added={**state.added, name: files.has_folds}))
            result_of_all = read_comparison(folder)
            if result_of_all.is_finished and len(result_of_all.table):
                drawn = {entry: result_of_all.runs[entry] for entry in read_state(folder).drawn}
                worst = choose_slices(drawn, found.cases, state.structures)
                write_side_by_side(folder, worst)
                result_of_all = replace(result_of_all, worst=worst)
            write_tables(result_of_all)
        write_pictures(result_of_all)
    return result_of_all


def _test_cases(folder: Path, entries: Sequence[str], folds: int, found: CaseFolder) -> dict[int, list[Case]]:
    """Give the cases that each fold of a comparison tested, from what its entries keep."""
    known = {case.case_id: case for case in found.cases}
    result: dict[int, list[Case]] = {}
    for number in range(1, folds + 1):
        places = [folder / entry / f"fold_{number}" for entry in entries]
        done = next((place for place in places if place.exists()), None)
        if done is None:
            raise DataError(
                f"Fold {number} of {folder} is not finished. Let the comparison go on to its end first."
            )
        names = list(read_content(done).get("predicted", ()))
        lacking = [name for name in names if name not in known]
        if lacking or not names:
            raise DataError(
                f"{folder / STATE} was made from other images than {found.folder}: {name_private(lacking[:3])} of "
                f"fold {number} is not there. Give the folder that the comparison was made from."
            )
        result[number] = [known[name] for name in names]
    return result


class _Files:
    """The files of another program: where the labels of a case lie, and what their numbers stand for."""

    def __init__(self, folder: Path, found: CaseFolder, structures: tuple[Structure, ...]) -> None:
        self.folder, self.structures = folder, structures
        self.has_folds = (folder / VALIDATION.format(0)).is_dir()
        exported = exported_cases(found)
        known = {case.case_id for case in exported}
        # Names that are alike get numbers in this order: those of the export stay, and nobody shares one.
        self.names = names_of([*exported, *(case for case in found.cases if case.case_id not in known)])
        self.labels = self._labels()

    def made_from(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Give what stands in `fold.json`, as of every fold."""
        told = [{"label": one.label, "name": one.name} for one in self.structures]
        return {"files": self.folder.name, "test": [case.case_id for case in cases], "structures": told}

    def fold(self, number: int, cases: Sequence[Case]) -> list[tuple[Case, LabelMap, LabelMap]]:
        """Read the labels of the cases that a fold tested, beside what was drawn there."""
        place = self.folder / VALIDATION.format(number - 1) if self.has_folds else self.folder
        paths = {case.case_id: place / f"{self.names[case.case_id]}{ENDING}" for case in cases}
        lacking = [case.case_id for case in cases if not paths[case.case_id].is_file()]
        if lacking:
            why = (
                "its folds are others: export with the same --folds and --seed, put splits_final.json where it "
                "belongs, and train again"
                if self.has_folds
                else "predict them first"
            )
            raise DataError(
                f"{place} has no file for {counted(len(lacking), 'case')} of fold {number} "
                f"({name_private(lacking[:3])}); {why}."
            )
        return list(self._pairs(cases, paths))

    def _pairs(self, cases: Sequence[Case], paths: dict[str, Path]) -> Iterator[tuple[Case, LabelMap, LabelMap]]:
        for case in cases:
            image, reference = read_reference(case, self.structures)
            yield case, reference, self._read(paths[case.case_id], image)

    def _read(self, path: Path, image: Image) -> LabelMap:
        stored, affine = read_nifti(path)
        voxels = whole_numbers(path, stored)
        numbers = {int(one) for one in np.unique(voxels)}
        unknown = sorted(numbers - set(self.labels))
        if unknown:
            raise LabelError(
                f"{path} holds {', '.join(map(str, unknown))}, for which no structure stands. Known: "
                f"{', '.join(f'{number} {label}' for number, label in self.labels.items())} (number, label)."
            )
        table = np.zeros(max(self.labels) + 1, np.uint8)
        for number, label in self.labels.items():
            table[number] = label
        found = LabelMap(table[voxels.astype(np.int64)], affine, self.structures, source=image.source)
        if image.affine is None and found.shape == image.shape:
            return replace(found, affine=None)
        if not found.same_grid(image):
            raise LabelError(
                f"{path} lies on another grid than its image: {found.shape} and {image.shape} (slices, rows, "
                "columns). Give what was predicted on the exported images, as it is."
            )
        return replace(found, affine=image.affine)

    def _labels(self) -> dict[int, int]:
        """Give the label that each number of the files stands for."""
        for place in (self.folder, *list(self.folder.resolve().parents)[:FOLDERS_ABOVE]):
            described = read_dataset_json(place).structures
            if described:
                own = {one.name: one.label for one in self.structures}
                unknown = [one.name for one in described if one.name not in own]
                if unknown:
                    raise DataError(
                        f"{place / 'dataset.json'} names {', '.join(unknown)}, and the comparison has "
                        f"{', '.join(own)}. Name them alike."
                    )
                return {0: 0} | {one.label: own[one.name] for one in described}
        return {0: 0} | {number: label for label, number in numbers_of(self.structures)[1].items()}
