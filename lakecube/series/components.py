"""Water bodies of an image, lazily: the classes of its pixels, and connected components that no chunking changes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

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
    yields : dask array
        0-d, object: the pair (old, new) of `merge_pairs`.
    """

    classes: da.Array
    labels: da.Array
    yields: da.Array

    @classmethod
    def of(cls, classes: da.Array, connectivity: int) -> Components:
        """Label the blocks of (y, x) classes, and look along their cuts."""
        spans = chunked.span_pairs(classes)
        labels = chunked.blockwise(
            _label, "yx", *spans, classes, "yx", dtype=np.int64, name="label-block", width=classes.shape[1],
            connectivity=connectivity,
        )  # fmt: skip
        wide = [v for array in (labels, classes) for v in (chunked.with_halo(array, 1), "yx")]
        token = tokenize(labels.name)
        pairs = chunked.blockwise(
            _pairs, "yx", *spans, *wide, dtype=object, name="label-pairs", token=token, adjust_chunks={"y": 1, "x": 1},
            connectivity=connectivity,
        )  # fmt: skip
        return cls(classes, labels, chunked.blockwise(_merge, "", pairs, "yx", dtype=object, name="label-merge"))

    def relabelled(self, renames: da.Array) -> da.Array:
        """The labels with old ones replaced by new ones: 0-d, object, a pair (old, new)."""
        return chunked.blockwise(_relabel, "yx", self.labels, "yx", renames, "", dtype=np.int64, name="label")

    def tables(self, grid: PixelGrid, elevation: da.Array | None) -> da.Array:
        """The `measure_block` of each block, under its own labels: one object for each."""
        arrays = [chunked.with_halo(self.classes, 1), "yx", self.labels, "yx"]
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


def _pairs(
    rows: tuple[int, int], columns: tuple[int, int], labels: np.ndarray, classes: np.ndarray, connectivity: int
) -> np.ndarray:
    """Pairs over the cuts above and left of a block, from labels and classes with a halo where there are neighbours."""
    found = []
    for begins_inside, a, c in ((rows[0] > 0, labels, classes), (columns[0] > 0, labels.T, classes.T)):
        if begins_inside:
            found.append(touching_pairs(a[0], c[0], a[1], c[1], connectivity))
    return _boxed(np.concatenate(found) if found else np.zeros((0, 2), np.int64), 2)


def _merge(blocks: list[list[np.ndarray]]) -> np.ndarray:
    return _boxed(merge_pairs([block[0, 0] for row in blocks for block in row]), 0)


def _relabel(labels: np.ndarray, renames: np.ndarray) -> np.ndarray:
    return relabel(labels, *renames[()])


def _measure(
    rows: tuple[int, int], columns: tuple[int, int], classes: np.ndarray, labels: np.ndarray,
    elevation: np.ndarray | None = None, *, grid: PixelGrid,
) -> np.ndarray:  # fmt: skip
    """Measure a block; its classes have a halo where there are neighbours, and 255 is put beyond the image."""
    beyond = [
        (int(start == 0), int(stop == size)) for (start, stop), size in zip((rows, columns), grid.shape, strict=True)
    ]
    wide = np.pad(classes, beyond, constant_values=UNSEEN)
    quanta = pixel_quanta(grid, rows, columns)
    return _boxed(measure_block(wide, labels, rows[0], columns[0], *quanta, elevation), 2)
