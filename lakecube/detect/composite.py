"""Monthly composites: one picture per month from all its dates, per pixel the best of what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.checks import is_word
from lakecube.chunked import law
from lakecube.detect.indices import bands_for
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.io.lazy import BlockSource, build_cube, source_of
from lakecube.io.records import Period
from lakecube.kernels.composite import NEEDS, reduce_dates
from lakecube.names import BANDS, TIME, VARIABLES, X, Y

PERIODS = {"month": "M", "year": "Y"}
CHOICES = tuple(NEEDS)


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
    if not is_word(period, PERIODS):
        raise InvalidInputError(f"composite={period!r}: use 'month' or 'year'")
    if not is_word(choice, CHOICES):
        raise InvalidInputError(f"choice={choice!r}: use one of {', '.join(CHOICES)}")
    cube = checked(cube)
    unit = f"datetime64[{PERIODS[period]}]"
    needed = {"mndwi": ("green", "swir16"), "ndvi": ("nir", "red")}.get(choice, ())
    bands_for(cube, needed, f"a composite by {choice}")
    attrs = {**cube.attrs, "cell_methods": f"time: {choice} over days"}
    source = source_of(cube)
    if source is not None and not any(isinstance(date, Period) for date in source.dates):
        return _from_files(cube, source, unit, choice).assign_attrs(attrs)
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
    out = xr.Dataset(variables, coords={**coords, **_time_coords(periods)})
    return _with_static(out, cube).assign_attrs(attrs)


def _from_files(cube: xr.Dataset, source: BlockSource, unit: str, choice: str) -> xr.Dataset:
    """The composites of an untouched cube: one task per block and period reads all its dates and reduces them."""
    starts = cube[TIME].values.astype(unit)
    periods = np.unique(starts)
    dates: list[Any] = list(source.dates)
    groups = [tuple(dates[i] for i in np.flatnonzero(starts == p)) for p in periods]
    composites = replace(source, dates=tuple(Period(group, choice) for group in groups))
    out = build_cube(composites, list(periods)).assign_coords(_time_coords(periods))
    kept = {n: c for n, c in cube.coords.items() if TIME not in c.dims and n not in out.coords}
    return _with_static(out.assign_coords(kept), cube)


def _time_coords(periods: np.ndarray) -> dict[str, Any]:
    bounds = np.stack([periods, periods + 1], axis=1).astype("datetime64[ns]")
    time = (TIME, bounds[:, 0], {"standard_name": "time", "bounds": "time_bounds"})
    return {TIME: time, "time_bounds": ((TIME, "bnds"), bounds)}


def _with_static(out: xr.Dataset, cube: xr.Dataset) -> xr.Dataset:
    return out.assign({n: v for n, v in cube.data_vars.items() if TIME not in v.dims})


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
    return reduce_dates(dict(zip((*bands, "observation"), arrays, strict=True)), choice)
