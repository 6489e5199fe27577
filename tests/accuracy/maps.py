"""Small maps of lakes, on a projected grid or one of degrees, and a reference that differs from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyproj
import xarray as xr
from scipy import ndimage

ORIGIN = {"EPSG:32648": (549600.0, 2986500.0, 10.0), "EPSG:4326": (105.2, 26.9, 0.0005)}


def on_grid(values, crs="EPSG:32648", **extra):
    """An array (y, x), or (time, y, x), as a map with its CRS."""
    x0, y0, step = ORIGIN[crs]
    rows, columns = values.shape[-2:]
    coords = {"y": y0 - step * (np.arange(rows) + 0.5), "x": x0 + step * (np.arange(columns) + 0.5), **extra}
    attrs = {"crs_wkt": pyproj.CRS.from_user_input(crs).to_wkt(), "GeoTransform": f"{x0} {step} 0 {y0} 0 {-step}"}
    array = xr.DataArray(values, dims=("time", "y", "x")[-values.ndim :], coords=coords, name="water_mask")
    return array.assign_coords(spatial_ref=((), 0, attrs))


def lakes(seed=0, shape=(60, 70)):
    """Truth and a map of it: lakes grown, shrunk, joined, lost and invented, both partly unknown."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random(shape), 2.5)
    other = ndimage.gaussian_filter(rng.random(shape), 2.5)
    truth = (noise > np.quantile(noise, 0.8)).astype(np.uint8)
    mixed = noise + 0.35 * other
    mapped = (mixed > np.quantile(mixed, 0.78)).astype(np.uint8)
    mapped[ndimage.gaussian_filter(rng.random(shape), 4) > 0.52] = 255
    truth[:4, :9] = 255
    return mapped, truth


def points_on(array, rows, columns, **columns_of):
    """A table of points at the centres of pixels."""
    crs = pyproj.CRS.from_wkt(array["spatial_ref"].attrs["crs_wkt"])
    back = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(array["x"].values[columns], array["y"].values[rows])
    return pd.DataFrame({"lon": lon, "lat": lat, **columns_of})
