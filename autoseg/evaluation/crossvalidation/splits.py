"""The folds of some cases: read and checked once, for as many settings as are tried on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.digests import Seal
from autoseg.data.duplicates import CaseFacts, case_facts
from autoseg.data.split import Split, check_leaks, k_folds, subjects_of
from autoseg.errors import DataError
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.training.choose_postprocess import read_reference
from autoseg.words import name_private


@dataclass(frozen=True, eq=False)
class Folds:
    """The split of each fold, and a digest of each case's content, by which a change is noticed.

    All models of the folds know the same subjects, whose fingerprints get one `seal`.
    """

    structures: tuple[Structure, ...]
    splits: tuple[Split, ...]
    contents: Mapping[str, str]
    seal: Seal = field(default_factory=Seal.new)

    def made_from(self, number: int) -> dict[str, Any]:
        """Give what the data of a fold (from 1) are, as plain values that survive JSON."""
        sides = self.splits[number - 1].sides()
        made_from = {
            "structures": [asdict(structure) for structure in self.structures],
            **{side: {case.case_id: self.contents[case.case_id] for case in of} for side, of in sides.items()},
        }
        return as_plain(made_from)

    def with_few(self, count: int, *, by_fold: bool = False) -> Folds:
        """Give the same folds with so many subjects to learn from, and no more than that to validate on.

        Who they are is drawn by their names; with fewer, all of them. Those of a smaller count are among those of a
        larger one. The test subjects stay. With `by_fold` each fold draws others: how much depends on who they are
        is seen between the folds then.
        """
        splits = []
        for number, split in enumerate(self.splits, start=1):
            salt = f"{number} " if by_fold else ""
            training, validation = (_few(cases, count, salt) for cases in (split.training, split.validation))
            splits.append(replace(split, training=training, validation=validation))
        return replace(self, splits=tuple(splits))

    def without(self, subjects: Collection[str]) -> Folds:
        """Give the same folds with some subjects left out of training, not of validation and test."""
        splits = []
        for number, split in enumerate(self.splits, start=1):
            kept = tuple(case for case in split.training if case.subject_id not in subjects)
            if not kept:
                raise DataError(
                    f"Without {name_private(sorted(subjects))} nobody is left to learn from in fold {number}."
                )
            splits.append(replace(split, training=kept))
        return replace(self, splits=tuple(splits))


def _few(cases: Sequence[Case], count: int, salt: str) -> tuple[Case, ...]:
    """Give the cases of so many subjects; which, neither their order nor their numbers decide."""
    drawn = sorted(
        subjects_of(cases), key=lambda who: hashlib.sha256(f"{salt}{who}".encode("utf-8", "replace")).digest()
    )
    return tuple(case for case in cases if case.subject_id in drawn[:count])


def as_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Give values as they come back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def prepare_folds(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    *,
    folds: int = 5,
    seed: int = 0,
    test_subjects: Collection[str] = (),
) -> Folds:
    """Read the cases, draw the folds, and see that no image is on two sides of one."""
    facts: dict[str, CaseFacts] = {}
    contents: dict[str, str] = {}
    # Before anything is read: whom the cases do not know is told at once, and nobody reads test subjects.
    used = k_folds(cases, folds=folds, test_subjects=test_subjects)[0].sides().values()
    for case in (case for side in used for case in side):
        image, label_map = read_reference(case, structures)
        facts[case.case_id] = case_facts(image, label_map)
        contents[case.case_id] = _content(facts[case.case_id], label_map, image.channels)
    splits = k_folds(cases, folds=folds, seed=seed, test_subjects=test_subjects, facts=facts)
    for split in splits:
        check_leaks(split, facts)
    return Folds(tuple(structures), splits, contents)


def _content(facts: CaseFacts, label_map: LabelMap, channels: tuple[str, ...]) -> str:
    """Give a digest of a case's image and labels and of what stands beside them, by which a change is noticed."""
    source = label_map.source
    levels = [one.level for one in source.slices]
    drawn = sorted(label_map.annotated or ())
    words = f"{facts.digest} {label_map.shape} {drawn} {label_map.affine} {source.subject_id} {levels} {channels}"
    digest = hashlib.sha256(words.encode("utf-8", "surrogateescape"))
    digest.update(label_map.voxels.astype("uint8").tobytes())
    if label_map.shares is not None:
        digest.update(label_map.shares.tobytes())
    return digest.hexdigest()[:16]


def in_words(split: Split) -> str:
    """Say who is on which side, for a `Told`."""
    sides = {what: subjects_of(cases) for what, cases in split.sides().items()}
    return ", ".join(
        f"{what} {name_private(names) if len(names) <= 5 else f'{len(names)} patients'}"
        for what, names in sides.items()
    )
