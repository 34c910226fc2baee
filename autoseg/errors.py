"""The errors that autoseg raises; each message names the file, the value and the remedy."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Stand around what a sentence tells of a patient, only until a `Told` is made of it.
_BEGIN, _END = "\ue000", "\ue001"


def private(name: object) -> str:
    """Mark a patient's ID, or the name of a case, file or folder, in words that a `Told` is made of."""
    return f"{_BEGIN}{name}{_END}"


class Told(str):
    """A sentence that knows where in it IDs of patients, and names of their cases and files, stand.

    It is a text like any other, with all of them; `named` gives it with others in their place.

    Examples
    --------
    >>> words = Told(f"On {private('22_t1')} are 22 pixels.")
    >>> words == "On 22_t1 are 22 pixels."
    True
    >>> words.named(lambda name: "patient 1")
    'On patient 1 are 22 pixels.'
    """

    parts: tuple[str, ...]  # every second one is private

    def __new__(cls, words: str) -> Told:
        """Give the text without its marks."""
        parts = words.parts if isinstance(words, Told) else tuple(re.split(f"[{_BEGIN}{_END}]", words))
        made = super().__new__(cls, "".join(parts))
        made.parts = parts
        return made

    def __str__(self) -> str:
        """Stay what it is where an error or an event is asked for its words."""
        return self

    def named(self, naming: Callable[[str], str], rest: Callable[[str], str] = str) -> str:
        """Give it with `naming` of each private name in its place, and `rest` of what stands between."""
        return "".join(naming(part) if number % 2 else rest(part) for number, part in enumerate(self.parts))


class AutosegError(Exception):
    """Base of every error that autoseg raises on purpose; its text, a `Told`, is written for a clinician."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(Told(one) if isinstance(one, str) else one for one in told))


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


class UnlabelledError(DataError):
    """Images have no label files, and nobody said that these are to be left out."""


class NoLabelsError(DataError):
    """A folder holds images and not one label file: nothing was drawn yet."""


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


class PacsError(AutosegError):
    """A PACS cannot be used as it was asked: unknown, not allowed, or it gives something else."""


class PacsGoneError(PacsError):
    """A PACS does not answer, or does not answer any more; it may do later."""


class ClusterError(AutosegError):
    """Other processes or computers, which were to do the work, cannot be reached, or are not as this one."""


class AreaWarning(UserWarning):
    """Areas may be wrong: whoever uses them must look first."""


# --- a computer whose memory is full, and a file whose parts lie in each other without end

# What torch, its libraries and OpenCV say of it in errors that have no kind of their own, in small letters.
_FULL = (
    "out of memory",
    "outofmemory",
    "not enough memory",
    "insufficient memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "alloc_failed",
)
FEWER = "Close other programs, or choose fewer images or patients at once."
LEARN_SMALLER = "Choose fewer images at once (batch) or larger pixels, or close other programs, then start again."


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the memory of the processor or of the GPU was not enough.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("MPS backend out of memory"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes do not fit")), is_out_of_memory(KeyError("out of memory"))
    (False, False)
    """
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, MemoryError) or "OutOfMemoryError" in kinds:
        return True
    # OpenCV's error is of no kind that this room knows.
    can_say = isinstance(error, RuntimeError) or type(error).__module__ == "cv2"
    return can_say and any(word in str(error).lower() for word in _FULL)


def in_words(error: BaseException, what: str, remedy: str = FEWER) -> AutosegError | None:
    """Give the sentence for a memory that is full ("… was not enough {what}. {remedy}"), or for endless nesting.

    None where an error is neither, or says it already.
    """
    if isinstance(error, AutosegError):
        return None
    if is_out_of_memory(error):
        return DataError(f"There was not enough memory {what}. {remedy}")
    if isinstance(error, RecursionError):
        return DataError(
            f"This cannot be done {what}: a file holds parts within parts without end, so it is damaged or none "
            "of its kind. Take away the file that was added last, and try again."
        )
    return None


@contextmanager
def enough_memory(what: str, remedy: str = FEWER) -> Iterator[None]:
    """Turn what `in_words` knows into its sentence."""
    try:
        yield
    except Exception as error:
        told = in_words(error, what, remedy)
        if told is None:
            raise
        raise told from error


def let_go(error: BaseException) -> None:
    """Free what the functions that failed held: the slices would fill the memory that the next try needs."""
    known: BaseException | None = error
    seen: list[BaseException] = []
    while known is not None and known not in seen:
        seen.append(known)
        traceback.clear_frames(known.__traceback__)
        known = known.__cause__ or known.__context__
