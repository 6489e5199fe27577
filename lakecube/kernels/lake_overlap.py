"""The ground that lakes share with those of the revision before, block by block: partial → combine → decide.

The ``label`` of the tables is passed through `label.relabel` with what `label.merge_pairs` found; `combine_overlaps`
adds rows of one pair, in any order. The registry decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.numbering import group_starts

#: One row per pair of a label and a lake of the previous revision that share pixels.
OVERLAP_TABLE = np.dtype([("label", "i8"), ("previous", "i8"), ("pixels", "i8")])


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
    first = group_starts(joined["label"], joined["previous"])
    out = joined[first]
    if out.size:
        out["pixels"] = np.add.reduceat(joined["pixels"], first)
    return out


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
