"""What the command line plans for a training: all that was not typed."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.cli.options import typed_settings

if TYPE_CHECKING:
    from autoseg.data.cases import CaseFolder
    from autoseg.model.settings.settings import Settings
    from autoseg.training.plan import Plan

# Of how a training is told of; no result depends on them.
OF_LINES = ("print_checkpoint", "save_checkpoint", "keep_checkpoints")


def typed_names(chosen: argparse.Namespace) -> set[str]:
    """Give the names of all settings that were typed; "augmentation" stands for the group."""
    from autoseg.model.settings.text import read_assignments

    typed = {*read_assignments(chosen.changes or ()), *typed_settings(chosen)}
    return typed | ({"augmentation"} if chosen.augmentation is not None else set())


def plan_for(
    chosen: argparse.Namespace,
    found: CaseFolder,
    settings: Settings,
    *,
    set_aside: Collection[str],
    who: bool = False,
) -> Plan:
    """Plan what was not typed, as the notebook does, and print it with the reasons.

    `settings` are those that were typed; `set_aside` are subjects for a last test. `who`: also who validates.
    """
    from autoseg.errors import SettingsError
    from autoseg.model.settings.text import show_value
    from autoseg.training.plan import plan_settings

    typed = typed_names(chosen)
    if settings.spatial_dims == 3 and chosen.spacing_mm is not None:
        raise SettingsError(
            f"--spacing-mm {chosen.spacing_mm:g} is of slices; of volumes give --set volume.spacing_mm=X,Y,Z."
        )
    is_timed = bool({"minutes", "epochs"} & typed)
    plan = plan_settings(
        found,
        minutes=settings.minutes if is_timed else None,
        epochs=settings.epochs if is_timed else None,
        test_subjects=set_aside,
        seed=settings.seed,
        given=settings,
        typed=typed if who else {*typed, "validation_subjects"},
    )
    print("Planned for your images and this computer, where nothing was typed:")
    for choice in plan.choices:
        print(f"  {choice.name}={show_value(choice.value) or 'none'}: {choice.reason}")
    return plan


def begun_with(chosen: argparse.Namespace, settings: Settings, folder: Path) -> Settings | None:
    """Give the settings of the finished folds of a cross-validation, if what was typed is as there.

    A plan may change with the computer's load, and folds of two kinds are never mixed.
    """
    from autoseg.evaluation.crossvalidation import earlier_settings
    from autoseg.model.settings.text import value_of

    earlier, typed = earlier_settings(folder), typed_names(chosen) - set(OF_LINES)
    if earlier is None or any(value_of(earlier, name) != value_of(settings, name) for name in typed):
        return None
    print(f"Going on with the settings of the folds in {folder}.")
    return replace(earlier, **{name: value_of(settings, name) for name in OF_LINES})  # type: ignore[arg-type]
