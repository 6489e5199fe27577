"""The one door to Dask's chunked operations: typed blocks, halos, graph cuts, and the registry of laws.

Every public array function declares its *law*, the promise about chunking that the property test checks:

exact
    bitwise the same for every chunking, worker count and task order;
tile-defined
    defined on anchored tiles with a stated margin, hence bitwise given its tiles;
sum
    floating-point sums, equal to a relative 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal, TypeVar

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode, List, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, Layer
from dask.layers import ArrayBlockwiseDep

from lakecube.errors import InvalidInputError
from lakecube.georeference import lattice_index, transform_numbers
from lakecube.layers import MadeLayer, PerChunk

Grade = Literal["exact", "tile-defined", "sum"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Law:
    """The promise of one public array function: its grade and its reach in pixels."""

    name: str
    function: Callable[..., Any]
    grade: Grade
    reach: int


#: Public array functions by qualified name; the property test walks this registry.
LAWS: dict[str, Law] = {}


def law(grade: Grade, *, reach: int = 0) -> Callable[[F], F]:
    """Register a public array function under its law (grade) and its reach in pixels."""

    def register(function: F) -> F:
        name = f"{function.__module__}.{function.__qualname__}"
        LAWS[name] = Law(name, function, grade, reach)
        return function

    return register


def blockwise(
    function: Callable[..., Any],
    out_index: str,
    *pairs: Any,
    dtype: Any,
    name: str,
    token: Any = None,
    **kwargs: Any,
) -> da.Array:
    """`dask.array.blockwise` with an honest dtype, a typed meta and no silent rechunk.

    Parameters
    ----------
    function : callable
        Called with one NumPy block per array (contracted axes as nested lists of blocks).
    out_index : str
        Index letters of the output, one per dim.
    *pairs
        Arrays and their index letters, alternating.
    dtype : dtype
        Of the output blocks.
    name : str
        Prefix of the graph's key names; the rest is a token of the inputs.
    """
    return da.blockwise(
        function,
        out_index,
        *pairs,
        dtype=dtype,
        meta=np.empty((0,) * len(out_index), dtype),
        align_arrays=False,
        concatenate=kwargs.pop("concatenate", None),
        token=name if token is None else None,
        name=None if token is None else f"{name}-{token}",
        **kwargs,
    )


def with_halo(array: da.Array, reach: int) -> da.Array:
    """Extend every block of the last two dims (y, x) by `reach` pixels of its neighbours.

    Nothing is added at the true edge of the image, so that a kernel's own edge rule acts there and only there.

    Raises
    ------
    InvalidInputError
        If a chunk (but the only one) is smaller than the reach: Dask would rechunk behind our back.
    """
    if reach == 0:
        return array
    check_chunks(array, reach)
    depth = dict.fromkeys(range(array.ndim), 0)
    depth |= {axis: reach for axis in (array.ndim - 2, array.ndim - 1) if array.numblocks[axis] > 1}
    return da.overlap.overlap(array, depth=depth, boundary="none", allow_rechunk=False)


def trim_halo(array: da.Array, reach: int) -> da.Array:
    """Undo `with_halo`."""
    if reach == 0:
        return array
    depth = dict.fromkeys(range(array.ndim), 0) | {array.ndim - 2: reach, array.ndim - 1: reach}
    return da.overlap.trim_internal(array, depth, boundary="none")


def check_chunks(array: da.Array, reach: int) -> None:
    """Raise InvalidInputError if a chunk in y or x is smaller than `reach`."""
    for axis in (-2, -1):
        chunks = array.chunks[axis]
        if len(chunks) > 1 and min(chunks) < reach:
            dim = "yx"[axis]
            raise InvalidInputError(
                f"a chunk of {min(chunks)} px along {dim} is smaller than the reach of {reach} px; "
                f"rechunk first, for example .chunk({{'{dim}': {max(reach, max(chunks))}}})"
            )


def enough_chunks(dataset: xr.Dataset, reach: int) -> xr.Dataset:
    """Merge chunks along y and x so that none is smaller than `reach` (the data do not change)."""
    merged = {}
    for dim, sizes in dataset.chunksizes.items():
        if dim in ("y", "x") and len(sizes) > 1 and min(sizes) < reach:
            merged[dim] = _merge_small(sizes, reach)
    return dataset.chunk(merged) if merged else dataset


def alike(dataset: xr.Dataset, dims: tuple[str, ...], reach: int) -> xr.Dataset:
    """All variables with the same dims, on Dask, with equal chunks of which none along y and x is smaller than `reach`.

    Raises
    ------
    InvalidInputError
        If a variable has other dims than these.
    """
    for name, variable in dataset.data_vars.items():
        if set(variable.dims) - set(dims):
            raise InvalidInputError(f"{name} has dims {variable.dims}; {dims} are needed")
    lengths = {dim: dataset.sizes[dim] for dim in dims}
    variables = {}
    for name in dataset.data_vars:
        array = dataset.variables[name].set_dims(lengths).transpose(*dims)
        variables[name] = array if isinstance(array.data, da.Array) else array.chunk(dict.fromkeys(dims[:-2], 1))
    return enough_chunks(xr.Dataset(variables, coords=dataset.coords).unify_chunks(), reach)


def windowed(
    function: Callable[..., Any], arrays: Sequence[da.Array], indices: Sequence[str], reach: int, *, dtype: Any,
    name: str, **kwargs: Any,
) -> da.Array:  # fmt: skip
    """`function` on each block (t, y, x) with its halo of `reach` pixels.

    It is called with the place of the first pixel (row, column; the halo is clipped at the edge of the image), the
    blocks with their halo and the keywords; of what it returns, an array or a mapping of arrays, the halo is cropped.
    """
    sizes = arrays[0].chunks[-2:]
    pairs = [v for a, index in zip(arrays, indices, strict=True) for v in (with_halo(a, reach), index)]
    return blockwise(
        _windowed, "tyx", *span_pairs(arrays[0]), *pairs, dtype=dtype, name=name, concatenate=True,
        token=tokenize([a.name for a in arrays], reach, kwargs), adjust_chunks={"y": sizes[0], "x": sizes[1]},
        inner=function, reach=reach, **kwargs,
    )  # fmt: skip


def _windowed(
    rows: tuple[int, int], columns: tuple[int, int], *blocks: np.ndarray, inner: Callable[..., Any], reach: int,
    **kwargs: Any,
) -> Any:  # fmt: skip
    first = max(rows[0] - reach, 0), max(columns[0] - reach, 0)
    inside = tuple(slice(a - at, b - at) for (a, b), at in zip((rows, columns), first, strict=True))
    found = inner(first, *blocks, **kwargs)
    if isinstance(found, Mapping):
        return {name: np.ascontiguousarray(values[:, *inside]) for name, values in found.items()}
    return np.ascontiguousarray(found[:, *inside])


def _merge_small(sizes: tuple[int, ...], least: int) -> tuple[int, ...]:
    out: list[int] = []
    for size in sizes:
        if out and out[-1] < least:
            out[-1] += size
        else:
            out.append(size)
    if len(out) > 1 and out[-1] < least:
        last = out.pop()
        out[-1] += last
    return tuple(out)


def field(blocks: da.Array, name: str, dtype: Any = None) -> da.Array:
    """One field of a Dask array of records, or of one whose blocks are mappings of arrays (then `dtype` is needed)."""
    dtype = np.dtype(blocks.dtype[name] if dtype is None else dtype)
    return da.map_blocks(_field, blocks, name, dtype=dtype, meta=np.empty((0,) * blocks.ndim, dtype))


def _field(block: Any, name: str) -> np.ndarray:
    return np.ascontiguousarray(block[name])


def freeze(dataset: xr.Dataset, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Cut the graph of a lazy Dataset at some of its variables: put known values in their place.

    The returned Dataset holds the same numbers, but whatever depended on those variables now starts
    from the values instead of computing them again. This is how the passes of `to_zarr` are kept apart.

    Parameters
    ----------
    dataset : xr.Dataset
    values : mapping
        Variable name to its computed values, of the variable's shape and dtype. A block is cut out of them when its
        task is made, not before: values may be filled in as they become known, ahead of the tasks that need them.
    """
    layers = {}
    for name, value in values.items():
        array = dataset[name].data
        if isinstance(array, da.Array):
            layers[array.name] = _known_layer(array, np.asarray(value))
    variables = {name: var for name, var in dataset.variables.items() if isinstance(var.data, da.Array)}
    cut = {name: (var.dims, _cut(var.data, layers), var.attrs, var.encoding) for name, var in variables.items()}
    return dataset.assign({n: v for n, v in cut.items() if n in dataset.data_vars}).assign_coords(
        {n: v for n, v in cut.items() if n in dataset.coords}
    )


def _known_layer(array: da.Array, value: np.ndarray) -> Layer:
    if value.shape != array.shape or value.dtype != array.dtype:
        raise InvalidInputError(
            f"cannot freeze {array.name}: got {value.dtype}{value.shape}, need {array.dtype}{array.shape}"
        )
    ends = [np.cumsum((0, *sizes)) for sizes in array.chunks]

    def make(key: Any) -> DataNode:
        place = tuple(slice(stops[i], stops[i + 1]) for stops, i in zip(ends, key[1:], strict=True))
        return DataNode(key, np.array(value[place]))

    return MadeLayer((array.name,), make, partial(_keys, array.name, *map(range, array.numblocks)))


def _cut(array: da.Array, known: Mapping[str, Layer]) -> da.Array:
    graph = array.dask
    hit = known.keys() & graph.layers.keys()
    if not hit:
        return array
    layers = {**graph.layers, **{name: known[name] for name in hit}}
    dependencies = {**graph.dependencies, **{name: set() for name in hit}}
    needed, stack = set(), [array.name]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(dependencies[name])
    graph = HighLevelGraph({n: layers[n] for n in needed}, {n: dependencies[n] for n in needed})
    return da.Array(graph, array.name, array.chunks, meta=array._meta)


def anchor_of(dataset: xr.Dataset | xr.DataArray) -> tuple[int, int]:
    """Absolute (row, column) of the upper left pixel on the lattice of its CRS, resolution and phase.

    Rows count southwards from y = 0, columns eastwards from x = 0, so that two requests on one lattice agree.
    """
    numbers = transform_numbers(dataset.coords)
    down, across = (numbers[5], numbers[1]) if numbers else (None, None)
    return lattice_index(dataset["y"].values, down), lattice_index(dataset["x"].values, across)


def spans(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """(start, stop) of each chunk of one dim."""
    ends = np.cumsum(sizes)
    return [(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)]


def per_chunk(sizes: tuple[int, ...], values: list[Any], token: str | None = None) -> ArrayBlockwiseDep:
    """An argument of `blockwise` that hands chunk i of one dim ``values[i]``; each task carries only its own.

    `token` stands for all values where hashing them takes long.
    """
    return PerChunk(sizes, values, tokenize(sizes, values if token is None else token))


def span_pairs(array: da.Array) -> tuple[ArrayBlockwiseDep, str, ArrayBlockwiseDep, str]:
    """Arguments of `blockwise` that hand each block (y, x) the (start, stop) of its rows and of its columns."""
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in array.chunks[-2:])
    return rows, "y", columns, "x"


@dataclass(frozen=True, slots=True)
class Tile:
    """One anchored tile along one dim: what it reads and what it gives, in pixels of the array."""

    read: tuple[int, int]
    gives: tuple[int, int]


def tiles(
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
    every_tile = partial(_keys, made, dates, rows, columns)
    every_block = partial(_keys, joined, *map(range, first.numblocks))
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
        return [i for i in sorted(self.tiles) if _meet(self.tiles[i].gives, self.spans[chunk])]


def _keys(name: str, *members: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    return product((name,), *members)


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
        yield from _keys(made, range(rounds + 1), *blocks)
        yield from _keys(shared, range(rounds), *blocks)

    every_block = partial(_keys, out, *(range(len(chunks)) for chunks in sizes))
    layers = {made: MadeLayer((made, shared), make, every), out: MadeLayer((out,), make_block, every_block)}
    graph = _on(layers, {made: {array.name}, out: {made}}, [array])
    return da.Array(graph, out, sizes, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


def _piece(array: da.Array, t: int, rows: tuple[int, int], columns: tuple[int, int]) -> Task:
    """The task that crops the blocks of one array to a window."""
    y, x = ([(k, span) for k, span in enumerate(spans(sizes))] for sizes in array.chunks[-2:])
    y, x = [v for v in y if _meet(v[1], rows)], [v for v in x if _meet(v[1], columns)]
    lead = (t,) if array.ndim == 3 else ()
    blocks = List(*(List(*(TaskRef((array.name, *lead, a, b)) for b, _ in x)) for a, _ in y))
    top, left = y[0][1][0], x[0][1][0]
    window = List(rows[0] - top, rows[1] - top, columns[0] - left, columns[1] - left)
    return Task(None, _crop, blocks, window)


def _crop(blocks: list[list[np.ndarray]], window: Sequence[int]) -> np.ndarray:
    top, bottom, left, right = window
    whole = blocks[0][0] if len(blocks) == len(blocks[0]) == 1 else np.block(blocks)
    return np.asarray(whole)[..., top:bottom, left:right]


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def regrouped(
    partial: Callable[..., Any], join: Callable[..., np.ndarray], arrays: Sequence[da.Array],
    groups: Sequence[tuple[Any, int, Sequence[tuple[int, int]]]], *, dtype: Any, name: str, token: str,
) -> da.Array:  # fmt: skip
    """A lazy array (group, time): something is computed once for each block (time, y, x), then joined by groups.

    Parameters
    ----------
    partial : callable
        ``partial(*blocks)``: of the block of every array.
    join : callable
        ``join(about, parts, dates)``: what a group is about, a list of what `partial` returned, and how many dates a
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
        return Task(key, partial, *(TaskRef((a.name, *(t,) * (a.ndim - 2), i, j)) for a in arrays))

    def make_group(key: Any) -> Task:
        _, k, t = key
        about, _, blocks = groups[k]
        parts = List(*(TaskRef((some, t, i, j)) for i, j in blocks))
        return Task(key, join, about, parts, first.chunks[0][t])

    dates = range(first.numblocks[0])

    def every_part() -> Iterator[tuple[Any, ...]]:
        return ((some, t, i, j) for t in dates for i, j in needed)

    def every_group() -> Iterator[tuple[Any, ...]]:
        return _keys(joined, range(len(groups)), dates)

    layers = {some: MadeLayer((some,), make_part, every_part), joined: MadeLayer((joined,), make_group, every_group)}
    graph = _on(layers, {some: {a.name for a in arrays}, joined: {some}}, arrays)
    chunks = (tuple(members for _, members, _ in groups), first.chunks[0])
    return da.Array(graph, joined, chunks, dtype=dtype, meta=np.empty((0, 0), dtype))
