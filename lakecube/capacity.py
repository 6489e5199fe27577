"""What a run may hold and take: a model of memory, what this machine or cluster has, and what is doubted or refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import pyproj

from lakecube.errors import InvalidInputError
from lakecube.io.lazy import BlockSource
from lakecube.io.raw_cache import RAW
from lakecube.io.records import Period, SourceGrid
from lakecube.store.clusters import active_client, cluster_workers
from lakecube.store.waves import threads_here

#: Python with everything imported and compiled.
_PROCESS = 380e6
#: Bytes of a pixel while a block is judged, beside its bands, and while a revision reads it.
_JUDGED, _REVISED = 40, 70
#: Rows of a composite that are in memory with all their dates.
_STRIP = 256
#: What is refused: bytes to read, and seconds.
_MOST_BYTES, _MOST_SECONDS = 1e15, 10 * 365 * 86400.0


@dataclass(frozen=True)
class Machine:
    """Where tasks run: how many at once, how many of them in one process, bytes of memory of that (0: unknown).

    `cluster`: these are its workers; `waiting`: there is a cluster, but it has none yet, and this is this machine.
    """

    threads: int
    per_process: int
    memory: int
    cluster: bool = False
    waiting: bool = False


def machine() -> Machine:
    """The active cluster, by its smallest worker, or this machine; ClusterError if the scheduler does not answer."""
    client = active_client()
    workers = cluster_workers(client) if client is not None else []
    if workers:
        most = max(w["nthreads"] for w in workers)
        return Machine(sum(w["nthreads"] for w in workers), most, min(w["memory_limit"] for w in workers), True)
    here = threads_here()
    return Machine(here, here, memory_here(), waiting=client is not None)


def memory_here() -> int:
    """Bytes of memory of this machine; 0 where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


@dataclass(frozen=True)
class Load:
    """What decides the memory of one process: pixels of a block and of its row, bands, bytes to read, tasks at once."""

    pixels: int
    columns: int
    bands: int
    raw: int
    tasks: int
    dates: int = 1

    @classmethod
    def of(cls, size: tuple[int, int], source: BlockSource | None, bands: int, raw: int | None, tasks: int) -> Load:
        """Of blocks of `size` that are stored, and those that are read."""
        read = source.chunks if source is not None else size
        rows, columns = (max(a, min(b, 4 * a)) for a, b in zip(size, read, strict=True))
        periods = [date for date in source.dates if isinstance(date, Period)] if source is not None else []
        most = max((len(period.dates) for period in periods), default=1)
        return cls(rows * columns, columns, bands, raw or 0, tasks, most)

    def memory(self, tasks: int | None = None) -> int:
        """Bytes that a process of so many tasks at a time holds at most."""
        tasks = self.tasks if tasks is None else tasks
        task = self.pixels * (self.bands * 6 + _JUDGED + _REVISED)
        task += min(_STRIP * self.columns, self.pixels) * self.bands * 6 * (self.dates - 1)
        return round(_PROCESS + min(RAW.capacity, self.raw) + tasks * task)


def refuse(load: Load, where: Machine, read: int | None, seconds: float, size: tuple[int, int]) -> None:
    """Raise InvalidInputError for what cannot be meant, or cannot run here, with what can."""
    least = load.memory(1)
    if where.memory and least > where.memory:
        share = (where.memory / 2 - _PROCESS) / max(least - _PROCESS, 1)
        side = max(64, int(min(size) * max(share, 0.0) ** 0.5) // 64 * 64)
        raise InvalidInputError(
            f"one block of {size[0]} x {size[1]} px takes about {in_bytes(least)}, and "
            f"{'a worker' if where.cluster else 'this machine'} has {in_bytes(where.memory)}: give open() and the "
            f"store chunks={side}"
        )
    if read is not None and read > _MOST_BYTES:
        raise InvalidInputError(
            f"about {in_bytes(read)} would be read, {in_time(seconds)} here: cut the area (bbox=) or the dates "
            "(datetime=), skip cloudy scenes (query=), or store one region after the other"
        )
    if seconds > _MOST_SECONDS:
        raise InvalidInputError(
            f"this would take about {in_time(seconds)} with {where.threads} tasks at a time: cut the area (bbox=) or "
            f"the dates (datetime=), give a coarser resolution=, or {_more(where)}, close to the data"
        )


def doubts(
    shape: tuple[int, int], source: BlockSource | None, size: tuple[int, int], load: Load, where: Machine,
    read: int | None, seconds: float,
) -> list[str]:  # fmt: skip
    """What looks wrong about a request, each with what to do."""
    out = []
    if where.waiting:
        out.append(
            f"the cluster has no workers yet, so memory and time are those of {where.threads} tasks at a time on this "
            "machine: start workers, then ask again"
        )
    if min(size) < 256 and min(shape) >= 256:
        out.append(f"chunks of {size[0]} x {size[1]} px make many small tasks: use chunks=1024")
    if where.memory and load.memory() > 0.8 * where.memory:
        fits = next((n for n in range(load.tasks - 1, 0, -1) if load.memory(n) <= 0.8 * where.memory), 0)
        out.append(
            f"{in_bytes(load.memory())} of memory of {in_bytes(where.memory)}: use smaller chunks or fewer workers"
            + (f" ({fits} fit)" if fits else "")
        )
    if source is not None:
        out += _doubts_about_grid(source)
        if source.chunks != size and min(shape) > min(*size, *source.chunks):
            out.append(
                f"read in chunks of {source.chunks}, stored in {size}: give open() and the store the same chunks"
            )
    if read is not None and read > 2e12:
        out.append(
            f"about {in_bytes(read)} to read: cut the area (bbox=), the dates (datetime=), or skip cloudy scenes "
            "(query=)"
        )
    if seconds > 3 * 86400:
        place = "cluster" if where.cluster else "machine"
        out.append(f"about {in_time(seconds)} on this {place}: {_more(where)}, close to the data")
    return out


def _more(where: Machine) -> str:
    return "start more workers" if where.cluster else "use a Dask cluster (an active distributed.Client)"


def _doubts_about_grid(source: BlockSource) -> list[str]:
    grid = source.settings.grid
    out = []
    grids = {b.grid for r in source.items for b in r.bands.values() if b.grid}
    finest = min((abs(g.transform[0]) for g in grids if g.crs == grid.crs), default=None)
    if finest and abs(grid.transform[0]) < 0.45 * finest:
        out.append(
            f"pixels of {abs(grid.transform[0]):g} from scenes of {finest:g} show nothing new: leave out resolution="
        )
    covered = max((share_under(grid, g)[0] for g in grids), default=1.0)
    if covered < 0.2:
        out.append(f"no scene covers more than {covered:.0%} of the grid: is the bbox much larger than the scenes?")
    return out


@lru_cache(maxsize=1024)
def share_under(grid: SourceGrid, target: SourceGrid) -> tuple[float, float]:
    """Share and number of a source's pixels that lie under the cube."""
    a, _, c, _, e, f = target.transform
    rows, columns = target.shape
    corners = sorted((c, c + a * columns)), sorted((f, f + e * rows))
    box = (corners[0][0], corners[1][0], corners[0][1], corners[1][1])
    if grid.crs != target.crs:
        box = pyproj.Transformer.from_crs(target.crs, grid.crs, always_xy=True).transform_bounds(*box)
    a, _, c, _, e, f = grid.transform
    rows, columns = grid.shape
    across = max(0.0, min(box[2], max(c, c + a * columns)) - max(box[0], min(c, c + a * columns))) / abs(a)
    down = max(0.0, min(box[3], max(f, f + e * rows)) - max(box[1], min(f, f + e * rows))) / abs(e)
    return across * down / (rows * columns), across * down


def in_bytes(count: float | None) -> str:
    """A number of bytes for people."""
    value, units = float(count or 0), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def in_time(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days" if seconds < 2 * 365 * 86400 else f"{seconds / 86400 / 365:.0f} years"
