"""Measurements by patient: one row a patient, image and structure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from autoseg.measurement.areas import Measurement

COLUMNS = (
    "patient", "subject_id", "image", "structure", "slices", "mean_area_mm2", "sd_area_mm2", "max_area_mm2",
    "volume_mm3", "flagged",
)  # fmt: skip
SAME_STEP = 0.01  # relative; slices whose distances differ by more are not evenly spaced

Group = tuple[str, str]


def is_by_slice(measurements: Sequence[Measurement]) -> bool:
    """Tell whether every image is a single slice, so that a series is many images."""
    slices = {(row.case_id, row.slice_index) for row in measurements}
    return len(slices) == len({case_id for case_id, _ in slices})


def image_groups(measurements: Sequence[Measurement]) -> dict[Group, list[Measurement]]:
    """Put together what belongs in one plot and row: the slices of an image, or of a series of single slices."""
    single = is_by_slice(measurements)
    groups: dict[Group, list[Measurement]] = {}
    for row in sorted(measurements, key=lambda row: (*map(_natural, _group(row, single)), *_place(row))):
        groups.setdefault(_group(row, single), []).append(row)
    return groups


def patient_names(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Give each subject_id, in natural order, a name that tells nothing of the person: "patient 1", …."""
    subjects = sorted({row.subject_id for row in measurements}, key=_natural)
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
        title = f"{len({row.case_id for row in rows})} slice image(s)" if single else image
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
    return pd.DataFrame(lines, columns=list(COLUMNS))


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


def _group(row: Measurement, single: bool) -> Group:
    return row.subject_id, row.series_uid if single else row.case_id


def _place(row: Measurement) -> tuple[object, ...]:
    position = row.slice_position_mm
    return position is None, position or 0.0, _natural(row.case_id), row.slice_index, row.label


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort t2 before t10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]
