"""The errors that autoseg raises; each message names the file, the value and the remedy."""


class AutosegError(Exception):
    """Base of every error that autoseg raises on purpose; its text is written for a clinician."""


class GeometryError(AutosegError):
    """Millimetres are unknown, contradictory or impossible."""


class ReadError(AutosegError):
    """A file cannot be read, or is not what its place says it is."""


class LabelError(AutosegError):
    """A label file holds values or a shape that do not fit its image or the structures table."""


class DataError(AutosegError):
    """A folder or a set of cases cannot be used as it is."""


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
