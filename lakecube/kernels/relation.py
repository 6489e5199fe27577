"""One relation per date between water frequency and water, from the pixels that are seen (Mullen et al., 2021).

The relation is the monotone function of the bin that fits the visible pixels best (isotonic regression by pool
adjacent violators), which needs no form and no parameter.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.heights import BINS
from lakecube.kernels.jit import jit
from lakecube.kernels.shore import DRY, WET


def relation_by_date(shore: np.ndarray, min_visible: int) -> np.ndarray:
    """Probability of water in each bin of frequency, date by date.

    Parameters
    ----------
    shore : (time, BINS, 2 or more) integers
        Visible dry and wet pixels of the whole scene: `count_shore` summed over its lakes and blocks.
    min_visible : int
        A date with fewer visible pixels than this takes the relation of all dates together.

    Returns
    -------
    (time, BINS) float32
        Rising with the bin, in [0, 1]. Bins without visible pixels lie on the line between their neighbours.
    """
    counts = np.asarray(shore[..., [DRY, WET]], np.float64)
    total = counts.sum(axis=0)
    few = counts.sum(axis=(1, 2)) < min_visible
    chosen = np.where(few[:, None, None], total, counts)
    out = np.empty((len(chosen), BINS), np.float32)
    for t, date in enumerate(chosen):
        out[t] = monotone_share(date)
    return out


@jit
def monotone_share(counts: np.ndarray) -> np.ndarray:
    """Share of wet pixels as a rising function of the bin.

    Parameters
    ----------
    counts : (BINS, 2) float64
        Dry and wet pixels.

    Returns
    -------
    (BINS,) float64
        Isotonic fit, weighted by the counts; empty bins are interpolated, beyond the outermost filled ones they are
        equal to these. Without any pixel: the frequency itself, (bin / (BINS - 1)).
    """
    n = counts.shape[0]
    level, weight, last = np.empty(n), np.empty(n), np.empty(n, np.int64)
    pools = 0
    for b in range(n):
        w = counts[b, 0] + counts[b, 1]
        if w == 0:
            continue
        level[pools], weight[pools], last[pools] = counts[b, 1] / w, w, b
        pools += 1
        while pools > 1 and level[pools - 2] >= level[pools - 1]:
            both = weight[pools - 2] + weight[pools - 1]
            level[pools - 2] = (level[pools - 2] * weight[pools - 2] + level[pools - 1] * weight[pools - 1]) / both
            weight[pools - 2], last[pools - 2] = both, last[pools - 1]
            pools -= 1
    if pools == 0:
        return np.arange(n) / (n - 1)
    return _spread(counts, level, last)


@jit
def _spread(counts: np.ndarray, level: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Levels of the pools at their filled bins, lines between filled bins."""
    n = counts.shape[0]
    out = np.empty(n)
    pool, before = 0, -1
    for b in range(n):
        if counts[b, 0] + counts[b, 1] == 0:
            continue
        if b > last[pool]:
            pool += 1
        out[b] = level[pool]
        for gap in range(before + 1, b):
            share = (gap - before) / (b - before)
            out[gap] = out[b] if before < 0 else out[before] + share * (out[b] - out[before])
        before = b
    out[before + 1 :] = out[before]
    return out
