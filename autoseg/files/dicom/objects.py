"""What DICOM objects that were drawn on an image have in common: segmentations and structure sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset

from autoseg.errors import LabelError, ReadError
from autoseg.files.dicom.records import PYDICOM_ERRORS, text_of
from autoseg.image.image import Image


def read_object(path: Path, kinds: Sequence[str], *, what: str) -> FileDataset:
    """Read a DICOM file without its pixels; a file without preamble and meta header is read too."""
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    except PYDICOM_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ReadError(
            f"{path} cannot be read as a {what} ({reason}). Check the name, or copy or export it again."
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
