"""What was really there: water, state, lakes and their areas, as a Dataset on the finest grid of an archive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from pyproj import CRS

from lakecube.names import OBSERVATION, OBSERVATION_PRIORITY, SPATIAL_REF, VARIABLES
from lakecube.synthetic.noise import block_mean
from lakecube.synthetic.scene import Landscape, Scene
from lakecube.synthetic.terrain import PIXEL, flood

_ORDER = np.array([OBSERVATION[name] for name in OBSERVATION_PRIORITY], np.uint8)
_RANK = np.argsort(_ORDER).astype(np.uint8)


def grid_coords(landscape: Landscape, factor: int = 1) -> dict[str, xr.DataArray]:
    """Coordinates `y`, `x` (pixel centres, m) and `spatial_ref` of the landscape at `factor` x 10 m."""
    rows, cols = (-(-n // factor) for n in landscape.shape)
    left, top = landscape.origin
    step = PIXEL * factor
    crs = CRS.from_user_input(landscape.crs)
    reference = crs.to_cf() | {"spatial_ref": crs.to_wkt(), "GeoTransform": f"{left} {step} 0 {top} 0 {-step}"}
    axis = {"units": "metre", "standard_name": "projection_{}_coordinate"}
    name = axis["standard_name"].format
    return {
        "y": xr.DataArray(top - step * (np.arange(rows) + 0.5), dims="y", attrs=axis | {"standard_name": name("y")}),
        "x": xr.DataArray(left + step * (np.arange(cols) + 0.5), dims="x", attrs=axis | {"standard_name": name("x")}),
        SPATIAL_REF: xr.DataArray(np.int32(0), attrs=reference),
    }


def time_coord(days: Sequence[np.datetime64]) -> xr.DataArray:
    """`time`: the solar dates at 00:00."""
    return xr.DataArray(np.array(days, "datetime64[ns]"), dims="time", attrs={"standard_name": "time"})


def true_state(scene: Scene, factor: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Water, its fraction, and the strongest state in each `factor` x `factor` block, cropped to `shape`."""
    crop = tuple(slice(n) for n in shape)
    fraction = block_mean(scene.flood.fraction, factor)
    rank = _RANK[scene.observation]
    rows, cols = rank.shape
    worst = rank.reshape(rows // factor, factor, cols // factor, factor).min(axis=(1, 3))
    lake = scene.flood.lake[factor // 2 :: factor, factor // 2 :: factor]
    return {
        "water": (fraction >= 0.5).astype(np.uint8)[crop],
        "water_fraction": fraction[crop],
        "observation": _ORDER[worst][crop],
        "lake": np.where(fraction >= 0.5, lake, 0)[crop].astype(np.uint8),
    }


def truth_dataset(landscape: Landscape, scenes: Sequence[dict], factor: int = 1) -> xr.Dataset:
    """Gather the truth of several dates (`scene_truth` of each, in order of time).

    Returns
    -------
    xr.Dataset
        ``water`` and ``observation`` (time, y, x) uint8; ``water_fraction`` (time, y, x) float32; ``elevation``
        (y, x), the bed of the lakes (m); ``lake_id`` (y, x), 0 or the lake whose full basin holds the pixel;
        ``lake_area`` (lake, time) in m², the pixels of ``water`` that belong to the lake; ``lake_level`` (m).
    """
    coords = grid_coords(landscape, factor)
    shape = (coords["y"].size, coords["x"].size)
    basins = landscape.terrain.basins
    full = flood(landscape.terrain, tuple(b.bottom + 0.97 * (b.rim - b.bottom) for b in basins)).lake
    numbers = np.arange(1, len(basins) + 1)
    area = [[np.count_nonzero(s["lake"] == n) * (PIXEL * factor) ** 2 for s in scenes] for n in numbers]
    tyx, yx, lt = ("time", "y", "x"), ("y", "x"), ("lake", "time")
    elevation = block_mean(landscape.terrain.elevation, factor)[: shape[0], : shape[1]]
    lake_id = full[factor // 2 :: factor, factor // 2 :: factor][: shape[0], : shape[1]]
    stack = {name: np.stack([s[name] for s in scenes]) for name in ("water", "water_fraction", "observation")}
    mapped = {"grid_mapping": SPATIAL_REF}
    variables = {
        "water": (tyx, stack["water"], {"long_name": "true surface water", **mapped}),
        "water_fraction": (tyx, stack["water_fraction"], {"long_name": "true share of water", "units": "1", **mapped}),
        "observation": (tyx, stack["observation"], VARIABLES["observation"].attrs),
        "elevation": (yx, elevation, VARIABLES["elevation"].attrs),
        "lake_id": (yx, lake_id, {"long_name": "lake whose full basin holds the pixel", **mapped}),
        "lake_area": (lt, np.array(area, np.float64), {"long_name": "true lake area", "units": "m2"}),
        "lake_level": (lt, np.array([s["levels"] for s in scenes], np.float64).T, {"units": "m"}),
        "sun_azimuth": ("time", np.array([s["sun"][0] for s in scenes]), {"units": "degree"}),
        "sun_elevation": ("time", np.array([s["sun"][1] for s in scenes]), {"units": "degree"}),
        "haze": ("time", np.array([s["haze"] for s in scenes], np.float64), {"units": "1"}),
    }
    lake = {"lake": ("lake", numbers, {"names": [b.spec.name for b in basins]})}
    return xr.Dataset(variables, coords={"time": time_coord([s["day"] for s in scenes]), **coords, **lake})


def scene_truth(landscape: Landscape, scene: Scene, factor: int = 1) -> dict:
    """Keep of a scene what `truth_dataset` needs, and let the rest go."""
    shape = tuple(-(-n // factor) for n in landscape.shape)
    facts = {"day": scene.day, "levels": scene.flood.levels, "sun": scene.sun, "haze": scene.haze}
    return true_state(scene, factor, shape) | facts  # type: ignore[arg-type]
