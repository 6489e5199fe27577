"""Lazy arrays that take from several blocks of others: overlapping tiles, rounds among neighbours, groups of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, Layer

from lakecube.chunked import spans
from lakecube.layers import MadeLayer, keys_of


@dataclass(frozen=True, slots=True)
class Tile:
    """One anchored tile along one dim: what it reads and what it gives, in pixels of the array."""

    read: tuple[int, int]
    gives: tuple[int, int]


def tiled(
    function: Callable[..., Any], join: Callable[..., np.ndarray], arrays: Sequence[da.Array],
    rows: Mapping[int, Tile], columns: Mapping[int, Tile], *, dtype: Any, name: str, token: str,
) -> da.Array:  # fmt: skip
    """A lazy array that is defined on anchored, overlapping tiles: each tile is computed once, whatever the chunks.

    Parameters
    ----------
    function : callable
        ``function(pieces, row, column)``: from every array cropped to what a tile reads, and the tile's keys in `rows`
        and `columns`, to what it gives: an array (time, y, x), or whatever `join` takes.
    join : callable
        ``join(parts, rows, columns)``: from a list of (row, column, what was given) in ascending order, and the
        (start, stop) of a chunk, to the values of the chunk.
    arrays : sequence of dask arrays
        Dims (time, y, x), chunked alike along time, or (y, x). The result has the chunks of the first.
    rows, columns : mapping
        The tiles by their key; what they give covers the array.
    """
    first = arrays[0]
    made, joined = f"{name}-tile-{token}", f"{name}-{token}"
    keys = [_Spans(rows, spans(first.chunks[1])), _Spans(columns, spans(first.chunks[2]))]

    def make_tile(key: Any) -> Task:
        _, t, i, j = key
        pieces = List(*(_piece(a, t, rows[i].read, columns[j].read) for a in arrays))
        return Task(key, function, pieces, i, j)

    def make_block(key: Any) -> Task:
        _, t, a, b = key
        hit = product(keys[0].hit(a), keys[1].hit(b))
        parts = List(*(List(i, j, TaskRef((made, t, i, j))) for i, j in hit))
        return Task(key, join, parts, List(*keys[0].spans[a]), List(*keys[1].spans[b]))

    dates = range(first.numblocks[0])
    every_tile = partial(keys_of, made, dates, rows, columns)
    every_block = partial(keys_of, joined, *map(range, first.numblocks))
    layers = {made: MadeLayer((made,), make_tile, every_tile), joined: MadeLayer((joined,), make_block, every_block)}
    graph = _on(layers, {made: {a.name for a in arrays}, joined: {made}}, arrays)
    return da.Array(graph, joined, first.chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


@dataclass(frozen=True)
class _Spans:
    """Tiles along one dim, and the chunks that they give to."""

    tiles: Mapping[int, Tile]
    spans: list[tuple[int, int]]

    def hit(self, chunk: int) -> list[int]:
        """The tiles that give something to a chunk."""
        return [i for i in sorted(self.tiles) if meet(self.tiles[i].gives, self.spans[chunk])]


def _on(layers: Mapping[str, Layer], needs: Mapping[str, set[str]], arrays: Sequence[da.Array]) -> HighLevelGraph:
    """The graph of some layers on top of arrays."""
    below = HighLevelGraph.merge(*(array.dask for array in arrays))
    return HighLevelGraph({**below.layers, **layers}, {**below.dependencies, **needs})


def exchanged(
    begin: Callable[..., Any], share: Callable[[Any], Any], advance: Callable[..., Any], finish: Callable[..., Any],
    array: da.Array, rounds: int, *, dtype: Any, name: str, token: str,
) -> da.Array:  # fmt: skip
    """A lazy array (t, y, x) from blocks (t, …, y, x) that go through rounds together, each seeing its neighbours.

    Parameters
    ----------
    begin : callable
        ``begin(block, rows, columns)``: the state of a block, from its pixels and its spans.
    share : callable
        ``share(state)``: what the up to eight blocks around one get to see of it.
    advance : callable
        ``advance(state, shares)``: the state one round later; it must not change its arguments.
    finish : callable
        ``finish(state)``: the block (t, y, x) of the result.
    """
    made, shared, out = f"{name}-state-{token}", f"{name}-share-{token}", f"{name}-{token}"
    sizes = array.chunks[0], array.chunks[-2], array.chunks[-1]
    spans_y, spans_x = spans(sizes[1]), spans(sizes[2])
    middle = (0,) * (array.ndim - 3)

    def around(a: int, b: int) -> list[tuple[int, int]]:
        near = product(range(a - 1, a + 2), range(b - 1, b + 2))
        inside = [(i, j) for i, j in near if 0 <= i < len(spans_y) and 0 <= j < len(spans_x)]
        return [place for place in inside if place != (a, b)]

    def make(key: Any) -> Task:
        what, k, t, a, b = key
        if what == shared:
            return Task(key, share, TaskRef((made, k, t, a, b)))
        if k == 0:
            return Task(key, begin, TaskRef((array.name, t, *middle, a, b)), List(*spans_y[a]), List(*spans_x[b]))
        others = List(*(TaskRef((shared, k - 1, t, i, j)) for i, j in around(a, b)))
        return Task(key, advance, TaskRef((made, k - 1, t, a, b)), others)

    def make_block(key: Any) -> Task:
        return Task(key, finish, TaskRef((made, rounds, *key[1:])))

    def every() -> Iterator[tuple[Any, ...]]:
        blocks = [range(len(chunks)) for chunks in sizes]
        yield from keys_of(made, range(rounds + 1), *blocks)
        yield from keys_of(shared, range(rounds), *blocks)

    every_block = partial(keys_of, out, *(range(len(chunks)) for chunks in sizes))
    layers = {made: MadeLayer((made, shared), make, every), out: MadeLayer((out,), make_block, every_block)}
    graph = _on(layers, {made: {array.name}, out: {made}}, [array])
    return da.Array(graph, out, sizes, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


def _piece(array: da.Array, t: int, rows: tuple[int, int], columns: tuple[int, int]) -> Task:
    """The task that crops the blocks of one array to a window."""
    y, x = ([(k, span) for k, span in enumerate(spans(sizes))] for sizes in array.chunks[-2:])
    y, x = [v for v in y if meet(v[1], rows)], [v for v in x if meet(v[1], columns)]
    lead = (t,) if array.ndim == 3 else ()
    blocks = List(*(List(*(TaskRef((array.name, *lead, a, b)) for b, _ in x)) for a, _ in y))
    top, left = y[0][1][0], x[0][1][0]
    window = List(rows[0] - top, rows[1] - top, columns[0] - left, columns[1] - left)
    return Task(None, _crop, blocks, window)


def _crop(blocks: list[list[np.ndarray]], window: Sequence[int]) -> np.ndarray:
    top, bottom, left, right = window
    whole = blocks[0][0] if len(blocks) == len(blocks[0]) == 1 else np.block(blocks)
    return np.asarray(whole)[..., top:bottom, left:right]


def meet(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two half-open spans (start, stop) share a pixel."""
    return a[0] < b[1] and b[0] < a[1]


def regrouped(
    share: Callable[..., Any], join: Callable[..., np.ndarray], arrays: Sequence[da.Array],
    groups: Sequence[tuple[Any, int, Sequence[tuple[int, int]]]], *, dtype: Any, name: str, token: str,
) -> da.Array:  # fmt: skip
    """A lazy array (group, time): something is computed once for each block (time, y, x), then joined by groups.

    Parameters
    ----------
    share : callable
        ``share(*blocks)``: of the block of every array.
    join : callable
        ``join(about, parts, dates)``: what a group is about, a list of what `share` returned, and how many dates a
        chunk has, to (members, dates).
    arrays : sequence of dask arrays
        Dims (time, y, x) or (y, x), with the same blocks. The first has time, and the result has its chunks of time.
    groups : sequence of (about, members, blocks)
        Of each chunk of the result: what it is about, how long it is, and the (y, x) indices of its blocks.
    """
    first = arrays[0]
    some, joined = f"{name}-part-{token}", f"{name}-{token}"
    needed = sorted({block for _, _, blocks in groups for block in blocks})

    def make_part(key: Any) -> Task:
        _, t, i, j = key
        return Task(key, share, *(TaskRef((a.name, *(t,) * (a.ndim - 2), i, j)) for a in arrays))

    def make_group(key: Any) -> Task:
        _, k, t = key
        about, _, blocks = groups[k]
        parts = List(*(TaskRef((some, t, i, j)) for i, j in blocks))
        return Task(key, join, about, parts, first.chunks[0][t])

    dates = range(first.numblocks[0])

    def every_part() -> Iterator[tuple[Any, ...]]:
        return ((some, t, i, j) for t in dates for i, j in needed)

    def every_group() -> Iterator[tuple[Any, ...]]:
        return keys_of(joined, range(len(groups)), dates)

    layers = {some: MadeLayer((some,), make_part, every_part), joined: MadeLayer((joined,), make_group, every_group)}
    graph = _on(layers, {some: {a.name for a in arrays}, joined: {some}}, arrays)
    chunks = (tuple(members for _, members, _ in groups), first.chunks[0])
    return da.Array(graph, joined, chunks, dtype=dtype, meta=np.empty((0, 0), dtype))
