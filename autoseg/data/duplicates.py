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
# Correlation of two such pictures from which they count as one slice. Copies with another window, gamma or noise,
# in JPEG or at half the matrix had 0.96 to 1 (median 0.99); no two people of five real sets had more than 0.945.
NEARLY_THE_SAME = 0.97
# A picture with less contrast than this (its standard deviation over its range) shows hardly anything.
FLAT = 0.02


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What a split needs to know of a case's files: `case_facts` reads it off.

    `digest` stands for the image's pixels, `thumbnails` (slices, 32 × 32) show its slices, `labels` are those
    that occur in its label map, `uids` the identifiers of its DICOM series (and of its study, where that is known).
    """

    digest: str
    thumbnails: npt.NDArray[np.float32]
    labels: frozenset[int] = frozenset()
    uids: frozenset[str] = frozenset()

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
    return CaseFacts(digest, _thumbnails(image.channel_voxels[0]), labels, uids)


@dataclass(frozen=True)
class Duplicate:
    """Two cases, by case_id, that are one in disguise; `what` is the rest of a sentence about them."""

    one: str
    two: str
    what: str


def find_duplicate(some: Mapping[str, CaseFacts], others: Mapping[str, CaseFacts]) -> Duplicate | None:
    """Find a case of the first group that is, in disguise, one of the second.

    The same image, the same DICOM study or series, or a slice that looks nearly the same: a copy saved with
    another window, matrix or file format. Slices on which hardly anything is to be seen are not compared.
    """
    digests = {facts.digest: case_id for case_id, facts in some.items()}
    uids = {uid: case_id for case_id, facts in some.items() for uid in facts.uids}
    for case_id, facts in others.items():
        if facts.digest in digests:
            return Duplicate(digests[facts.digest], case_id, "have identical pixels")
        for uid in sorted(facts.uids & set(uids)):
            return Duplicate(uids[uid], case_id, f"are of the same DICOM study or series ({uid})")
    shown = [(case_id, picture) for case_id, facts in some.items() for picture in shown_slices(facts)]
    if not shown:
        return None
    table = np.stack([picture for _, picture in shown])
    for case_id, facts in others.items():
        likeness = (table @ shown_slices(facts).T).max(axis=1, initial=0)
        if likeness.max() >= NEARLY_THE_SAME:
            what = f"show nearly the same slice (correlation {likeness.max():.4f})"
            return Duplicate(shown[int(likeness.argmax())][0], case_id, what)
    return None


def shown_slices(facts: CaseFacts, width: float | None = None) -> npt.NDArray[np.float32]:
    """Give the thumbnails that show something, with mean 0 and length 1, shape (n, pixels).

    They do so by their contrast over the `width` of the image's intensities, or by default over their own.
    """
    flat = facts.thumbnails.reshape(len(facts.thumbnails), -1)
    shows = flat.std(1) > FLAT * np.maximum(np.ptp(flat, axis=1) if width is None else width, 1e-9)
    centred = flat[shows] - flat[shows].mean(1, keepdims=True)
    length: npt.NDArray[np.float32] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return length


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
