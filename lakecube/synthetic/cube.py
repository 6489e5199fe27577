"""A cube in memory, without files: the shortcut for unit tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from lakecube.names import BANDS, VARIABLES
from lakecube.synthetic.noise import FloatArray, block_mean
from lakecube.synthetic.scene import Landscape, Scene, make_landscape, render
from lakecube.synthetic.spectra import RESOLUTION
from lakecube.synthetic.terrain import PIXEL, slope_degrees
from lakecube.synthetic.truth import grid_coords, scene_truth, time_coord, truth_dataset


def sentinel2_cube(
    shape: tuple[int, int] = (96, 96),
    dates: int | Sequence[Any] = 3,
    *,
    seed: int = 0,
    bands: Sequence[str] = BANDS,
    clouds: float | Sequence[float] = 0.0,
    haze: float = 0.0,
    missing: float = 0.0,
    dem: bool = True,
    crs: str = "EPSG:32648",
    origin: tuple[float, float] = (549600.0, 2986500.0),
    truth: bool = False,
) -> xr.Dataset | tuple[xr.Dataset, xr.Dataset]:
    """Make a cube as `lakecube.open` would give it, in memory and without files.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of 10 m pixels, at least 32 each.
    dates : int or sequence of dates
        Solar dates, or how many, 45 days apart from 2022-03-01.
    seed : int
        The same call gives the same values.
    bands : sequence of str
        Bands to include. Those of 20 and 60 m are repeated to 10 m.
    clouds, haze, missing : float (clouds: or one per date)
        Share of cloud, opacity of haze, share beyond the swath edge.
    dem : bool
        Include ``elevation`` and ``slope``.
    crs, origin
        A projected CRS in metres, and the upper left corner.
    truth : bool
        Also return the truth.

    Returns
    -------
    xr.Dataset or (xr.Dataset, xr.Dataset)
        The cube: float32 reflectance (time, y, x), NaN where not acquired; ``observation``, the true state;
        ``spatial_ref``. With `truth`, the Dataset that `make_archive` keeps as its truth.

    Examples
    --------
    >>> cube = sentinel2_cube((48, 48), 1, bands=["green", "swir16"])
    >>> dict(cube.sizes)
    {'time': 1, 'y': 48, 'x': 48}
    """
    landscape = make_landscape(shape, seed=seed, crs=crs, origin=origin)
    days = _dates(dates)
    covers = [clouds] * len(days) if isinstance(clouds, int | float) else list(clouds)
    layers: dict[str, list[np.ndarray]] = {band: [] for band in bands}
    truths = []
    for day, cover in zip(days, covers, strict=True):
        scene = render(landscape, day, clouds=cover, haze=haze, missing=missing)
        for band in bands:
            layers[band].append(_raised(scene, band, landscape))
        truths.append(scene_truth(landscape, scene))
    tyx = ("time", "y", "x")
    mapped = {"units": "1", "grid_mapping": "spatial_ref"}
    variables: dict[str, Any] = {band: (tyx, np.stack(layer), mapped) for band, layer in layers.items()}
    variables["observation"] = (tyx, np.stack([t["observation"] for t in truths]), VARIABLES["observation"].attrs)
    if dem:
        variables |= _relief(landscape)
    cube = xr.Dataset(variables, coords={"time": time_coord(days), **grid_coords(landscape)})
    return (cube, truth_dataset(landscape, truths)) if truth else cube


def _dates(dates: int | Sequence[Any]) -> list[np.datetime64]:
    if isinstance(dates, int):
        return [np.datetime64("2022-03-01") + np.timedelta64(45 * i, "D") for i in range(dates)]
    return [np.datetime64(date, "D") for date in dates]


def _raised(scene: Scene, band: str, landscape: Landscape) -> FloatArray:
    """One band as the sensor measures it, each coarse pixel repeated to 10 m, NaN where not acquired."""
    factor = RESOLUTION[band] // int(PIXEL)
    values = np.where(scene.seen(factor), scene.native(band, factor), np.float32(np.nan))
    return values.repeat(factor, 0).repeat(factor, 1)[: landscape.shape[0], : landscape.shape[1]]


def _relief(landscape: Landscape) -> dict[str, Any]:
    """Elevation of a 30 m model repeated to 10 m, and its slope."""
    rows, cols = landscape.shape
    height = block_mean(landscape.terrain.elevation, 3)
    slope = slope_degrees(height, 3 * PIXEL).astype(np.float32)
    raised = (a.repeat(3, 0).repeat(3, 1)[:rows, :cols] for a in (height, slope))
    return {n: (("y", "x"), a, VARIABLES[n].attrs) for n, a in zip(("elevation", "slope"), raised, strict=True)}
