"""A case: one image with its labels, as places on the disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from autoseg.data.codes import kind_of
from autoseg.data.repairs import Repair
from autoseg.errors import DataError, Told
from autoseg.files.sources import PICTURE_ENDINGS, ImageFile, LabelFile, SkippedFile, ending
from autoseg.image.structures import Structure
from autoseg.words import listed, name_private

# What the name of a part of a stack adds to that of the whole.
PART = re.compile(r"_s\d{3,}-\d{3,}$")


@dataclass(frozen=True)
class Reading:
    """What the files of a folder leave open.

    Parameters
    ----------
    channels : tuple of str
        Ends of the names of files that are one case's contrasts (`T1w`, `T2w`), the first one's grid counts; or
        names for the channels inside each picture ("pre-contrast", "FLAIR", "post-contrast").
    raters : {"majority", "staple", "mean"}
        How label files of several raters become one: what most drew, a weighing of the raters by their agreement
        (STAPLE), or the share of raters as soft labels.
    agreeing : int, optional
        Raters who must agree for "majority"; by default more than half.
    only_levels : bool
        Leave out slices to which no level was assigned.
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns of images whose files do not tell it.
    plane : {"axial", "coronal", "sagittal"}, optional
        Which slices to take from a volume; by default those in which its voxels are finest.
    trust_array : bool
        Take a NIfTI label whose coordinates differ from its image's as drawn on that image, voxel by voxel.
    single_pictures : bool
        Take pictures of one person that are numbered in order as images of their own, not as slices of one stack.
    """

    channels: tuple[str, ...] = ()
    raters: Literal["majority", "staple", "mean"] = "majority"
    agreeing: int | None = None
    only_levels: bool = False
    pixel_spacing_mm: tuple[float, float] | None = None
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    trust_array: bool = False
    single_pictures: bool = False

    def __post_init__(self) -> None:
        if self.raters not in ("majority", "staple", "mean"):
            raise DataError(f"Several raters can be joined by majority, staple or mean, not by {self.raters!r}.")
        spacing = self.pixel_spacing_mm
        if spacing is not None and not (len(spacing) == 2 and all(0 < mm < 1000 for mm in spacing)):
            raise DataError(
                f"The pixel spacing is {spacing}; give two numbers in mm: between rows, between columns."
            )


@dataclass(frozen=True)
class Case:
    """One image and its labels, as places on the disk: cheap to copy and to pickle.

    `case_id` is the image file's name without its ending, for a frame of a multi-frame file followed by `_001` and
    on; where files in several folders share a name, their folder comes first (`p1_IM0000`). `subject_id` is the
    DICOM's PatientID, or stands for the study where that is blank; without DICOM it is told by the names. `images`
    are the channels' files, `labels` the label files, of a stack of pictures one or more for a slice. `annotated`
    are the labels that were drawn here, None if all of them were; `unsaid` are those among them of which nobody has
    said so. `slices` (start, stop) cuts a case out of a stack, which has `whole_slices` slices where that was said.
    `values` says what stands for which label in the
    files; `channels` names the channels where a picture holds several. `rule` says why image and labels belong
    together, `subject_rule` what tells the subject. `repairs` mend the labels of the whole stack, `part_repairs`
    those of the part that was cut out. Where codes stand for patients (`autoseg.data.codes`), case_id and
    subject_id are codes, and `is_coded` says so.
    """

    case_id: str
    subject_id: str
    images: tuple[ImageFile, ...]
    labels: tuple[LabelFile, ...]
    annotated: frozenset[int] | None = None
    unsaid: frozenset[int] = frozenset()
    slices: tuple[int, int] | None = None
    whole_slices: int | None = None
    values: tuple[tuple[int | str, int], ...] = ()
    channels: tuple[str, ...] = ()
    site: str = ""
    levels_path: Path | None = None
    rule: str = ""
    subject_rule: str = ""
    reading: Reading = Reading()
    repairs: tuple[Repair, ...] = ()
    part_repairs: tuple[Repair, ...] = ()
    is_coded: bool = False

    @property
    def image_path(self) -> Path:
        """The first file of the image."""
        return self.images[0].path

    @property
    def label_path(self) -> Path:
        """The first label file."""
        return self.labels[0].path

    @property
    def is_picture_stack(self) -> bool:
        """Whether it is a stack of pictures, each with label files of its own."""
        return bool(self.images[0].others) and ending(self.image_path) in PICTURE_ENDINGS

    @property
    def file_count(self) -> int:
        """How many files each channel of the image has: of a stack of pictures all its slices."""
        return 1 + len(self.images[0].others)

    def label_on(self, slice_index: int | None) -> Path:
        """Give the label file of a slice (from 0 in the case), where there is one; else the first."""
        place = (slice_index or 0) + self.first_slice - 1
        return next((file.path for file in self.labels if file.slice_index == place), self.label_path)

    @property
    def rules(self) -> str:
        """Why image and labels belong together, and what tells the subject, in words."""
        return "; ".join(filter(None, (self.rule, self.subject_rule and f"patient: {self.subject_rule}")))

    @property
    def whole_id(self) -> str:
        """The name of the whole stack of which this is a part, or of the case."""
        return self.case_id if self.slices is None else PART.sub("", self.case_id)

    @property
    def is_part(self) -> bool:
        """Whether it is one of the parts of a stack, each named; what only lacks slices at its ends is none."""
        return self.case_id != self.whole_id

    @property
    def first_slice(self) -> int:
        """The number of its first slice, from 1 in the whole stack."""
        return 1 if self.slices is None else self.slices[0] + 1

    def is_drawn(self, label: int) -> bool:
        """Tell whether a structure was drawn here; if not, nothing is known of it."""
        return self.annotated is None or label in self.annotated

    def is_open(self, label: int) -> bool:
        """Tell whether a structure counts as drawn only because nobody has said otherwise."""
        return self.annotated is None or label in self.unsaid


@dataclass(frozen=True)
class Alike:
    """Names in the files that were taken for one structure because they look alike; nobody has said so yet.

    `label` and `name` are the structure's, `names` the further ones, `cases` those in whose files they stand,
    `both` those of them in whose files several of the structure's names stand.
    """

    label: int
    name: str
    names: tuple[str, ...]
    cases: tuple[str, ...]
    both: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What was concluded, as a sentence says it."""
        others = listed([repr(name) for name in self.names])
        verb = "is" if len(self.names) == 1 else "are"
        return Told(f"{others} on {name_private(self.cases)} {verb} taken for {self.name!r}.")


@dataclass(frozen=True)
class CaseFolder:
    """The cases of a folder, the structures their labels name, and the files that were left alone.

    `values` is what stands for the structures in the files (`files.tables.StructureTable`), `alike` what of it
    nobody has said; `notes` are sentences on what was concluded from names and files. `repairs` are all that
    repairs.csv had when the folder was read, `table` what structures.csv was then (empty where there was none; None
    if nobody looked): what rests on them is not written over what another program has said since.
    """

    folder: Path
    cases: tuple[Case, ...]
    structures: tuple[Structure, ...]
    skipped: tuple[SkippedFile, ...] = ()
    values: tuple[tuple[int | str, int], ...] = ()
    notes: tuple[str, ...] = ()
    alike: tuple[Alike, ...] = ()
    repairs: tuple[Repair, ...] = ()
    table: bytes | None = None

    def label_of(self, name: str) -> int:
        """Give the label of a structure by its name, capitals aside; DataError if there is none."""
        for structure in self.structures:
            if structure.name.casefold() == name.casefold():
                return structure.label
        raise DataError(f"No structure is called {name!r}. Known: {', '.join(s.name for s in self.structures)}.")


def pairs_table(case_folder: CaseFolder) -> pd.DataFrame:
    """Show which label file belongs to which image, one row a case, for the eye to check.

    Returns
    -------
    DataFrame
        Columns case_id, subject_id, image, frame, label (file names), drawn (names of the structures that were
        drawn) and rule (why image and label belong together, and what tells the subject); empty with these columns
        if there is no case.
    """
    columns = ["case_id", "subject_id", "image", "frame", "label", "drawn", "rule"]
    rows = [
        (
            case.case_id,
            case.subject_id,
            _names(case, case.images),
            case.images[0].frame or 0,
            _names(case, case.labels),
            ", ".join(s.name for s in case_folder.structures if case.is_drawn(s.label)),
            case.rules,
        )
        for case in case_folder.cases
    ]
    return pd.DataFrame(rows, columns=columns)


def _names(case: Case, files: Sequence[ImageFile | LabelFile]) -> str:
    """Name the files of a case, of a stack of pictures the first and the last; by their kind alone where coded."""
    names = [file.path.name if not case.is_coded else f"{case.case_id}{kind_of(file.path)}" for file in files]
    if not case.is_picture_stack:
        return ", ".join(names)
    if files is case.images:
        last = [image.others[-1].name for image in case.images]
        names = names if case.is_coded else [f"{one} … {other}" for one, other in zip(names, last, strict=True)]
        return f"{', '.join(names)} ({case.file_count} slices)"
    return names[0] if case.is_coded or len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)} files)"
