"""Which item speaks for a pixel: compiled steps over states (uint8) and reflectance, all (rows, columns), O(n)."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.names import JUDGED, OBSERVATION, OBSERVATION_PRIORITY

#: Rank of a state by its code: the higher it is, the better the ground was seen.
RANK = np.full(256, len(OBSERVATION_PRIORITY), np.uint8)
for _rank, _state in enumerate(OBSERVATION_PRIORITY):
    RANK[OBSERVATION[_state]] = _rank
RANK.flags.writeable = False

#: True where a state lets the ground be judged, by code.
IS_JUDGED = np.zeros(256, np.bool_)
IS_JUDGED[[OBSERVATION[name] for name in JUDGED]] = True
IS_JUDGED.flags.writeable = False


@jit
def look_up(table, codes):
    """``table[codes]`` for a table of 256 values and uint8 codes; shape of `codes`, dtype of `table`."""
    rows, columns = codes.shape
    out = np.empty((rows, columns), table.dtype)
    for i in range(rows):
        for j in range(columns):
            out[i, j] = table[codes[i, j]]
    return out


@jit
def improves(seen, state, rank):
    """True where `seen` has a higher `rank` (256 values, by code) than `state`, and how many those are."""
    rows, columns = seen.shape
    out = np.empty((rows, columns), np.bool_)
    count = 0
    for i in range(rows):
        for j in range(columns):
            better = rank[seen[i, j]] > rank[state[i, j]]
            out[i, j] = better
            count += better
    return out, count


@jit
def any_chosen(chosen, seen, table):
    """True if ``table[seen]`` (256 values, by code) holds anywhere where `chosen`."""
    rows, columns = chosen.shape
    for i in range(rows):
        for j in range(columns):
            if chosen[i, j] and table[seen[i, j]]:
                return True
    return False


@jit
def drop_invalid(chosen, values, seen, is_judged):
    """Unset `chosen` where `values` are NaN (in place); how many stay set.

    What the quality layers rule out anyway (``not is_judged[seen]``) needs no valid value.
    """
    rows, columns = chosen.shape
    count = 0
    for i in range(rows):
        for j in range(columns):
            stays = chosen[i, j] and (values[i, j] == values[i, j] or not is_judged[seen[i, j]])
            chosen[i, j] = stays
            count += stays
    return count


@jit
def blank_unchosen(values, chosen):
    """Set float32 `values` to NaN where not `chosen` (in place)."""
    rows, columns = values.shape
    for i in range(rows):
        for j in range(columns):
            if not chosen[i, j]:
                values[i, j] = np.float32(np.nan)


@jit
def take_chosen(out, values, chosen):
    """Copy `values` to `out` where `chosen` (in place)."""
    rows, columns = out.shape
    for i in range(rows):
        for j in range(columns):
            if chosen[i, j]:
                out[i, j] = values[i, j]


@jit
def buffer_states(states, near, is_judged, adjacent):
    """Set `states` to `adjacent` where `near` and still judged (`is_judged`: 256 values, by code; in place)."""
    rows, columns = states.shape
    for i in range(rows):
        for j in range(columns):
            if near[i, j] and is_judged[states[i, j]]:
                states[i, j] = adjacent
