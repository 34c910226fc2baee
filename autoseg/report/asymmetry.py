"""Left beside right: by how many percent the two structures of a pair differ, patient by patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from autoseg.image.structures import Side, Structure, pair_name, side_pairs
from autoseg.measurement.areas import Measurement, worst_light
from autoseg.report.area_tables import (
    has_repeated_places,
    image_groups,
    image_titles,
    is_volume_cut_off,
    patient_names,
    volume_mm3,
)

# Of fewer other people there is no range: a further one lies outside that of n by chance 2 times in n + 1.
FEWEST_OTHERS = 5
COLUMNS = (
    "patient", "subject_id", "image", "structure", "slices", "asymmetry_percent", "sd_asymmetry_percent",
    "volume_asymmetry_percent",
)  # fmt: skip
OF_COHORT = ("cohort_n", "cohort_lowest_percent", "cohort_highest_percent")


def asymmetry_percent(left: float, right: float) -> float:
    """Give the difference of two sides in percent of their mean: above 0 where the left is larger.

    NaN where both are 0. Left and right exchanged it has the other sign and the same size.

    Examples
    --------
    >>> asymmetry_percent(110.0, 90.0), asymmetry_percent(90.0, 110.0), asymmetry_percent(0.0, 0.0)
    (20.0, -20.0, nan)
    """
    return 200 * (left - right) / (left + right) if left + right > 0 else math.nan


def asymmetry_table(measurements: Sequence[Measurement], *, cohort: Sequence[Measurement] = ()) -> pd.DataFrame:
    """Give how far left and right differ: one row an image (or a series of single slices) and pair of structures.

    Compared are the slices on which both sides are seen whole: what is cut off by the edge of the image, or missing
    on one side, says nothing of a side's size.

    Parameters
    ----------
    measurements : sequence of Measurement
    cohort : sequence of Measurement
        Of labels that were drawn, of any people: whoever is measured is held against the others among them.

    Returns
    -------
    pandas.DataFrame
        Columns patient, subject_id, image, structure (the name without its side), slices (that show both sides
        whole), asymmetry_percent (of the areas of these slices together, see `asymmetry_percent`),
        sd_asymmetry_percent (of these slices one by one, the sample's), volume_asymmetry_percent (NaN where a
        volume is unknown or cut off). Where at least 5 other people of the cohort have the pair: cohort_n (so
        many), cohort_lowest_percent and cohort_highest_percent, the range of their asymmetry_percent, a person's
        images averaged. At the end suitability, where one is known. NaN where nothing can be compared; empty
        without a pair.
    """
    names, titles = patient_names(measurements), image_titles(measurements)
    others = _by_subject(cohort)
    lines = []
    for (subject, image), rows in image_groups(measurements).items():
        for found in _pairs_of(rows):
            values = sorted(
                value for who, own in others.items() if who != subject and (value := own.get(found.key)) is not None
            )
            lines.append(
                {
                    "patient": names[subject],
                    "subject_id": subject,
                    "image": titles[subject, image],
                    "structure": found.name,
                    "slices": found.slices,
                    "asymmetry_percent": found.percent,
                    "sd_asymmetry_percent": found.sd_percent,
                    "volume_asymmetry_percent": found.volume_percent,
                    "suitability": worst_light(row.suitability for row in rows),
                }
                | _range_of(values)
            )
    columns = [*COLUMNS, *(OF_COHORT if any(OF_COHORT[0] in line for line in lines) else ())]
    columns += ["suitability"] if any(row.suitability for row in measurements) else []
    return pd.DataFrame(lines, columns=columns)


def _range_of(others: Sequence[float]) -> dict[str, float]:
    """Give the range of other people's asymmetry; nothing of too few."""
    if len(others) < FEWEST_OTHERS:
        return {}
    return dict(zip(OF_COHORT, (len(others), others[0], others[-1]), strict=True))


@dataclass(frozen=True)
class _Pair:
    """What was found of one pair of structures on one image."""

    name: str
    slices: int
    percent: float
    sd_percent: float
    volume_percent: float

    @property
    def key(self) -> str:
        return self.name.casefold()


def _pairs_of(rows: Sequence[Measurement]) -> list[_Pair]:
    """Compare the sides of each pair on one image, or on a series of single slices."""
    known = {row.label: row for row in rows}
    structures = [Structure(row.label, row.name, side=cast(Side, row.side)) for _, row in sorted(known.items())]
    mixed = has_repeated_places(rows)
    found = []
    for pair in side_pairs(structures):
        left, right = ([row for row in rows if row.label == label] for label in pair)
        beside = {(row.case_id, row.slice_index): row for row in right}
        both = [(one, beside[key]) for one in left if (key := (one.case_id, one.slice_index)) in beside]
        areas = [(one.area, other.area) for one, other in both if _is_whole(one) and _is_whole(other)]
        own = [asymmetry_percent(*sides) for sides in areas]
        sums = (math.nan, math.nan) if mixed or not areas else tuple(np.sum(areas, axis=0).tolist())
        volumes = [math.nan if mixed or is_volume_cut_off(side) else volume_mm3(side) for side in (left, right)]
        found.append(
            _Pair(
                name=pair_name(known[pair[0]].name),
                slices=len(areas),
                percent=asymmetry_percent(*sums),
                sd_percent=float(np.std(own, ddof=1)) if len(own) > 1 and not mixed else math.nan,
                volume_percent=asymmetry_percent(*volumes),
            )
        )
    return found


def _is_whole(row: Measurement) -> bool:
    return row.pixel_count > 0 and not row.is_cut_off


def _by_subject(measurements: Sequence[Measurement]) -> Mapping[str, Mapping[str, float]]:
    """Give each person's asymmetry of each pair, images averaged; an image without a person stands for itself."""
    found: dict[str, dict[str, list[float]]] = {}
    for (subject, image), rows in image_groups(measurements).items():
        for pair in _pairs_of(rows):
            if not math.isnan(pair.percent):
                found.setdefault(subject or f"image {image}", {}).setdefault(pair.key, []).append(pair.percent)
    return {who: {key: float(np.mean(own)) for key, own in pairs.items()} for who, pairs in found.items()}
