"""The visible and the hidden shore: integer counts by lake, date and bin of water frequency, and the way back.

Restoration is *partial -> combine -> decide -> apply*, so that it is the same for every chunking:

1. partial: `count_shore` of each block and a few dates (`count_shore_under`: clouds of one date laid over another);
2. combine: add the counts of all blocks (a lake may span many);
3. decide: `kernels.relation` (one relation per date, whole scene) and `kernels.levels` (one water level per lake
   and date, linked through time) turn counts into the probability of water per lake, date and bin;
   `kernels.intervals` turns what `count_shore_under` counted into calibrated quantiles of the hidden area;
4. once more, finer: with levels known, `kernels.heights` sorts the pixels of the shore by height in place of frequency,
   and 1 to 3 are repeated with these bins;
5. apply: `restore_states` of each block and a few dates looks the decision up, pixel by pixel.

A pixel's bin is that of its water frequency among the *other* dates: on a date on which it is seen, that date is left
out of its counts; a date on which it is hidden never was in them. Bins come from two integers; no float decides.
Lakes are numbered 0 … n − 1 within the arrays given; -1 (outside all lakes) counts in the last row, number n, and
the sum over all rows is the whole scene.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.heights import BINS, NONE, Heights, height_of
from lakecube.kernels.jit import jit, jit_inline

#: Last axis of `count_shore`.
DRY, WET, HIDDEN = 0, 1, 2
#: Last axis of `count_shore_under`: DRY, WET, and what the donor's clouds hide.
HIDDEN_DRY, HIDDEN_WET = 2, 3


def _contiguous(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """One memory order, so that the loops are compiled once."""
    return tuple(map(np.ascontiguousarray, arrays))


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
def _bin_without(wet, clear, state, row, counts, level):
    """Bin among the other dates of a pixel that is `state` on this one: by height if it has a row of counts."""
    seen = state <= 1
    others_wet, others_clear = np.int64(wet) - (state == 1), np.int64(clear) - seen
    if row < 0:
        return _bin(others_wet, others_clear)
    return height_of(counts[row], others_wet, others_clear, np.int64(level) if seen else np.int64(-1))


def count_shore(
    states: np.ndarray,
    wet: np.ndarray,
    clear: np.ndarray,
    lakes: np.ndarray,
    n_lakes: int,
    heights: Heights | None = None,
) -> np.ndarray:
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
    heights : Heights, optional
        Of this block, with the levels of these dates: pixels of the shore are then in bins of height.

    Returns
    -------
    (time, n_lakes + 1, BINS, 3) uint32
        Pixels that are DRY, WET, HIDDEN; the last row of the lakes is what lies outside of them. Pixels that were seen
        on no other date are in no bin. O(time · y · x).
    """
    return _count_shore(*_contiguous(states, wet, clear, lakes), n_lakes, *(heights or NONE))


@jit
def _count_shore(states, wet, clear, lakes, n_lakes, index, counts, levels):
    dates, rows, columns = states.shape
    out = np.zeros((dates, n_lakes + 1, BINS, 3), np.uint32)
    for t in range(dates):
        dry = hidden = np.uint32(0)  # of the far land: never wet, outside of all lakes; most pixels are that
        for i in range(rows):
            for j in range(columns):
                state = states[t, i, j]
                if wet[i, j] == 0 and lakes[i, j] < 0:
                    dry += np.uint32((state == 0) & (clear[i, j] > 1))
                    hidden += np.uint32((state > 1) & (clear[i, j] > 0))
                    continue
                lake = lakes[i, j] if lakes[i, j] >= 0 else n_lakes
                row = index[i, j] if index.size else -1
                k = _bin_without(wet[i, j], clear[i, j], state, row, counts, levels[t, lake] if row >= 0 else 0)
                if k >= 0:
                    out[t, lake, k, min(state, HIDDEN)] += np.uint32(1)
        out[t, n_lakes, 0, DRY] += dry
        out[t, n_lakes, 0, HIDDEN] += hidden
    return out


def count_shore_under(
    states: np.ndarray,
    donors: np.ndarray,
    wet: np.ndarray,
    clear: np.ndarray,
    lakes: np.ndarray,
    n_lakes: int,
    heights: Heights | None = None,
) -> np.ndarray:
    """Count as `count_shore` what would be seen of these dates under the clouds of others.

    Parameters
    ----------
    states : (pair, y, x) uint8
        What was seen on a date (0, 1, else hidden): the truth.
    donors : (pair, y, x) uint8
        What was seen on the date whose clouds are laid over it; only whether it is hidden matters.
    wet, clear, lakes, n_lakes, heights
        As for `count_shore`; the levels in `heights` are those of the date of each pair.

    Returns
    -------
    (pair, n_lakes + 1, BINS, 4) uint32
        Pixels that are DRY or WET and seen by both; HIDDEN_DRY or HIDDEN_WET where the donor hides them. What the date
        itself did not see is not counted, its truth being unknown.
    """
    return _count_under(*_contiguous(states, donors, wet, clear, lakes), n_lakes, *(heights or NONE))


@jit
def _count_under(states, donors, wet, clear, lakes, n_lakes, index, counts, levels):
    pairs, rows, columns = states.shape
    out = np.zeros((pairs, n_lakes + 1, BINS, 4), np.uint32)
    for t in range(pairs):
        dry = hidden = np.uint32(0)  # of the far land, as in `_count_shore`
        for i in range(rows):
            for j in range(columns):
                state = states[t, i, j]
                if wet[i, j] == 0 and lakes[i, j] < 0:
                    known = (state == 0) & (clear[i, j] > 1)
                    dry += np.uint32(known & (donors[t, i, j] <= 1))
                    hidden += np.uint32(known & (donors[t, i, j] > 1))
                    continue
                if state > 1:
                    continue
                lake = lakes[i, j] if lakes[i, j] >= 0 else n_lakes
                row = index[i, j] if index.size else -1
                k = _bin_without(wet[i, j], clear[i, j], state, row, counts, levels[t, lake] if row >= 0 else 0)
                if k >= 0:
                    under = 2 if donors[t, i, j] > 1 else 0
                    out[t, lake, k, state + under] += np.uint32(1)
        out[t, n_lakes, 0, DRY] += dry
        out[t, n_lakes, 0, HIDDEN_DRY] += hidden
    return out


def restore_states(
    states: np.ndarray,
    wet: np.ndarray,
    clear: np.ndarray,
    lakes: np.ndarray,
    decisions: np.ndarray,
    heights: Heights | None = None,
) -> np.ndarray:
    """Infer the state of hidden pixels from their lake, date and bin.

    Parameters
    ----------
    states, wet, clear, lakes
        As for `count_shore`.
    decisions : (time, n_lakes + 1, BINS) uint8
        0 land, 1 water, 255 undecided; the last row of the lakes is for pixels outside of them.
    heights : Heights, optional
        As for `count_shore`; needed if the decisions were made with it.

    Returns
    -------
    (time, y, x) uint8
        0 or 1 where hidden and decided; 255 where seen, undecided, or seen on no date at all.
    """
    row, counts, _ = heights or NONE
    return _restore(*_contiguous(states, wet, clear, lakes, decisions), row, counts)


@jit
def _restore(states, wet, clear, lakes, decisions, index, counts):
    dates, rows, columns = states.shape
    outside = decisions.shape[1] - 1
    out = np.full((dates, rows, columns), 255, np.uint8)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                if states[t, i, j] <= 1:
                    continue
                row = index[i, j] if index.size else -1
                k = _bin_without(wet[i, j], clear[i, j], states[t, i, j], row, counts, 0)
                if k >= 0:
                    lake = lakes[i, j] if lakes[i, j] >= 0 else outside
                    out[t, i, j] = decisions[t, lake, k]
    return out


@jit
def grow_lakes(labels: np.ndarray, reach: int) -> np.ndarray:
    """Add to every lake the pixels around it: the dry side of its shore.

    Parameters
    ----------
    labels : (y, x) int64
        0 outside; a positive label, the same for all blocks, in a lake.
    reach : int
        Pixels to add all around, corners included; also the halo that a block needs.

    Returns
    -------
    (y, x) int64
        A pixel that two lakes reach at once goes to the smaller label.
    """
    rows, columns = labels.shape
    out = labels.copy()
    for _ in range(reach):
        before = out.copy()
        for i in range(rows):
            for j in range(columns):
                if before[i, j] != 0:
                    continue
                for a in range(max(i - 1, 0), min(i + 2, rows)):
                    for b in range(max(j - 1, 0), min(j + 2, columns)):
                        if before[a, b] != 0 and (out[i, j] == 0 or before[a, b] < out[i, j]):
                            out[i, j] = before[a, b]
    return out
