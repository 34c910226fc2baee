"""Recognise a case by what its files hold: the same image under another name is no new image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.image.image import Image, LabelMap

# A slice is compared by a picture of this many pixels a side; finer ones would miss a shifted copy.
THUMBNAIL = 32
# Each slice's grey values are first cut off at these of its percentiles.
WINDOW = (1, 99)
# Correlation of two such pictures from which they look like one slice. Copies with another window, gamma or
# noise, in JPEG or at half the matrix had 0.96 to 1 (median 0.99); but nearly empty slices of two people can
# reach 0.97 too, so that likeness alone is asked about and never refused.
NEARLY_THE_SAME = 0.97
# A picture with less contrast than this (its standard deviation over its range) shows hardly anything.
FLAT = 0.02


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What a split needs to know of a case's files: `case_facts` reads it off.

    `digest` stands for the image's pixels, `thumbnails` (slices, 32 × 32) show its slices, `labels` are those
    that occur in its label map, `uids` the identifiers of its DICOM series (and of its study, where that is known).
    `slice_digests` stand for the pixels of each slice that shows something, in whatever type they were saved.
    """

    digest: str
    thumbnails: npt.NDArray[np.float32]
    labels: frozenset[int] = frozenset()
    uids: frozenset[str] = frozenset()
    slice_digests: frozenset[str] = frozenset()

    @property
    def slices(self) -> int:
        """How many slices the case has."""
        return len(self.thumbnails)


def case_facts(image: Image, label_map: LabelMap) -> CaseFacts:
    """Give what a split needs to know of a case, from its image and labels."""
    pixels = np.ascontiguousarray(image.voxels)
    digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    counts = np.bincount(label_map.voxels.ravel().astype(np.uint8), minlength=256)
    uids = frozenset({image.source.series_uid} - {""})
    labels = frozenset(np.flatnonzero(counts).tolist()) - {0}
    thumbnails = _thumbnails(image.channel_voxels[0])
    shown = np.flatnonzero(_shows(thumbnails.reshape(len(thumbnails), -1))).tolist()
    slices = frozenset(_slice_digest(image.voxels[..., index, :, :]) for index in shown)
    return CaseFacts(digest, thumbnails, labels, uids, slices)


def _slice_digest(pixels: npt.NDArray[np.generic]) -> str:
    same = np.ascontiguousarray(pixels, dtype=np.float64)
    return hashlib.sha256(str(same.shape).encode() + same.tobytes()).hexdigest()


@dataclass(frozen=True)
class Duplicate:
    """Two cases, by case_id, that are one in disguise; `what` is the rest of a sentence about them."""

    one: str
    two: str
    what: str


def find_duplicate(some: Mapping[str, CaseFacts], others: Mapping[str, CaseFacts]) -> Duplicate | None:
    """Find a case of the first group that is, in disguise, one of the second.

    The same image, the same DICOM study or series, or a slice with the same pixels. Slices on which hardly
    anything is to be seen are not compared, and what merely looks alike is no duplicate: the check asks about that.
    """
    digests = {facts.digest: case_id for case_id, facts in some.items()}
    uids = {uid: case_id for case_id, facts in some.items() for uid in facts.uids}
    for case_id, facts in others.items():
        if facts.digest in digests:
            return Duplicate(digests[facts.digest], case_id, "have identical pixels")
        for uid in sorted(facts.uids & set(uids)):
            return Duplicate(uids[uid], case_id, f"are of the same DICOM study or series ({uid})")
    slices = {digest: case_id for case_id, facts in some.items() for digest in facts.slice_digests}
    for case_id, facts in others.items():
        for digest in facts.slice_digests & set(slices):
            return Duplicate(slices[digest], case_id, "have a slice with identical pixels")
    return None


def shown_slices(facts: CaseFacts, width: float | None = None) -> npt.NDArray[np.float32]:
    """Give the thumbnails that show something, with mean 0 and length 1, shape (n, pixels).

    They do so by their contrast over the `width` of the image's intensities, or by default over their own.
    """
    flat = facts.thumbnails.reshape(len(facts.thumbnails), -1)
    shows = _shows(flat, width)
    centred = flat[shows] - flat[shows].mean(1, keepdims=True)
    length: npt.NDArray[np.float32] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return length


def _shows(flat: npt.NDArray[np.float32], width: float | None = None) -> npt.NDArray[np.bool_]:
    return np.asarray(flat.std(1) > FLAT * np.maximum(np.ptp(flat, axis=1) if width is None else width, 1e-9))


def _thumbnails(voxels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Average slices (slices, rows, columns) over a coarse grid; small ones repeat their pixels."""
    result = np.nan_to_num(voxels.astype(np.float32), posinf=0, neginf=0)
    # A few bright vessels would decide, and a copy with another window does not have them.
    low, high = np.percentile(result, WINDOW, axis=(1, 2), keepdims=True)
    result = np.clip(result, low, high)
    for axis in (1, 2):
        edges = np.linspace(0, result.shape[axis], THUMBNAIL + 1)
        # Whole and partial pixels alike: differences of the running sum at fractional places.
        total = np.insert(result.cumsum(axis=axis, dtype=np.float64), 0, 0, axis=axis)
        low = np.floor(edges).astype(int)
        high = np.minimum(low + 1, result.shape[axis])
        shape = [1] * 3
        shape[axis] = -1
        part = (edges - low).reshape(shape)
        at_edges = total.take(low, axis=axis) * (1 - part) + total.take(high, axis=axis) * part
        result = np.diff(at_edges, axis=axis)
    return result.astype(np.float32)
