"""Water bodies of an image, lazily: the classes of its pixels, and connected components that no chunking changes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.kernels.label import (
    NONE,
    PROVISIONAL,
    REFERENCE,
    UNSEEN,
    classify_extent,
    label_block,
    merge_pairs,
    relabel,
    touching_pairs,
)
from lakecube.kernels.lakes import measure_block
from lakecube.names import SPATIAL_REF, TIME, X, Y
from lakecube.series.occurrence import count
from lakecube.series.pixel_area import PixelGrid, pixel_quanta
from lakecube.series.shape import LakeParams

#: `extent`: what a pixel is to lakes.
EXTENT = MappingProxyType({"none": NONE, "reference": REFERENCE, "provisional": PROVISIONAL, "unseen": UNSEEN})


@law("exact")
def extent(water_mask: xr.DataArray, *, min_frequency: float = 0.15, min_wet: int = 2) -> xr.DataArray:
    """Where the lakes are: the reference extent, and water that was seen outside it.

    Parameters
    ----------
    water_mask : xr.DataArray, (time, y, x) uint8
        0 land, 1 water, anything else unknown.
    min_frequency, min_wet
        Of `LakeParams`. With a single date, wet once is enough.

    Returns
    -------
    xr.DataArray
        `extent` (y, x) uint8 flags: 0 none, 1 reference, 2 provisional (any other pixel that was ever wet), 255 never
        seen.

    Raises
    ------
    InvalidInputError
        If the mask is not one, or a parameter is out of range.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. Two counts decide, so the order of the dates does not matter.
    """
    params = LakeParams(min_frequency=min_frequency, min_wet=min_wet)
    counts = count(water_mask)
    wet, clear = counts["count_wet"], counts["count_clear"]
    data = chunked.blockwise(
        classify_extent, "yx", wet.data, "yx", clear.data, "yx", dtype=np.uint8, name="extent",
        min_frequency=float(min_frequency), min_wet=min(params.min_wet, water_mask.sizes[TIME]),
    )  # fmt: skip
    flags = {"flag_values": np.array(list(EXTENT.values()), np.uint8), "flag_meanings": " ".join(EXTENT)}
    attrs = {"long_name": "what the pixel is to lakes", **flags, "grid_mapping": SPATIAL_REF}
    return xr.DataArray(data, dims=(Y, X), coords=counts.coords, name="extent", attrs=attrs)


@law("exact")
def label(classes: xr.DataArray, *, connectivity: int = 2) -> xr.DataArray:
    """Label the connected components of each class.

    Parameters
    ----------
    classes : xr.DataArray, (y, x) uint8
        Of `extent`: pixels of 1 and of 2 form components, each class by itself.
    connectivity : {1, 2}
        Whether pixels join over edges, or over corners as well.

    Returns
    -------
    xr.DataArray
        `label` (y, x) int64: 1 + the smallest flat index (row · columns + column) of the component's pixels, 0 outside.

    Raises
    ------
    InvalidInputError
        If `classes` is not uint8 (y, x), or `connectivity` neither 1 nor 2.

    Notes
    -----
    Chunks: any. Law: exact; a label is defined without any chunks. Reach: the component, by one union over all cuts.
    Lazy.
    """
    params = LakeParams(connectivity=connectivity)
    if set(classes.dims) != {Y, X} or classes.dtype != np.uint8:
        raise InvalidInputError(f"classes are uint8 (y, x), as extent() gives them; got {classes.dtype} {classes.dims}")
    plain = classes.transpose(Y, X)
    data = plain.data if isinstance(plain.data, da.Array) else plain.chunk().data
    found = Components.of(data, params.connectivity)
    attrs = {"long_name": "connected component, by 1 + the smallest flat index of its pixels"}
    merged = found.relabelled(found.yields)
    return xr.DataArray(merged, dims=(Y, X), coords=plain.coords, name="label", attrs=attrs)


@dataclass(frozen=True, slots=True)
class Components:
    """Components of the blocks by themselves, and which of their labels yield to which.

    Parameters
    ----------
    classes, labels : dask arrays
        (y, x), uint8 and int64.
    around : dask array
        Objects, one per block: the outermost `Lines` of the block and of its neighbours, (1 to 3, 1 to 3). Blocks
        that wait for their neighbours are held by these alone, not by their pixels.
    yields : dask array
        0-d, object: the pair (old, new) of `merge_pairs`.
    """

    classes: da.Array
    labels: da.Array
    around: da.Array
    yields: da.Array

    @classmethod
    def of(cls, classes: da.Array, connectivity: int) -> Components:
        """Label the blocks of (y, x) classes, and look along their cuts."""
        spans = chunked.span_pairs(classes)
        labels = chunked.blockwise(
            _label, "yx", *spans, classes, "yx", dtype=np.int64, name="label-block", width=classes.shape[1],
            connectivity=connectivity,
        )  # fmt: skip
        ones = {"y": 1, "x": 1}
        lines = chunked.blockwise(
            _lines, "yx", labels, "yx", classes, "yx", dtype=object, name="label-lines", adjust_chunks=ones
        )
        around = chunked.with_halo(lines, 1)
        pairs = chunked.blockwise(
            _pairs, "yx", *spans, around, "yx", dtype=object, name="label-pairs", adjust_chunks=ones,
            token=tokenize(around.name, connectivity), connectivity=connectivity,
        )  # fmt: skip
        yields = chunked.blockwise(_merge, "", pairs, "yx", dtype=object, name="label-merge")
        return cls(classes, labels, around, yields)

    def relabelled(self, renames: da.Array) -> da.Array:
        """The labels with old ones replaced by new ones: 0-d, object, a pair (old, new)."""
        return chunked.blockwise(_relabel, "yx", self.labels, "yx", renames, "", dtype=np.int64, name="label")

    def tables(self, grid: PixelGrid, elevation: da.Array | None) -> da.Array:
        """The `measure_block` of each block, under its own labels: one object for each."""
        arrays = [self.classes, "yx", self.labels, "yx", self.around, "yx"]
        arrays += [] if elevation is None else [elevation, "yx"]
        token = tokenize(self.labels.name, grid, getattr(elevation, "name", None))
        return chunked.blockwise(
            _measure, "yx", *chunked.span_pairs(self.classes), *arrays, dtype=object, name="lake-table", token=token,
            adjust_chunks={"y": 1, "x": 1}, grid=grid,
        )  # fmt: skip


def known(old: np.ndarray, new: np.ndarray) -> da.Array:
    """A pair (old, new) for `Components.relabelled` that is there already."""
    return da.from_array(_boxed((old, new), 0), chunks=(), name=f"label-known-{tokenize(old, new)}")


def _boxed(value: Any, ndim: int) -> np.ndarray:
    """One Python object as the only element of an array."""
    box = np.empty((1,) * ndim, object)
    box[(0,) * ndim] = value
    return box


def _label(rows: tuple[int, int], columns: tuple[int, int], classes: np.ndarray, width: int, connectivity: int) -> Any:
    return label_block(classes, rows[0], columns[0], width, connectivity)


class Lines(NamedTuple):
    """Outermost lines of a block, of labels or classes."""

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, block: np.ndarray) -> Lines:
        """Copies, so that they do not hold the block."""
        return cls(*(line.copy() for line in (block[0], block[-1], block[:, 0], block[:, -1])))


def _lines(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return _boxed((Lines.of(labels), Lines.of(classes)), 2)


def _neighbours(rows: tuple[int, int], columns: tuple[int, int], around: np.ndarray) -> dict[tuple[int, int], Any]:
    """Lines (of labels, of classes) of the blocks around one, by their offset; there are none beyond the image."""
    y, x = int(rows[0] > 0), int(columns[0] > 0)
    return {(i - y, j - x): box for (i, j), box in np.ndenumerate(around)}


def _pairs(rows: tuple[int, int], columns: tuple[int, int], around: np.ndarray, connectivity: int) -> np.ndarray:
    """Pairs over the cuts above and left of a block, and over its upper corners."""
    there = _neighbours(rows, columns, around)
    ends = {
        (-1, 0): (lambda v: v.bottom, lambda v: v.top),
        (0, -1): (lambda v: v.right, lambda v: v.left),
        (-1, -1): (lambda v: v.bottom[-1:], lambda v: v.top[:1]),
        (-1, 1): (lambda v: v.bottom[:1], lambda v: v.top[-1:]),
    }
    found = [np.zeros((0, 2), np.int64)]
    for place, (theirs, ours) in ends.items():
        if place in there and (connectivity == 2 or 0 in place):
            other, own = there[place], there[0, 0]
            found.append(touching_pairs(theirs(other[0]), theirs(other[1]), ours(own[0]), ours(own[1]), connectivity))
    return _boxed(np.concatenate(found), 2)


def _with_halo(classes: np.ndarray, there: dict[tuple[int, int], Any]) -> np.ndarray:
    """Classes with one pixel of the blocks around, and 255 beyond the image."""
    wide = np.pad(classes, 1, constant_values=UNSEEN)
    inner = slice(1, -1)
    for (i, j), (_, lines) in there.items():
        if i == 0 and j == 0:
            continue
        if i == 0:
            wide[inner, 0 if j < 0 else -1] = lines.right if j < 0 else lines.left
        else:
            line = lines.bottom if i < 0 else lines.top
            row = 0 if i < 0 else -1
            if j == 0:
                wide[row, inner] = line
            else:
                wide[row, 0 if j < 0 else -1] = line[-1] if j < 0 else line[0]
    return wide


def _merge(blocks: list[list[np.ndarray]]) -> np.ndarray:
    return _boxed(merge_pairs([block[0, 0] for row in blocks for block in row]), 0)


def _relabel(labels: np.ndarray, renames: np.ndarray) -> np.ndarray:
    return relabel(labels, *renames[()])


def _measure(
    rows: tuple[int, int], columns: tuple[int, int], classes: np.ndarray, labels: np.ndarray, around: np.ndarray,
    elevation: np.ndarray | None = None, *, grid: PixelGrid,
) -> np.ndarray:  # fmt: skip
    wide = _with_halo(classes, _neighbours(rows, columns, around))
    quanta = pixel_quanta(grid, rows, columns)
    return _boxed(measure_block(wide, labels, rows[0], columns[0], *quanta, elevation), 2)
