"""What the command line plans for a training on volumes: all that was not typed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from autoseg.cli.options import typed_settings

if TYPE_CHECKING:
    from autoseg.data.cases import CaseFolder
    from autoseg.model.settings.settings import Settings

# What is given by other options, or drawn when the folder is split.
APART = ("validation_subjects", "spatial_dims", "minutes", "epochs")
PLANNED_NETWORKS = ("unet", "resunet")


def plan_volumes(chosen: argparse.Namespace, found: CaseFolder, settings: Settings) -> Settings:
    """Plan for these images what was not typed, and print it with the reasons; for slices nothing is planned."""
    if settings.spatial_dims == 2:
        return settings
    from autoseg.errors import SettingsError
    from autoseg.model.settings.text import read_assignments, show_value
    from autoseg.training.plan import change_settings, plan_settings

    if chosen.spacing_mm is not None:
        raise SettingsError(
            f"--spacing-mm {chosen.spacing_mm:g} is of slices; of volumes give --set volume.spacing_mm=X,Y,Z."
        )
    typed = {*read_assignments(chosen.changes or ()), *typed_settings(chosen)}
    typed |= {"augmentation"} if chosen.augmentation is not None else set()
    time: dict[str, Any] = {"minutes": settings.minutes, "epochs": settings.epochs}
    plan = plan_settings(found, **time, seed=settings.seed, spatial_dims=3, crop_mm=settings.volume.crop_mm)
    planned = {choice.name: choice for choice in plan.choices if choice.name not in APART}
    fitted = _fitted({name: choice.value for name, choice in planned.items()}, settings, typed)
    values = {name: value for name, value in fitted.items() if not {name, name.partition(".")[0]} & typed}
    print("Planned for volumes, where nothing was typed:")
    for name, value in values.items():
        why = planned[name].reason if value == planned[name].value else "To suit what was typed."
        print(f"  {name}={show_value(value)}: {why}")
    return change_settings(settings, values)


def _fitted(values: dict[str, Any], settings: Settings, typed: Collection[str]) -> dict[str, Any]:
    """Let patch and stages suit the voxels, the filters and the network that were typed."""
    from autoseg.training.plan.volume_choices import fit_patch

    patch, own, given = values["volume.patch_size"], values["volume.spacing_mm"], settings.volume.spacing_mm
    if given is not None:
        size = [n * mm / new for n, mm, new in zip(patch, own, given, strict=True)]
        values["volume.patch_size"], values["network.strides"] = fit_patch(size, given, math.prod(patch))
        values["network.filters"] = values["network.filters"][: len(values["network.strides"]) + 1]
    if settings.network.name not in PLANNED_NETWORKS:
        return {name: value for name, value in values.items() if not name.startswith("network.")}
    if "network.filters" in typed and settings.network.filters is not None:
        steps, count = values["network.strides"], len(settings.network.filters) - 1
        values["network.strides"] = (*steps, *[steps[-1]] * count)[:count]
    return values
