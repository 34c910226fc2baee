"""What a file's place and name say: image or label, of which case, with which addition, and whose image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.files.sources import name_without_ending

IMAGE_FOLDERS = {"images", "image", "imagestr", "imagests", "imagesval", "imgs", "dicoms", "dicom", "scans"}
LABEL_FOLDER = re.compile(
    r"(labels?|masks?|segmentations?|annotations?|contours?|contourfiles)([-_ ].*)?|labels(tr|ts|val)|derivatives"
)
GENERIC = {"label", "labels", "mask", "masks", "seg", "segs", "segmentation", "manual", "gt", "annotation", "roi"}
LABEL_WORD = re.compile(
    r"(?:^|[-_.])(?:[a-z]*seg|[a-z]*masks?|labels?|segmentation|annotation|lesions?)(?:$|[-_.])"
)
IMAGE_WORD = re.compile(r"(?:^|[-_.])(?:image|img|scan)$", re.IGNORECASE)
LEVELS = re.compile(r"[-_.]levels?$", re.IGNORECASE)
# nnU-Net keeps images to learn from, to test on and to validate on in folders of their own.
PART = re.compile(r"(?:images|labels)(tr|ts|val)")
TEST_IMAGES = "imagests"


@dataclass(frozen=True)
class Named:
    """A file, the folder it lies in without the words images and labels, and its name or key.

    `part` is "tr", "ts" or "val" in folders of nnU-Net, which hold what is learnt from or kept apart.
    """

    path: Path
    where: tuple[str, ...]
    key: str
    part: str = ""

    @property
    def is_test_image(self) -> bool:
        """Whether nnU-Net keeps it without a label, to be predicted."""
        return any(folder.lower() == TEST_IMAGES for folder in self.path.parts[:-1])


def is_label_folder(name: str) -> bool:
    """Tell by its name whether a folder holds labels: labels, labels_png, masks, derivatives."""
    return LABEL_FOLDER.fullmatch(name.lower()) is not None


def is_kind_folder(name: str) -> bool:
    """Tell by its name whether a folder holds one kind of files, images or labels, of a larger whole."""
    return name.lower() in IMAGE_FOLDERS or is_label_folder(name)


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
    part = next((match[1] for p in reversed(parents) if (match := PART.fullmatch(p.lower()))), "")
    return Named(path, where, stem if of_label else IMAGE_WORD.sub("", stem), part)


def telling_words(key: str) -> frozenset[str]:
    """Give the words of a name that do not only say that it is an image or a label."""
    words = [word for word in re.split(r"[-_. ]", key.lower()) if word]
    return frozenset(word for word in words if word not in GENERIC and word not in ("image", "img", "scan"))


def beginnings(stem: str) -> list[str]:
    """Give the name and all its beginnings that end before a separator, the longest first."""
    cuts = [match.start() for match in re.finditer(r"[-_. ]", stem)]
    return [stem, *(stem[:cut] for cut in reversed(cuts) if cut)]


# --- whose image a file shows, where the file itself does not say it

# Names by which projects are known to mark a person; the first group is the subject.
PATTERNS = (
    (
        "BIDS name (sub-…)",
        re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+?)(?=(?:(?<=\d)ses-?\d+)?(?:[/_.]|$))", re.IGNORECASE),
    ),
    ("TCGA name", re.compile(r"(?:^|/)(TCGA[-_][A-Za-z0-9]{2}[-_][A-Za-z0-9]{4})(?![A-Za-z0-9])")),
    ("site and patient in the name", re.compile(r"(?:^|/)(site[-_]?\d+[-_]sc\d+)(?!\d)", re.IGNORECASE)),
)
SLICE_NUMBER = re.compile(r"[-_. ]*(?:slice|slc|frame|img|z)?[-_. ]?\(?\d+(?:-of-\d+)?\)?$", re.IGNORECASE)
# What a name may say beside the person: contrast, side, plane, moment.
OTHER_WORDS = (
    r"t1w?|t2w?|t2star|t2starw|pd|flair|dwi|adc|space|stir|fat|water|dixon|pre|post|contrast|left|right|axial|sagittal|coronal|"
    r"baseline|follow-?up|crop|cropped|ses-?\d+|run-?\d+|visit-?\d+|scan-?\d+|mri?|ct"
)
TRAILING = re.compile(rf"(?:[-_. ](?:{OTHER_WORDS}))+$", re.IGNORECASE)
FOLDER_OF_NOBODY = re.compile(rf"(?:{OTHER_WORDS})(?:[-_. ](?:{OTHER_WORDS}))*", re.IGNORECASE)
SLICE_WORD = re.compile(r"(?:slice|slc|frame)[-_. ]?\d+$", re.IGNORECASE)
SITE = re.compile(r"(?:^|/)(site[-_]?[A-Za-z0-9]+?)(?=[-_/])", re.IGNORECASE)


def subjects_by_name(places: Sequence[str]) -> tuple[dict[str, str], str]:
    """Tell from their places (paths below the folder, without ending) which images show one person, and by what.

    In this order: a known pattern (`sub-9709Ses1`, `TCGA_CS_4941`, `site1-sc01`) where it is found; the first
    folder that differs, unless it is a contrast, side or plane; what stands before the slice's number, where
    several images share it (`5_t2_slice3`); the name without contrast, side or moment; else each image is a person
    of its own.

    Examples
    --------
    >>> subjects_by_name(["p5_t2_slice1", "p5_t2_slice2", "p22_t2_slice1"])[0]
    {'p5_t2_slice1': 'p5', 'p5_t2_slice2': 'p5', 'p22_t2_slice1': 'p22'}
    >>> subjects_by_name(["leg_01", "leg_02"])[0]
    {'leg_01': 'leg_01', 'leg_02': 'leg_02'}
    """
    for rule, pattern in PATTERNS:
        matches = {place: match[1] for place in places if (match := pattern.search(place))}
        if matches:
            others, _ = subjects_by_name([place for place in places if place not in matches])
            return {place: matches.get(place) or others[place] for place in places}, rule
    people = _people_of_folders(places)
    if people is not None:
        return people, "one folder a patient"
    bases = {place: TRAILING.sub("", Path(place).name) for place in places}
    stems = {place: TRAILING.sub("", SLICE_NUMBER.sub("", base)) for place, base in bases.items()}
    groups = set(stems.values())
    numbered = all(SLICE_WORD.search(base) for base in bases.values())
    if all(groups) and places and (numbered or 1 < len(groups) < len(set(bases.values()))):
        return stems, "what stands before the slice's number"
    if len(set(bases.values())) < len(places):
        return bases, "the name without contrast, side or moment"
    return {place: Path(place).name for place in places}, "each image is a patient of its own"


def _people_of_folders(places: Sequence[str]) -> dict[str, str] | None:
    """Give the first folder that tells images apart and is not only a contrast, a side or a plane."""
    parents = {place: Path(place).parts[:-1] for place in places}
    for depth in range(max((len(parts) for parts in parents.values()), default=0)):
        names = {place: parts[depth] if depth < len(parts) else "" for place, parts in parents.items()}
        several = len(set(names.values())) > 1
        if several and not all(FOLDER_OF_NOBODY.fullmatch(name) for name in names.values() if name):
            return {place: name or Path(place).name for place, name in names.items()}
    return None


def site_of(place: str) -> str:
    """Give the site that a place names (`site1` in `site1-sc01-image`), or nothing."""
    match = SITE.search(place)
    return match[1] if match else ""


def names_alike(subjects: Mapping[str, str]) -> dict[str, list[str]]:
    """Give subjects whose names differ only in capitals, separators or leading zeros, by their common form."""
    forms: dict[str, set[str]] = defaultdict(set)
    for subject in subjects.values():
        forms[re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[-_ .]", "", subject.casefold()))].add(subject)
    return {form: sorted(names) for form, names in forms.items() if len(names) > 1}
