"""A small synthetic extract of the shape `methods.fusion` makes, with thresholds that depend on whole dates."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401
import xarray as xr
from pyproj import CRS


def states(times: int, rows: int, columns: int, seed: int = 7) -> np.ndarray:
    """Reflectance-like numbers, NaN where unknown; every date has its own stream, so dates may be cut freely."""
    out = np.empty((times, rows, columns), np.float32)
    for t in range(times):
        rng = np.random.default_rng([seed, t])
        out[t] = rng.random((rows, columns))
        out[t][rng.random((rows, columns)) < 0.2] = np.nan
    return out


def extract(
    times=5,
    rows=70,
    columns=50,
    chunks=(1, 32, 32),
    start=0,
    items=True,
    unknown_dates=(),
    seed=7,
    order=None,
    dates=None,
) -> xr.Dataset:
    """The lazy Dataset; the dates `start` … `start + times` of an endless series, in `order`."""
    data = states(start + times, rows, columns, seed)[start:]
    for t in unknown_dates:
        data[t] = np.nan
    time = (pd.date_range("2019-11-20", periods=start + times, freq="16D")[start:]).values
    order = list(range(times)) if order is None else list(order)
    data, time = data[order], time[order]
    index = da.from_array(data, chunks=chunks)
    threshold = da.nanmean(index.rechunk((1, -1, -1)), axis=(1, 2)).astype("float32")
    threshold = da.where(da.isnan(threshold), np.float32(0.5), threshold)
    threshold = threshold[:, None].map_blocks(np.ascontiguousarray, dtype="float32")
    level = threshold[:, :, None]
    wet = index > level
    seen = ~da.isnan(index)
    mask = da.where(seen, wet, 255).astype("uint8")
    reason = da.where(seen, da.where(wet, 0, 20), 4).astype("uint8")
    fired = da.where(wet, 0, 65).astype("uint16")
    ds = xr.Dataset(
        {
            "water_mask": (("time", "y", "x"), mask),
            "reason": (("time", "y", "x"), reason),
            "rules_fired": (("time", "y", "x"), fired),
            "water_probability": (("time", "y", "x"), index),
            "threshold": (("time", "index"), threshold),
            "threshold_source": (("time", "index"), (threshold > 0).astype("uint8")),
        },
        coords={
            "time": time.astype("datetime64[ns]"),
            "y": 3_000_000.0 - 10 * np.arange(rows) - 5,
            "x": 500_000.0 + 10 * np.arange(columns) + 5,
            "index": ["mndwi"],
        },
        attrs={
            "method": "fusion",
            "parameters": json.dumps({"rules": "evidence", "threshold": None}),
            "configuration": json.dumps({"sensor": "sentinel-2"}),
            "title": "Surface water",
        },
    )
    ds = ds.assign_coords(spatial_ref=((), 0, CRS.from_epsg(32648).to_cf()))
    return with_items(ds, order) if items else ds


def with_items(ds: xr.Dataset, order: list[int]) -> xr.Dataset:
    """The Dataset with an item table: two items to a date."""
    time = ds.time.values
    row = np.repeat(np.arange(time.size), 2)
    stamp = time[row] + np.timedelta64(3 * 3600 * 10**9 + 123456000, "ns")
    names = [
        f"S2A_48RXÅ_{str(time[r])[:10]}_{k % 2}{'x' * (int(time[r].astype('i8') // 10**15) % 5)}"
        for k, r in enumerate(row)
    ]
    return ds.assign_coords(
        item_id=("item", names),
        item_time=("item", stamp),
        item_time_index=("item", row.astype("int32")),
        item_scale=("item", np.full(row.size, 1e-4)),
        item_offset=("item", np.full(row.size, -0.1, "float32")),
        item_offset_source=("item", np.where(time[row].astype("datetime64[D]").astype(int) % 3, "metadata", "audit")),
    )
