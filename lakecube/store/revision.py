"""The revision pass: counts and frequency, block by block, from the rows that are stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.chunked import blockwise
from lakecube.kernels.counts import count_states, divide_counts
from lakecube.names import VARIABLES, YEAR, X, Y
from lakecube.store.layout import Stored, axes, group_attrs, pixel_array, row_array
from lakecube.store.ledger import Ledger
from lakecube.store.passes import Writer
from lakecube.store.plan import Plan
from lakecube.store.report import Run
from lakecube.store.waves import Box, Runner, boxes, chosen

#: Dates of a block that are in memory at once.
DATES_AT_ONCE = 8
_TOTALS = ("count_wet", "count_clear", "water_frequency")


def revision_arrays(plan: Plan, dates: np.ndarray) -> dict[str, Stored]:
    """Arrays of ``revision/<k>``: counts, frequency, and the dates they were made from."""
    water = plan.contents.water
    years = np.unique(_years(dates))
    size = (water.sizes[Y], water.sizes[X])
    out = dict(axes(water))
    out[YEAR] = row_array(YEAR, xr.Variable((YEAR,), years, {"long_name": "calendar year", "units": "1"}))
    attrs = {"standard_name": "time", "long_name": "solar dates this revision was made from"}
    out["date"] = row_array("date", xr.Variable(("date",), np.sort(dates), attrs))
    for name in _TOTALS:
        dtype = VARIABLES[name].dtype
        out[name] = pixel_array(name, dtype, (Y, X), size, plan.chunks, {})
        yearly = f"{name}_year"
        shape = (len(years), *size)
        out[yearly] = pixel_array(yearly, VARIABLES[yearly].dtype, (YEAR, Y, X), shape, plan.chunks, {})
    return out


def revision_attrs(plan: Plan) -> dict[str, Any]:
    """Attributes of the group of a revision."""
    return {**group_attrs(plan.contents.water), "revision": plan.revision, "coordinates": "spatial_ref"}


def write_revision(
    plan: Plan, dates: np.ndarray, arrays: dict[str, Stored], root: Path, ledger: Ledger, run: Run, wave: int
) -> None:
    """Count wet and clear dates of every pixel, from stored rows only.

    Parameters
    ----------
    dates : (rows,) datetime64
        Date of every row, in the order of the rows.
    """
    group = f"revision/{plan.revision}"
    pixel = {f"{group}/{name}": arrays[name].metadata for total in _TOTALS for name in (total, f"{total}_year")}
    writer = Writer.of(root, pixel)
    source = Writer.of(root, {"water_mask": plan.pixels["water_mask"]})
    years = _years(dates)
    rows = tuple(tuple(np.flatnonzero(years == year).tolist()) for year in np.unique(years))
    counter = _Counter(source, writer, group, rows)
    runner, name = _lazy_blocks(plan, counter)
    done = np.zeros((1, *plan.blocks), bool)
    for record in ledger.done("revision"):
        done[Box(*(tuple(pair) for pair in record["box"])).index] = True
    with run.stage("revision", int((~done).sum()), "blocks") as advance:
        for box in boxes(done.shape, wave):
            todo = chosen(done, box)
            if todo:
                runner.run([(name, y, x) for _, y, x in todo], advance)
                ledger.record("revision", box.name, {"box": [box.rows, box.y, box.x]})
    run.note("revision", tasks=runner.tasks)


def _years(dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


def _lazy_blocks(plan: Plan, counter: _Counter) -> tuple[Runner, str]:
    sizes = plan.contents.water.sizes
    starts = [np.arange(0, sizes[dim], chunk) for dim, chunk in zip((Y, X), plan.chunks, strict=True)]
    places = [da.from_array(start, chunks=1) for start in starts]
    lazy = blockwise(_count_block, "yx", places[0], "y", places[1], "x", dtype=bool, name="revise", counter=counter)
    return Runner([lazy]), lazy.name


@dataclasses.dataclass(frozen=True, slots=True)
class _Counter:
    """From where to where, and which rows are of which year."""

    source: Writer
    target: Writer
    group: str
    rows: tuple[tuple[int, ...], ...]


def _count_block(y: np.ndarray, x: np.ndarray, counter: _Counter) -> np.ndarray:
    """Count one block, year by year and a few dates at a time."""
    mask = counter.source.open("water_mask")
    block: tuple[slice, ...] = tuple(
        slice(int(at[0]), min(int(at[0]) + chunk, size))
        for at, chunk, size in zip((y, x), mask.chunks[1:], mask.shape[1:], strict=True)
    )
    shape = tuple(part.stop - part.start for part in block)
    total = np.zeros((2, *shape), np.uint32)
    for k, rows in enumerate(counter.rows):
        year = np.zeros((2, *shape), np.uint32)
        for start in range(0, len(rows), DATES_AT_ONCE):
            some = rows[start : start + DATES_AT_ONCE]
            states = np.stack([np.asarray(mask[row, block[0], block[1]]) for row in some])
            year += np.stack(count_states(states))
        _put(counter, "_year", (slice(k, k + 1), *block), year[:, None])
        total += year
    _put(counter, "", block, total)
    return np.ones((1, 1), bool)


def _put(counter: _Counter, suffix: str, place: tuple[slice, ...], counts: np.ndarray) -> None:
    shape = counts.shape[1:]
    share = divide_counts(*(c.reshape(-1, shape[-1]) for c in counts)).reshape(shape)
    for name, values in zip(_TOTALS, (*counts, share), strict=True):
        array = counter.target.open(f"{counter.group}/{name}{suffix}")
        array[place] = values.astype(array.dtype)
