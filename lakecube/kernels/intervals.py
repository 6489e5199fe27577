"""How wrong the restored area of a lake may be: quantiles learned where real clouds are laid over clear dates.

*partial -> combine -> decide* once more. A pseudo-date is a date t under the clouds of another date u: what u hides
of t is restored, and its truth is known. The error of the restored area, divided by the spread that the model itself
expects (`spread_of_hidden`), is counted in classes (`count_errors`); counts of all lakes and pseudo-dates add up; their
5 % and 95 % quantiles (`error_quantiles`) turn the spread of any real date into an interval (`hidden_interval`).
Areas are pixels.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.levels import DEFAULT, LevelParams, water_at_level

#: Errors, in spreads, are counted in steps of 1/32 from -32 to 32; what lies beyond counts in the end steps.
STEPS, STEP = 2048, 1 / 32
#: Upper ends of the classes of the hidden share of a lake; the last class is wholly hidden.
HIDDEN_SHARES = (0.3, 0.6, 0.999)
#: Lower ends of the classes of size (pixels of the extent).
SIZES = (0, 100, 1000)
N_CLASSES = (len(HIDDEN_SHARES) + 1) * len(SIZES)
_TURN = 0.6180339887498949


def pseudo_dates(n_dates: int, limit: int = 960) -> np.ndarray:
    """Which dates to lay under the clouds of which: (pairs, 2) int64, columns date and donor, about `limit` pairs.

    By index arithmetic alone: every date (every second, third, … if there are more than `limit`) gets donors that turn
    by the golden section through all dates.
    """
    if n_dates < 2:
        return np.empty((0, 2), np.int64)
    stride = -(-n_dates // max(limit, 1))
    dates = np.arange(0, n_dates, stride)
    each = min(max(limit // dates.size, 1), n_dates - 1)
    shifts = 1 + np.argsort(np.argsort((np.arange(1, n_dates) * _TURN) % 1.0))[:each]
    return np.array([(t, (t + shift) % n_dates) for t in dates for shift in shifts], np.int64)


def error_class(hidden: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Class of each lake and date by the share that is hidden and by its size.

    Parameters
    ----------
    hidden : (time, lake) integers
        Hidden pixels.
    extent : (lake,) integers
        All pixels of the lake and the shore that is counted with it.

    Returns
    -------
    (time, lake) int64, 0 to N_CLASSES - 1
    """
    share = hidden / np.maximum(extent, 1)[None, :]
    cloud = np.searchsorted(HIDDEN_SHARES, share, side="right")
    size = np.searchsorted(SIZES, extent, side="right") - 1
    return cloud * len(SIZES) + size[None, :]


def spread_of_hidden(levels: np.ndarray, hidden: np.ndarray, params: LevelParams = DEFAULT) -> np.ndarray:
    """Standard deviation of the hidden wet area that the model expects, in pixels.

    Parameters
    ----------
    levels : (time, lake, LEVELS) float64
        What `levels.join_evidence` returned.
    hidden : (time, lake, BINS) integers
        Hidden pixels by bin.

    Returns
    -------
    (time, lake) float64
        From the uncertain level, and from pixels that err in groups of 1 / trust; at least one pixel.
    """
    return _spread(levels, hidden, water_at_level(params), 1 / params.trust)


@jit
def _spread(levels: np.ndarray, hidden: np.ndarray, water: np.ndarray, group: float) -> np.ndarray:
    dates, lakes, n = levels.shape
    out = np.empty((dates, lakes))
    for t in range(dates):
        for lake in range(lakes):
            mean, square, noise = 0.0, 0.0, 0.0
            for k in range(n):
                area, alone = 0.0, 0.0
                for b in range(water.shape[1]):
                    area += hidden[t, lake, b] * water[k, b]
                    alone += hidden[t, lake, b] * water[k, b] * (1 - water[k, b])
                mean += levels[t, lake, k] * area
                square += levels[t, lake, k] * area * area
                noise += levels[t, lake, k] * alone
            out[t, lake] = np.sqrt(max(square - mean * mean, 0.0) + group * noise + 1.0)
    return out


def count_errors(
    true: np.ndarray, restored: np.ndarray, spread: np.ndarray, classes: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """Count errors of the restored area by class, in steps of the expected spread.

    Parameters
    ----------
    true, restored : (pair, lake) integers
        Hidden pixels that are wet in truth, and that were restored as wet.
    spread : (pair, lake) float64
        What `spread_of_hidden` returned for the pair.
    classes : (pair, lake) integers
        What `error_class` returned.
    valid : (pair, lake) bool
        Lakes that the date itself saw (nearly) whole, and of which the donor hides something.

    Returns
    -------
    (N_CLASSES, STEPS) int64
        To be added over blocks, groups of lakes and pseudo-dates, in any order.
    """
    step = np.floor((np.asarray(true, np.float64) - restored) / (spread * STEP)).astype(np.int64) + STEPS // 2
    flat = classes[valid] * STEPS + np.clip(step, 0, STEPS - 1)[valid]
    return np.bincount(flat, minlength=N_CLASSES * STEPS).reshape(N_CLASSES, STEPS)


def error_quantiles(counts: np.ndarray, low: float = 0.05, high: float = 0.95, min_count: int = 100) -> np.ndarray:
    """Quantiles of the error in spreads, by class.

    Parameters
    ----------
    counts : (N_CLASSES, STEPS) int64
        What `count_errors` returned, added up.
    low, high : float
        Which quantiles.
    min_count : int
        A class with fewer errors is pooled with its neighbours in size, then with all classes.

    Returns
    -------
    (N_CLASSES, 2) float64
        NaN if there are not `min_count` errors in all.
    """
    by_cloud = counts.reshape(-1, len(SIZES), STEPS).sum(axis=1)
    out = np.empty((N_CLASSES, 2))
    for i in range(N_CLASSES):
        pools = (counts[i], by_cloud[i // len(SIZES)], counts.sum(axis=0))
        pool = next((p for p in pools if p.sum() >= min_count), None)
        out[i] = np.nan if pool is None else (_quantile(pool, low, False), _quantile(pool, high, True))
    return out


def _quantile(counts: np.ndarray, share: float, upper: bool) -> float:
    """The conformal quantile (n + 1 in place of n), at the outer end of its step."""
    total = counts.sum()
    rank = np.ceil((total + 1) * share) if upper else np.floor((total + 1) * share)
    step = int(np.searchsorted(np.cumsum(counts), np.clip(rank, 1, total)))
    return (step + upper - STEPS // 2) * STEP


def hidden_interval(
    restored: np.ndarray, hidden: np.ndarray, spread: np.ndarray, classes: np.ndarray, quantiles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the hidden wet pixels of each lake and date.

    Parameters
    ----------
    restored, hidden : (time, lake) integers
        Pixels restored as wet, and all hidden pixels.
    spread : (time, lake) float64
    classes : (time, lake) integers
    quantiles : (N_CLASSES, 2) float64
        What `error_quantiles` returned.

    Returns
    -------
    low, high : (time, lake) float64
        Within 0 and `hidden`, so that nothing hidden gives no interval; these limits themselves where the quantiles
        are NaN.
    """
    bounds = restored[..., None] + quantiles[classes] * spread[..., None]
    low = np.where(np.isnan(bounds[..., 0]), 0.0, np.clip(bounds[..., 0], 0, hidden))
    high = np.where(np.isnan(bounds[..., 1]), hidden, np.clip(bounds[..., 1], 0, hidden))
    return low, high
