import numpy as np
import pytest

from lakecube.kernels.terrain import REACH, metres_per_pixel, slope_horn


def horn_numpy(z, dx, dy):
    """Horn's formula; at the edge the missing neighbours repeat it and the distance is one pixel shorter."""
    p = np.pad(z.astype(np.float64), 1, mode="edge")
    a, b, c = p[:-2, :-2], p[:-2, 1:-1], p[:-2, 2:]
    d, f = p[1:-1, :-2], p[1:-1, 2:]
    g, h, k = p[2:, :-2], p[2:, 1:-1], p[2:, 2:]
    wide, high = np.full(z.shape[1], 8.0), np.full(z.shape[0], 8.0)
    wide[[0, -1]], high[[0, -1]] = 4.0, 4.0
    gx = ((c + 2 * f + k) - (a + 2 * d + g)) / (wide[None] * dx)
    gy = ((g + 2 * h + k) - (a + 2 * b + c)) / (high[:, None] * dy)
    return np.degrees(np.arctan(np.hypot(gx, gy)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_equals_the_formula(dtype):
    z = (np.random.default_rng(0).random((21, 34)) * 100).astype(dtype)
    before = z.copy()
    got = slope_horn(z, 10.0, -20.0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, horn_numpy(z, 10.0, 20.0), rtol=2e-6)
    np.testing.assert_array_equal(z, before)


def test_plane_keeps_its_slope_to_the_edge():
    y, x = np.mgrid[:9, :12]
    z = 3.0 * x * 30 + 4.0 * y * 30
    np.testing.assert_allclose(slope_horn(z, 30.0, 30.0), np.degrees(np.arctan(5.0)), rtol=1e-6)


def test_nan_spreads_by_one_pixel_only():
    z = np.zeros((7, 7))
    z[3, 3] = np.nan
    expected = np.zeros((7, 7), bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(np.isnan(slope_horn(z, 1.0, 1.0)), expected)


def test_single_row_column_and_pixel():
    assert slope_horn(np.zeros((1, 1)), 1.0, 1.0)[0, 0] == 0
    np.testing.assert_allclose(slope_horn(np.arange(5.0)[None], 1.0, 1.0), 45, rtol=1e-6)
    np.testing.assert_allclose(slope_horn(np.arange(5.0)[:, None], 1.0, 1.0), 45, rtol=1e-6)


def test_a_block_with_halo_gives_the_whole_images_answer():
    z = np.random.default_rng(3).random((30, 30))
    whole = slope_horn(z, 2.0, 3.0)
    block = slope_horn(z[9:21, 4:16], 2.0, 3.0)
    np.testing.assert_array_equal(block[REACH:-REACH, REACH:-REACH], whole[10:20, 5:15])


def test_rows_of_a_latitude_grid():
    from pyproj import Geod

    latitude = np.array([60.0, 59.9, 59.8])
    dx, dy = metres_per_pixel(latitude, 0.01, -0.01)
    geod = Geod(ellps="WGS84")
    for k, lat in enumerate(latitude):
        assert dx[k] == pytest.approx(geod.inv(0, lat, 0.01, lat)[2], rel=1e-5)
        assert dy[k] == pytest.approx(geod.inv(0, lat - 0.005, 0, lat + 0.005)[2], rel=1e-5)
    z = np.add.outer(np.zeros(3), 100.0 * np.arange(4))
    np.testing.assert_allclose(slope_horn(z, dx, dy)[1], np.degrees(np.arctan(100 / dx[1])), rtol=1e-6)
    assert (metres_per_pixel(np.array([90.0]), 1.0, 1.0)[0] > 0).all()


def test_steeper_ground_is_steeper():
    z = np.random.default_rng(5).random((12, 12))
    assert (slope_horn(2 * z, 1.0, 1.0) >= slope_horn(z, 1.0, 1.0)).all()


@pytest.mark.parametrize(("dx", "match"), [(0.0, "not zero"), (np.nan, "finite"), (np.ones(4), "one per row")])
def test_refuses_pixel_sizes(dx, match):
    with pytest.raises(ValueError, match=match):
        slope_horn(np.zeros((3, 3)), dx, 1.0)


def test_refuses_other_dimensions():
    with pytest.raises(ValueError, match="2-D"):
        slope_horn(np.zeros(3), 1.0, 1.0)
