"""What refinement is given, checked before anything is built: numbers, and arrays with or without labels."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.names import TIME, X, Y

BAND = "band"
#: A last dim of at most so many, behind a first one of more than `_MOST_BANDS`, is one of bands.
_FEW, _MOST_BANDS = 4, 32
#: No ground reflects more.
BRIGHTEST = 2.0


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int, or an error that names the parameter."""
    if _is_real(value) and value == math.floor(value) and least <= value and (most is None or value <= most):
        return int(value)
    bounds = f"from {least}" + ("" if most is None else f" to {most}")
    raise InvalidInputError(f"{name} must be a whole number {bounds}; got {value!r}")


def number(name: str, value: Any, *, zero: bool = False) -> float:
    """`value` as a finite float above 0, or from 0 on, or an error that names the parameter."""
    if _is_real(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    raise InvalidInputError(f"{name} must be a finite number {'from' if zero else 'above'} 0; got {value!r}")


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def picture(data: Any, name: str) -> xr.Dataset | xr.DataArray:
    """A NumPy array (y, x) or (band, y, x) with labelled dims; a Dataset or DataArray as it is."""
    if isinstance(data, xr.Dataset | xr.DataArray):
        return _distinct(data)
    array = _numpy(data, name)
    if array.ndim not in (2, 3):
        raise InvalidInputError(f"{name} as a NumPy array has dims (band, y, x); this one has {array.ndim}")
    if array.ndim == 3 and array.shape[-1] <= _FEW and array.shape[0] > _MOST_BANDS:
        raise InvalidInputError(
            f"{name} has shape {array.shape}, with bands last; bands come first: np.moveaxis(array, -1, 0)"
        )
    return xr.DataArray(array, dims=(BAND, Y, X)[-array.ndim :])


def layers(data: Any, name: str) -> xr.DataArray:
    """A NumPy array (y, x) or (time, y, x) with labelled dims; a DataArray as it is."""
    if isinstance(data, xr.DataArray):
        return data
    array = _numpy(data, name)
    if array.ndim not in (2, 3):
        raise InvalidInputError(f"{name} as a NumPy array has dims (y, x) or (time, y, x); this one has {array.ndim}")
    return xr.DataArray(array, dims=(TIME, Y, X)[-array.ndim :])


def refuse_empty(data: xr.Dataset | xr.DataArray) -> None:
    """An error if there is no date, or no pixel."""
    empty = [str(dim) for dim in (TIME, Y, X) if data.sizes.get(dim) == 0]
    if empty:
        raise InvalidInputError(f"there is nothing along {', '.join(empty)}: the selection is empty")


def refuse_other_pixels(data: xr.Dataset | xr.DataArray, other: xr.DataArray, name: str) -> None:
    """An error if `other` does not lie on the same pixels and dates as `data`."""
    if not {Y, X} <= set(other.dims) <= {TIME, Y, X}:
        raise InvalidInputError(f"{name} has dims {other.dims}; (time, y, x) or (y, x) are needed")
    try:
        xr.align(data, other, join="exact", copy=False)
    except ValueError as error:
        sizes = {str(dim): data.sizes[dim] for dim in (TIME, Y, X) if dim in data.dims}
        raise InvalidInputError(
            f"{name} {dict(other.sizes)} is not on the same pixels and dates as the data {sizes}; "
            "cut both from one grid with .sel or .isel"
        ) from error


def dataset_of(data: Any, colour: str = "reflectance") -> xr.Dataset:
    """Whatever `superpixels` takes as a Dataset; the attribute `every` says that all its variables are bands."""
    if colour not in ("reflectance", "cielab"):
        raise InvalidInputError(f"colour={colour!r}: use 'reflectance' or 'cielab'")
    data = picture(data, "data")
    if isinstance(data, xr.DataArray):
        if data.sizes.get(BAND) == 0:
            raise MissingBandError("there is no band at all: the dim band is empty")
        if BAND in data.dims:
            names = [str(v) for v in data[BAND].values] if BAND in data.coords else map(str, range(data.sizes[BAND]))
            data = xr.Dataset({n: data.isel({BAND: k}, drop=True) for k, n in enumerate(names)})
        else:
            data = data.to_dataset(name=data.name or "0")
        data = data.assign_attrs({"every": 1})
    if not {Y, X} <= set(data.dims):
        there = ", ".join(map(str, data.dims)) or "none"
        raise InvalidInputError(f"superpixels need dims y and x; there are {there}: .rename(lat='y', lon='x')")
    refuse_empty(data)
    return data


def scale_of(bands: xr.Dataset, given: float | None, defaults: tuple[float, float]) -> float:
    """The declared scale, or by default one for reflectance (float) and one for grey levels (uint8)."""
    if given is not None:
        return number("scale", given)
    kinds = {str(name): band.dtype for name, band in bands.data_vars.items()}
    if all(kind == np.uint8 for kind in kinds.values()):
        return defaults[1]
    unclear = [f"band {name} is {kind}" for name, kind in kinds.items() if kind.kind in "iu"]
    if unclear:
        raise InvalidInputError(
            f"{unclear[0]}: say what its numbers mean by scale= (of reflectance times 10000: {defaults[0] / 10000:g})"
        )
    for name, band in bands.data_vars.items():
        if isinstance(band.data, np.ndarray) and band.size and np.median(_sample(band.data)) > BRIGHTEST:
            warnings.warn(
                f"most of {name} is above {BRIGHTEST}, which reflectance is not, and will look all alike: say scale= "
                f"(of grey levels 0 to 255: {defaults[1]:.3g})", stacklevel=3,
            )  # fmt: skip
    return defaults[0]


def _sample(band: np.ndarray) -> np.ndarray:
    """Some values of an array (…, y, x), 0 where there are none; about 64 along y and x."""
    some = band[..., :: max(band.shape[-2] // 64, 1), :: max(band.shape[-1] // 64, 1)]
    return np.where(some == some, some, 0)


def taking_part(dataset: xr.Dataset, mask: xr.DataArray | np.ndarray | None) -> dict[str, Any]:
    """What takes part: the mask, or the state of the observation (uint8, judged by its table in the task)."""
    if mask is not None:
        mask = layers(mask, "mask")
        if mask.dtype != bool:
            raise InvalidInputError(f"mask is boolean, True where pixels take part; got {mask.dtype}: mask == 1")
        refuse_other_pixels(dataset, mask, "mask")
        return {"__part": mask.reset_coords(drop=True)}
    return {"__part": dataset["observation"]} if "observation" in dataset and "every" not in dataset.attrs else {}


def _numpy(data: Any, name: str) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise InvalidInputError(f"{name} must be an xr.DataArray, xr.Dataset or NumPy array; got {type(data).__name__}")
    if data.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name} holds numbers; got {data.dtype}")
    return data


def _distinct(data: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    if isinstance(data, xr.DataArray) and BAND in data.coords and data[BAND].ndim:
        names = [str(v) for v in data[BAND].values]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise InvalidInputError(f"two bands are called {', '.join(twice)}; give each a name of its own")
    return data
