"""Lakes of a stack of water masks: labels, shapes, and areas through time with what was hidden.

How many lakes there are is known only when all pixels have been looked at, so `lakes` makes one pass to find them; what
has a date then stays lazy. A store does the same in its revision, and keeps the ids from one revision to the next.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.between_blocks import regrouped
from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.kernels.label import relabel
from lakecube.kernels.lake_areas import add_sums, areas_of_sums, lake_runs, pack_area, sum_states
from lakecube.kernels.lake_overlap import OVERLAP_TABLE
from lakecube.kernels.lakes import combine_tables
from lakecube.names import DATE, LAKE, TIME, VARIABLES, X, Y
from lakecube.series.components import Components, extent, known
from lakecube.series.pixel_area import PixelGrid, area_quanta
from lakecube.series.registry import Registry, identify
from lakecube.series.shape import LakeParams, describe_lakes

#: Lakes in one chunk of the areas.
LAKES_AT_ONCE = 4096
#: CF attributes of the coordinate `lake`: each lake is one time series.
LAKE_ATTRS = {"long_name": "lake_id, kept from revision to revision", "cf_role": "timeseries_id"}
#: What `kernels.lakes.areas_of_sums` gives.
AREAS = ("lake_area", "lake_area_observed", "lake_area_lower", "lake_area_upper", "lake_observed_fraction")
_AREAS = np.dtype([(name, "f8") for name in AREAS])


@law("exact")
def lakes(water: xr.Dataset | xr.DataArray, **parameters: Any) -> xr.Dataset:
    """Find the lakes of an extract, and measure them on every date.

    Parameters
    ----------
    water : xr.Dataset or xr.DataArray
        `water_mask` (time, y, x) uint8, with coordinates y, x (and `spatial_ref`). `water_restored` (time or date, y,
        x) and `elevation` (y, x) are used if they are there.
    **parameters
        The fields of `lakecube.series.shape.LakeParams`: ``min_frequency=0.15, min_wet=2, min_pixels=10``, …

    Returns
    -------
    xr.Dataset
        `lake_label` (y, x); `max_area`, `perimeter`, `shape_index`, `size_class`, `kind`, `touches_edge`,
        `provisional`, `elevation_min`, `elevation_max` (lake); `lake_area`, `lake_area_observed`, `lake_area_lower`,
        `lake_area_upper`, `lake_observed_fraction` (lake, date), m² and 1. Coordinates: `lake` (the id, counted in the
        order of first pixels), `longitude`, `latitude`, and `date`, ascending. `lake_area` is NaN where some of a
        lake was neither seen nor inferred, `lake_area_observed` where nothing of it was seen.

    Raises
    ------
    InvalidInputError
        If there is no mask, a coordinate is uneven, or a parameter is unknown or out of range.

    Notes
    -----
    Chunks: any. Law: exact (integer sums). Reads the mask once to find the lakes; labels and areas are lazy, the areas
    in chunks of 4096 lakes. Nothing is dropped: water outside the reference extent is in provisional lakes, and what
    was seen of all lakes adds up to the area of all water.

    References
    ----------
    Xue et al. (2025), section 3.7
    """
    params = lake_params(parameters)
    states, restored, given = _states(water)
    grid = PixelGrid.of(given)
    classes = extent(states, min_frequency=params.min_frequency, min_wet=params.min_wet)
    found = Components.of(classes.data, params.connectivity)
    tables, table, names = _find(found, grid, _elevation(given, found.labels))
    label = found.relabelled(known(*names))
    areas = _areas(states.data, label, restored, grid, tables, table)
    return _assembled(given, label, table, areas, describe_lakes(table, grid, params))


def lake_params(parameters: dict[str, Any]) -> LakeParams:
    """`LakeParams` of keywords; InvalidInputError if one is unknown."""
    names = [f.name for f in dataclasses.fields(LakeParams)]
    unknown = sorted(set(parameters) - set(names))
    if unknown:
        raise InvalidInputError(f"lakes has no parameter {', '.join(unknown)}; it has {', '.join(names)}")
    return LakeParams(**parameters)


def _states(water: xr.Dataset | xr.DataArray) -> tuple[xr.DataArray, da.Array | None, xr.Dataset]:
    """The mask and what was restored, chunked alike, dates ascending; and all that was given."""
    given = water.to_dataset(name="water_mask") if isinstance(water, xr.DataArray) else water
    if "water_mask" not in given:
        raise InvalidInputError("no water_mask here; extract it first: cube.water.extract()")
    layers = {"water_mask": _by_date(given["water_mask"])}
    if "water_restored" in given:
        layers["water_restored"] = _by_date(given["water_restored"])
        times = [layer[TIME].values if TIME in layer.coords else layer.sizes[TIME] for layer in layers.values()]
        if not np.array_equal(times[0], times[1]):
            raise InvalidInputError(
                "water_restored and water_mask have other dates; restore from this mask: .restore()"
            )
    plain = {name: layer.drop_vars(set(layer.coords) - {TIME, Y, X}) for name, layer in layers.items()}
    both = chunked.alike(xr.Dataset(plain), (TIME, Y, X), 0)
    restored = both["water_restored"].data if "water_restored" in both else None
    return both["water_mask"], restored, given


def _by_date(layer: xr.DataArray) -> xr.DataArray:
    """States (time, y, x) uint8 with the dates ascending."""
    if DATE in layer.dims:
        layer = layer.rename({DATE: TIME})
    if set(layer.dims) != {TIME, Y, X} or layer.dtype.kind not in "bui":
        raise InvalidInputError(f"{layer.name} holds flags (time, y, x); got {layer.dtype} {layer.dims}")
    if layer.dtype != np.uint8:
        layer = layer.where((layer == 0) | (layer == 1), 255).astype(np.uint8)
    if TIME in layer.coords:
        order = np.argsort(layer[TIME].values, kind="stable")
        layer = layer if (np.diff(order) == 1).all() else layer.isel({TIME: order})
    return layer.transpose(TIME, Y, X)


def _elevation(given: xr.Dataset, labels: da.Array) -> da.Array | None:
    if "elevation" not in given:
        return None
    values = given["elevation"].transpose(Y, X)
    return values.chunk(dict(zip((Y, X), labels.chunks, strict=True))).data.astype(np.float32)


def _find(
    found: Components, grid: PixelGrid, elevation: da.Array | None
) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Compute what the lakes are: ids by block, one table with ids for labels, and ids of the blocks' own labels."""
    boxes, yields = dask.compute(found.tables(grid, elevation), found.yields)
    parts = {index: boxes[index].copy() for index in np.ndindex(boxes.shape)}
    own = np.concatenate([part["label"] for part in parts.values()])
    for part in parts.values():
        part["label"] = relabel(part["label"], *yields[()])
    table = combine_tables(parts.values())
    ids, _, _ = identify(table, np.zeros(0, OVERLAP_TABLE), Registry.empty(), 1)
    blocks = {index: np.unique(relabel(part["label"], table["label"], ids)) for index, part in parts.items()}
    names = np.concatenate([relabel(part["label"], table["label"], ids) for part in parts.values()])
    table["label"] = ids
    order = np.argsort(own)
    return blocks, table[np.argsort(ids)], (own[order], names[order])


def _areas(
    states: da.Array, label: da.Array, restored: da.Array | None, grid: PixelGrid,
    blocks: dict[tuple[int, int], np.ndarray], table: np.ndarray,
) -> da.Array:  # fmt: skip
    """Areas by lake and date, as records: sums of each block, joined by lakes."""
    groups = []
    chunks: dict[int, list[tuple[int, int]]] = {}
    for index, ids in blocks.items():
        for k in np.unique((ids - 1) // LAKES_AT_ONCE):
            chunks.setdefault(int(k), []).append(index)
    for k in range(-(-len(table) // LAKES_AT_ONCE) or 1):
        some = table[k * LAKES_AT_ONCE : (k + 1) * LAKES_AT_ONCE]
        groups.append(((some["label"], some["area"]), len(some), chunks.get(k, [])))
    # what all dates of a block need is small, and the labels themselves may go
    places = chunked.blockwise(
        _places, "yx", *chunked.span_pairs(label), label, "yx", dtype=object, name="lake-runs",
        token=tokenize(label.name, grid), adjust_chunks={"y": 1, "x": 1}, grid=grid,
    )  # fmt: skip
    arrays = [states, places] if restored is None else [states, places, restored]
    token = tokenize([a.name for a in arrays], table)
    return regrouped(_sum_block, _join_sums, arrays, groups, dtype=_AREAS, name="lake-areas", token=token)


def _places(rows: tuple[int, int], columns: tuple[int, int], labels: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """Lakes of a block, where they are, and the areas of their pixels, as one object."""
    ids, runs = lake_runs(labels)
    box = np.empty((1, 1), object)
    box[0, 0] = ids, runs, pack_area(area_quanta(grid, rows, columns), runs)
    return box


def _sum_block(
    states: np.ndarray, places: np.ndarray, restored: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    ids, runs, area = places[0, 0]
    return ids, sum_states(states, restored, runs, ids.size, area)


def _join_sums(
    about: tuple[np.ndarray, np.ndarray], parts: list[tuple[np.ndarray, np.ndarray]], dates: int
) -> np.ndarray:
    ids, area = about
    total = np.zeros((ids.size, dates, 4), np.int64)
    for of, sums in parts:
        add_sums(total, ids, sums, of)
    out = np.empty(total.shape[:2], _AREAS)
    for name, values in areas_of_sums(total, area).items():
        out[name] = values
    return out


def _assembled(
    given: xr.Dataset, label: da.Array, table: np.ndarray, areas: da.Array, described: dict[str, np.ndarray]
) -> xr.Dataset:
    variables: dict[str, Any] = {"lake_label": label, **described}
    variables |= {name: chunked.field(areas, name) for name in AREAS}
    out = {name: (VARIABLES[name].dims, values, VARIABLES[name].attrs) for name, values in variables.items()}
    coords = {name: c for name, c in given.coords.items() if not set(c.dims) - {Y, X}}
    coords[LAKE] = xr.Variable(LAKE, table["label"], LAKE_ATTRS)
    if TIME in given["water_mask"].coords:
        times = given["water_mask"][TIME]
        coords[DATE] = xr.Variable(DATE, np.sort(times.values), {**times.attrs, "long_name": "solar date"})
    return xr.Dataset(out, coords=coords).set_coords(["longitude", "latitude"])
