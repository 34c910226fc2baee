"""Pair DICOM files with label files by their names, never by the order of lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoseg.errors import DataError
from autoseg.files.dicom.series import DicomFolder, SkippedFile, find_series
from autoseg.files.labels import LABEL_SUFFIXES
from autoseg.files.sources import LEAVING_OUT, FilePair, ImageFile, LabelFile, Pairing, name_without_ending
from autoseg.words import in_words

Labels = dict[tuple[Path, str], Path]
"""Label files by their folder (relative to `labels`) and their name without ending."""


@dataclass(frozen=True)
class _SlicePair:
    """A slice's file and frame (from 0), its label file, and the name that they share."""

    name: str
    subject_id: str
    image_path: Path
    frame: int
    label_path: Path


def pair_slices(images: Path, labels: Path, *, unlabelled: Literal["refuse", "skip"]) -> Pairing:
    """Pair the DICOM files of one folder with the label files of another; a multi-frame file gives a pair a frame.

    A label in a folder of the same name comes first (`dicoms/p1/IM0.dcm`, `labels/p1/IM0.png`); else a label of
    the same name anywhere, if no other image and no other label has that name.
    """
    label_files, skipped = _find_labels(labels)
    found = find_series(images)
    pairs, missing = _pair(images, found, label_files)
    _check_used_once(pairs)
    used = {pair.label_path for pair in pairs}
    lonely = [path for path in label_files.values() if path not in used]
    if lonely:
        raise DataError(_about_lonely_labels(images, labels, lonely, found))
    if missing and unlabelled == "refuse":
        names = [path.relative_to(images).as_posix() for path in missing]
        raise DataError(
            f"{in_words(names, 'image')} in {images} without a label file of the same name in "
            f"{labels} ({', '.join(LABEL_SUFFIXES)}). Add the label files (where images share a name, "
            f"in folders of the same names), or leave these images out ({LEAVING_OUT})."
        )
    skipped += [SkippedFile(path, "an image without a label file") for path in missing]
    return Pairing(
        pairs=tuple(
            FilePair(
                name=pair.name,
                subject_id=pair.subject_id,
                images=(ImageFile(pair.image_path, pair.frame),),
                labels=(LabelFile(pair.label_path),),
                rule="same name; subject: PatientID",
            )
            for pair in pairs
        ),
        skipped=(*found.skipped, *skipped),
    )


def _find_labels(folder: Path) -> tuple[Labels, list[SkippedFile]]:
    """Give the label files, and what else lies there."""
    labels: Labels = {}
    skipped = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in inside.parts):
            continue
        key = (inside.parent, path.stem)
        if path.suffix.lower() not in LABEL_SUFFIXES:
            skipped.append(SkippedFile(path, f"not a label file ({', '.join(LABEL_SUFFIXES)})"))
        elif key in labels:
            raise DataError(
                f"Two label files are called {path.stem!r}: {labels[key]} and {path}. Keep one of them."
            )
        else:
            labels[key] = path
    if not labels:
        raise DataError(
            f"The folder {folder} holds no label file. Put one file for each DICOM slice into it, with the "
            f"same name and the ending {' or '.join(LABEL_SUFFIXES)}."
        )
    return labels, skipped


def _pair(folder: Path, found: DicomFolder, labels: Labels) -> tuple[list[_SlicePair], list[Path]]:
    """Give the pairs, and the images that lack a label, if only of one frame."""
    frames: dict[Path, list[int]] = defaultdict(list)
    subjects = {}
    for series in found.series:
        for header in series.slices:
            frames[header.path].append(header.frame)
            subjects[header.path] = series.subject_id
    # Of each frame its own name (leg_001) and its file's (leg), which are one in a single-frame file.
    names = {
        path: {frame: (_frame_name(path, frame, len(numbers)), name_without_ending(path)) for frame in numbers}
        for path, numbers in frames.items()
    }
    owners = Counter(name for path in names for name in {n for both in names[path].values() for n in both})
    # A label may also repeat the DICOM's ending: leg.dcm.png for leg.dcm.
    label_of = {(where, name_without_ending(Path(stem))): path for (where, stem), path in labels.items()} | labels
    bearers = Counter(stem for _, stem in label_of)
    anywhere = {stem: path for (_, stem), path in label_of.items() if bearers[stem] == owners[stem] == 1}
    pairs, missing = [], []
    for path in frames:
        where = path.relative_to(folder).parent
        shared = any(owners[own] > 1 for own, _ in names[path].values())
        for frame, both in sorted(names[path].items()):
            nearby = (label_of.get((where, name)) for name in both)
            label = next(filter(None, (*nearby, *map(anywhere.get, both))), None)
            if label is None:
                missing.append(path)
            else:
                name = "_".join((*where.parts, both[0])) if shared else both[0]
                pairs.append(_SlicePair(name, subjects[path], path, frame, label))
    return pairs, list(dict.fromkeys(missing))


def _frame_name(path: Path, frame: int, frames: int) -> str:
    return name_without_ending(path) + (f"_{frame + 1:03d}" if frames > 1 else "")


def _check_used_once(pairs: Sequence[_SlicePair]) -> None:
    """Refuse a case name of two cases, a label of two images, and a picture as the label of several frames."""
    cases: dict[str, _SlicePair] = {}
    labels: dict[Path, _SlicePair] = {}
    for pair in pairs:
        other = cases.setdefault(pair.name, pair)
        if other is not pair:
            raise DataError(
                f"Two images are called {pair.name!r}: {_place(other)} and {_place(pair)}, so their labels cannot "
                "be told apart. Give every DICOM file a name of its own, and its label file the same."
            )
        other = labels.setdefault(pair.label_path, pair)
        same_file = other.image_path == pair.image_path
        if other is not pair and not (same_file and pair.label_path.suffix.lower() == ".npy"):
            frames = f": {_frame_name(pair.image_path, 0, 2)}.png and so on" if same_file else ""
            raise DataError(
                f"The label file {pair.label_path} would be used for {_place(other)} and for {_place(pair)}. Save "
                f"a label file for each of them, with its name{frames}."
            )


def _place(pair: _SlicePair) -> str:
    return f"{pair.image_path} (frame {pair.frame + 1})"


def _about_lonely_labels(images: Path, folder: Path, labels: Sequence[Path], found: DicomFolder) -> str:
    """Say which labels have no image, and why the file of that name, if there is one, is no image."""
    reasons = {name_without_ending(skipped.path): skipped.reason for skipped in found.skipped}
    read = {name_without_ending(path) for series in found.series for path in series.files}
    present = {name_without_ending(path) for path in images.rglob("*") if path.is_file()}
    names = []
    for path in labels:
        name = name_without_ending(Path(path.stem))
        why = reasons.get(name) or ("a copy of another DICOM file" if name in present - read else "")
        if name in read:
            why = "it, or the label, is there more than once: keep one, or put both into folders of the same name"
        shown = path.relative_to(folder).as_posix()
        names.append(f"{shown} (the file of that name in dicoms: {why})" if why else shown)
    return (
        f"{in_words(names, 'label file')} in {folder} without an image of the same name in "
        f"{images}. Add the DICOM files, correct the names, or move these labels away."
    )
