"""The centreline of what somebody drew."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.linalg import solveh_banded

from autoseg.errors import DataError
from autoseg.image.image import LabelMap
from autoseg.model.centreline.curve import STEP_MM, Centreline
from autoseg.model.preprocessing.volume_grids import axes_of, check_volume
from autoseg.words import named

# --- positions along a line made smooth: gaps are bridged, and both ends go on

Floats = npt.NDArray[np.float64]
# Over so many mm a line that "goes on straight" bends back: far beyond any scan, but a single place is enough then.
STRAIGHT_MM = 1e4


def smooth(
    values: Floats, weights: Floats, *, step_mm: float, wavelength_mm: float, flatten_mm: float = STRAIGHT_MM
) -> Floats:
    """Smooth values at equal steps, as a spline does; where the weight is 0 they are filled in.

    Minimises sum w (y - x)² + a sum y''² + b sum y'² (Whittaker 1923; Eilers, Analytical Chemistry 2003), where
    a = (wavelength / 2π)⁴, so that half of a wave of that length is kept, and b = a / flatten². Beyond the last
    weight the line goes on straight, and turns parallel to the axis over about `flatten_mm`. Values are (n, k), the
    weights (n,) of a mean of about 1 where there are values, which makes the wavelength true.

    Examples
    --------
    >>> line = np.arange(5.0)[:, None]
    >>> smooth(line, np.array([1.0, 1, 0, 0, 0]), step_mm=1, wavelength_mm=10).ravel().round(2).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    count = len(values)
    if count < 3:
        known = weights > 0
        return np.where(known[:, None], values, values[known].mean(axis=0))
    bend = (wavelength_mm / (2 * math.pi)) ** 4
    bands = np.zeros((3, count))
    bands[2] = weights
    for order, factor in ((1, bend / flatten_mm**2 / step_mm**2), (2, bend / step_mm**4)):
        kernel = np.diff(np.eye(order + 1), order, axis=0)[0]
        for i, one in enumerate(kernel):
            for j in range(i, order + 1):
                # Row r of the differences touches r … r + order; entry (r + i, r + j) lies on diagonal j - i.
                bands[2 - (j - i), j : count - order + j] += factor * one * kernel[j]
    return np.asarray(solveh_banded(bands, weights[:, None] * values))


# Waves of the curve that are shorter are of the drawing, not of the patient.
WAVELENGTH_MM = 20.0
# Pieces that are a smaller part of what was drawn are strays.
STRAY = 0.01


def from_labels(
    label_map: LabelMap, labels: Collection[int] | None = None, *, wavelength_mm: float = WAVELENGTH_MM
) -> Centreline:
    """Give the centreline of structures that were drawn: of all of them together, the "exact" one.

    The centroid of every slice across the axis that is nearest to feet and head, whatever the image's own slices,
    interpolated where nothing was drawn in between, smoothed, and going on straight to the image's ends. Stray
    pieces, of less than a hundredth of all that was drawn, do not count.
    """
    check_volume(label_map)
    mask = structure_mask(label_map, labels)
    if mask is None or not mask.any():
        names = _names(label_map, labels)
        raise DataError(
            f"{label_map.source.name}: nothing of {names} was drawn, so the labels tell no centreline. Click it, "
            "or leave the case out."
        )
    mask = _without_strays(mask)
    (along, *_), _ = axes_of(label_map.calibrated_affine, "IAR")
    across = [k for k in range(3) if k != along]
    spacing = label_map.spacing_mm
    centres, counts = _centroids(mask, along)
    drawn = np.flatnonzero(counts)
    parts = max(1, round(spacing[along] / STEP_MM))
    nodes = np.arange((len(counts) - 1) * parts + 1) / parts
    values, weights = np.zeros((len(nodes), 2)), np.zeros(len(nodes))
    values[drawn * parts] = centres[drawn]
    weights[drawn * parts] = (drawn[-1] - drawn[0] + 1) * parts / len(drawn)
    own = np.array([spacing[k] for k in across])
    line = smooth(values * own, weights, step_mm=spacing[along] / parts, wavelength_mm=wavelength_mm) / own
    index = np.empty((len(nodes), 3))
    index[:, along], index[:, across] = nodes, line
    points = index @ label_map.calibrated_affine[:3, :3].T + label_map.calibrated_affine[:3, 3]
    # To the outer edges of the first and the last slice with a structure.
    ends = points[drawn[[0, -1]] * parts, 2]
    half = abs(label_map.calibrated_affine[2, along]) / 2
    points = points if points[-1, 2] > points[0, 2] else points[::-1]
    return Centreline(points, "labels", float(ends.min() - half), float(ends.max() + half))


def structure_mask(label_map: LabelMap, labels: Collection[int] | None = None) -> npt.NDArray[np.bool_] | None:
    """Give the voxels of these structures together, (slices, rows, columns); None if none of them was drawn."""
    known = [s.label for s in label_map.structures if labels is None or s.label in labels]
    drawn = [label for label in known if label_map.is_annotated(label)]
    if not drawn:
        return None
    return np.asarray(np.any([label_map.mask(label) for label in drawn], axis=0))


def _without_strays(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Take away pieces so small that they are slips of the pen, yet would bend the curve on their slice."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count == 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    # The largest always counts, however many there are.
    return np.asarray((sizes >= min(STRAY * sizes.sum(), sizes.max()))[pieces] & mask)


def _centroids(mask: npt.NDArray[np.bool_], along: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Give the centroid (n, 2) of every slice across an axis, by the other two in their order, and its voxels."""
    slices = np.moveaxis(mask, along, 0)
    counts = slices.sum(axis=(1, 2))
    sums = [slices.sum(axis=2 - k) @ np.arange(slices.shape[1 + k]) for k in range(2)]
    return np.column_stack(sums) / np.maximum(counts, 1)[:, None], counts


def _names(label_map: LabelMap, labels: Collection[int] | None) -> str:
    names = [s.name for s in label_map.structures if labels is None or s.label in labels]
    return ", ".join(names) or f"the {named('label', sorted(labels or ()))}"
