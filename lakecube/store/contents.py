"""What there is to store: the variables of a Dataset sorted by role, its dates in order, and what identifies them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube.errors import InvalidInputError
from lakecube.names import ITEM, TIME, X, Y
from lakecube.store.conventions import crs_of
from lakecube.store.layout import plain

#: Column of the item table that names the row of `time` an item belongs to.
ITEM_ROW = "item_time_index"
#: Root attributes that may differ between two writes of one configuration.
FREE_ATTRS = frozenset({"request", "title", "history", "date_created"})


@dataclasses.dataclass(frozen=True)
class Contents:
    """A Dataset to store.

    Attributes
    ----------
    water : xr.Dataset
        Pixels dask-backed and (time, y, x); dates in the order given.
    pixels : names of the variables (time, y, x)
    fields : names of the variables (y, x) that do not depend on the date
    rows : names of the variables that have a value, or a few, per date
    items : names of the columns of the item table
    fixed : names of the small variables of neither
    order : positions of the dates, earliest first
    keys : key of each date, by position
    configuration : hash of method, parameters and configuration
    """

    water: xr.Dataset
    pixels: tuple[str, ...]
    fields: tuple[str, ...]
    rows: tuple[str, ...]
    items: tuple[str, ...]
    fixed: tuple[str, ...]
    order: tuple[int, ...]
    keys: tuple[str, ...]
    configuration: str

    @property
    def dates(self) -> np.ndarray:
        """Dates by position, datetime64[s]."""
        return self.water[TIME].values.astype("datetime64[s]")

    @property
    def lazy_rows(self) -> tuple[str, ...]:
        """Per-date variables that must be computed: the facts of the first pass."""
        return tuple(name for name in self.rows if isinstance(self.water[name].data, da.Array))


def survey(water: xr.Dataset) -> Contents:
    """Sort the variables of `water` by role and identify its dates.

    Raises
    ------
    InvalidInputError
        If dims, dates or a variable are not what a store can hold.
    """
    _check(water)
    roles = {name: _role(str(name), var) for name, var in water.variables.items() if name not in (TIME, Y, X)}
    pixels = tuple(sorted(str(n) for n, role in roles.items() if role == "pixels"))
    fields = tuple(sorted(str(n) for n, role in roles.items() if role == "fields"))
    laid = {name: _laid(water[name]) for name in (*pixels, *fields)}
    water = water.assign({n: v for n, v in laid.items() if n in water.data_vars}).assign_coords(
        {n: v for n, v in laid.items() if n in water.coords}
    )
    configuration = _hash({name: water.attrs.get(name) for name in ("method", "parameters", "configuration")})
    rows, items, fixed = (
        tuple(sorted(str(n) for n, r in roles.items() if r == role)) for role in ("rows", "items", "fixed")
    )
    return Contents(
        water,
        pixels,
        fields,
        rows,
        items,
        fixed,
        order=tuple(int(i) for i in np.argsort(water[TIME].values, kind="stable")),
        keys=_keys(water, pixels, configuration),
        configuration=configuration,
    )


def version() -> str:
    """The version of lakecube that is running."""
    found = getattr(sys.modules.get("lakecube"), "__version__", None)
    if isinstance(found, str):
        return found
    try:
        return metadata.version("lakecube")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def digest(document: Any) -> str:
    """Hash of a JSON document."""
    return _hash(document)


def grid_of(water: xr.Dataset) -> dict[str, Any]:
    """What two Datasets on the same pixels have in common."""
    crs = crs_of(water)
    axes = {dim: hashlib.sha256(np.asarray(water[dim].values, np.float64).tobytes()).hexdigest() for dim in (Y, X)}
    return {"shape": [water.sizes[Y], water.sizes[X]], "crs": None if crs is None else crs.to_string(), **axes}


def _check(water: xr.Dataset) -> None:
    if not isinstance(water, xr.Dataset):
        raise InvalidInputError(f"to_zarr needs an xr.Dataset with water_mask and reason; got {type(water).__name__}")
    missing = [name for name in ("water_mask", "reason") if name not in water.data_vars]
    if missing:
        raise InvalidInputError(f"nothing to store: {' and '.join(missing)} missing. Make them with .water.extract()")
    for name, dtype in (("water_mask", "uint8"), ("reason", "uint8")):
        if water[name].dtype != dtype:
            raise InvalidInputError(f"{name} must be {dtype}, as .water.extract() returns it; got {water[name].dtype}")
    plain(water.attrs)
    for variable in water.variables.values():
        plain(variable.attrs)
    for dim in (TIME, Y, X):
        if dim not in water.coords:
            raise InvalidInputError(f"the Dataset has no coordinate {dim}, so its pixels have no place or date")
        if water.sizes[dim] == 0:
            what = "no dates" if dim == TIME else f"no pixels along {dim}"
            raise InvalidInputError(f"the Dataset has {what}: widen the request, then call to_zarr again")
    times = water[TIME].values
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise InvalidInputError(f"`time` must hold datetimes without gaps; got {times.dtype}")
    if np.unique(times).size != times.size:
        values, counts = np.unique(times, return_counts=True)
        raise InvalidInputError(
            f"the date {str(values[counts > 1][0])[:10]} is there twice: group items by solar day, "
            "or keep one with .drop_duplicates('time')"
        )


def _role(name: str, variable: xr.Variable) -> str:
    dims = set(variable.dims)
    if {Y, X} <= dims:
        if dims == {TIME, Y, X}:
            return "pixels"
        if dims == {Y, X}:
            return "fields"
    elif variable.dims[:1] == (ITEM,) and TIME not in dims:
        return "items"
    elif TIME in dims and not dims & {Y, X, ITEM}:
        return "rows"
    elif not dims & {TIME, Y, X, ITEM}:
        return "fixed"
    raise InvalidInputError(
        f"a store has no place for {name} with dims {variable.dims}: drop it with .drop_vars({name!r})"
    )


def _laid(array: xr.DataArray) -> xr.DataArray:
    array = array.transpose(*(dim for dim in (TIME, Y, X) if dim in array.dims))
    if isinstance(array.data, da.Array):
        return array
    return array.chunk({TIME: 1} if TIME in array.dims else {})


def _keys(water: xr.Dataset, pixels: Iterable[str], configuration: str) -> tuple[str, ...]:
    """One key per date: its items (or, without an item table, the token of the pixels) and the configuration."""
    dates = np.datetime_as_string(water[TIME].values.astype("datetime64[s]"))
    if ITEM_ROW not in water.variables:
        token = tokenize([(name, water[name].data.name) for name in pixels])
        return tuple(_hash([configuration, str(date), token]) for date in dates)
    rows = np.asarray(water[ITEM_ROW].values)
    columns = {
        str(name): np.asarray(var.values)
        for name, var in water.variables.items()
        if var.dims[:1] == (ITEM,) and name != ITEM_ROW and "status" not in str(name) and not _is_lazy(var)
    }
    keys = []
    for row, date in enumerate(dates):
        items = [{n: str(v[i].tolist()) for n, v in columns.items()} for i in np.flatnonzero(rows == row)]
        items.sort(key=lambda item: json.dumps(item, sort_keys=True))
        keys.append(_hash([configuration, str(date), items]))
    return tuple(keys)


def _is_lazy(variable: xr.Variable) -> bool:
    return isinstance(variable.data, da.Array)


def _hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(plain(document), sort_keys=True).encode()).hexdigest()
