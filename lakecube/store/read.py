"""`open_store`: a store as one Dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import LakecubeError, StoreError, StoreExistsError
from lakecube.names import ITEM, TIME, X, Y
from lakecube.store.commit import ROOT, SUPERSEDED, Visible, read_root
from lakecube.store.contents import ITEM_ROW
from lakecube.store.guarded import SPOILT, in_words, open_group
from lakecube.store.place import LocalPlace, Place, place_of

#: Root attributes that are the store's own business.
_INTERNAL = ("lakecube_layout", "lakecube_grid", "coordinates", "zarr_conventions", SUPERSEDED)
#: Root attributes that are wrong as soon as somebody takes a part of the pixels; `x` and `y` tell it rightly.
_OF_WHOLE_GRID = ("spatial:transform", "spatial:bbox", "spatial:shape")


def open_store(
    path: str | os.PathLike[str], *, chunks: Any = "auto", storage_options: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Open a store lazily: the observed layers joined with the current revision, dates in order.

    Parameters
    ----------
    path : str or path
        Directory of the store, or its address in object storage (``"s3://bucket/prefix"``).
    chunks : "auto", dict or None
        As in `xarray.open_zarr`; "auto" and {} are the chunks of the store, None is without Dask.
    storage_options : mapping, optional
        For object storage: credentials and such, by obstore's names. Without, those of the environment.

    Returns
    -------
    xr.Dataset
        Observed variables (time, y, x) and (time, index), counts and frequency of the current revision
        (y, x) and (year, y, x) if there is one, the item table, and the CRS in `spatial_ref`. Types are as
        stored: masks uint8.

    Raises
    ------
    StoreError
        If there is no store at `path`, its first write is not finished, or it is torn.

    Notes
    -----
    Chunks: as stored, one date each. Lazy: only metadata and small arrays are read. What is seen is the
    state of one commit, also while somebody appends or revises; what a revision holds can be read until the second
    revision after it is committed. Rows that another row of their date supersedes are left out. After an append
    without a revision, `date` tells which dates the counts are of. Not so across `mode="overwrite"`: pixels are
    read from the path when they are computed, so a Dataset opened before the swap then reads pixels of the new
    store under its old dates. Open the store again after an overwrite.
    """
    return open_place(place_of(path, storage_options), chunks)


def open_place(place: Place, chunks: Any = "auto") -> xr.Dataset:
    """`open_store` of a place."""
    chunks = {} if isinstance(chunks, str) and chunks == "auto" else chunks
    for last in (False, True):
        visible = _visible(place)
        try:
            return _opened(place, visible, chunks)
        except (FileNotFoundError, KeyError) as error:
            if last or _visible(place).revision == visible.revision:  # not because two more were committed meanwhile
                raise StoreError(f"{place} does not hold the revision that it names: the store is torn") from error
        except LakecubeError:
            raise
        except SPOILT as error:
            raise StoreError(f"{place} cannot be read, it is torn or was edited: {in_words(error)}") from error
    raise AssertionError  # the loop returns or raises


def mark_of(place: Place) -> str:
    """Of what a reader sees of a store now: another after every commit, the same between two.

    Raises
    ------
    StoreError
        If there is no store at `place`.
    """
    try:
        return hashlib.sha256(place.files.read(ROOT)).hexdigest()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"there is no store at {place}") from error


def _visible(place: Place) -> Visible:
    if isinstance(place, LocalPlace) and place.root.is_file():
        raise StoreError(f"{place} is a file: give the directory that to_zarr wrote")
    try:
        visible = read_root(place)
    except StoreExistsError as error:
        raise StoreError(f"{place} is not a store of lakecube: give the directory that to_zarr wrote") from error
    if visible is not None:
        return visible
    if place.files.exists(""):
        raise StoreError(f"the first write of {place} is not finished: make the same to_zarr call again")
    raise StoreError(f"there is no store at {place}")


def _opened(place: Place, visible: Visible, chunks: Any) -> xr.Dataset:
    token = mark_of(place)
    observed = open_group(place, None, chunks, token)
    revision = observed.attrs.get("revision")  # of the same root document as the rows: one commit, not two
    joined = observed
    if revision is not None:
        derived = open_group(place, f"revision/{revision}", chunks, token)
        _check_whole(derived, visible, f"revision/{revision}/")
        joined = observed.assign(derived.drop_vars("spatial_ref", errors="ignore").variables)
        joined = joined.set_coords([n for n in derived.coords if n in joined.variables])
    return _typed(_in_order(_decoded(_on_axes(joined))))


def _check_whole(derived: xr.Dataset, visible: Visible, group: str) -> None:
    """Raise KeyError where an array of a revision that the root names is not there any more."""
    gone = {name.removeprefix(group) for name in visible.documents if name.startswith(group)} - {*derived.variables}
    if gone:
        raise KeyError(", ".join(sorted(gone)))


def _on_axes(store: xr.Dataset) -> xr.Dataset:
    """The store, unless its dates or pixels have no order: a chunk of an axis that is gone reads as zeros."""
    for dim in (Y, X):
        steps = np.diff(store[dim].values)
        if not (np.isfinite(steps).all() and (np.sign(steps) == np.sign(steps[:1])).all() and steps.all()):
            raise ValueError(f"its {dim} is no axis of pixels")
    live = np.delete(store[TIME].values, store.attrs.get(SUPERSEDED, []))
    if np.unique(live).size != live.size:
        raise ValueError("a date is there twice")
    return store


def _in_order(store: xr.Dataset) -> xr.Dataset:
    """Live rows by date, and the item table pointing at their new places, without items of superseded rows."""
    dropped = store.attrs.get(SUPERSEDED, [])
    order = np.argsort(store[TIME].values, kind="stable")
    order = order[~np.isin(order, dropped)]
    if np.array_equal(order, np.arange(store.sizes[TIME])):
        return store
    place = np.full(store.sizes[TIME], -1)
    place[order] = np.arange(order.size)
    store = store.isel({TIME: order})
    if ITEM_ROW in store.variables:
        rows = place[store[ITEM_ROW].values]
        if (rows < 0).any():
            store, rows = store.isel({ITEM: np.flatnonzero(rows >= 0)}), rows[rows >= 0]
        store[ITEM_ROW] = store[ITEM_ROW].copy(data=rows.astype(store[ITEM_ROW].dtype))
    return store


def _decoded(store: xr.Dataset) -> xr.Dataset:
    """The item table and other text in memory, as ordinary NumPy text."""
    for name, variable in store.variables.items():
        if name in store.dims:
            if variable.dtype.kind in "TO":
                store = store.assign_coords({name: (variable.dims, _text(variable.values), variable.attrs)})
        elif variable.dims[:1] == (ITEM,) or variable.dtype.kind in "TO":
            values = variable.values
            values = _text(values) if values.dtype.kind in "TO" else values
            store[name] = store[name].copy(data=values)
    return store


def _text(values: np.ndarray) -> np.ndarray:
    text = np.asarray([str(value) for value in values.ravel().tolist()] or [""], dtype=np.str_)
    return text[: values.size].reshape(values.shape)


def _typed(store: xr.Dataset) -> xr.Dataset:
    """Flag tables in the type of their variable, and the attributes of the store itself set apart."""
    for variable in store.variables.values():
        for key in ("flag_values", "flag_masks"):
            if key in variable.attrs and variable.dtype.kind in "ui":
                variable.attrs[key] = np.asarray(variable.attrs[key], variable.dtype)
    for dim in (Y, X):
        store[dim].encoding["_FillValue"] = None  # CF allows none on coordinates, xarray would add NaN
    store.attrs = {k: v for k, v in store.attrs.items() if k not in (*_INTERNAL, *_OF_WHOLE_GRID)}
    return store
