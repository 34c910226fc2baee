"""Pair DICOM files with label files by their names, never by the order of lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from autoseg.data.pairing.layout import FilePair, Pairing, Unlabelled, leave_out, pair
from autoseg.errors import DataError, NoLabelsError
from autoseg.files.dicom.series import DicomFolder, find_series
from autoseg.files.labels import LABEL_SUFFIXES
from autoseg.files.sources import ImageFile, LabelFile, SkippedFile, name_without_ending, walk
from autoseg.words import in_words

Labels = dict[tuple[Path, str], Path]
"""Label files by their folder (relative to `labels`) and their name without ending."""


def pair_slices(images: Path, labels: Path, *, unlabelled: Unlabelled) -> Pairing:
    """Pair the DICOM files of one folder with the label files of another; a multi-frame file gives a pair a frame.

    A label in a folder of the same name comes first (`dicoms/p1/IM0.dcm`, `labels/p1/IM0.png`); else a label of
    the same name anywhere, if no other image and no other label has that name.
    """
    label_files, skipped = _find_labels(labels)
    found = find_series(images)
    pairs, missing = _pair(images, found, label_files)
    _check_used_once(pairs)
    used = {one.labels[0].path for one in pairs}
    lonely = [path for path in label_files.values() if path not in used]
    if lonely:
        raise DataError(_about_lonely_labels(images, labels, lonely, found))
    scouts = {path for series in found.series if series.scout for path in series.files}.intersection(missing)
    skipped += [SkippedFile(path, "a localiser, on which nothing was drawn") for path in missing if path in scouts]
    skipped += leave_out(
        {path: path.relative_to(images).as_posix() for path in missing if path not in scouts},
        unlabelled,
        "a label file",
        folder=images,
        remedy=f"Add label files of the same names to {labels} ({', '.join(LABEL_SUFFIXES)}; where images share a "
        "name, in folders of the same names)",
    )
    return Pairing(tuple(pairs), skipped=(*found.skipped, *skipped))


def _find_labels(folder: Path) -> tuple[Labels, list[SkippedFile]]:
    """Give the label files, and what else lies there."""
    labels: Labels = {}
    files, passed_over = walk(folder)
    skipped = [file for file in passed_over if not file.hidden]
    for path in files:
        key = (path.relative_to(folder).parent, path.stem)
        if path.suffix.lower() not in LABEL_SUFFIXES:
            skipped.append(SkippedFile(path, f"not a label file ({', '.join(LABEL_SUFFIXES)})"))
        elif (other := labels.setdefault(key, path)) != path:
            raise DataError(f"Two label files are called {path.stem!r}: {other} and {path}. Keep one of them.")
    if not labels:
        raise NoLabelsError(
            f"The folder {folder} holds no label file. Put one file for each DICOM slice into it, with the "
            f"same name and the ending {' or '.join(LABEL_SUFFIXES)}."
        )
    return labels, skipped


def _pair(folder: Path, found: DicomFolder, labels: Labels) -> tuple[list[FilePair], list[Path]]:
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
                pairs.append(
                    pair(name, subjects[path], [ImageFile(path, frame)], [(LabelFile(label), "same name")])
                )
    return pairs, list(dict.fromkeys(missing))


def _frame_name(path: Path, frame: int, frames: int) -> str:
    return name_without_ending(path) + (f"_{frame + 1:03d}" if frames > 1 else "")


def _check_used_once(pairs: Sequence[FilePair]) -> None:
    """Refuse a case name of two cases, a label of two images, and a picture as the label of several frames."""
    cases: dict[str, FilePair] = {}
    labels: dict[Path, FilePair] = {}
    for one in pairs:
        other = cases.setdefault(one.case_id, one)
        if other is not one:
            raise DataError(
                f"Two images are called {one.case_id!r}: {_place(other)} and {_place(one)}, so their labels cannot "
                "be told apart. Give every DICOM file a name of its own, and its label file the same."
            )
        path, image_path = one.labels[0].path, one.images[0].path
        other = labels.setdefault(path, one)
        same_file = other.images[0].path == image_path
        if other is not one and not (same_file and path.suffix.lower() == ".npy"):
            frames = f": {_frame_name(image_path, 0, 2)}.png and so on" if same_file else ""
            raise DataError(
                f"The label file {path} would be used for {_place(other)} and for {_place(one)}. Save a label "
                f"file for each of them, with its name{frames}."
            )


def _place(one: FilePair) -> str:
    return f"{one.images[0].path} (frame {(one.images[0].frame or 0) + 1})"


def _about_lonely_labels(images: Path, folder: Path, labels: Sequence[Path], found: DicomFolder) -> str:
    """Say which labels have no image, and why the file of that name, if there is one, is no image."""
    reasons = {name_without_ending(skipped.path): skipped.reason for skipped in found.skipped}
    read = {name_without_ending(path) for series in found.series for path in series.files}
    present = set(map(name_without_ending, walk(images)[0]))
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
