"""Bounded waves of blocks: which blocks a wave holds, and how a small part of a large lazy graph is run.

A graph of Dask layers is symbolic until it is asked for its tasks. `Runner` asks each layer for the tasks
of one wave only, so time and memory of a wave depend on the wave, not on the area or the number of dates.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import Task, convert_legacy_graph, fuse_linear_task_spec
from dask.array.optimization import optimize_blockwise
from dask.base import get_scheduler
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph

from lakecube.io.messages import ForRun, Heard
from lakecube.store.clusters import active_client, cluster_threads, compute_on
from lakecube.store.disk import c_library

#: Least number of block·dates in a wave, and how many of them for each thread.
WAVE, WAVE_OF_THREAD = 256, 8
#: Block·dates that are worked on together, from their thresholds to their pixels, at least.
GROUP = 8
#: The same, per thread: few on one machine, where the second pass finds the tiles that the first one decoded; more on
#: a cluster, where it most often runs in another process, and where workers wait for the last one at the end of each.
ROUNDS, ROUNDS_OF_WORKERS = 4, 16


@dataclass(frozen=True, slots=True)
class Box:
    """A box of blocks: half-open ranges of rows, block rows and block columns."""

    rows: tuple[int, int]
    y: tuple[int, int]
    x: tuple[int, int]

    @property
    def name(self) -> str:
        """Name of the box in the ledger."""
        return "_".join(f"{lo}-{hi}" for lo, hi in (self.rows, self.y, self.x))

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """The box as an index of an array of blocks."""
        return slice(*self.rows), slice(*self.y), slice(*self.x)


def boxes(shape: tuple[int, int, int], wave: int) -> Iterator[Box]:
    """Cut (rows, block rows, block columns) into boxes of at most `wave` blocks, in order: whole dates if they fit."""
    rows, ny, nx = shape
    step_x = min(nx, wave)
    step_y = max(1, min(ny, wave // nx)) if step_x == nx else 1
    step_t = max(1, wave // (ny * nx)) if step_y == ny and step_x == nx else 1
    for t in range(0, rows, step_t):
        for y in range(0, ny, step_y):
            for x in range(0, nx, step_x):
                yield Box((t, min(t + step_t, rows)), (y, min(y + step_y, ny)), (x, min(x + step_x, nx)))


def width(wave: int | None) -> int:
    """Blocks to send out at once: as many as asked for, else by the threads that there are by now."""
    return wave or max(WAVE, WAVE_OF_THREAD * threads())


def groups(rows: int, blocks: int, wave: int | None) -> Iterator[tuple[int, int]]:
    """Half-open ranges of rows of so many blocks that are worked on together.

    Each is for the threads that there are by then: workers that come late get their share of what is left.
    """
    start, rounds = 0, ROUNDS if active_client() is None else ROUNDS_OF_WORKERS
    while start < rows:
        stop = min(rows, start + max(1, min(width(wave), max(GROUP, rounds * threads())) // blocks))
        yield start, stop
        start = stop


class Runner:
    """Runs chosen blocks of lazy arrays, a wave at a time, on the active Dask cluster or on threads.

    `heard`: of the run that is told what the tasks meet.
    """

    def __init__(self, arrays: Sequence[da.Array], heard: Heard | None = None) -> None:
        self.heard = heard
        self.names = [array.name for array in arrays]
        merged = HighLevelGraph.merge(*(array.dask for array in arrays))
        outputs = [(array.name,) + (0,) * array.ndim for array in arrays]
        self.graph: HighLevelGraph = optimize_blockwise(merged, keys=outputs)
        self.order = list(reversed(self.graph._toposort_layers()))
        self.simple = not any(layer.has_legacy_tasks for layer in self.graph.layers.values())
        self.tasks = 0

    def run(self, keys: Sequence[tuple[Any, ...]], done: Callable[[int], None] | None = None) -> list[Any]:
        """Values of `keys`; `done(1)` is called as each of them is ready."""
        graph = self.part(set(keys))
        self.tasks += len(graph)
        if self.heard is not None:
            graph, keys = _for_run(graph, keys, self.heard)
        return compute_keys(graph, keys, done)

    def part(self, keys: set[tuple[Any, ...]]) -> dict[Any, Any]:
        """The tasks that `keys` need, and no others, with chains of them fused."""
        tasks = self._part(keys) if self.simple else None
        if tasks is None:
            tasks = dict(self.graph.cull(keys))
        tasks = convert_legacy_graph(tasks)
        if dask.config.get("optimization.fuse.active") is not False:
            tasks = fuse_linear_task_spec(tasks, keys=keys)
        return tasks

    def _part(self, keys: set[tuple[Any, ...]]) -> dict[Any, Any] | None:
        """Cull layer by layer; None where a task cannot be told to be of a layer by its name.

        `HighLevelGraph.cull` lists all keys of every layer, so each wave would cost time by the whole request.
        """
        needed: dict[str, set[Any]] = {}
        _sort_in(needed, keys)
        tasks: dict[Any, Any] = {}
        for name in self.order:
            wanted = needed.pop(name, None)
            if wanted is None:
                continue
            layer, dependencies = self.graph.layers[name].cull(wanted, set())
            tasks.update(layer)
            for keys_of_task in dependencies.values():
                _sort_in(needed, {key for key in keys_of_task if key not in tasks})
        return None if needed else tasks


def _for_run(
    graph: dict[Any, Any], keys: Sequence[tuple[Any, ...]], heard: Heard
) -> tuple[dict[Any, Any], list[tuple[Any, ...]]]:
    """The graph with tasks that tell a run what they meet, under keys that no other graph has.

    Under equal keys a cluster does the work of two runs once, and tells one of them; or answers from memory.
    """
    token, refused = uuid.uuid4().hex, frozenset(heard.refused)
    new: dict[Any, Any] = {k: (f"{k[0]}-{token}", *k[1:]) if isinstance(k, tuple) else f"{k}-{token}" for k in graph}
    renamed = {new[key]: task.substitute(new, key=new[key]) for key, task in graph.items()}
    for key, task in renamed.items():
        if type(task) is Task:
            renamed[key] = Task(key, ForRun(task.func, heard.run, refused), *task.args,
                                _data_producer=task.data_producer, **task.kwargs)  # fmt: skip
    return renamed, [new[key] for key in keys]


def compute_keys(
    graph: dict[Any, Any], keys: Sequence[tuple[Any, ...]], done: Callable[[int], None] | None = None
) -> list[Any]:
    """Values of `keys` of a graph, on the active cluster or on threads; `done` as of `Runner.run`."""
    client = active_client()
    if client is not None:
        return compute_on(client, graph, keys, done)
    get = get_scheduler(cls=da.Array)
    with _Progress(set(keys), done) if done is not None else nullcontext():
        values = list(get(graph, list(keys)))
    _give_back()
    return values


def _give_back() -> None:
    """Hand freed memory back to the system, where its C library can: arrays of many sizes leave gaps between them.

    The workers of a cluster are told to by their nanny.
    """
    trim = getattr(c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _sort_in(needed: dict[str, set[Any]], keys: set[Any]) -> None:
    for key in keys:
        needed.setdefault(key[0] if isinstance(key, tuple) else key, set()).add(key)


class _Progress(Callback):
    """Tells how many of the wanted keys are ready."""

    def __init__(self, keys: set[Any], done: Callable[[int], None]) -> None:
        def posttask(key: Any, value: Any, graph: Any, state: Any, worker: Any) -> None:
            if key in keys:
                done(1)

        super().__init__(posttask=posttask)


def threads() -> int:
    """How many tasks may run at once: of the active cluster, or of this machine."""
    client = active_client()
    if client is not None:
        return max(1, cluster_threads(client))
    return threads_here()


def threads_here() -> int:
    """How many tasks may run at once in this process, where there is no cluster."""
    from dask.system import CPU_COUNT

    return max(1, int(dask.config.get("num_workers", 0) or CPU_COUNT))


def chosen(done: np.ndarray, box: Box) -> list[tuple[int, int, int]]:
    """Blocks of `box` that are not done, in order."""
    t, y, x = np.nonzero(~done[box.index])
    return [(int(a) + box.rows[0], int(b) + box.y[0], int(c) + box.x[0]) for a, b, c in zip(t, y, x, strict=True)]
