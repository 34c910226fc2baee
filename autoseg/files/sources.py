"""Where images and labels lie on the disk: folders walked, and files told by their endings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.files.file_names import file_stem
from autoseg.words import natural

VOLUME_ENDINGS = (".nii", ".nii.gz")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
READABLE = (*VOLUME_ENDINGS, *PICTURE_ENDINGS)
# Says beside the data that codes shall stand for its patients (`autoseg.data.codes`).
WITHOUT_IDS = "without_patient_ids.txt"
HIDDEN = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", WITHOUT_IDS}


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that was left alone, and why, in words; those that are `hidden` nobody looks for."""

    path: Path
    reason: str
    hidden: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class ImageFile:
    """One channel of an image: a file, one frame of a file, or all files of a DICOM series.

    `frame` counts from 0: the frame of a multi-frame DICOM, the time point of a NIfTI; None means the whole file.
    `others` are the further files of a series, or of a stack of pictures, that is read as one volume, `part` is its
    place among the images that the series gives.
    """

    path: Path
    frame: int | None = None
    others: tuple[Path, ...] = ()
    part: int = 0


@dataclass(frozen=True)
class LabelFile:
    """One label file. `token` is what its name adds to the image's (`gmseg-manual`), `rater` who drew it.

    A file that is `binary` marks one structure, named by its token, with any value above 0; otherwise its values
    are labels. `indices` says what each index of its palette stands for in the other files, where its colours
    moved. `slice_index` is the one slice that it shows of a stack of pictures; None: all that its image has.
    """

    path: Path
    token: str = ""
    rater: str = ""
    binary: bool = False
    indices: tuple[tuple[int, int], ...] = ()
    slice_index: int | None = None


def name_without_ending(path: Path) -> str:
    """Give a file's name without its ending (`.nii.gz` is one), unless the ending is a number.

    Examples
    --------
    >>> [name_without_ending(Path(name)) for name in ("leg_07.dcm", "leg_07", "CT.1.2.840", "t2.nii.gz")]
    ['leg_07', 'leg_07', 'CT.1.2.840', 't2']
    """
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else file_stem(path)


def ending(path: Path) -> str:
    """Give the ending in small letters; `.nii.gz` is one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


class Links:
    """Answers which links to folders are followed from a folder on: those that lead to what is not read anyway.

    A link to what lies in the folder itself or around it, or to where another link has led, would be read twice, or
    for ever.
    """

    def __init__(self, folder: Path) -> None:
        self.root = os.path.realpath(folder)
        self.followed: list[str] = []

    def follow(self, link: Path) -> bool:
        """Tell whether a link to a folder is to be followed, and remember it if so."""
        target = os.path.realpath(link)
        seen = _within(target, self.root) or any(_within(target, other) for other in self.followed)
        if seen or _within(self.root, target):
            return False
        self.followed.append(target)
        return True

    def was_followed(self, folder: Path) -> bool:
        """Tell whether a link has led to this folder before."""
        return bool(self.followed) and os.path.realpath(folder) in self.followed


def _within(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it; both without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def walk(folder: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Give the files of a folder and the folders within, 2.png before 10.png, and what was left alone.

    That is what is hidden, a link to a folder that is read anyway or leads back to where it lies, or may not be
    opened. Other links to folders are followed. A file instead of a folder is the only one.
    """
    found: list[Path] = []
    skipped: list[SkippedFile] = []
    for _, files, left in walk_folders(folder):
        found += files
        skipped += left
    return sorted(found, key=natural), skipped


def walk_folders(folder: Path) -> Iterator[tuple[Path, list[Path], list[SkippedFile]]]:
    """Give what `walk` does one folder after the other, each with its own files, and empty ones too."""
    if os.path.isfile(folder):
        yield Path(folder).parent, [Path(folder)], []
        return
    links = Links(folder)
    skipped: list[SkippedFile] = []

    def refuse(error: OSError) -> None:
        skipped.append(SkippedFile(Path(error.filename), f"may not be opened ({error.strerror})"))

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        hidden = [name for name in folders if _is_hidden(name)]
        skipped += [SkippedFile(here / name, "a hidden folder", hidden=True) for name in sorted(hidden)]
        kept = []
        for name in sorted(set(folders) - set(hidden)):
            if not (here / name).is_symlink():
                kept += [] if links.was_followed(here / name) else [name]
            elif links.follow(here / name):
                kept.append(name)
            else:
                skipped.append(
                    SkippedFile(here / name, "a link to a folder that is read already, or around this one")
                )
        folders[:] = kept
        files = []
        for path in (here / name for name in names):
            if _is_hidden(path.name):
                skipped.append(SkippedFile(path, "a hidden file", hidden=True))
            elif os.path.isfile(path):
                files.append(path)
            else:
                skipped.append(SkippedFile(path, "not an ordinary file"))
        left, skipped[:] = skipped[:], []
        yield here, sorted(files, key=natural), left
    if skipped:  # what was refused last
        yield Path(folder), [], skipped


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in HIDDEN
