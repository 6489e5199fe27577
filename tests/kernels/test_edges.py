"""The zone along shores against scikit-image and exact distances of SciPy; its counts against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.segmentation import find_boundaries

from lakecube.kernels.edges import count_zone, edge_zone, shore_of, zone_reach

maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 1, 255])
)


def slow_shore(states):
    """Pixel by pixel, of land and water the one beside the other."""
    out = np.zeros(states.shape, bool)
    for i, j in np.ndindex(states.shape):
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= a < states.shape[0] and 0 <= b < states.shape[1]:
                out[i, j] |= {int(states[i, j]), int(states[a, b])} == {0, 1}
    return out


def slow_zone(states, width):
    shore = slow_shore(states)
    return ndimage.distance_transform_edt(~shore) <= width if shore.any() else shore


@settings(deadline=None)  # the first one compiles
@given(maps, st.integers(0, 5))
def test_the_zone_is_what_lies_near_a_shore(states, width):
    np.testing.assert_array_equal(shore_of(states), slow_shore(states))
    np.testing.assert_array_equal(edge_zone(states, width), slow_zone(states, width))


def test_a_shore_is_the_thick_boundary_of_scikit_image_where_all_is_known():
    water = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 70)), 2) > 0.5
    found = shore_of(water.astype(np.uint8))
    np.testing.assert_array_equal(found, find_boundaries(water, connectivity=1, mode="thick"))
    assert 0.05 < found.mean() < 0.5


@settings(deadline=None)  # the first one compiles
@given(maps, st.integers(0, 3), st.integers(0, 99))
def test_every_pixel_of_the_zone_is_counted_once(states, width, seed):
    mapped = np.random.default_rng(seed).choice(np.array([0, 1, 255], np.uint8), states.shape)
    zone = edge_zone(states, width)
    known = zone & (mapped < 2) & (states < 2)
    wet, truth = mapped == 1, states == 1
    slow = [known & (wet == truth), known & truth & ~wet, known & wet & ~truth, zone & ~known]
    assert count_zone(mapped, states, zone).tolist() == [part.sum() for part in slow]


@pytest.mark.parametrize("width", [0, 1, 3])
def test_nothing_beyond_the_reach_tells(width):
    """Water at the reach's end makes a shore that the first pixel sees, one pixel farther it does not."""
    line = np.zeros((1, 30), np.uint8)
    line[0, zone_reach(width) :] = 1
    assert edge_zone(line, width)[0, 0]
    line[0, zone_reach(width)] = 0
    assert not edge_zone(line, width)[0, 0]


def test_the_unknown_makes_no_shore():
    states = np.array([[0, 255, 1, 255, 7, 0]], np.uint8)
    assert not edge_zone(states, 3).any()


def test_a_width_is_a_whole_number():
    with pytest.raises(ValueError, match="whole number"):
        edge_zone(np.zeros((3, 3), np.uint8), -1)
