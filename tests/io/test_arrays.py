"""Datasets as cubes: states of observation, where they are cut, and what they cannot honour."""

import numpy as np
import pytest
import xarray as xr

import lakecube
from lakecube.errors import EmptySearchError, InvalidInputError
from lakecube.names import OBSERVATION


@pytest.fixture
def plain(cube):
    return cube.compute()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_pixel_without_a_state_was_not_acquired(plain, lazy):
    state = plain.observation.astype("float32")
    state[0, 3:7, 5] = np.nan
    source = plain.assign(observation=state)
    found = lakecube.open(source.chunk() if lazy else source).observation
    assert found.dtype == np.uint8
    assert (found.values[0, 3:7, 5] == OBSERVATION["not_acquired"]).all()
    np.testing.assert_array_equal(found.values[1:], plain.observation.values[1:])


@pytest.mark.parametrize("wrong", [12.0, 0.5, -1.0, np.inf])
def test_states_that_are_none_are_refused(plain, wrong):
    state = plain.observation.astype("float32")
    state[0, 0, 0] = wrong
    with pytest.raises(InvalidInputError, match="observation holds"):
        lakecube.open(plain.assign(observation=state))
    lazy = lakecube.open(plain.assign(observation=state).chunk())
    with pytest.raises(InvalidInputError, match="observation holds"):
        lazy.observation.compute()
    with pytest.raises(InvalidInputError, match="observation has dims"):
        lakecube.open(plain.assign(observation=plain.observation[0]))


@pytest.mark.parametrize("when", ["first", ("first", "first"), "first/first", "../first", "noon"])
def test_dates_as_stac_writes_them(plain, when):
    day = str(plain.time.values[0])[:10]
    if when == "noon":
        when = f"{day}T00:00:00Z/{day}T12:00:00Z"
    elif isinstance(when, tuple):
        when = (day, day)
    cube = lakecube.open(plain, datetime=when.replace("first", day) if isinstance(when, str) else when)
    assert cube.time.values.tolist() == plain.time.values[:1].tolist()


@pytest.mark.parametrize("when", ["soon", "2020-13", ("2020",), 5, "../.."])
def test_dates_that_are_none(plain, when):
    with pytest.raises(InvalidInputError, match="datetime"):
        lakecube.open(plain, datetime=when)


@pytest.mark.parametrize("bbox", [(105, 26), (float("nan"), 26, 106, 27), (179, 26, -179, 27), "a,b", 5])
def test_boxes_that_are_none(plain, bbox):
    with pytest.raises(InvalidInputError, match="bbox"):
        lakecube.open(plain, bbox=bbox)


def test_a_box_of_one_pixel(plain):
    box = plain.isel(x=slice(4, 6), y=slice(4, 6)).rio.transform_bounds("EPSG:4326")
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    cube = lakecube.open(plain, bbox=(x - 1e-6, y - 1e-6, x + 1e-6, y + 1e-6))
    assert max(cube.sizes["x"], cube.sizes["y"]) <= 2
    np.testing.assert_array_equal(cube.green.values, plain.green.sel(x=cube.x, y=cube.y).values)
    with pytest.raises(EmptySearchError):
        lakecube.open(plain, bbox=(0, 0, 1, 1))


@pytest.mark.parametrize("chunks", [0, "auto", 2.5, True, (3, 3), {"z": 3}, {"x": 0}, {"time": 2}])
def test_chunks_that_are_none(plain, chunks):
    with pytest.raises(InvalidInputError, match="chunks="):
        lakecube.open(plain, chunks=chunks)


def test_chunks(plain):
    for chunks, x in ((7, 7), (np.int64(7), 7), ({"x": 5, "time": 1}, 5)):
        assert lakecube.open(plain, chunks=chunks).green.chunksizes["x"][0] == x


@pytest.mark.parametrize("option", [{"cloud_mask": False}, {"cloud_buffer": 80}, {"retries": 5}], ids=str)
def test_what_a_dataset_cannot_honour(plain, option):
    assert isinstance(plain, xr.Dataset)
    with pytest.raises(InvalidInputError, match=next(iter(option))):
        lakecube.open(plain, **option)
