import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from lakecube.kernels.morphology import dilate_disk, disk_reach


def disk(radius):
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return y * y + x * x <= radius * radius


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 9, 30])
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (23, 1), (40, 57)])
def test_equals_scipy(radius, shape):
    rng = np.random.default_rng(radius)
    mask = rng.random(shape) < 0.02
    before = mask.copy()
    got = dilate_disk(mask, radius)
    np.testing.assert_array_equal(got, binary_dilation(mask, disk(radius)))
    np.testing.assert_array_equal(mask, before)
    assert got.dtype == bool
    assert not np.shares_memory(got, mask)


def test_empty_full_and_other_dtypes():
    assert dilate_disk(np.zeros((0, 4), bool), 3).shape == (0, 4)
    assert not dilate_disk(np.zeros((5, 4), bool), 3).any()
    assert dilate_disk(np.full((5, 4), 7, np.uint8), 2).all()
    turned = np.zeros((9, 6), bool)
    turned[2, 3] = True
    np.testing.assert_array_equal(dilate_disk(turned.T, 2), dilate_disk(turned, 2).T)


def test_a_block_with_halo_gives_the_whole_images_answer():
    mask = np.random.default_rng(1).random((60, 60)) < 0.01
    whole, reach = dilate_disk(mask, 4), disk_reach(4)
    block = dilate_disk(mask[20 - reach : 40 + reach, 10 - reach : 30 + reach], 4)
    np.testing.assert_array_equal(block[reach:-reach, reach:-reach], whole[20:40, 10:30])


@pytest.mark.parametrize("radius", [-1, 1.5, 1 << 15])
def test_refuses_a_radius(radius):
    with pytest.raises(ValueError, match="radius"):
        dilate_disk(np.zeros((3, 3), bool), radius)


def test_refuses_other_dimensions():
    with pytest.raises(ValueError, match="2-D"):
        dilate_disk(np.zeros(3, bool), 1)
