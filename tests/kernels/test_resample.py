"""Resampling against SciPy and NumPy, and every pixel by itself: the same bits in any window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lakecube.kernels import resample
from tests.strategies import images

RNG = np.random.default_rng(1)


def coarse(rows=7, columns=9):
    return RNG.uniform(0, 1, (rows, columns)).astype(np.float32)


def bilinear_at(image, v, u):
    """SciPy's order-1 spline at pixel coordinates whose centre of (0, 0) is (0.5, 0.5); edges go on."""
    return ndimage.map_coordinates(image.astype(float), [v - 0.5, u - 0.5], order=1, mode="nearest")


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_raise_bilinear_is_bilinear_at_pixel_centres(factor):
    image = coarse()
    rows, columns = np.array(image.shape) * factor
    v, u = np.meshgrid((np.arange(rows) + 0.5) / factor, (np.arange(columns) + 0.5) / factor, indexing="ij")
    raised = resample.raise_bilinear(image, factor, factor, 0, 0, rows, columns)
    assert raised.dtype == np.float32
    np.testing.assert_allclose(raised, bilinear_at(image, v, u), atol=1e-6)


def test_raise_bilinear_of_a_plane_is_the_plane_between_the_outer_centres():
    y, x = np.mgrid[:6, :6].astype(np.float32)
    raised = resample.raise_bilinear(2 * y - 3 * x, 6, 6, 0, 0, 36, 36)
    v, u = (np.mgrid[:36, :36] + 0.5) / 6 - 0.5
    np.testing.assert_allclose(raised[3:-3, 3:-3], (2 * v - 3 * u)[3:-3, 3:-3], atol=1e-5)


@given(images(), st.sampled_from([1, 2, 6]), st.data())
@settings(max_examples=40, deadline=None)
def test_a_window_of_a_raised_image_is_the_raised_window(image, factor, data):
    rows, columns = image.shape[0] * factor, image.shape[1] * factor
    whole = resample.raise_bilinear(image, factor, factor, 0, 0, rows, columns)
    y0 = data.draw(st.integers(0, rows - 1))
    x0 = data.draw(st.integers(0, columns - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, rows)), data.draw(st.integers(x0 + 1, columns))
    # as the reader does: the coarse pixels under the window and one more on each side
    r0, r1 = max(y0 // factor - 1, 0), min(-(-y1 // factor) + 1, image.shape[0])
    c0, c1 = max(x0 // factor - 1, 0), min(-(-x1 // factor) + 1, image.shape[1])
    part = resample.raise_bilinear(
        image[r0:r1, c0:c1], factor, factor, y0 - r0 * factor, x0 - c0 * factor, y1 - y0, x1 - x0
    )
    assert part.tobytes() == whole[y0:y1, x0:x1].tobytes()


def test_an_invalid_pixel_stays_a_hole_of_its_own_size_and_lends_nothing():
    image = np.full((5, 5), 0.25, np.float32)
    image[2, 2] = np.nan
    raised = resample.raise_bilinear(image, 6, 6, 0, 0, 30, 30)
    hole = np.zeros((30, 30), bool)
    hole[12:18, 12:18] = True
    np.testing.assert_array_equal(np.isnan(raised), hole)
    np.testing.assert_allclose(raised[~hole], 0.25, rtol=1e-6)


def test_raise_nearest_repeats_and_starts_anywhere():
    codes = np.arange(20, dtype=np.uint8).reshape(4, 5)
    whole = codes.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(resample.raise_nearest(codes, 2, 2, 0, 0, 8, 10), whole)
    np.testing.assert_array_equal(resample.raise_nearest(codes, 2, 2, 3, 1, 4, 7), whole[3:7, 1:8])


def test_coarsen_mean_needs_half_of_the_pixels():
    fine = coarse(8, 8)
    np.testing.assert_allclose(
        resample.coarsen_mean(fine, 4, 2, 0, 0, 2, 4), fine.reshape(2, 4, 4, 2).mean((1, 3)), rtol=1e-6
    )
    fine[:2, :2] = np.nan  # half of the first 4 × 2 group is left
    assert np.isfinite(resample.coarsen_mean(fine, 4, 2, 0, 0, 1, 1)).all()
    fine[2, 0] = np.nan
    assert np.isnan(resample.coarsen_mean(fine, 4, 2, 0, 0, 1, 1)).all()


def test_coarsen_mean_beyond_the_image_is_invalid():
    fine = np.ones((4, 4), np.float32)
    out = resample.coarsen_mean(fine, 2, 2, -2, -2, 4, 4)
    np.testing.assert_array_equal(np.isfinite(out), np.pad(np.ones((2, 2), bool), 1))


def test_coarsen_first_takes_the_strongest_code():
    rank = np.arange(256, dtype=np.uint8)[::-1].copy()  # the highest code wins
    codes = np.array([[1, 2, 9, 0], [3, 0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(resample.coarsen_first(codes, rank, 77, 2, 2, 0, 0, 2, 2), [[3, 9], [77, 77]])


@given(images(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_sample_bilinear_equals_raise_where_both_speak(image, seed):
    v, u = np.random.default_rng(seed).uniform(0, 1, (2, 6, 6)) * np.array(image.shape)[:, None, None]
    sampled = resample.sample_bilinear(image, v, u)
    if np.isfinite(image).all():
        np.testing.assert_allclose(sampled, bilinear_at(image, v, u), atol=1e-5)
    own = image[v.astype(int), u.astype(int)]
    np.testing.assert_array_equal(np.isnan(sampled), np.isnan(own))
    valid = image[np.isfinite(image)]
    if valid.size:
        assert np.nanmax(sampled, initial=-9) <= valid.max() + 1e-6
        assert np.nanmin(sampled, initial=9) >= valid.min() - 1e-6


def test_sampling_outside_is_nothing():
    image = np.ones((3, 3), np.float32)
    v = np.array([[-1e-9, 0.0, 2.999, 3.0, np.nan, np.inf]])
    u = np.full_like(v, 1.5)
    np.testing.assert_array_equal(np.isnan(resample.sample_bilinear(image, v, u))[0], [1, 0, 0, 1, 1, 1])
    codes = np.full((3, 3), 5, np.uint8)
    np.testing.assert_array_equal(resample.sample_nearest(codes, v, u, np.uint8(9))[0], [9, 5, 5, 9, 9, 9])


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", -9999), ("float32", np.nan), ("uint8", 255)])
def test_decode_knows_nodata_before_the_offset(dtype, nodata):
    numbers = np.array([[nodata, 1, 2, 100]]).astype(dtype)
    out = resample.decode(numbers, 1e-4, -0.1, float(nodata))
    assert out.dtype == np.float32
    assert np.isnan(out[0, 0])
    np.testing.assert_array_equal(out[0, 1:], (np.array([1, 2, 100]) * 1e-4 - 0.1).astype(np.float32))


def test_decode_without_nodata_keeps_zero():
    np.testing.assert_array_equal(resample.decode(np.zeros((1, 1), np.uint16), 1.0, 0.0, np.nan), [[0.0]])
