"""Which row of `time` a moment belongs to."""

from __future__ import annotations

import numpy as np


def rows_of(moments: np.ndarray, starts: np.ndarray, ends: np.ndarray | None = None) -> np.ndarray:
    """Row (int64, n) of each of `moments` (n,) among `starts` (rows,) in any order; -1 where there is none.

    Rows are single moments, or with `ends` (rows,) half-open periods that do not overlap. O((n + rows) log rows).
    """
    order = np.argsort(starts, kind="stable")
    if not len(order):
        return np.full(len(moments), -1)
    ascending = starts[order]
    at = np.searchsorted(ascending, moments, side="left" if ends is None else "right") - (ends is not None)
    row = order[np.clip(at, 0, len(order) - 1)]
    inside = starts[row] == moments if ends is None else (starts[row] <= moments) & (moments < ends[row])
    return np.where(inside, row, -1)
