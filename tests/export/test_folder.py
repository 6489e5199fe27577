"""A store as a folder of files with a STAC catalogue, read back by everybody else's tools."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import dask
import geopandas
import numpy as np
import pandas as pd
import pystac
import pystac_client
import pytest
import rasterio
import xarray as xr

import lakecube
from lakecube.arguments import exporting
from lakecube.errors import InvalidInputError, StoreError
from lakecube.export import PRODUCTS, export, to_cog, to_netcdf, to_stac
from lakecube.export.folder import FORMATS
from lakecube.names import REASON
from tests.io.conftest import api_of
from tests.io.test_stac_out import check
from tests.store.made import extract


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "bijie lake.zarr"
    return extract(times=3).water.to_zarr(path, chunks=64, progress=False)


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "web"
    formats = ["cog", "gpkg", "geoparquet", "geojson", "csv", "netcdf"]
    made = export(store, path, formats=formats, products=["frequency", "mask"], date="2019-12", stac=True)
    return path, made


def test_the_folder_holds_what_was_asked_for(folder):
    path, made = folder
    files = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    items = {f"bijie-lake-{day}" for day in ("2019-11-20", "2019-12-06", "2019-12-22", "revision-0")}
    maps = {"frequency.tif", "mask-2019-12-06.tif", "mask-2019-12-22.tif"}
    assert files == {*maps, "mask-2019-12-06.tif.aux.xml", "mask-2019-12-22.tif.aux.xml", "lakes.gpkg", "lakes.parquet",
                     "lakes.geojson", "areas.csv", "water.nc", "collection.json",
                     *(f"{item}/{item}.json" for item in items)}  # fmt: skip
    assert {file.path for file in made} == {
        str(path / name) for name in files if "/" not in name and name != "collection.json" and "aux" not in name
    }


def test_stac_is_valid_and_leads_to_every_file(store, folder):
    path, made = folder
    check(json.loads((path / "collection.json").read_text()))
    seen = set()
    for item in pystac.Collection.from_file(str(path / "collection.json")).get_items():
        check(item.to_dict())
        for asset in item.assets.values():
            place = asset.get_absolute_href()
            seen.add(place)
            if asset.media_type == pystac.MediaType.COG:
                with rasterio.open(place) as file:
                    assert file.dtypes[0] == asset.extra_fields["data_type"]
                    assert list(file.shape) == asset.extra_fields["proj:shape"]
                    assert list(file.transform)[:6] == asset.extra_fields["proj:transform"]
    assert {file.path for file in made} <= seen
    own = store.encoding["source"]
    assert {own, f"{own}/revision/0", f"{own}/lakes-0.parquet"} <= seen


def test_a_stac_api_serves_it_and_its_files_open(store, folder, tmp_path):
    pytest.importorskip("rustac")
    path, _ = folder
    items = list(pystac.Collection.from_file(str(path / "collection.json")).get_items())
    for item in items:
        item.make_asset_hrefs_absolute()
        item.clear_links()
        item.collection_id = "bijie-lake"
    (tmp_path / "items.json").write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
    with api_of([tmp_path / "items.json"]) as url:
        client = pystac_client.Client.open(url)
        (found,) = client.search(datetime="2019-12-06", bbox=[105, 27, 105.1, 27.2], ids=[items[1].id]).items()
    opened = lakecube.open_store(found.assets["zarr"].href)
    xr.testing.assert_identical(opened.water_mask, store.water_mask)
    with rasterio.open(found.assets["mask"].href) as file:
        np.testing.assert_array_equal(file.read(1), opened.water_mask.sel(time="2019-12-06").values.squeeze())


def test_the_revision_is_a_group_that_plain_xarray_opens(store, folder):
    path, _ = folder
    item = pystac.Item.from_file(str(path / "bijie-lake-revision-0/bijie-lake-revision-0.json"))
    group = xr.open_zarr(item.assets["zarr"].get_absolute_href(), consolidated=False)
    assert {band["name"] for band in item.assets["zarr"].extra_fields["bands"]} <= set(group.variables)
    np.testing.assert_array_equal(group.water_frequency, store.water_frequency)


def test_outlines_and_series_are_the_same_in_all_formats(store, folder):
    path, _ = folder
    frames = [geopandas.read_file(path / "lakes.gpkg"), geopandas.read_parquet(path / "lakes.parquet"),
              geopandas.read_file(path / "lakes.geojson").to_crs(32648)]  # fmt: skip
    for frame in frames:
        assert frame.lake_id.tolist() == store.lake.values.tolist()
        np.testing.assert_allclose(frame.area, frames[0].area, rtol=1e-3)  # GeoJSON is rounded to 1 mm
    table = pd.read_csv(path / "areas.csv")
    assert len(table) == store.sizes["lake"] * store.sizes["date"]


def test_netcdf_holds_the_chosen_maps(store, folder):
    path, _ = folder
    with xr.open_dataset(path / "water.nc", engine="h5netcdf") as back:
        assert set(back.data_vars) == {"water_frequency", "water_mask"}
        xr.testing.assert_equal(back.water_mask.load(), store.water_mask.sel(time="2019-12").load())


def test_netcdf_holds_all_of_a_store(store, tmp_path):
    path = to_netcdf(store, tmp_path / "all.nc")
    with xr.open_dataset(path, engine="h5netcdf") as back:
        for name, variable in store.variables.items():
            np.testing.assert_array_equal(back[name].values, variable.values, err_msg=str(name))
            assert back[name].dtype.kind == variable.dtype.kind or variable.dtype.kind == "U", name
        assert back.water_mask.dtype == "uint8" and back.water_mask.attrs["flag_meanings"] == "land water unknown"
        assert back.attrs["Conventions"] == "CF-1.12" and back.rio.crs.to_epsg() == 32648
    with rasterio.open(f"netcdf:{path}:water_frequency") as file:  # as QGIS does
        assert file.crs.to_epsg() == 32648 and file.transform[:6] == (10, 0, 500_000, 0, -10, 3_000_000)
        np.testing.assert_array_equal(file.read(1), store.water_frequency)


def test_netcdf_of_a_store_without_dask_is_written_in_blocks(store, tmp_path, monkeypatch):
    lazy = lakecube.open_store(store.encoding["source"], chunks=None)
    assert lazy.water_mask.chunks is None
    written, write = [], xr.Dataset.to_netcdf
    monkeypatch.setattr(xr.Dataset, "to_netcdf", lambda self, *a, **k: written.append(self) or write(self, *a, **k))
    path = to_netcdf(lazy, tmp_path / "lazy.nc")
    assert all(v.chunks and v.chunks[0][0] == 1 for v in written[0].data_vars.values() if v.dims[1:] == ("y", "x"))
    assert lazy.water_mask.chunks is None
    with xr.open_dataset(path, engine="h5netcdf") as back:
        np.testing.assert_array_equal(back.water_mask, store.water_mask)


@pytest.mark.parametrize("blocks", [0, 5])
def test_netcdf_stops_before_the_disk_is_full(store, tmp_path, monkeypatch, blocks):
    """HDF5 would end the process: a segmentation fault."""
    path = tmp_path / "a.nc"
    path.write_text("before")
    left = iter([*[1 << 40] * (1 + blocks), *[1 << 20] * 10_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(left)))
    with dask.config.set(scheduler="synchronous"), pytest.raises(StoreError, match=r"a\.nc stopped: .*16 MB are free"):
        to_netcdf(store, path)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.nc"]


def test_one_date_of_all_of_a_store(store, tmp_path):
    path = to_netcdf(store, tmp_path / "one.nc", date="2019-12-06")
    with xr.open_dataset(path, engine="h5netcdf") as back:
        assert back.sizes["time"] == back.sizes["date"] == 1
        np.testing.assert_array_equal(back.lake_area, store.lake_area.sel(date=["2019-12-06"]))
        assert "item" not in back.dims and "item_id" in store.variables  # whose rows are of all dates


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.shp", {}, "no format has this suffix"),
        ("x", {"formats": ["shp"]}, "formats='shp': choose from cog, gpkg"),
        ("x", {"products": ["depth"]}, "product='depth'"),
        ("x.gpkg", {"formats": ["cog"]}, "is one file of format gpkg"),
        ("x.tif", {"products": ["mask", "frequency"]}, "is one file, and 2 products"),
        ("x.tif", {"stac": True}, "STAC tells of a folder"),
    ],
)
def test_mistakes_leave_nothing(store, tmp_path, name, options, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        export(store, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_lakes_of_what_has_none(tmp_path):
    with pytest.raises(InvalidInputError, match="no lakes yet"):
        export(extract(times=1), tmp_path / "x.csv")


def test_an_extract_tells_of_itself_too(no_compute):
    made = to_stac(extract(times=2), cloud_cover=False)
    assert made.id == "water" and [item.id for item in made.get_items()] == ["water-2019-11-20", "water-2019-12-06"]


def test_cloud_cover_is_a_share_of_what_was_acquired():
    water = extract(times=1, rows=10, columns=10)
    reason = np.zeros((1, 10, 10), "uint8")
    told = {"not_acquired": 50, "cloud": 6, "cirrus": 4, "cloud_shadow": 3, "snow_ice": 5}
    at = np.repeat([REASON[name] for name in told], [*told.values()])
    reason.ravel()[: at.size] = at
    water["reason"] = water.reason.copy(data=reason)
    item = next(to_stac(water.chunk(), id="one").get_items())
    assert item.properties["eo:cloud_cover"] == 20 and item.properties["eo:snow_cover"] == 10


def test_no_cloud_cover_where_nobody_looked_for_cloud():
    water = extract(times=3)
    looked = (water.item_time_index != 1).astype("uint8")
    items = list(to_stac(water.assign_coords(item_has_quality=looked), id="some", cloud_cover=True).get_items())
    assert ["eo:cloud_cover" in item.properties for item in items] == [True, False, True]
    assert ["eo:snow_cover" in item.properties for item in items] == [True, False, True]


def test_files_and_items_of_several_times_of_a_day_are_told_apart(tmp_path):
    water = extract(times=2, rows=10, columns=10)
    day = np.datetime64("2019-11-20", "ns")
    water = water.assign_coords(time=[day + np.timedelta64(3, "h"), day + np.timedelta64(37_805, "s")])
    made = export(water, tmp_path, products=["mask"], stac=True)
    names = ["mask-2019-11-20T030000.tif", "mask-2019-11-20T103005.tif"]
    assert [Path(file.path).name for file in made] == names
    with rasterio.open(tmp_path / names[0]) as file:
        np.testing.assert_array_equal(file.read(1), water.water_mask[0])
    found = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert [item.id[-17:] for item in found.get_items()] == ["2019-11-20T030000", "2019-11-20T103005"]


@pytest.mark.parametrize("id", ["../../elsewhere", "a/b", "", ".."])
def test_an_id_that_is_a_path_is_refused(tmp_path, id):
    with pytest.raises(InvalidInputError, match="only letters, digits"):
        to_stac(extract(times=1), tmp_path / "out", id=id, cloud_cover=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "maps", "lakes-0.parquet", "frequency.tif"])
def test_nothing_is_written_into_a_store(store, name):
    """What lies there is what was committed, to the byte."""
    target = Path(store.encoding["source"]) / name
    before = {path: path.stat().st_mtime_ns for path in Path(store.encoding["source"]).rglob("*")}
    with pytest.raises(InvalidInputError, match="lies in the store"):
        export(store, target)
    for write in (to_stac, to_cog, to_netcdf):
        with pytest.raises(InvalidInputError, match="lies in the store"):
            write(store, target)
    assert {path: path.stat().st_mtime_ns for path in Path(store.encoding["source"]).rglob("*")} == before


def test_the_command_line_spells_the_same_names():
    assert tuple(FORMATS) == exporting.FORMATS
    assert tuple(PRODUCTS) == exporting.PRODUCTS
