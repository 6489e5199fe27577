"""What was seen of a pixel in each month of each year: NumPy in, NumPy out.

A state has two bits, land seen (1) and water seen (2), so that states of any sets of dates join by bitwise OR.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: Bits of a state: 0 nothing seen, 1 land, 2 water, 3 both.
LAND_SEEN, WATER_SEEN = 1, 2


def month_axis(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The months that have dates, and the month of every date.

    Months without a date are left out, as years are: nothing was seen in them anywhere, so their planes would be
    all 0, and one early date must not add decades of them. Hence the axis depends on the dates alone, not their
    order, and whoever reads it goes by its coordinate, never by position.

    Parameters
    ----------
    dates : (time,) datetime64
        In any order, with repeats.

    Returns
    -------
    months : (year_month,) datetime64[ns]
        The first day of every month that has a date, in order.
    index : (time,) int64
        Position in `months` of every date.
    """
    months, index = np.unique(np.asarray(dates).astype("datetime64[M]"), return_inverse=True)
    return months.astype("datetime64[ns]"), index.reshape(-1).astype(np.int64)


@jit
def month_state(mask: np.ndarray) -> np.ndarray:
    """What some dates of one month saw; the whole month is the bitwise OR of its parts.

    Parameters
    ----------
    mask : (time, y, x) uint8
        0 land, 1 water; any other value is unknown and adds nothing.

    Returns
    -------
    (y, x) uint8
        0 unobserved, 1 land, 2 water, 3 both; 0 for no dates at all. O(time · y · x), one sweep in memory order.
    """
    dates, rows, columns = mask.shape
    state = np.zeros((rows, columns), np.uint8)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                seen = mask[t, i, j]
                state[i, j] |= np.uint8((seen == 0) * LAND_SEEN + (seen == 1) * WATER_SEEN)
    return state
