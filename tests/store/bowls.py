"""Masks of three bowls that fill and empty under drifting clouds, with known truth."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

#: Row, column and radius (px) of every bowl; the third runs over the edge.
BOWLS = ((24, 22, 17), (60, 50, 20), (90, 8, 14))


def truth(dates=30, rows=96, columns=80, seed=3):
    """(time, y, x) bool, and the days since the first date."""
    rng = np.random.default_rng(seed)
    days = np.cumsum(rng.integers(6, 20, dates))
    y, x = np.mgrid[:rows, :columns]
    wet = np.zeros((dates, rows, columns), bool)
    for k, (row, column, radius) in enumerate(BOWLS):
        depth = np.hypot(y - row, x - column) / radius + 0.03 * np.sin(7 * np.arctan2(y - row, x - column))
        level = 0.72 + 0.22 * np.sin(2 * np.pi * days / 365 + k) + 0.05 * days / days[-1]
        wet |= depth[None] < level[:, None, None]
    return wet, days


def clouds(dates, rows=96, columns=80, seed=4):
    """(time, y, x) bool: smooth blobs that hide nothing on some dates and nearly all on others."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    out = np.empty((dates, rows, columns), bool)
    for t in range(dates):
        field = gaussian_filter(rng.standard_normal((rows, columns)), 9, mode="wrap")
        out[t] = field > np.quantile(field, 1 - rng.choice([0, 0, 0.2, 0.4, 0.6, 0.8]))
    return out


def bowls(dates=30, first=0, stop=None, chunks=(1, 32, 32), epsg=32648, seed=3, noise=0.002):
    """An extract of the dates from `first` to before `stop`, and the truth (time, y, x) of these."""
    wet, days = truth(dates, seed=seed)
    hidden = clouds(dates, seed=seed + 1)
    wrong = np.random.default_rng(seed + 2).random(wet.shape) < noise
    mask = np.where(hidden, 255, wet ^ wrong).astype(np.uint8)
    reason = np.where(hidden, 4, np.where(mask == 1, 0, 20)).astype(np.uint8)
    some = slice(first, stop)
    step, left, top = (1e-4, 105.0, 27.0) if epsg == 4326 else (10.0, 500_000.0, 3_000_000.0)
    water = xr.Dataset(
        {
            name: (("time", "y", "x"), da.from_array(values[some], chunks=chunks))
            for name, values in (("water_mask", mask), ("reason", reason))
        },
        coords={
            "time": (pd.Timestamp("2019-03-01") + pd.to_timedelta(days[some], "D")).to_numpy("datetime64[ns]"),
            "y": top - step * (np.arange(mask.shape[1]) + 0.5),
            "x": left + step * (np.arange(mask.shape[2]) + 0.5),
        },
        attrs={"method": "fusion", "parameters": "{}", "configuration": "{}"},
    )
    return water.assign_coords(spatial_ref=((), 0, CRS.from_epsg(epsg).to_cf())), wet[some]
