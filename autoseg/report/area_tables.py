"""Measurements as tables: the tidy one, the wide one to read and print, and sums by level and patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd

from autoseg.errors import DataError
from autoseg.image.structures import Structure
from autoseg.measurement.areas import Measurement
from autoseg.words import counted, listed, natural

# In the order in which `measure_areas` sets them.
FLAG_WORDS = {
    "touches edge": "touches the edge of the image, so it may be cut off",
    "fragmented": "lies in several pieces",
    "missing between slices": "is missing here, though slices before and behind show it",
    "jump": "is more than twice as large, or less than half as large, as on the slices beside it",
    "side differs": "is less than a third of the other side",
}
SOURCE_WORDS = {"header": "header", "typed": "typed field of view"}
PATIENT_COLUMNS = (
    "patient", "subject_id", "image", "structure", "slices", "mean_area_mm2", "sd_area_mm2", "max_area_mm2",
    "volume_mm3", "flagged",
)  # fmt: skip
SAME_STEP = 0.01  # relative; slices whose distances differ by more are not evenly spaced


@dataclass(frozen=True, eq=False)
class AreaBlock:
    """One image (or one series of single slices) of the wide table.

    `rows` holds the measurements of each slice, as the table orders the slices; `statistics` the lines below them,
    from word ("mean", "SD (unflagged)") to values named like the table's columns; empty where images show the same
    place at several moments. `case_id` is that of the lines below: the image's, or "all of <subject_id>".
    """

    case_id: str
    is_single_slices: bool
    rows: tuple[tuple[Measurement, ...], ...]
    statistics: dict[str, dict[str, float]]


def measurements_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Give the tidy table: one row a slice and structure, columns named like Measurement's fields."""
    columns = [field.name for field in fields(Measurement)]
    return pd.DataFrame([asdict(row) for row in measurements], columns=columns)


def areas_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Give the wide table: one row a slice, one column a structure; below each image mean, SD and n.

    Every image is a block of its own, images in the order of their case_id and slices by their position.
    Where every image is a single slice (labelled files one by one), each series of a patient is one block;
    it gets no mean where positions repeat (the heart in two phases), because that would be of neither.

    The SD is the sample's (n - 1 in the denominator), NaN with fewer than two slices. Mean, SD and n count the
    slices of the block on which the structure is present; the "(unflagged)" rows leave out a structure's own
    flagged areas and keep the slice for the others.

    Parameters
    ----------
    measurements : sequence of Measurement
        From `measure_areas`; the lists of several images may be joined.

    Returns
    -------
    pandas.DataFrame
        Columns: case_id (only where there are several), slice_index, slice_position_mm, "<name> mm²" for each
        structure (NaN where it was not drawn), flags; level where levels are known. In the last six rows of a
        block slice_index holds the words mean, SD, n, mean (unflagged), SD (unflagged), n (unflagged); case_id is
        the image's, or "all of <subject_id>" for a series of single slices.

    Raises
    ------
    DataError
        If two measurements are of the same case, slice and structure.
    """
    blocks = _blocks(measurements)
    by_label = sorted((row for _, rows in blocks for row in rows), key=lambda row: row.label)
    columns = list(dict.fromkeys(f"{row.name} mm²" for row in by_label))
    lines = []
    for title, rows in blocks:
        lines.extend(_slice_lines(rows))
        if not _mixes_moments(rows):
            lines.extend(_statistics(rows, title, columns))
    several = len({row.case_id for row in measurements}) > 1
    numbers = ["slice_position_mm", *columns]
    levels = ["level"] if any(row.level for row in measurements) else []
    shown = [*(["case_id"] if several else []), "slice_index", *levels, *numbers, "flags"]
    return pd.DataFrame(lines, columns=shown).astype(dict.fromkeys(numbers, float))


def area_blocks(measurements: Sequence[Measurement]) -> tuple[AreaBlock, ...]:
    """Give what `areas_table` holds block by block, with the measurement behind every cell."""
    blocks = []
    for title, rows in _blocks(measurements):
        _slice_lines(rows)  # refuses what was measured twice
        slices: dict[tuple[str, int], list[Measurement]] = {}
        for row in rows:
            slices.setdefault((row.case_id, row.slice_index), []).append(row)
        names = list(dict.fromkeys(f"{row.name} mm²" for row in sorted(rows, key=lambda row: row.label)))
        lines = [] if _mixes_moments(rows) else _statistics(rows, title, names)
        statistics = {str(line["slice_index"]): {name: _number(line[name]) for name in names} for line in lines}
        is_single = title != rows[0].case_id
        blocks.append(AreaBlock(title, is_single, tuple(map(tuple, slices.values())), statistics))
    return tuple(blocks)


def explain_area(measurement: Measurement, structures: Sequence[Structure] = ()) -> str:
    """Say in a line how an area came about: pixels times the area of one pixel, and where its size was from.

    The area of one pixel is written with as many digits as it takes for the product to give the area that stands
    before it.

    Parameters
    ----------
    measurement : Measurement
    structures : sequence of Structure, optional
        With them the line tells of structures inside this one, which its area counts too.

    Returns
    -------
    str

    Examples
    --------
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.image.image import LabelMap, Source
    >>> from autoseg.measurement.areas import measure_areas
    >>> voxels = np.zeros((1, 64, 64), int)
    >>> voxels[0, 2:32, 2:48] = 1
    >>> source = Source(spacing_source="header")
    >>> affine = affine_from_spacing((8.0, 0.9375, 0.9375))
    >>> (row,) = measure_areas(LabelMap(voxels, affine, (Structure(1, "psoas"),), source=source))
    >>> explain_area(row)
    '1,213 mm² = 1,380 pixels × 0.8789 mm² (header)'
    """
    inner = next((s.includes for s in structures if s.label == measurement.label), ())
    names = [s.name for s in structures if s.label in inner]
    inside = f"; {listed(names)} inside it {'is' if len(names) == 1 else 'are'} counted too" if names else ""
    count = measurement.pixel_count
    source = SOURCE_WORDS.get(measurement.spacing_source, "nobody said where the pixel size is from")
    if not count:
        return f"0 mm² = 0 pixels: {measurement.name} is not on this slice{inside}"
    area, pixel = area_text(measurement.area_mm2), measurement.area_mm2 / count
    half = Decimal(1).scaleb(-len(area.partition(".")[2])) / 2
    shown = ""
    for digits in range(4, 16):
        shown = area_text(pixel, digits)
        if abs(count * _decimal(shown) - _decimal(area)) <= half:
            break
    return f"{area} mm² = {count:,} pixel{'s' if count != 1 else ''} × {shown} mm² ({source}){inside}"


def explain_flags(flags: str) -> str:
    """Give a measurement's flags as words that end a sentence about the structure; "" without flags.

    Examples
    --------
    >>> explain_flags("touches edge; fragmented")
    'touches the edge of the image, so it may be cut off; lies in several pieces'
    """
    return "; ".join(FLAG_WORDS.get(flag, flag) for flag in flags.split("; ") if flag)


def area_text(area_mm2: float, digits: int = 4) -> str:
    """Write an area with this many digits that count, thousands apart, never cut before the decimal point.

    A half is rounded up, as the browser does, so that the table and the line below it say the same.

    Examples
    --------
    >>> area_text(1238.379), area_text(16.7), area_text(0.87890625), area_text(0.0), area_text(113.25)
    ('1,238', '16.7', '0.8789', '0', '113.3')
    """
    if not area_mm2:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(area_mm2))))
    text = fixed_text(area_mm2, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed_text(number: float, decimals: int) -> str:
    """Write a number with this many decimals, thousands apart; a half is rounded away from zero.

    Examples
    --------
    >>> fixed_text(1002.5, 0), fixed_text(0.25, 1), fixed_text(-0.25, 1)
    ('1,003', '0.3', '-0.3')
    """
    return f"{Decimal(number).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):,f}"


def levels_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Give the mean area at each level: one row a subject, level and structure.

    Parameters
    ----------
    measurements : sequence of Measurement

    Returns
    -------
    pandas.DataFrame
        Columns subject_id, level, name, n (slices that show the structure), mean_area_mm2, sd_area_mm2 (of the
        sample; NaN with one slice); levels in natural order, slices without one left out. Empty without levels.
    """
    columns = ["subject_id", "level", "name", "n", "mean_area_mm2", "sd_area_mm2"]
    table = measurements_table([row for row in measurements if row.level and row.pixel_count])
    if table.empty:
        return pd.DataFrame(columns=columns)
    groups = table.groupby(["subject_id", "level", "label", "name"])["area_mm2"]
    summed = groups.agg(n="count", mean_area_mm2="mean", sd_area_mm2="std").reset_index()
    order = sorted(summed.index, key=lambda i: [natural(summed[c][i]) for c in ("subject_id", "level", "label")])
    return summed.loc[order, columns].reset_index(drop=True)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _mixes_moments(rows: Sequence[Measurement]) -> bool:
    """Tell whether different images show the same place: several time points, joined slice by slice."""
    places = {(row.case_id, row.slice_position_mm) for row in rows if row.slice_position_mm is not None}
    return len({position for _, position in places}) < len(places)


def _blocks(measurements: Sequence[Measurement]) -> list[tuple[str, list[Measurement]]]:
    """Give each block of the wide table in anatomical order, with the case_id of its mean, SD and n."""
    if is_by_slice(measurements):
        series = image_groups(measurements).items()
        return [(f"all of {subject_id}" if subject_id else "all", rows) for (subject_id, _), rows in series]
    blocks: dict[str, list[Measurement]] = {}
    for row in sorted(measurements, key=lambda row: (natural(row.case_id), *_place(row))):
        blocks.setdefault(row.case_id, []).append(row)
    return list(blocks.items())


def _slice_lines(rows: Sequence[Measurement]) -> list[dict[str, object]]:
    """Give one line of the wide table for each slice, in the order of the rows."""
    lines: dict[tuple[str, int], dict[str, object]] = {}
    for row in rows:
        known = ("case_id", "slice_index", "level", "slice_position_mm")
        blank: dict[str, object] = {**{name: getattr(row, name) for name in known}, "flags": ""}
        line = lines.setdefault((row.case_id, row.slice_index), blank)
        if f"{row.name} mm²" in line:
            raise DataError(
                f"{row.name!r} was measured twice on slice {row.slice_index} of {row.case_id!r}. "
                "Give every image a case_id of its own."
            )
        line[f"{row.name} mm²"] = row.area_mm2
        if row.flags:
            line["flags"] = "; ".join(filter(None, [str(line["flags"]), f"{row.name}: {row.flags}"]))
    return list(lines.values())


def _statistics(rows: Sequence[Measurement], case_id: str, columns: Sequence[str]) -> list[dict[str, object]]:
    """Give the six lines below a block."""
    present = [row for row in rows if row.pixel_count > 0]
    unflagged = [row for row in present if not row.flags]
    return [
        {"case_id": case_id, "slice_index": statistic + words, "level": "", "flags": ""}
        | {column: _statistic(statistic, counted, column) for column in columns}
        for words, counted in (("", present), (" (unflagged)", unflagged))
        for statistic in ("mean", "SD", "n")
    ]


def _statistic(statistic: str, rows: Sequence[Measurement], column: str) -> float:
    areas = [row.area_mm2 for row in rows if f"{row.name} mm²" == column]
    if statistic == "n":
        return len(areas)
    if len(areas) < (2 if statistic == "SD" else 1):
        return math.nan
    return float(np.mean(areas) if statistic == "mean" else np.std(areas, ddof=1))


# --- by patient: one row a patient, image and structure


def is_by_slice(measurements: Sequence[Measurement]) -> bool:
    """Tell whether every image is a single slice, so that a series is many images."""
    slices = {(row.case_id, row.slice_index) for row in measurements}
    return len(slices) == len({case_id for case_id, _ in slices})


def image_groups(measurements: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    """Put together what belongs in one plot and row: the slices of an image, or of a series of single slices."""
    single = is_by_slice(measurements)
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for row in sorted(measurements, key=lambda row: (*map(natural, _group(row, single)), *_place(row))):
        groups.setdefault(_group(row, single), []).append(row)
    return groups


def patient_names(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Give each subject_id, in natural order, a name that tells nothing of the person: "patient 1", …."""
    subjects = sorted({row.subject_id for row in measurements}, key=natural)
    return {subject: f"patient {number}" for number, subject in enumerate(subjects, start=1)}


def has_repeated_places(rows: Sequence[Measurement]) -> bool:
    """Tell whether one structure was measured several times at one position: several time points in one group."""
    places = [(row.label, row.slice_position_mm) for row in rows if row.slice_position_mm is not None]
    return len(set(places)) < len(places)


def patients_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Sum up each patient: one row an image (a series of single slices counts as one image) and structure.

    The images of one patient are not pooled: two time points, or two series, of one body would count it twice.

    Parameters
    ----------
    measurements : sequence of Measurement

    Returns
    -------
    pandas.DataFrame
        Columns patient ("patient 1", which tells nothing of the person), subject_id, image, structure, slices (that
        show the structure), mean_area_mm2, sd_area_mm2 (of the sample) and max_area_mm2 of those slices,
        volume_mm3 (the sum of areas times the distance of the slices: what lies between the first and the last
        slice of the image, no more), flagged (slices with a flag for this structure). NaN where there is nothing
        to average, the SD of one slice, and the volume where the distance of the slices is unknown or uneven or
        there is one slice only. Mean, SD and volume are NaN too where time points are joined slice by slice.

    Examples
    --------
    >>> import numpy as np
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.image.image import LabelMap, Source
    >>> from autoseg.measurement.areas import measure_areas
    >>> from autoseg.image.structures import Structure
    >>> known = Source(case_id="leg", subject_id="7", spacing_source="header", slice_spacing_source="header")
    >>> leg = LabelMap(
    ...     np.ones((3, 2, 2), dtype=np.uint8), affine_from_spacing((5.0, 1.0, 1.0)), (Structure(1, "muscle"),),
    ...     source=known,
    ... )
    >>> patients_table(measure_areas(leg))[["patient", "slices", "mean_area_mm2", "volume_mm3"]]
         patient  slices  mean_area_mm2  volume_mm3
    0  patient 1       3            4.0        60.0
    """
    names = patient_names(measurements)
    single = is_by_slice(measurements)
    lines = []
    for (subject, image), rows in image_groups(measurements).items():
        mixed = has_repeated_places(rows)
        title = f"{counted(len({row.case_id for row in rows}), 'slice image')}" if single else image
        for label in sorted({row.label for row in rows}):
            mine = [row for row in rows if row.label == label]
            areas = [row.area_mm2 for row in mine if row.pixel_count]
            lines.append(
                {
                    "patient": names[subject],
                    "subject_id": subject,
                    "image": title,
                    "structure": mine[0].name,
                    "slices": len(areas),
                    "mean_area_mm2": float(np.mean(areas)) if areas and not mixed else math.nan,
                    "sd_area_mm2": float(np.std(areas, ddof=1)) if len(areas) > 1 and not mixed else math.nan,
                    "max_area_mm2": max(areas, default=math.nan),
                    "volume_mm3": volume_mm3(mine),
                    "flagged": sum(bool(row.flags) for row in mine),
                }
            )
    return pd.DataFrame(lines, columns=list(PATIENT_COLUMNS))


def volume_mm3(rows: Sequence[Measurement]) -> float:
    """Give the sum of one structure's areas times the distance of the slices (Cavalieri's rule)."""
    positions = sorted(row.slice_position_mm for row in rows if row.slice_position_mm is not None)
    if len(positions) < 2 or len(positions) < len(rows):
        return math.nan
    steps = np.diff(positions)
    step = float(np.mean(steps))
    if step <= 0 or np.abs(steps - step).max() > SAME_STEP * step:
        return math.nan
    return step * sum(row.area_mm2 for row in rows)


def _group(row: Measurement, single: bool) -> tuple[str, str]:
    return row.subject_id, row.series_uid if single else row.case_id


def _place(row: Measurement) -> tuple[object, ...]:
    position = row.slice_position_mm
    return position is None, position or 0.0, natural(row.case_id), row.slice_index, row.label
