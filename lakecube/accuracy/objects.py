"""Lakes of a map against lakes of a reference, as objects: detected, missed, merged, invented, by size class.

Objects are pixels that touch at an edge or a corner; polygons are the objects that they are. Blocks are labelled by
themselves and give tables of overlaps; what touches across blocks is merged on these tables, never on pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from lakecube.accuracy.measures import wilson
from lakecube.chunked import blockwise, per_chunk, spans
from lakecube.errors import InvalidInputError
from lakecube.kernels.confusion import add_pairs, count_pairs
from lakecube.kernels.label import label_block, merge_pairs, relabel, touching_pairs
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.names import SIZE_CLASS, UNKNOWN, WATER
from lakecube.series.pixel_area import PixelGrid, pixel_quanta

#: Borders of the size classes in km².
SIZE_BOUNDS = (0.1, 1.0)
#: Share of an object's known pixels that must be water in the other for it to be found.
FOUND = 0.5
#: Share of a lake from which on a piece of it counts as one.
PIECE = 0.1
_MAP, _REFERENCE = 0, 1


@dataclass(frozen=True)
class ObjectScores:
    """Objects by size class, and one by one.

    Attributes
    ----------
    table : pd.DataFrame
        Per class and `all`: `lakes` of the reference, `detected`, `missed`, `unseen` (mostly hidden in the map, hence
        neither), `merged` (detected by an object of the map that detects others as well), `split` (into several),
        `invented` (objects of the map that the reference calls land), `detection_rate` of those seen with its
        interval `low`, `high`; `area_km2` of the detected and not merged ones as far as they were seen,
        `mapped_area_km2` of the objects that detect them, `area_error` the relative difference of the two, and
        `mean_absolute_error` the mean over lakes of its size.
    lakes : pd.DataFrame
        One row per lake of the reference: `area_km2`, `seen`, `overlap` (shares), `size_class`, `state`, `merged`,
        `split`, `mapped_area_km2`.
    """

    table: pd.DataFrame
    lakes: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values."""
        return self.table.to_dict(orient="index")


def compare_objects(
    mapped: xr.DataArray, states: da.Array, ids: da.Array | None, size_bounds: Sequence[float], least_pixels: int,
    confidence: float,
) -> ObjectScores:  # fmt: skip
    """Compare the objects of a map and a reference.

    Parameters
    ----------
    mapped : xr.DataArray
        (y, x) uint8 on Dask: 0 land, 1 water, 255 unknown.
    states : dask array
        The reference, likewise, in the same chunks.
    ids : dask array or None
        (y, x) int64: the objects of the reference where it has any of its own, 0 elsewhere.
    size_bounds : sequence of float
        Borders of the size classes in km², rising.
    least_pixels : int
        Objects of fewer pixels are left out.
    confidence : float
        Of the intervals of detection rates.
    """
    names, bounds = class_names(size_bounds), np.asarray(size_bounds, float)
    pairs, sums = overlaps(mapped, states, ids)
    lakes, others = _lakes(pairs, sums, least_pixels), _strangers(pairs, sums, least_pixels)
    lakes["size_class"] = np.digitize(lakes["area_km2"], bounds, right=True)
    sizes = np.digitize(others, bounds, right=True)
    rows = {}
    for k, name in (*enumerate(names), (None, "all")):
        chosen = lakes if k is None else lakes[lakes["size_class"] == k]
        rows[name] = _row(chosen, int(len(sizes) if k is None else (sizes == k).sum()), confidence)
    lakes["size_class"] = [names[k] for k in lakes["size_class"]]
    return ObjectScores(pd.DataFrame.from_dict(rows, orient="index"), lakes)


def class_names(size_bounds: Sequence[float]) -> list[str]:
    """Names of the classes between the borders; small, medium and large if there are three."""
    try:
        bounds = np.asarray(size_bounds, float)
    except (TypeError, ValueError):
        bounds = np.full(1, np.nan)
    if bounds.ndim != 1 or not np.isfinite(bounds).all() or (bounds <= 0).any() or (np.diff(bounds) <= 0).any():
        raise InvalidInputError(f"size_bounds={size_bounds!r}: rising areas in km² are needed, for example (0.1, 1)")
    if tuple(bounds) == SIZE_BOUNDS:
        return list(SIZE_CLASS)
    edges = [f"{v:g}" for v in bounds]
    between = [f"{a}-{b} km2" for a, b in itertools.pairwise(edges)]
    return [f"<{edges[0]} km2", *between, f">{edges[-1]} km2"] if edges else ["all sizes"]


def overlaps(mapped: xr.DataArray, states: da.Array, ids: da.Array | None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of objects that share pixels: (n, 2) labels in map and reference (0 none, -1 unknown), (n, 2) int64 sums.

    Sums are pixels and quanta. A label is 1 + the smallest flat index of the object's pixels, or its id.
    """
    parts = _parts(mapped, states, ids, PixelGrid.of(mapped))
    pairs = np.concatenate([part["pairs"] for part in parts.flat])
    sums = np.concatenate([part["sums"] for part in parts.flat])
    for side in (_MAP, _REFERENCE):
        if side == _MAP or ids is None:
            pairs[:, side] = relabel(pairs[:, side].copy(), *merge_pairs(_touching(parts, side)))
    return add_pairs(pairs, sums)


def _parts(mapped: xr.DataArray, states: da.Array, ids: da.Array | None, grid: PixelGrid) -> np.ndarray:
    """What `_block` says of each block: an array of dicts."""
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in mapped.data.chunks)
    extra = () if ids is None else (ids, "yx")
    return blockwise(
        _block, "yx", rows, "y", columns, "x", mapped.data, "yx", states, "yx", *extra, dtype=object,
        name="overlaps", adjust_chunks=dict.fromkeys("yx", lambda _: 1), grid=grid,
    ).compute()  # fmt: skip


def size_class_of(mapped: xr.DataArray, size_bounds: Sequence[float]) -> da.Array:
    """Size class of the object of every pixel: (y, x) uint8 on Dask, 0 land, 1 the smallest class, …, 255 unknown.

    Reads the map once to know its objects; lazy after that.
    """
    class_names(size_bounds)  # checks them
    grid = PixelGrid.of(mapped)
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in mapped.data.chunks)
    land = da.zeros(mapped.shape, dtype=np.uint8, chunks=mapped.data.chunks)
    parts = _parts(mapped, land, None, grid)
    pairs, sums = (np.concatenate([part[name] for part in parts.flat]) for name in ("pairs", "sums"))
    own = pairs[:, _MAP][pairs[:, _MAP] > 0]
    joined = relabel(own.copy(), *merge_pairs(_touching(parts, _MAP)))
    _, at = np.unique(joined, return_inverse=True)
    area = np.bincount(at, sums[pairs[:, _MAP] > 0, 1] / AREA_QUANTA / 1e6)[at] if own.size else np.zeros(0)
    order = np.argsort(own)
    classes = (1 + np.digitize(area[order], np.asarray(size_bounds, float), right=True)).astype(np.uint8)
    settings = {"grid": grid, "own": own[order], "classes": classes}
    return blockwise(
        _classes, "yx", rows, "y", columns, "x", mapped.data, "yx", dtype=np.uint8, name="size-class", **settings
    )


def _classes(
    rows: Any, columns: Any, states: np.ndarray, grid: PixelGrid, own: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    labels = _labels(states, rows, columns, grid)
    out = np.where(labels < 0, UNKNOWN, 0).astype(np.uint8)
    out[labels > 0] = classes[np.searchsorted(own, labels[labels > 0])]
    return out


def _block(
    rows: Any, columns: Any, mapped: np.ndarray, states: np.ndarray, ids: np.ndarray | None = None, *, grid: PixelGrid
) -> np.ndarray:
    """Overlaps of one block and its outermost lines, in an array of one object."""
    first = _labels(mapped, rows, columns, grid)
    second = _labels(states, rows, columns, grid)
    if ids is not None:
        second = np.where(states == UNKNOWN, -1, ids)
    pairs, sums = add_pairs(*count_pairs(first, second, pixel_quanta(grid, rows, columns).area))
    lines = [[np.maximum(v, 0) for v in (a[0], a[-1], a[:, 0], a[:, -1])] for a in (first, second)]
    out = np.empty((1, 1), object)
    out[0, 0] = {"pairs": pairs, "sums": sums, "lines": lines}
    return out


def _labels(states: np.ndarray, rows: Any, columns: Any, grid: PixelGrid) -> np.ndarray:
    labels = label_block((states == WATER).astype(np.uint8), rows[0], columns[0], grid.shape[1])
    labels[states == UNKNOWN] = -1
    return labels


def _touching(parts: np.ndarray, side: int) -> list[np.ndarray]:
    """Labels that touch across the cuts between blocks, along whole cuts, so that corners are met as well."""
    top, bottom, left, right = range(4)
    found = []
    for cuts, before, after in ((parts, bottom, top), (parts.T, right, left)):
        for a, b in itertools.pairwise(cuts):
            first, second = (
                np.concatenate([p["lines"][side][line] for p in one]) for one, line in ((a, before), (b, after))
            )
            found.append(touching_pairs(first, (first > 0).astype(np.uint8), second, (second > 0).astype(np.uint8)))
    return found


def _lakes(pairs: np.ndarray, sums: np.ndarray, least_pixels: int) -> pd.DataFrame:
    """One row per object of the reference."""
    table = pd.DataFrame({"m": pairs[:, 0], "r": pairs[:, 1], "pixels": sums[:, 0], "area": sums[:, 1] / AREA_QUANTA})
    of_map = table[(table["m"] > 0) & (table["r"] >= 0)].groupby("m")["area"].sum()
    whole = table[table["r"] > 0].groupby("r")[["pixels", "area"]].sum()
    whole = whole[whole["pixels"] >= least_pixels]
    shared = table[(table["r"] > 0) & table["r"].isin(whole.index)]
    hidden = shared[shared["m"] < 0].groupby("r")["area"].sum().reindex(whole.index, fill_value=0.0)
    found = shared[shared["m"] > 0]
    overlap = found.groupby("r")["area"].sum().reindex(whole.index, fill_value=0.0)
    seen = whole["area"] - hidden
    main = found.sort_values(["r", "area", "m"], ascending=[True, False, True]).drop_duplicates("r").set_index("r")["m"]
    share = (overlap / seen.where(seen > 0)).fillna(0.0)
    state = np.where(seen < FOUND * whole["area"], "unseen", np.where(share >= FOUND, "detected", "missed"))
    out = pd.DataFrame({
        "area_km2": whole["area"] / 1e6, "seen": seen / whole["area"], "overlap": share, "state": state,
        "main": main.reindex(whole.index),
    })  # fmt: skip
    detected = out[out["state"] == "detected"]
    out["merged"] = (out["state"] == "detected") & out["main"].isin(detected.loc[detected["main"].duplicated(), "main"])
    pieces = found[found["area"].to_numpy() >= PIECE * seen.reindex(found["r"]).to_numpy()].groupby("r").size()
    out["split"] = (out["state"] == "detected") & (pieces.reindex(out.index, fill_value=0) > 1)
    owner = (
        found.sort_values(["m", "area", "r"], ascending=[True, False, True]).drop_duplicates("m").set_index("m")["r"]
    )
    out["mapped_area_km2"] = of_map.reindex(owner.index).groupby(owner).sum().reindex(out.index, fill_value=0.0) / 1e6
    return out.drop(columns="main").rename_axis("lake")


def _strangers(pairs: np.ndarray, sums: np.ndarray, least_pixels: int) -> np.ndarray:
    """Areas in km² of objects of the map that have no water of the reference, and are mostly known there."""
    table = pd.DataFrame({"m": pairs[:, 0], "r": pairs[:, 1], "pixels": sums[:, 0], "area": sums[:, 1] / AREA_QUANTA})
    table = table[table["m"] > 0]
    whole = table.groupby("m")[["pixels", "area"]].sum()
    known = table[table["r"] == 0].groupby("m")["area"].sum().reindex(whole.index, fill_value=0.0)
    wet = whole.index.isin(table.loc[table["r"] > 0, "m"])
    return (whole["area"] / 1e6)[(whole["pixels"] >= least_pixels) & ~wet & (known >= FOUND * whole["area"])].to_numpy()


def _row(lakes: pd.DataFrame, invented: int, confidence: float) -> dict[str, float]:
    counts = {name: int((lakes["state"] == name).sum()) for name in ("detected", "missed", "unseen")}
    judged = counts["detected"] + counts["missed"]
    low, high = wilson(counts["detected"], judged, confidence)
    clean = lakes[(lakes["state"] == "detected") & ~lakes["merged"]]
    seen, mapped = clean["area_km2"] * clean["seen"], clean["mapped_area_km2"]
    return {
        "lakes": len(lakes), **counts, "merged": int(lakes["merged"].sum()), "split": int(lakes["split"].sum()),
        "invented": invented, "detection_rate": counts["detected"] / judged if judged else np.nan, "low": low,
        "high": high, "area_km2": float(seen.sum()), "mapped_area_km2": float(mapped.sum()),
        "area_error": float(mapped.sum() / seen.sum() - 1) if len(clean) else np.nan,
        "mean_absolute_error": float((mapped / seen - 1).abs().mean()) if len(clean) else np.nan,
    }  # fmt: skip
