"""How far a centreline is from the reference, and how often the structure leaves the crop around it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
import torch

from autoseg.errors import DataError
from autoseg.image.image import LabelMap
from autoseg.model.centreline import Centreline, Crop, from_labels, plan_crop, structure_mask
from autoseg.model.preprocessing.volume_grids import grid_of, to_network
from autoseg.model.settings.settings import VolumeSettings

# Heights at which two curves are compared.
STEP_MM = 1.0


@dataclass(frozen=True)
class CentrelineScore:
    """How good one centreline is, over the structure's extent.

    Distances are in the axial plane, at heights 1 mm apart, to the reference. `begins_error_mm` and `ends_error_mm`
    are where it begins and ends less where the reference does; NaN where it does not tell. Of a crop: `slices_cut`
    is the part of the slices with the structure, on the network's grid, on which some of it lies outside,
    `voxels_cut` the part of its voxels; NaN without a crop.
    """

    case_id: str
    subject_id: str
    source: str
    mean_mm: float
    percentile95_mm: float
    max_mm: float
    begins_error_mm: float
    ends_error_mm: float
    slices_cut: float = float("nan")
    voxels_cut: float = float("nan")


def score_centreline(
    found: Centreline,
    label_map: LabelMap,
    *,
    exact: Centreline | None = None,
    labels: Collection[int] | None = None,
    settings: VolumeSettings | None = None,
) -> CentrelineScore:
    """Compare a centreline with that of the reference labels.

    Parameters
    ----------
    found : Centreline
    label_map : LabelMap
        The reference.
    exact : Centreline, optional
        By default that of the labels.
    labels : collection of int, optional
        Structures that count; by default all.
    settings : VolumeSettings, optional
        With `crop_mm` and `spacing_mm`, those of the model that sees the crop: also tell how often it is left.

    Raises
    ------
    DataError
        If nothing was drawn, or the centreline does not meet the image.
    """
    exact = from_labels(label_map, labels) if exact is None else exact
    low, high = exact.begins_mm, exact.ends_mm
    if low is None or high is None:
        raise DataError(
            f"{label_map.source.name}: the reference does not tell where the structure begins and ends."
        )
    heights = np.linspace(low, high, max(2, round((high - low) / STEP_MM) + 1))
    apart = np.linalg.norm(found.at(heights)[:, :2] - exact.at(heights)[:, :2], axis=1)
    cut = (float("nan"), float("nan"))
    if settings is not None and settings.crop_mm is not None:
        grid = grid_of(label_map, settings)
        crop = plan_crop(found, grid, label_map, settings)
        mask = structure_mask(label_map, labels)
        on_grid = to_network(
            torch.from_numpy(np.ascontiguousarray(mask)[None].astype(np.uint8)), grid, mode="nearest"
        )
        cut = _cut(on_grid, crop)
    return CentrelineScore(
        case_id=label_map.source.case_id,
        subject_id=label_map.source.subject_id,
        source=found.source,
        mean_mm=float(apart.mean()),
        percentile95_mm=float(np.percentile(apart, 95)),
        max_mm=float(apart.max()),
        begins_error_mm=_less(found.begins_mm, low),
        ends_error_mm=_less(found.ends_mm, high),
        slices_cut=cut[0],
        voxels_cut=cut[1],
    )


def centreline_table(scores: Sequence[CentrelineScore]) -> pd.DataFrame:
    """Put scores into a table, one row a case, then minimum, mean, median and maximum.

    The columns are those of CentrelineScore. Of several cases of a subject each has its row. The last four rows
    have their word in `case_id`; they are left out where there is no score.
    """
    columns = [field.name for field in fields(CentrelineScore)]
    table = pd.DataFrame([asdict(score) for score in scores], columns=columns)
    if not scores:
        return table
    numbers = columns[3:]
    below = pd.DataFrame(
        [{"case_id": word, **getattr(table[numbers], word)()} for word in ("min", "mean", "median", "max")]
    )
    below["case_id"] = ["minimum", "mean", "median", "maximum"]
    below[["subject_id", "source"]] = ""
    return pd.concat([table, below[columns]], ignore_index=True)


def _cut(mask: torch.Tensor, crop: Crop) -> tuple[float, float]:
    """Give the part of slices and of voxels of a mask (1, x, y, z) that a crop leaves out."""
    across = [1 + k for k in range(3) if k != crop.axis]
    whole, kept = mask.long().sum(dim=across)[0], crop.cut(mask, outside=0).long().sum(dim=across)[0]
    there = whole > 0
    return float((kept < whole)[there].float().mean()), 1 - float(kept.sum()) / float(whole.sum())


def _less(value: float | None, reference: float) -> float:
    return float("nan") if value is None else value - reference
