"""`fusion` as a whole: it is its parts, it says what it did, it refuses what it does not know."""

import json

import numpy as np
import pytest

import lakecube
from lakecube.detect.composite import composite
from lakecube.detect.judge import judge
from lakecube.detect.threshold import threshold
from lakecube.errors import InvalidInputError, MissingBandError


def test_it_is_its_parts(cube):
    out = cube.water.extract(threshold="otsu", rules="paper", composite="month").compute()
    monthly = composite(cube)
    limits = threshold(monthly, "otsu")
    np.testing.assert_array_equal(out.water_mask, judge(monthly, limits["threshold"], rules="paper").water_mask)
    np.testing.assert_array_equal(out.threshold, limits["threshold"])
    assert "time_bounds" in out.coords


def test_parameters_are_recorded_and_reach_their_room(cube):
    out = cube.water.extract(ndvi_max=0.3, fixed=(0.15, 0.0), threshold="fixed", rules="paper")
    used = json.loads(out.attrs["parameters"])
    assert used["ndvi_max"] == 0.3
    assert used["rules"] == "paper"
    np.testing.assert_array_equal(out.threshold[:, 0], np.float32(0.15))
    fewer = cube.water.extract(threshold="fixed", rules="paper", ndvi_max=-0.9)
    assert (fewer.water_mask == 1).sum() < (out.water_mask == 1).sum()


def test_items_go_with_their_dates(archive):
    cube = lakecube.open(archive.items_path)
    out = cube.isel(time=[2, 0]).water.extract()
    np.testing.assert_array_equal(out.time.values[out.item_time_index.values], out.item_date.values)
    assert set(out.item_date.values) == set(out.time.values)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"method": "fushion"}, "fushion"), ({"ndvi_maxx": 1}, "ndvi_maxx"), ({"composite": "week"}, "week"),
     ({"threshold": "otzu"}, "otzu"), ({"rules": "papr"}, "papr"), ({"sample": 0}, "sample")],
)  # fmt: skip
def test_mistakes_are_named(cube, options, match):
    with pytest.raises(InvalidInputError, match=match):
        cube.water.extract(**options)


def test_what_is_no_cube_is_refused(cube):
    for wrong in (cube.drop_vars("observation"), cube.isel(time=0, drop=True), cube.isel(time=[]), cube.isel(x=[])):
        with pytest.raises(InvalidInputError):
            wrong.water.extract()
    with pytest.raises(MissingBandError, match="swir16"):
        cube.drop_vars("swir16").water.extract()


def test_frequency_needs_a_mask(cube):
    with pytest.raises(InvalidInputError, match="extract"):
        cube.water.frequency()
