import numpy as np
import pytest

from lakecube.kernels.counts import count_states, divide_counts


@pytest.mark.parametrize("shape", [(0, 2, 3), (1, 1, 1), (7, 5, 3), (300, 2, 2)])
def test_counts_against_numpy(shape):
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 254, 255], np.uint8), shape)
    before = mask.copy()
    wet, clear = count_states(mask)
    assert wet.dtype == clear.dtype == np.uint32
    np.testing.assert_array_equal(wet, (mask == 1).sum(0))
    np.testing.assert_array_equal(clear, (mask <= 1).sum(0))
    np.testing.assert_array_equal(mask, before)


def test_share_is_rounded_once_and_nan_where_never_clear():
    wet = np.array([[0, 1, 1, 0, 2**31]], np.uint32)
    clear = np.array([[0, 3, 1, 5, 2**32 - 1]], np.uint32)
    share = divide_counts(wet, clear)
    assert share.dtype == np.float32
    np.testing.assert_array_equal(share, np.array([[np.nan, 1 / 3, 1, 0, 2**31 / (2**32 - 1)]], np.float32))
