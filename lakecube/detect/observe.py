"""What the functions of this room take: bands of reflectance and one state per pixel, checked at the door."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.io.lazy import source_of
from lakecube.names import BANDS, OBSERVATION, TIME, VARIABLES, X, Y


@law("exact")
def checked(cube: xr.Dataset) -> xr.Dataset:
    """The cube in the form that `detect` computes with; the very same object where nothing has to be mended.

    `observation` that xarray turned to floats (`where`, `reindex`) becomes uint8 again, with ``not_acquired`` where it
    is NaN or no code; float64 bands become float32.

    Parameters
    ----------
    cube : xr.Dataset
        Bands, float (time, y, x), by STAC common names, `observation`, and whatever else.

    Returns
    -------
    xr.Dataset
        Bands float32, `observation` uint8, all else as given.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy.

    Raises
    ------
    InvalidInputError
        Dims or coordinates that are no cube's, integer bands (numbers that were not decoded), a `slope` through time.
    """
    if source_of(cube) is not None:
        return cube
    missing = [dim for dim in (TIME, Y, X) if dim not in cube.dims or dim not in cube.coords]
    if missing or "observation" not in cube:
        what = f"coordinates {', '.join(missing)}" if missing else "observation"
        raise InvalidInputError(f"not a cube: {what} missing; lakecube.open(dataset) brings a Dataset into form")
    if 0 in (cube.sizes[TIME], cube.sizes[Y], cube.sizes[X]):
        raise InvalidInputError(f"the cube is empty: {dict(cube.sizes)}; widen datetime= or bbox=")
    _check_coordinates(cube)
    mended = {name: _band(cube[name]) for name in BANDS if name in cube}
    mended["observation"] = _observation(cube["observation"])
    if "slope" in cube and set(cube["slope"].dims) != {Y, X}:
        raise InvalidInputError(f"slope has dims {cube['slope'].dims}; (y, x) are needed")
    changed = {name: array for name, array in mended.items() if array.dtype != cube[name].dtype}
    return cube.assign(changed) if changed else cube


def _check_coordinates(cube: xr.Dataset) -> None:
    times = cube[TIME]
    if times.dtype.kind != "M" or bool(times.isnull().any()):
        raise InvalidInputError(f"time holds {times.dtype} or NaT; dates are needed")
    for dim in (Y, X):
        values = cube[dim].values
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise InvalidInputError(f"{dim} must hold finite numbers, the centres of the pixels; got {values.dtype}")
        steps = np.diff(values.astype(np.float64))
        if steps.size and (not steps.all() or np.ptp(steps) > 0.01 * abs(steps[0])):
            raise InvalidInputError(
                f"{dim} must be evenly spaced; steps of {steps.min():g} to {steps.max():g} were seen"
            )


def _band(array: xr.DataArray) -> xr.DataArray:
    if set(array.dims) != {TIME, Y, X}:
        raise InvalidInputError(f"{array.name} has dims {array.dims}; (time, y, x) are needed")
    if array.dtype.kind != "f":
        raise InvalidInputError(
            f"{array.name} holds {array.dtype}; reflectance as floats is needed, NaN where not observed: "
            "lakecube.open(dataset) says how"
        )
    return array if array.dtype == np.float32 else array.astype(np.float32)


def _observation(state: xr.DataArray) -> xr.DataArray:
    if set(state.dims) != {TIME, Y, X}:
        raise InvalidInputError(f"observation has dims {state.dims}; (time, y, x) are needed")
    if state.dtype == np.uint8:
        return state
    known = state.isin(list(OBSERVATION.values()))
    return state.where(known, OBSERVATION["not_acquired"]).astype(np.uint8).assign_attrs(VARIABLES["observation"].attrs)
