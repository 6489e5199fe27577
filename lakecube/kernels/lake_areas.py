"""The area of each lake on each date: integer sums per block that add up in any order. Partial → combine → decide.

`lake_runs` of the block's final labels and `pack_area`, once; `sum_states` of a few dates at a time; `add_sums` into a
table of those lakes that are wanted; `areas_of_sums` decides. Areas are in the quanta of `kernels.lakes`.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.kernels.numbering import number_labels

#: Last axis of what `sum_states` returns: seen as water; hidden; hidden and inferred water; hidden and not inferred.
WET, HIDDEN, INFERRED, UNRESOLVED = 0, 1, 2, 3


def lake_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lakes of one block and where they are: ids (lakes,) int64, sorted, and runs (n, 4) int32.

    labels (y, x) int64, 0 outside. A run is (row, start, stop, position in ids), in raster order. O(pixels).
    """
    labels = np.ascontiguousarray(labels)
    runs = np.empty((_count_label_runs(labels), 4), np.int32)
    label = np.empty(len(runs), np.int64)
    _label_runs(labels, runs, label)
    ids, runs[:, 3] = number_labels(label)
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
