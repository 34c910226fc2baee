"""How far the outlines of two masks lie apart, in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import DataError

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SurfaceAgreement:
    """How the outlines of a reference R and a prediction P agree.

    The outline of a mask are its pixels (voxels) that share a side with one outside of it; beyond the border of the
    image is outside. With d(a, B) the distance in mm from the centre of an outline pixel a to that of the nearest
    outline pixel of B, and n(.) the number of outline pixels:

    - hd95_mm = max(95th percentile of d(r, P) over r in R, 95th percentile of d(p, R) over p in P), percentiles
      interpolated linearly: the Hausdorff distance without its most distant 5 %
    - nsd = (n(r with d(r, P) <= tolerance) + n(p with d(p, R) <= tolerance)) / (n(R) + n(P)), the normalised
      surface Dice (Seidlitz et al., Med Image Anal 2022; after Nikolov et al., J Med Internet Res 2021, who weigh
      the pixels by their length of outline)
    - mean_distance_mm = (sum of d(r, P) + sum of d(p, R)) / (n(R) + n(P)), the average symmetric surface distance

    Absent in one of the two: nsd is 0, the distances have no value and are None. Absent in both: all are None.
    """

    hd95_mm: float | None
    nsd: float | None
    mean_distance_mm: float | None


def compare_surfaces(
    reference: Mask, predicted: Mask, *, spacing_mm: Sequence[float], tolerance_mm: float = 1.0
) -> SurfaceAgreement:
    """Compare the outlines of one structure on one slice (2-D), or its surface in one volume (3-D).

    The two differ: the surface of a volume holds all pixels of its first and last slice, and the nearest point of
    the other surface may lie on another slice.

    Examples
    --------
    Two pixels, three columns of 2 mm apart:

    >>> one, other = np.zeros((2, 1, 5), bool)
    >>> one[0, 0], other[0, 3] = True, True
    >>> compare_surfaces(one, other, spacing_mm=(1.0, 2.0))
    SurfaceAgreement(hd95_mm=6.0, nsd=0.0, mean_distance_mm=6.0)
    """
    if reference.shape != predicted.shape or len(spacing_mm) != reference.ndim:
        raise DataError(
            f"Masks of the shapes {reference.shape} and {predicted.shape} with the spacing "
            f"{' × '.join(map(str, spacing_mm))} mm cannot be compared. Give two masks of "
            "one grid, and one distance for each of its axes."
        )
    if not (np.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise DataError(f"The tolerance of the surface Dice is {tolerance_mm} mm; give 0 or more, for instance 1.")
    present = reference.any(), predicted.any()
    if not all(present):
        return SurfaceAgreement(None, 0.0 if any(present) else None, None)
    # The transforms below run over all that they are given: cut out what matters first.
    box = ndimage.find_objects((reference | predicted).astype(np.uint8))[0]
    both_ways = _surface_distances(reference[box], predicted[box], spacing_mm)
    together = np.concatenate(both_ways)
    return SurfaceAgreement(
        hd95_mm=max(float(np.percentile(distances, 95)) for distances in both_ways),
        nsd=float((together <= tolerance_mm).mean()),
        mean_distance_mm=float(together.mean(dtype=np.float64)),
    )


def _surface_distances(
    reference: Mask, predicted: Mask, spacing_mm: Sequence[float]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give in mm how far each outline pixel lies from the other's outline: the reference's, the predicted's."""
    # Outside the picture counts as background, so a structure that is cut off has its outline there.
    of_reference, of_predicted = (mask & ~ndimage.binary_erosion(mask) for mask in (reference, predicted))
    return (
        ndimage.distance_transform_edt(~of_predicted, sampling=spacing_mm)[of_reference].astype(np.float32),
        ndimage.distance_transform_edt(~of_reference, sampling=spacing_mm)[of_predicted].astype(np.float32),
    )
