"""Passes over the blocks (y, x) of a store: tasks read and write through a small handle, small results come back.

What the blocks of a wave gave is kept beside the ledger until the commit, so that a killed pass goes on where it
stopped. Blocks come in raster order, and no more than one wave of their results is held.
"""

from __future__ import annotations

import dataclasses
import io
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef

from lakecube.store.ledger import PENDING, Ledger
from lakecube.store.report import Run
from lakecube.store.waves import compute_keys

Results = dict[str, np.ndarray]


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


class BlockPasses:
    """Runs functions over all blocks of a revision, a wave at a time."""

    def __init__(self, blocks: list[Block], ledger: Ledger, run: Run, wave: int) -> None:
        self.blocks, self.ledger, self.run, self.wave = blocks, ledger, run, wave

    def over(
        self, stage: str, function: Callable[[Block, Any], Results], common: Any, blocks: list[Block] | None = None
    ) -> Iterator[tuple[Block, Results]]:
        """Results of ``function(block, common)``, block by block in raster order.

        `function` reads and writes the store itself and returns a few small arrays. `common` travels once per wave.
        """
        blocks = self.blocks if blocks is None else blocks
        with self.run.stage(stage, len(blocks), "blocks") as advance:
            for start in range(0, len(blocks), self.wave):
                some = blocks[start : start + self.wave]
                key = f"{PENDING}/{stage}/{start}-{start + len(some)}.npz"
                results = self._known(key, len(some))
                if results is None:
                    results = _compute(stage, function, some, common, advance)
                    self.ledger.files.write(key, _packed(results))
                else:
                    advance(len(some))
                yield from zip(some, results, strict=True)

    def each(self, stage: str, function: Callable[[Block, Any], Results], common: Any) -> None:
        """As `over`, for a function whose work is what it writes."""
        for _ in self.over(stage, function, common):
            pass

    def _known(self, key: str, length: int) -> list[Results] | None:
        try:
            data = self.ledger.files.read(key)
        except FileNotFoundError:
            return None
        results: list[Results] = [{} for _ in range(length)]
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            for name in stored.files:
                number, _, what = name.partition("/")
                results[int(number)][what] = stored[name]
        return results


def _packed(results: list[Results]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **{f"{number}/{name}": v for number, result in enumerate(results) for name, v in result.items()})
    return out.getvalue()


def _compute(
    stage: str, function: Callable[[Block, Any], Results], blocks: list[Block], common: Any, advance: Any
) -> list[Results]:
    """One wave on the cluster or on threads; keys are new every time, so that no scheduler answers from memory."""
    name = f"{stage}-{uuid.uuid4().hex}"
    shared = f"{name}-common"
    graph: dict[Any, Any] = {shared: DataNode(shared, common)}
    keys: list[tuple[Any, ...]] = [(name, *block.place) for block in blocks]
    graph |= {
        key: Task(key, function, DataNode(None, block), TaskRef(shared))
        for key, block in zip(keys, blocks, strict=True)
    }
    return compute_keys(graph, keys, advance)
