"""What stands for people, images and labels without naming or showing them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.cases import Case
from autoseg.image.image import Image, LabelMap


def subject_fingerprint(subject_id: str) -> str:
    """Give 12 hexadecimal digits that stand for a subject without naming it."""
    return hashlib.sha256(f"autoseg subject {subject_id}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Side:
    """What a training learnt from, or validated on, without names: numbers and fingerprints.

    `subject_prints` are those of `subject_fingerprint`, `names_print` stands for the names of the
    cases and whose they are, `voxels_print` for every voxel of their images and labels.
    """

    cases: int = 0
    subjects: int = 0
    slices: int = 0
    subject_prints: tuple[str, ...] = ()
    names_print: str = ""
    voxels_print: str = ""

    def __str__(self) -> str:
        return f"{self.cases} case(s) of {self.subjects} subject(s) with {self.slices} slice(s)"


def describe_side(cases: Sequence[Case], pairs: Sequence[tuple[Image, LabelMap]]) -> Side:
    """Give the numbers and fingerprints of the cases, read as `pairs`, whatever their order."""
    named, seen = [], []
    for case, (image, label_map) in zip(cases, pairs, strict=True):
        named.append(f"{case.case_id}\n{case.subject_id}")
        seen.append(_voxels_print(image, label_map))
    subjects = {case.subject_id for case in cases}
    return Side(
        cases=len(cases),
        subjects=len(subjects),
        slices=sum(image.shape[0] for image, _ in pairs),
        subject_prints=tuple(sorted(map(subject_fingerprint, subjects))),
        names_print=_print_of(named),
        voxels_print=_print_of(seen),
    )


def _print_of(words: Sequence[str]) -> str:
    return hashlib.sha256("\n\n".join(sorted(words)).encode()).hexdigest() if words else ""


def _voxels_print(image: Image, label_map: LabelMap) -> str:
    """Give the fingerprint of an image as it was read, its millimetres and what was drawn on it."""
    digest = hashlib.sha256()
    for voxels in (image.voxels, label_map.voxels):
        digest.update(f"{voxels.shape} {voxels.dtype}".encode())
        digest.update(np.ascontiguousarray(voxels).tobytes())
    # Nine digits hold every usual spacing and none of the rounding that differs between computers.
    spacing_mm = () if image.affine is None else image.spacing_mm
    drawn = [s.label for s in label_map.structures if label_map.is_annotated(s.label)]
    digest.update(f"{[format(mm, '.9g') for mm in spacing_mm]} {drawn}".encode())
    return digest.hexdigest()
