"""What is known of each lake, block by block: integer sums that add up in any order. Partial → combine → decide.

1. `measure_block`, with the labels of `label_block` and a halo of one pixel of classes: one row per label of the block.
   It needs the block's own labels only, for two pixels of one class that share an edge are of one component, so the
   outline can be told from the classes. Hence it runs in the same pass as labelling.
2. The ``label`` of the tables is passed through `label.relabel` with what `label.merge_pairs` found; `combine_tables`
   adds rows of one label.

Lengths and areas are int64 quanta, so that a sum is the same in any order, to the last bit. The whole Earth is less
than 2^62 quanta of area, and a pixel of 10 m is told to 1e-6 of its area.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.label import find_runs
from lakecube.kernels.numbering import group_starts, number_labels

#: Quanta per square metre, and per metre.
AREA_QUANTA, LENGTH_QUANTA = 2**13, 2**20
#: One row per label of `measure_block`. Rows and columns are of the whole image; ``last_…`` is the last inside.
LAKE_TABLE = np.dtype([
    ("label", "i8"), ("class", "u1"), ("touches_edge", "u1"), ("pixels", "i8"), ("area", "i8"), ("perimeter", "i8"),
    ("row_sum", "i8"), ("column_sum", "i8"), ("first_row", "i8"), ("last_row", "i8"), ("first_column", "i8"),
    ("last_column", "i8"), ("elevation_min", "f4"), ("elevation_max", "f4"),
])  # fmt: skip
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
    ids, number = number_labels(_labels_of_runs(labels, rows_at, start))
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
    first = group_starts(joined["label"])
    out = joined[first]
    if out.size:
        for names, reduce in ((_SUMS, np.add), (_LEAST, np.minimum), (_MOST, np.maximum)):
            for name in names:
                out[name] = reduce.reduceat(joined[name], first)
        out["elevation_min"] = np.fmin.reduceat(joined["elevation_min"], first)
        out["elevation_max"] = np.fmax.reduceat(joined["elevation_max"], first)
    return out


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
