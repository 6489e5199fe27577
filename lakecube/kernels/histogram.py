"""Thresholds from histograms: counts per anchored tile, added, then one decision per date.

Counts are integers over a *declared* range, so they add exactly in any order: a block counts its part of
every tile it touches, parts of one tile are summed by tile id, and `decide_thresholds` sees the same
numbers however the image was cut. Index 0 is MNDWI, index 1 AWEIsh (`INDICES`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from skimage.filters import threshold_otsu

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.names import THRESHOLD_SOURCE

INDICES = ("mndwi", "awei_sh")
#: Declared range of each index; what lies outside counts in the end bins.
RANGES = ((-1.0, 1.0), (-1.0, 1.0))
N_BINS = 256
#: Side of an anchored tile in pixels of the absolute grid.
TILE = 256
METHODS = ("guarded", "otsu", "fixed", "bimodal_tiles")


@dataclass(frozen=True, slots=True)
class ThresholdParams:
    """How thresholds are chosen; each pair is (MNDWI, AWEIsh).

    A tile is proven bimodal when its Otsu threshold parts two classes with `min_separability`, `min_valley` and
    `min_class_share`, whose means lie on the two sides of `fixed`.

    Parameters
    ----------
    fixed : tuple of float
        The fixed thresholds, where the guarded form starts and what it falls back to.
    lower, upper : tuple of float
        Physical bounds of a moved threshold.
    min_separability : float
        Share of the variance that lies between the classes (η of Otsu) above which a histogram may be
        bimodal, 0 to 1.
    min_valley : float
        Depth of the valley between the two modes, 1 − valley / lower mode, 0 to 1.
    min_class_share : float
        Smallest share of either class in a tile that may speak, 0 to 0.5.
    min_pixels : int
        Judged pixels a tile needs.
    weight : float
        How far proven tiles move the fixed value towards theirs, 0 to 1.
    """

    fixed: tuple[float, float] = (0.1, 0.0)
    lower: tuple[float, float] = (0.05, -0.02)
    upper: tuple[float, float] = (0.2, 0.02)
    min_separability: float = 0.75
    min_valley: float = 0.5
    min_class_share: float = 0.1
    min_pixels: int = 1024
    weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("fixed", "lower", "upper"):
            pair = tuple(float(v) for v in getattr(self, name))
            if len(pair) != len(INDICES) or not all(np.isfinite(pair)):
                raise ValueError(f"{name} must be two finite numbers (MNDWI, AWEIsh), got {getattr(self, name)!r}")
            object.__setattr__(self, name, pair)
        for low, start, high in zip(self.lower, self.fixed, self.upper, strict=True):
            if not low <= start <= high:
                raise ValueError(f"need lower <= fixed <= upper, got {low}, {start}, {high}")
        for name, top in (("min_separability", 1), ("min_valley", 1), ("min_class_share", 0.5),
                          ("weight", 1)):  # fmt: skip
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} must lie in [0, {top}], got {getattr(self, name)!r}")
        if self.min_pixels < 1:
            raise ValueError(f"min_pixels must be at least 1, got {self.min_pixels!r}")


def bin_edges(index: int, n_bins: int = N_BINS) -> np.ndarray:
    """Return the ``n_bins + 1`` bin edges of index 0 (MNDWI) or 1 (AWEIsh), float64."""
    return np.linspace(*RANGES[index], n_bins + 1)


def bin_centers(index: int, n_bins: int = N_BINS) -> np.ndarray:
    """Return the centres of the bins, float64, shape (n_bins,)."""
    edges = bin_edges(index, n_bins)
    return (edges[:-1] + edges[1:]) / 2


@jit_inline
def _count(value, low, scale, n_bins):
    position = (np.float64(value) - low) * scale
    return 0 if position < 0.0 else (n_bins - 1 if position >= n_bins else int(position))


@jit
def _tile_counts(first, second, has_second, observation, judged, tile_y, tile_x, n_tx, ranges, counts):
    rows, cols = first.shape
    n_bins = counts.shape[2]
    low0, low1 = ranges[0, 0], ranges[1, 0]
    scale0 = n_bins / (ranges[0, 1] - low0)
    scale1 = n_bins / (ranges[1, 1] - low1)
    for i in range(rows):
        for j in range(cols):
            if not judged[observation[i, j]] or not np.isfinite(first[i, j]):
                continue
            if has_second and not np.isfinite(second[i, j]):
                continue
            t = tile_y[i] * n_tx + tile_x[j]
            counts[t, 0, _count(first[i, j], low0, scale0, n_bins)] += 1
            if has_second:
                counts[t, 1, _count(second[i, j], low1, scale1, n_bins)] += 1


def count_tiles(
    mndwi: np.ndarray,
    awei_sh: np.ndarray | None,
    observation: np.ndarray,
    row: int,
    column: int,
    *,
    tile: int = TILE,
    n_bins: int = N_BINS,
) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of both indices in one block, per tile of the absolute pixel grid.

    Parameters
    ----------
    mndwi : numpy.ndarray
        float32, shape (y, x).
    awei_sh : numpy.ndarray or None
        As `mndwi`; None where its bands are missing: its counts are then 0.
    observation : numpy.ndarray
        uint8, shape (y, x); only states in `lakecube.names.JUDGED` are counted.
    row, column : int
        Position of the block's first pixel on the absolute grid; may be negative.
    tile : int
        Side of a tile in pixels.
    n_bins : int
        Bins over each of `RANGES`; values beyond the range count in the end bins.

    Returns
    -------
    ids : numpy.ndarray
        int64, shape (n, 2): row and column of each tile, in raster order.
    counts : numpy.ndarray
        int64, shape (n, 2, n_bins). A pixel where any given index is not finite is not counted.

    Notes
    -----
    Reach: 0. Parts of a tile from several blocks add exactly: `merge_counts`. O(pixels).
    """
    if mndwi.ndim != 2 or observation.shape != mndwi.shape or (awei_sh is not None and awei_sh.shape != mndwi.shape):
        raise ValueError("mndwi, awei_sh and observation must be 2-D arrays of one shape")
    rows, cols = mndwi.shape
    tile_y = np.floor_divide(np.arange(row, row + rows, dtype=np.int64), tile)
    tile_x = np.floor_divide(np.arange(column, column + cols, dtype=np.int64), tile)
    if mndwi.size == 0:
        return np.empty((0, 2), np.int64), np.zeros((0, len(INDICES), n_bins), np.int64)
    n_ty, n_tx = int(tile_y[-1] - tile_y[0]) + 1, int(tile_x[-1] - tile_x[0]) + 1
    counts = np.zeros((n_ty * n_tx, len(INDICES), n_bins), np.int64)
    second = mndwi if awei_sh is None else awei_sh
    _tile_counts(mndwi, second, awei_sh is not None, observation, IS_JUDGED, tile_y - tile_y[0], tile_x - tile_x[0],
                 n_tx, np.array(RANGES), counts)  # fmt: skip
    ids = np.stack(np.meshgrid(tile_y[0] + np.arange(n_ty), tile_x[0] + np.arange(n_tx), indexing="ij"), -1)
    return ids.reshape(-1, 2), counts


def merge_counts(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Add the `count_tiles` results of several blocks by tile; ids come back sorted by row, then column.

    Exact and independent of the order of `parts`. An empty list gives no tiles.
    """
    if not parts:
        return np.empty((0, 2), np.int64), np.zeros((0, len(INDICES), N_BINS), np.int64)
    ids, where = np.unique(np.concatenate([p[0] for p in parts]), axis=0, return_inverse=True)
    values = np.concatenate([p[1] for p in parts])
    total = np.zeros((len(ids), *values.shape[1:]), np.int64)
    np.add.at(total, where.reshape(-1), values)
    return ids, total


def otsu(counts: np.ndarray, centers: np.ndarray) -> float:
    """Otsu's threshold of one histogram; pixels above it form the upper class.

    Parameters
    ----------
    counts, centers : numpy.ndarray
        Shape (n_bins,), integer counts and bin centres.

    Returns
    -------
    float
        A bin centre; NaN where fewer than two bins hold pixels.

    References
    ----------
    Otsu, N. (1979). https://doi.org/10.1109/TSMC.1979.4310076
    """
    held = np.flatnonzero(counts)
    if held.size < 2:
        return float("nan")
    inside = slice(held[0], held[-1] + 1)  # empty ends would divide by a weight of zero
    return float(threshold_otsu(hist=(counts[inside].astype(np.float64), centers[inside])))


def separability(counts: np.ndarray, centers: np.ndarray, threshold: float) -> float:
    """Share of the variance that lies between the two classes at `threshold` (Otsu's η), 0 to 1; 0 if undefined."""
    below, above = _split(counts, centers, threshold)
    n, n0, n1 = counts.sum(), below.sum(), above.sum()
    if n0 == 0 or n1 == 0:
        return 0.0
    mean0, mean1, mean = (float((c * centers).sum() / k) for c, k in ((below, n0), (above, n1), (counts, n)))
    total = float((counts * (centers - mean) ** 2).sum() / n)
    between = float(n0) * float(n1) / float(n) ** 2 * (mean1 - mean0) ** 2
    return between / total if total > 0 else 0.0


def class_share(counts: np.ndarray, centers: np.ndarray, threshold: float) -> float:
    """Share of the pixels above `threshold`, 0 to 1; NaN of an empty histogram."""
    below, above = _split(counts, centers, threshold)
    total = below.sum() + above.sum()
    return float(above.sum() / total) if total else float("nan")


def valley_depth(counts: np.ndarray, centers: np.ndarray, threshold: float) -> float:
    """Return 1 − (lowest count between the modes) / (lower mode), 0 to 1, after a running mean of five bins."""
    padded = np.concatenate([[0, 0], counts, [0, 0]])
    smooth = np.sum([padded[k : k + len(counts)] for k in range(5)], axis=0)  # integers
    first = int(np.searchsorted(centers, threshold, side="right"))
    if first in (0, len(counts)):
        return 0.0
    low, high = int(np.argmax(smooth[:first])), first + int(np.argmax(smooth[first:]))
    lower_mode = min(smooth[low], smooth[high])
    return float(1.0 - smooth[low : high + 1].min() / lower_mode) if lower_mode > 0 else 0.0


def _split(counts: np.ndarray, centers: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    upper = centers > threshold
    return np.where(upper, 0, counts), np.where(upper, counts, 0)


def _middle_of_gap(counts: np.ndarray, centers: np.ndarray, threshold: float) -> float:
    """Move a threshold to the middle of the empty bins above it, all of which part the classes equally well."""
    first = last = int(np.searchsorted(centers, threshold))
    while last + 1 < len(counts) and counts[last + 1] == 0:
        last += 1
    return float(centers[first] + centers[last]) / 2


def _is_bimodal(counts: np.ndarray, centers: np.ndarray, t: float, fixed: float, p: ThresholdParams) -> bool:
    """Tell whether `t` parts two classes, one on each side of `fixed`: forest and field are bimodal too."""
    below, above = _split(counts, centers, t)
    if not (below.any() and above.any()):
        return False
    means = [float((c * centers).sum() / c.sum()) for c in (below, above)]
    return (
        means[0] < fixed < means[1]
        and separability(counts, centers, t) >= p.min_separability
        and valley_depth(counts, centers, t) >= p.min_valley
    )


def _pool_bimodal(
    tiles: np.ndarray, centers: np.ndarray, fixed: float, p: ThresholdParams
) -> tuple[np.ndarray | None, str]:
    """Add the histograms of the tiles proven bimodal; None and why where there is none."""
    pooled, why = np.zeros(tiles.shape[1], np.int64), "fallback_unimodal"
    for counts in tiles[tiles.sum(1) >= p.min_pixels]:
        t = otsu(counts, centers)
        if not _is_bimodal(counts, centers, t, fixed, p):
            continue
        share = class_share(counts, centers, t)
        if min(share, 1 - share) < p.min_class_share:
            why = "fallback_class_share"
            continue
        pooled += counts
    return (pooled, "bimodal_tiles") if pooled.any() else (None, why)


def _decide(tiles: np.ndarray, index: int, method: str, p: ThresholdParams) -> tuple[float, str]:
    fixed, centers = p.fixed[index], bin_centers(index, tiles.shape[1])
    total = tiles.sum(0)
    if not total.any():
        return fixed, "no_data"
    if method == "fixed":
        return fixed, "fixed"
    if method == "otsu":
        t = otsu(total, centers)
        return (fixed, "fallback_unimodal") if np.isnan(t) else (t, "otsu")
    pooled, source = _pool_bimodal(tiles, centers, fixed, p)
    if pooled is None:
        return fixed, source
    t = _middle_of_gap(pooled, centers, otsu(pooled, centers))
    if method == "guarded":
        t = fixed + p.weight * (t - fixed)
        clipped = min(max(t, p.lower[index]), p.upper[index])
        return (clipped, source) if clipped == t else (clipped, "clipped_to_bounds")
    return t, source


def decide_thresholds(
    counts: np.ndarray, method: str = "guarded", params: ThresholdParams | None = None, **changes: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Decide the thresholds of one date from its tiles' histograms.

    Parameters
    ----------
    counts : numpy.ndarray
        Integer, shape (n_tiles, 2, n_bins): MNDWI and AWEIsh over `RANGES` (`count_tiles`, `merge_counts`).
    method : str
        ``"guarded"``: the fixed value, moved part of the way to the Otsu threshold of the tiles proven bimodal
        (separability, valley, class share), within bounds. ``"otsu"``: Otsu of all pixels, as Xue et al.
        (2025). ``"fixed"``. ``"bimodal_tiles"``: Otsu of the pooled bimodal tiles, unbounded.
    params : ThresholdParams, optional
        The parameters; the defaults where omitted.
    **changes
        Fields of `ThresholdParams` to change.

    Returns
    -------
    threshold : numpy.ndarray
        float32, shape (2,), never NaN: the fixed value speaks where nothing else may.
    source : numpy.ndarray
        uint8, shape (2,), codes of `lakecube.names.THRESHOLD_SOURCE`.

    Raises
    ------
    ValueError
        An unknown method, a wrong shape, or a parameter out of range.
    TypeError
        An unknown parameter.

    Notes
    -----
    Law: exact; a pure function of integers, independent of the order of the tiles. O(tiles × bins).
    """
    p = replace(params or ThresholdParams(), **changes)
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    counts = np.asarray(counts)
    if counts.ndim != 3 or counts.shape[1] != len(INDICES) or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"counts must be integers of shape (n_tiles, 2, n_bins), got {counts.dtype} {counts.shape}")
    counts = counts.astype(np.int64, copy=False)
    decided = [_decide(counts[:, k], k, method, p) for k in range(len(INDICES))]
    codes = np.array([THRESHOLD_SOURCE[source] for _, source in decided], np.uint8)
    return np.array([value for value, _ in decided], np.float32), codes
