"""What is refused at the door, and what xarray does to a cube on the way."""

import numpy as np
import pytest
import xarray as xr

from lakecube import methods
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.names import OBSERVATION, REASON, UNKNOWN
from lakecube.synthetic.cube import sentinel2_cube


@pytest.fixture(scope="module")
def cube():
    return sentinel2_cube((70, 66), 2, seed=1)


def test_a_sound_cube_comes_back_as_it_is(cube):
    assert checked(cube) is cube


def test_what_where_blanks_is_unknown_and_never_clear(cube):
    half = cube.where(cube.x > cube.x[30])
    water = methods.extract(half).compute()
    assert (water.water_mask[:, :, :31] == UNKNOWN).all()
    assert (water.reason[:, :, :31] == REASON["not_acquired"]).all()
    assert (water.water_mask[:, :, 40:] == methods.extract(cube).water_mask[:, :, 40:]).all()


def test_a_date_that_reindex_made_up_is_unknown(cube):
    later = cube.reindex(time=[*cube.time.values, np.datetime64("2030-01-01", "ns")])
    assert (checked(later).observation[-1] == OBSERVATION["not_acquired"]).all()
    assert (methods.extract(later).water_mask[-1] == UNKNOWN).all()


@pytest.mark.parametrize(
    "broken, words",
    [
        (lambda c: c.assign(green=c.green.isel(time=0)), "green has dims"),
        (lambda c: c.assign(green=(c.green * 10000).astype("int16")), "reflectance as floats"),
        (lambda c: c.assign(slope=c.green), "slope has dims"),
        (lambda c: c.assign_coords(x=np.where(np.arange(66) == 4, np.nan, c.x)), "finite"),
        (lambda c: c.assign_coords(x=np.zeros(66)), "evenly spaced"),
        (lambda c: c.assign_coords(time=[1, 2]), "dates are needed"),
        (lambda c: c.assign_coords(time=np.array(["2020-01-01", "NaT"], "datetime64[ns]")), "dates are needed"),
        (lambda c: c.drop_vars("observation"), "observation missing"),
        (lambda c: c.isel(time=slice(0, 0)), "empty"),
    ],
)
def test_what_is_no_cube_is_refused(cube, broken, words):
    with pytest.raises(InvalidInputError, match=words):
        methods.extract(broken(cube))


def test_chunks_of_one_pixel_are_merged(cube):
    rows = cube.isel(y=slice(0, 12)).chunk({"y": 1, "x": 1})
    xr.testing.assert_equal(
        methods.extract(rows, threshold="fixed").water_mask.compute(),
        methods.extract(cube.isel(y=slice(0, 12)), threshold="fixed").water_mask.compute(),
    )
