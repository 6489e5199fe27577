"""A store that follows its archive: the request it keeps is asked again, and only what is new is read."""

import json

import numpy as np
import pytest
import xarray as xr

import lakecube
import lakecube.store.write_tasks as write_tasks
from lakecube.errors import InvalidInputError, StoreError
from lakecube.store import to_zarr
from lakecube.synthetic.archive import make_archive
from tests.store.made import extract

DATES = ["2022-03-01", "2022-03-11", "2022-03-21"]


def grown(folder, n):
    """The archive with its first `n` dates: what a date shows does not depend on the others."""
    return make_archive(folder, shape=(64, 70), dates=DATES[:n], clouds=0.2, seed=4)


@pytest.fixture
def written(monkeypatch):
    rows, write = set(), write_tasks._write

    def noted(row, *args, **kwargs):
        rows.add(row)
        return write(row, *args, **kwargs)

    monkeypatch.setattr(write_tasks, "_write", noted)
    return rows


def test_an_archive_that_grows_by_a_date(tmp_path, written):
    made = grown(tmp_path / "archive", 2)
    west, south, east, north = made.bbox
    box = (west, south, west + 0.7 * (east - west), north)
    how = {"bbox": box, "datetime": "2022-03/2022-03-15", "dem": made.dem_path, "chunks": 32, "cloud_buffer": 20}
    water = lakecube.open(made.items_path, **how).water.extract(ndvi_max=0.25, probability=True)
    first = water.water.to_zarr(tmp_path / "s", progress=False)
    assert first.sizes["time"] == 2
    written.clear()
    grown(tmp_path / "archive", 3)
    out = lakecube.update(tmp_path / "s", until="2022-03-31", progress=False)
    assert written == {2} and out.attrs["revision"] == 1
    how["datetime"] = "2022-03"
    whole = lakecube.open(made.items_path, **how).water.extract(ndvi_max=0.25, probability=True)
    whole = whole.water.to_zarr(tmp_path / "whole", progress=False)
    of_history = ["lake", "event"]  # ids and lineage tell of the revision before
    ours, theirs = (d.drop_dims(of_history).drop_vars("lake_label").drop_attrs() for d in (out, whole))
    xr.testing.assert_equal(ours.load(), theirs.load())
    assert json.loads(out.attrs["request"])["datetime"].startswith("2022-03-01T00:00:00Z/2022-03-31T23:59:59")
    written.clear()
    assert lakecube.update(tmp_path / "s", progress=False).attrs["revision"] == 1  # until today: nothing new
    assert not written


def test_more_scenes_do_not_move_the_pixels(tmp_path):
    made = grown(tmp_path / "archive", 1)
    first = lakecube.open(made.items_path).water.extract().water.to_zarr(tmp_path / "s", progress=False)
    make_archive(tmp_path / "archive", shape=(96, 70), dates=DATES[:2], clouds=0, seed=4)  # which covers more
    out = lakecube.update(tmp_path / "s", source=made.items_path, revise=False, progress=False)
    np.testing.assert_array_equal(out.y, first.y)
    assert out.sizes["time"] == 2 and out.sizes["date"] == 1


def test_what_a_store_does_not_keep_must_be_given_again(tmp_path):
    made = grown(tmp_path / "archive", 1)
    import pystac

    items = pystac.ItemCollection.from_file(str(made.items_path))
    for item in items:
        for asset in item.assets.values():
            asset.href = str((made.path / asset.href).resolve())
    lakecube.open(list(items)).water.extract().water.to_zarr(tmp_path / "s", progress=False)
    with pytest.raises(InvalidInputError, match="give source= again"):
        lakecube.update(tmp_path / "s")
    assert lakecube.update(tmp_path / "s", source=list(items), progress=False).sizes["time"] == 1
    cube = lakecube.open(made.items_path, sign=str)
    cube.water.extract().water.to_zarr(tmp_path / "t", progress=False)
    with pytest.raises(InvalidInputError, match="give sign= again"):
        lakecube.update(tmp_path / "t")
    assert lakecube.update(tmp_path / "t", sign=str, progress=False).sizes["time"] == 1
    to_zarr(extract(times=1), tmp_path / "u")
    with pytest.raises(StoreError, match="does not know the request"):
        lakecube.update(tmp_path / "u")
    with pytest.raises(InvalidInputError, match="'soon' is not a date"):
        lakecube.update(tmp_path / "t", until="soon", sign=str)


def test_paths_may_be_relative_then_and_the_archive_gone_now(tmp_path, monkeypatch):
    made = grown(tmp_path / "archive", 1)
    monkeypatch.chdir(tmp_path)
    water = lakecube.open("archive/items.json", dem="archive/dem.tif", datetime="2022-03").water.extract()
    water.water.to_zarr("s", progress=False)
    grown(tmp_path / "archive", 2)
    assert lakecube.update("s", revise=False, progress=False).sizes["time"] == 2
    with pytest.raises(InvalidInputError, match=r"until='2021' is before the first day that was asked for, 2022-03-01"):
        lakecube.update("s", until="2021")
    made.items_path.rename(tmp_path / "elsewhere.json")
    with pytest.raises(InvalidInputError, match=r"no longer at .*items\.json: give source= where it is now"):
        lakecube.update("s")


def test_a_store_of_raster_files_grows_by_the_files_that_are_given(tmp_path):
    import rasterio

    files = [tmp_path / f"{date}.tif" for date in DATES[:2]]
    look = {"driver": "GTiff", "width": 20, "height": 18, "count": 2, "dtype": "float32", "crs": "EPSG:32648"}
    for k, file in enumerate(files):
        with rasterio.open(file, "w", **look, transform=rasterio.Affine(10, 0, 500000, 0, -10, 3000000)) as out:
            out.descriptions = ("green", "swir16")
            out.write(np.random.default_rng(k).uniform(0.01, 0.3, (2, 18, 20)).astype(np.float32))
    lakecube.open(files[:1]).water.extract().water.to_zarr(tmp_path / "s", progress=False)
    with pytest.raises(InvalidInputError, match="give new ones as source="):
        lakecube.update(tmp_path / "s")
    with pytest.raises(InvalidInputError, match="until= is for catalogues"):
        lakecube.update(tmp_path / "s", source=files, until="2023")
    out = lakecube.update(tmp_path / "s", source=str(files[1]), revise=False, progress=False)
    assert out.time.values.astype("datetime64[D]").astype(str).tolist() == DATES[:2]


def test_no_secret_is_kept(tmp_path):
    from lakecube.io.request import request_text

    text = request_text({"source": "https://me:pw@host/api?sig=abc", "dem": ["s3://k:v@b/d.tif?sig=abc"]}, None)
    assert "https://host/api" in text and "s3://b/d.tif" in text
    assert not {"pw", "sig", "abc", "k:v"} & set(text.replace("/", " ").replace('"', " ").replace("?", " ").split())
