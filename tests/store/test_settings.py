"""A store is of one configuration: how the cube was opened belongs to it, and what differs is named."""

import pytest

import lakecube
from lakecube.errors import StoreError
from lakecube.store import to_zarr
from lakecube.synthetic.archive import make_archive
from tests.store.made import extract


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    place = tmp_path_factory.mktemp("archive")
    return make_archive(place / "a", shape=(64, 64), dates=["2022-03-01", "2022-03-11"], clouds=0, seed=2)


def water_of(archive, **settings):
    return lakecube.open(archive.items_path, **settings).water.extract()


def test_other_settings_of_open_are_refused_and_named(tmp_path, archive):
    water_of(archive).isel(time=[0]).water.to_zarr(tmp_path / "s", progress=False)
    cases = [
        ({"cloud_mask": False}, "cloud_mask is true in the store and false now"),
        ({"cloud_buffer": 20}, "cloud_buffer_pixels is 4 in the store and 2 now"),
        ({"dem": archive.dem_path}, r"dem is not given in the store and .*dem\.tif now"),
        ({"offset": "audit"}, "offset is metadata in the store and audit now"),
        ({"offset": -0.1}, "offset is metadata in the store and -0.1 now"),
    ]
    for settings, message in cases:
        for mode in ("resume", "append"):
            with pytest.raises(StoreError, match=message):
                water_of(archive, **settings).water.to_zarr(tmp_path / "s", mode=mode, progress=False)


def test_a_difference_far_into_a_long_value_is_named(tmp_path):
    bands = [f"band{k}" for k in range(60)]
    one, other = (extract(times=1).assign_attrs(parameters=repr(b).replace("'", '"')) for b in (bands, bands[::-1]))
    to_zarr(one, tmp_path / "s")
    with pytest.raises(StoreError, match=r"parameters is \[\"band0.*… in the store and \[\"band59.*… now"):
        to_zarr(other, tmp_path / "s")
    long = "x" * 300
    to_zarr(extract(times=1).assign_attrs(method=long), tmp_path / "t")
    with pytest.raises(StoreError, match="method is x"):
        to_zarr(extract(times=1).assign_attrs(method=long + "y"), tmp_path / "t")
