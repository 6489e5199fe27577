"""Arrays of a store whose every read says, in words of lakecube, when a chunk of them is spoilt or cannot be had."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.base import tokenize
from xarray.backends.common import BackendArray
from xarray.core import indexing
from zarr.storage import StorePath

from lakecube.errors import LakecubeError, StoreError
from lakecube.store.claims import check_claim
from lakecube.store.place import LocalPlace, Place

#: What Zarr, its codecs and NumPy raise for metadata and chunks that are none.
SPOILT = (RuntimeError, ValueError, TypeError, KeyError, ArithmeticError, AttributeError, MemoryError, IndexError)


class GuardedArray(BackendArray):
    """A lazy variable of a store; reading it raises StoreError where a chunk is spoilt."""

    def __init__(self, variable: xr.Variable, name: str, place: Place) -> None:
        self.variable, self.name, self.place = variable, name, place
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """The values of an outer indexer."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            return np.asarray(self.variable[key].values)
        except LakecubeError:
            raise
        except (*SPOILT, OSError) as error:
            raise StoreError(
                f"{self.name} of {self.place} cannot be read: {in_words(error)}. A chunk of it or its metadata are "
                "damaged: bring the store back from a copy, or make it anew with mode='overwrite'"
            ) from error


@contextlib.contextmanager
def readable(place: Place) -> Iterator[None]:
    """Turn a chunk that cannot be unpacked, met while a store is added to, into a StoreError."""
    try:
        yield
    except RuntimeError as error:
        if "decompression" not in str(error):
            raise
        raise StoreError(
            f"a chunk of {place} is damaged ({in_words(error)}); nothing was added: bring the store back from a copy, "
            "or make it anew with mode='overwrite'"
        ) from error


def in_words(error: BaseException) -> str:
    """What a library says of a failure, without Python's names of types."""
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(str(error).split()))
    return text[:300] or type(error).__name__


def open_group(place: Place, group: str | None, chunks: Any, token: str, *, alone: bool = False) -> xr.Dataset:
    """A group of a store as `xarray.open_zarr` gives it, its arrays guarded; StoreError for one beyond all size.

    `token` names the state of the store: the arrays of two calls have the same names where it is the same. A group
    that stands `alone` is the root of a hierarchy by itself.
    """
    token = f"{token}/{group}"
    source: Any = place.root if isinstance(place, LocalPlace) else place.chunks
    if alone:
        source, group = StorePath(place.chunks, group or ""), None
    stored = xr.backends.ZarrStore.open_group(source, mode="r", group=group, consolidated=group is None)
    for name, array in stored.members.items():
        if isinstance(array, zarr.Array):
            dims = getattr(array.metadata, "dimension_names", None) or (None,) * array.ndim
            check_claim(f"{name} of {place}", dims, array.shape, array.chunks)
    opened = xr.open_dataset(stored, chunks=None)  # reads the axes
    if isinstance(source, Path):
        opened.encoding["source"] = str(source)
    guarded = {
        name: _guarded(variable, str(name), place, chunks, token)
        for name, variable in opened.variables.items()
        if name not in opened.xindexes  # these are in memory
    }
    coords = {name: guarded.pop(name) for name in [*guarded] if name in opened.coords}
    return opened.assign_coords(coords).assign(guarded)


def _guarded(variable: xr.Variable, name: str, place: Place, chunks: Any, token: str) -> xr.Variable:
    lazy = indexing.LazilyIndexedArray(GuardedArray(variable, name, place))
    out = xr.Variable(variable.dims, lazy, variable.attrs, variable.encoding)
    if chunks is None or not variable.dims:
        return out
    own: Mapping[Any, Any] = variable.encoding.get("preferred_chunks") or {}
    wanted = chunks if isinstance(chunks, Mapping) else dict.fromkeys(variable.dims, chunks)
    sizes = {dim: wanted.get(dim, own.get(dim, -1)) for dim in variable.dims}
    return out.chunk(sizes, name=f"{name}-{tokenize(token, name, sizes)}")
