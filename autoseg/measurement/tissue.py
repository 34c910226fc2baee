"""What structures are made of, by how bright they are: every channel's mean and spread, and the share of fat."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import DataError, LabelError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import annotated_structures
from autoseg.measurement.scores import touches_edge
from autoseg.words import listed

PERCENTILES = (5, 25, 50, 75, 95)
# What the channels of a Dixon scan are called, as whole words of a name.
WATER_NAMES, FAT_NAMES = ("water", "w", "wat"), ("fat", "f")
# Two kinds of pixels count as two where their means lie so far apart (Ashman et al., Astron J 108:2348, 1994).
LEAST_APART = 2.0
LEAST_SHARE = 0.01  # of the rarer kind
FEWEST_PIXELS = 50  # of fewer no mixture is told
MOST_PIXELS = 50_000  # of more, every second, third … is fitted
ROUNDS, STEADY = 500, 1e-7
MORE_FAT = 50.0  # percent; few structures but fat itself have more

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FatChannels:
    """Which channels tell of fat: `water` and `fat` of a Dixon scan, and the one to `estimate` it from.

    "" is found by its name (`find_water_and_fat`) or, of `estimate`, not done.
    """

    water: str = ""
    fat: str = ""
    estimate: str = ""

    def __post_init__(self) -> None:
        if bool(self.water) != bool(self.fat):
            raise DataError("A fat fraction needs both channels: say which is water and which is fat.")


@dataclass(frozen=True)
class Place:
    """What is measured: a structure on one slice, or where `slice` is None on all slices of the image together."""

    case_id: str
    subject_id: str
    slice: int | None
    level: str
    label: int
    name: str
    side: str
    touches_edge: bool


@dataclass(frozen=True)
class IntensityRow(Place):
    """How bright one channel is within a structure: mean, SD (of the sample) and percentiles of its pixels.

    In the image's own unit: Hounsfield units in CT, arbitrary ones in MR, where two scans cannot be compared.
    Pixels without a number are left out and not counted in `pixel_count`.
    """

    channel: str
    pixel_count: int
    mean_intensity: float
    sd_intensity: float | None
    p5_intensity: float
    p25_intensity: float
    median_intensity: float
    p75_intensity: float
    p95_intensity: float


@dataclass(frozen=True)
class FatRow(Place):
    """The fat fraction within a structure, F / (W + F) pixel by pixel: mean, SD (of the sample) and median.

    `pixel_count` are the pixels that have one; those without any signal have none.
    """

    pixel_count: int
    fat_fraction_percent: float
    sd_fat_fraction_percent: float | None
    median_fat_fraction_percent: float


@dataclass(frozen=True)
class FatEstimateRow(Place):
    """The share of a structure's pixels that are fat by a threshold on one channel: an estimate, no fat fraction.

    `threshold_intensity` parts two kinds of pixels of this structure in this image, see `fat_threshold`.
    """

    channel: str
    pixel_count: int
    fat_share_estimate_percent: float
    threshold_intensity: float


@dataclass(frozen=True)
class Tissue:
    """What `measure_tissue` found, of one image or several; `notes` are sentences."""

    intensities: tuple[IntensityRow, ...] = ()
    fat: tuple[FatRow, ...] = ()
    estimates: tuple[FatEstimateRow, ...] = ()
    notes: tuple[str, ...] = ()


def measure_tissue(label_map: LabelMap, image: Image, channels: FatChannels | None = None) -> Tissue:
    """Measure how bright every structure is in every channel, and how much of it is fat where that can be told.

    A structure has a row for each slice that shows it, and one for all of them together. What is cut off by the
    edge of the image is measured as far as it is seen.

    The *fat fraction* is that of the signals, F / (W + F) of the water and fat images of one Dixon scan, which must
    have the same scale. It is the fraction of protons only where the scan was made for that (low flip angle, T2*
    corrected); noise moves it towards 50 %. Water and fat are found by the channels' names or given.

    The *estimate* parts the pixels of each structure of the image into two kinds by the brightness of one channel
    in which fat is bright, and counts the brighter ones; where they are not of two kinds there is none.

    Parameters
    ----------
    label_map : LabelMap
    image : Image
        On the same grid.
    channels : FatChannels, optional

    Returns
    -------
    Tissue

    Raises
    ------
    LabelError
        If the image lies on another grid.
    DataError
        If it has no channel of a given name.
    """
    if not label_map.same_grid(image):
        raise LabelError(
            f"{image.source.name}: the image {image!r} and the labels {label_map!r} lie on different grids. "
            "Measure each label map with the image that it was drawn on."
        )
    wanted = channels or FatChannels()
    pair = _pair(image, wanted)
    estimated = _index(image, wanted.estimate) if wanted.estimate else None
    voxels = image.channel_voxels
    percent = None if pair is None else 100 * fat_fraction(voxels[pair[0]], voxels[pair[1]])
    intensities: list[IntensityRow] = []
    fat: list[FatRow] = []
    estimates: list[FatEstimateRow] = []
    notes: list[str] = []
    for structure in annotated_structures(label_map):
        mask = label_map.mask(structure.label)
        for channel, name in enumerate(image.channels):
            of_channel = list(_pixels(label_map, structure, mask, voxels[channel]))
            intensities += [_intensity(place, name, pixels) for place, pixels in of_channel if len(pixels)]
            if channel == estimated and of_channel:
                rows, note = _estimate(of_channel, name)
                estimates, notes = [*estimates, *rows], [*notes, note]
        if percent is not None:
            of_fat = _pixels(label_map, structure, mask, percent)
            fat += [_fat(place, pixels) for place, pixels in of_fat if len(pixels)]
    if pair is not None:
        notes.append(_about_fat(fat, image, pair))
    said = dict.fromkeys(f"{image.source.case_id}: {note}" for note in notes if note)
    return Tissue(tuple(intensities), tuple(fat), tuple(estimates), tuple(said))


def join_tissue(parts: Sequence[Tissue]) -> Tissue:
    """Put together what was measured of several images."""
    return Tissue(*(tuple(row for one in parts for row in getattr(one, field.name)) for field in fields(Tissue)))


def tissue_table(rows: Sequence[Place]) -> pd.DataFrame:
    """Give one row a structure and place (a slice; the whole image where slice is empty), columns as the fields.

    Parameters
    ----------
    rows : sequence of IntensityRow, of FatRow or of FatEstimateRow
        One of the parts of a `Tissue`.

    Returns
    -------
    pandas.DataFrame
        In the order of the rows; empty, without columns, where there are none.

    Examples
    --------
    >>> tissue_table(()).empty
    True
    """
    table = pd.DataFrame([asdict(row) for row in rows])
    return table.assign(slice=pd.Series([row.slice for row in rows], dtype=object)) if rows else table


def whole_images(table: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of a `tissue_table` that are of all slices of an image together."""
    return table[table["slice"].isna()].drop(columns="slice").reset_index(drop=True) if len(table) else table


# --- water and fat


def check_channels(image: Image, channels: FatChannels) -> None:
    """Refuse channels that an image does not have, before anything is done with it."""
    _pair(image, channels)
    if channels.estimate:
        _index(image, channels.estimate)


def find_water_and_fat(channels: Sequence[str]) -> tuple[int, int] | None:
    """Find the water and the fat channel by their names; None unless just one of them is called each.

    Examples
    --------
    >>> [find_water_and_fat(names) for names in (["FAT", "dixon_water"], ["w", "f", "in-phase"], ["T1"])]
    [(1, 0), (0, 1), None]
    """
    words = [re.findall(r"[^\W_]+", name.lower()) for name in channels]
    water, fat = (
        [place for place, own in enumerate(words) if set(own) & set(names)] for names in (WATER_NAMES, FAT_NAMES)
    )
    return (water[0], fat[0]) if len(water) == len(fat) == 1 and water != fat else None


def fat_fraction(water: npt.ArrayLike, fat: npt.ArrayLike) -> Floats:
    """Give F / (W + F) of every pixel, 0 to 1; NaN where there is no signal. What lies below 0 counts as 0.

    Examples
    --------
    >>> fat_fraction([300.0, 0.0, 0.0, -2.0], [100.0, 5.0, 0.0, 8.0]).tolist()
    [0.25, 1.0, nan, 1.0]
    """
    w, f = (np.maximum(np.asarray(one, dtype=np.float64), 0.0) for one in (water, fat))
    whole = w + f
    return np.divide(f, whole, out=np.full(whole.shape, math.nan), where=whole > 0)


def _pair(image: Image, wanted: FatChannels) -> tuple[int, int] | None:
    if not wanted.water:
        return find_water_and_fat(image.channels)
    if wanted.water == wanted.fat:
        raise DataError(f"Water and fat are both {wanted.water!r}. Give two channels.")
    return _index(image, wanted.water), _index(image, wanted.fat)


def _index(image: Image, name: str) -> int:
    if name not in image.channels:
        has = listed(list(image.channels))
        raise DataError(f"{image.source.case_id} has no channel {name!r}; it has {has}. Give one of these.")
    return image.channels.index(name)


def _about_fat(rows: Sequence[FatRow], image: Image, pair: tuple[int, int]) -> str:
    """Say where a structure is more fat than anything else: water and fat may have been exchanged."""
    much = [row.name for row in rows if row.slice is None and row.fat_fraction_percent > MORE_FAT]
    if not much:
        return ""
    water, fat = (image.channels[place] for place in pair)
    return (
        f"more than half of {listed(much)} is fat, if {water!r} is water and {fat!r} is fat. Look whether the two "
        "are exchanged, in their names or by the scanner."
    )


# --- an estimate by a threshold


def fat_threshold(values: npt.ArrayLike) -> float | None:
    """Find where two kinds of pixels part, the darker and the brighter; None where they are not of two kinds.

    Two normal distributions are fitted by expectation maximisation (Dempster et al., J R Stat Soc B 39:1, 1977),
    and the threshold is where a pixel belongs to either with the same probability. They are two kinds where their
    means lie at least 2 apart in Ashman's measure, sqrt(2) |m1 - m2| / sqrt(s1² + s2²), and each has 1 % of the
    pixels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> muscle, fat = rng.normal(100, 10, 700), rng.normal(200, 10, 300)
    >>> 130 < fat_threshold(np.concatenate([muscle, fat])) < 170, fat_threshold(muscle)
    (True, None)
    """
    known = np.asarray(values, dtype=np.float64).ravel()
    known = known[np.isfinite(known)]
    if len(known) < FEWEST_PIXELS or np.ptp(known) == 0:
        return None
    known = known[:: -(-len(known) // MOST_PIXELS)]
    fitted = _two_normals(known)
    if fitted is None:
        return None
    (low, high), (narrow, wide), (share, other) = fitted
    apart = math.sqrt(2) * (high - low) / math.hypot(narrow, wide)
    if apart < LEAST_APART or min(share, other) < LEAST_SHARE:
        return None
    between = np.linspace(low, high, 1001)
    odds = _log_density(between, low, narrow, share) - _log_density(between, high, wide, other)
    return float(between[int(np.argmin(np.abs(odds)))])


Pair = tuple[float, float]


def _two_normals(values: Floats) -> tuple[Pair, Pair, Pair] | None:
    """Give means (the darker first), SDs and shares of two normal distributions; None where one vanishes."""
    centre, scale = float(values.mean()), float(values.std())
    x = (values - centre) / scale
    darker = np.asarray(x < _otsu(x), dtype=np.float64)
    belongs = np.stack([darker, 1 - darker])
    likelihood = -math.inf
    means = sds = shares = np.zeros(2)
    for _ in range(ROUNDS):
        weight = belongs.sum(axis=1)
        if weight.min() < 2:
            return None
        shares = weight / len(x)
        means = belongs @ x / weight
        sds = np.sqrt(np.maximum((belongs * (x - means[:, None]) ** 2).sum(axis=1) / weight, 1e-6))
        logs = np.stack([_log_density(x, means[k], sds[k], shares[k]) for k in (0, 1)])
        total = np.logaddexp(*logs)
        belongs, before, likelihood = np.exp(logs - total), likelihood, float(total.mean())
        if likelihood - before < STEADY:
            break
    order = np.argsort(means)
    m, s, w = ([float(one) for one in own[order]] for own in (centre + scale * means, scale * sds, shares))
    return (m[0], m[1]), (s[0], s[1]), (w[0], w[1])


def _otsu(values: Floats) -> float:
    """Give the threshold with the largest variance between its sides (Otsu, IEEE Trans SMC 9:62, 1979)."""
    counts, edges = np.histogram(values, bins=128)
    middle = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    sums = np.cumsum(counts * middle)
    difference = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:][int(np.argmax(below * above * difference**2))])


def _log_density(x: Floats, mean: float, sd: float, share: float) -> Floats:
    return np.asarray(math.log(share) - math.log(sd) - 0.5 * ((x - mean) / sd) ** 2)


def _estimate(parts: Sequence[tuple[Place, Floats]], channel: str) -> tuple[list[FatEstimateRow], str]:
    """Count one structure's bright pixels, slice by slice and together; the last part is all of them."""
    place, whole = parts[-1]
    threshold = fat_threshold(whole)
    if threshold is None:
        return [], (
            f"no estimate of fat in {place.name}: its pixels in {channel!r} are not of two kinds, a darker and a "
            "brighter one."
        )
    rows = [
        FatEstimateRow(
            **vars(one),
            channel=channel,
            pixel_count=len(pixels),
            fat_share_estimate_percent=100 * float(np.mean(pixels > threshold)),
            threshold_intensity=threshold,
        )
        for one, pixels in parts
        if len(pixels)
    ]
    return rows, ""


# --- pixels of a structure, and what is said of them


def _pixels(
    label_map: LabelMap, structure: Structure, mask: npt.NDArray[np.bool_], values: npt.NDArray[np.generic]
) -> Iterator[tuple[Place, Floats]]:
    """Give the numbers within a structure, slice by slice where it is, then of all slices together."""
    source = label_map.source
    shown = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    edges = [touches_edge(mask[index]) for index in shown]

    def place(number: int | None, level: str, edge: bool) -> Place:
        who = (source.case_id, source.subject_id, number, level)
        return Place(*who, structure.label, structure.name, structure.side, edge)

    parts = []
    for index, edge in zip(shown, edges, strict=True):
        pixels = values[index][mask[index]].astype(np.float64)
        parts.append(pixels[np.isfinite(pixels)])
        level = source.slices[index].level if source.slices else ""
        yield place(label_map.slice_number(index), level, edge), parts[-1]
    if parts:
        yield place(None, "", any(edges)), np.concatenate(parts)


def _intensity(place: Place, channel: str, pixels: Floats) -> IntensityRow:
    p5, p25, median, p75, p95 = np.percentile(pixels, PERCENTILES).tolist()
    return IntensityRow(
        **vars(place),
        channel=channel,
        pixel_count=len(pixels),
        mean_intensity=float(pixels.mean()),
        sd_intensity=_sd(pixels),
        p5_intensity=p5,
        p25_intensity=p25,
        median_intensity=median,
        p75_intensity=p75,
        p95_intensity=p95,
    )


def _sd(values: Floats) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _fat(place: Place, percent: Floats) -> FatRow:
    return FatRow(
        **vars(place),
        pixel_count=len(percent),
        fat_fraction_percent=float(percent.mean()),
        sd_fat_fraction_percent=_sd(percent),
        median_fat_fraction_percent=float(np.median(percent)),
    )
