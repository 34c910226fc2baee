"""What the edge of the image cuts off: its area is at least so large, and never stands where whole areas do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

AREA, LEAST = "area_mm2", "area_at_least_mm2"


def least_apart(table: pd.DataFrame, cut: Sequence[bool]) -> pd.DataFrame:
    """Give a table in which areas of the rows that are `cut` off stand in a column of their own behind the others'.

    Without any, or where none of those has an area, there is no such column.

    Examples
    --------
    >>> least_apart(pd.DataFrame({"area_mm2": [12.0, 40.0]}), [True, False])
       area_mm2  area_at_least_mm2
    0       NaN               12.0
    1      40.0                NaN
    """
    areas = table[AREA].to_numpy(dtype=np.float64, na_value=np.nan)
    is_cut = np.asarray(cut, dtype=bool) & np.isfinite(areas)
    if not is_cut.any():
        return table
    parted = table.assign(**{AREA: np.where(is_cut, np.nan, areas)})
    parted.insert(list(parted.columns).index(AREA) + 1, LEAST, np.where(is_cut, areas, np.nan))
    return parted
