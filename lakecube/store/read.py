"""`open_store`: a store as one Dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError, LakecubeError, StoreError, StoreExistsError
from lakecube.names import ITEM, SPATIAL_REF, TIME, X, Y
from lakecube.store.commit import ROOT, SUPERSEDED, Visible, read_document, understood
from lakecube.store.contents import ITEM_ROW
from lakecube.store.conventions import CONVENTIONS, MULTISCALES, levels_of
from lakecube.store.guarded import SPOILT, in_words, open_group
from lakecube.store.ledger import Ledger
from lakecube.store.overviews import MAPS
from lakecube.store.place import LocalPlace, Place, place_of

#: Root attributes that are the store's own business.
_INTERNAL = ("lakecube_layout", "lakecube_grid", "coordinates", CONVENTIONS, MULTISCALES, SUPERSEDED)
#: Key of `Dataset.encoding` under which a store that was opened keeps where it lies, and its levels of which arrays.
KEPT = "lakecube_store"
#: Root attributes that are wrong as soon as somebody takes a part of the pixels; `x` and `y` tell it rightly.
_OF_WHOLE_GRID = ("spatial:transform", "spatial:bbox", "spatial:shape")


def open_store(
    path: str | os.PathLike[str], *, level: int = 0, chunks: Any = "auto",
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:  # fmt: skip
    """Open a store lazily: the observed layers joined with the current revision, dates in order.

    Parameters
    ----------
    path : str or path
        Directory of the store, or its address in object storage (``"s3://bucket/prefix"``).
    level : int
        0: the store itself. Above it, its maps at pixels 2**level times as wide and high, of which stores larger
        than a chunk hold some: counts are sums over the pixels, `water_frequency` is their ratio, `lake_label` and
        `month_state` are those of most pixels (that were seen). What has no pixels is there as well.
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
    InvalidInputError
        If it has no such level.

    Notes
    -----
    Chunks: as stored, one date each. Lazy: only metadata and small arrays are read. What is seen is the
    state of one commit, also while somebody appends or revises; what a revision holds can be read until the second
    revision after it is committed. Rows that another row of their date supersedes are left out. After an append
    without a revision, `date` tells which dates the counts are of. Not so across `mode="overwrite"`: pixels are
    read from the path when they are computed, so a Dataset opened before the swap then reads pixels of the new
    store under its old dates. Open the store again after an overwrite.
    """
    return open_place(place_of(path, storage_options), chunks, level)


def open_place(place: Place, chunks: Any = "auto", level: int = 0) -> xr.Dataset:
    """`open_store` of a place."""
    chunks = {} if isinstance(chunks, str) and chunks == "auto" else chunks
    for last in (False, False, False, True):
        visible, token = _visible(place)
        try:
            return _opened(place, visible, token, chunks, level)
        except (FileNotFoundError, KeyError) as error:
            if last or _visible(place)[1] == token:  # not because somebody committed meanwhile
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
        return _mark(place.files.read(ROOT))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"there is no store at {place}") from error


def _mark(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


def _visible(place: Place) -> tuple[Visible, str]:
    """What a reader sees, and its mark, by one read: of one commit, not of two."""
    if isinstance(place, LocalPlace) and place.root.is_file():
        raise StoreError(f"{place} is a file: give the directory that to_zarr wrote")
    try:
        document = read_document(place)
        if document is not None:
            return understood(document, place), _mark(document)
    except StoreExistsError as error:
        raise StoreError(f"{place} is not a store of lakecube: give the directory that to_zarr wrote") from error
    if isinstance(place, LocalPlace) and place.root.is_dir() and not any(place.root.iterdir()):
        raise StoreError(f"there is no store at {place}: the folder is empty")
    if place.files.exists(""):
        raise StoreError(f"the first write of {place} is not finished: make the same to_zarr call again")
    raise StoreError(f"there is no store at {place}")


def _opened(place: Place, visible: Visible, token: str, chunks: Any, level: int) -> xr.Dataset:
    observed, revision = open_group(place, None, chunks, token), visible.revision
    if (observed.sizes[TIME], observed.attrs["revision"]) != (visible.rows, revision):
        raise KeyError("another commit")
    levels = levels_of(observed.attrs)
    joined = observed
    if revision is not None:
        derived = open_group(place, f"revision/{revision}", chunks, token)
        _check_whole(derived, visible, f"revision/{revision}/")
        joined = _with(joined, derived)
    if level != 0:
        if level not in range(len(levels)):
            held = f"levels 0 to {len(levels) - 1}" if levels else "level 0 alone"
            raise InvalidInputError(f"level={level!r}: the store has {held}")
        joined = _with(joined.drop_dims([Y, X]), open_group(place, levels[level], chunks, token, alone=True))
    opened = _typed(_in_order(_decoded(_on_axes(joined))))
    names = {name: graph_name(opened[name]) for name in MAPS if name in opened}
    kept = {"levels": levels[1:] if level == 0 else [], "names": names, "rows": observed.sizes[TIME], "token": token}
    opened.encoding[KEPT] = {"place": place, **kept, SUPERSEDED: observed.attrs.get(SUPERSEDED, [])}
    return opened


def _with(store: xr.Dataset, derived: xr.Dataset) -> xr.Dataset:
    """A store with the layers of its revision, or of a level."""
    grid = () if Y not in store.dims else (SPATIAL_REF,)
    joined = store.assign(derived.drop_vars(grid, errors="ignore").variables)
    return joined.set_coords([n for n in derived.coords if n in joined.variables])


def overview(store: xr.Dataset, name: str, most: int) -> xr.DataArray:
    """A map of an untouched store at the finest level with no more than `most` pixels a side; as it is if changed.

    Parameters
    ----------
    store : xr.Dataset
        From `open_store`, or any other.
    name : str
        The map.
    most : int
        Pixels along the longest side.

    Returns
    -------
    xr.DataArray
        The same dims and dtype (counts may be wider), lazy; coordinates `y`, `x` and `spatial_ref` of the level.

    Raises
    ------
    StoreError
        If the revision that was opened is gone.
    """
    whole, kept = store[name], store.encoding.get(KEPT, {})
    graph = graph_name(whole)
    if max(whole.sizes[Y], whole.sizes[X]) <= most or graph is None or graph != kept.get("names", {}).get(name):
        return whole
    sides = [max(-(-whole.sizes[dim] // (2 << k)) for dim in (Y, X)) for k in range(len(kept["levels"]))]
    fit = [group for group, side in zip(kept["levels"], sides, strict=True) if side <= most]
    if not fit:
        return whole
    try:
        return open_level(store, fit[0], {})[name]
    except (FileNotFoundError, KeyError) as error:
        raise StoreError(
            f"{fit[0]} of {kept['place']} is gone, revisions were made since: open the store again"
        ) from error


def open_level(store: xr.Dataset, group: str, chunks: Any) -> xr.Dataset:
    """The maps of one level of a store that was opened, by the path of its group."""
    kept = store.encoding[KEPT]
    return open_group(kept["place"], group, chunks, kept["token"], alone=True)


def graph_name(array: xr.DataArray) -> str | None:
    """Name of the Dask array behind `array`; None without Dask, and nothing is read to tell."""
    return array.data.name if array.chunks is not None else None


def failed_dates(store: xr.Dataset) -> list[str]:
    """Dates of a store that was opened, of which some imagery could not be read; none that were read anew since."""
    kept = store.encoding[KEPT]
    rows = Ledger(kept["place"].files).rows(kept["rows"]) or []
    return sorted(str(row["date"])[:10] for k, row in enumerate(rows) if "failed" in row and k not in kept[SUPERSEDED])


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
