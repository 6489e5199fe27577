"""Several dates to one picture: per pixel the median, the greatest value, or the date that an index prefers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lakecube.kernels.mosaic import IS_JUDGED, RANK


def _contrast(choice: str, bands: tuple[str, ...] | Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The two bands whose normalised difference picks the date."""
    return ("green", "swir16") if choice == "mndwi" else ("nir" if "nir" in bands else "nir08", "red")


#: Bands that a choice needs beside those it is asked for, from the bands there are.
NEEDS: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "median": lambda bands: (),
    "maximum": lambda bands: (),
    "mndwi": lambda bands: _contrast("mndwi", bands),
    "ndvi": lambda bands: _contrast("ndvi", bands),
}


def reduce_dates(blocks: Mapping[str, np.ndarray], choice: str) -> dict[str, np.ndarray]:
    """Reduce the dates of a block to one.

    Parameters
    ----------
    blocks : mapping
        Bands, float32 (date, y, x), and ``"observation"``, uint8 of the same shape. Values of states that are not in
        `lakecube.names.JUDGED` never count.
    choice : {"median", "maximum", "mndwi", "ndvi"}
        A key of `NEEDS`.

    Returns
    -------
    dict
        Bands (y, x), NaN where no date counts, and ``"observation"``: the best state of the dates, the first of equals.

    Notes
    -----
    O(dates · log dates · pixels) for the median, else O(dates · pixels).
    """
    state = blocks["observation"]
    usable = IS_JUDGED[state]
    values = {
        band: np.where(usable, array, np.float32(np.nan)) for band, array in blocks.items() if band != "observation"
    }
    best = np.take_along_axis(state, RANK[state].argmax(0)[np.newaxis], 0)[0]
    if choice in ("median", "maximum"):
        reduce = _nan_median if choice == "median" else _nan_max
        out = {band: reduce(array) for band, array in values.items()}
    else:
        first, second = _contrast(choice, values)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = (values[first] - values[second]) / (values[first] + values[second])
        pick = np.where(np.isfinite(score), score, -np.inf).argmax(0)[np.newaxis]
        out = {band: np.take_along_axis(array, pick, 0)[0] for band, array in values.items()}
    return out | {"observation": best}


def _nan_max(array: np.ndarray) -> np.ndarray:
    return np.fmax.reduce(array, axis=0)


def _nan_median(array: np.ndarray) -> np.ndarray:
    """Median over axis 0 without NaN; NaN where nothing is valid. Exact: the mean of the two middle float32."""
    ordered = np.sort(array, axis=0)  # NaN last
    n = np.isfinite(array).sum(0)
    low, high = np.maximum((n - 1) // 2, 0)[np.newaxis], np.maximum(n // 2, 0)[np.newaxis]
    a, b = (np.take_along_axis(ordered, i, 0)[0] for i in (low, np.minimum(high, array.shape[0] - 1)))
    return np.where(n > 0, (a + b) * np.float32(0.5), np.float32(np.nan))
