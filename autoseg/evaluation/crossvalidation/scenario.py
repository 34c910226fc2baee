"""What is cross-validated: settings, the model that they begin from, or that model as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoseg.data.split import Split
from autoseg.errors import DataError, SettingsError
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.training.finetuning import check_base
from autoseg.training.finetuning.carry import match_structures


@dataclass(frozen=True, eq=False)
class Scenario:
    """Settings, and what they begin from.

    Parameters
    ----------
    settings : Settings
    base : TrainedModel, optional
        Fine-tuned in every fold; None: learnt from scratch.
    learns : bool
        False: the base is not trained at all, only scored, by the same pipeline as those that are.
    subjects : int, optional
        Learn from so many of a fold's training subjects, and validate on no more than that; by default on all.
    """

    settings: Settings
    base: TrainedModel | None = None
    learns: bool = True
    subjects: int | None = None

    def __post_init__(self) -> None:
        if not self.learns and self.base is None:
            raise DataError("A scenario that does not learn needs a model to be scored: give its base.")
        if self.subjects is not None and self.subjects < 1:
            raise SettingsError(f"subjects is {self.subjects}; give 1 or more to learn from, or none for all.")

    @classmethod
    def of(cls, entry: Settings | Scenario) -> Scenario:
        """Give settings as a scenario, learnt from scratch; a scenario as it is."""
        return entry if isinstance(entry, Scenario) else cls(entry)

    @classmethod
    def original(cls, base: TrainedModel, *, seed: int | None = None) -> Scenario:
        """Give a model as it is, to be scored on the same folds as others that have this seed."""
        settings = base.settings if seed is None else replace(base.settings, seed=seed)
        return cls(settings, base, learns=False)

    def check(self, splits: Sequence[Split], structures: Sequence[Structure]) -> None:
        """Refuse, before anything is trained, a base that knows a subject who is validated on or scored.

        So is one of another kind of network than the settings', and one that is only scored and does not know a
        structure.
        """
        if self.base is None:
            return
        for split in splits:
            check_base(self.base, split, self.settings)
        if not self.learns:
            as_it_is(self.base, structures, name=self.base.name)


def as_it_is(base: TrainedModel, structures: Sequence[Structure], *, name: str) -> TrainedModel:
    """Give a model with the labels that structures of the same names have here, unchanged otherwise.

    Its post-processing is left out, which those that it is compared with have not either.
    """
    places = match_structures(base.structures, structures)
    unknown = [one.name for one, place in zip(structures, places, strict=True) if place is None]
    if unknown:
        raise DataError(
            f"The model {base.name!r} as it is does not know {', '.join(unknown)} (it knows "
            f"{', '.join(one.name for one in base.structures)}), so it cannot be scored there. Leave it out, or "
            "give the structures the same names."
        )
    here = {place: one.label for one, place in zip(structures, places, strict=True)}
    free = (label for label in range(1, 256) if label not in here.values())
    labels = {one.label: here.get(place) or next(free) for place, one in enumerate(base.structures)}
    named = {place: one.name for one, place in zip(structures, places, strict=True)}
    renamed = tuple(
        replace(
            one,
            label=labels[one.label],
            name=named.get(place, one.name),
            includes=tuple(labels[inner] for inner in one.includes),
        )
        for place, one in enumerate(base.structures)
    )
    return replace(base, name=name, structures=renamed, postprocess=(), history=())


def on_structures(found: LabelMap, structures: Sequence[Structure]) -> LabelMap:
    """Give a prediction with these structures alone; what lies inside one and is not known here counts for it."""
    if {one.label: set(one.includes) for one in found.structures} == {
        one.label: set(one.includes) for one in structures
    }:
        return found
    voxels = found.voxels * 0
    for one in sorted(structures, key=lambda one: len(one.includes), reverse=True):
        voxels[found.mask(one.label)] = one.label
    return replace(found, voxels=voxels, structures=tuple(structures), annotated=None, shares=None)
