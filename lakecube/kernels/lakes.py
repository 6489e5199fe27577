"""What is known of each lake, block by block: integer sums that add up in any order. Partial → combine → decide.

1. `measure_block`, with the labels of `label_block` and a halo of one pixel of classes: one row per label of the block.
   It needs the block's own labels only, for two pixels of one class that share an edge are of one component, so the
   outline can be told from the classes. Hence it runs in the same pass as labelling.
2. The ``label`` of the tables is passed through `label.relabel` with what `label.merge_pairs` found; `combine_tables`
   adds rows of one label. `combine_overlaps` does the same for `overlap_block`, the ground of the registry.
3. `lake_runs` of the block's final labels and `pack_area`, once; `sum_states` of a few dates at a time; `add_sums` into
   a table of those lakes that are wanted; `areas_of_sums` decides.

Lengths and areas are int64 quanta, so that a sum is the same in any order, to the last bit. The whole Earth is less
than 2^62 quanta of area, and a pixel of 10 m is told to 1e-6 of its area.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.label import find_runs
from lakecube.kernels.numbering import new_table, number_key

#: Quanta per square metre, and per metre.
AREA_QUANTA, LENGTH_QUANTA = 2**13, 2**20
#: One row per label of `measure_block`. Rows and columns are of the whole image; ``last_…`` is the last inside.
LAKE_TABLE = np.dtype([
    ("label", "i8"), ("class", "u1"), ("touches_edge", "u1"), ("pixels", "i8"), ("area", "i8"), ("perimeter", "i8"),
    ("row_sum", "i8"), ("column_sum", "i8"), ("first_row", "i8"), ("last_row", "i8"), ("first_column", "i8"),
    ("last_column", "i8"), ("elevation_min", "f4"), ("elevation_max", "f4"),
])  # fmt: skip
#: One row per pair of a label and a lake of the previous revision that share pixels.
OVERLAP_TABLE = np.dtype([("label", "i8"), ("previous", "i8"), ("pixels", "i8")])
#: Last axis of what `sum_states` returns: seen as water; hidden; hidden and inferred water; hidden and not inferred.
WET, HIDDEN, INFERRED, UNRESOLVED = 0, 1, 2, 3
_SUMS = ("pixels", "area", "perimeter", "row_sum", "column_sum")
_LEAST, _MOST = ("first_row", "first_column"), ("class", "touches_edge", "last_row", "last_column")


def measure_block(
    classes: np.ndarray, labels: np.ndarray, first_row: int, first_column: int, area: np.ndarray,
    edges_x: np.ndarray, edges_y: np.ndarray, elevation: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Measure the lakes of one block.

    Parameters
    ----------
    classes : (y + 2, x + 2) uint8
        With a halo of one pixel; 255 (unseen) beyond the image. Whoever has a neighbour of 255 touches the edge.
    labels : (y, x) int64
        Of the block without halo, the block's own or merged ones.
    first_row, first_column : int
        Place of the block's first pixel in the image.
    area : (y, x) or (y, 1) int64
        Quanta of each pixel's area; (y, 1) if all of a row are alike.
    edges_x : (y + 1, x) or (y + 1, 1) int64
        Quanta of length of the pixels' edges that run along x: above each row, and below the last.
    edges_y : (y, x + 1) or (y, 1) int64
        Quanta of length of the edges that run along y: left of each column, and right of the last.
    elevation : (y, x) float32, optional
        Metres; NaN is passed over.

    Returns
    -------
    (lakes,) LAKE_TABLE
        Sorted by label. Elevations are NaN where there is none. O(pixels).
    """
    classes, labels = np.ascontiguousarray(classes), np.ascontiguousarray(labels)
    rows_at, start, stop = find_runs(np.ascontiguousarray(classes[1:-1, 1:-1]))
    ids, number = _number_runs(_labels_of_runs(labels, rows_at, start))
    table = np.zeros(ids.size, LAKE_TABLE)
    sums, ends = np.zeros((ids.size, len(_SUMS)), np.int64), np.empty((ids.size, 6), np.int64)
    ends[:] = [np.iinfo(np.int64).max, -1, np.iinfo(np.int64).max, -1, 0, 0]
    place = np.array([first_row, first_column])
    _measure(classes, rows_at, start, stop, number, place, area, edges_x, edges_y, sums, ends)
    table["label"] = ids
    for k, name in enumerate(_SUMS):
        table[name] = sums[:, k]
    for k, name in enumerate(("first_row", "last_row", "first_column", "last_column", "class", "touches_edge")):
        table[name] = ends[:, k]
    band = np.full((ids.size, 2), np.nan, np.float32)
    if elevation is not None:
        _elevations(np.ascontiguousarray(elevation, np.float32), rows_at, start, stop, number, band)
    table["elevation_min"], table["elevation_max"] = band.T
    return table


def combine_tables(tables: Iterable[np.ndarray]) -> np.ndarray:
    """Join tables of LAKE_TABLE, in any order: rows of one label become one; sorted by label. O(n log n)."""
    joined = np.concatenate([np.zeros(0, LAKE_TABLE), *tables])
    order = np.argsort(joined["label"], kind="stable")
    joined = joined[order]
    first = _firsts(joined["label"])
    out = joined[first]
    if out.size:
        for names, reduce in ((_SUMS, np.add), (_LEAST, np.minimum), (_MOST, np.maximum)):
            for name in names:
                out[name] = reduce.reduceat(joined[name], first)
        out["elevation_min"] = np.fmin.reduceat(joined["elevation_min"], first)
        out["elevation_max"] = np.fmax.reduceat(joined["elevation_max"], first)
    return out


def overlap_block(labels: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Pixels that each label shares with each lake of the previous revision.

    labels, previous (y, x) int64, 0 outside → (pairs,) OVERLAP_TABLE, sorted by label, then previous. O(pixels).
    """
    n = _count_overlap_runs(labels, previous)
    table = np.empty(n, OVERLAP_TABLE)
    columns = [np.empty(n, np.int64) for _ in range(3)]
    _overlap_runs(labels, previous, *columns)
    table["label"], table["previous"], table["pixels"] = columns
    return combine_overlaps([table])


def combine_overlaps(tables: Iterable[np.ndarray]) -> np.ndarray:
    """Join tables of OVERLAP_TABLE, in any order: rows of one pair become one; sorted by label, then previous."""
    joined = np.concatenate([np.zeros(0, OVERLAP_TABLE), *tables])
    joined = joined[np.lexsort((joined["previous"], joined["label"]))]
    first = _firsts(joined["label"], joined["previous"])
    out = joined[first]
    if out.size:
        out["pixels"] = np.add.reduceat(joined["pixels"], first)
    return out


def _firsts(*keys: np.ndarray) -> np.ndarray:
    """Position of the first row of each group of equal keys, sorted already."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)


def lake_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lakes of one block and where they are: ids (lakes,) int64, sorted, and runs (n, 4) int32.

    labels (y, x) int64, 0 outside. A run is (row, start, stop, position in ids), in raster order. O(pixels).
    """
    labels = np.ascontiguousarray(labels)
    runs = np.empty((_count_label_runs(labels), 4), np.int32)
    label = np.empty(len(runs), np.int64)
    _label_runs(labels, runs, label)
    ids, runs[:, 3] = _number_runs(label)
    return ids, runs


def pack_area(area: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Areas (y, x) or (y, 1) int64 of the pixels of runs (n, 4) int32, one after the other: (pixels,) int64."""
    out = np.empty(int((runs[:, 2] - runs[:, 1]).sum(dtype=np.int64)), np.int64)
    _pack_area(area, runs, out)
    return out


def sum_states(
    states: np.ndarray, restored: np.ndarray | None, runs: np.ndarray, lakes: int, area: np.ndarray
) -> np.ndarray:
    """Area of each lake by state on each date, within one block.

    Parameters
    ----------
    states : (t, y, x) uint8
        0 land, 1 water, anything else hidden.
    restored : (t, y, x) uint8 or None
        Where hidden: 0 land, 1 water, anything else not inferred. Never read where the ground was seen.
    runs : (n, 4) int32
        Of `lake_runs`.
    lakes : int
        How many lakes the runs are of.
    area : (pixels,), (y, x) or (y, 1) int64
        Quanta of the areas of the runs' pixels, as `pack_area` gives them; or of each pixel, to be packed here.

    Returns
    -------
    (lakes, t, 4) int64
        Quanta that were seen as water; that were hidden; that were hidden and inferred water; and that were hidden
        and not inferred (`WET`, `HIDDEN`, `INFERRED`, `UNRESOLVED`). O(dates · pixels of lakes).
    """
    sums = np.zeros((lakes, len(states), 4), np.int64)
    area = area if area.ndim == 1 else pack_area(area, runs)
    _sum_states(states, states if restored is None else restored, restored is not None, runs, area, sums)
    return sums


def add_sums(total: np.ndarray, ids: np.ndarray, sums: np.ndarray, of: np.ndarray) -> None:
    """Add the sums (n, …) of lakes `of` (n,) to the rows of `total` (lakes, …) of lakes `ids` (lakes,), sorted.

    Lakes that `ids` does not hold are passed over, so that lakes can be taken a range of ids at a time. `total` is the
    caller's own and is changed.
    """
    at = np.searchsorted(ids, of)
    wanted = at < ids.size
    wanted[wanted] = ids[at[wanted]] == of[wanted]
    np.add.at(total, at[wanted], sums[wanted])


def areas_of_sums(sums: np.ndarray, area: np.ndarray) -> dict[str, np.ndarray]:
    """Areas per lake and date by the names of the contract, float64 m² (and 1).

    sums (lakes, dates, 4) int64 of `sum_states`, added over all blocks; area (lakes,) int64, quanta of the largest
    extent. `lake_area` is NaN where some of the lake was neither seen nor inferred, `lake_area_observed` where nothing
    of it was seen; the limits and the observed fraction are always known.
    """
    whole = area[:, None]
    wet, hidden = sums[..., WET], sums[..., HIDDEN]
    known = sums[..., UNRESOLVED] == 0
    return {
        "lake_area": np.where(known, (wet + sums[..., INFERRED]) / AREA_QUANTA, np.nan),
        "lake_area_observed": np.where(hidden < whole, wet / AREA_QUANTA, np.nan),
        "lake_area_lower": wet / AREA_QUANTA,
        "lake_area_upper": (wet + hidden) / AREA_QUANTA,
        "lake_observed_fraction": (whole - hidden) / whole,
    }


def _number_runs(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels of runs, sorted, and each run's position among them, int32."""
    # runs in raster order repeat their labels; numbering them by a hash first leaves few to sort
    number, ids = _hash_runs(label)
    order = np.argsort(ids)
    rank = np.empty(ids.size, np.int32)
    rank[order] = np.arange(ids.size, dtype=np.int32)
    return ids[order], rank[number]


@jit
def _hash_runs(label):
    keys, values = new_table()
    number, ids = np.empty(label.size, np.int32), np.empty(label.size, np.int64)
    n = 0
    for k in range(label.size):
        keys, values, n, number[k] = number_key(keys, values, n, label[k])
        ids[number[k]] = label[k]
    return number, ids[:n]


@jit
def _labels_of_runs(labels, rows_at, start):
    out = np.empty(start.size, np.int64)
    for i in range(labels.shape[0]):
        for k in range(rows_at[i], rows_at[i + 1]):
            out[k] = labels[i, start[k]]
    return out


@jit
def _measure(classes, rows_at, start, stop, number, place, area, edges_x, edges_y, sums, ends):
    for i in range(rows_at.size - 1):
        above, here, below = classes[i], classes[i + 1], classes[i + 2]
        row = place[0] + i
        for k in range(rows_at[i], rows_at[i + 1]):
            a, b, n = start[k], stop[k], number[k]
            kind = here[a + 1]
            edge = here[a] == 255 or here[b + 1] == 255
            for j in range(a, b + 2):
                edge |= above[j] == 255 or below[j] == 255
            first, last = place[1] + a, place[1] + b - 1
            sums[n, 0] += b - a
            sums[n, 1] += _along(area[i], a, b)
            sums[n, 2] += _outline(edges_x[i], above, kind, a, b) + _outline(edges_x[i + 1], below, kind, a, b)
            sums[n, 2] += edges_y[i, a if edges_y.shape[1] > 1 else 0] * (here[a] != kind)
            sums[n, 2] += edges_y[i, b if edges_y.shape[1] > 1 else 0] * (here[b + 1] != kind)
            sums[n, 3] += row * (b - a)
            sums[n, 4] += (first + last) * (b - a) // 2
            ends[n, 0] = min(ends[n, 0], row)
            ends[n, 1] = max(ends[n, 1], row)
            ends[n, 2] = min(ends[n, 2], first)
            ends[n, 3] = max(ends[n, 3], last)
            ends[n, 4] = kind
            ends[n, 5] = max(ends[n, 5], edge)


@jit_inline
def _along(quanta, a, b):
    """Sum of one row's quanta over a run; one value stands for all."""
    total = np.int64(0)
    if quanta.size == 1:
        total = quanta[0] * (b - a)
    else:
        for j in range(a, b):
            total += quanta[j]
    return total


@jit_inline
def _outline(quanta, beside, kind, a, b):
    """Sum of the edges of a run towards the row beside it (with halo), where that is of another class."""
    total = np.int64(0)
    if quanta.size == 1:
        for j in range(a, b):
            total += beside[j + 1] != kind
        total *= quanta[0]
    else:
        for j in range(a, b):
            total += quanta[j] * (beside[j + 1] != kind)
    return total


@jit
def _elevations(elevation, rows_at, start, stop, number, band):
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1]):
            n = number[k]
            for j in range(start[k], stop[k]):
                value = elevation[i, j]
                if not value >= band[n, 0] and value == value:  # the band is NaN at first
                    band[n, 0] = value
                if not value <= band[n, 1] and value == value:
                    band[n, 1] = value


@jit
def _count_overlap_runs(labels, previous):
    n = 0
    for i in range(labels.shape[0]):
        a, b = np.int64(0), np.int64(0)
        for j in range(labels.shape[1]):
            if labels[i, j] == a and previous[i, j] == b:
                continue
            a, b = labels[i, j], previous[i, j]
            n += a > 0 and b > 0
    return n


@jit
def _overlap_runs(labels, previous, label, other, pixels):
    n = -1
    for i in range(labels.shape[0]):
        a, b = np.int64(0), np.int64(0)
        for j in range(labels.shape[1]):
            if labels[i, j] != a or previous[i, j] != b:
                a, b = labels[i, j], previous[i, j]
                if a > 0 and b > 0:
                    n += 1
                    label[n], other[n], pixels[n] = a, b, 0
            if a > 0 and b > 0:
                pixels[n] += 1


@jit
def _count_label_runs(labels):
    n = 0
    for i in range(labels.shape[0]):
        last = np.int64(0)
        for j in range(labels.shape[1]):
            n += labels[i, j] > 0 and labels[i, j] != last
            last = labels[i, j]
    return n


@jit
def _label_runs(labels, runs, label):
    n = -1
    for i in range(labels.shape[0]):
        last = np.int64(0)
        for j in range(labels.shape[1]):
            here = labels[i, j]
            if here > 0:
                if here != last:
                    n += 1
                    runs[n, 0], runs[n, 1], label[n] = i, j, here
                runs[n, 2] = j + 1
            last = here


@jit
def _pack_area(area, runs, out):
    n = 0
    for k in range(runs.shape[0]):
        row = area[runs[k, 0]]
        for j in range(runs[k, 1], runs[k, 2]):
            out[n] = row[j if row.size > 1 else 0]
            n += 1


@jit
def _sum_states(states, restored, has_restored, runs, area, sums):
    for t in range(states.shape[0]):
        at = -1
        for k in range(runs.shape[0]):
            i, n = runs[k, 0], runs[k, 3]
            wet = hidden = inferred = unresolved = np.int64(0)
            for j in range(runs[k, 1], runs[k, 2]):
                at += 1
                quanta = area[at]
                state = states[t, i, j]
                if state == 1:
                    wet += quanta
                elif state != 0:
                    hidden += quanta
                    guess = restored[t, i, j] if has_restored else np.uint8(255)
                    if guess == 1:
                        inferred += quanta
                    elif guess != 0:
                        unresolved += quanta
            sums[n, t, 0] += wet
            sums[n, t, 1] += hidden
            sums[n, t, 2] += inferred
            sums[n, t, 3] += unresolved
