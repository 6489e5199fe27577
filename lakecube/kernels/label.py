"""Connected components, block by block, with labels that do not depend on the blocks: runs, not pixels.

A label is 1 + the smallest flat index (row · width + column in the whole image) of the component's pixels, so any
cutting of the image gives the same labels once what touches across the cuts is merged:

1. `label_block` on every block by itself: the labels are those of the block's own components;
2. `touching_pairs` on every cut: the two lines of labels and classes on both of its sides, over the image's whole
   height or width at once, so that corners are met as well;
3. `merge_pairs` on all pairs together: which labels yield to which. No chain: one union over the cuts alone;
4. `relabel` on every block, and on whatever was measured under the blocks' own labels.

Classes: 0 no water, 1 reference extent, 2 provisional, 255 unseen. Only pixels of one class join; 0 and 255 never do.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.sets import root, unite

#: Classes of `label_block`.
NONE, REFERENCE, PROVISIONAL, UNSEEN = 0, 1, 2, 255


def classify_extent(wet: np.ndarray, clear: np.ndarray, min_frequency: float, min_wet: int) -> np.ndarray:
    """Classes of pixels by how often they were water: uint8 (y, x), what `label_block` takes.

    wet, clear (y, x) unsigned counts of observed dates. Reference where wet on at least `min_wet` dates and on at least
    `min_frequency` of the clear ones; provisional elsewhere where ever wet; unseen where never clear.
    """
    classes = np.where(clear == 0, np.uint8(UNSEEN), np.uint8(NONE))
    classes[wet > 0] = PROVISIONAL
    share = np.divide(wet, clear, out=np.zeros(wet.shape), where=clear > 0)
    classes[(wet >= max(min_wet, 1)) & (share >= min_frequency)] = REFERENCE
    return classes


def label_block(
    classes: np.ndarray, first_row: int, first_column: int, width: int, connectivity: int = 2
) -> np.ndarray:
    """Label the components of one block.

    classes (y, x) uint8; place of its first pixel in the image, and the image's width; connectivity 1 (edges) or 2
    (edges and corners) → labels (y, x) int64, 0 where the class is 0 or 255. O(pixels).
    """
    classes = np.ascontiguousarray(classes)
    rows_at, start, stop = find_runs(classes)
    labels = np.zeros(classes.shape, np.int64)  # pages without water are never touched
    first = _join_runs(classes, rows_at, start, stop, connectivity)
    _paint(labels, rows_at, start, stop, first, first_row, first_column, width)
    return labels


def touching_pairs(
    labels_a: np.ndarray, classes_a: np.ndarray, labels_b: np.ndarray, classes_b: np.ndarray, connectivity: int = 2
) -> np.ndarray:
    """Labels that touch across one cut: (pairs, 2) int64, each pair once, smaller label first, sorted.

    labels (n,) int64 and classes (n,) uint8 of the lines on both sides of the cut, aligned.
    """
    found = []
    for shift in (0,) if connectivity == 1 else (-1, 0, 1):
        a, b = slice(max(shift, 0), len(labels_a) + min(shift, 0)), slice(max(-shift, 0), len(labels_b) - max(shift, 0))
        same = (labels_a[a] > 0) & (classes_a[a] == classes_b[b])
        found.append(np.stack([labels_a[a][same], labels_b[b][same]], axis=1))
    return distinct_pairs(np.sort(np.concatenate(found), axis=1))


def distinct_pairs(pairs: np.ndarray) -> np.ndarray:
    """Rows of pairs (n, 2) int64, each once, sorted."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    first = np.ones(len(pairs), bool)
    first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[first]


def merge_pairs(pairs: np.ndarray | Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which labels yield to which: old, new (n,) int64, sorted by old; only labels that change.

    pairs (n, 2) int64, or several such arrays in any order. The label of a set is its smallest. O(n log n).
    """
    several = [pairs] if isinstance(pairs, np.ndarray) else list(pairs)
    joined = np.concatenate([np.zeros((0, 2), np.int64), *several]).astype(np.int64)
    known, at = np.unique(joined, return_inverse=True)
    root = known[_union(at.reshape(joined.shape), known.size)]
    changes = root != known
    return known[changes], root[changes]


def relabel(labels: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Labels (…) int64 with each `old` replaced by its `new`; others stay. old (n,) sorted. O(runs · log n)."""
    flat = np.ascontiguousarray(labels).reshape(-1)
    return _replace(flat, np.ascontiguousarray(old), np.ascontiguousarray(new)).reshape(labels.shape)


def find_runs(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of pixels of one class (not 0, not 255) along each row of classes (y, x) uint8, contiguous.

    rows_at (y + 1,) int64: the first run of each row, then how many; start, stop (runs,) int32.
    """
    rows_at = np.empty(classes.shape[0] + 1, np.int64)
    start, stop = np.empty(classes.size, np.int32), np.empty(classes.size, np.int32)  # only pages written to are real
    n = _find_runs(classes, rows_at, start, stop)
    return rows_at, start[:n], stop[:n]


@jit
def _find_runs(classes, rows_at, start, stop):
    rows, columns = classes.shape
    n = 0
    for i in range(rows):
        rows_at[i] = n
        row = classes[i]
        j = 0
        while j < columns:
            here = row[j]
            if here == 0 or here == 255:
                j += 1
                continue
            start[n] = j
            j += 1
            while j < columns and row[j] == here:
                j += 1
            stop[n] = j
            n += 1
    rows_at[rows] = n
    return n


@jit
def _join_runs(classes, rows_at, start, stop, connectivity):
    """The first run of each run's component, in raster order, hence the one with the smallest flat index."""
    reach = connectivity - 1  # by how many pixels runs may miss each other
    parent = np.arange(start.size)
    for i in range(1, rows_at.size - 1):
        a, above = rows_at[i - 1], rows_at[i]
        for b in range(rows_at[i], rows_at[i + 1]):
            while a < above and stop[a] + reach <= start[b]:
                a += 1
            k = a
            while k < above and start[k] < stop[b] + reach:
                if classes[i - 1, start[k]] == classes[i, start[b]]:
                    unite(parent, k, b)
                k += 1
    for k in range(parent.size):
        parent[k] = parent[parent[k]]  # the root comes first
    return parent


@jit
def _paint(labels, rows_at, start, stop, root, first_row, first_column, width):
    label = np.empty(start.size, np.int64)
    for i in range(rows_at.size - 1):
        row = labels[i]
        for k in range(rows_at[i], rows_at[i + 1]):
            r = root[k]
            label[k] = 1 + (first_row + i) * width + first_column + start[k] if r == k else label[r]
            for j in range(start[k], stop[k]):
                row[j] = label[k]


@jit
def _union(pairs, n):
    parent = np.arange(n)
    for k in range(pairs.shape[0]):
        unite(parent, pairs[k, 0], pairs[k, 1])
    for k in range(n):
        parent[k] = root(parent, k)
    return parent


@jit
def _replace(labels, old, new):
    out = np.zeros(labels.size, np.int64)
    last, value = np.int64(0), np.int64(0)
    for k in range(labels.size):
        here = labels[k]
        if here == 0:
            continue
        if here != last:
            last = here
            at = np.searchsorted(old, here)
            value = new[at] if at < old.size and old[at] == here else here
        out[k] = value
    return out
