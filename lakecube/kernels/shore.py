"""The visible and the hidden shore: integer counts by lake, date and bin of water frequency, and the way back.

Restoration is *partial -> combine -> decide -> apply*, so that it is the same for every chunking:

1. partial: `count_shore` of each block and a few dates (`count_shore_under`: clouds of one date laid over another);
2. combine: add the counts of all blocks (a lake may span many);
3. decide: `kernels.relation` (one relation per date, whole scene) and `kernels.levels` (one water level per lake
   and date, linked through time) turn counts into the probability of water per lake, date and bin;
   `kernels.intervals` turns what `count_shore_under` counted into calibrated quantiles of the hidden area;
4. apply: `restore_states` of each block and a few dates looks the decision up, pixel by pixel; `sum_areas` adds areas.

A pixel's bin is that of its water frequency among the *other* dates: on a date on which it is seen, that date is left
out of its counts; a date on which it is hidden never was in them. Bins come from two integers; no float decides.
Lakes are numbered 0 … n − 1 within the arrays given; -1 (outside all lakes) counts in the last row, number n, and
the sum over all rows is the whole scene.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

#: Bins of water frequency: 0 is never wet, the last is always wet, between them steps of 1 / (BINS - 2).
BINS = 32
#: Last axis of `count_shore`.
DRY, WET, HIDDEN = 0, 1, 2
#: Last axis of `count_shore_under`: DRY, WET, and what the donor's clouds hide.
HIDDEN_DRY, HIDDEN_WET = 2, 3
#: Last axis of `sum_areas`.
SEEN_DRY, SEEN_WET, UNSEEN, RESTORED_WET = 0, 1, 2, 3


@jit_inline
def _bin(wet, clear):
    """Bin of wet / clear (int64), -1 if never clear."""
    if clear == 0:
        return np.int64(-1)
    if wet == 0:
        return np.int64(0)
    if wet == clear:
        return np.int64(BINS - 1)
    return 1 + wet * (BINS - 2) // clear


@jit_inline
def _bin_without(wet, clear, state):
    """Bin among the other dates of a pixel that is `state` on this one."""
    if state > 1:
        return _bin(np.int64(wet), np.int64(clear))
    return _bin(np.int64(wet) - (state == 1), np.int64(clear) - 1)


@jit
def frequency_bins(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Bin of the water frequency of every pixel.

    Parameters
    ----------
    wet, clear : (y, x) uint32
        Counts of wet and of clear dates, wet <= clear.

    Returns
    -------
    (y, x) int8
        0 to BINS - 1, -1 where never clear.
    """
    rows, columns = wet.shape
    out = np.empty((rows, columns), np.int8)
    for i in range(rows):
        for j in range(columns):
            out[i, j] = _bin(np.int64(wet[i, j]), np.int64(clear[i, j]))
    return out


@jit
def count_shore(states: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, n_lakes: int) -> np.ndarray:
    """Count dry, wet and hidden pixels by lake and bin of frequency among the other dates.

    Parameters
    ----------
    states : (time, y, x) uint8
        0 land, 1 water, anything else hidden.
    wet, clear : (y, x) uint32
        Counts over *all* dates of the revision, these included.
    lakes : (y, x) int32
        Number of the lake around each pixel, 0 to n_lakes - 1, or -1.
    n_lakes : int

    Returns
    -------
    (time, n_lakes + 1, BINS, 3) uint32
        Pixels that are DRY, WET, HIDDEN; the last row of the lakes is what lies outside of them. Pixels that were seen
        on no other date are in no bin. O(time · y · x).
    """
    dates, rows, columns = states.shape
    out = np.zeros((dates, n_lakes + 1, BINS, 3), np.uint32)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                state = states[t, i, j]
                k = _bin_without(wet[i, j], clear[i, j], state)
                if k >= 0:
                    lake = lakes[i, j] if lakes[i, j] >= 0 else n_lakes
                    out[t, lake, k, min(state, HIDDEN)] += np.uint32(1)
    return out


@jit
def count_shore_under(
    states: np.ndarray, donors: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, n_lakes: int
) -> np.ndarray:
    """Count as `count_shore` what would be seen of these dates under the clouds of others.

    Parameters
    ----------
    states : (pair, y, x) uint8
        What was seen on a date (0, 1, else hidden): the truth.
    donors : (pair, y, x) uint8
        What was seen on the date whose clouds are laid over it; only whether it is hidden matters.
    wet, clear, lakes, n_lakes
        As for `count_shore`.

    Returns
    -------
    (pair, n_lakes + 1, BINS, 4) uint32
        Pixels that are DRY or WET and seen by both; HIDDEN_DRY or HIDDEN_WET where the donor hides them. What the date
        itself did not see is not counted, its truth being unknown.
    """
    pairs, rows, columns = states.shape
    out = np.zeros((pairs, n_lakes + 1, BINS, 4), np.uint32)
    for t in range(pairs):
        for i in range(rows):
            for j in range(columns):
                state = states[t, i, j]
                if state > 1:
                    continue
                k = _bin_without(wet[i, j], clear[i, j], state)
                if k >= 0:
                    lake = lakes[i, j] if lakes[i, j] >= 0 else n_lakes
                    under = 2 if donors[t, i, j] > 1 else 0
                    out[t, lake, k, state + under] += np.uint32(1)
    return out


@jit
def restore_states(
    states: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, decisions: np.ndarray
) -> np.ndarray:
    """Infer the state of hidden pixels from their lake, date and bin.

    Parameters
    ----------
    states, wet, clear, lakes
        As for `count_shore`.
    decisions : (time, n_lakes + 1, BINS) uint8
        0 land, 1 water, 255 undecided; the last row of the lakes is for pixels outside of them.

    Returns
    -------
    (time, y, x) uint8
        0 or 1 where hidden and decided; 255 where seen, undecided, or seen on no date at all.
    """
    dates, rows, columns = states.shape
    outside = decisions.shape[1] - 1
    out = np.full((dates, rows, columns), 255, np.uint8)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                if states[t, i, j] <= 1:
                    continue
                k = _bin(np.int64(wet[i, j]), np.int64(clear[i, j]))
                if k >= 0:
                    lake = lakes[i, j] if lakes[i, j] >= 0 else outside
                    out[t, i, j] = decisions[t, lake, k]
    return out


@jit
def sum_areas(
    states: np.ndarray, restored: np.ndarray, lakes: np.ndarray, n_lakes: int, pixel_area: np.ndarray
) -> np.ndarray:
    """Add up areas by lake and date, in integers.

    Parameters
    ----------
    states, restored : (time, y, x) uint8
        What was seen, and what `restore_states` inferred.
    lakes : (y, x) int32
        As for `count_shore`.
    pixel_area : (y,) int64
        Area of a pixel of each row, in any integer unit; ones count pixels.

    Returns
    -------
    (time, n_lakes + 1, 4) int64
        SEEN_DRY, SEEN_WET, UNSEEN (all that is hidden) and RESTORED_WET (part of UNSEEN); exact for any chunking.
    """
    dates, rows, columns = states.shape
    out = np.zeros((dates, n_lakes + 1, 4), np.int64)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                lake = lakes[i, j] if lakes[i, j] >= 0 else n_lakes
                out[t, lake, min(states[t, i, j], UNSEEN)] += pixel_area[i]
                if states[t, i, j] > 1 and restored[t, i, j] == 1:
                    out[t, lake, RESTORED_WET] += pixel_area[i]
    return out
