"""The patients of a cohort: which folder below it holds one patient's images, and what tells that they changed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from autoseg.data.codes import Known, codes_of, is_without_ids, learn_folder
from autoseg.data.digests import files_digest, files_stamp
from autoseg.data.pairing.names import is_label, is_label_folder, read_name, subjects_by_name
from autoseg.errors import DataError
from autoseg.files.dicom.headers import read_header
from autoseg.files.dicom.records import FileHeader
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.nifti.sizes import read_answers
from autoseg.files.sources import READABLE, VOLUME_ENDINGS, ending, walk, walk_folders
from autoseg.files.tables import EARLIER_FOLDER
from autoseg.words import natural


@dataclass(frozen=True)
class PatientPlace:
    """Where one patient's images lie: a folder, or a file that lies among those of others.

    `name` is unlike every other patient's, and a file may be called so; without patient IDs it is a code. `folder`
    is the place below the cohort in words (then the code). `subject_id` is whose images they are where names, and
    not the files, tell it, else "". `refusal` says why it cannot be segmented by itself.
    """

    path: Path
    name: str
    folder: str
    subject_id: str = ""
    refusal: str = ""


def find_patient_places(cohort: Path) -> tuple[PatientPlace, ...]:
    """Find the patients of a cohort, 2 before 10; of each folder one DICOM header is read, of other files the name.

    Patients are told apart as in a folder to learn from: by the PatientID, without DICOM by names of folders and
    files (`autoseg.data.pairing.names.subjects_by_name`). A patient's place is the highest folder below the cohort
    that holds nobody else's images. A folder
    without any image is a place too: a run there says what is wrong. Several patients whose DICOM files or pictures
    lie in one folder are one place; volumes in one folder are a place each.

    Raises
    ------
    DataError
        If the cohort is no folder, or there is no image in it.
    """
    cohort = Path(cohort)
    if not os.path.isdir(cohort):
        raise DataError(f"{cohort} is not a folder. Choose the folder in which the patients' folders lie.")
    owners, volumes, empty = _look_through(cohort)
    if not owners:
        raise DataError(
            f"{cohort} and the folders in it hold no image. Choose the folder in which the patients' folders lie."
        )
    below: dict[Path, set[_Owner]] = defaultdict(set)
    holding: Counter[Path] = Counter()
    for folder, whose in owners.items():
        for place in _up_to(folder, cohort):
            below[place] |= whose
            holding[place] += 1
    found: dict[Path, tuple[_Owner, str]] = {}  # whose it is, and why it cannot be segmented by itself
    for folder, whose in owners.items():
        if len(below[folder]) == 1:
            (one,) = whose
            found.setdefault(_highest(folder, below, owners, cohort), (one, ""))
        elif folder in volumes:
            found |= {path: (owner, "") for path, owner in volumes[folder].items()}
        else:
            found[folder] = (_Owner(), "" if holding[folder] == 1 else _among_others(folder))
    for folder in empty:
        place = folder
        while place.parent != cohort and place.parent not in below:
            place = place.parent
        is_new = place not in below and not any(one in found for one in (place, *place.parents))
        if is_new and not any(map(is_label_folder, place.relative_to(cohort).parts)):
            found[place] = (_Owner(), "")
    order = sorted(found, key=lambda path: natural(path.relative_to(cohort).as_posix()))
    return _told(cohort, [(path, *found[path]) for path in order])


class _Owner(NamedTuple):
    """Whose images they are ("": of several, or not known), and whether names tell it."""

    subject_id: str = ""
    by_name: bool = False


def _look_through(
    cohort: Path,
) -> tuple[dict[Path, set[_Owner]], dict[Path, dict[Path, _Owner]], list[Path]]:
    """Give whose images lie in each folder, of folders of volumes whose each is, and folders without an image."""
    owners: dict[Path, set[_Owner]] = {}
    named: dict[Path, dict[str, Path]] = {}
    empty = []
    for folder, files, _ in walk_folders(cohort):
        header = next((one for one in map(read_header, files) if isinstance(one, FileHeader)), None)
        kept = EARLIER_FOLDER not in folder.relative_to(cohort).parts
        images = [path for path in files if ending(path) in READABLE and not is_label(path, cohort) and kept]
        if header is not None:
            owners[folder] = {_Owner(header.subject_id)}
        elif images:
            named[folder] = {_place_of(path, cohort): path for path in images}
        elif folder != cohort and kept:
            empty.append(folder)
    whose, _ = subjects_by_name([place for places in named.values() for place in places])
    volumes = {}
    for folder, places in named.items():
        owners[folder] = {_Owner(whose[place], by_name=True) for place in places}
        if all(ending(path) in VOLUME_ENDINGS for path in places.values()):
            volumes[folder] = {path: _Owner(whose[place], by_name=True) for place, path in places.items()}
    return owners, volumes, empty


def _place_of(path: Path, cohort: Path) -> str:
    name = read_name(path, cohort)
    return "/".join((*name.where, name.key))


def _up_to(folder: Path, cohort: Path) -> list[Path]:
    """Give a folder and those above it, up to the cohort."""
    return [folder, *(place for place in folder.parents if cohort in (place, *place.parents))]


def _highest(folder: Path, below: Mapping[Path, set[_Owner]], owners: Mapping[Path, object], cohort: Path) -> Path:
    """Give the highest folder that holds nobody else's images; the cohort itself only if images lie in it."""
    alone = [place for place in _up_to(folder, cohort) if len(below[place]) == 1]
    return alone[-2] if alone[-1] == cohort and cohort not in owners else alone[-1]


def _among_others(folder: Path) -> str:
    return (
        f"{folder} holds images, and folders within it hold those of other patients, so that a patient cannot be "
        "read alone. Put each patient's files into a folder of their own."
    )


def _told(cohort: Path, found: Sequence[tuple[Path, _Owner, str]]) -> tuple[PatientPlace, ...]:
    """Give the places with their names, which are codes where the cohort is without patient IDs."""
    folders = [path.relative_to(cohort).as_posix() for path, _, _ in found]
    folders = [cohort.resolve().name if folder == "." else folder for folder in folders]
    if not is_without_ids(cohort):
        names = unique_names([safe_name(folder.replace("/", "_")) for folder in folders])
    else:
        learn_folder(cohort)
        wanted = [
            Known(owner.subject_id, "" if owner.subject_id else folder)
            for (_, owner, _), folder in zip(found, folders, strict=True)
        ]
        codes = codes_of(wanted)
        names = folders = unique_names([codes[one] for one in wanted])
    return tuple(
        PatientPlace(path, name, folder, owner.subject_id if owner.by_name else "", refusal)
        for (path, owner, refusal), name, folder in zip(found, names, folders, strict=True)
    )


def cohort_name(cohort: Path) -> str:
    """Give what a cohort's results are called after: its folder, or where it is without patient IDs a code."""
    name = Path(cohort).resolve().name
    if is_without_ids(cohort):
        known = Known("", f"cohort {name}")
        name = codes_of([known])[known]
    return name


@dataclass(frozen=True)
class FilesOf:
    """The files of a patient's place, and what was answered on the size of their voxels."""

    paths: tuple[Path, ...]
    root: Path
    answers: tuple[tuple[str, str], ...]

    @classmethod
    def find(cls, place: PatientPlace, cohort: Path) -> FilesOf:
        """List them; only names are read."""
        own = place.path.relative_to(cohort).as_posix()
        held = [
            (name, holds)
            for name, holds in read_answers(cohort).items()
            if own == "." or name == own or name.startswith(f"{own}/")
        ]
        root = place.path if place.path.is_dir() else place.path.parent
        return cls(tuple(walk(place.path)[0]), root, tuple(held))

    def stamp(self) -> str:
        """Give what changes when one of the files does, without reading any."""
        return files_stamp(self.paths, self.answers)

    def digest(self) -> str:
        """Give what changes when the content or the name of a file does, wherever the cohort lies."""
        return files_digest(self.paths, self.root, self.answers)
