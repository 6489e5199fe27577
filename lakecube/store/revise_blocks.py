"""Passes over the blocks (y, x) of a store: tasks read and write through a small handle, small results come back.

What the blocks of a wave gave is kept beside the ledger until the commit, so that a killed pass goes on where it
stopped. Blocks come in raster order, and no more than one wave of their results is held.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef

from lakecube.errors import StoreError
from lakecube.io.traffic import KINDS, TRAFFIC
from lakecube.store.lease import Held
from lakecube.store.ledger import REVISING, Ledger
from lakecube.store.place import Place
from lakecube.store.report import Run
from lakecube.store.waves import compute_keys, width
from lakecube.store.write_tasks import Writer

Results = dict[str, np.ndarray]
#: Dates of a block that are in memory at once.
DATES_AT_ONCE = 8
#: Bytes of the results of one wave, which the client holds.
_WAVE_BYTES = 64_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One chunk of pixels: its place among the blocks, and its half-open ranges of rows and columns."""

    place: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """The block as an index of (y, x)."""
        return slice(*self.rows), slice(*self.columns)

    def widened(self, halo: int, size: tuple[int, int]) -> tuple[slice, slice]:
        """The block and up to `halo` pixels around it, within an image of `size`."""
        rows, columns = (
            slice(max(start - halo, 0), min(stop + halo, most))
            for (start, stop), most in zip((self.rows, self.columns), size, strict=True)
        )
        return rows, columns

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


def cut(shape: tuple[int, int], chunks: tuple[int, int]) -> list[Block]:
    """The blocks of an image in raster order."""
    spans = [
        [(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, chunks, strict=True)
    ]
    return [Block((i, j), y, x) for i, y in enumerate(spans[0]) for j, x in enumerate(spans[1])]


def read_rows(arrays: Writer, rows: Sequence[int], block: Block) -> np.ndarray:
    """`water_mask` of some rows of a block; neighbouring rows in one call, which costs as much as one row by itself."""
    mask = arrays.open("water_mask")
    if rows[-1] - rows[0] == len(rows) - 1 and all(b - a == 1 for a, b in itertools.pairwise(rows)):
        return np.asarray(mask[(slice(rows[0], rows[-1] + 1), *block.window)])
    return np.stack([np.asarray(mask[(row, *block.window)]) for row in rows])


class BlockPasses:
    """Runs functions over all blocks of a revision, a wave at a time."""

    def __init__(self, blocks: list[Block], ledger: Ledger, run: Run, wave: int | None) -> None:
        self.blocks, self.ledger, self.run, self.wave = blocks, ledger, run, wave

    def over(
        self, stage: str, function: Callable[[Any, Any], Results], common: Any, units: Sequence[Any] | None = None,
        size: int = 1,
    ) -> Iterator[tuple[Any, Results]]:  # fmt: skip
        """Results of ``function(block, common)``, block by block in raster order; or of other `units` with a `place`.

        `function` reads and writes the store itself and returns a few small arrays, of about `size` bytes if that
        grows with the number of dates. `common` travels once per wave.
        """
        units = self.blocks if units is None else units
        with self.run.stage(stage, len(units), "blocks") as advance:
            wave = max(1, min(width(self.wave), _WAVE_BYTES // size))
            for start in range(0, len(units), wave):
                some = units[start : start + wave]
                key = f"{self.ledger.place}/{stage}/{start}-{start + len(some)}.npz"
                results = self._known(key, len(some))
                if results is None:
                    self.run.lease.check()
                    results, traffic = _compute(stage, function, some, common, self.run.lease.held, advance)
                    self.run.passed(stage, traffic)
                    self.ledger.files.write(key, _packed(results))
                else:
                    advance(len(some))
                yield from zip(some, results, strict=True)
        self.run.note(stage, tasks=len(units))

    def each(self, stage: str, function: Callable[[Any, Any], Results], common: Any, units: Any = None) -> None:
        """As `over`, for a function whose work is what it writes."""
        for _ in self.over(stage, function, common, units):
            pass

    def _known(self, key: str, length: int) -> list[Results] | None:
        try:
            stored = _unpacked(self.ledger.files.read(key))
        except (FileNotFoundError, *_TORN):  # a power cut may have taken what was not waited for
            return None
        results: list[Results] = [{} for _ in range(length)]
        for name, values in stored.items():
            number, _, what = name.partition("/")
            results[int(number)][what] = values
        return results


class LostPartError(StoreError):
    """What an earlier pass of a revision left beside the ledger is not there any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scratch:
    """Arrays that travel from pass to pass beside the ledger: too large for the client, gone at the commit."""

    store: Place

    def save(self, stage: str, place: tuple[int, ...], **arrays: np.ndarray) -> None:
        """Keep what a task of `stage` found at `place`."""
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
        self.store.files.write(self._key(stage, place), out.getvalue())

    def load(self, stage: str, place: tuple[int, ...]) -> Results:
        """The inverse of `save`; LostPartError if it is gone."""
        key = self._key(stage, place)
        try:
            return _unpacked(self.store.files.read(key))
        except (FileNotFoundError, *_TORN) as error:
            raise LostPartError(
                f"{self.store.files.where(key)}, a part of the revision that was under way, is gone or torn. What is "
                "visible is as it was: make the same call again, the revision is then made anew"
            ) from error

    def _key(self, stage: str, place: tuple[int, ...]) -> str:
        return f"{REVISING}/{stage}/parts/{'-'.join(map(str, place))}.npz"


#: What NumPy raises for a file that is not whole.
_TORN = (EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def _unpacked(data: bytes) -> Results:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return dict(stored)


def _packed(results: list[Results]) -> bytes:
    out = io.BytesIO()
    named = {f"{number}/{name}": v for number, result in enumerate(results) for name, v in result.items()}
    np.savez(out, **named)  # type: ignore[arg-type]
    return out.getvalue()


def _compute(
    stage: str,
    function: Callable[[Any, Any], Results],
    units: Sequence[Any],
    common: Any,
    held: Held,
    advance: Any,
) -> tuple[list[Results], dict[str, int]]:
    """One wave on the cluster or on threads, and the bytes that passed.

    Keys are new every time, so that no scheduler answers from memory.
    """
    name = f"{stage}-{uuid.uuid4().hex}"
    shared = f"{name}-common"
    graph: dict[Any, Any] = {shared: DataNode(shared, common)}
    keys: list[tuple[Any, ...]] = [(name, *unit.place) for unit in units]
    graph |= {
        key: Task(key, _measured, function, DataNode(None, unit), TaskRef(shared), held)
        for key, unit in zip(keys, units, strict=True)
    }
    found = compute_keys(graph, keys, advance)
    return [result for result, _ in found], {kind: sum(traffic[kind] for _, traffic in found) for kind in KINDS}


def _measured(
    function: Callable[[Any, Any], Results], unit: Any, common: Any, held: Held
) -> tuple[Results, dict[str, int]]:
    """What a function gives, once what it wrote is on disk, and the bytes of a store that passed meanwhile."""
    held.check()
    result = function(unit, common)
    held.files.sync()
    return result, TRAFFIC.taken(held.files.where())
