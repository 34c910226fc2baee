"""What a file's place and name say: image or label, of which case, with which addition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autoseg.files.sources import name_without_ending

IMAGE_FOLDERS = {"images", "image", "imagestr", "imgs", "dicoms", "dicom", "scans"}
LABEL_FOLDER = re.compile(
    r"(labels?|masks?|segmentations?|annotations?|contours?|contourfiles)([-_ ].*)?|labelstr|derivatives"
)
GENERIC = {"label", "labels", "mask", "masks", "seg", "segs", "segmentation", "manual", "gt", "annotation", "roi"}
LABEL_WORD = re.compile(
    r"(?:^|[-_.])(?:[a-z]*seg|[a-z]*masks?|labels?|segmentation|annotation|lesions?)(?:$|[-_.])"
)
IMAGE_WORD = re.compile(r"(?:^|[-_.])(?:image|img|scan)$", re.IGNORECASE)
LEVELS = re.compile(r"[-_.]levels?$", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A file, the folder it lies in without the words images and labels, and its name or key."""

    path: Path
    where: tuple[str, ...]
    key: str


def is_label_folder(name: str) -> bool:
    """Tell by its name whether a folder holds labels: labels, labels_png, masks, derivatives."""
    return LABEL_FOLDER.fullmatch(name.lower()) is not None


def is_label(path: Path, folder: Path) -> bool:
    """Tell by its place and its name whether a file is a label rather than an image."""
    parents = [part.lower() for part in path.relative_to(folder).parts[:-1]]
    for part in reversed(parents):
        if is_label_folder(part):
            return True
        if part in IMAGE_FOLDERS:
            return False
    name = name_without_ending(path).lower()
    return bool(LABEL_WORD.search(name)) and not IMAGE_WORD.search(name)


def read_name(path: Path, folder: Path, *, of_label: bool = False) -> Named:
    """Give the name of a file in a folder; an image's without a word such as _image at its end."""
    parents = path.relative_to(folder).parts[:-1]
    where = tuple(p for p in parents if p.lower() not in IMAGE_FOLDERS and not is_label_folder(p))
    stem = name_without_ending(path)
    if LEVELS.search(stem) and path.suffix.lower() == ".txt":
        stem = LEVELS.sub("", stem)
    return Named(path, where, stem if of_label else IMAGE_WORD.sub("", stem))


def telling_words(key: str) -> frozenset[str]:
    """Give the words of a name that do not only say that it is an image or a label."""
    words = [word for word in re.split(r"[-_. ]", key.lower()) if word]
    return frozenset(word for word in words if word not in GENERIC and word not in ("image", "img", "scan"))


def beginnings(stem: str) -> list[str]:
    """Give the name and all its beginnings that end before a separator, the longest first."""
    cuts = [match.start() for match in re.finditer(r"[-_. ]", stem)]
    return [stem, *(stem[:cut] for cut in reversed(cuts) if cut)]
