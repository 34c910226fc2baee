"""Pair the images of a folder with their labels, by name and never by the order of lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from autoseg.data.pairing.by_name import pair_by_name
from autoseg.data.pairing.by_series import pair_contours, pair_series
from autoseg.data.pairing.by_slice import pair_slices
from autoseg.data.pairing.layout import Pairing, Unlabelled, visible_files
from autoseg.data.pairing.names import IMAGE_FOLDERS, is_label, is_label_folder
from autoseg.errors import DataError, NoLabelsError
from autoseg.files.sources import READABLE, VOLUME_ENDINGS, ending
from autoseg.words import name_some

LAYOUT = (
    "A training folder holds the folders dicoms (the slices) and labels (one file for each slice), or images and "
    "masks; docs/folders.md shows every way"
)


def pair_files(
    folder: Path,
    *,
    unlabelled: Unlabelled,
    channels: Sequence[str] = (),
    tokens: Collection[str] = (),
    stacks: bool = True,
) -> Pairing:
    """Pair images and labels of a folder, however it is laid out; numbered pictures as `stacks`, if wanted."""
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. Check the spelling, or choose it again. {LAYOUT}.")
    files = visible_files(folder)
    images = _subfolder(folder, lambda name: name in IMAGE_FOLDERS)
    labels = _subfolder(folder, is_label_folder)
    beside = [path for path in files if images in path.parents]
    dicoms = images is not None and (
        not any(ending(path) in READABLE for path in beside) or any(map(looks_like_dicom, beside))
    )
    if images is not None and dicoms:
        candidates = [path for path in files if images not in path.parents]
        if labels is not None:
            candidates = [path for path in candidates if labels in path.parents]
        contours = [path for path in candidates if path.suffix.lower() == ".txt" and "contour" in path.stem.lower()]
        if labels is not None and contours:
            return pair_contours(images, labels, contours, unlabelled=unlabelled)
        if any(ending(path) in VOLUME_ENDINGS or looks_like_dicom(path) for path in candidates):
            return pair_series(images, candidates, unlabelled=unlabelled)
        if labels is not None:
            return pair_slices(images, labels, unlabelled=unlabelled)
    elif _are_labels_of_dicom(folder, files):
        return pair_series(folder, files, unlabelled=unlabelled)
    elif any(ending(path) in READABLE for path in files) and (
        images is not None or labels is None or len(files) > 1
    ):
        return pair_by_name(folder, files, unlabelled=unlabelled, channels=channels, tokens=tokens, stacks=stacks)
    elif images is None and labels is None and files:
        return pair_series(folder, files, unlabelled=unlabelled)
    missing = "labels" if images is not None else "dicoms"
    inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    raise (NoLabelsError if dicoms else DataError)(
        f"{folder} has no folder {missing!r}; it holds {name_some(inside) or 'nothing'}. {LAYOUT}."
    )


def _are_labels_of_dicom(folder: Path, files: Sequence[Path]) -> bool:
    """Tell whether all that is readable by its ending are labels, and what they were drawn on is DICOM."""
    readable = [path for path in files if ending(path) in READABLE]
    if not readable or not all(ending(path) in VOLUME_ENDINGS and is_label(path, folder) for path in readable):
        return False
    return any(map(looks_like_dicom, files))


def _subfolder(folder: Path, fits: Callable[[str], bool]) -> Path | None:
    """Give the folder of images or of labels; None if there is none, or if images and labels lie deeper."""
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and fits(path.name.lower())]
    found = [path for path in found if not path.name.lower().endswith(("ts", "val"))] or found
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several folders of one kind: {names}. Move away all but one of them.")
    return found[0] if found else None


def looks_like_dicom(path: Path) -> bool:
    """Tell by its first bytes, or its ending, whether a file is DICOM of any kind."""
    if path.suffix.lower() in (".dcm", ".seg"):
        return True
    if ending(path) in READABLE or path.suffix.lower() in (".txt", ".csv", ".json", ".md"):
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
