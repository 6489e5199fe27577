"""Views are covered, bounded, and show the same samples while a map is moved."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from lakecube.dashboard.window import MAX_SIDE, Window, bounds, cost
from lakecube.series.pixel_area import PixelGrid

GRID = PixelGrid(None, 500_000.0, 3_000_000.0, 10.0, -10.0, (0, 0), (6000, 9000))


@given(
    st.floats(499_000, 589_000), st.floats(2_939_000, 2_999_000), st.floats(20, 90_000), st.floats(20, 60_000)
)  # fmt: skip
def test_a_window_covers_its_view_and_no_more_than_a_screen(left, bottom, width, height):
    box = left, bottom, left + width, bottom + height
    window = Window.of(GRID, box)
    whole = bounds(GRID)
    inside = max(box[0], whole[0]), max(box[1], whole[1]), min(box[2], whole[2]), min(box[3], whole[3])
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        assert window is None
        return
    shown = window.box(GRID)
    assert shown[0] <= inside[0] and shown[1] <= inside[1] and shown[2] >= inside[2] and shown[3] >= inside[3]
    samples = [len(range(*ends, window.step)) for ends in (window.rows, window.columns)]
    assert max(samples) <= MAX_SIDE + 1
    assert window.step & (window.step - 1) == 0
    assert window.rows[0] % window.step == window.columns[0] % window.step == 0


def test_a_window_indexes_what_it_says():
    small = PixelGrid(None, 0.0, 100.0, 10.0, -10.0, (0, 0), (10, 10))
    window = Window.of(small, (12.0, 31.0, 38.0, 69.0))
    assert (window.rows, window.columns, window.step) == ((3, 7), (1, 4), 1)
    assert window.box(small) == (10.0, 30.0, 40.0, 70.0)
    assert Window.of(small, (200.0, 0.0, 300.0, 50.0)) is None


@pytest.mark.parametrize("step, chunks", [(1, 6), (4, 6), (64, 2)])
def test_cost_counts_the_chunks_that_are_touched(step, chunks):
    array = xr.DataArray(np.zeros((3, 100, 100), np.uint8), dims=("year_month", "y", "x"))
    array.encoding["chunks"] = (1, 32, 32)
    window = Window((0, 90), (32, 80), step)
    assert cost(array, window) == 3 * chunks * 32 * 32
