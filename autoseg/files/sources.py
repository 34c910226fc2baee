"""Where the image and the labels of a case lie on the disk, in the words of every kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.files.dicom.series import SkippedFile

VOLUME_ENDINGS = (".nii", ".nii.gz")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")


@dataclass(frozen=True)
class ImageFile:
    """One channel of an image: a file, one frame of a file, or all files of a DICOM series.

    `frame` counts from 0: the frame of a multi-frame DICOM, the time point of a NIfTI; None means the whole file.
    `others` are the further files of a series that is read as one volume, `part` is its place among the images
    that the series gives.
    """

    path: Path
    frame: int | None = None
    others: tuple[Path, ...] = ()
    part: int = 0


@dataclass(frozen=True)
class LabelFile:
    """One label file. `token` is what its name adds to the image's (`gmseg-manual`), `rater` who drew it.

    A file that is `binary` marks one structure, named by its token, with any value above 0; otherwise its values
    are labels.
    """

    path: Path
    token: str = ""
    rater: str = ""
    binary: bool = False


@dataclass(frozen=True)
class FilePair:
    """An image (its channels) and its label files; `rule` says in a few words why they belong together."""

    name: str
    subject_id: str
    images: tuple[ImageFile, ...]
    labels: tuple[LabelFile, ...]
    rule: str = ""
    site: str = ""
    levels_path: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """The pairs of a folder, the names of the channels, and the files that were left alone."""

    pairs: tuple[FilePair, ...]
    channels: tuple[str, ...] = ("image",)
    skipped: tuple[SkippedFile, ...] = ()


def name_without_ending(path: Path) -> str:
    """Give a file's name without its ending (`.nii.gz` is one), unless the ending is a number.

    Examples
    --------
    >>> [name_without_ending(Path(name)) for name in ("leg_07.dcm", "leg_07", "CT.1.2.840", "t2.nii.gz")]
    ['leg_07', 'leg_07', 'CT.1.2.840', 't2']
    """
    if path.name.lower().endswith(".nii.gz"):
        return path.name[:-7]
    return path.name if path.suffix[1:].isdecimal() else path.stem


def ending(path: Path) -> str:
    """Give the ending in small letters; `.nii.gz` is one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


# How images without labels are left out: in the notebook, in code, on the command line.
LEAVING_OUT = (
    "tick that under 'How to read the files', or in code unlabelled='skip', on the command line "
    "--leave-out-unlabelled"
)
