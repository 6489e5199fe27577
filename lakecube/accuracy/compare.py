"""`assess`: a map of water against points, polygons or another map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from lakecube.accuracy.edges import EDGE_WIDTH, EdgeScores, count_edges
from lakecube.accuracy.estimate import Estimate, estimate_stratified
from lakecube.accuracy.maps import map_of, states_at
from lakecube.accuracy.measures import Confusion, wilson
from lakecube.accuracy.objects import SIZE_BOUNDS, ObjectScores, compare_objects
from lakecube.accuracy.reference import Kind, kind_of, opened, polygon_ids, raster_states, read_points
from lakecube.accuracy.report import Assessment
from lakecube.chunked import blockwise, per_chunk, spans
from lakecube.errors import InvalidInputError
from lakecube.kernels.confusion import confuse
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.names import LAND, UNKNOWN, WATER
from lakecube.series.pixel_area import PixelGrid, pixel_quanta

_NAMES = ("land", "water", "unknown")


def assess(
    water: xr.Dataset | xr.DataArray,
    reference: Any,
    *,
    kind: Kind | None = None,
    date: Any = None,
    share: float = 0.5,
    codes: str | Mapping[str, Sequence[int]] = "mask",
    within: Any = None,
    by: str | None = None,
    objects: bool = True,
    size_bounds: Sequence[float] = SIZE_BOUNDS,
    least_pixels: int = 10,
    edge_width: int | None = EDGE_WIDTH,
    confidence: float = 0.95,
) -> Assessment:
    """Compare a map of water with a reference.

    Parameters
    ----------
    water : xr.Dataset or xr.DataArray
        A store or an extract; or a mask (y, x) or (time, y, x) of 0 land, 1 water, 255 unknown.
    reference
        Points: a GeoDataFrame, a DataFrame or CSV with `lon`, `lat`, `class` (water or land, 1 or 0), perhaps `date`,
        and `stratum` and `stratum_area` if they are of `sample_design`. Polygons of water: a GeoDataFrame or a vector
        file; what lies outside them is land. A raster: a path, or a DataArray on the map's grid.
    kind : {"points", "polygons", "raster"}, optional
        By default what the reference looks like.
    date : date-like, optional
        Judge the map of this date (the nearest within three days). By default points with a date are compared with the
        map of theirs, and all else with what is water often enough.
    share : float
        What is water often enough, in the map and in a reference of frequencies: water on this share of the clear
        dates; JRC occurrence of at least 100·share.
    codes : str or mapping
        How numbers of a raster are read: "mask" (1 water, 0 land, others unknown; frequencies where they are floats),
        "jrc-occurrence", "jrc-monthly", "worldcover" (80 is water), or ``{"water": [80], "unknown": [0]}``, all
        others being land, or unknown if "land" is listed too.
    within : optional
        Polygons beyond which the reference tells nothing.
    by : str, optional
        Column of points, such as the type of water body: their share of right answers by its values.
    objects : bool
        Also compare lakes as objects (not of points).
    size_bounds : sequence of float
        Borders of the size classes in km².
    least_pixels : int
        Objects of fewer pixels are not judged as objects.
    edge_width : int, optional
        Also tell the accuracy within so many pixels of the reference's shores (not of points); None: do not.
    confidence : float
        Of all intervals.

    Returns
    -------
    Assessment
        Prints as a report; `.to_dict()`, `.table()`.

    Raises
    ------
    InvalidInputError
        If the reference cannot be read or placed, or nothing could be compared.

    Notes
    -----
    Chunks: any. Law: exact. Not lazy: reads each block once, and of points only the blocks under them; memory depends
    on a block and the number of objects. Unknown pixels of either are counted apart and never as land. Other rasters
    are sampled at the centres of the map's pixels.

    References
    ----------
    Olofsson, P. et al. (2014), doi:10.1016/j.rse.2014.02.015; edges: Chen, Y. et al. (2018), doi:10.3390/w10050585
    """
    if not 0 < confidence < 1:
        raise InvalidInputError(f"confidence={confidence!r}: a share between 0 and 1 is needed, for example 0.95")
    reference = opened(reference, kind)
    kind = kind or kind_of(reference)
    if kind == "points":
        return _of_points(water, read_points(reference), date, share, by, confidence)
    mapped, text = map_of(water, date, share)
    ids = None
    if kind == "polygons":
        ids = polygon_ids(reference, mapped)
        states = blockwise(_as_states, "yx", ids, "yx", dtype=np.uint8, name="reference-mask")
    elif kind == "raster":
        states = raster_states(reference, mapped, codes, share)
    else:
        raise InvalidInputError(f"kind={kind!r}: use points, polygons or raster")
    if within is not None:
        inside = polygon_ids(within, mapped)
        states = blockwise(_inside, "yx", states, "yx", inside, "yx", dtype=np.uint8, name="reference-within")
    counts, edges = _counted(mapped, states, edge_width)
    scores = compare_objects(mapped, states, ids, size_bounds, least_pixels, confidence) if objects else None
    return _of_pixels(counts, text, kind, confidence, scores, edges)


def _as_states(ids: np.ndarray) -> np.ndarray:
    return np.where(ids > 0, WATER, LAND).astype(np.uint8)


def _inside(states: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.where(ids > 0, states, UNKNOWN).astype(np.uint8)


def _counted(mapped: xr.DataArray, states: da.Array, width: int | None) -> tuple[np.ndarray, EdgeScores | None]:
    """Pixels and quanta (2, 3, 3) int64 by state of the map and of the reference, and along shores, in one pass."""
    wanted = [_confusion(mapped, states), *([] if width is None else [count_edges(mapped, states, width)])]
    counts, *edges = dask.compute(*wanted)
    scores = None if width is None else EdgeScores(width, *map(int, edges[0]))
    return np.asarray(counts).reshape(2, 3, 3), scores


def _confusion(mapped: xr.DataArray, states: da.Array) -> da.Array:
    grid = PixelGrid.of(mapped)
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in mapped.data.chunks)
    parts = blockwise(
        _confuse, "yxkc", rows, "y", columns, "x", mapped.data, "yx", states, "yx", dtype=np.int64, name="confusion",
        new_axes={"k": 2, "c": 9}, adjust_chunks=dict.fromkeys("yx", lambda _: 1), grid=grid,
    )  # fmt: skip
    return parts.sum(axis=(0, 1))


def _confuse(rows: Any, columns: Any, mapped: np.ndarray, states: np.ndarray, grid: PixelGrid) -> np.ndarray:
    return confuse(mapped, states, pixel_quanta(grid, rows, columns).area)[None, None]


def _of_pixels(
    counts: np.ndarray, text: str, kind: Kind, confidence: float, scores: ObjectScores | None,
    edges: EdgeScores | None,
) -> Assessment:  # fmt: skip
    pixels, areas = (Confusion(*(table[pair] for pair in ((1, 1), (1, 0), (0, 1), (0, 0))))
                     for table in (counts[0].astype(object), counts[1] / AREA_QUANTA))  # fmt: skip
    _check_any(pixels.total, kind)
    unknown = {
        "map": {name: int(counts[0, 2, k]) for k, name in enumerate(_NAMES[:2])},
        "reference": int(counts[0, :, 2].sum()),
    }
    return Assessment(
        text, kind, "pixels", pixels, unknown, pixels.measures(), {}, confidence, area=areas, edges=edges,
        objects=scores,
    )  # fmt: skip


def _of_points(
    water: xr.Dataset | xr.DataArray, points: pd.DataFrame, date: Any, share: float, by: str | None, confidence: float
) -> Assessment:
    if date is not None or (isinstance(water, xr.DataArray) and water.ndim == 2):
        points = points.drop(columns="date", errors="ignore")
    mapped, text = map_of(water, date, share)
    text = "the map of each point's date" if "date" in points else text
    truth = points["truth"].to_numpy()
    if not (truth != UNKNOWN).any():
        raise InvalidInputError("no point tells its class: fill in the column class with water or land")
    state = states_at(water, mapped, points)
    known = np.isin(state, (LAND, WATER)) & (truth != UNKNOWN)
    confusion = _confusion_of(state[known], truth[known])
    _check_any(confusion.total, "points")
    hidden = (state == UNKNOWN) & (truth != UNKNOWN)
    unknown = {
        "map": {name: int((hidden & (truth == k)).sum()) for k, name in enumerate(_NAMES[:2])},
        "reference": int((truth == UNKNOWN).sum()),
        "outside": int(((state == -1) & (truth != UNKNOWN)).sum()),
    }
    estimate, notes = _estimate(points[known], state[known], truth[known], confidence)
    groups = None if by is None else _by_group(points, by, known, state == truth, confidence)
    return Assessment(
        text, "points", "points", confusion, unknown, confusion.measures(),
        confusion.intervals(confidence) if estimate is None else {}, confidence, estimate=estimate, groups=groups,
        notes=notes,
    )  # fmt: skip


def _confusion_of(state: np.ndarray, truth: np.ndarray) -> Confusion:
    pairs = ((WATER, WATER), (WATER, LAND), (LAND, WATER), (LAND, LAND))
    return Confusion(*(int(((state == m) & (truth == r)).sum()) for m, r in pairs))


def _estimate(
    points: pd.DataFrame, state: np.ndarray, truth: np.ndarray, confidence: float
) -> tuple[Estimate | None, tuple[str, ...]]:
    """What the strata of the points make of them."""
    if "stratum" not in points:
        return None, ()
    if "stratum_area" not in points:
        return None, ("points have a stratum but no stratum_area, so no areas were estimated",)
    areas = points.groupby("stratum", sort=True)["stratum_area"].agg(["min", "max"])
    if not (areas["min"] == areas["max"]).all():
        raise InvalidInputError("stratum_area differs among points of one stratum: it is the area of the whole stratum")
    names = list(areas.index)
    counts = np.zeros((len(names), 2, 2), np.int64)
    np.add.at(
        counts, (pd.Categorical(points["stratum"], names).codes, state.astype(np.int64), truth.astype(np.int64)), 1
    )
    try:
        return estimate_stratified(counts, areas["min"], classes=_NAMES[:2], strata=names, confidence=confidence), ()
    except InvalidInputError as error:  # a stratum with a point or none: the plain counts still hold
        return None, (f"no areas were estimated: {error}",)


def _by_group(points: pd.DataFrame, by: str, known: np.ndarray, right: np.ndarray, confidence: float) -> pd.DataFrame:
    if by not in points:
        raise InvalidInputError(
            f"by={by!r} is no column of the points; there are {', '.join(map(str, points.columns))}"
        )
    rows = {}
    for name, at in points.groupby(by, sort=True).indices.items():
        n, good = int(known[at].sum()), int((known & right)[at].sum())
        low, high = wilson(good, n, confidence)
        rows[name] = {"points": n, "right": good, "accuracy": good / n if n else math.nan, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _check_any(total: float, kind: str) -> None:
    if not total:
        told = {
            "points": "no point lies on a pixel that the map knows",
            "polygons": "the map is unknown wherever the polygons tell something",
            "raster": "no pixel is known in both: is codes= right for this raster, and does it meet the map?",
        }
        raise InvalidInputError(f"nothing could be compared: {told[kind]}")
