"""Adaptive superpixels of cubes: any chunks, any request, and what they follow."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.aslic import Settings
from lakecube.kernels.aslic import aslic as kernel
from lakecube.kernels.hsi import to_hsi
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.refine.aslic import aslic
from lakecube.refine.majority import majority
from tests.refine.test_superpixels import image
from tests.strategies import chunks_of


@settings(max_examples=8, deadline=None)
@given(rows=chunks_of(90), columns=chunks_of(96), candidates=st.sampled_from([2, 3, "pixels"]))
def test_any_chunks_give_the_same_bits(rows, columns, candidates):
    whole = aslic(image(), region=6, candidates=candidates)
    cut = aslic(image().chunk({"y": rows, "x": columns}), region=6, candidates=candidates)
    xr.testing.assert_identical(cut.compute(scheduler="threads"), whole.compute())
    assert (whole[:30] >= 0).all()
    assert (whole.values[30:40, 50:53] == -1).all()


def test_blue_green_and_nir_take_the_place_of_red_green_and_blue():
    values = image((40, 45)).values
    cube = xr.Dataset({n: (("y", "x"), v) for n, v in zip(("nir", "blue", "green"), values, strict=True)})
    expected = kernel(to_hsi(values[1], values[2], values[0]), Settings(region=8))
    np.testing.assert_array_equal(aslic(cube, region=8), expected)
    np.testing.assert_array_equal(aslic(cube.rename(nir="nir08"), region=8), expected)


def test_two_requests_agree_beyond_the_reach():
    whole = image((90, 100))
    a, b = aslic(whole[:, :70, :80], region=7), aslic(whole[:, 11:, 13:].chunk({"y": 30, "x": 30}), region=7)
    common = whole.isel(band=0, drop=True)[11 + 14 : 70 - 14, 13 + 14 : 80 - 14]
    xr.testing.assert_equal(a.sel(y=common.y, x=common.x), b.sel(y=common.y, x=common.x).compute())


def test_more_superpixels_where_more_is_to_be_seen():
    plain = np.full((3, 64, 64), 0.2, np.float32) + np.array([0.1, 0.0, 0.05], np.float32).reshape(3, 1, 1)
    busy = plain.copy()
    busy[:, ::8, 32:] = np.array([0.02, 0.2, 0.6], np.float32).reshape(3, 1, 1)
    busy[:, :, 32::9] = np.array([0.5, 0.2, 0.1], np.float32).reshape(3, 1, 1)
    labels = aslic(busy).values
    assert len(np.unique(labels[:, 48:])) > len(np.unique(labels[:, :16])) == 4


def test_cubes_masks_and_fusion(cube):
    labels = aslic(cube, bands=["green", "nir", "swir16"], region=8)
    assert labels.dims == ("time", "y", "x")
    assert (labels.values[~IS_JUDGED[cube.observation.values]] == -1).all()
    xr.testing.assert_identical(labels, cube.water.superpixels("aslic", bands=["green", "nir", "swir16"], region=8))
    wet = (cube["green"] > cube["swir16"]).astype("uint8")
    assert majority(wet, labels).water_mask.shape == wet.shape


@pytest.mark.parametrize(
    "wrong", [{"region": 1}, {"region": 33}, {"candidates": 1}, {"candidates": 99}, {"components": "rgb"},
              {"alpha": 0.0}, {"damping": 0.3}, {"bands": ["green", "nir"]}, {"region": "8"}, {"alpha": np.inf},
              {"sweeps": 1.5}, {"scale": np.nan, "components": "hsi"}, {"mask": np.ones((3, 3), bool)}]
)  # fmt: skip
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(InvalidInputError):
        aslic(image(), **wrong)


def test_small_regions_have_fewer_candidates_and_infinity_is_no_colour():
    values = image()
    assert aslic(values, region=np.int64(3)).attrs["candidates"] == 3
    for value in (np.inf, -np.inf):
        wild, hole = values.copy(deep=True), values.copy(deep=True)
        wild[1, 5:9, 6:8] = value
        found = aslic(wild, region=8).values
        assert (found[5:9, 6:8] == -1).all()
        hole[1, 5:9, 6:8] = np.nan
        np.testing.assert_array_equal(found, aslic(hole, region=8).values)


def test_a_missing_band_is_named(cube):
    with pytest.raises(MissingBandError, match="no_such"):
        aslic(cube, bands=["green", "nir", "no_such"])
    with pytest.raises(InvalidInputError, match="aslic"):
        cube.water.superpixels("slick")


def test_coordinates_farther_than_ids_reach_are_refused():
    at = 10.0 * (2**25 - 20) * 3
    assert (aslic(image(corner=(-at, at)), region=3).isel(y=slice(30)) >= 0).all()
    with pytest.raises(InvalidInputError, match="pixels from their origin"):
        aslic(image(corner=(-at, at)), region=2)
