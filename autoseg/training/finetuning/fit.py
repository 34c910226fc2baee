"""How a trained model fits other images and structures, told before anything is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autoseg.data.cases import Case, read_case
from autoseg.data.digests import known_subjects
from autoseg.data.split import subjects_of
from autoseg.errors import DataError
from autoseg.image.image import Image
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.preprocessing.volume_grids import grid_of
from autoseg.model.settings.settings import Settings
from autoseg.training.finetuning.base import has_seen, settings_from_base
from autoseg.training.finetuning.carry import carry_over, match_structures
from autoseg.training.plan import spread_cases

# Images that are read for it, and sizes that are told apart: 5 %, and half as fine again.
LOOKED_AT, SAME, COARSER = 3, 1.05, 1.5


@dataclass(frozen=True)
class Fit:
    """What of a model is taken over, and whom it knows.

    `notes` tell what is taken over, what begins anew, and how images are brought to what the model sees; `unknown`
    are structures that it does not know. Of the `known` subjects, from whom it or one that it went on from has
    learnt or who validated it, no honest score is possible; `subjects` are all others.
    """

    notes: tuple[str, ...]
    unknown: tuple[str, ...]
    known: frozenset[str]
    subjects: tuple[str, ...]


def check_fit(
    base: TrainedModel, cases: Sequence[Case], structures: Sequence[Structure], settings: Settings | None = None
) -> Fit:
    """Say how a model fits the images that it is to be brought to; nothing is learnt.

    Parameters
    ----------
    base : TrainedModel
    cases : sequence of Case
        A few of them are read.
    structures : sequence of Structure
        Of the cases.
    settings : Settings, optional
        With which it will go on, by default `settings_from_base(base)`.

    Raises
    ------
    DataError, GeometryError
        If there is no case, nothing of the model would be left, or an image is none that it can see; the message
        tells why.
    """
    if not cases:
        raise DataError("There are no images. Choose a folder with images and their labels.")
    settings = settings or settings_from_base(base)
    images = [read_case(case, tuple(structures))[0] for case in spread_cases(cases, LOOKED_AT)]
    channels = images[0].channels
    with torch.random.fork_rng(devices=()):  # a training that goes on beside it draws what it would have drawn
        network = build_network(
            settings.network,
            in_channels=network_channels(len(channels), settings.preprocess.neighbours),
            out_channels=len(structures) + 1,
            spatial_dims=settings.spatial_dims,
        )
    carried = carry_over(network, base, settings, structures=structures, channels=channels)
    places = match_structures(base.structures, structures)
    people = subjects_of(cases)
    known = known_subjects(people, has_seen(base))
    return Fit(
        notes=(*carried.notes, *_size_notes(images, settings)),
        unknown=tuple(one.name for one, place in zip(structures, places, strict=True) if place is None),
        known=known,
        subjects=tuple(subject for subject in people if subject not in known),
    )


def _size_notes(images: Sequence[Image], settings: Settings) -> list[str]:
    """Say to which pixels or voxels images are brought, and whether something is lost."""
    if settings.spatial_dims == 3:
        # Says, too, why an image is no volume that can be learnt from.
        grids = [grid_of(image, settings.volume) for image in images]
        own = [
            tuple(image.spacing_mm[axis] for axis in grid.axes) for image, grid in zip(images, grids, strict=True)
        ]
        seen: tuple[float, ...] = settings.volume.spacing_mm or grids[0].spacing_mm
        what = "voxels"
    elif settings.preprocess.spacing_mm is not None:
        # Says, too, where an image has no millimetres.
        own = [(image.spacing_mm[1], image.spacing_mm[2]) for image in images]
        seen, what = (settings.preprocess.spacing_mm,) * 2, "pixels"
    else:
        return []
    apart = [max(pair) / min(pair) for one in own for pair in zip(one, seen, strict=True)]
    if max(apart) < SAME:
        return []
    shown = " or ".join(dict.fromkeys(_mm(one) for one in own))
    words = f"These images have {what} of {shown}; the model sees {what} of {_mm(seen)}, to which they are brought."
    if any(there / here > COARSER for one in own for here, there in zip(one, seen, strict=True)):
        words += " What is finer than that is lost; a smaller pixel size keeps it, and takes longer."
    return [words]


def _mm(sizes: Sequence[float]) -> str:
    rounded = [f"{size:.3g}" for size in sizes]
    return f"{rounded[0] if len(set(rounded)) == 1 and len(rounded) == 2 else ' × '.join(rounded)} mm"
