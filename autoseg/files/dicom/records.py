"""DICOM attributes as plain values, and what is kept of files: small records with no patient name in them."""

from __future__ import annotations

import io
import math
import os
import struct
import threading
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.filereader import read_dataset as explicit_dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian as DEFLATED

from autoseg.errors import LabelError, ReadError
from autoseg.files.arrays import BLANK, PACKED, check_claim, unpacked
from autoseg.image.image import Acquisition, Image
from autoseg.words import counted, size_words

# --- attributes of a DICOM dataset as plain values, whatever state they are in

Vector = tuple[float, ...]
# What pydicom and its plug-ins raise on damaged files; MemoryError and KeyboardInterrupt pass through.
PYDICOM_ERRORS = (
    ArithmeticError, AttributeError, BytesLengthException, EOFError, InvalidDicomError, LookupError, OSError,
    RuntimeError, StopIteration, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


class _Quiet:
    """Ignores warnings while anybody reads: filters are the whole process's, and panels read in several threads.

    Any other thread that leaves a `catch_warnings` of its own puts the filters of before back, so values are
    not even checked meanwhile: that setting nobody else touches.
    """

    def __init__(self) -> None:
        self.lock, self.readers = threading.Lock(), 0
        self.before, self.checks = warnings.catch_warnings(), pydicom.config.WARN

    def __enter__(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                warnings.simplefilter("ignore")
                self.checks = pydicom.config.settings.reading_validation_mode
                pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
            self.readers += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:  # else another thread would hear what it must not
                pydicom.config.settings.reading_validation_mode = self.checks
                self.before.__exit__(None, None, None)


_QUIET = _Quiet()


def quiet() -> _Quiet:
    """Keep pydicom's warnings (odd UIDs and value representations) from the user."""
    return _QUIET


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Give an attribute's value; pydicom converts it only now, and fails on what is no number."""
    try:
        return dataset.get(keyword)
    except PYDICOM_ERRORS:
        return "unreadable"


def text_of(dataset: Dataset, keyword: str) -> str:
    """Give an attribute as text without padding, "" where it is missing."""
    value = value_of(dataset, keyword)
    value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return "" if value is None else str(value).strip(" \0")


def numbers_of(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """Give exactly `count` finite numbers, whatever value representation they were written with, or None."""
    try:
        value = dataset.get(keyword)
    except PYDICOM_ERRORS:  # numbers that are none of the kind that the header announces
        value = getattr(dataset.get_item(keyword), "value", None)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        value = value.strip(" \0").split("\\")
    try:
        numbers = tuple(float(number) for number in (value if isinstance(value, Sequence) else [value]))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """Give one finite number, or None."""
    numbers = numbers_of(dataset, keyword, 1)
    return numbers[0] if numbers else None


def shown(numbers: Sequence[float]) -> str:
    """Give numbers as a header shows them, for messages."""
    return "\\".join(f"{number:.4g}" for number in numbers)


def holder_of(dataset: Dataset, groups: Sequence[Dataset], sequence: str, keyword: str) -> Dataset:
    """Give the frame's or the shared functional group that holds the keyword, or else the header itself."""
    for group in groups:
        items = group.get(sequence)
        if items and keyword in items[0]:
            return items[0]
    return dataset


def reason_of(error: BaseException) -> str:
    """Give what pydicom says of a damaged file, on one line."""
    if isinstance(error, RecursionError):
        return "it holds parts within parts without end"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# --- a file as a dataset, whatever it was packed to

# A header takes kilobytes, of many frames some megabytes; behind the pixels little follows.
MOST_OF_HEADER, MOST_BEHIND = 2**26, 2**26
PIXEL_GROUP = 0x7FE0


def read_dataset(path: Path, *, pixels: bool = True) -> FileDataset:
    """Read a DICOM file, with its pixels or up to them; what is wrong with it is among PYDICOM_ERRORS."""
    with path.open("rb") as file:
        return dataset_of(path, file, pixels=pixels)


def dataset_of(
    path: Path, file: BinaryIO, *, pixels: bool = True, tags: list[BaseTag | int] | None = None
) -> FileDataset:
    """Read an open file, all of its header or certain `tags`, as `read_dataset` does; it stands at its pixels then.

    pydicom would unpack a deflated file to its end, which may be gigabytes: it is unpacked as far as its header
    says that it goes.
    """
    preamble = read_preamble(file, force=True)
    meta = _read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") == DEFLATED:
        dataset = _inflated(path, file, pixels=pixels, tags=tags)
        return FileDataset(str(path), dataset, preamble, meta, is_implicit_VR=False, is_little_endian=True)
    file.seek(0)
    return pydicom.dcmread(file, force=True, stop_before_pixels=not pixels, specific_tags=tags)


def _inflated(path: Path, file: BinaryIO, *, pixels: bool, tags: list[BaseTag | int] | None) -> Dataset:
    stored = os.fstat(file.fileno()).st_size - file.tell()
    pieces = unpacked(zlib.decompressobj(-zlib.MAX_WBITS), file, stored)
    data = io.BytesIO()
    reached: list[int] = []

    def at_pixels(tag: BaseTag, _: str | None, __: int) -> bool:
        if tag.group >= PIXEL_GROUP:
            reached.append(data.tell())
        return bool(reached)

    # In growing parts, as a header is small and pixels behind it are many.
    most = 2**20
    while not reached:
        is_whole = _fill(data, pieces, most)
        dataset = explicit_dataset(data, False, True, stop_when=at_pixels, specific_tags=tags)
        if is_whole:
            break
        if most >= MOST_OF_HEADER and not reached:
            raise ValueError(f"its header goes on for more than {size_words(most)}, which no header does")
        most = min(8 * most, MOST_OF_HEADER)
    if not pixels:
        return dataset
    needed = get_expected_length(dataset)
    check_claim(path, needed, pixels_words(dataset), stored=stored, most=PACKED, blank=BLANK)
    if not _fill(data, pieces, max(data.getbuffer().nbytes, sum(reached[:1]) + needed + MOST_BEHIND)):
        raise ValueError(f"behind its pixels more than {size_words(MOST_BEHIND)} follow, which belong to none")
    return explicit_dataset(data, False, True)


def _fill(data: io.BytesIO, pieces: Iterator[bytes], most: int) -> bool:
    """Add pieces until there are so many bytes, and go to the start; tell whether those were all."""
    size = data.seek(0, os.SEEK_END)
    while size < most and (piece := next(pieces, None)) is not None:
        size += data.write(piece)
    data.seek(0)
    return size < most


def pixels_words(dataset: Dataset) -> str:
    """Say in words how many pixels a header announces."""
    frames = int(number_of(dataset, "NumberOfFrames") or 1)
    return f"{counted(frames, 'frame')} of {dataset.Rows} × {dataset.Columns} pixels"


# The parts of a complex image, in the order of GE's own numbers for them.
COMPONENTS = ("magnitude", "phase", "real", "imaginary")


@dataclass(frozen=True)
class Taken:
    """When and how a slice was taken: what may order slices that lie at one position, the surest first.

    None, or an empty text, where the header does not say. The last two are seconds of the day.
    """

    temporal: float | None = None
    trigger_ms: float | None = None
    echo_ms: float | None = None
    b_value: float | None = None
    gradient: Vector | None = None
    image_type: str = ""
    acquisition: float | None = None
    acquired_s: float | None = None
    content_s: float | None = None


@dataclass(frozen=True)
class SliceHeader:
    """One slice: a single-frame file, or one frame of a multi-frame file.

    `position_mm` and `orientation` are DICOM's ImagePositionPatient and ImageOrientationPatient,
    `spacing_mm` is PixelSpacing (between rows, between columns); None where the header does not say, or
    says what cannot be. `slice_spacing_mm` is SpacingBetweenSlices, or else SliceThickness. `kind` is
    magnitude, phase, real or imaginary where the header says so. A slice of a mosaic is the tile number `frame`
    of a picture with `tiles` tiles across and down; `rows` and `columns` are the tile's. `faults` are sentences for
    the user.
    """

    path: Path
    frame: int
    sop_uid: str
    instance: float
    taken: Taken
    rows: int
    columns: int
    photometric: str
    position_mm: Vector | None
    orientation: Vector | None
    spacing_mm: Vector | None
    slice_spacing_mm: float | None
    slope: float
    intercept: float
    faults: tuple[str, ...] = ()
    tiles: int = 1
    kind: str = ""


@dataclass(frozen=True)
class FileHeader:
    """One DICOM image file: what names its series, and its slices.

    `subject_id` is the PatientID. Without one it is `study-` and eight hexadecimal digits made from the
    StudyInstanceUID, so that all series of a study stay together; without that too, `folder-` and eight digits
    made from the path of the file's folder, whose name may be a person's and is not shown. `refusal` says why
    the pixels cannot be read, or is empty. `acquisition` tells how the image was taken.
    """

    path: Path
    series_uid: str
    series_number: str
    subject_id: str
    description: str
    modality: str
    date: str
    localiser: bool
    refusal: str
    slices: tuple[SliceHeader, ...]
    acquisition: Acquisition = Acquisition()  # noqa: RUF009  # it never changes


# --- what objects that were drawn on an image have in common: segmentations and structure sets


def read_object(path: Path, kinds: Sequence[str], *, what: str) -> FileDataset:
    """Read a DICOM file without its pixels; a file without preamble and meta header is read too."""
    try:
        dataset = read_dataset(path, pixels=False)
    except PYDICOM_ERRORS as error:
        raise ReadError(
            f"{path} cannot be read as a {what} ({reason_of(error)}). Check the name, or copy or export it again."
        ) from error
    kind = text_of(dataset, "SOPClassUID")
    if kind not in kinds:
        found = f"{pydicom.uid.UID(kind).name}" if kind else "a file that does not say what it holds"
        raise ReadError(f"{path} is no {what}, but {found}. Choose the file that holds the drawn structures.")
    return dataset


def items(dataset: Dataset, keyword: str) -> Iterable[Dataset]:
    """Give the items of a sequence; none where it is missing or empty."""
    return dataset.get(keyword) or ()


def slices_by_instance(image: Image) -> dict[str, list[int]]:
    """Give the indices of an image's slices by their SOP instance UID; a multi-frame file has several."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(image.source.slices):
        if source.sop_uid:
            found[source.sop_uid].append(index)
    return dict(found)


def other_image(path: Path, series_uids: Sequence[str], image: Image) -> LabelError:
    """Give the error that says that labels belong to another image; it names both."""
    drawn = f"on series {', '.join(series_uids)}" if series_uids else "on an image that it does not name"
    own = image.source.series_uid
    return LabelError(
        f"{path} was drawn {drawn}; nothing in it lies on a slice of {image.source.name}"
        f"{f' (series {own})' if own else ''}. Choose the labels of this image, or the image of these labels."
    )
