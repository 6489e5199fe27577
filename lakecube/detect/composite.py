"""Monthly composites: one picture per month from all its dates, per pixel the best of what was seen."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.detect.indices import bands_for
from lakecube.errors import InvalidInputError
from lakecube.io.reader import IS_JUDGED, RANK
from lakecube.names import BANDS, TIME, VARIABLES, X, Y

PERIODS = {"month": "M", "year": "Y"}
CHOICES = ("mndwi", "ndvi", "median", "maximum")


@law("exact")
def composite(cube: xr.Dataset, period: str = "month", *, choice: str = "median") -> xr.Dataset:
    """One composite per month (or year) from the judged pixels of its dates.

    Parameters
    ----------
    cube : xr.Dataset
        Reflectance bands and `observation`, dims (time, y, x).
    period : {"month", "year"}
    choice : {"median", "mndwi", "ndvi", "maximum"}
        What stands for the period at each pixel. ``"median"``: per band the median (robust to missed cloud).
        ``"mndwi"``, ``"ndvi"``: all bands of the date on which that index is greatest (the earliest of equals).
        ``"maximum"``: per band the greatest value. The paper's words "Maximum Value Composite (MVC)" name the
        field's NDVI maximum; read literally, per band, they would pick the brightest, least water-like value.

    Returns
    -------
    xr.Dataset
        The bands (float32, NaN where no date could be judged) and `observation` (the best state of the period);
        `time` is the first day of the period, `time_bounds` (time, bnds) its start and end.

    Notes
    -----
    Chunks: along y and x any; the result has one period per chunk. Law: exact. Reach: 0. Lazy.

    References
    ----------
    Holben (1986), 10.1080/01431168608948945 (MVC); Xue et al. (2025), 10.3390/app152111490, section 2.2.1.
    """
    if period not in PERIODS:
        raise InvalidInputError(f"composite={period!r}: use 'month' or 'year'")
    if choice not in CHOICES:
        raise InvalidInputError(f"choice={choice!r}: use one of {', '.join(CHOICES)}")
    unit = f"datetime64[{PERIODS[period]}]"
    needed = () if choice in ("median", "maximum") else ("green", "swir16") if choice == "mndwi" else ("nir", "red")
    bands_for(cube, needed, f"a composite by {choice}")
    cube = cube.sortby(TIME).transpose(TIME, Y, X, ...)
    starts = cube[TIME].values.astype(unit)
    periods = np.unique(starts)
    bands = [b for b in BANDS if b in cube]
    coords = {n: c for n, c in cube.coords.items() if TIME not in c.dims}  # before chunk(), which makes them lazy
    lazy = {n: v.chunk({TIME: 1} if TIME in v.dims else {}) for n, v in cube.data_vars.items()}
    cube = cube.assign(lazy).unify_chunks()  # coordinates stay in memory
    pictures = [_picture(cube.isel({TIME: np.flatnonzero(starts == p)}), bands, choice) for p in periods]
    variables: dict[str, Any] = {}
    for k, name in enumerate((*bands, "observation")):
        stacked = da.concatenate([picture[k] for picture in pictures], axis=0)
        variables[name] = ((TIME, Y, X), stacked, cube[name].attrs)
    bounds = np.stack([periods, periods + 1], axis=1).astype("datetime64[ns]")
    out = xr.Dataset(variables, coords={**coords, TIME: bounds[:, 0], "time_bounds": ((TIME, "bnds"), bounds)})
    out[TIME].attrs = {"standard_name": "time", "bounds": "time_bounds"}
    static = {n: v for n, v in cube.data_vars.items() if TIME not in v.dims}
    return out.assign(static).assign_attrs(cube.attrs, cell_methods=f"time: {choice} over days")


def _picture(dates: xr.Dataset, bands: list[str], choice: str) -> list[da.Array]:
    """Lazy (1, y, x) arrays of the bands and the observation of one period, from one task per block."""
    arrays = [dates[name].data for name in (*bands, "observation")]
    pairs = [v for a in arrays for v in (a, "tyx")]
    token = tokenize([a.name for a in arrays], choice)
    block = chunked.blockwise(
        _reduce, "yx", *pairs, dtype=object, name="lakecube-composite", token=token, bands=tuple(bands), choice=choice,
        concatenate=True,
    )  # fmt: skip
    dtypes = [np.float32] * len(bands) + [VARIABLES["observation"].dtype]
    return [
        chunked.blockwise(_take, "tyx", block, "yx", dtype=np.dtype(dtype), name=f"composite-{name}", new_axes={"t": 1},
                          token=tokenize(token, name), name_=name)
        for name, dtype in zip((*bands, "observation"), dtypes, strict=True)
    ]  # fmt: skip


def _take(block: dict[str, np.ndarray], name_: str) -> np.ndarray:
    return block[name_][np.newaxis]


def _reduce(*arrays: np.ndarray, bands: tuple[str, ...], choice: str) -> dict[str, np.ndarray]:
    state = arrays[-1]
    usable = IS_JUDGED[state]
    values = {band: np.where(usable, array, np.float32(np.nan)) for band, array in zip(bands, arrays, strict=False)}
    best = np.take_along_axis(state, RANK[state].argmax(0)[np.newaxis], 0)[0]
    if choice in ("median", "maximum"):
        reduce = _nan_median if choice == "median" else _nan_max
        out = {band: reduce(array) for band, array in values.items()}
    else:
        first, second = ("green", "swir16") if choice == "mndwi" else ("nir" if "nir" in values else "nir08", "red")
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
