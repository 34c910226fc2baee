"""Pair the images of a training folder with their labels, by name and never by the order of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import DataError, LabelError, ReadError
from autoseg.files.dicom import SkippedFile, read_dicom_file
from autoseg.files.labels import read_label_file
from autoseg.files.pairs import in_words, name_without_ending, pair_files
from autoseg.files.tables import read_annotated, read_structures
from autoseg.image import Image, LabelMap, SliceSource, Source
from autoseg.structures import Structure, check_structures

# More distinct values than this are hardly structures that someone drew one by one.
MOST_UNNAMED_VALUES = 32


@dataclass(frozen=True)
class Case:
    """One slice and its labels, as places on the disk: cheap to copy and to pickle.

    `case_id` is the image file's name without its ending, for a frame of a multi-frame file followed by
    `_001` and on; where files in several folders share a name, their folder comes first (`p1_IM0000`). `frame`
    counts from 0. `subject_id` is the DICOM's PatientID, or stands for the study where that is blank.
    `annotated` are the labels that were drawn here, None if all of them were.
    """

    case_id: str
    subject_id: str
    image_path: Path
    frame: int
    label_path: Path
    annotated: frozenset[int] | None = None


@dataclass(frozen=True)
class CaseFolder:
    """The cases of a folder, the structures their labels name, and the files that were left alone."""

    folder: Path
    cases: tuple[Case, ...]
    structures: tuple[Structure, ...]
    skipped: tuple[SkippedFile, ...] = ()


def find_cases(
    folder: Path,
    *,
    structures: Mapping[int, str] | Sequence[Structure] | None = None,
    unlabelled: Literal["refuse", "skip"] = "refuse",
) -> CaseFolder:
    """Find the labelled slices of a folder with the subfolders `dicoms` and `labels`.

    An image and its label file have the same name but for the ending (`dicoms/leg_07.dcm` and
    `labels/leg_07.png`); the ending of a DICOM may be missing. Where slices of several folders share a name,
    their labels lie in folders of the same names (`dicoms/p1/IM0.dcm` and `labels/p1/IM0.png`). The labels of a
    multi-frame file are one NPY of shape (frames, rows, columns) in the order of the frames, or one file a
    frame (`leg_001.png` and on).

    Parameters
    ----------
    folder : Path
    structures : dict of str by int, or sequence of Structure, optional
        What each label means. By default as in `structures.csv` in the folder; without that file, the values
        in the labels are named "label 1", "label 2" and so on.
    unlabelled : {"refuse", "skip"}
        What to do if an image has no label file: raise, or leave it out and name it in `skipped`.

    Returns
    -------
    CaseFolder
        Cases series by series, 2.dcm before 10.dcm. If the folder has an `annotated.csv`, it says which
        structures were drawn on which case; otherwise all of them count as drawn on all.

    Raises
    ------
    DataError
        If the folder is not such a folder, or images and labels are not pairs; up to five are named.
    ReadError, LabelError
        If a table, or where there is no table a label file, cannot be read.
    """
    if unlabelled not in ("refuse", "skip"):
        raise DataError(f"unlabelled is {unlabelled!r}; give 'refuse' or 'skip'.")
    folder = Path(folder)
    pairs, skipped = pair_files(folder, unlabelled=unlabelled)
    known = _find_structures(folder, structures, [pair.label_path for pair in pairs])
    cases = tuple(Case(p.name, p.subject_id, p.image_path, p.frame, p.label_path) for p in pairs)
    return CaseFolder(folder, _with_annotated(folder, cases, known), known, skipped)


def read_case(
    case: Case, structures: Sequence[Structure], *, pixel_spacing_mm: tuple[float, float] | None = None
) -> tuple[Image, LabelMap]:
    """Read one case; its labels lie on the image's own grid.

    Parameters
    ----------
    case : Case
    structures : sequence of Structure
        Every value in the label file is one of them, or 0.
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns, in place of the header's.

    Returns
    -------
    tuple of Image and LabelMap
        Both of shape (1, rows, columns).

    Raises
    ------
    ReadError
        If a file is missing or damaged.
    LabelError
        If the shapes differ (both are named) or a value has no name.
    """
    image = read_case_image(case, pixel_spacing_mm=pixel_spacing_mm)
    voxels = read_case_labels(case, structures)
    label_map = LabelMap(
        voxels=voxels,
        structures=tuple(structures),
        annotated=case.annotated,
        source=Source(case_id=case.case_id, slices=(SliceSource(case.label_path, case.frame),) * len(voxels)),
    )
    return image, label_map.on_grid_of(image)


def read_case_image(case: Case, *, pixel_spacing_mm: tuple[float, float] | None = None) -> Image:
    """Read the slice of a case, shape (1, rows, columns); ReadError if the file is damaged."""
    for image in _read_file(case.image_path, _stamp(case.image_path), pixel_spacing_mm):
        for index, source in enumerate(image.source.slices):
            if source.frame == case.frame:
                return _one_slice(image, index, case.case_id)
    raise ReadError(
        f"{case.image_path} has no frame {case.frame + 1}; it was changed after the folder was searched. "
        "Search the folder again."
    )


def read_case_labels(case: Case, structures: Sequence[Structure]) -> npt.NDArray[np.integer]:
    """Read the labels of a case as they are in the file, shape (1, rows, columns) unless the file holds more.

    Raises
    ------
    ReadError, LabelError
        As `autoseg.files.labels.read_label_file`, or if a file of several slices is not one for each frame.
    """
    voxels = _read_labels(case.label_path, _stamp(case.label_path), tuple(structures))
    own = f"{name_without_ending(case.image_path)}_{case.frame + 1:03d}"
    if {case.case_id, own} & {case.label_path.stem, name_without_ending(Path(case.label_path.stem))}:
        return voxels.copy()
    images = _read_file(case.image_path, _stamp(case.image_path), None)
    frames = sum(image.shape[0] for image in images)
    if len(voxels) != frames:
        raise LabelError(
            f"{case.label_path} holds {len(voxels)} slice(s), but {case.image_path} has {frames} frames. "
            f"Save one slice for each frame, or one file for each frame ({own}.png and so on)."
        )
    return voxels[case.frame : case.frame + 1].copy()


def pairs_table(case_folder: CaseFolder) -> pd.DataFrame:
    """Show which label file belongs to which image, one row a case, for the eye to check.

    Returns
    -------
    DataFrame
        Columns case_id, subject_id, image, frame, label (file names) and drawn (names of the structures that
        were drawn); empty with these columns if there is no case.
    """
    columns = ["case_id", "subject_id", "image", "frame", "label", "drawn"]
    rows = [
        (
            case.case_id,
            case.subject_id,
            case.image_path.name,
            case.frame,
            case.label_path.name,
            ", ".join(s.name for s in case_folder.structures if is_drawn(case, s.label)),
        )
        for case in case_folder.cases
    ]
    return pd.DataFrame(rows, columns=columns)


def is_drawn(case: Case, label: int) -> bool:
    """Tell whether a structure was drawn on a case; if not, nothing is known of it there."""
    return case.annotated is None or label in case.annotated


def _find_structures(
    folder: Path, given: Mapping[int, str] | Sequence[Structure] | None, labels: Sequence[Path]
) -> tuple[Structure, ...]:
    if given is not None:
        if isinstance(given, Mapping):
            given = [Structure(label, name) for label, name in given.items()]
        known = tuple(given)
        check_structures(known)
        return known
    table = folder / "structures.csv"
    if table.exists():
        return read_structures(table)
    found = {value for path in dict.fromkeys(labels) for value in np.unique(read_label_file(path)).tolist()}
    values = sorted(found - {0})
    if len(values) > MOST_UNNAMED_VALUES or not all(0 < value < 256 for value in values):
        raise LabelError(
            f"The label files in {folder / 'labels'} hold {len(values)} different values "
            f"({', '.join(map(str, values[:8]))} …), which are hardly all structures. If edges were "
            f"smoothed, save the labels again without that; else name the values from 1 to 255 in {table}."
        )
    if not values:
        raise LabelError(
            f"The label files in {folder / 'labels'} are empty: every pixel is 0. Save the drawn labels."
        )
    return tuple(Structure(value, f"label {value}") for value in values)


def _with_annotated(folder: Path, cases: Sequence[Case], structures: Sequence[Structure]) -> tuple[Case, ...]:
    path = folder / "annotated.csv"
    if not path.exists():
        return tuple(cases)
    annotated = read_annotated(path, structures)
    unlisted = [case.case_id for case in cases if case.case_id not in annotated]
    if unlisted:
        raise DataError(
            f"{path}: {in_words(unlisted, 'case')} without a row. Add a row for each, with 1 where a "
            "structure was drawn and 0 where it was not, or remove the file if everything was drawn "
            "everywhere."
        )
    return tuple(replace(case, annotated=annotated[case.case_id]) for case in cases)


def _one_slice(image: Image, index: int, case_id: str) -> Image:
    """Cut one slice out of an image, in its place in the patient."""
    affine = None if image.affine is None else image.affine.copy()
    if affine is not None:
        affine[:3, 3] += index * affine[:3, 0]
    return Image(
        voxels=image.voxels[..., index : index + 1, :, :].copy(),
        affine=affine,
        channels=image.channels,
        source=replace(image.source, case_id=case_id, slices=image.source.slices[index : index + 1]),
    )


def _stamp(path: Path) -> tuple[int, int]:
    """Give what changes when a file does; zeros if it is not there, which its reader will tell."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


# The frames of one file are neighbouring cases: the file is decoded once, and only the last one is kept.
@lru_cache(maxsize=1)
def _read_file(
    path: Path, stamp: tuple[int, int], pixel_spacing_mm: tuple[float, float] | None
) -> tuple[Image, ...]:
    return read_dicom_file(path, pixel_spacing_mm=pixel_spacing_mm)


@lru_cache(maxsize=1)
def _read_labels(path: Path, stamp: tuple[int, int], structures: tuple[Structure, ...]) -> npt.NDArray[np.integer]:
    return read_label_file(path, structures)
