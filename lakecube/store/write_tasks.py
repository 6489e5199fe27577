"""Write tasks: blocks of a Dataset, each put into the arrays of a store by the process that has computed it."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.core.metadata.v3 import ArrayV3Metadata

from lakecube.chunked import blockwise, per_chunk
from lakecube.io.messages import Heard
from lakecube.io.traffic import KINDS, TRAFFIC
from lakecube.names import TIME, X, Y
from lakecube.store.counted import CountedStore
from lakecube.store.layout import array_document, open_array, read_metadata
from lakecube.store.lease import Held
from lakecube.store.place import Place
from lakecube.store.plan import Plan
from lakecube.store.waves import Box, Runner

#: What a write task reports of one block·date.
RECORD = np.dtype([*((kind, np.int64) for kind in KINDS), ("pixels", np.int64), ("unknown", np.int64, (256,))])


@dataclasses.dataclass(frozen=True, slots=True)
class Writer:
    """Where blocks go: a small value that travels in the graph and opens its arrays once per process."""

    place: Place
    arrays: tuple[tuple[str, str], ...]  #: name and metadata document
    held: Held | None = None  #: the lease under which it writes blocks of rows

    @classmethod
    def of(cls, place: Place, arrays: Mapping[str, ArrayV3Metadata], held: Held | None = None) -> Writer:
        """A writer of some arrays of the store at `place`; of reading them as well."""
        return cls(place, tuple((n, json.dumps(array_document(m))) for n, m in sorted(arrays.items())), held)

    def open(self, name: str) -> zarr.Array:
        """One of the arrays."""
        return _open(self.place, name, dict(self.arrays)[name])


@functools.lru_cache(maxsize=256)
def _open(place: Place, name: str, document: str) -> zarr.Array:
    return open_array(CountedStore(place.chunks, place.files), name, read_metadata(json.loads(document)))


class Source:
    """Write tasks of a Dataset: one lazy array of them if its chunks are the store's, else one per wave."""

    def __init__(self, data: xr.Dataset, plan: Plan, writer: Writer, dated: bool, heard: Heard | None = None) -> None:
        self.data, self.plan, self.writer, self.heard = data, plan, writer, heard
        self.positions = plan.positions if dated else (0,)
        self.base = plan.base if dated else 0
        sizes, (cy, cx) = data.sizes, plan.chunks
        self.chunks = ((1,) * sizes[TIME], _pieces(sizes[Y], cy), _pieces(sizes[X], cx))
        self.whole: tuple[Runner, str] | None = None
        if all(v.data.chunks == self.chunks for v in data.data_vars.values()) and len(data.data_vars) > 0:
            rows = np.full(sizes[TIME], -1)
            rows[list(self.positions)] = self.base + np.arange(len(self.positions))
            self.whole = self._runner(data, rows, (0, 0))

    def part(self, box: Box, todo: list[tuple[int, int, int]]) -> tuple[Runner, list[tuple[Any, ...]]]:
        """A runner and its keys that write the blocks `todo` of `box`."""
        if self.whole is not None:
            runner, name = self.whole
            return runner, [(name, self.positions[t], y, x) for t, y, x in todo]
        cy, cx = self.plan.chunks
        at = {TIME: list(self.positions[slice(*box.rows)])}
        within = {Y: slice(box.y[0] * cy, box.y[1] * cy), X: slice(box.x[0] * cx, box.x[1] * cx)}
        data = self.data.isel(at | within).chunk({TIME: 1, Y: cy, X: cx})
        runner, name = self._runner(data, self.base + np.arange(*box.rows), (box.y[0] * cy, box.x[0] * cx))
        return runner, [(name, t - box.rows[0], y - box.y[0], x - box.x[0]) for t, y, x in todo]

    def _runner(self, data: xr.Dataset, rows: np.ndarray, origin: tuple[int, int]) -> tuple[Runner, str]:
        first = next(iter(data.data_vars.values())).data
        starts = [np.cumsum((o, *c[:-1])) for o, c in zip(origin, first.chunks[1:], strict=True)]
        places = [per_chunk((1,) * len(v), np.asarray(v).tolist()) for v in (rows, *starts)]
        names = sorted(str(n) for n in data.data_vars)
        pairs = [item for name in names for item in (data[name].data, "tyx")]
        written = blockwise(
            _write, "tyx", places[0], "t", places[1], "y", places[2], "x", *pairs,
            dtype=RECORD, name="write", writer=self.writer, names=tuple(names),
        )  # fmt: skip
        return Runner([written], self.heard), written.name


def _pieces(size: int, chunk: int) -> tuple[int, ...]:
    return (chunk,) * (size // chunk) + ((size % chunk,) if size % chunk else ())


def _region(place: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(at, at + size) for at, size in zip(place, shape, strict=True))


def _write(row: int, y: int, x: int, *blocks: np.ndarray, writer: Writer, names: tuple[str, ...]) -> np.ndarray:
    """Write one block·date of every variable, on disk once this returns; what was written, for the report."""
    assert writer.held is not None
    writer.held.check()
    record = np.zeros((1, 1, 1), RECORD)
    by_name = dict(zip(names, blocks, strict=True))
    for name, block in by_name.items():
        array = writer.open(name)
        place = (row, y, x)[-array.ndim :]
        values = np.asarray(block).reshape(block.shape[-array.ndim :])
        array[_region(place, values.shape)] = values
    writer.held.files.sync()
    if "water_mask" in by_name:
        unknown = by_name["reason"][by_name["water_mask"] == 255]
        record["pixels"] = by_name["water_mask"].size
        record["unknown"] = np.bincount(unknown, minlength=256)
    for kind, passed in TRAFFIC.taken(writer.place.files.where()).items():
        record[kind] = passed
    return record
