"""What the settings panel says, and how it takes what stands in it and in the preview together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.data.cases import Case
from autoseg.errors import ModelFileError
from autoseg.model.model import find_model
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.training.plan import number_subjects

DATA_FIRST = "Choose your images above first; then settings are planned for them."
CHANGED = "The images changed: these are the settings planned for them, in place of what stood here."
PREVIEW_FIRST = (
    "These settings can be used as soon as the preview above is there; if it says why not, mend that first."
)
NOBODY = "No patient is set aside: the score will be unknown for anyone whom the model has not seen."
PLANNING = "Planning …"
SEEN_AS = {2: "slices", 3: "volumes"}


def say_other_dims(shown: int, learnt: int) -> str:
    """Say that the preview shows something else than what will be learnt from."""
    return (
        f"The preview above shows {SEEN_AS[shown]}, and you chose {SEEN_AS[learnt]} (spatial_dims = {learnt}). "
        f"They are varied as planned for {SEEN_AS[learnt]}, unless you changed that in the preview."
    )


def say_name(folder: Path, name: str) -> str:
    """Say whether a model of this name is there already."""
    try:
        there = find_model(folder, name)
    except ModelFileError:
        return f"{name}: a new model."
    return f"{there.name} is there already; it stays, and the new one lies beside it."


def say_validation(chosen: Collection[str], cases: Sequence[Case], *, by_id: bool) -> str:
    """Say who validates: up to four by their numbers or IDs, more by their count."""
    names = {s: s for s in chosen} if by_id else number_subjects(cases)
    return ", ".join(names[s] for s in sorted(chosen)) if len(chosen) <= 4 else f"{len(chosen)} patients"


def subject_options(cases: Sequence[Case], offered: Sequence[str], *, by_id: bool) -> list[tuple[str, str]]:
    """Give the patients that are offered as (words, ID): by their numbers or IDs, each with its images' count."""
    names, counts = number_subjects(cases), Counter(case.subject_id for case in cases)
    return [(f"{s if by_id else names[s]} ({counts[s]} image{'' if counts[s] == 1 else 's'})", s) for s in offered]


def with_time(settings: Mapping[str, object]) -> dict[str, object]:
    """Take back the other one of minutes and epochs where one is given."""
    other = {"minutes": "epochs", "epochs": "minutes"}
    return {other[name]: None for name in settings if name in other} | dict(settings)


def time_of(settings: Settings) -> dict[str, float | None]:
    """Give the minutes or epochs of settings, as `plan_settings` takes them."""
    return {"minutes": settings.minutes, "epochs": settings.epochs}


def with_variation(
    settings: Settings, planned: Settings | None, variation: AugmentationSettings | None
) -> Settings:
    """Vary images as the preview has it; where it shows slices and volumes are learnt from, only if changed there.

    Parameters
    ----------
    settings : Settings
        With the variation planned for what they learn from.
    planned : Settings, optional
        What the preview shows, as it was planned.
    variation : AugmentationSettings, optional
        The preview's.
    """
    if variation is None:
        return settings
    other = planned is not None and planned.spatial_dims != settings.spatial_dims
    if other and planned is not None and variation == planned.augmentation:
        return settings
    return replace(settings, augmentation=variation)
