"""Several models as one: which can go together, what they share, what they are called and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from autoseg.errors import DataError, SettingsError
from autoseg.image.image import Image
from autoseg.model.centreline import Centreline
from autoseg.model.device import choose_device, with_layout
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import AugmentationSettings, VolumeSettings
from autoseg.words import counted

# --- mirrored and turned copies of a slice (test-time augmentation): the network answers on each, the mean
# counts

Copies = Literal["none", "left-right", "mirrored", "turned", "both"]


@dataclass(frozen=True)
class Copy:
    """One copy: mirrored left to right or not, then turned by so many quarters, anticlockwise."""

    turns: int = 0
    is_mirrored: bool = False


# Mirrored and turned by a half is mirrored up and down.
COPIES: dict[str, tuple[Copy, ...]] = {
    "none": (Copy(),),
    "left-right": (Copy(), Copy(0, True)),
    "mirrored": (Copy(), Copy(0, True), Copy(2, True), Copy(2)),
    "turned": tuple(Copy(turns) for turns in range(4)),
    "both": tuple(Copy(turns, mirrored) for mirrored in (False, True) for turns in range(4)),
}
# What to call them where a result says how it was made.
COPY_WORDS = {
    "none": "",
    "left-right": "left-right copies",
    "mirrored": "mirrored copies",
    "turned": "turned copies",
    "both": "mirrored and turned copies",
}


def copies_of(copies: str) -> tuple[Copy, ...]:
    """Give the copies of that name, the slice as it is first."""
    if copies not in COPIES:
        raise SettingsError(f"copies is {copies!r}; give one of {', '.join(COPIES)}.")
    return COPIES[copies]


def make_copy(frames: Tensor, copy: Copy) -> Tensor:
    """Mirror and turn frames (batch, channels, rows, columns); odd quarters exchange rows and columns."""
    frames = frames.flip(-1) if copy.is_mirrored else frames
    return torch.rot90(frames, copy.turns, (-2, -1)) if copy.turns else frames


def undo_copy(answer: Tensor, copy: Copy, sides: Tensor) -> Tensor:
    """Turn and mirror a network's answer on a copy back; `sides` is the class that each becomes in a mirror."""
    answer = torch.rot90(answer, -copy.turns, (-2, -1)) if copy.turns else answer
    return answer.flip(-1)[:, sides] if copy.is_mirrored else answer


def need_millimetres(models: Sequence[TrainedModel]) -> bool:
    """Tell whether any model sees images in their size, and so none whose pixels have an unknown one."""
    return any(
        one.settings.spatial_dims == 3
        or (one.settings.preprocess.input_shape is None and one.settings.preprocess.crop_shape is None)
        for one in models
    )


def mirrored_axes(copy: Copy, orientation: str) -> list[int]:
    """Give the axes of a volume along which a copy without quarter turns is mirrored, in front of a patient.

    A slice mirrored left to right is a volume mirrored so; turned by a half it is mirrored front to back as well.

    Examples
    --------
    >>> mirrored_axes(Copy(0, True), "RPI"), mirrored_axes(Copy(2), "RPI"), mirrored_axes(Copy(2, True), "SPL")
    ([0], [0, 1], [1])
    """
    upright = copy.turns == 2
    letters = ("RL" if copy.is_mirrored != upright else "") + ("AP" if upright else "")
    return [axis for axis, letter in enumerate(orientation) if letter in letters]


def seen_copies(augmentation: AugmentationSettings, volume: VolumeSettings | None = None) -> frozenset[Copy]:
    """Give the copies that training with these settings met, the slice as it is among them.

    With `volume` those of volumes, whose mirrors are `volume.flips` and which have no quarter turns.
    """
    any_angle = augmentation.rotation_probability > 0 and augmentation.rotation_deg >= 180
    turned = any_angle or augmentation.quarter_turn_probability > 0
    across, upright = augmentation.flip_probability > 0, augmentation.flip_rows_probability > 0
    if volume is not None:
        turned = any_angle
        across, upright = (
            any(
                chance > 0
                for letter, chance in zip(volume.orientation, volume.flips, strict=True)
                if letter in pair
            )
            for pair in ("RL", "AP")
        )
    turns = range(4) if turned else (0, 2) if across and upright else (0,)
    seen = {Copy(quarters) for quarters in turns}
    seen |= {Copy(quarters, True) for quarters in turns if across}
    seen |= {Copy((quarters + 2) % 4, True) for quarters in turns if upright}
    return frozenset(copy for copy in seen if volume is None or copy.turns % 2 == 0)


def wise_copies(augmentation: AugmentationSettings, volume: VolumeSettings | None = None) -> Copies:
    """Give the most copies of which training with these settings met every one; with `volume` those of volumes.

    A network is no surer on what it never met: one that was trained on turns of up to 20 degrees gains nothing from
    quarter turns, and one that never saw a mirrored body may take its left for its right.

    Examples
    --------
    >>> wise_copies(AugmentationSettings()), wise_copies(AugmentationSettings.manual())
    ('turned', 'none')
    >>> wise_copies(AugmentationSettings(rotation_deg=20, flip_probability=0.5))
    'left-right'
    """
    names: tuple[Copies, ...] = ("both", "turned", "mirrored", "left-right")
    seen = seen_copies(augmentation, volume)
    return next((name for name in names if seen.issuperset(COPIES[name])), "none")


# --- several models as one

Models = TrainedModel | Sequence[TrainedModel]


class Networks:
    """The networks of models, each built once for all images; to build one takes a third as long as a slice."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[TrainedModel, nn.Module]] = {}

    def of(self, model: TrainedModel) -> nn.Module:
        """Give a model's network, ready to predict, on the device that is used."""
        if id(model) not in self._built:  # with the model, whose id is its own as long as it is kept
            self._built[id(model)] = model, with_layout(model.build(), choose_device())
        return self._built[id(model)][1]


@dataclass(frozen=True)
class Inference:
    """How models are run over an image: the choices of `autoseg.prediction.predict`.

    With `look` each model also takes a second look (`second_look.py`), which tells how far to trust the labels.
    `networks` are kept for further images; without them they are built anew.
    """

    copies: Copies = "none"
    batch_size: int = 16
    precision: str = "float32"
    on_slices: Callable[[int, int], None] | None = None
    centreline: Centreline | None = None
    look: bool = False
    networks: Networks | None = None

    def network_of(self, model: TrainedModel) -> nn.Module:
        """Give a model's network, ready to predict, on the device that is used."""
        return (self.networks or Networks()).of(model)


PLAIN = Inference()


def as_models(models: Models) -> tuple[TrainedModel, ...]:
    """Give one model or several as a tuple, once they were found to answer the same question.

    They may differ in network, pixel size, neighbouring slices and in the order of their structures.
    """
    together = (models,) if isinstance(models, TrainedModel) else tuple(models)
    if not together:
        raise DataError("There is no model to segment with. Choose at least one.")
    for other in together[1:]:
        difference = _difference(together[0], other)
        if difference:
            raise DataError(
                f"The models {together[0].name!r} and {other.name!r} cannot be averaged: {difference}. Choose "
                "models of the same structures and the same kind of images."
            )
    return together


def check_channels(model: TrainedModel, image: Image) -> None:
    """Raise DataError unless an image has as many channels as a model was trained on."""
    if len(image.channels) != len(model.channels):
        raise DataError(
            f"{image.source.name} has {counted(len(image.channels), 'channel')} and the model {model.name!r} was "
            f"trained on {len(model.channels)} ({', '.join(model.channels)}). Choose images of the same kind."
        )


def class_order(model: TrainedModel, first: TrainedModel) -> list[int]:
    """Give for each class of the first model the class that the other has for it; 0, the background, is 0."""
    place = {structure.label: number for number, structure in enumerate(model.structures, start=1)}
    return [0, *(place[structure.label] for structure in first.structures)]


def shared_postprocess(models: Sequence[TrainedModel]) -> tuple[tuple[StructurePostprocess, ...], tuple[str, ...]]:
    """Give the cleaning that all models share, and the names of the structures that they clean in different ways.

    A structure's rule counts as a whole (its erosions were chosen with its threshold), and was chosen for a model's
    own answers: where the models differ on it, the mean is left as it is.
    """
    first = models[0]
    rules = [dict(zip([s.label for s in m.structures], m.postprocess, strict=False)) for m in models]
    post, differing = [], []
    for structure in first.structures:
        ways = [rule.get(structure.label, StructurePostprocess()) for rule in rules]
        alike = len(set(ways)) == 1
        post.append(ways[0] if alike else StructurePostprocess())
        differing += [] if alike else [structure.name]
    return tuple(post) if any(one.steps for one in post) else (), tuple(differing)


def ensemble_name(models: Models, copies: str = "none") -> str:
    """Give what a result is called after: the models' names, and the copies if there were any."""
    names = " + ".join(model.name for model in as_models(models))
    return f"{names}, {COPY_WORDS[copies]}" if COPY_WORDS[copies] else names


def runs_per_slice(models: Models, copies: str = "none") -> int:
    """Give how often a network runs for each slice, which is what segmenting costs.

    Once for every model and copy, and once more for every model that looks for its region first. A model of crops
    runs over several tiles where it sees a whole slice; these count as one run.
    """
    count, together = len(copies_of(copies)), as_models(models)
    return sum(count + looks_for_region(model) for model in together)


def looks_for_region(model: TrainedModel) -> bool:
    """Tell whether the model segments a region that it first looks for in a coarse pass over the slice."""
    settings = model.settings.preprocess
    has_crop = settings.crop_mm is not None or settings.crop_shape is not None
    return has_crop and settings.find_region == "coarse"


def unseen_note(models: Models, copies: str) -> str:
    """Say which models never met such copies in training, and what to choose; "" where all of them did."""
    wanted, together = set(copies_of(copies)), as_models(models)
    strangers = [one for one in together if not wanted <= seen_copies(one.settings.augmentation, _volume(one))]
    if not strangers:
        return ""
    wise = {copies_worth(model) for model in together}
    better = COPY_WORDS[wise.pop()] if len(wise) == 1 else ""
    names = ", ".join(repr(model.name) for model in strangers)
    return (
        f"{names} never met {COPY_WORDS[copies]} in training, so the mean over them may be worse than the answer "
        f"on the slice as it is. Choose {better or 'no copies'}."
    )


def copies_worth(model: TrainedModel) -> Copies:
    """Give the most copies of which the model's training met every one."""
    return wise_copies(model.settings.augmentation, _volume(model))


def _volume(model: TrainedModel) -> VolumeSettings | None:
    return model.settings.volume if model.settings.spatial_dims == 3 else None


def _difference(one: TrainedModel, other: TrainedModel) -> str:
    """Say in what two models differ that must be alike, or give ""."""
    mine, theirs = ({s.label: s for s in model.structures} for model in (one, other))
    for label in sorted({*mine, *theirs}):
        if label not in mine or label not in theirs:
            has, lacks = (one, other) if label in mine else (other, one)
            name = (mine.get(label) or theirs[label]).name
            return f"{lacks.name!r} has no structure with label {label}, which is {name!r} in {has.name!r}"
        a, b = mine[label], theirs[label]
        if a.name != b.name:
            return f"label {label} is {a.name!r} in the one and {b.name!r} in the other"
        for what in ("side", "includes"):
            if getattr(a, what) != getattr(b, what):
                return f"{a.name!r} differs in {what!r}: {getattr(a, what)!r} and {getattr(b, what)!r}"
    return image_difference(one, other)


def image_difference(one: TrainedModel, other: TrainedModel) -> str:
    """Say in what the images differ that two models were trained on, or give ""."""
    if one.channels != other.channels:
        return f"their images have the channels {', '.join(one.channels)} and {', '.join(other.channels)}"
    planes = [plane for model in (one, other) if (plane := model.origin.get("plane"))]
    return f"they were trained on {planes[0]} and on {planes[1]} slices" if len(set(planes)) > 1 else ""
