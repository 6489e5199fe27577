"""The named passes of a write: facts (small per-date values), observed rows, revision.

A pass reads what it needs by itself and shares no task with another. Each goes over bounded waves of blocks
and notes every finished wave in the ledger, so that a killed write continues where it stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from zarr.storage import LocalStore

from lakecube.chunked import blockwise
from lakecube.names import TIME, X, Y
from lakecube.store.layout import array_document, open_array, read_metadata
from lakecube.store.ledger import Ledger, pack, unpack
from lakecube.store.plan import Plan
from lakecube.store.report import Run
from lakecube.store.waves import Box, Runner, boxes, chosen

#: What a write task reports of one block·date.
RECORD = np.dtype([("bytes", np.int64), ("pixels", np.int64), ("unknown", np.int64, (256,))])


@dataclasses.dataclass(frozen=True, slots=True)
class Writer:
    """Where blocks go: a small value that travels in the graph and opens its arrays once per process."""

    root: str
    arrays: tuple[tuple[str, str], ...]  #: name and metadata document

    @classmethod
    def of(cls, root: Path, arrays: dict[str, Any]) -> Writer:
        """A writer of some arrays of the store at `root`."""
        return cls(str(root), tuple((n, json.dumps(array_document(m))) for n, m in sorted(arrays.items())))

    def open(self, name: str) -> zarr.Array:
        """One of the arrays."""
        return _open(self.root, name, dict(self.arrays)[name])

    def size(self, name: str, place: tuple[int, ...]) -> int:
        """Bytes of one chunk on disk; 0 if it holds nothing but the fill value."""
        path = Path(self.root, name, "c", *map(str, place))
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0


@functools.lru_cache(maxsize=64)
def _open(root: str, name: str, document: str) -> zarr.Array:
    return open_array(LocalStore(root), name, read_metadata(json.loads(document)))


def find_facts(plan: Plan, ledger: Ledger, run: Run, wave: int) -> dict[str, np.ndarray]:
    """Pass 1: the per-date values that must be computed, date by date in waves.

    Returns
    -------
    dict
        Values over all of `time`; dates that are not written stay zero.
    """
    water, names = plan.contents.water, plan.contents.lazy_rows
    known = {n: np.zeros(water[n].shape, water[n].dtype) for n in names}
    have = np.zeros(water.sizes[TIME], bool)
    for record in ledger.done("facts") if names else []:
        positions = [plan.positions[row] for row in record["rows"]]
        for name in names:
            _axis_first(known[name], water[name])[positions] = unpack(record["values"][name])
        have[positions] = True
    todo = [p for p in plan.positions if not have[p]] if names else []
    runner = Runner([water[n].data for n in names]) if todo else None
    row_of = {position: row for row, position in enumerate(plan.positions)}
    with run.stage("facts", len(todo), "dates") as done:
        step = max(1, wave // (plan.blocks[0] * plan.blocks[1]))
        for start in range(0, len(todo), step):
            assert runner is not None
            positions = todo[start : start + step]
            _compute_dates(runner, [water[name] for name in names], positions, [known[name] for name in names])
            values = {n: pack(_axis_first(known[n], water[n])[positions]) for n in names}
            rows = [row_of[p] for p in positions]  # a rerun may give other dates beside the new ones
            ledger.record("facts", f"{rows[0]}", {"rows": rows, "values": values})
            done(len(positions))
    run.note("facts", tasks=runner.tasks if runner else 0)
    return known


def _axis_first(values: np.ndarray, array: xr.DataArray) -> np.ndarray:
    return np.moveaxis(values, array.get_axis_num(TIME), 0)


def _compute_dates(runner: Runner, arrays: list[xr.DataArray], positions: list[int], outs: list[np.ndarray]) -> None:
    """Compute the blocks of small variables that hold `positions`, all in one go, and put them in their place."""
    keys, places = [], []
    for array, out in zip(arrays, outs, strict=True):
        data, axis = array.data, array.get_axis_num(TIME)
        ends = [np.cumsum((0, *sizes)) for sizes in data.chunks]
        hit = set((np.searchsorted(ends[axis], positions, side="right") - 1).tolist())
        for block in np.ndindex(*data.numblocks):
            if block[axis] in hit:
                keys.append((data.name, *block))
                places.append((out, tuple(slice(e[i], e[i + 1]) for e, i in zip(ends, block, strict=True))))
    for (out, place), value in zip(places, runner.run(keys), strict=True):
        out[place] = value


def write_observed(frozen: xr.Dataset, plan: Plan, root: Path, ledger: Ledger, run: Run, wave: int) -> None:
    """Pass 2: every pixel variable of every new row; one write task per block·date writes them all."""
    names = list(plan.contents.pixels)
    writer = Writer.of(root, {n: plan.pixels[n] for n in names})
    bare = frozen.reset_coords()
    _write_waves(bare[names], plan, writer, "observed", len(plan.positions), ledger, run, wave)
    if plan.contents.fields and plan.base == 0:
        fields = list(plan.contents.fields)
        writer = Writer.of(root, {n: plan.pixels[n] for n in fields})
        still = bare[fields].drop_vars(TIME, errors="ignore").expand_dims({TIME: 1})
        _write_waves(still, plan, writer, "fields", 1, ledger, run, wave)


def _write_waves(
    data: xr.Dataset, plan: Plan, writer: Writer, stage: str, length: int, ledger: Ledger, run: Run, wave: int
) -> None:
    done = np.zeros((length, *plan.blocks), bool)
    for record in ledger.done(stage):
        done[Box(*(tuple(pair) for pair in record["box"])).index] = True
    source = _Source(data, plan, writer, stage == "observed")
    tasks = 0
    with run.stage(stage, int((~done).sum()), "blocks") as advance:
        for box in boxes(done.shape, wave):
            todo = chosen(done, box)
            if todo:
                runner, keys = source.part(box, todo)
                before = runner.tasks
                records = np.concatenate([r.ravel() for r in runner.run(keys, advance)])
                tasks += runner.tasks - before
                if stage == "observed":
                    run.count(records)
                ledger.record(stage, box.name, {"box": [box.rows, box.y, box.x]})
    run.note(stage, tasks=tasks)


class _Source:
    """Write tasks of a Dataset: one lazy array of them if its chunks are the store's, else one per wave."""

    def __init__(self, data: xr.Dataset, plan: Plan, writer: Writer, dated: bool) -> None:
        self.data, self.plan, self.writer = data, plan, writer
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
        places = [da.from_array(np.asarray(v, np.int64), chunks=1) for v in (rows, *starts)]
        names = sorted(str(n) for n in data.data_vars)
        pairs = [item for name in names for item in (data[name].data, "tyx")]
        written = blockwise(
            _write, "tyx", places[0], "t", places[1], "y", places[2], "x", *pairs,
            dtype=RECORD, name="write", writer=self.writer, names=tuple(names),
        )  # fmt: skip
        return Runner([written]), written.name


def _pieces(size: int, chunk: int) -> tuple[int, ...]:
    return (chunk,) * (size // chunk) + ((size % chunk,) if size % chunk else ())


def _region(place: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(at, at + size) for at, size in zip(place, shape, strict=True))


def _write(
    row: np.ndarray, y: np.ndarray, x: np.ndarray, *blocks: np.ndarray, writer: Writer, names: tuple[str, ...]
) -> np.ndarray:
    """Write one block·date of every variable; what was written, for the report."""
    record = np.zeros((1, 1, 1), RECORD)
    by_name = dict(zip(names, blocks, strict=True))
    for name, block in by_name.items():
        array = writer.open(name)
        place = (int(row[0]), int(y[0]), int(x[0]))[-array.ndim :]
        values = np.asarray(block).reshape(block.shape[-array.ndim :])
        array[_region(place, values.shape)] = values
        record["bytes"] += writer.size(name, tuple(at // step for at, step in zip(place, array.chunks, strict=True)))
    if "water_mask" in by_name:
        unknown = by_name["reason"][by_name["water_mask"] == 255]
        record["pixels"] = by_name["water_mask"].size
        record["unknown"] = np.bincount(unknown, minlength=256)
    return record
