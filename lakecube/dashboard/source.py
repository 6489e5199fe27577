"""The store behind the dashboard: opened once for all visitors, for reading, and again when a commit changed it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from lakecube.dashboard.kept import Kept
from lakecube.dashboard.layers import Layer, layers_of
from lakecube.dashboard.window import MAX_BYTES, Window, cost
from lakecube.lake_panels import one_lake
from lakecube.names import DATE, LAKE, TIME, X, Y
from lakecube.series.areas import LAKES_AT_ONCE
from lakecube.series.pixel_area import PixelGrid
from lakecube.store.place import place_of
from lakecube.store.read import KEPT, mark_of, open_level, open_place
from lakecube.summary import crs_of

#: Seconds between two looks at the root of the store, however many visitors ask.
LOOK_EVERY = 4.0
#: Decoded bytes of labels that one view may touch: farther out outlines are thinner than a sample.
LABEL_BYTES = 250_000_000
_TABLE = ("longitude", "latitude", "max_area", "size_class", "kind", "provisional")


class Opened:
    """A store as it was at one commit, with what many views need of it at hand.

    Attributes
    ----------
    store : xr.Dataset
        Lazy, without Dask.
    levels : sequence of xr.Dataset
        Its maps, each half as fine as the one before; of older and of small stores none.
    mark : str
        Of the commit.
    grid : PixelGrid
    crs : pyproj.CRS or None
    layers : what its maps can show, by key
    dates : (time,) datetime64[D]
    lakes : dict of arrays (lake,)
        `lake`, the columns that filters go by, and `x`, `y` in the CRS of the grid; empty arrays without lakes.
    """

    def __init__(self, store: xr.Dataset, mark: str, levels: Sequence[xr.Dataset] = ()) -> None:
        self.store, self.mark, self.levels = store, mark, levels
        self.grid, self.crs = PixelGrid.of(store), crs_of(store)
        self.layers = {layer.key: layer for layer in layers_of(store)}
        self.dates = store[TIME].values.astype("datetime64[D]")
        self.lakes = self._table()
        self._kept = Kept()

    def _table(self) -> dict[str, np.ndarray]:
        if LAKE not in self.store.dims:
            return {name: np.zeros(0, np.int64) for name in (LAKE, "x", "y", *_TABLE)}
        table = {name: self.store[name].values for name in (LAKE, *_TABLE)}
        x, y = self.grid.xy(table["longitude"], table["latitude"])
        return table | {"x": x, "y": y}

    @cached_property
    def mean_seen(self) -> np.ndarray:
        """Mean share of every lake that was seen, (lake,); some thousand lakes are read at a time."""
        seen = self.store["lake_observed_fraction"]
        size = LAKES_AT_ONCE
        parts = [seen[k : k + size].mean(DATE).values for k in range(0, seen.sizes[LAKE], size)]
        return np.concatenate([np.zeros(0), *parts])

    def at(self, names: Sequence[str], window: Window) -> tuple[xr.Dataset, Window]:
        """Where to read some maps for a window: the coarsest level that is fine enough, or the store."""
        level = min(window.step.bit_length() - 1, len(self.levels))
        if level and all(name in self.levels[level - 1] for name in names):
            return self.levels[level - 1], window.coarser(level)
        return self.store, window

    def cost(self, layer: Layer, window: Window) -> int:
        """Bytes that a view of a layer reads, decoded."""
        return layer.cost(*self.at(layer.needs, window))

    def picture(self, layer: Layer, window: Window, date: int) -> np.ndarray | None:
        """Codes (y, x) of a layer; None where that would read more than `MAX_BYTES`."""
        if self.cost(layer, window) > MAX_BYTES:
            return None
        key = (layer.key, window, date if layer.of_date else None)
        return self._kept.get(key, lambda: layer.read(*self.at(layer.needs, window), date))

    def first_picture(self) -> np.ndarray | None:
        """What every visitor sees first: the first layer, whole."""
        layer, window = next(iter(self.layers.values())), Window.of(self.grid)
        return None if window is None else self.picture(layer, window, self.dates.size - 1)

    def labels(self, window: Window) -> np.ndarray | None:
        """Lake ids (y, x), of many pixels that of most; None without lakes, or if it read more than `LABEL_BYTES`."""
        return self._labels(*self.at(["lake_label"], window))

    def label_samples(self, window: Window) -> np.ndarray | None:
        """As `labels`, of the very pixels that a window indexes."""
        return self._labels(self.store, window)

    def _labels(self, store: xr.Dataset, window: Window) -> np.ndarray | None:
        if "lake_label" not in store or cost(store["lake_label"], window) > LABEL_BYTES:
            return None
        label = store["lake_label"].isel(window.index)
        return self._kept.get(("lake_label", store.sizes[Y], store.sizes[X], window), lambda: label.values)

    def lake(self, number: int) -> xr.Dataset:
        """What is known of one lake, in memory; InvalidInputError for none."""
        return one_lake(self.store, number)


class Source:
    """What all visitors look through.

    Parameters
    ----------
    path : str or path
        Directory of the store, or its address in object storage.
    storage_options : mapping, optional
        For object storage.
    """

    def __init__(self, path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.place = place_of(path, storage_options)
        self._lock = threading.Lock()
        self._opened, self._looked = self._open(), time.monotonic()

    @property
    def opened(self) -> Opened:
        """The store as it was when last looked at."""
        return self._opened

    def look(self) -> Opened:
        """The store as it is: opened again if somebody committed since; at most one look in `LOOK_EVERY` seconds.

        Raises
        ------
        StoreError
            If it is gone, or torn.
        """
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_EVERY:
                self._looked = time.monotonic()
                if mark_of(self.place) != self._opened.mark:
                    self._opened = self._open()
            return self._opened

    def _open(self) -> Opened:
        store = open_place(self.place, chunks=None)
        kept = store.encoding[KEPT]
        return Opened(store, kept["token"], [open_level(store, group, None) for group in kept["levels"]])
