"""A folder that two readers drew, and folds that predicted it: boxes of pixels of 2 mm² on three slices."""

import json
from dataclasses import asdict

import nibabel
import numpy as np

from autoseg.data.cases import find_cases
from autoseg.evaluation.crossvalidation import FoldResult
from autoseg.evaluation.crossvalidation.fold import write_fold

SHAPE = (3, 12, 16)


def save(path, voxels):
    """Save (slice, row, column) voxels; pixels of 2 mm²."""
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([1.0, 2.0, 5.0, 1.0])), path)


def box(wide):
    """Give 5 rows of so many columns on each slice."""
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[:, 2:7, 2 : 2 + wide] = 1
    return voxels


def draw_patients(folder, patients=6):
    """Reader 1 drew 5 x 6 pixels, reader 2 a column more on patients of an even number."""
    for number in range(patients):
        noise = np.random.default_rng(number).integers(0, 900, SHAPE).astype(np.int16)
        save(folder / f"p{number}-image.nii.gz", noise)
        save(folder / f"p{number}-mask-r1.nii.gz", box(6))
        save(folder / f"p{number}-mask-r2.nii.gz", box(7 if number % 2 == 0 else 6))
    return find_cases(folder)


def write_folds(folder, place, *, wide=7, structures=None):
    """Write two folds whose models found so many columns."""
    structures = structures or folder.structures
    for number in (1, 2):
        made_from = {"structures": json.loads(json.dumps([asdict(one) for one in structures]))}
        cases = folder.cases[number - 1 :: 2]
        predicted = {case.case_id: box(wide) * structures[0].label for case in cases}
        write_fold(FoldResult(number, place / f"fold_{number}", (), ()), made_from, predicted=predicted)
