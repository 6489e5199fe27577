"""Restoration: what clouds hid, inferred from other dates. The result is a layer of its own, never an observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from scipy import ndimage

from lakecube.checks import is_word
from lakecube.chunked import blockwise, law
from lakecube.errors import InvalidInputError
from lakecube.kernels.levels import LevelParams
from lakecube.kernels.restore import P_LAKE, P_SCENE
from lakecube.kernels.shore import grow_lakes
from lakecube.names import DATE, TIME, UNKNOWN, VARIABLES, X, Y
from lakecube.series.forest import ForestParams, forest_blocks
from lakecube.series.lake_levels import Settings, restored_blocks
from lakecube.series.occurrence import count

METHODS = ("lake", "frequency", "forest")
#: The extent whose components are the lakes, where none are given: wet on this share of the clear dates, or more.
MIN_FREQUENCY = 0.05
#: Pixels around a lake that are counted with it: the dry side of its shore.
SHORE = 2
#: Components of fewer pixels are no lakes (Xue et al., 2025, §3.7).
MIN_PIXELS = 10
_CONNECTIVITY = np.ones((3, 3), bool)


@law("exact")
def restore(
    water: xr.Dataset | xr.DataArray,
    method: str = "lake",
    *,
    lakes: xr.DataArray | None = None,
    p: float | None = None,
    **parameters: Any,
) -> xr.DataArray:
    """Infer land and water where clouds hid them, from the pixels that are seen on the same date and from other dates.

    Parameters
    ----------
    water : xr.Dataset or xr.DataArray
        An extract or store with `water_mask` (time, y, x) uint8, or that mask itself; `time` a coordinate of datetimes.
    method : {"lake", "frequency", "forest"}
        ``"lake"``: a lake has one water level on a date, told by the shore that is seen and by the dates before and
        after, and a pixel has one height, told by the levels at which it was wet and dry; outside of lakes, and around
        a lake whose shore was never seen, as ``"frequency"``. Lakes that join at high water share one level, which
        suits them only as far as they rise and fall together.
        ``"frequency"`` (Mullen et al., 2021): per date, the relation of water frequency to the state of all visible
        pixels (monotone; of all dates together where fewer than 200 pixels are visible).
        ``"forest"`` (Xue et al., 2025): a random forest on frequency and indices, trained on visible pixels; see
        `lakecube.series.forest`.
    lakes : xr.DataArray, optional
        (y, x) integers, 0 outside, else the label of a lake, for ``"lake"``. By default `lake_label` of `water`, or
        else the components, of 10 pixels or more, of the pixels that are wet on at least 5 % of their clear dates,
        found in one task that holds the whole (y, x) image. A shore of 2 pixels is added to each.
    p : float, optional
        Probability above which a pixel is water: 0.7 by default, 0.5 around a lake whose level is known.
    **parameters
        Fields of `lakecube.kernels.levels.LevelParams` for ``"lake"``, of `lakecube.series.forest.ForestParams` for
        ``"forest"``.

    Returns
    -------
    xr.DataArray
        `water_restored` (time, y, x) uint8: 0 land and 1 water where the mask is unknown and could be inferred; 255
        where it is known, or the pixel was seen on no date.

    Raises
    ------
    InvalidInputError
        An unknown method or parameter, no `water_mask`, `time` without datetimes, or lakes on another grid.
    MissingDependencyError
        ``"forest"`` without scikit-learn.

    Notes
    -----
    Chunks: any. Law: exact (integer counts; a pixel's own date is left out of its frequency and height). Depends on all
    dates and, by lake, on all of its pixels. Lazy; computing goes through the mask five times for ``"lake"``, and
    Dask keeps it in memory meanwhile if it has room. For an archive, `lakecube revise` does the same block by block.

    References
    ----------
    Mullen, C. et al. (2021), doi:10.5194/hess-25-2373-2021. Xue, B. et al. (2025), doi:10.3390/app152111490, §3.6.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> states = np.array([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 255]], "uint8")[:, None]
    >>> time = np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "datetime64[ns]")
    >>> mask = xr.DataArray(states, dims=("time", "y", "x"), coords={"time": time})
    >>> restore(mask, "frequency").values[2, 0].tolist()
    [255, 255, 255, 1]
    """
    if not is_word(method, METHODS):
        raise InvalidInputError(f"method={method!r}: restore knows {', '.join(METHODS)}")
    if lakes is not None and method != "lake":
        raise InvalidInputError(f'lakes have no part in method={method!r}; leave them out, or say method="lake"')
    dataset, mask = _mask_of(water)
    counts = count(mask)
    wet, clear = counts["count_wet"].data, counts["count_clear"].data
    states: da.Array = mask.data
    if states.size == 0:
        restored = da.full(states.shape, UNKNOWN, dtype=np.uint8, chunks=states.chunks)
    elif method == "forest":
        chosen = _parameters(ForestParams, parameters)
        restored = forest_blocks(dataset, mask, wet, clear, _share(p, P_SCENE), chosen)
    else:
        levels = _parameters(LevelParams, parameters if method == "lake" else _none(parameters, method))
        settings = Settings(tuple(_days(mask).tolist()), levels, _share(p, P_SCENE), _share(p, P_LAKE))
        numbers = _lakes(dataset, lakes, wet, clear) if method == "lake" else None
        restored = restored_blocks(states, wet, clear, numbers, settings)
    spec = VARIABLES["water_restored"]
    attrs = {**spec.attrs, "restoration_method": method}
    return xr.DataArray(restored, dims=mask.dims, coords=mask.coords, name=spec.name, attrs=attrs)


@law("exact")
def filled(water: xr.Dataset | xr.DataArray, restored: xr.DataArray | None = None) -> xr.DataArray:
    """Join what was seen with what was inferred: a new mask. Whatever counts observations must not be given it.

    Parameters
    ----------
    water : xr.Dataset or xr.DataArray
        With `water_mask` (time, y, x) uint8, or that mask itself.
    restored : xr.DataArray, optional
        What `restore` returned; by default `water_restored` of `water` (time or date, y, x; dates that it lacks stay
        unknown), or else ``restore(water)``.

    Returns
    -------
    xr.DataArray
        `water_filled` (time, y, x) uint8: the mask where it is known, else what was restored, else 255.

    Raises
    ------
    InvalidInputError
        If there is no mask, or `restored` is on another grid.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0 (that of `restore`, if it is called). Lazy.
    """
    dataset, mask = _mask_of(water)
    if restored is None:
        restored = dataset["water_restored"] if "water_restored" in dataset else restore(water)
    if DATE in restored.dims:
        restored = restored.rename({DATE: TIME})
    if any(restored.sizes.get(dim) != mask.sizes[dim] for dim in (Y, X)):
        raise InvalidInputError(f"water_mask is {dict(mask.sizes)}, what was restored {dict(restored.sizes)}")
    if TIME in mask.coords and TIME in restored.coords:
        restored = restored.reindex({TIME: mask[TIME]}, fill_value=UNKNOWN)
    inferred = restored.transpose(*mask.dims).data
    inferred = (
        inferred.rechunk(mask.data.chunks)
        if isinstance(inferred, da.Array)
        else da.from_array(inferred, chunks=mask.data.chunks)
    )
    joined = blockwise(_join, "tyx", mask.data, "tyx", inferred, "tyx", dtype=np.uint8, name="lakecube-filled")
    attrs = {**VARIABLES["water_mask"].attrs, "long_name": "surface water, seen and inferred"}
    attrs.pop("ancillary_variables", None)
    return xr.DataArray(joined, dims=mask.dims, coords=mask.coords, name="water_filled", attrs=attrs)


def _mask_of(water: xr.Dataset | xr.DataArray) -> tuple[xr.Dataset, xr.DataArray]:
    """The Dataset (empty, if a mask was given) and its mask of uint8 on Dask, dims (time, y, x)."""
    if isinstance(water, xr.Dataset) and "water_mask" not in water:
        raise InvalidInputError("no water_mask here; extract it first: cube.water.extract()")
    dataset = water if isinstance(water, xr.Dataset) else xr.Dataset()
    mask = water["water_mask"] if isinstance(water, xr.Dataset) else water
    count(mask)  # raises, if this is no mask
    mask = mask.transpose(TIME, Y, X)
    mask = mask if isinstance(mask.data, da.Array) else mask.chunk()
    if mask.dtype != np.uint8:
        mask = mask.copy(data=blockwise(_flags, "tyx", mask.data, "tyx", dtype=np.uint8, name="lakecube-flags"))
    return dataset, mask


def _days(mask: xr.DataArray) -> np.ndarray:
    if TIME not in mask.coords or mask[TIME].dtype.kind != "M":
        raise InvalidInputError("restoring needs a coordinate `time` of datetimes: mask.assign_coords(time=dates)")
    return mask[TIME].values.astype("datetime64[D]").astype(np.int64)


def _share(p: float | None, default: float) -> float:
    if p is not None and not 0 < p < 1:
        raise InvalidInputError(f"p={p!r}: a probability between 0 and 1 is needed")
    return default if p is None else float(p)


def _none(parameters: dict[str, Any], method: str) -> dict[str, Any]:
    if parameters:
        raise InvalidInputError(f"method={method!r} has no parameter {', '.join(parameters)}")
    return {}


def _parameters(kind: Any, parameters: dict[str, Any]) -> Any:
    try:
        return kind(**parameters)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"restore: {error}") from error


def _lakes(dataset: xr.Dataset, lakes: xr.DataArray | None, wet: da.Array, clear: da.Array) -> da.Array:
    """Number of the lake around every pixel (y, x), int32, -1 outside; from one task on the whole image."""
    number: Callable[[np.ndarray], np.ndarray]
    if lakes is None and "lake_label" in dataset:
        lakes = dataset["lake_label"]
    if lakes is None:
        extent = blockwise(_extent, "yx", wet, "yx", clear, "yx", dtype=np.uint8, name="lakecube-extent")
        whole, number = extent, _components
    else:
        if lakes.shape != wet.shape or set(lakes.dims) != {Y, X} or lakes.dtype.kind not in "iu":
            raise InvalidInputError(
                f"lakes are integers (y, x) of {wet.shape}, 0 outside; got {lakes.dtype} {dict(lakes.sizes)}"
            )
        data = lakes.transpose(Y, X).data
        whole, number = data if isinstance(data, da.Array) else da.from_array(data), _numbers
    whole = whole.rechunk(-1)
    token = tokenize(whole.name, number.__name__)
    numbers = blockwise(number, "yx", whole, "yx", dtype=np.int32, name="lakecube-lake-numbers", token=token)
    return numbers.rechunk(wet.chunks)


def _extent(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    return ((wet > 0) & (wet >= MIN_FREQUENCY * clear)).astype(np.uint8)


def _components(extent: np.ndarray) -> np.ndarray:
    labels, n = ndimage.label(extent, structure=_CONNECTIVITY)
    large = np.bincount(labels.ravel(), minlength=n + 1) >= MIN_PIXELS
    return _numbers(np.where(large[labels], labels, 0))


def _numbers(labels: np.ndarray) -> np.ndarray:
    """Labels, grown by the shore, as 0, 1, 2, … in their order, -1 outside."""
    grown = grow_lakes(np.maximum(labels, 0).astype(np.int64), SHORE)
    known, numbers = np.unique(grown, return_inverse=True)
    return (numbers.reshape(labels.shape) - int(known[0] == 0)).astype(np.int32)


def _flags(states: np.ndarray) -> np.ndarray:
    return np.where((states == 0) | (states == 1), states, UNKNOWN).astype(np.uint8)


def _join(seen: np.ndarray, inferred: np.ndarray) -> np.ndarray:
    return np.where(seen <= 1, seen, np.where(inferred <= 1, inferred, np.uint8(UNKNOWN)))
