"""What stands for people, images and labels without naming or showing them: pseudonyms and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoseg.data.cases import Case
from autoseg.image.image import Image, LabelMap
from autoseg.words import counted

# How checkpoints call what was renamed since their format was made.
STORED = {
    "subject_pseudonyms": "subject_prints",
    "names_digest": "names_print",
    "voxels_digest": "voxels_print",
}


def subject_pseudonym(subject_id: str) -> str:
    """Give 12 hexadecimal digits that stand for a subject without naming it."""
    return hashlib.sha256(f"autoseg subject {subject_id}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Side:
    """What a training learnt from, or validated on, without names: numbers, pseudonyms and digests.

    `subject_pseudonyms` are those of `subject_pseudonym`, `names_digest` stands for the names of the cases and
    whose they are, `voxels_digest` for every voxel of their images and labels.
    """

    cases: int = 0
    subjects: int = 0
    slices: int = 0
    subject_pseudonyms: tuple[str, ...] = ()
    names_digest: str = ""
    voxels_digest: str = ""

    def __str__(self) -> str:
        return (
            f"{counted(self.cases, 'case')} of {counted(self.subjects, 'subject')} "
            f"with {counted(self.slices, 'slice')}"
        )

    def stored(self) -> dict[str, Any]:
        """Give the values as a checkpoint keeps them, under the names of its format."""
        return {STORED.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Side:
        """Give the side that a checkpoint keeps."""
        own = {name: values[STORED.get(name, name)] for name in cls.__dataclass_fields__}
        return cls(**{**own, "subject_pseudonyms": tuple(own["subject_pseudonyms"])})


def describe_side(cases: Sequence[Case], pairs: Sequence[tuple[Image, LabelMap]]) -> Side:
    """Give the numbers, pseudonyms and digests of the cases, read as `pairs`, whatever their order."""
    named, seen = [], []
    for case, (image, label_map) in zip(cases, pairs, strict=True):
        named.append(f"{case.case_id}\n{case.subject_id}")
        seen.append(_voxels_digest(image, label_map))
    subjects = {case.subject_id for case in cases}
    return Side(
        cases=len(cases),
        subjects=len(subjects),
        slices=sum(image.shape[0] for image, _ in pairs),
        subject_pseudonyms=tuple(sorted(map(subject_pseudonym, subjects))),
        names_digest=_digest_of(named),
        voxels_digest=_digest_of(seen),
    )


def _digest_of(words: Sequence[str]) -> str:
    return hashlib.sha256("\n\n".join(sorted(words)).encode()).hexdigest() if words else ""


def _voxels_digest(image: Image, label_map: LabelMap) -> str:
    """Give the digest of an image as it was read, its millimetres and what was drawn on it."""
    digest = hashlib.sha256()
    for voxels in (image.voxels, label_map.voxels):
        digest.update(f"{voxels.shape} {voxels.dtype}".encode())
        digest.update(np.ascontiguousarray(voxels).tobytes())
    # Nine digits hold every usual spacing and none of the rounding that differs between computers.
    spacing_mm = () if image.affine is None else image.spacing_mm
    drawn = [s.label for s in label_map.structures if label_map.is_annotated(s.label)]
    digest.update(f"{[format(mm, '.9g') for mm in spacing_mm]} {drawn}".encode())
    return digest.hexdigest()
