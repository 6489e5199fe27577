"""`open_store`: a store as one Dataset."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import StoreError, StoreExistsError
from lakecube.names import ITEM, TIME
from lakecube.store.commit import read_root
from lakecube.store.contents import ITEM_ROW
from lakecube.store.files import local_path

#: Root attributes that are the store's own business.
_INTERNAL = ("lakecube_layout", "lakecube_grid", "coordinates", "zarr_conventions")
#: Root attributes that are wrong as soon as somebody takes a part of the pixels; `x` and `y` tell it rightly.
_OF_WHOLE_GRID = ("spatial:transform", "spatial:bbox", "spatial:shape")


def open_store(path: str | os.PathLike[str], *, chunks: Any = "auto") -> xr.Dataset:
    """Open a store lazily: the observed layers joined with the current revision, dates in order.

    Parameters
    ----------
    path : str or path
        Directory of the store.
    chunks : "auto", dict or None
        As in `xarray.open_zarr`; "auto" and {} are the chunks of the store, None is without Dask.

    Returns
    -------
    xr.Dataset
        Observed variables (time, y, x) and (time, index), counts and frequency of the current revision
        (y, x) and (year, y, x), the item table, and the CRS in `spatial_ref`. Types are as stored: masks uint8.

    Raises
    ------
    StoreError
        If there is no store at `path`, its first write is not finished, or it is torn.

    Notes
    -----
    Chunks: as stored, one date each. Lazy: only metadata and small arrays are read. What is seen is the
    state of one commit, also while somebody appends. Not so across `mode="overwrite"`: pixels are read from
    the path when they are computed, so a Dataset opened before the swap then reads pixels of the new store
    under its old dates. Open the store again after an overwrite.
    """
    path = local_path(path)
    if path.is_file():
        raise StoreError(f"{path} is a file: give the directory that to_zarr wrote")
    try:
        visible = read_root(path)
    except StoreExistsError as error:
        raise StoreError(f"{path} is not a store of lakecube: give the directory that to_zarr wrote") from error
    if visible is None:
        if path.exists():
            raise StoreError(f"the first write of {path} is not finished: make the same to_zarr call again")
        raise StoreError(f"there is no store at {path}")
    chunks = {} if isinstance(chunks, str) and chunks == "auto" else chunks
    try:
        observed = xr.open_zarr(path, chunks=chunks, consolidated=True)
        revision = observed.attrs.get("revision")  # of the same root document as the rows: one commit, not two
        derived = xr.open_zarr(path, group=f"revision/{revision}", chunks=chunks, consolidated=False)
    except (FileNotFoundError, KeyError) as error:
        raise StoreError(f"{path} does not hold the revision that it names: the store is torn") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} cannot be read, its metadata are torn or were edited: {error}") from error
    joined = observed.assign(derived.drop_vars("spatial_ref", errors="ignore").variables)
    joined = joined.set_coords([n for n in derived.coords if n in joined.variables])
    return _typed(_sorted(_decoded(joined)))


def _sorted(store: xr.Dataset) -> xr.Dataset:
    """Dates in order, and the item table pointing at their new places."""
    order = np.argsort(store[TIME].values, kind="stable")
    if (order == np.arange(order.size)).all():
        return store
    store = store.isel({TIME: order})
    if ITEM_ROW in store.variables:
        place = np.argsort(order, kind="stable")
        rows = store[ITEM_ROW]
        store[ITEM_ROW] = rows.copy(data=place[rows.values].astype(rows.dtype))
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
    store.attrs = {k: v for k, v in store.attrs.items() if k not in (*_INTERNAL, *_OF_WHOLE_GRID)}
    return store
