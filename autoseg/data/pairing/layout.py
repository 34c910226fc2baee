"""What pairing gives: images with their label files, and what was left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoseg.errors import UnlabelledError
from autoseg.files.sources import ImageFile, LabelFile, SkippedFile, walk
from autoseg.files.tables import EARLIER_FOLDER
from autoseg.words import in_words, natural

Unlabelled = Literal["refuse", "skip"]
TABLES_AND_TEXTS = (".json", ".tsv", ".csv", ".md")

# How images without labels are left out: in the notebook, on the command line.
LEAVING_OUT = "tick that in the notebook, or add --leave-out-unlabelled on the command line"


@dataclass(frozen=True)
class FilePair:
    """What a `Case` begins with: an image (its channels), its label files, why they belong together, and whose."""

    case_id: str
    subject_id: str
    images: tuple[ImageFile, ...]
    labels: tuple[LabelFile, ...]
    rule: str = ""
    subject_rule: str = ""
    site: str = ""
    levels_path: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """The pairs of a folder, the channels, the files that were left alone, and sentences on what was concluded.

    `stacked` are what pictures would be called that are slices of a stack.
    """

    pairs: tuple[FilePair, ...]
    channels: tuple[str, ...] = ("image",)
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    stacked: frozenset[str] = frozenset()


def pair(
    case_id: str,
    subject_id: str,
    images: Sequence[ImageFile],
    found: Sequence[tuple[LabelFile, str]],
    subject_rule: str = "PatientID",
    **more: Any,
) -> FilePair:
    """Give the pair of an image and the label files that were found for it, each with the rule that found it."""
    labels = sorted((file for file, _ in found), key=lambda file: natural(file.path))
    rules = " or ".join(dict.fromkeys(rule for _, rule in found))
    return FilePair(case_id, subject_id, tuple(images), tuple(labels), rules, subject_rule, **more)


def leave_out(
    images: Mapping[Path, str],
    unlabelled: Unlabelled,
    lacking: str,
    *,
    folder: Path,
    remedy: str,
    what: Literal["image", "series"] = "image",
) -> list[SkippedFile]:
    """Give images (their names by their first files) that lack labels as left alone, or refuse them."""
    if images and unlabelled == "refuse":
        raise UnlabelledError(
            f"{in_words(list(images.values()), what)} in {folder} without {lacking}. {remedy}, or leave these "
            f"{'images' if what == 'image' else what} out ({LEAVING_OUT})."
        )
    return [SkippedFile(path, f"{'an' if what == 'image' else 'a'} {what} without {lacking}") for path in images]


def visible_files(folder: Path) -> list[Path]:
    """Give every file that is not hidden, 2.png before 10.png; links to folders are not followed.

    Labels that a correction replaced lie in a folder of their own, which is left out.
    """
    return [path for path in walk(folder)[0] if EARLIER_FOLDER not in path.relative_to(folder).parts]
