"""Numbering keys in the order in which they first appear: a hash of open addresses. Labels of runs, groups of rows."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline


@jit
def new_table():
    """Room for 1024 keys: keys int64 (−1: free) and their numbers int32. Keys are not negative."""
    return np.full(1024, -1, np.int64), np.empty(1024, np.int32)


@jit_inline
def place(keys, key):
    """Where `key` stands among the keys, or, where these are negative, where it would."""
    mask = keys.size - 1
    at = ((key ^ (key >> 27)) * 0x9E3779B97F4A7C1 >> 17) & mask
    while keys[at] >= 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@jit
def number_key(keys, numbers, count, key):
    """The number of `key`, and the table, four times as large when half full; `count` numbers are given so far.

    Returns keys, numbers, count, number; a key that is new gets the next number. O(1), amortised.
    """
    at = place(keys, key)
    if keys[at] < 0:
        if 2 * count >= keys.size:
            keys, numbers = _enlarge(keys, numbers)
            at = place(keys, key)
        keys[at], numbers[at] = key, count
        count += 1
    return keys, numbers, count, numbers[at]


@jit
def _enlarge(keys, numbers):
    more, same = np.full(4 * keys.size, -1, np.int64), np.empty(4 * keys.size, np.int32)
    for k in range(keys.size):
        if keys[k] >= 0:
            at = place(more, keys[k])
            more[at], same[at] = keys[k], numbers[k]
    return more, same


def number_labels(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels (runs,) int64, sorted, and each run's position among them, int32."""
    # runs in raster order repeat their labels; numbering them by a hash first leaves few to sort
    number, ids = _numbered(label)
    order = np.argsort(ids)
    rank = np.empty(ids.size, np.int32)
    rank[order] = np.arange(ids.size, dtype=np.int32)
    return ids[order], rank[number]


@jit
def _numbered(label):
    keys, values = new_table()
    number, ids = np.empty(label.size, np.int32), np.empty(label.size, np.int64)
    n = 0
    for k in range(label.size):
        keys, values, n, number[k] = number_key(keys, values, n, label[k])
        ids[number[k]] = label[k]
    return number, ids[:n]


def group_starts(*keys: np.ndarray) -> np.ndarray:
    """Position of the first row of each group of equal keys, sorted already."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)
