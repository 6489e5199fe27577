"""What there is to store: the variables of a Dataset sorted by role, its dates in order, and what identifies them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import metadata
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube.errors import InvalidInputError
from lakecube.kernels.rows import rows_of
from lakecube.names import DATE, ITEM, LAKE, TIME, YEAR, YEAR_MONTH, X, Y
from lakecube.store.conventions import crs_of
from lakecube.store.layout import plain, read_metadata

#: Dims, and variables (y, x), that only a revision has.
REVISION_DIMS = (DATE, YEAR, YEAR_MONTH, LAKE, "event", "error_class")
REVISION_FIELDS = ("count_wet", "count_clear", "water_frequency", "lake_label")
#: Column of the item table that names the row of `time` an item belongs to.
ITEM_ROW = "item_time_index"
#: Columns that tell of the audit of the offset.
AUDIT_COLUMNS = frozenset({
    "item_offset_audited", "item_offset_audit_confidence", "item_offset_conflict", "item_offset_applied",
})  # fmt: skip
#: Root attributes that may differ between two writes of one configuration.
FREE_ATTRS = frozenset({"request", "extract_request", "title", "history", "date_created"})


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

    @cached_property
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
    water = _placed(_observed(water))
    roles = {name: role_of(str(name), var.dims) for name, var in water.variables.items() if name not in (TIME, Y, X)}
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


def is_result(name: str) -> bool:
    """Whether a column of the item table tells what a run found: it identifies nothing, and a store may lack it."""
    return name in AUDIT_COLUMNS or "status" in name


def fitted(contents: Contents, documents: Mapping[str, Mapping[str, Any]]) -> Contents:
    """`contents` with those columns of results that a store of these `documents` has; missing ones are empty."""
    if ITEM not in contents.water.dims:
        return contents
    there = {n for n, doc in documents.items() if is_result(n) and doc.get("dimension_names") == [ITEM]}
    extra = {n for n in contents.items if is_result(n)} - there
    water = contents.water.drop_vars(sorted(extra))
    for name in sorted(there - set(contents.items)):
        dtype = read_metadata(dict(documents[name])).data_type.to_native_dtype()
        water = water.assign({name: (ITEM, np.full(water.sizes[ITEM], _missing(dtype), dtype))})
    items = tuple(sorted({*contents.items} - extra | there))
    return dataclasses.replace(contents, water=water, items=items)


def _missing(dtype: np.dtype) -> Any:
    """What stands for no value in a column of the item table."""
    if dtype.kind == "f":
        return np.nan
    return np.iinfo(dtype).max if dtype.kind in "ui" else dtype.type()


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


def _observed(water: xr.Dataset) -> xr.Dataset:
    """A store that was opened, without what belongs to its revision: that is made anew. Anything else as it is."""
    dims = [dim for dim in REVISION_DIMS if dim in water.dims]
    return water.drop_dims(dims).drop_vars(REVISION_FIELDS, errors="ignore") if dims else water


def _placed(water: xr.Dataset) -> xr.Dataset:
    """The Dataset with rows of its items found anew from their dates, and without the items of no row.

    Choosing or sorting dates leaves the positions in the item table as they were.
    """
    if ITEM_ROW not in water.variables or "item_date" not in water.variables:
        return water
    dates, times = (np.asarray(water[name].values).astype("datetime64[s]") for name in ("item_date", TIME))
    if "time_bounds" in water.variables:
        bounds = np.asarray(water["time_bounds"].transpose(TIME, ...).values).astype("datetime64[s]")
        rows = rows_of(dates, *bounds.T)
    else:
        rows = rows_of(dates, times)
    kept = np.flatnonzero(rows >= 0)
    if len(kept) < len(dates):
        water = water.isel({ITEM: kept})
    table = water[ITEM_ROW]
    found = table.copy(data=rows[kept].astype(table.dtype) if len(kept) else table.values)
    return water.assign_coords({ITEM_ROW: found}) if ITEM_ROW in water.coords else water.assign({ITEM_ROW: found})


def role_of(name: str, given: tuple[Any, ...]) -> str:
    """Role of a variable with some dims: pixels, fields, rows, items or fixed; InvalidInputError if none."""
    dims = set(given)
    if {Y, X} <= dims:
        if dims == {TIME, Y, X}:
            return "pixels"
        if dims == {Y, X}:
            return "fields"
    elif given[:1] == (ITEM,) and TIME not in dims:
        return "items"
    elif TIME in dims and not dims & {Y, X, ITEM}:
        return "rows"
    elif not dims & {TIME, Y, X, ITEM}:
        return "fixed"
    raise InvalidInputError(f"a store has no place for {name} with dims {given}: drop it with .drop_vars({name!r})")


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
        if var.dims[:1] == (ITEM,) and name != ITEM_ROW and not is_result(str(name)) and not _is_lazy(var)
    }
    order = np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], np.arange(len(dates) + 1))
    keys = []
    for row, date in enumerate(dates):
        of_date = order[ends[row] : ends[row + 1]]
        items = [{n: str(v[i].tolist()) for n, v in columns.items()} for i in of_date]
        items.sort(key=lambda item: json.dumps(item, sort_keys=True))
        keys.append(_hash([configuration, str(date), items]))
    return tuple(keys)


def _is_lazy(variable: xr.Variable) -> bool:
    return isinstance(variable.data, da.Array)


def _hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(plain(document), sort_keys=True).encode()).hexdigest()
