"""Measurements as tables: the tidy one, the wide one to read and print, and sums by level and patient."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd

from autoseg.errors import DataError
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MM2, PIXELS, Measurement, worst_light
from autoseg.measurement.cut_off import least_apart
from autoseg.measurement.intervals import PatientInterval
from autoseg.words import counted, listed, name_some, natural

# In the order in which `measure_areas` sets them.
FLAG_WORDS = {
    "touches edge": "touches the edge of the image, so it may be cut off",
    "fragmented": "lies in several pieces",
    "missing between slices": "is missing here, though slices before and behind show it",
    "jump": "is more than twice as large, or less than half as large, as on the slices beside it",
    "side differs": "is less than a third of the other side",
    "other side": "is more than three times the other side",
    "absent": "is on no slice, though the model's labels show it on every image",
    "poor": "may well be drawn badly here, or missed: the model is unsure of it",
}
SOURCE_WORDS = {"header": "header", "typed": "typed"}
# Columns of the tidy table that are left out where nothing is known of any area.
PERHAPS = (
    "suitability", "expected_dice", "expected_error_percent", "area_low_mm2", "area_high_mm2", "pixel_count_low",
    "pixel_count_high", "interval_level", "interval_basis", "obliquity_deg", "area_corrected_mm2",
)  # fmt: skip
PATIENT_COLUMNS = (
    "patient", "subject_id", "image", "structure", "slices", "mean_area_mm2", "sd_area_mm2", "max_area_mm2",
    "volume_mm3", "volume_ml", "flagged",
)  # fmt: skip
# Values of the table by patient that may have an interval, each with the columns of its ends.
BOUNDED = {
    "mean_area_mm2": ("mean_area_low_mm2", "mean_area_high_mm2"),
    "mean_area_pixels": ("mean_area_low_pixels", "mean_area_high_pixels"),
    "max_area_mm2": ("max_area_low_mm2", "max_area_high_mm2"),
    "max_area_pixels": ("max_area_low_pixels", "max_area_high_pixels"),
    "volume_ml": ("volume_low_ml", "volume_high_ml"),
}
# Values of the table by patient of which only the least may be known, each with the column where that stands.
LEAST = {
    "max_area_mm2": "max_area_at_least_mm2",
    "max_area_pixels": "max_area_at_least_pixels",
    "volume_mm3": "volume_at_least_mm3",
    "volume_ml": "volume_at_least_ml",
}
INTERVAL_COLUMNS = (*(end for ends in BOUNDED.values() for end in ends), "interval_level", "interval_basis")
# The endings of columns that hold an area, by its unit.
SUFFIXES = {MM2: "mm2", PIXELS: "pixels"}
# What columns of the tables by patient and by level are called where people read them.
HEADERS = {
    "patient": "Patient",
    "subject_id": "Patient ID",
    "image": "Image",
    "structure": "Structure",
    "slices": "Slices",
    "mean_area_mm2": "Mean area (mm²)",
    "sd_area_mm2": "SD (mm²)",
    "max_area_mm2": "Largest area (mm²)",
    "mean_area_pixels": "Mean area (pixels)",
    "sd_area_pixels": "SD (pixels)",
    "max_area_pixels": "Largest area (pixels)",
    "volume_ml": "Volume (ml)",
    "flagged": "Flagged",
    "cut_off": "Cut off",
    "asymmetry_percent": "Left − right (% of their mean)",
    "sd_asymmetry_percent": "SD over the slices (%)",
    "volume_asymmetry_percent": "Of the volumes (%)",
    "suitability": "Light",
    "level": "Level",
    "name": "Structure",
    "n": "Slices",
}
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
    """Give the tidy table: one row a slice and structure, columns named like Measurement's fields.

    Slices have the numbers that people know (`slice`, from 1), and not their places in the voxels. Where the size
    of a pixel is unknown area_mm2 is empty, and pixel_count is all there is. Of a structure that is cut off
    area_mm2 is empty too, and what is seen stands in area_at_least_mm2, a column where there is any. What nobody
    knows of any area (its suitability, interval and the like) has no column.
    """
    unknown = [name for name in PERHAPS if all(getattr(row, name) in (None, "") for row in measurements)]
    columns = [field.name for field in fields(Measurement) if field.name not in ("slice_index", *unknown)]
    table = pd.DataFrame([asdict(row) for row in measurements], columns=columns)
    return least_apart(table, [row.is_cut_off for row in measurements])


def areas_table(measurements: Sequence[Measurement], intervals: Sequence[PatientInterval] = ()) -> pd.DataFrame:
    """Give the wide table: one row a slice, one column a structure; below each image mean, SD and n.

    Areas are in mm²; those of images whose pixels have no known size stand in columns of their own, in pixels.
    Every image is a block of its own, images in the order of their case_id and slices by their position.
    Where every image is a single slice (labelled files one by one), each series of a patient is one block;
    it gets no mean where positions repeat (the heart in two phases), because that would be of neither.

    The SD is the sample's (n - 1 in the denominator), NaN with fewer than two slices. Mean, SD and n count the
    slices of the block on which the structure is present and not cut off; the "(unflagged)" rows leave out a
    structure's own flagged areas and keep the slice for the others. Of a structure that is cut off the area's own
    column is empty, and what is seen stands in "<name> mm² at least".

    Parameters
    ----------
    measurements : sequence of Measurement
        From `measure_areas`; the lists of several images may be joined.
    intervals : sequence of PatientInterval, optional
        Those of the means, as `Run.patient_intervals` has them.

    Returns
    -------
    pandas.DataFrame
        Columns: case_id (only where there are several), slice (from 1), file (only where slices are files of their
        own), level where levels are known, slice_position_mm, "<name> mm²" or "<name> pixels" for each structure
        (NaN where it was not drawn, or is cut off), "<name> mm² at least" where it is, flags. In the last six rows
        of a block slice holds the words mean, SD, n, mean (unflagged), SD (unflagged), n (unflagged); case_id is
        the image's, or "all of <subject_id>" for a series of single slices.

    Raises
    ------
    DataError
        If two measurements are of the same case, slice and structure.
    """
    blocks = _blocks(measurements)
    columns = area_columns(measurements)
    lines = []
    for title, rows in blocks:
        lines.extend(_slice_lines(rows))
        if not _mixes_moments(rows):
            lines.extend(_statistics(rows, title, columns, _bounds_of_means(rows, title, intervals)))
    several = len({row.case_id for row in measurements}) > 1
    bounded = {row.column for row in measurements if row.interval is not None}
    bounds = [bound for column in columns if column in bounded for bound in bound_columns(column)]
    cut = {row.column for row in measurements if row.is_cut_off}
    numbers = [
        "slice_position_mm",
        *columns,
        *[least_column(column) for column in columns if column in cut],
        *bounds,
    ]
    lights = ["suitability"] if any(row.suitability for row in measurements) else []
    levels = ["level"] if any(row.level for row in measurements) else []
    files = ["file"] if _has_files_of_slices(measurements) else []
    shown = [*(["case_id"] if several else []), "slice", *files, *levels, *numbers, "flags", *lights]
    return pd.DataFrame(lines, columns=shown).astype(dict.fromkeys(numbers, float))


def area_columns(measurements: Sequence[Measurement]) -> list[str]:
    """Give the columns that hold areas in a wide table, by label; each names its structure and its unit."""
    return list(dict.fromkeys(row.column for row in sorted(measurements, key=lambda row: row.label)))


def bound_columns(column: str) -> tuple[str, str]:
    """Give the columns of a wide table that hold the bounds of the areas in one of its columns."""
    return f"{column} low", f"{column} high"


def least_column(column: str) -> str:
    """Give the column of a wide table that holds the areas of one of its columns that are cut off."""
    return f"{column} at least"


def at_least(number: str, unit: str = "") -> str:
    """Say how large a structure is at least of which the image does not show all.

    Examples
    --------
    >>> at_least("1,238", "mm²"), at_least("1,238")
    ('at least 1,238 mm² (cut off)', 'at least 1,238 (cut off)')
    """
    return f"at least {number} {unit}".rstrip() + " (cut off)"


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Give a wide table, or one by patient, to be read: bounds and "at least" in the cells, not in own columns.

    Values of a column that has neither stay numbers.

    Examples
    --------
    >>> table = pd.DataFrame({"slice": [1, 2], "psoas mm²": [1238.4, 0.0]})
    >>> table["psoas mm² low"], table["psoas mm² high"] = [1160.2, math.nan], [1319.8, math.nan]
    >>> with_intervals(table)["psoas mm²"].tolist()
    ['1,238 (1,160–1,320)', '0']
    """
    shown = table.drop(columns=["interval_level", "interval_basis"], errors="ignore")
    for column in map(str, table.columns):
        others = [LEAST.get(column, least_column(column)), *BOUNDED.get(column, bound_columns(column))]
        if any(other in table for other in others):
            cells = table.reindex(columns=[column, *others]).astype(float).to_numpy().tolist()
            shown[column] = [_with_bounds(*cell) for cell in cells]
            shown = shown.drop(columns=others, errors="ignore")
    return shown


def _with_bounds(value: float, least: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "" if math.isnan(least) else at_least(area_text(least))
    return area_text(value) + ("" if math.isnan(low) else f" ({_ends_text(low, high)})")


def _ends_text(low: float, high: float) -> str:
    # Ends are not known so well as to be worth four digits.
    return f"{area_text(low, 3)}–{area_text(high, 3)}"


def in_pixels_note(measurements: Sequence[Measurement]) -> str:
    """Say of which images areas are in pixels, and how they become mm²; "" where all are in mm²."""
    names = list(dict.fromkeys(row.case_id for row in measurements if row.unit == PIXELS))
    if not names:
        return ""
    files = "The file of {} does" if len(names) == 1 else "The files of {} do"
    return (
        f"{files.format(name_some(names, 3))} not tell the size of a pixel, so areas there are in pixels and not "
        "in mm²: they cannot be compared with those of other images. For mm², type the field of view or the size "
        "of a pixel."
    )


def _has_files_of_slices(measurements: Sequence[Measurement]) -> bool:
    """Tell whether an image's slices lie in files of their own, whose names then stand beside the numbers."""
    return len({(row.case_id, row.file) for row in measurements}) > len({row.case_id for row in measurements})


def area_blocks(measurements: Sequence[Measurement]) -> tuple[AreaBlock, ...]:
    """Give what `areas_table` holds block by block, with the measurement behind every cell."""
    blocks = []
    for title, rows in _blocks(measurements):
        _slice_lines(rows)  # refuses what was measured twice
        slices: dict[tuple[str, int], list[Measurement]] = {}
        for row in rows:
            slices.setdefault((row.case_id, row.slice_index), []).append(row)
        names = area_columns(rows)
        lines = [] if _mixes_moments(rows) else _statistics(rows, title, names)
        statistics = {str(line["slice"]): {name: _number(line[name]) for name in names} for line in lines}
        is_single = title != rows[0].case_id
        blocks.append(AreaBlock(title, is_single, tuple(map(tuple, slices.values())), statistics))
    return tuple(blocks)


@dataclass(frozen=True)
class NotFound:
    """A structure that is on no slice of an image, or on none of a patient's single slices: `images` of them.

    `is_everything` where no structure is on any.
    """

    case_id: str
    subject_id: str
    label: int
    name: str
    images: int
    is_everything: bool

    @property
    def where(self) -> str:
        """The image, or the images, in words."""
        return self.case_id if self.images == 1 else f"the {self.images} images from {self.case_id} on"


def find_missing(measurements: Sequence[Measurement]) -> tuple[NotFound, ...]:
    """Find the structures that were looked for on an image and are on none of its slices.

    Single slices of one patient's series count together, as none need show everything; `case_id` is the first's.
    """
    found = []
    for (subject, _), rows in image_groups(measurements).items():
        pixels: dict[int, int] = {}
        for row in rows:
            pixels[row.label] = pixels.get(row.label, 0) + row.pixel_count
        names = {row.label: row.name for row in rows}
        images, nothing = len({row.case_id for row in rows}), not any(pixels.values())
        found += [
            NotFound(rows[0].case_id, subject, label, names[label], images, nothing)
            for label in sorted(pixels)
            if not pixels[label]
        ]
    return tuple(found)


def missing_notes(missing: Sequence[NotFound]) -> list[str]:
    """Say what was found on no slice, images with the same lack in one sentence."""
    lacks: dict[str, list[NotFound]] = {}
    for one in missing:
        lacks.setdefault(one.where, []).append(one)
    alike: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for where, ones in lacks.items():
        alike.setdefault((tuple(one.name for one in ones), ones[0].is_everything), []).append(where)
    notes = []
    for (names, is_everything), images in alike.items():
        where = name_some(images, 3)
        if is_everything:
            notes.append(
                f"Nothing was found on any slice of {where}: every area is 0. Look at the slices, and whether the "
                "model learnt from such images."
            )
        else:
            notes.append(
                f"{listed(names)} {'was' if len(names) == 1 else 'were'} found on no slice of {where}: the area is "
                "0 there. Look whether the model missed it."
            )
    return notes


def explain_area(measurement: Measurement, structures: Sequence[Structure] = ()) -> str:
    """Say in a line how an area came about: pixels times the area of one pixel, and where its size was from.

    The area of one pixel is written with as many digits as it takes for the product to give the area that stands
    before it. Where its size is unknown the line gives the pixels, and says so. The interval of the area follows
    where it is known.

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
    if measurement.interval is not None:
        inside += f"; {level_text(measurement)} interval {interval_text(measurement)} {measurement.unit}"
    if measurement.area_corrected_mm2 is not None:
        across = area_text(measurement.area_corrected_mm2)
        inside += f"; cut at {measurement.obliquity_deg:.0f}° to its course, across which it has {across} mm²"
    count = measurement.pixel_count
    source = SOURCE_WORDS.get(measurement.spacing_source, "nobody said where the pixel size is from")
    if not count:
        zero = "0 pixels" if measurement.area_mm2 is None else "0 mm² = 0 pixels"
        return f"{zero}: {measurement.name} is not on this slice{inside}"
    if measurement.area_mm2 is None:
        pixels = counted(count, "pixel")
        pixels = f"at least {pixels} (cut off)" if measurement.is_cut_off else pixels
        return f"{pixels}; the size of a pixel is unknown, so there are no mm²{inside}"
    area, pixel = area_text(measurement.area_mm2), measurement.area_mm2 / count
    begin = at_least(area, MM2) if measurement.is_cut_off else f"{area} mm²"
    half = Decimal(1).scaleb(-len(area.partition(".")[2])) / 2
    shown = ""
    for digits in range(4, 16):
        shown = area_text(pixel, digits)
        if abs(count * _decimal(shown) - _decimal(area)) <= half:
            break
    return f"{begin} = {counted(count, 'pixel')} × {shown} mm² ({source}){inside}"


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


def interval_text(measurement: Measurement) -> str:
    """Write between what the true area lies, in the area's unit; "" where that is not known.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.image.image import LabelMap
    >>> from autoseg.measurement.areas import measure_areas
    >>> disc = LabelMap(np.ones((1, 4, 5), np.uint8), affine_from_spacing((3.0, 8.0, 8.0)), (Structure(1, "disc"),))
    >>> (row,) = measure_areas(disc)
    >>> interval_text(replace(row, area_low_mm2=1160.2, area_high_mm2=1384.9)), interval_text(row)
    ('1,160–1,385', '')
    """
    return "" if measurement.interval is None else _ends_text(*measurement.interval)


def level_text(measurement: Measurement) -> str:
    """Write the probability of an area's interval in percent: "90 %"; "" where it is not known."""
    level = measurement.interval_level
    return "" if level is None else f"{100 * level:.4g} %"


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
        Columns subject_id, level, name, n (slices that show the structure whole), mean_area_mm2, sd_area_mm2 (of
        the sample; NaN with one slice, the mean with none); levels in natural order, slices without one left out.
        Areas in pixels have rows and columns of their own (mean_area_pixels, sd_area_pixels). At the end
        suitability, the worst light of the images behind a row, where one is known. Empty without levels.
    """
    shown = [row for row in measurements if row.level and row.pixel_count]
    units = [unit for unit in SUFFIXES if any(row.unit == unit for row in shown)] or [MM2]
    columns = [f"{what}_area_{SUFFIXES[unit]}" for unit in units for what in ("mean", "sd")]
    groups: dict[tuple[str, str, int, str, str], list[Measurement]] = {}
    for row in shown:
        groups.setdefault((row.subject_id, row.level, row.label, row.name, row.unit), []).append(row)
    order = sorted(groups, key=lambda key: [natural(part) for part in key])
    lines = [
        {"subject_id": subject, "level": level, "name": name, "n": len(areas)}
        | {
            f"mean_area_{SUFFIXES[unit]}": float(np.mean(areas)) if areas else math.nan,
            f"sd_area_{SUFFIXES[unit]}": float(np.std(areas, ddof=1)) if len(areas) > 1 else math.nan,
            "suitability": worst_light(row.suitability for row in groups[key]),
        }
        for key in order
        for (subject, level, _, name, unit), areas in [(key, [r.area for r in groups[key] if not r.is_cut_off])]
    ]
    lights = ["suitability"] if any(row.suitability for row in shown) else []
    return pd.DataFrame(lines, columns=["subject_id", "level", "name", "n", *columns, *lights])


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
        known = ("case_id", "slice", "file", "level", "slice_position_mm")
        blank: dict[str, object] = {**{name: getattr(row, name) for name in known}, "flags": ""}
        blank["suitability"] = row.suitability
        line = lines.setdefault((row.case_id, row.slice_index), blank)
        if row.column in line:
            raise DataError(
                f"{row.name!r} was measured twice on slice {row.slice} of {row.case_id!r}. "
                "Give every image a case_id of its own."
            )
        line[row.column] = math.nan if row.is_cut_off else row.area
        line |= {least_column(row.column): row.area} if row.is_cut_off else {}
        line |= dict(zip(bound_columns(row.column), row.interval or (), strict=False))
        if row.flags:
            line["flags"] = "; ".join(filter(None, [str(line["flags"]), f"{row.name}: {row.flags}"]))
    return list(lines.values())


def _bounds_of_means(
    rows: Sequence[Measurement], case_id: str, intervals: Sequence[PatientInterval]
) -> dict[str, object]:
    """Give what stands in the columns of bounds in a block's line of means."""
    block = _group(rows[0], case_id != rows[0].case_id)
    bounds: dict[str, object] = {}
    for one in intervals:
        if (one.subject_id, one.image) == block and one.mean_low is not None and one.mean_high is not None:
            low, high = bound_columns(f"{one.name} {one.unit}")
            bounds |= {low: one.mean_low, high: one.mean_high}
    return bounds


def _statistics(
    rows: Sequence[Measurement], case_id: str, columns: Sequence[str], bounds: Mapping[str, object] | None = None
) -> list[dict[str, object]]:
    """Give the six lines below a block; nothing in columns of another unit than the block's."""
    present = [row for row in rows if row.pixel_count > 0 and not row.is_cut_off]
    unflagged = [row for row in present if not row.flags]
    own = [column for column in columns if column.endswith(f" {rows[0].unit}")]
    light = worst_light(row.suitability for row in rows)  # whoever copies a mean has the word beside it
    return [
        {"case_id": case_id, "slice": statistic + words, "file": "", "level": "", "flags": "", "suitability": light}
        | {column: _statistic(statistic, chosen, column) for column in own}
        | dict((bounds or {}) if statistic + words == "mean" else {})
        for words, chosen in (("", present), (" (unflagged)", unflagged))
        for statistic in ("mean", "SD", "n")
    ]


def _statistic(statistic: str, rows: Sequence[Measurement], column: str) -> float:
    areas = [row.area for row in rows if row.column == column]
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
    """Put together what belongs in one plot and row: the slices of an image, or of a series of single slices.

    All areas of a group are of one unit.
    """
    single = is_by_slice(measurements)
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for row in sorted(measurements, key=lambda row: (*map(natural, _group(row, single)), *_place(row))):
        groups.setdefault(_group(row, single), []).append(row)
    return groups


def image_titles(measurements: Sequence[Measurement]) -> dict[tuple[str, str], str]:
    """Name each of `image_groups` in tables by patient: by its image, or how many single slices it has."""
    single = is_by_slice(measurements)
    return {
        group: counted(len({row.case_id for row in rows}), "slice image") if single else group[1]
        for group, rows in image_groups(measurements).items()
    }


def patient_names(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Give each subject_id, in natural order, a name that tells nothing of the person: "patient 1", …."""
    subjects = sorted({row.subject_id for row in measurements}, key=natural)
    return {subject: f"patient {number}" for number, subject in enumerate(subjects, start=1)}


def has_repeated_places(rows: Sequence[Measurement]) -> bool:
    """Tell whether one structure was measured several times at one position: several time points in one group."""
    places = [(row.label, row.slice_position_mm) for row in rows if row.slice_position_mm is not None]
    return len(set(places)) < len(places)


def patients_table(measurements: Sequence[Measurement], intervals: Sequence[PatientInterval] = ()) -> pd.DataFrame:
    """Sum up each patient: one row an image (a series of single slices counts as one image) and structure.

    The images of one patient are not pooled: two time points, or two series, of one body would count it twice.

    Parameters
    ----------
    measurements : sequence of Measurement
    intervals : sequence of PatientInterval, optional
        As `Run.patient_intervals` has them.

    Returns
    -------
    pandas.DataFrame
        Columns patient ("patient 1", which tells nothing of the person), subject_id, image, structure, slices (that
        show the structure), mean_area_mm2, sd_area_mm2 (of the sample) and max_area_mm2 of those slices on which it
        is not cut off, volume_mm3 and the same in volume_ml (the sum of areas times the distance of the slices),
        flagged (slices with a flag for this structure). NaN where there is nothing to average, the SD of one slice,
        and the volume where the distance of the slices is unknown or uneven or there is one slice only. Mean, SD
        and volume are NaN too where time points are joined slice by slice. What the image does not show whole is
        NaN in max_area_mm2 (some slice cuts the structure off) and in volume_mm3 (some slice does, or it is on the
        first or the last slice); how large that is at least stands in max_area_at_least_mm2, volume_at_least_mm3
        and volume_at_least_ml, and cut_off counts the slices: columns where there is any. Areas of images whose
        pixels have no known size stand in mean_area_pixels, sd_area_pixels and max_area_pixels; columns of a unit
        that no image has are left out. Behind them, where any is known, the ends of the intervals
        (mean_area_low_mm2, mean_area_high_mm2, the same of max_area, volume_low_ml, volume_high_ml), interval_level
        and interval_basis; at the end suitability, the light of the image (of single slices the worst).

    Examples
    --------
    >>> import numpy as np
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.image.image import LabelMap, Source
    >>> from autoseg.measurement.areas import measure_areas
    >>> from autoseg.image.structures import Structure
    >>> known = Source(case_id="leg", subject_id="7", spacing_source="header", slice_spacing_source="header")
    >>> leg = LabelMap(
    ...     np.pad(np.ones((3, 2, 2), dtype=np.uint8), 1), affine_from_spacing((5.0, 1.0, 1.0)),
    ...     (Structure(1, "muscle"),), source=known,
    ... )
    >>> patients_table(measure_areas(leg))[["patient", "slices", "mean_area_mm2", "volume_mm3"]]
         patient  slices  mean_area_mm2  volume_mm3
    0  patient 1       3            4.0        60.0
    """
    names, titles = patient_names(measurements), image_titles(measurements)
    known = {(one.subject_id, one.image, one.label): _interval_cells(one) for one in intervals}
    lines = []
    for (subject, image), rows in image_groups(measurements).items():
        mixed = has_repeated_places(rows)
        unit = SUFFIXES[rows[0].unit]
        for label in sorted({row.label for row in rows}):
            mine = [row for row in rows if row.label == label]
            seen = [row for row in mine if row.pixel_count]
            areas = [row.area for row in seen if not row.is_cut_off]
            volume, is_part = volume_mm3(mine), is_volume_cut_off(mine)
            values = {f"max_area_{unit}": max((row.area for row in seen), default=math.nan)}
            values |= {"volume_mm3": volume, "volume_ml": volume / 1000}
            parts = {f"max_area_{unit}"} if len(areas) < len(seen) else set()
            parts |= {"volume_mm3", "volume_ml"} if is_part and not math.isnan(volume) else set()
            lines.append(
                {
                    "patient": names[subject],
                    "subject_id": subject,
                    "image": titles[subject, image],
                    "structure": mine[0].name,
                    "slices": len(seen),
                    f"mean_area_{unit}": float(np.mean(areas)) if areas and not mixed else math.nan,
                    f"sd_area_{unit}": float(np.std(areas, ddof=1)) if len(areas) > 1 and not mixed else math.nan,
                    "flagged": sum(bool(row.flags) for row in mine),
                    "cut_off": len(seen) - len(areas),
                    "suitability": worst_light(row.suitability for row in mine),
                }
                | {LEAST[name] if name in parts else name: value for name, value in values.items()}
                | known.get((subject, image, label), {})
            )
    columns = _patient_columns({row.unit for row in measurements})
    for name, least in LEAST.items():
        if any(least in line for line in lines):
            columns.insert(columns.index(name) + 1, least)
    columns += ["cut_off"] if any(least in columns for least in LEAST.values()) else []
    columns += [name for name in INTERVAL_COLUMNS if any(name in line for line in lines)]
    columns += ["suitability"] if any(row.suitability for row in measurements) else []
    return pd.DataFrame(lines, columns=columns)


def _interval_cells(one: PatientInterval) -> dict[str, float | str]:
    """Give what the table by patient holds of an interval; nothing where an end is not known."""
    unit = SUFFIXES[one.unit]
    ends = {
        f"mean_area_low_{unit}": one.mean_low,
        f"mean_area_high_{unit}": one.mean_high,
        f"max_area_low_{unit}": one.max_low,
        f"max_area_high_{unit}": one.max_high,
        "volume_low_ml": None if one.volume_low_mm3 is None else one.volume_low_mm3 / 1000,
        "volume_high_ml": None if one.volume_high_mm3 is None else one.volume_high_mm3 / 1000,
    }
    known: dict[str, float | str] = {name: end for name, end in ends.items() if end is not None}
    return known | {"interval_level": one.level, "interval_basis": one.basis}


def _patient_columns(units: Collection[str]) -> list[str]:
    """Give the columns of the table by patient: areas in the units that occur, volumes where millimetres do."""
    needs_mm = ("_mm2", "_mm3", "_ml")
    is_known = PIXELS not in units or MM2 in units
    columns = [name for name in PATIENT_COLUMNS if is_known or not name.endswith(needs_mm)]
    if PIXELS in units:
        columns[-1:-1] = [f"{what}_area_{SUFFIXES[PIXELS]}" for what in ("mean", "sd", "max")]
    return columns


def is_volume_cut_off(rows: Sequence[Measurement]) -> bool:
    """Tell whether one structure of an image may go on beyond it: at an edge, the first or the last slice."""
    ordered = sorted(rows, key=_place)
    ends = (ordered[0], ordered[-1]) if ordered else ()
    return any(row.is_cut_off for row in ordered) or any(row.pixel_count for row in ends)


def volume_mm3(rows: Sequence[Measurement]) -> float:
    """Give the sum of one structure's areas times the distance of the slices (Cavalieri's rule): what is seen."""
    positions = sorted(row.slice_position_mm for row in rows if row.slice_position_mm is not None)
    areas = [row.area_mm2 for row in rows if row.area_mm2 is not None]
    if len(positions) < 2 or not len(positions) == len(areas) == len(rows):
        return math.nan
    steps = np.diff(positions)
    step = float(np.mean(steps))
    if step <= 0 or np.abs(steps - step).max() > SAME_STEP * step:
        return math.nan
    return step * sum(areas)


def _group(row: Measurement, single: bool) -> tuple[str, str]:
    return row.subject_id, f"{row.series_uid} {row.unit}" if single else row.case_id


def _place(row: Measurement) -> tuple[object, ...]:
    position = row.slice_position_mm
    return position is None, position or 0.0, natural(row.case_id), row.slice_index, row.label
