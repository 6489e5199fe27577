"""The named passes of a write: facts (small per-date values), observed rows, fields without time.

A pass reads what it needs by itself and shares no task with another. Each goes over bounded waves of blocks
and notes every finished wave in the ledger, so that a killed write continues where it stopped.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np
import xarray as xr

from lakecube.chunked import freeze
from lakecube.names import REASON, TIME
from lakecube.store.file_states import STAGES
from lakecube.store.ledger import Ledger, Record, pack, unpack
from lakecube.store.place import Place
from lakecube.store.plan import Plan
from lakecube.store.report import Run
from lakecube.store.unread import Troubles
from lakecube.store.waves import Box, Runner, boxes, chosen, groups, threads, width
from lakecube.store.write_tasks import RECORD, Source, Writer

_READ_FAILED = REASON["read_failed"]


def write_rows(
    plan: Plan, place: Place, ledger: Ledger, run: Run, wave: int | None
) -> tuple[xr.Dataset, dict[str, np.ndarray], Counter[int]]:
    """Passes 1 and 2 over groups of dates: what a group needs to know (facts), then its pixels.

    The group is small enough for the tiles of files that the first pass decoded to be still at hand in the second.

    Returns
    -------
    frozen : xr.Dataset
        The input with its facts in place of their graph.
    facts : dict
        Values over all of `time`; dates that are not written stay zero.
    failed : Counter
        Position in `time` to the pixels that could not be read.
    """
    with ledger.understood(*STAGES):
        before = run.troubles.resume(ledger, plan.blocks)
        facts = Facts(plan, before["facts"], run.troubles)
        observed = Written(plan, before["observed"], "observed", len(plan.positions), run)
    water = plan.contents.water
    frozen = freeze(water, facts.known) if facts.known else water  # once: what it takes grows with the dates
    names = list(plan.contents.pixels)
    writer = Writer.of(place, {n: plan.pixels[n] for n in names}, run.lease.held)
    source = Source(frozen.reset_coords()[names], plan, writer, True, run.troubles.heard)
    run.resumed(int(observed.done.sum()), observed.done.size)
    with run.stage("observed", observed.left, "blocks") as advance:
        for rows in groups(len(plan.positions), plan.blocks[0] * plan.blocks[1], wave):
            begin, anew = time.perf_counter(), {*range(*rows)}
            while anew:
                facts.find(rows, ledger)
                records = observed.write(source, rows, wave, ledger, advance)
                anew = run.troubles.start_anew(rows, ledger, run.lease)  # a file of these dates was replaced
                facts.forget(anew)
                observed.forget(anew)
            run.count("observed", records)
            run.pace.add(int(records["pixels"].sum()), threads(), time.perf_counter() - begin)
            run.passed("observed", {"imagery": run.troubles.take_imagery()})
    failed = Counter({plan.positions[row]: pixels for row, pixels in observed.failed.items()})
    of_days: Counter[str] = Counter()
    for position in sorted(failed):
        of_days[str(plan.contents.dates[position])[:10]] += failed[position]
    run.facts["read_failed"] = dict(of_days)
    run.note("observed", tasks=observed.tasks)
    run.note("facts", tasks=facts.tasks, seconds=round(facts.seconds, 3))
    return frozen, facts.known, failed


class Facts:
    """The per-date values that must be computed before pixels can be (pass 1), from the ledger's records or anew."""

    def __init__(self, plan: Plan, records: Sequence[Record], troubles: Troubles) -> None:
        water, self.plan, self.troubles = plan.contents.water, plan, troubles
        self.arrays = [water[n] for n in plan.contents.lazy_rows]
        self.known = {str(a.name): np.zeros(a.shape, a.dtype) for a in self.arrays}
        self.have = np.zeros(water.sizes[TIME], bool)
        self.seconds = 0.0
        for record in records if self.arrays else ():
            if min(record["rows"]) < 0:
                raise ValueError(record["rows"])
            positions = [plan.positions[row] for row in record["rows"]]
            for array in self.arrays:
                self._of(array)[positions] = unpack(record["values"][str(array.name)])
            self.have[positions] = True
            troubles.remember(record.get("unread", ()))
        self._runner: Runner | None = None

    def forget(self, rows: Collection[int]) -> None:
        """Have the values of some rows computed anew."""
        self.have[[self.plan.positions[row] for row in rows]] = False

    @property
    def tasks(self) -> int:
        """Number of tasks run."""
        return self._runner.tasks if self._runner is not None else 0

    def find(self, rows: tuple[int, int], ledger: Ledger) -> None:
        """Compute what is not known of the dates of some rows, and note it in the ledger."""
        todo = [row for row in range(*rows) if not self.have[self.plan.positions[row]]]
        if not todo or not self.arrays:
            return
        begin = time.perf_counter()
        if self._runner is None:
            self._runner = Runner([array.data for array in self.arrays], self.troubles.heard)
        positions = [self.plan.positions[row] for row in todo]
        _compute_dates(self._runner, self.arrays, positions, list(self.known.values()))
        values = {str(a.name): pack(self._of(a)[positions]) for a in self.arrays}
        ledger.record("facts", f"{todo[0]}", {"rows": todo, "values": values, **self.troubles.gather()})
        self.have[positions] = True
        self.seconds += time.perf_counter() - begin

    def _of(self, array: xr.DataArray) -> np.ndarray:
        return _axis_first(self.known[str(array.name)], array)


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


def write_fields(frozen: xr.Dataset, plan: Plan, place: Place, ledger: Ledger, run: Run, wave: int | None) -> None:
    """Pass 3, once per store: pixel variables without time (elevation, slope)."""
    fields = list(plan.contents.fields)
    if not fields or plan.base > 0:
        return
    with ledger.understood("fields"):
        written = Written(plan, ledger.done("fields"), "fields", 1, run)
    still = frozen.reset_coords()[fields].drop_vars(TIME, errors="ignore").expand_dims({TIME: 1})
    with run.stage("fields", written.left, "blocks") as advance:
        writer = Writer.of(place, {n: plan.pixels[n] for n in fields}, run.lease.held)
        source = Source(still, plan, writer, False, run.troubles.heard)
        run.count("fields", written.write(source, (0, 1), wave, ledger, advance))
    run.note("fields", tasks=written.tasks)


class Written:
    """Which blocks of a pass are written, and the writing of the others in waves."""

    def __init__(self, plan: Plan, records: Sequence[Record], stage: str, length: int, run: Run) -> None:
        self.plan, self.stage, self.tasks, self.run = plan, stage, 0, run
        self.failed: Counter[int] = Counter()  #: row to the pixels that could not be read
        self.done = np.zeros((length, *plan.blocks), bool)
        for record in records:
            box = Box(*(tuple(pair) for pair in record["box"]))
            if not all(0 <= i < j <= n for (i, j), n in zip(dataclasses.astuple(box), self.done.shape, strict=True)):
                raise ValueError(box)
            self.done[box.index] = True
            self.failed += Counter({int(row): int(n) for row, n in record.get("failed", {}).items()})
            run.troubles.remember(record.get("unread", ()))

    def forget(self, rows: Collection[int]) -> None:
        """Have the blocks of some rows written anew."""
        self.done[list(rows)] = False
        self.failed = Counter({row: n for row, n in self.failed.items() if row not in rows})

    @property
    def left(self) -> int:
        """Number of blocks to write."""
        return int((~self.done).sum())

    def write(
        self, source: Source, rows: tuple[int, int], wave: int | None, ledger: Ledger, advance: Callable[[int], None]
    ) -> np.ndarray:
        """Write what is missing of some rows; the `RECORD` of every block written."""
        if self.done[slice(*rows)].all():
            return np.empty(0, RECORD)
        records = []
        for box in boxes((rows[1] - rows[0], *self.plan.blocks), width(wave)):
            box = Box((box.rows[0] + rows[0], box.rows[1] + rows[0]), box.y, box.x)
            todo = chosen(self.done, box)
            if todo:
                runner, keys = source.part(box, todo)
                before = runner.tasks
                self.run.lease.check()  # else the pixels of another writer would be written over
                found = [r.ravel() for r in runner.run(keys, advance)]
                failed: Counter[int] = Counter()
                for (row, _, _), record in zip(todo, found, strict=True):
                    failed += Counter({row: int(record["unknown"][0, _READ_FAILED])})
                self.failed += failed
                records += found
                self.tasks += runner.tasks - before
                self.done[box.index] = True
                told = self.run.troubles.gather()
                self.run.lease.check()
                ledger.record(self.stage, box.name, {"box": [box.rows, box.y, box.x], "failed": failed, **told})
        return np.concatenate(records)
