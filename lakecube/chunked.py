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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, Layer
from dask.layers import ArrayBlockwiseDep

from lakecube.errors import InvalidInputError
from lakecube.georeference import lattice_index, transform_numbers
from lakecube.layers import MadeLayer, PerChunk, keys_of

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

    return MadeLayer((array.name,), make, partial(keys_of, array.name, *map(range, array.numblocks)))


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
