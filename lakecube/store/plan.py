"""The plan of one write: which dates become which rows, and the metadata of every array after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.core.metadata.v3 import ArrayV3Metadata

from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import TIME, X, Y
from lakecube.store.commit import SUPERSEDED, Visible
from lakecube.store.contents import FREE_ATTRS, ITEM_ROW, Contents, digest, fitted, grid_of, version
from lakecube.store.layout import (
    PIXEL_CHUNK,
    Stored,
    axes,
    group_attrs,
    open_array,
    pixel_array,
    resized,
    row_array,
    time_attrs,
)
from lakecube.store.ledger import Row
from lakecube.store.same import check_same


@dataclasses.dataclass(frozen=True)
class Plan:
    """One write.

    Attributes
    ----------
    contents : what there is
    base : rows visible before
    positions : position in `time` of every new row, in the order of the rows
    chunks : pixel chunk (y, x) of the store
    pixels : metadata of the pixel arrays, at their length after the write
    replaces : the row of the same date that each new one is to supersede, or None
    """

    contents: Contents
    base: int
    positions: tuple[int, ...]
    chunks: tuple[int, int]
    pixels: dict[str, ArrayV3Metadata]
    replaces: tuple[int | None, ...]

    @property
    def rows(self) -> int:
        """Number of rows after the write."""
        return self.base + len(self.positions)

    def superseded(self, rows: list[Row], failed: Mapping[int, int]) -> list[int]:
        """Of each two rows of a date the old one; the new one where, of the same items, less could be read than before.

        rows: the visible ones before the write; failed: pixels that could not be read, by position.
        """
        out = []
        for k, (position, old) in enumerate(zip(self.positions, self.replaces, strict=True)):
            if old is not None:
                is_same = rows[old]["key"] == self.contents.keys[position]
                reads_less = is_same and failed.get(position, 0) > rows[old]["failed"]
                out.append(self.base + k if reads_less else old)
        return sorted(out)

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of store chunks along y and x."""
        sizes = self.contents.water.sizes
        return -(-sizes[Y] // self.chunks[0]), -(-sizes[X] // self.chunks[1])

    @property
    def hash(self) -> str:
        """Equal for two plans that would write the same bytes in the same places."""
        water, found = self.contents.water, self.contents
        return digest({
            "lakecube": version(),
            "configuration": found.configuration,
            "grid": grid_of(water),
            "chunks": list(self.chunks),
            "base": self.base,
            "dates": [[str(found.dates[p]), found.keys[p]] for p in self.positions],
            "replaced": sorted(row for row in self.replaces if row is not None),
            "variables": sorted([str(n), str(v.dtype), [str(d) for d in v.dims]] for n, v in water.variables.items()),
        })  # fmt: skip


def make_plan(
    contents: Contents, visible: Visible | None, rows: list[Row], mode: str, chunks: Any, pending: str | None, *,
    retry: bool = False,
) -> Plan:  # fmt: skip
    """Decide what a write has to do; `rows` are what the ledger knows of the visible ones.

    Raises
    ------
    StoreError
        If the store is of another grid or configuration, or there are dates to write that are new or made from other
        items and `mode` is "resume".
    """
    if visible is None:
        size = pixel_chunks(contents.water, chunks)
        n = len(contents.order)
        return Plan(contents, 0, contents.order, size, _pixel_arrays(contents, size, n), (None,) * n)
    contents = fitted(contents, visible.documents)
    check_same(contents, visible)
    _, *fixed = visible.metadata("water_mask").chunks
    size = (fixed[0], fixed[1])
    if chunks is not None and pixel_chunks(contents.water, chunks) != size:
        raise StoreError(f"the store has chunks of {size}, fixed at creation: leave out chunks=")
    todo = _todo(contents, visible, rows, retry)
    base = visible.rows
    pixels = {name: resized(visible.metadata(name), base + len(todo)) for name in contents.pixels}
    plan = Plan(contents, base, tuple(todo), size, pixels, tuple(todo.values()))
    if todo and mode == "resume" and pending != plan.hash:
        raise StoreError(_needs_append(todo, contents, visible))
    return plan


def _todo(contents: Contents, visible: Visible, rows: list[Row], retry: bool) -> dict[int, int | None]:
    """Positions to write, earliest date first, and the row that each supersedes, if any."""
    live = {row["date"]: k for k, row in enumerate(rows) if k not in visible.superseded}
    todo: dict[int, int | None] = {}
    for position in contents.order:
        date = str(contents.dates[position])
        if date not in live:
            todo[position] = None
            continue
        row = rows[live[date]]
        again = retry and "failed" in row
        if row["key"] != contents.keys[position] and ITEM_ROW not in contents.water.variables and not again:
            raise StoreError(
                f"the store holds {date[:10]} made from other input than given now (without an item table: other "
                "data or other chunks, which cannot be told apart). Give only dates that the store does not hold, or "
                'make the whole store anew with mode="overwrite"'
            )
        if again or row["key"] != contents.keys[position]:
            todo[position] = live[date]
    return todo


def _needs_append(todo: Mapping[int, int | None], contents: Contents, visible: Visible) -> str:
    """Why a finished store does not hold all that is given, and the call that adds it."""
    new = [str(contents.dates[p])[:10] for p, row in todo.items() if row is None]
    other = [str(contents.dates[p])[:10] for p, row in todo.items() if row is not None]
    held = visible.rows - len(visible.superseded)
    told = [f"{len(new)} given now are not among them (the first: {new[0]})"] if new else []
    told += [f"{len(other)} are given made from other items (the first: {other[0]})"] if other else []
    return (
        f"the store is finished and holds {held} dates, but {' and '.join(told)}. Add them with "
        'mode="append"' + (", which supersedes the rows of other items" if other else "") + ", or choose another path"
    )


def pixel_chunks(water: xr.Dataset, chunks: Any) -> tuple[int, int]:
    """Pixel chunk (y, x) that `chunks` asks for, no larger than the image; InvalidInputError if it asks for none."""
    if chunks is None:
        chunks = PIXEL_CHUNK
    if isinstance(chunks, dict):
        unknown = sorted(str(key) for key in chunks if key not in (TIME, Y, X))
        if unknown or chunks.get(TIME, 1) != 1:
            raise InvalidInputError(f"chunks takes y and x (time is always 1); got {chunks}")
        chunks = (chunks.get(Y, PIXEL_CHUNK), chunks.get(X, PIXEL_CHUNK))
    pair = (chunks, chunks) if not isinstance(chunks, tuple | list) else tuple(chunks)
    if len(pair) != 2 or not all(isinstance(c, int | np.integer) and c > 0 for c in pair):
        raise InvalidInputError(f"chunks is a number of pixels or (y, x), for example 1024; got {chunks!r}")
    return min(int(pair[0]), water.sizes[Y]), min(int(pair[1]), water.sizes[X])


def _pixel_arrays(contents: Contents, chunks: tuple[int, int], length: int) -> dict[str, ArrayV3Metadata]:
    water = contents.water
    size = (water.sizes[Y], water.sizes[X])
    arrays = {}
    for name in contents.pixels:
        var = water[name]
        arrays[name] = pixel_array(name, var.dtype, (TIME, Y, X), (length, *size), chunks, var.attrs).metadata
    for name in contents.fields:
        var = water[name]
        arrays[name] = pixel_array(name, var.dtype, (Y, X), size, chunks, var.attrs).metadata
    return arrays


def root_attrs(plan: Plan, visible: Visible | None, superseded: Collection[int]) -> dict[str, Any]:
    """Attributes of the root group after the write, which supersedes some rows."""
    water = plan.contents.water
    coords = [str(n) for n in water.coords if n not in water.dims]
    mine = {
        "lakecube_version": version(),
        "configuration_hash": plan.contents.configuration,
        "lakecube_grid": grid_of(water),
        "coordinates": " ".join(sorted(coords)),
    }
    attrs = {**water.attrs, **group_attrs(water), **mine}
    if visible is not None:
        attrs = {**attrs, **{k: v for k, v in visible.attrs.items() if k not in FREE_ATTRS}}
    hidden = {*superseded, *(visible.superseded if visible is not None else ())}
    attrs |= {SUPERSEDED: sorted(hidden)} if hidden else {}
    return {**attrs, "revision": visible.revision if visible is not None else None}


def small_arrays(plan: Plan, known: dict[str, np.ndarray], store: Store, visible: Visible | None) -> dict[str, Stored]:
    """Every array that is not of pixels, whole: old rows as stored, then the new ones."""
    water, positions = plan.contents.water, list(plan.positions)
    out = dict(axes(water)) if visible is None else {}
    if visible is None:
        for name in plan.contents.fixed:
            if name not in out:
                out[name] = row_array(name, water[name].variable)
    time = xr.Variable((TIME,), water[TIME].values[positions], time_attrs(water))
    new = {TIME: time}
    for name in plan.contents.rows:
        variable = water[name].variable.transpose(TIME, ...)
        values = known.get(name, variable.data)
        new[name] = xr.Variable(variable.dims, np.asarray(values)[positions], variable.attrs)
    chosen, rows = new_items(plan)
    for name in plan.contents.items:
        variable = water[name].variable
        values = rows if name == ITEM_ROW else np.asarray(known.get(name, variable.data))[chosen]
        new[name] = xr.Variable(variable.dims, values, variable.attrs)
    for name, variable in new.items():
        out[name] = _joined(name, row_array(name, variable), store, visible)
    return out


def new_items(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Which items belong to the new rows, and to which."""
    water = plan.contents.water
    if ITEM_ROW not in water.variables:
        size = water.sizes.get("item", 0)
        return np.arange(size), np.zeros(size, np.int32)
    row_of = {position: plan.base + k for k, position in enumerate(plan.positions)}
    given = np.asarray(water[ITEM_ROW].values)
    chosen = np.flatnonzero([int(position) in row_of for position in given])
    rows = np.asarray([row_of[int(given[i])] for i in chosen], given.dtype)
    return chosen, rows


def _joined(name: str, new: Stored, store: Store, visible: Visible | None) -> Stored:
    if visible is None:
        return new
    if name not in visible.documents:
        raise StoreError(f'the store has no {name}, which is given now. Use mode="overwrite" or another path')
    before = visible.metadata(name)
    assert new.values is not None
    if before.shape[1:] != new.metadata.shape[1:] or before.data_type != new.metadata.data_type:
        raise StoreError(f'{name} has another shape or type in the store. Use mode="overwrite" or another path')
    array: zarr.Array = open_array(store, name, before)
    values = np.concatenate([np.asarray(array[...]), new.values])
    return Stored(resized(before, len(values)), values)
