"""How a training on slices goes: how fine the network sees, its neighbours, depth and width, and the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from autoseg.data.split import Split, subjects_of
from autoseg.model.device import Computer
from autoseg.model.networks import standardised, stride_of
from autoseg.model.preprocessing.extents import crop_size, extent_of, frame_size, plan_spacing
from autoseg.model.preprocessing.neighbouring_slices import neighbours_note
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.training.plan.choice import Choice, change_settings
from autoseg.training.plan.resources import (
    LONGEST_MINUTES,
    Room,
    feature_bytes,
    find_room,
    learning_speed,
    tell_time,
)
from autoseg.training.plan.survey import Survey
from autoseg.words import counted

# Slices seen in a training, each time augmented anew, from which on a small set is learnt reasonably well.
ENOUGH_VIEWS = 10_000
# The network that is planned for slices. By benchmarks/pretrained.py it was better than the U-Net where patients or
# time are few. Mean Dice, the U-Net's in brackets, after two minutes of one core, two folds: hearts' cavity 0.91
# (0.62), lumbar discs 0.67 (0.54), vertebrae 0.80 (0.71), canals 0.83 (0.72). After eight, one fold: cavity 0.935
# (0.890), discs 0.78 (0.80), vertebrae and canals alike. Glioma after ten: 0.75 (0.75).
PLANNED = NetworkSettings(name="efficientnet")
# A step of it took 0.7 of the time of one of the U-Net on one busy core and 1.25 times as long on two quiet ones,
# so that the plan reckons with the U-Net's; it takes 1.7 times the memory (2,609 and 1,547 bytes a pixel; eight
# images of 256 × 256, float32).
EFFICIENTNET_BYTES = 1.7
WHY_THIS_NETWORK = "Learns fast on any computer; others can be compared with it on your images (3_compare)."
# Mean Dice by benchmarks/recipes.py, AdamW's in brackets, minutes of one core: discs after one 0.81 (0.76), after
# three 0.86 (0.85), hippocampi after one 0.78 (0.67), by volumes 0.86 (0.84), after five 0.87 (0.86), glioma of 24
# patients after eight 0.77 (0.70), hearts after three 0.81 (0.80). Areas were as near as before or nearer, but for
# glioma (+17 %, one seed; AdamW +2 %).
OPTIMIZER = Choice("optimizer", "muon", "Learns more in the same time than AdamW, above all small structures.")
KNOWS_PHOTOGRAPHS = "Knows photographs before it learns, so that it needs fewer of your images, and less time."
# Schedules at whose end steps are small.
FALLING = ("cosine", "polynomial")
# Networks whose stages and width are planned, and settings by which a person decides how fine is seen.
PLANNED_NETWORKS = ("unet", "resunet", "efficientnet")
DECIDE_GRID = tuple(f"preprocess.{name}" for name in ("spacing_mm", "input_shape", "crop_mm", "crop_shape"))


def choose_slice_settings(
    survey: Survey, time: Settings, computer: Computer, split: Split, typed: Collection[str] = ()
) -> list[Choice]:
    """Choose all that slices are learnt with; `typed` names what of the settings is decided, and is suited."""
    rate, room = learning_speed(computer), slice_room(survey, computer)
    slices = round(survey.slices * len(split.training))
    grid = []
    if set(DECIDE_GRID) & set(typed):
        preprocess = plan_spacing(time.preprocess, survey.images)
    else:
        grid = [choose_grid(survey, wanted_pixels(time, rate, slices), room.at_once / SMALL_BATCH)]
        preprocess = change_settings(time, {grid[0].name: grid[0].value}).preprocess
    wanted = _wanted_network(time.network, typed)
    is_planned = wanted.name in PLANNED_NETWORKS and wanted.filters is None
    network = choose_network(survey, preprocess, wanted) if is_planned else wanted
    frame = _frame(survey, preprocess, stride_of(network))
    per_s = rate / math.prod(frame)
    views = None if time.minutes is None else per_s * 60 * time.minutes
    widths, faster = list[Choice](), 1.0
    if network.name in PLANNED_NETWORKS:
        why = KNOWS_PHOTOGRAPHS if network.name == "efficientnet" else WHY_THIS_NETWORK
        widths += [Choice("network.name", network.name, why), OPTIMIZER]
    if is_planned:
        filters, faster = choose_width(network, views, slices, frame)
        widths.append(filters)
    measured = computer.pixels_per_second is not None
    return [
        *grid,
        choose_neighbours(survey, _pixel(survey, preprocess)),
        tell_time(time, f"each of about {slices} slices", slices, per_s * faster, ENOUGH_VIEWS, measured=measured),
        choose_batch(frame, slices, computer, room),
        *widths,
        *_choose_normalise(survey),
        _choose_oversampling(survey),
        *_choose_rotation(survey),
        *_choose_flips(survey),
        *_choose_kept(split, time),
        *_suggest_crop(survey, preprocess),
    ]


def wanted_pixels(time: Settings, rate: float, slices: int) -> float:
    """Give how many pixels an image may have for the time to suffice."""
    views = ENOUGH_VIEWS if time.epochs is None else time.epochs * max(1, slices)
    return rate * 60 * (time.minutes or LONGEST_MINUTES) / views


# --- how fine the network sees: no finer than time, memory and the images' own pixels allow

# A structure is found and outlined if it is so many of the network's pixels wide.
PIXELS_ACROSS = 3
# The network's pixels are at most so many times the images' own; where memory is short, this many.
MOST_COARSER, MOST_COARSER_FOR_MEMORY = 2.5, 8.0
# As large as settings may be.
COARSEST_MM = 20.0


def choose_grid(survey: Survey, wanted: float, most: float = math.inf) -> Choice:
    """Choose the pixel size: fine enough for the smallest structure, no finer than time allows or images have.

    There is time for `wanted` pixels of an image, and memory for `most`, which goes before everything else.
    """
    own = float(np.median(survey.pixels_mm))
    rows, columns = (max(size[axis] for size in survey.sizes_mm) for axis in (0, 1))
    smallest = min(survey.widths, key=lambda name: survey.widths[name], default="")
    limits = {
        "No coarser, because there is time enough for these.": math.sqrt(rows * columns / wanted),
        "Coarser pixels would be faster, but lose it.": survey.widths.get(smallest, math.inf) / PIXELS_ACROSS,
        "No coarser, because areas are measured on the images' own pixels.": MOST_COARSER * own,
    }
    limit = min(limits, key=lambda words: limits[words])
    least = max(own, limits[limit])
    affordable = min(math.sqrt(rows * columns / most), MOST_COARSER_FOR_MEMORY * own)
    if affordable > least:
        limit, least = "Finer ones would need more memory than is free.", affordable
    # What memory has no room for is not rounded up to.
    pixel = _snapped(least, max(rows, columns), own, math.floor if least == affordable else round)
    pixel = min(pixel, COARSEST_MM) if survey.has_millimetres else pixel
    is_own = pixel <= 1.001 * own
    seen, full = (f"{math.ceil(rows / size - 0.01)} × {math.ceil(columns / size - 0.01)}" for size in (pixel, own))
    if is_own:
        why = f"The images' own pixel size: the network sees {seen} pixels."
    else:
        slower = f"{(pixel / own) ** 2:.1f} times slower"
        why = f"The network sees {seen} pixels; the images' own {full} would be {slower}."
    if smallest:
        width = survey.widths[smallest]
        long = f"{width:.1f} mm wide, so " if survey.has_millimetres else ""
        why += (
            f" The smallest structure, {smallest}, is about {long}{width / pixel:.1f} pixels{' wide' * (not long)}."
        )
    why += "" if is_own else f" {limit}"
    if survey.has_millimetres:
        return Choice("preprocess.spacing_mm", pixel, why)
    shape = tuple(max(32, round(float(n) / pixel)) for n in np.median(survey.sizes_mm, axis=0))
    return Choice("preprocess.input_shape", shape, "The images have no millimetres. " + why)


def _pixel(survey: Survey, preprocess: PreprocessSettings) -> float:
    """Give the size of the network's pixels in the survey's unit."""
    if preprocess.input_shape is not None:
        return float(np.median(survey.sizes_mm, axis=0)[0]) / preprocess.input_shape[0]
    return preprocess.spacing_mm or 1.0


def _snapped(pixel: float, widest: float, own: float, to_whole: Callable[[float], int]) -> float:
    """Make the widest image fill a frame that a network with its stages takes, for what is padded is wasted."""
    if pixel <= own:
        return round(own, 4)
    count = widest / pixel
    step = 32 if count >= 80 else 16 if count >= 40 else 8
    frame = max(32, to_whole(count / step) * step)
    return max(round(own, 4), math.ceil(widest / frame * 20) / 20)


def _frame(survey: Survey, preprocess: PreprocessSettings, stride: int) -> tuple[int, int]:
    """Give the (rows, columns) that a network with this stride sees."""
    whole = frame_size([extent_of(image, preprocess) for image in survey.images], stride)
    return crop_size(preprocess, whole, stride) or whole


# --- what it sees at once: a slice (2-D), or a slice with its neighbours (2.5-D)

NAME = "preprocess.neighbours"
# Neighbours are seen where slices lie at most this many of the network's pixels apart; 0 switches it off.
CLOSE = 1.5
# In an image with fewer slices most have a neighbour missing.
FEWEST_SLICES = 5


def choose_neighbours(survey: Survey, pixel: float) -> Choice:
    """Choose 2-D or 2.5-D for network's pixels of this size, in the survey's unit."""
    counts = [image.shape[0] for image in survey.images]
    typical, distance = round(float(np.median(counts))), survey.fingerprint.slice_distance_mm
    narrowest = min(survey.widths.values(), default=math.inf)
    by_itself = "Each slice by itself (2-D): "
    if max(counts) == 1:
        return Choice(NAME, 0, by_itself + "all images are single slices, without neighbours.")
    if typical < FEWEST_SLICES:
        few = "a single slice" if typical == 1 else f"only {typical} slices"
        return Choice(NAME, 0, f"{by_itself}a typical image has {few}.")
    if distance is None:
        return Choice(NAME, 0, by_itself + "how far the slices lie apart is not known.")
    apart = f"slices lie {distance:.3g} mm apart, {distance / pixel:.1f} times the size of the network's pixels"
    if distance > CLOSE * pixel:
        limit = f" (they are used up to {CLOSE:g} times)" if CLOSE else ""
        return Choice(NAME, 0, f"{by_itself}{apart}, so that neighbours may show something else{limit}.")
    if distance > narrowest:
        return Choice(NAME, 0, f"{by_itself}{apart}, further than the smallest structure is wide.")
    why = f"Each slice with the one before and the one behind it (2.5-D): {apart}, so that they show much the same."
    return Choice(NAME, 1, f"{why} {neighbours_note(counts, 1)}".strip())


# --- how deep and how wide the network is, and how many slices it sees at once

# nnU-Net (Isensee et al. 2021) stops halving where 4 pixels are left, too.
SMALLEST_MAP, LEAST_STRIDE = 4, 4
# With fewer views of each slice than this, and too few in all, a network of half the width learns more: it is
# about twice as fast.
FEW_VIEWS = 3
NARROWER, NARROWER_FASTER = 2, 2.0
# Where memory has to be saved, so few slices at once before pixels become coarser.
SMALL_BATCH = 2
# On a GPU more slices at once are hardly slower, as long as an epoch still has some steps.
GPU_BATCHES = {32: 256**2, 16: 512**2}
FEWEST_STEPS = 4


def slice_room(survey: Survey, computer: Computer) -> Room:
    """Estimate how many pixels of slices the memory takes at once, in the planned network."""
    one, channels = survey.fingerprint, len(survey.images[0].channels)
    # As `dataset` keeps them: float32 channels and labels, and once more while they are put together.
    stored = 2 * 4 * (channels + 1) * one.rows * one.columns * one.slices * one.images
    more = EFFICIENTNET_BYTES if PLANNED.name == "efficientnet" else 1.0
    return find_room(computer, stored, more * feature_bytes(computer, _filters(), 2))


def _wanted_network(given: NetworkSettings, typed: Collection[str]) -> NetworkSettings:
    """Give the network that a person decided, or else the planned one, without filters where these are planned."""
    filters = given.filters if {"network", "network.filters"} & set(typed) else None
    is_decided = {"network", "network.name"} & set(typed) or given.name != NetworkSettings().name
    wanted = replace(given if is_decided else PLANNED, filters=filters)
    # So many stages have names of the U-Net only.
    return given if len(filters or ()) > len(standardised(replace(wanted, filters=None)).filters or ()) else wanted


def choose_network(survey: Survey, preprocess: PreprocessSettings, wanted: NetworkSettings) -> NetworkSettings:
    """Choose how often the network halves what it sees: until a few pixels are left, but twice at least."""
    shorter, filters = min(_frame(survey, preprocess, 1)), standardised(wanted).filters or ()
    able = [replace(wanted, filters=filters[:count]) for count in range(2, len(filters) + 1)]
    able = [one for one in able if stride_of(one) >= LEAST_STRIDE]
    return max([one for one in able if shorter / stride_of(one) >= SMALLEST_MAP - 0.5] or able[:1], key=stride_of)


def choose_width(
    network: NetworkSettings, views: float | None, slices: int, frame: tuple[int, int]
) -> tuple[Choice, float]:
    """Choose how wide the network is, with the reason, and tell how many times faster that makes it.

    `views` are the slices that the time suffices for, None where epochs are given; `slices` those there are.
    """
    filters, stride = network.filters or (), stride_of(network)
    halved = stride.bit_length() - 1
    why = f"{halved + 1} stages: halved {halved} times, {frame[0]} × {frame[1]} pixels become "
    why += f"{frame[0] // stride} × {frame[1] // stride}, which see the whole image."
    if network.name == "efficientnet":  # its expanding path alone could be narrower, which saves little
        return Choice("network.filters", filters, why), 1.0
    if views is None or views >= FEW_VIEWS * slices or views >= ENOUGH_VIEWS:
        return Choice("network.filters", filters, f"{why} As wide as usual."), 1.0
    narrow = tuple(n // NARROWER for n in filters)
    why += f" Half as wide as usual, so about {NARROWER_FASTER:g} times as fast: in this time one of the usual "
    why += f"width would see each slice only {views / max(1, slices):.1f} times."
    return Choice("network.filters", narrow, why), NARROWER_FASTER


def choose_batch(frame: tuple[int, int], slices: int, computer: Computer, room: Room) -> Choice:
    """Choose how many slices are seen at once."""
    area, shown = math.prod(frame), f"{frame[0]} × {frame[1]}"
    usual = 32 if area <= 64**2 else 16 if area <= 96**2 else 8
    why = f"Images are small for the network ({shown} pixels), so that more at once are faster."
    why = why if usual > 8 else f"The usual number for images of {shown} pixels."
    size = usual
    if computer.device == "cuda" and room.at_once < math.inf:
        fitting = [n for n, most in GPU_BATCHES.items() if area <= most and n * area <= room.at_once]
        size = max([usual, *(n for n in fitting if n * FEWEST_STEPS <= slices)])
        if size > usual:
            why = f"The GPU learns faster from more at once, and {room.gib:.1f} GiB of its memory are free."
    while size > 1 and size * area > room.at_once:
        size //= 2
    if size < usual:
        why = f"More at once, of {shown} pixels, may need more than the {room.gib:.1f} GiB of memory that are free."
    return Choice("batch_size", size, why)


def _filters() -> tuple[int, ...]:
    return standardised(NetworkSettings()).filters or ()


# --- whose intensities slices are brought to

# From this many standard deviations on (`Survey.uneven`). Heads with glioma have 1.3 and 1.5 (20 and 4 patients),
# lumbar muscles 0.9, cervical cords and hippocampi 0.6.
UNEVEN = 1.1


def _choose_normalise(survey: Survey) -> list[Choice]:
    if survey.uneven is None or survey.uneven < UNEVEN:
        return []
    why = (
        "Brightness is that of a patient's whole stack, not of each slice by itself: taken by itself, the same "
        f"tissue would be {survey.uneven:.1f} standard deviations brighter on some slices than on others."
    )
    return [Choice("preprocess.normalise", "image", why)]


# --- how images are drawn, varied and cropped

# From this agreement of turned drawings on (`Survey.turned`) no way round is the usual one. Measured: 1.0 on
# hearts in short axis, 0.65 on the cervical cord, 0.4 on the hippocampus and on lumbar discs.
# Turned by 20 degrees at most, hearts were learnt sooner (validation Dice 0.72 beside 0.53 after 1.5 minutes of one
# core, 0.82 beside 0.81 after 5), but one of five, which lies another way round, was not found at all.
ANY_WAY_ROUND = 0.8
SMALL_ROTATION_DEG = 20.0
# From this agreement of mirrored images on (`Survey.mirrored`) left and right may be exchanged. Measured: 1.0 on
# heads with glioma and on cervical cords, 0.8 on hearts, below 0.3 on sagittal spines and on hippocampi.
SYMMETRIC = 0.95
# A crop is worth a thought where structures fill less than this part of the image's length and width.
SMALL_PART = 0.35
# Where fewer slices than this show a structure, so much of each batch are such slices: glioma, on 35 % of them,
# was found better so (three more settings changed with it; mean Dice 0.790, before 0.720, 79 patients).
RARE, OFTEN = 0.5, 0.5


def _choose_oversampling(survey: Survey) -> Choice:
    part = survey.fingerprint.with_structure
    slices = f"the {counted(sum(one.slices for one in survey.counts.values()), 'slice')}"
    if 0 < part < RARE:
        why = f"Only {part:.0%} of {slices} show a structure; so at least half of those seen at once do."
        return Choice("oversampling", OFTEN, why)
    why = f"{part:.0%} of {slices} show a structure: enough, as they come."
    return Choice("oversampling", 0.0, why if part else f"None of {slices} shows a structure.")


def _choose_rotation(survey: Survey) -> list[Choice]:
    if survey.turned is None or survey.turned >= ANY_WAY_ROUND:
        return []
    why = (
        "What was drawn lies the same way up in all patients: turned by quarters, drawings agree only "
        f"{survey.turned:.0%} as well. So images are turned a little only."
    )
    return [Choice("augmentation.rotation_deg", SMALL_ROTATION_DEG, why)]


def _choose_flips(survey: Survey) -> list[Choice]:
    if survey.mirrored is None or survey.mirrored < SYMMETRIC:
        return []
    why = (
        "Mirrored left to right, images of different patients agree as well as they do as they are, and what was "
        "drawn lies on no side of its own. So half of what is seen is mirrored."
    )
    return [Choice("augmentation.flip_probability", 0.5, why)]


# --- which epoch is kept

# So many validation patients at least choose the epoch. Two chose one of glioma's first (epoch 2 of 20, which did
# best on them): on twelve unseen patients Dice 0.66 and areas off by +35 %, with the last one 0.75 and -5 %.
FEWEST_TO_CHOOSE = 8


def _choose_kept(split: Split, time: Settings) -> list[Choice]:
    count = len(subjects_of(split.validation))
    if not 0 < count < FEWEST_TO_CHOOSE or time.schedule not in FALLING:
        return []
    why = (
        f"The last epoch, whose steps were the smallest: the one that does best on {counted(count, 'patient')} may "
        "do so by luck. So validation scores the model, and chooses nothing of it."
    )
    return [Choice("best_by", "last", why)]


def _suggest_crop(survey: Survey, preprocess: PreprocessSettings) -> list[Choice]:
    """Say where a crop might help; it is not chosen, because it was not measured on enough kinds of images."""
    whole = tuple(max(size[axis] for size in survey.sizes_mm) for axis in (0, 1))
    part = max(drawn / length for drawn, length in zip(survey.drawn, whole, strict=True))
    if not 0 < part < SMALL_PART or preprocess.crop_mm or preprocess.crop_shape:
        return []
    name = "crop_mm" if survey.has_millimetres else "crop_shape"
    why = (
        f"Structures fill at most {part:.0%} of an image's length. If small ones are missed, try a crop of about "
        "twice what they fill: not planned, since it was not measured on enough kinds of images."
    )
    return [Choice(f"preprocess.{name}", None, why)]
