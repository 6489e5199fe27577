"""Rows of moments: against a comparison of every moment with every row."""

import numpy as np
import pytest

from lakecube.kernels.rows import rows_of


@pytest.mark.parametrize("seed", range(3))
def test_moments_find_their_row_in_any_order(seed):
    rng = np.random.default_rng(seed)
    starts = rng.permutation(40)[:25].astype("datetime64[D]")
    moments = rng.integers(-3, 45, 60).astype("datetime64[D]")
    equal = moments[:, None] == starts
    np.testing.assert_array_equal(rows_of(moments, starts), np.where(equal.any(1), equal.argmax(1), -1))
    ends = starts + np.timedelta64(1, "D")
    np.testing.assert_array_equal(rows_of(moments, starts, ends), rows_of(moments, starts))


def test_periods_are_half_open_and_may_leave_gaps():
    starts = np.array([10, 0, 30])
    ends = np.array([20, 10, 40])
    np.testing.assert_array_equal(
        rows_of(np.array([0, 9, 10, 19, 20, 35, 40, -1]), starts, ends), [1, 1, 0, 0, -1, 2, -1, -1]
    )
    np.testing.assert_array_equal(rows_of(np.array([1, 2]), starts[:0], ends[:0]), [-1, -1])
