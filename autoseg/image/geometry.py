"""Where voxels lie in the patient: affines, spacings and areas of one pixel.

An affine is a (4, 4) matrix that takes the index (slice, row, column, 1) of a voxel's centre to DICOM
patient coordinates in mm: x to the patient's left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import numpy.typing as npt

from autoseg.errors import GeometryError

Affine = npt.NDArray[np.float64]

# Steps outside are no millimetres of a person.
PLAUSIBLE_MM = (0.001, 200.0)

# Nifti counts x to the right and y to the front, DICOM to the left and to the back.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_affine(affine: npt.ArrayLike) -> Affine:
    """Return the affine as a read-only (4, 4) float array."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise GeometryError(f"An affine has shape (4, 4), not {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise GeometryError("The affine holds NaN or infinite numbers; the image's geometry is damaged.")
    steps = matrix[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    # Relative to the step lengths, so that tiny but independent steps (0.001 mm) are accepted.
    if (lengths == 0).any() or abs(np.linalg.det(steps / lengths)) < 1e-6:
        raise GeometryError(
            f"The affine is singular (steps of {lengths.round(6).tolist()} mm along slice, row and column); "
            "a spacing is 0 or two axes coincide. Correct the image's geometry."
        )
    matrix.flags.writeable = False
    return matrix


def affine_from_spacing(spacing_mm: Sequence[float], origin_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> Affine:
    """Build the affine of axial slices: columns run left, rows run back, slices run to the head.

    The spacing is in mm between slices, between rows, between columns; the origin is the first voxel's centre.

    Examples
    --------
    >>> spacing_from_affine(affine_from_spacing((3.0, 0.5, 0.25)))
    (3.0, 0.5, 0.25)
    """
    between_slices, between_rows, between_columns = spacing_mm
    return affine_from_axes(
        position_mm=origin_mm,
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(between_rows, between_columns),
        slice_step_mm=(0.0, 0.0, between_slices),
    )


def affine_from_axes(
    *,
    position_mm: Sequence[float],
    orientation: Sequence[float],
    pixel_spacing_mm: Sequence[float],
    slice_step_mm: Sequence[float],
) -> Affine:
    """Build an affine from DICOM's attributes of the first slice.

    ImagePositionPatient; ImageOrientationPatient (direction cosines of a row, towards growing column index, then of
    a column); PixelSpacing (between rows first); the way in mm from the first slice's position to the second's,
    which need not lie along the normal (gantry tilt). Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, with a
    slice axis in front.
    """
    along_row, along_column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    matrix = np.eye(4)
    matrix[:3, 0] = slice_step_mm
    matrix[:3, 1] = along_column * pixel_spacing_mm[0]
    matrix[:3, 2] = along_row * pixel_spacing_mm[1]
    matrix[:3, 3] = position_mm
    return check_affine(matrix)


def spacing_from_affine(affine: Affine) -> tuple[float, float, float]:
    """Give the distance in mm between neighbouring slices, rows and columns along their own axes."""
    between_slices, between_rows, between_columns = np.linalg.norm(affine[:3, :3], axis=0)
    return float(between_slices), float(between_rows), float(between_columns)


def pixel_area_mm2(affine: Affine) -> float:
    """Give the area in mm² of one pixel: the length of the cross product of the row and column steps.

    The product of the two spacings would be wrong on a sheared grid.

    Examples
    --------
    >>> pixel_area_mm2(affine_from_spacing((3.0, 0.5, 0.25)))
    0.125
    """
    return float(np.linalg.norm(np.cross(affine[:3, 1], affine[:3, 2])))


def nearest_axes(affine: Affine) -> list[int]:
    """Give the patient axis (0 left, 1 back, 2 head) that each axis of the array is nearest to, each used once."""
    steps = np.abs(affine[:3, :3])
    # Rounded, so that of two axes at exactly 45 degrees the same is taken whatever the last digit is.
    cosines = np.round(steps / np.linalg.norm(affine[:3, :3], axis=0), 5)
    return list(max(permutations(range(3)), key=lambda order: cosines[order, range(3)].sum()))


def slice_normal(orientation: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give the unit normal of slices, turned so that it points to the head, the back or the left.

    The sign follows the normal's largest component, so axial slices count from the feet to the head
    whichever way the scanner ran.

    Examples
    --------
    >>> slice_normal((1, 0, 0, 0, -1, 0)).tolist()
    [0.0, 0.0, 1.0]
    """
    along_row, along_column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    length = np.linalg.norm(normal)
    if length < 1e-6:
        raise GeometryError(
            f"The slice orientation {np.ravel(orientation).tolist()} has parallel rows and columns; the header "
            "is damaged."
        )
    normal = normal / length
    normal = normal * (1.0 if normal[np.abs(normal).argmax()] > 0 else -1.0)
    return np.asarray(normal + 0.0, dtype=np.float64)  # + 0.0 turns -0.0 into 0.0


def slice_positions_mm(affine: Affine, count: int) -> npt.NDArray[np.float64]:
    """Give the position in mm of each of `count` slices along the slice normal, shape (count,)."""
    orientation = np.concatenate([affine[:3, 2], affine[:3, 1]])
    normal = slice_normal(orientation)
    first = float(normal @ affine[:3, 3])
    return np.asarray(first + np.arange(count) * float(normal @ affine[:3, 0]), dtype=np.float64)


def slice_distance_mm(affine: Affine) -> float:
    """Give the distance in mm between neighbouring slices along their normal (less than the step if sheared)."""
    orientation = np.concatenate([affine[:3, 2], affine[:3, 1]])
    return abs(float(slice_normal(orientation) @ affine[:3, 0]))


def same_grid(first: tuple[tuple[int, ...], Affine | None], second: tuple[tuple[int, ...], Affine | None]) -> bool:
    """Tell whether two (shape, affine) pairs are the same voxels, to a thousandth of a voxel.

    An uncalibrated grid (affine None) equals only another uncalibrated grid of that shape.
    """
    (shape_a, affine_a), (shape_b, affine_b) = first, second
    if tuple(shape_a) != tuple(shape_b):
        return False
    if affine_a is None or affine_b is None:
        return affine_a is None and affine_b is None
    # The first voxel and the ends of the three axes tell two affines apart, a transposed one too.
    corners = np.array([[0, 0, 0, 1], *(np.diag([max(n - 1, 1) for n in shape_a] + [1])[:3])], dtype=np.float64)
    corners[:, 3] = 1
    apart_mm = np.abs((affine_a - affine_b) @ corners.T).max()
    return bool(apart_mm <= 1e-3 * min(spacing_from_affine(affine_a)))
