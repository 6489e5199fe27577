"""Whether what is to be written is of one kind with the store: grid, configuration, variables and their types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from zarr.abc.store import Store

from lakecube.errors import StoreError
from lakecube.names import SPATIAL_REF, TIME, X, Y
from lakecube.store.commit import Visible
from lakecube.store.contents import Contents, grid_of, role_of
from lakecube.store.layout import open_array, plain, row_array

#: Stands for an entry that one of two configurations does not have.
_ABSENT = object()


def check_same(contents: Contents, visible: Visible) -> None:
    """Raise StoreError that says what differs between the store and what is to be written."""
    advice = 'Use mode="overwrite" to replace the store, or choose another path'
    grid, stored = grid_of(contents.water), visible.attrs["lakecube_grid"]
    if grid != stored:
        what = ", ".join(
            f"{key} {stored[key]} in the store and {grid[key]} given"
            if key in ("shape", "crs")
            else f"{key} coordinates"
            for key in grid
            if grid[key] != stored[key]
        )
        raise StoreError(f"the store is on another grid: {what} differ. {advice}")
    if contents.configuration != visible.attrs["configuration_hash"]:
        raise StoreError(f"the store was made with another configuration: {_differences(contents, visible)}. {advice}")
    names = set(contents.pixels)
    there = {n for n in visible.arrays() if visible.documents[n].get("dimension_names") == [TIME, Y, X]}
    if names != there:
        raise StoreError(f"the store holds {sorted(there)} per date, given are {sorted(names)}. {advice}")
    for name in names:
        if np.dtype(contents.water[name].dtype) != visible.metadata(name).data_type.to_native_dtype():
            raise StoreError(f"{name} is {contents.water[name].dtype} and of another type in the store. {advice}")
    _check_small(contents, visible, advice)


def _check_small(contents: Contents, visible: Visible, advice: str) -> None:
    """Raise StoreError unless every variable that is not of pixels per date has its like in the store."""
    water = contents.water
    grid = {TIME, Y, X, SPATIAL_REF}
    stored: dict[str, set[str]] = {role: set() for role in ("pixels", "fields", "rows", "items", "fixed")}
    for name in visible.arrays():
        if name not in grid:
            stored[role_of(name, tuple(visible.documents[name].get("dimension_names") or ()))].add(name)
    for role, what in (("fields", "per pixel"), ("rows", "per date"), ("items", "per item"), ("fixed", "besides")):
        given = {n for n in getattr(contents, role) if n not in grid}
        if given != stored[role]:
            only = [f"{n} is only in the store" for n in sorted(stored[role] - given)]
            only += [f"{n} is only given now" for n in sorted(given - stored[role])]
            raise StoreError(f"the store holds other variables {what}: {', '.join(only)}. {advice}")
    for name in sorted(stored["fields"] | stored["rows"] | stored["items"] | stored["fixed"]):
        variable, before = water[name].variable, visible.metadata(name)
        variable = variable.transpose(TIME, ...) if name in stored["rows"] else variable
        grows = 1 if name in stored["rows"] | stored["items"] else 0
        empty = np.empty((0,) * grows + variable.shape[grows:], variable.dtype)
        now = row_array(name, xr.Variable(variable.dims, empty)).metadata if name not in stored["fields"] else None
        dims = [str(dim) for dim in variable.dims]
        type_differs = (
            now.data_type != before.data_type
            if now is not None
            else np.dtype(variable.dtype) != before.data_type.to_native_dtype()
        )
        if dims != list(before.dimension_names or ()) or variable.shape[grows:] != before.shape[grows:] or type_differs:
            old = f"{before.data_type.to_native_dtype()} {before.dimension_names} {before.shape}"
            now_is = f"{variable.dtype} {tuple(dims)} {variable.shape}"
            raise StoreError(f"{name} is {now_is} now and {old} in the store. {advice}")


def check_fixed(contents: Contents, known: Mapping[str, np.ndarray], store: Store, visible: Visible) -> None:
    """Raise StoreError if a small variable of neither date nor item has other values in the store."""
    for name in contents.fixed:
        if name == SPATIAL_REF:
            continue
        variable = contents.water[name].variable
        values = xr.Variable(variable.dims, np.asarray(known.get(name, variable.data)), variable.attrs)
        now, before = row_array(name, values).values, open_array(store, name, visible.metadata(name))[...]
        equal = np.array_equal(np.asarray(now), np.asarray(before), equal_nan=values.dtype.kind == "f")
        if not equal:
            raise StoreError(
                f"{name} is {_short(np.asarray(before).tolist())} in the store and {_short(np.asarray(now).tolist())} "
                'now. Use mode="overwrite" to replace the store, or choose another path'
            )


def check_lengths(documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise StoreError unless the arrays of one group agree on the length of every dim."""
    lengths: dict[tuple[str, str], tuple[int, str]] = {}
    for name, document in documents.items():
        group = name.rpartition("/")[0]
        for dim, size in zip(document.get("dimension_names") or (), document.get("shape") or (), strict=False):
            known, other = lengths.setdefault((group, dim), (size, name))
            if known != size:
                raise StoreError(
                    f"the store would hold {size} of {dim} in {name} and {known} in {other}, so nothing was committed"
                )


def _differences(contents: Contents, visible: Visible) -> str:
    out = []
    for name in ("method", "parameters", "configuration"):
        given, stored = _parts(name, contents.water.attrs.get(name)), _parts(name, visible.attrs.get(name))
        for part in sorted({*given, *stored}):
            old, new = stored.get(part, _ABSENT), given.get(part, _ABSENT)
            if old != new:
                out.append(f"{part} is {_short(old)} in the store and {_short(new)} now")
    return "; ".join(out) or "they differ"


def _parts(name: str, value: Any) -> dict[str, Any]:
    """The entries of an attribute that is a JSON object, else the attribute itself."""
    try:
        parts = json.loads(value)
    except (TypeError, ValueError):
        parts = None
    return parts if isinstance(parts, dict) else {name: value}


def _short(value: Any) -> str:
    if value is _ABSENT or value is None:
        return "not given"
    text = value if isinstance(value, str) else json.dumps(plain(value))
    return text if len(text) <= 200 else f"{text[:197]}…"
