"""Where the lumbosacral enlargement and the tip of the conus lie, told by the cord's own width and area."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import DataError
from autoseg.measurement.morphometry.tables import one_structure

Numbers = npt.NDArray[np.float64]

# Of the enlargement's area. A filum of 2 mm, the upper limit of normal, has 3.1 mm²: 5 % of 60 mm².
TIP_SHARE = 0.05
ABOVE_TIP_MM = (10.0, 100.0)
AVERAGED_MM = 6.0
PLACE = ("arc_mm", "x_left_mm", "y_back_mm", "z_head_mm")


@dataclass(frozen=True)
class Landmark:
    """A place on a structure's curve, in mm along it and in patient coordinates, with the area there."""

    arc_mm: float
    x_left_mm: float
    y_back_mm: float
    z_head_mm: float
    area_mm2: float


@dataclass(frozen=True)
class Enlargement:
    """What `locate_enlargement` found; None and a sentence in `notes` for what the image does not show.

    `tip` is the conus tip, `largest` where the area is largest, `widest` where the right-left diameter is.
    `conus_length_mm` is the length of the curve from the tip to `largest`.
    """

    tip: Landmark | None
    largest: Landmark | None
    widest: Landmark | None
    conus_length_mm: float | None
    notes: tuple[str, ...] = ()


def locate_enlargement(
    table: pd.DataFrame,
    *,
    name: str | None = None,
    tip_share: float = TIP_SHARE,
    above_tip_mm: tuple[float, float] = ABOVE_TIP_MM,
    averaged_mm: float = AVERAGED_MM,
) -> Enlargement:
    """Find the lumbosacral enlargement and the tip of the conus on the profile of the cord.

    - *Enlargement*: the largest area across the curve, after a running mean over `averaged_mm`, between 10 and
      100 mm above the lowest section. The largest must be a true maximum: where the area still grows at the upper
      end of what is seen, the scan begins below the enlargement and nothing is given. `widest` is the same by the
      right-left diameter.
    - *Tip*: going down from the enlargement, where the area first falls below `tip_share` of the enlargement's;
      between two positions by a straight line. Where the label ends before that, the tip is its lowest section,
      provided that the image goes on below it. By default the share is 5 %, the area of a thread of 2 mm beside an
      enlargement of about 60 mm²: below it a label follows the filum terminale.

    Parameters
    ----------
    table : pandas.DataFrame
        From `arc_table`: the cord of one image, running superior-inferior.
    name : str, optional
        Of the cord, where the table has several structures.
    tip_share : float
        Of the largest area, above 0 and below 1.
    above_tip_mm : (2,) tuple of float
        Where to look for the enlargement, in mm above the lowest section. The cervical enlargement is larger, so a
        scan of the whole cord must not be searched to its top.
    averaged_mm : float
        Length of the running mean, which quiets single sections.

    Returns
    -------
    Enlargement

    Raises
    ------
    DataError
        If the table holds no such structure, one that does not run superior-inferior, or a limit cannot be.

    Notes
    -----
    The slice of the largest area and the tip frame the conus; positions between them as a share of its length make
    cords comparable (Büeler et al. take the grey matter's largest area, which raters find most reliably: give that
    structure's table where it is drawn): Büeler et al., PLoS ONE 2024, doi 10.1371/journal.pone.0301449; they show
    lengths of 30 to 60 mm.
    Areas at the enlargement: Yiannakas et al., PLoS ONE 9:e105544, 2014. Widths of every segment on a normalised
    axis (T8 8.3, L3 9.4 mm right-left): Frostell et al., Front Neurol 7:238, 2016. Thickness of the filum: Yundt et
    al., Pediatr Neurosurg 27:257, 1997 (1.2 mm; above 2 mm is abnormal).
    """
    rows = _checked(one_structure(table, name), tip_share, above_tip_mm, averaged_mm)
    arc, area = (rows[column].to_numpy(dtype=np.float64) for column in ("arc_mm", "area_corrected_mm2"))
    notes = []
    smooth = running_mean(arc, area, averaged_mm)
    top = _largest(arc, smooth, above_tip_mm)
    largest = None if top is None else _landmark(rows, top, smooth)
    widths = running_mean(arc, rows["diameter_rl_mm"].to_numpy(dtype=np.float64), averaged_mm)
    broad = _largest(arc, widths, above_tip_mm)
    widest = None if broad is None else _landmark(rows, broad, smooth)
    if largest is None:
        notes.append(
            f"The area has no largest value between {above_tip_mm[0]:g} and {above_tip_mm[1]:g} mm above the "
            "lowest section: the image may begin below the enlargement, or show another part of the cord."
        )
    tip = None if top is None or largest is None else _tip(rows, arc, area, top, tip_share * largest.area_mm2)
    ends = str(rows["ends_seen"].iloc[0]) if "ends_seen" in rows else "both"
    if tip is not None and tip.arc_mm <= arc[0] and ends not in ("both", "first"):
        tip = None
        notes.append(
            "The label reaches the lowest slice of the image, so the tip of the conus is not seen, and the largest "
            "area may be that of another part of the cord."
        )
    length = None if tip is None or largest is None else largest.arc_mm - tip.arc_mm
    return Enlargement(tip, largest, widest, length, tuple(notes))


def describe_enlargement(found: Enlargement) -> str:
    """Say in a line where the enlargement and the tip lie."""
    parts = []
    for place, words in ((found.tip, "tip"), (found.largest, "largest area"), (found.widest, "widest")):
        if place is not None:
            area = f" ({place.area_mm2:.1f} mm²)" if place is found.largest else ""
            parts.append(f"{words} at {place.arc_mm:.1f} mm{area}, head coordinate {place.z_head_mm:.1f} mm")
    if found.conus_length_mm is not None:
        parts.append(f"conus {found.conus_length_mm:.1f} mm long")
    return " ".join(filter(None, [f"{'; '.join(parts)}." if parts else "", *found.notes]))


def running_mean(arc_mm: Numbers, values: Numbers, length_mm: float) -> Numbers:
    """Give the mean of the values within half a length on either side; less far at the ends, so as not to lean.

    NaN stays NaN and is not counted.
    """
    found = np.full(len(values), math.nan)
    for place in np.flatnonzero(np.isfinite(values)):
        reach = min(length_mm / 2, arc_mm[place] - arc_mm[0], arc_mm[-1] - arc_mm[place]) + 1e-9
        near = values[np.abs(arc_mm - arc_mm[place]) <= reach]
        found[place] = float(np.nanmean(near))
    return found


def _checked(
    rows: pd.DataFrame, tip_share: float, above_tip_mm: tuple[float, float], averaged_mm: float
) -> pd.DataFrame:
    if "along" in rows and rows["along"].iloc[0] != "superior-inferior":
        raise DataError(
            f"{rows['name'].iloc[0]} runs {rows['along'].iloc[0]}; an enlargement is looked for on a cord, which "
            "runs superior-inferior. If that is wrong, measure it along superior-inferior."
        )
    if not 0 < tip_share < 1:
        raise DataError(f"tip_share is {tip_share}; give the tip's share of the largest area, above 0 and below 1.")
    if not 0 <= above_tip_mm[0] < above_tip_mm[1]:
        raise DataError(f"above_tip_mm is {above_tip_mm}; give two lengths in mm, the smaller first.")
    if not averaged_mm >= 0:
        raise DataError(f"averaged_mm is {averaged_mm}; give a length in mm, 0 for no mean.")
    return rows


def _largest(arc: Numbers, values: Numbers, limits: tuple[float, float]) -> int | None:
    """Give the place of the largest value within the limits, None where it lies at their edge."""
    above = arc - arc[0]
    inside = np.flatnonzero((above >= limits[0]) & (above <= limits[1]) & np.isfinite(values))
    if len(inside) < 3:
        return None
    best = int(inside[int(np.argmax(values[inside]))])
    return best if inside[0] < best < inside[-1] else None


def _tip(rows: pd.DataFrame, arc: Numbers, area: Numbers, top: int, least_mm2: float) -> Landmark:
    """Give where the area falls below `least_mm2`, going down from the enlargement; else the lowest section."""
    known = np.flatnonzero(np.isfinite(area[: top + 1]))
    below = known[area[known] < least_mm2]
    if not len(below):
        return _landmark(rows, int(known[0]), area)
    low = int(below[-1])
    high = int(known[known > low][0])
    part = (least_mm2 - area[low]) / (area[high] - area[low])
    ends = [astuple(_landmark(rows, place, area)) for place in (low, high)]
    return Landmark(*((1 - part) * below + part * above for below, above in zip(*ends, strict=True)))


def _landmark(rows: pd.DataFrame, place: int, area: Numbers) -> Landmark:
    return Landmark(*map(float, (*rows[list(PLACE)].iloc[place], area[place])))
