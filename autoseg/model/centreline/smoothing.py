"""Positions along a line made smooth: gaps are bridged, and both ends go on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

Floats = npt.NDArray[np.float64]
# Over so many mm a line that "goes on straight" bends back: far beyond any scan, but a single place is enough then.
STRAIGHT_MM = 1e4


def smooth(
    values: Floats, weights: Floats, *, step_mm: float, wavelength_mm: float, flatten_mm: float = STRAIGHT_MM
) -> Floats:
    """Smooth values at equal steps, as a spline does; where the weight is 0 they are filled in.

    Minimises sum w (y - x)² + a sum y''² + b sum y'² (Whittaker 1923; Eilers, Analytical Chemistry 2003), where
    a = (wavelength / 2π)⁴, so that half of a wave of that length is kept, and b = a / flatten². Beyond the last
    weight the line goes on straight, and turns parallel to the axis over about `flatten_mm`.

    Parameters
    ----------
    values : (n, k) ndarray
    weights : (n,) ndarray
        From 0; at least one is more. A mean of about 1 where there are values makes `wavelength_mm` true.
    step_mm : float
        From each row to the next.
    wavelength_mm : float
        Waves of this length are halved, longer ones kept.
    flatten_mm : float
        By default never.

    Returns
    -------
    (n, k) ndarray

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
