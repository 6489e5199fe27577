"""The revision pass: counts and frequency, block by block, from the rows that are stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.chunked import blockwise
from lakecube.errors import InvalidInputError
from lakecube.kernels.counts import count_states, divide_counts
from lakecube.names import VARIABLES, YEAR, X, Y
from lakecube.store.job import RevisionJob, RevisionOutcome
from lakecube.store.layout import Stored, pixel_array, row_array
from lakecube.store.ledger import Ledger
from lakecube.store.passes import Writer
from lakecube.store.report import Run
from lakecube.store.waves import Box, Runner, boxes, chosen

#: Dates of a block that are in memory at once.
DATES_AT_ONCE = 8
_TOTALS = ("count_wet", "count_clear", "water_frequency")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a parameter that no revision has, before any work is done."""
    if parameters:
        raise InvalidInputError(f"a revision has no parameter {', '.join(sorted(parameters))}")


def write_revision(job: RevisionJob, ledger: Ledger, run: Run, wave: int) -> RevisionOutcome:
    """Count wet and clear dates of every pixel, from stored rows only.

    Parameters
    ----------
    job : RevisionJob
        What to make it from, and where.
    ledger : Ledger
        Of this job alone: waves that an earlier try finished are in ``ledger.done(stage)``.
    run : Run
        Progress and report.
    wave : int
        Blocks to send out at once.
    """
    arrays = revision_arrays(job)
    pixel = {f"{job.group}/{name}": arrays[name].metadata for total in _TOTALS for name in (total, f"{total}_year")}
    writer = Writer.of(job.place, pixel)
    source = Writer.of(job.place, {"water_mask": job.observed["water_mask"]})
    years = _years(job.dates)
    rows = tuple(tuple(np.asarray(job.rows)[years == year].tolist()) for year in np.unique(years))
    runner, name = _lazy_blocks(job, _Counter(source, writer, job.group, rows))
    done = np.zeros((1, *job.blocks), bool)
    for record in ledger.done("counts"):
        done[Box(*(tuple(pair) for pair in record["box"])).index] = True
    with run.stage("revision", int((~done).sum()), "blocks") as advance:
        for box in boxes(done.shape, wave):
            todo = chosen(done, box)
            if todo:
                runner.run([(name, y, x) for _, y, x in todo], advance)
                ledger.record("counts", box.name, {"box": [box.rows, box.y, box.x]})
    run.note("revision", tasks=runner.tasks)
    return RevisionOutcome(arrays)


def revision_arrays(job: RevisionJob) -> dict[str, Stored]:
    """Arrays of ``revision/<k>``: counts, frequency, and the dates they were made from."""
    years = np.unique(_years(job.dates))
    out = dict(job.axes)
    out[YEAR] = row_array(YEAR, xr.Variable((YEAR,), years, {"long_name": "calendar year", "units": "1"}))
    attrs = {"standard_name": "time", "long_name": "solar dates this revision was made from"}
    out["date"] = row_array("date", xr.Variable(("date",), job.dates, attrs))
    for name in _TOTALS:
        out[name] = pixel_array(name, VARIABLES[name].dtype, (Y, X), job.size, job.chunks, {})
        yearly = f"{name}_year"
        shape = (len(years), *job.size)
        out[yearly] = pixel_array(yearly, VARIABLES[yearly].dtype, (YEAR, Y, X), shape, job.chunks, {})
    return out


def _years(dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


def _lazy_blocks(job: RevisionJob, counter: _Counter) -> tuple[Runner, str]:
    starts = [np.arange(0, size, chunk) for size, chunk in zip(job.size, job.chunks, strict=True)]
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
