"""What a study's report is made of: the folds as they lie on the disk, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case, Pseudonyms
from autoseg.errors import DataError, ReadError, SettingsError
from autoseg.evaluation.comparison.entries import title_of
from autoseg.evaluation.crossvalidation import (
    CrossValidation,
    FoldResult,
    Material,
    gather,
    read_folds,
    read_material,
)
from autoseg.evaluation.crossvalidation.fold import SIDES, read_content, structures_of
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import Settings, settings_from_dict


@dataclass(frozen=True, eq=False)
class Study:
    """A cross-validation to report on.

    `name` is what was validated. `sides` has for each fold the case_ids of training, validation and test; `people`
    the subject_id of every case that is known. `models` are the folds' models by name, digests and versions;
    `choose_post` tells whether each fold chose a post-processing, `copies` which turned copies of an image were
    segmented too, `begun_from` the digest of a model that the folds began from. `learns` is False where that one
    was scored as it is. Without `material` nobody knows what was left out before the folds.
    """

    name: str
    run: CrossValidation
    sides: tuple[Mapping[str, tuple[str, ...]], ...]
    people: Mapping[str, str]
    settings: Settings
    structures: tuple[Structure, ...]
    models: tuple[Mapping[str, Any], ...] = ()
    choose_post: bool = False
    copies: str = "none"
    begun_from: str = ""
    learns: bool = True
    material: Material | None = None

    def who(self, side: str, number: int | None = None) -> set[str]:
        """Give the subjects of a side in one fold (from 0), or in all."""
        folds = self.sides if number is None else [self.sides[number]]
        return {self.people.get(case, case) for fold in folds for case in fold[side]}

    @property
    def cases(self) -> list[str]:
        """All cases that are in a fold, in the order in which they were found."""
        inside = dict.fromkeys(case for fold in self.sides for side in SIDES for case in fold[side])
        known = {} if self.material is None else dict(self.material.cases)
        return [*(case for case in known if case in inside), *(case for case in inside if case not in known)]


def read_study(folder: Path) -> Study:
    """Read a cross-validation, or an entry of a comparison, from its folder.

    Raises
    ------
    DataError
        If it holds no fold, or folds of different settings.
    ReadError
        If a file cannot be read; it is named.
    """
    folder = Path(folder)
    return study_of(gather(folder, read_folds(folder)))


def study_of(run: CrossValidation) -> Study:
    """Give the study of folds that were read or have just ended; the rest is read from their folders."""
    if not run.scores:
        raise DataError(f"The folds in {run.folder} scored nothing, so there is nothing to report.")
    contents = [read_content(fold.folder) for fold in run.folds]
    try:
        made_from = [content["made_from"] for content in contents]
        first = made_from[0]
        if any(one["settings"] != first["settings"] for one in made_from):
            raise DataError(
                f"The folds in {run.folder} were made with different settings, so they are no cross-validation. "
                "Move those of the other settings away."
            )
        sides = tuple({side: tuple(map(str, one.get(side) or ())) for side in SIDES} for one in made_from)
        models = tuple(content["model"] for content in contents if content.get("model"))
        names = {str(model["name"]).rpartition("_fold")[0] for model in models}
        settings = settings_from_dict(first["settings"])
    except (KeyError, TypeError, AttributeError, SettingsError) as error:
        raise ReadError(f"{run.folder} cannot be read as a cross-validation ({error}).") from error
    material = read_material(run.folder)
    return Study(
        name=title_of(names.pop()) if len(names) == 1 else run.folder.name,
        run=run,
        sides=sides,
        people=_people(run.folds, material),
        settings=settings,
        structures=structures_of(run.folds[0]),
        models=models,
        choose_post=bool(first.get("choose_post")),
        copies=str(first.get("copies", "none")),
        begun_from=str(first.get("base model", "")),
        learns=bool(first.get("learns", True)),
        material=material,
    )


def _people(folds: Sequence[FoldResult], material: Material | None) -> dict[str, str]:
    """Say whose the cases are: each is tested once, with its subject."""
    known = {} if material is None else dict(material.cases)
    scored = {score.case_id: score.subject_id for fold in folds for score in fold.scores}
    return scored | {score.case_id: score.subject_id for fold in folds for score in fold.pixels} | known


def without_ids(study: Study) -> tuple[Study, Pseudonyms]:
    """Give the same study with numbers for patients and images, as in the notebooks, and what hides IDs."""
    material, people = study.material, dict(study.people)
    found = () if material is None else material.cases
    cases = list(dict.fromkeys([*(case for case, _ in found), *study.cases]))
    known = [Case(case, people.get(case, ""), (), ()) for case in cases]
    subjects = sorted({case.subject_id for case in known} | set(() if material is None else material.known))
    hidden = Pseudonyms({who: f"patient {number}" for number, who in enumerate(subjects, start=1)}, known)
    name = {case.case_id: hidden.cases[case.case_id] for case in known}

    def renamed(scores: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            replace(one, case_id=name.get(one.case_id, "an image"), subject_id=hidden.of(one.subject_id))
            for one in scores
        )

    folds = tuple(
        replace(
            fold, scores=renamed(fold.scores), pixels=renamed(fold.pixels), volumes=renamed(fold.volumes),
            note=hidden.hide(fold.note),
        )
        for fold in study.run.folds
    )  # fmt: skip
    sides = tuple({side: tuple(name[case] for case in fold[side]) for side in SIDES} for fold in study.sides)
    kept = material and replace(
        material,
        cases=tuple((name[case], hidden.of(who)) for case, who in material.cases),
        aside=tuple(map(hidden.of, material.aside)),
        known=tuple(map(hidden.of, material.known)),
    )
    return replace(
        study,
        run=gather(study.run.folder, folds),
        sides=sides,
        people={name[case]: hidden.of(who) for case, who in people.items() if case in name},
        material=kept,
    ), hidden
