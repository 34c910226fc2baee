"""A few slices that are watched while a network learns: chosen once, segmented and drawn again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from autoseg.data.cases import Case, read_case
from autoseg.data.split import Split, subjects_of
from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import Rgb, choose_slices, display_scale, display_window, overlay_rgb, pixel_aspect
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.prediction import predict
from autoseg.report.figures.slices import encode_picture

# A picture shows this many times what was drawn, or the whole slice where that is not much more.
ROOM = 2.5
# Of volumes, which are segmented as a whole for each picture, slices of so many are watched.
MOST_VOLUMES = 3


@dataclass(frozen=True, eq=False)
class WatchedSlice:
    """One slice with its reference; `caption` says whose, without a name, `side` "validation" or "training".

    `image` and `reference` have one slice; `window` are the intensities shown black and white, `zoom` the
    (first row, end row, first column, end column) that are shown. `near` are the voxels of the slice between its
    neighbours, where those were asked for; `volume` is the whole image and `index` the slice's place in it, where
    that was asked for.
    """

    image: Image
    reference: LabelMap
    caption: str
    side: str
    window: tuple[float, float]
    zoom: tuple[int, int, int, int]
    near: npt.NDArray[np.generic] | None = None
    volume: Image | None = None
    index: int = 0


def choose_watched(
    split: Split, structures: Sequence[Structure], *, most: int = 6, neighbours: int = 0, volumes: bool = False
) -> tuple[WatchedSlice, ...]:
    """Choose slices to watch while a network learns, spread over subjects, structures and the stack.

    They are validation slices; training slices where there is nobody to validate on (`WatchedSlice.side`). The
    same split gives the same slices. Patients are numbered, not named. With `neighbours` so many slices on either
    side are kept too, with `volumes` the whole images (of three at most).
    """
    side, cases = ("validation", split.validation) if split.validation else ("training", split.training)
    everyone = subjects_of((*split.training, *split.validation, *split.test))  # numbered as in the settings
    numbers = {subject: number for number, subject in enumerate(everyone, start=1)}
    candidates: list[tuple[Case, WatchedSlice]] = []
    for case in _spread(cases, MOST_VOLUMES if volumes else 2 * most):
        image, label_map = read_case(case, tuple(structures))
        zoom = _zoom(image, label_map)
        own = [other.case_id for other in cases if other.subject_id == case.subject_id]
        for index in choose_slices(image, [label_map], most=most):
            where = image.say_slice(index)
            if image.shape[0] == 1 and len(own) > 1:
                where = f"image {own.index(case.case_id) + 1} of {len(own)}"
            caption = f"patient {numbers[case.subject_id]}, {where}"
            single = image.one_slice(index)
            window = display_window(single.channel_voxels[0])
            near = _neighbours(image.channel_voxels, index, neighbours) if neighbours else None
            watched = WatchedSlice(single, _one_label(label_map, index, single), caption, side, window, zoom, near)
            candidates.append((case, replace(watched, volume=image, index=index) if volumes else watched))
    return _choose(candidates, most)


def needs_whole(settings: Settings) -> bool:
    """Tell whether a slice can be segmented only with the whole image that it is of."""
    return settings.spatial_dims == 3 or settings.preprocess.normalise == "image"


def predict_watched(model: TrainedModel, watched: Sequence[WatchedSlice]) -> tuple[LabelMap, ...]:
    """Segment the watched slices with a model, each on its own grid and as a whole, without cleaning."""
    if needs_whole(model.settings):
        return _predict_volumes(replace(model, postprocess=()), watched)
    whole = replace(model.settings, preprocess=replace(model.settings.preprocess, find_region="whole"))
    model = replace(model, settings=whole, postprocess=())
    alike: dict[object, list[int]] = {}
    for place, one in enumerate(watched):
        spacing = None if one.image.affine is None else tuple(np.round(one.image.spacing_mm, 9))
        alike.setdefault((one.image.shape, spacing), []).append(place)
    found: dict[int, LabelMap] = {}
    each = 2 * model.settings.preprocess.neighbours + 1
    for places in alike.values():  # one building of the network for all slices of a size
        first = watched[places[0]].image
        # With its own neighbours around it, a slice in the stack has no other patient's beside it.
        voxels = np.concatenate([_between(watched[place], each) for place in places], axis=1)
        stack = Image(voxels if first.voxels.ndim == 4 else voxels[0], first.affine, first.channels)
        with torch.random.fork_rng(devices=[]):  # building a network draws numbers, which the training would miss
            labels = predict(model, stack, precision="auto").voxels
        for n, place in enumerate(places):
            image = watched[place].image
            middle = n * each + each // 2
            found[place] = LabelMap(
                labels[middle : middle + 1], image.affine, model.structures, source=image.source
            )
    return tuple(found[place] for place in range(len(watched)))


def _predict_volumes(model: TrainedModel, watched: Sequence[WatchedSlice]) -> tuple[LabelMap, ...]:
    """Segment each volume once, and take the watched slices of it."""
    known: dict[int, LabelMap] = {}
    found = []
    for one in watched:
        if one.volume is None:
            raise DataError(
                "This model needs the whole image of a watched slice. Choose slices with their volumes."
            )
        if id(one.volume) not in known:
            with torch.random.fork_rng(devices=[]):
                known[id(one.volume)] = predict(model, one.volume, precision="auto")
        found.append(_one_label(known[id(one.volume)], one.index, one.image))
    return tuple(found)


def draw_watched(watched: WatchedSlice, predicted: LabelMap | None, *, least: int = 280) -> bytes:
    """Draw a slice with the prediction filled in the structures' colours and the reference as a dashed outline.

    The dashes are white and black in turn, so that they are seen on any ground. A structure that was not drawn
    has no outline.
    """
    top, end, left, right = watched.zoom
    shown = (slice(top, end), slice(left, right))
    grey = watched.image.channel_voxels[0, 0][shown]
    scale = display_scale(grey.shape, aspect=pixel_aspect(watched.image), least=least)
    labels = None if predicted is None else predicted.voxels[0][shown]
    structures = watched.reference.structures
    picture = overlay_rgb(grey, labels, structures, window=watched.window, scale=scale)
    for structure in structures:
        if watched.reference.is_annotated(structure.label):
            _outline(picture, watched.reference.mask(structure.label)[0][shown], scale)
    return encode_picture(picture, "jpeg", quality=85)


def _spread(cases: Sequence[Case], most: int) -> list[Case]:
    """Give at most `most` cases, in turn of every subject, evenly among a subject's own."""
    by_subject: dict[str, list[Case]] = {}
    for case in cases:
        by_subject.setdefault(case.subject_id, []).append(case)
    share = -(-most // max(1, len(by_subject)))
    rows = []
    for own in by_subject.values():
        # From the middle of each part on: the ends of a stack show little.
        count = min(share, len(own))
        rows.append([own[int((n + 0.5) * len(own) / count)] for n in range(count)])
    turns = [row[n] for n in range(share) for row in rows if n < len(row)]
    return turns[:most]


def _choose(candidates: Sequence[tuple[Case, WatchedSlice]], most: int) -> tuple[WatchedSlice, ...]:
    """Take the slice that adds most, again and again: a new subject, rare structures, a new case, a large area."""
    left, chosen = list(range(len(candidates))), list[int]()
    subjects, cases, shown = Counter[str](), Counter[str](), Counter[int]()
    labels = [frozenset(np.unique(one.reference.voxels).tolist()) - {0} for _, one in candidates]
    sizes = [float((one.reference.voxels > 0).mean()) for _, one in candidates]

    def worth(place: int) -> tuple[float, ...]:
        case = candidates[place][0]
        rare = sum(1 / (1 + shown[label]) for label in labels[place])
        return -subjects[case.subject_id], rare, -cases[case.case_id], sizes[place]

    while left and len(chosen) < most:
        place = max(left, key=worth)
        left.remove(place)
        chosen.append(place)
        case = candidates[place][0]
        subjects[case.subject_id] += 1
        cases[case.case_id] += 1
        shown.update(labels[place])
    order = {subject: n for n, subject in enumerate(dict.fromkeys(case.subject_id for case, _ in candidates))}
    return tuple(candidates[n][1] for n in sorted(chosen, key=lambda n: (order[candidates[n][0].subject_id], n)))


def _neighbours(voxels: npt.NDArray[np.generic], index: int, neighbours: int) -> npt.NDArray[np.generic]:
    """Give a slice between its neighbours (channels, slices, rows, columns); beyond the ends the last one again."""
    return voxels[:, np.clip(np.arange(index - neighbours, index + neighbours + 1), 0, voxels.shape[1] - 1)]


def _between(watched: WatchedSlice, count: int) -> npt.NDArray[np.generic]:
    """Give a watched slice in the middle of `count` slices: its neighbours, or itself where they were not kept."""
    near = watched.near if watched.near is not None else watched.image.channel_voxels
    middle, around = near.shape[1] // 2, count // 2
    return _neighbours(near, middle, around)


def _one_label(label_map: LabelMap, index: int, image: Image) -> LabelMap:
    voxels = label_map.voxels[index : index + 1].copy()
    return LabelMap(voxels, image.affine, label_map.structures, label_map.annotated, image.source)


def _zoom(image: Image, label_map: LabelMap) -> tuple[int, int, int, int]:
    """Give the rows and columns to show: around what was drawn, where that is small."""
    drawn: npt.NDArray[np.bool_] = np.any(label_map.voxels, axis=0)
    if not drawn.any():
        return 0, drawn.shape[0], 0, drawn.shape[1]
    places = [np.flatnonzero(np.any(drawn, axis=1 - axis)) for axis in (0, 1)]
    span = max(48, *(round(ROOM * (found[-1] + 1 - found[0])) for found in places))
    if span > 0.75 * max(drawn.shape):
        return 0, drawn.shape[0], 0, drawn.shape[1]
    ends: list[int] = []
    for size, found in zip(drawn.shape, places, strict=True):
        first = int(np.clip((found[0] + found[-1]) // 2 - span // 2, 0, max(0, size - span)))
        ends += [first, min(size, first + span)]
    return ends[0], ends[1], ends[2], ends[3]


def _outline(picture: Rgb, mask: npt.NDArray[np.bool_], scale: tuple[int, int]) -> None:
    """Draw the edge of a mask into an enlarged picture, in dashes of white and black."""
    large = np.pad(mask.repeat(scale[0], axis=0).repeat(scale[1], axis=1), 1)
    inner = large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
    edge = large[1:-1, 1:-1] & ~inner
    rows, columns = np.nonzero(edge)
    picture[rows, columns] = np.where((rows + columns) // 5 % 2, 255, 0)[:, None]
