"""Lay arrays out as radiologists look at slices: axes reordered and turned, never a voxel moved or resampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError
from autoseg.image.geometry import Affine, check_affine, nearest_axes

Plane = Literal["axial", "coronal", "sagittal"]

# Along which patient axis (0 left, 1 back, 2 head) slices, rows and columns count, and in which direction.
LAYOUTS: dict[Plane, tuple[tuple[int, int], ...]] = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, 1), (2, -1), (1, 1)),
}
PLANE_ACROSS: dict[int, Plane] = {directions[0][0]: plane for plane, directions in LAYOUTS.items()}
# An axis whose steps are this much longer than both others is the one along which slices were taken.
THICKER = 1.5
# Within this part of a voxel two grids have the same voxels: headers round, and neighbours are a whole one away.
SAME_VOXEL = 0.25


@dataclass(frozen=True)
class Arrangement:
    """How an array becomes (slice, row, column): axis k is its axis `axes[k]`, turned round if `flipped[k]`."""

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def apply(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Give the array, whose first three axes are those in space, with these in the order of the arrangement."""
        turned = tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)
        return array.transpose(*self.axes, *range(3, array.ndim))[turned]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Give the shape that an array of this shape will have."""
        return shape[self.axes[0]], shape[self.axes[1]], shape[self.axes[2]]

    def affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Give the affine with which every voxel keeps its place in the patient."""
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            step[old, new] = -1 if flip else 1
            step[old, 3] = shape[old] - 1 if flip else 0
        return check_affine(affine @ step)


def arrangement_for(affine: Affine, shape: tuple[int, ...], plane: Plane | None = None) -> Arrangement:
    """Choose slices, rows and columns of an array by where its voxels lie in the patient.

    Axial: rows run to the back, columns to the patient's left; sagittal: rows to the feet, columns to the back;
    coronal: rows to the feet, columns to the left. Slices run to the head, the left or the back. By default they
    lie across the only axis of length 1, else across one whose steps are at least 1.5 times as long as those of
    both others, else they are axial.

    Examples
    --------
    An array (x, y, z) as NIfTI has it, x to the right and y to the front:

    >>> arrangement_for(np.diag([-1.0, -1.0, 3.0, 1.0]), (40, 50, 9))
    Arrangement(axes=(2, 1, 0), flipped=(False, True, True))
    """
    if plane is not None and plane not in get_args(Plane):
        raise DataError(f"Slices can be 'axial', 'coronal' or 'sagittal', not {plane!r}.")
    toward = nearest_axes(affine)
    if plane is None:
        plane = _plane(affine, shape, toward)
    axes, flipped = [], []
    for patient_axis, direction in LAYOUTS[plane]:
        axis = toward.index(patient_axis)
        axes.append(axis)
        flipped.append(bool(affine[patient_axis, axis] * direction < 0))
    return Arrangement((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))


def arrangement_onto(
    affine: Affine, shape: tuple[int, ...], target_affine: Affine, target_shape: tuple[int, ...]
) -> Arrangement | None:
    """Find how an array is brought onto another grid by reordering and turning its axes; None if it cannot be.

    Grids count as the same where every corner lies within a quarter of a voxel: files of one image written by
    several programs differ by what their headers round.
    """
    # From an index of the target to an index of the array: whole steps of one voxel along one axis each.
    step = np.linalg.solve(affine, target_affine)
    whole = np.round(step[:3, :3])
    if not (
        np.isin(whole, (-1, 0, 1)).all() and (np.abs(whole).sum(0) == 1).all() and abs(np.linalg.det(whole)) == 1
    ):
        return None
    axes = np.abs(whole).argmax(axis=0).tolist()
    flipped = (whole.sum(axis=0) < 0).tolist()
    found = Arrangement((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))
    if found.shape(shape) != tuple(target_shape):
        return None
    indices = np.array(np.meshgrid(*[(0, n - 1) for n in target_shape], [1], indexing="ij")).reshape(4, -1)
    apart = np.linalg.solve(target_affine, (found.affine(affine, shape) - target_affine) @ indices)
    return found if np.abs(apart[:3]).max() <= SAME_VOXEL else None


def plane_of(affine: Affine) -> Plane:
    """Tell in which plane the slices of a grid (slice, row, column) lie, as nearly as it has a name."""
    return PLANE_ACROSS[nearest_axes(affine)[0]]


def _plane(affine: Affine, shape: tuple[int, ...], toward: list[int]) -> Plane:
    """Tell in which plane the slices lie, if anything tells it."""
    single = [axis for axis in range(3) if shape[axis] == 1]
    if len(single) == 1:
        return PLANE_ACROSS[toward[single[0]]]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    longest = int(lengths.argmax())
    others = np.delete(lengths, longest)
    # A hair less than 1.5, which headers in single precision may miss.
    return PLANE_ACROSS[toward[longest]] if lengths[longest] >= (THICKER - 1e-4) * others.max() else "axial"
