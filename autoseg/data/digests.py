"""What stands for people, images and labels without naming or showing them: pseudonyms, fingerprints and digests.

A pseudonym is a plain digest: whoever knows how a hospital's IDs look tries all of them within a minute. What a
model's or a checkpoint's file keeps of people is therefore sealed (`Seal`): a fingerprint is the pseudonym again,
with a salt of that file's own, by scrypt, which makes every guess slow.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.cases.read import files_of
from autoseg.data.codes import original
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.words import counted

# How checkpoints call what was renamed since their format was made.
STORED = {
    "subject_fingerprints": "subject_prints",
    "names_digest": "names_print",
    "voxels_digest": "voxels_print",
}


# What one guess costs by scrypt (n, r, p): 32 MiB, and about 0.1 s. Files keep theirs, so that this can be raised.
COST = (2**15, 8, 1)
# A damaged or hostile file cannot ask for more memory than this, in bytes.
MOST_MEMORY = 2**28
SEALED = "scrypt"


def subject_pseudonym(subject_id: str) -> str:
    """Give 12 hexadecimal digits that stand for a subject; for this computer alone, as they are soon guessed.

    They are the same where a code stands for the subject (`autoseg.data.codes`).
    """
    own = original(subject_id)
    return hashlib.sha256(f"autoseg subject {own}".encode(errors="surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True)
class Seal:
    """The salt of one training, in hexadecimal digits, and what one guess costs.

    Examples
    --------
    >>> seal = Seal("00ff", n=16)
    >>> seal.close(["0123456789ab"])
    ('scrypt$16$8$1$00ff$11ab439410258b306209060f',)
    """

    salt: str
    n: int = COST[0]
    r: int = COST[1]
    p: int = COST[2]

    @classmethod
    def new(cls) -> Seal:
        """Give a seal that no other file has."""
        return cls(secrets.token_hex(16), *COST)

    @classmethod
    def of(cls, kept: str) -> Seal | None:
        """Give the seal that a digest was closed with; None of one that lies open, as they once did."""
        kind, *parts = kept.split("$")
        if not parts:
            return None
        n, r, p, salt, _ = parts
        seal = cls(bytes.fromhex(salt).hex(), int(n), int(r), int(p))
        is_possible = min(seal.r, seal.p, seal.n - 1) > 0 and seal.n & (seal.n - 1) == 0
        if kind != SEALED or not is_possible or 128 * seal.n * seal.r * seal.p > MOST_MEMORY:
            raise ValueError(f"it holds a fingerprint that cannot be read ({kept[:40]!r})")
        return seal

    def close(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Close digests that lie open, so that each guess is slow; those that are closed stay as they are.

        That of the same digest is found again without a guess as long as the program runs.
        """
        wanted = tuple(digests)
        lying_open = [one for one in wanted if "$" not in one]
        # The lock of the interpreter is free meanwhile.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            closed = dict(
                zip(lying_open, pool.map(lambda one: _closed(one, *astuple(self)), lying_open), strict=True)
            )
        return tuple(closed.get(one, one) for one in wanted)


@lru_cache(maxsize=2**16)
def _closed(digest: str, salt: str, n: int, r: int, p: int) -> str:
    key = hashlib.scrypt(digest.encode(), salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=2 * MOST_MEMORY, dklen=12)
    return f"{SEALED}${n}${r}${p}${salt}${key.hex()}"


def known_subjects(subject_ids: Iterable[str], fingerprints: Iterable[str]) -> frozenset[str]:
    """Give those of the subjects for whom a fingerprint of a model or a checkpoint stands, of any version."""
    kept, people, known = frozenset(fingerprints), sorted(set(subject_ids)), set()
    for seal in {Seal.of(one) for one in kept}:
        pseudonyms = [subject_pseudonym(subject) for subject in people]
        closed = pseudonyms if seal is None else seal.close(pseudonyms)
        known |= {subject for subject, one in zip(people, closed, strict=True) if one in kept}
    return frozenset(known)


@dataclass(frozen=True)
class Side:
    """What a training learnt from, or validated on, without names: numbers, pseudonyms and digests.

    `subject_fingerprints` stand for the subjects and `names_digest` for the names of the cases and whose they are,
    both sealed; `voxels_digest` is of every voxel of their images and labels.
    """

    cases: int = 0
    subjects: int = 0
    slices: int = 0
    subject_fingerprints: tuple[str, ...] = ()
    names_digest: str = ""
    voxels_digest: str = ""

    def __str__(self) -> str:
        return (
            f"{counted(self.cases, 'case')} of {counted(self.subjects, 'patient')} "
            f"with {counted(self.slices, 'slice')}"
        )

    def stored(self) -> dict[str, Any]:
        """Give the values as a checkpoint keeps them, under the names of its format."""
        return {STORED.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Side:
        """Give the side that a checkpoint keeps."""
        own = {name: values[STORED.get(name, name)] for name in cls.__dataclass_fields__}
        return cls(**{**own, "subject_fingerprints": tuple(own["subject_fingerprints"])})

    def sealed(self, seal: Seal) -> Side:
        """Give the same with all that tells of people sealed; what an earlier version left open is closed."""
        names = "".join(seal.close([self.names_digest])) if self.names_digest else ""
        people = tuple(sorted(seal.close(self.subject_fingerprints)))
        return replace(self, subject_fingerprints=people, names_digest=names)


def describe_side(cases: Sequence[Case], pairs: Sequence[tuple[Image, LabelMap]], seal: Seal) -> Side:
    """Give the numbers, fingerprints and digests of the cases, read as `pairs`, whatever their order."""
    return describe_read(cases, [(image.shape[0], pair_digest(image, labels)) for image, labels in pairs], seal)


def describe_read(cases: Sequence[Case], read: Sequence[tuple[int, str]], seal: Seal) -> Side:
    """Give the same from the number of slices and the `pair_digest` of each case."""
    # Whether codes stand for patients changes nothing of what was learnt from.
    names = [original(case.case_id) if case.is_coded else case.case_id for case in cases]
    subjects = {case.subject_id for case in cases}
    lying_open = Side(
        cases=len(cases),
        subjects=len(subjects),
        slices=sum(slices for slices, _ in read),
        subject_fingerprints=tuple(map(subject_pseudonym, subjects)),
        names_digest=_digest_of(
            [f"{name}\n{original(case.subject_id)}" for name, case in zip(names, cases, strict=True)]
        ),
        voxels_digest=_digest_of([digest for _, digest in read]),
    )
    return lying_open.sealed(seal)


def voxels_digest(pairs: Sequence[tuple[Image, LabelMap]]) -> str:
    """Give the digest of images as they were read, their millimetres and what was drawn, whatever their order."""
    return _digest_of([pair_digest(image, label_map) for image, label_map in pairs])


def _digest_of(words: Sequence[str]) -> str:
    together = "\n\n".join(sorted(words)).encode(errors="surrogatepass")
    return hashlib.sha256(together).hexdigest() if words else ""


def case_digest(case: Case, structures: Sequence[Structure]) -> str | None:
    """Give what changes when reading a case would give something else, without reading it; None without its files.

    Of its files the size, the place on the disk and the times of their last change count. A program can set one of
    these times (as programs that copy folders do), but hardly both.
    """
    stamps: list[tuple[int, ...] | None] = []
    for path in files_of(case):
        try:
            stamps.append(_stamp(path))
        except OSError:
            stamps.append(None)
    if stamps[0] is None:
        return None
    values = [asdict(case), stamps, [asdict(structure) for structure in structures]]
    words = json.dumps(values, default=lambda value: sorted(value) if isinstance(value, frozenset) else str(value))
    return hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()


def _stamp(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def files_stamp(paths: Sequence[Path], beside: object = ()) -> str:
    """Give what changes when the content of files or `beside` does, as `case_digest`, without reading them."""
    return hashlib.sha256(repr((beside, [_stamp(path) for path in paths])).encode()).hexdigest()


def files_digest(paths: Sequence[Path], folder: Path, beside: object = ()) -> str:
    """Give the digest of what files hold and of their names below a folder, wherever that lies; and of `beside`."""
    digest = hashlib.sha256(repr(beside).encode())
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def pair_digest(image: Image, label_map: LabelMap) -> str:
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
