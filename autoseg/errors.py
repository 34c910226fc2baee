"""The errors that autoseg raises; each message names the file, the value and the remedy."""

from __future__ import annotations

from pathlib import Path


class AutosegError(Exception):
    """Base of every error that autoseg raises on purpose; its text is written for a clinician."""


class GeometryError(AutosegError):
    """Millimetres are unknown, contradictory or impossible."""


class TwoSizesError(GeometryError):
    """A header gives two sizes of its voxels, and nobody has said which holds.

    `path` is the file, `sform_mm` and `pixdim_mm` are the two, along the axes of the file.
    """

    def __init__(self, message: str, path: Path, sform_mm: tuple[float, ...], pixdim_mm: tuple[float, ...]) -> None:
        super().__init__(message, path, sform_mm, pixdim_mm)
        self.path, self.sform_mm, self.pixdim_mm = path, sform_mm, pixdim_mm

    def __str__(self) -> str:
        return str(self.args[0])


class ReadError(AutosegError):
    """A file cannot be read, or is not what its place says it is."""


class LabelError(AutosegError):
    """A label file holds values or a shape that do not fit its image or the structures table."""


class UnclearLabelsError(LabelError):
    """A label file leaves its labels open, and a person can say how to take it.

    `way` is the kind of repair that says so ("threshold", "nearest"), `values` are those that it would give, and
    `pixels` how many are in doubt.
    """

    def __init__(self, message: str, way: str, values: tuple[int, ...] = (), pixels: int = 0) -> None:
        super().__init__(message, way, values, pixels)
        self.way, self.values, self.pixels = way, values, pixels

    def __str__(self) -> str:
        return str(self.args[0])


class DataError(AutosegError):
    """A folder or a set of cases cannot be used as it is."""


class OutdatedError(DataError):
    """What is to be kept rests on a table beside the data that another program has changed since it was read."""


class SettingsError(AutosegError):
    """A setting has a value that cannot work; `setting` is its name in `Settings` ("network.filters")."""

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class ModelFileError(AutosegError):
    """A model file is missing, damaged, or was not written by autoseg."""


class OutputError(AutosegError):
    """A result cannot be written where it was asked for."""


class AreaWarning(UserWarning):
    """Areas may be wrong: whoever uses them must look first."""
