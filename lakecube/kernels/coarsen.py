"""Four pixels into one: the step from a map to its overview. At an odd edge two pixels, or one, stand for the four."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

_LAND, _WATER = 1, 2  # bits of a month's state


@jit
def sum_fours(values: np.ndarray) -> np.ndarray:
    """Sums: (y, x) unsigned integers to (⌈y / 2⌉, ⌈x / 2⌉) uint64. O(y · x)."""
    rows, columns = values.shape
    out = np.zeros(((rows + 1) // 2, (columns + 1) // 2), np.uint64)
    for i in range(rows):
        for j in range(columns):
            out[i // 2, j // 2] += np.uint64(values[i, j])
    return out


@jit
def join_labels(labels: np.ndarray) -> np.ndarray:
    """The commonest label: (y, x) int64 to (⌈y / 2⌉, ⌈x / 2⌉); of equals the smallest above 0. O(y · x)."""
    rows, columns = labels.shape
    out = np.zeros(((rows + 1) // 2, (columns + 1) // 2), np.int64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            below = labels[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            most = 0
            for label in below.flat:
                count = _count(below, label)
                if count > most or (count == most and _goes_before(label, out[i, j])):
                    most, out[i, j] = count, label
    return out


@jit
def join_months(states: np.ndarray) -> np.ndarray:
    """What most pixels that were seen had in a month: (y, x) uint8 to (⌈y / 2⌉, ⌈x / 2⌉). O(y · x).

    Bits as of `month_state`; a pixel that had water counts as water, and half of them decide for water.
    """
    rows, columns = states.shape
    out = np.zeros(((rows + 1) // 2, (columns + 1) // 2), np.uint8)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            seen, wet = 0, 0
            for state in states[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flat:
                seen += state != 0
                wet += (state & _WATER) != 0
            if seen:
                out[i, j] = _WATER if 2 * wet >= seen else _LAND
    return out


@jit_inline
def _count(values: np.ndarray, value: int) -> int:
    count = 0
    for other in values.flat:
        count += other == value
    return count


@jit_inline
def _goes_before(label: int, other: int) -> bool:
    return label != 0 and (other == 0 or label < other)
