"""Pair DICOM files with label files by their names, never by the order of lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoseg.errors import DataError
from autoseg.files.dicom import DicomFolder, SkippedFile, find_series
from autoseg.files.labels import LABEL_SUFFIXES

LAYOUT = "A training folder holds the folders dicoms (the slices) and labels (one file for each slice)"


@dataclass(frozen=True)
class FilePair:
    """A slice's file and frame (from 0), its label file, and the name that they share."""

    name: str
    subject_id: str
    image_path: Path
    frame: int
    label_path: Path


def pair_files(
    folder: Path, *, unlabelled: Literal["refuse", "skip"]
) -> tuple[tuple[FilePair, ...], tuple[SkippedFile, ...]]:
    """Pair `folder/dicoms` with `folder/labels`; a multi-frame file gives one pair for each frame.

    Returns
    -------
    tuple of FilePair
        Series by series, 2.dcm before 10.dcm; at least one.
    tuple of SkippedFile
        What was left alone, and why.

    Raises
    ------
    DataError
        If the folders are missing or empty, two files share a name, a label has no image, or an image has no
        label and `unlabelled` is not "skip". Up to five files are named.
    """
    _check_folder(folder)
    labels, skipped = _find_labels(folder / "labels")
    found = find_series(folder / "dicoms")
    pairs, missing = _pair(found, labels)
    used = {pair.label_path for pair in pairs}
    lonely = [path for path in labels.values() if path not in used]
    if lonely:
        raise DataError(_about_lonely_labels(folder, lonely, found))
    if missing and unlabelled == "refuse":
        raise DataError(
            f"{in_words([path.name for path in missing], 'image')} in {folder / 'dicoms'} without a label "
            f"file of the same name in {folder / 'labels'} ({', '.join(LABEL_SUFFIXES)}). Add the label "
            "files, or leave these images out (unlabelled='skip')."
        )
    skipped += [SkippedFile(path, "an image without a label file") for path in missing]
    return tuple(pairs), (*found.skipped, *skipped)


def name_without_ending(path: Path) -> str:
    """Give a file's name without its ending, unless the ending is a number.

    Examples
    --------
    >>> [name_without_ending(Path(name)) for name in ("leg_07.dcm", "leg_07", "CT.1.2.840")]
    ['leg_07', 'leg_07', 'CT.1.2.840']
    """
    return path.name if path.suffix[1:].isdecimal() else path.stem


def in_words(names: Sequence[str], what: str) -> str:
    """Say how many there are and name the first five.

    Examples
    --------
    >>> in_words(["a.png", "b.png"], "label file")
    'There are 2 label files (a.png, b.png)'
    """
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return f"There is 1 {what} ({shown})" if len(names) == 1 else f"There are {len(names)} {what}s ({shown})"


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. Check the spelling, or choose it again. {LAYOUT}.")
    for name in ("dicoms", "labels"):
        if not (folder / name).is_dir():
            inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
            shown = ", ".join(inside[:5]) + (" …" if len(inside) > 5 else "")
            raise DataError(f"{folder} has no folder {name!r}; it holds {shown or 'nothing'}. {LAYOUT}.")


def _find_labels(folder: Path) -> tuple[dict[str, Path], list[SkippedFile]]:
    """Give the label files by name without ending, and what else lies there."""
    labels: dict[str, Path] = {}
    skipped = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_dir() or hidden:
            continue
        if path.suffix.lower() not in LABEL_SUFFIXES:
            skipped.append(SkippedFile(path, f"not a label file ({', '.join(LABEL_SUFFIXES)})"))
        elif path.stem in labels:
            raise DataError(
                f"Two label files are called {path.stem!r}: {labels[path.stem]} and {path}. Keep one of them."
            )
        else:
            labels[path.stem] = path
    if not labels:
        raise DataError(
            f"The folder {folder} holds no label file. Put one file for each DICOM slice into it, with the "
            f"same name and the ending {' or '.join(LABEL_SUFFIXES)}."
        )
    return labels, skipped


def _pair(found: DicomFolder, labels: Mapping[str, Path]) -> tuple[list[FilePair], list[Path]]:
    """Give the pairs, and the images that lack a label, if only of one frame."""
    frames: dict[Path, list[int]] = defaultdict(list)
    subjects = {}
    for series in found.series:
        for header in series.slices:
            frames[header.path].append(header.frame)
            subjects[header.path] = series.subject_id
    # A label may also repeat the DICOM's ending: leg.dcm.png for leg.dcm.
    label_of = {name_without_ending(Path(stem)): path for stem, path in labels.items()} | dict(labels)
    pairs, missing = [], []
    for name, path in _by_name(list(frames)).items():
        for frame in sorted(frames[path]):
            own = f"{name}_{frame + 1:03d}" if len(frames[path]) > 1 else name
            label = label_of.get(own) or label_of.get(name)
            if label is None:
                missing.append(path)
            else:
                pairs.append(FilePair(own, subjects[path], path, frame, label))
    return pairs, list(dict.fromkeys(missing))


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = name_without_ending(path)
        if name in named:
            raise DataError(
                f"Two images are called {name!r}: {named[name]} and {path}, so their labels cannot be told "
                "apart. Give every DICOM file a name of its own, and its label file the same."
            )
        named[name] = path
    return named


def _about_lonely_labels(folder: Path, labels: Sequence[Path], found: DicomFolder) -> str:
    """Say which labels have no image, and why the file of that name, if there is one, is no image."""
    reasons = {name_without_ending(skipped.path): skipped.reason for skipped in found.skipped}
    present = {name_without_ending(path) for path in (folder / "dicoms").rglob("*") if path.is_file()}
    names = []
    for path in labels:
        name = name_without_ending(Path(path.stem))
        why = reasons.get(name) or ("a copy of another DICOM file" if name in present else "")
        names.append(f"{path.name} (the file of that name in dicoms: {why})" if why else path.name)
    return (
        f"{in_words(names, 'label file')} in {folder / 'labels'} without an image of the same name in "
        f"{folder / 'dicoms'}. Add the DICOM files, correct the names, or move these labels away."
    )
