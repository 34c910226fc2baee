"""Grids whose axes are at right angles, the only ones that programs for correcting labels show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.image.geometry import Affine, check_affine

# Directions of the axes that differ from right angles by less are straight to every program.
STRAIGHT = 1e-5


def straight_affine(affine: Affine, shape: Sequence[int]) -> Affine:
    """Give the nearest affine whose axes are at right angles, with the same middle of the volume.

    Steps of rows and columns keep their lengths; slices are as far apart as along their normal. Where the axes
    are at right angles already, the affine itself is given.

    Examples
    --------
    A gantry tilted by 45 degrees:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> tilted = affine_from_spacing((4, 1, 1)).copy()
    >>> tilted[1, 0] = 4
    >>> straight_affine(tilted, (3, 9, 9))[:3, :3].round(6).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [4.0, 0.0, 0.0]]
    """
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    directions = steps / lengths
    if np.abs(directions.T @ directions - np.eye(3)).max() <= STRAIGHT:
        return affine
    normal = np.cross(directions[:, 1], directions[:, 2])
    normal *= np.sign(normal @ directions[:, 0]) / np.linalg.norm(normal)
    # Rows and columns that are not at right angles either meet half-way.
    first, second = directions[:, 1], directions[:, 2]
    both, apart = first + second, first - second
    both, apart = both / np.linalg.norm(both), apart / np.linalg.norm(apart)
    straight = np.stack([normal, (both + apart) / np.sqrt(2), (both - apart) / np.sqrt(2)], axis=1)
    lengths[0] = abs(normal @ steps[:, 0])
    result = np.eye(4)
    result[:3, :3] = straight * lengths + 0.0  # turns -0.0 into 0.0
    middle = (np.array(shape) - 1) / 2
    result[:3, 3] = affine[:3, :3] @ middle + affine[:3, 3] - result[:3, :3] @ middle
    return check_affine(result)
