"""Carrying trained weights over into a network for other structures, channels or sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network, part_of, parts_of
from autoseg.model.networks.build import standardised
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import NetworkSettings, Settings
from autoseg.model.settings.text import show_value

# --- which axes of a network's weights belong to the image's channels and to the classes, found by building it


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor whose size is `channels` × image channels + `classes` × classes + `rest`.

    Where it has both, the classes come first, as the pyramid's second stage sees them. A `rest` of −1 leaves out
    the background.
    """

    axis: int
    channels: int
    classes: int
    rest: int

    def size(self, channels: int, classes: int) -> int:
        """Give the axis's size for so many channels and classes."""
        return self.channels * channels + self.classes * classes + self.rest


def changing_axes(settings: NetworkSettings, *, spatial_dims: int) -> dict[str, tuple[Axis, ...]]:
    """Find the axes of each tensor of a network that depend on the image's channels and on the classes.

    Nothing is computed: networks are built without memory, of different numbers of both, and their sizes compared.
    """
    few = (2, 3)
    at_few, more_channels, more_classes = (
        _shapes(settings, channels, classes, spatial_dims) for channels, classes in (few, (3, 3), (2, 4))
    )
    found = {}
    for name, shape in at_few.items():
        axes = []
        for axis, size in enumerate(shape):
            by_channels, by_classes = more_channels[name][axis] - size, more_classes[name][axis] - size
            if by_channels or by_classes:
                axes.append(Axis(axis, by_channels, by_classes, size - by_channels * few[0] - by_classes * few[1]))
        if axes:
            found[name] = tuple(axes)
    return found


def _shapes(settings: NetworkSettings, channels: int, classes: int, dims: int) -> dict[str, torch.Size]:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build_network(settings, in_channels=channels, out_channels=classes, spatial_dims=dims)
    return {name: value.shape for name, value in network.state_dict().items()}


# Settings by which the network sees an image in another way, though it is built alike.
SEEN_BY = (
    *(
        f"preprocess.{name}"
        for name in ("spacing_mm", "input_shape", "clip_percentiles", "normalise", "clahe", "neighbours")
    ),
    *(f"volume.{name}" for name in ("orientation", "spacing_mm", "standardise")),
)
# Places of a new channel and of a new class among the old ones.
NEW_CHANNEL, NEW_CLASS = -1, -2


@dataclass(frozen=True)
class Carried:
    """What became of a base's weights.

    `new` names the parameters that began anew, wholly or in part; `notes` say in sentences what did not fit.
    """

    new: tuple[str, ...]
    notes: tuple[str, ...]


def carry_over(
    network: nn.Module,
    base: TrainedModel,
    settings: Settings,
    *,
    structures: Sequence[Structure],
    channels: Sequence[str],
) -> Carried:
    """Give a network the weights of a trained model, as far as they fit.

    A structure of the same name keeps what it answers by, whatever its label, and so does the background; a new one
    begins with zeros (in Mask DINO, whose queries need a start, as in a fresh network). A channel keeps its filters
    by its name; one of a new name takes those of one that is gone, in order, and else begins with zeros, so that
    the network answers at first as if it were not there. What has another size begins anew, and so do the parts
    that `settings.finetune.replaced` names. The network is changed in place.
    """
    maps = _Maps.between(base, settings, structures, channels)
    axes = changing_axes(settings.network, spatial_dims=settings.spatial_dims)
    learnable = {name for name, _ in network.named_parameters()}
    state, new, unfit = network.state_dict(), [], []
    for name, fresh in state.items():
        replaced = part_of(network, name) in settings.finetune.replaced
        fitted = None if replaced else _fitted(fresh, base.weights.get(name), axes.get(name, ()), maps)
        if fitted is None:
            unfit += [] if replaced or name not in learnable else [name]
            new.append(name)
            continue
        state[name], is_whole = fitted
        new += [] if is_whole else [name]
    new = [name for name in new if name in learnable]
    if learnable <= {*unfit, *(n for n in new if part_of(network, n) in settings.finetune.replaced)}:
        raise DataError(
            f"Nothing of the base model {base.name!r} would be left: every part begins anew. Take its network's "
            "settings, replace fewer parts, or train without a base."
        )
    network.load_state_dict(state)
    notes = [
        *_structure_notes(base, structures),
        *_channel_notes(base.channels, channels),
        *_difference_notes(base.settings, settings),
        *_unfit_notes(network, unfit),
    ]
    if settings.finetune.replaced:
        notes.append(f"Replaced, and learnt anew: {', '.join(settings.finetune.replaced)}.")
    return Carried(tuple(new), tuple(notes))


def match_channels(before: Sequence[str], now: Sequence[str]) -> list[int | None]:
    """Give each channel's place among those before, None where it is new; names first, then those left in order.

    Examples
    --------
    >>> match_channels(["t1", "t2"], ["t2", "t2s", "flair"])
    [1, 0, None]
    """
    left = [place for place, name in enumerate(before) if name not in now]
    return [list(before).index(name) if name in before else (left.pop(0) if left else None) for name in now]


def match_structures(before: Sequence[Structure], now: Sequence[Structure]) -> list[int | None]:
    """Give each structure's place among those before by its name, None where it is new; capitals do not count."""
    places = {_name(structure): place for place, structure in enumerate(before)}
    return [places.get(_name(structure)) for structure in now]


@dataclass(frozen=True)
class _Maps:
    """Where each channel of the network's input, and each class, stood before; and how many there were."""

    channels: tuple[int, ...]
    classes: tuple[int, ...]
    channels_before: int
    classes_before: int

    @classmethod
    def between(
        cls, base: TrainedModel, settings: Settings, structures: Sequence[Structure], channels: Sequence[str]
    ) -> _Maps:
        """Match names; slices beside the one that is segmented are matched by their distance from it."""
        reach, now = base.settings.preprocess.neighbours, settings.preprocess.neighbours
        matched, own = match_channels(base.channels, channels), len(base.channels)
        inputs = [
            NEW_CHANNEL if place is None or abs(step) > reach else (step + reach) * own + place
            for step in range(-now, now + 1)
            for place in matched
        ]
        found = match_structures(base.structures, structures)
        classes = [0, *(NEW_CLASS if place is None else place + 1 for place in found)]
        return cls(tuple(inputs), tuple(classes), network_channels(own, reach), len(base.structures) + 1)

    def places(self, axis: Axis) -> list[int]:
        """Give the place before of everything along an axis."""
        classes = [n if n < 0 else n + axis.rest for n in self.classes[-axis.rest :]] if axis.classes else []
        first = self.classes_before + axis.rest if axis.classes else 0
        inputs = [n if n < 0 else n + first for n in self.channels] if axis.channels else []
        return [*classes, *inputs]


def _fitted(fresh: Tensor, old: Tensor | None, axes: Sequence[Axis], maps: _Maps) -> tuple[Tensor, bool] | None:
    """Give what a tensor begins with, and whether all of it comes from the base; None where nothing fits."""
    if old is None or old.dim() != fresh.dim():
        return None
    if not axes:
        return (old.clone(), True) if old.shape == fresh.shape else None
    (along,) = axes if len(axes) == 1 else (None,)
    if along is None or old.shape[along.axis] != along.size(maps.channels_before, maps.classes_before):
        return None
    places = maps.places(along)
    sizes = list(old.shape)
    sizes[along.axis] = len(places)
    if sizes != list(fresh.shape):
        return None
    result = fresh.clone()
    for here, before in enumerate(places):
        if before >= 0:
            result.select(along.axis, here).copy_(old.select(along.axis, before))
        elif before == NEW_CHANNEL or along.rest == 0:
            result.select(along.axis, here).zero_()
    return result, min(places) >= 0


def _structure_notes(base: TrainedModel, structures: Sequence[Structure]) -> list[str]:
    found = match_structures(base.structures, structures)
    kept = [s.name for s, place in zip(structures, found, strict=True) if place is not None]
    new = [s.name for s, place in zip(structures, found, strict=True) if place is None]
    gone = [s.name for s in base.structures if _name(s) not in {_name(other) for other in structures}]
    if not new and not gone:
        return []
    words = [f"Taken over from {base.name!r}: {', '.join(['the background', *kept])}."]
    words += [f"New, so its answer is learnt from the start: {', '.join(new)}."] if new else []
    words += [f"No longer learnt: {', '.join(gone)}."] if gone else []
    return [f"Structures: {' '.join(words)}"]


def _channel_notes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    if tuple(before) == tuple(now):
        return []
    matched = match_channels(before, now)
    words = []
    for name, place in zip(now, matched, strict=True):
        if place is None:
            words.append(f"{name} is new and at first has no effect.")
        elif before[place] != name:
            words.append(f"{name} takes the place of {before[place]}.")
    gone = [name for place, name in enumerate(before) if place not in matched]
    words += [f"No longer seen: {', '.join(gone)}."] if gone else []
    return [f"Channels: {' '.join(words)}"] if words else []


def _difference_notes(before: Settings, now: Settings) -> list[str]:
    """Say where the network is built otherwise, and where it sees images prepared otherwise."""
    notes = []
    built = [_plain(standardised(settings.network)) for settings in (before, now)]
    other = [f"network.{name} ({_was(built[0][name], built[1][name])})" for name in built[0]]
    other = [words for words, name in zip(other, built[0], strict=True) if built[0][name] != built[1][name]]
    if other:
        notes.append(f"The network is built in another way than the base's: {', '.join(other)}.")
    group = "preprocess" if now.spatial_dims == 2 else "volume"
    seen = [
        f"{name} ({_was(one, two)})"
        for name in SEEN_BY
        if name.startswith(group) and (one := _value(before, name)) != (two := _value(now, name))
    ]
    if seen:
        notes.append(
            f"Images are prepared in another way than those the base learnt from: {', '.join(seen)}. Structures "
            "look larger, smaller or brighter to it than it knows them; it has to learn that."
        )
    return notes


def _unfit_notes(network: nn.Module, unfit: Sequence[str]) -> list[str]:
    words = []
    for part, names in parts_of(network).items():
        count = sum(name in names for name in unfit)
        if count:
            words.append(f"all of the {part}" if count == len(names) else f"{count} of {len(names)} of the {part}")
    return [f"These sets of weights do not fit and are learnt anew: {', '.join(words)}."] if words else []


def _plain(settings: Any) -> Mapping[str, Any]:
    names = [item.name for item in fields(settings) if item.name != "dropout"]
    return {name: getattr(settings, name) for name in names}


def _was(one: object, two: object) -> str:
    return f"{show_value(one) or 'none'} there, {show_value(two) or 'none'} here"


def _value(settings: Settings, name: str) -> object:
    group, _, item = name.partition(".")
    return getattr(getattr(settings, group), item)


def _name(structure: Structure) -> str:
    return structure.name.strip().casefold()
