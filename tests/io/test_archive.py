"""An archive as users meet it: a STAC API that searches, and a web server that serves COGs by ranges."""

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import stac_geoparquet.arrow as geoparquet
import xarray as xr

import lakecube
from lakecube.errors import EmptySearchError
from lakecube.synthetic.archive import make_archive
from tests.io.conftest import api_of
from tests.io.server import serve

DATES = ["2022-03-01", "2022-04-20", "2022-07-09"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A local archive, and the address of an API whose items point to the same files on a web server."""
    pytest.importorskip("rustac")
    folder = tmp_path_factory.mktemp("archive")
    made = make_archive(folder, shape=(130, 142), dates=DATES, seed=3, clouds=[0.0, 0.2, 0.1])
    with serve(folder) as site:
        paths = []
        for feature in json.loads(made.items_path.read_text())["features"]:
            for asset in feature["assets"].values():
                asset["href"] = f"{site.url}/{Path(asset['href']).as_posix().removeprefix('./')}"
            feature["links"] = []
            paths.append(folder / f"{feature['id']}.json")
            paths[-1].write_text(json.dumps(feature))
        with api_of(paths) as url:
            yield made, url, site


def test_an_api_and_ranges_over_http_give_what_the_local_files_give(served):
    made, url, site = served
    local = lakecube.open(made.items_path)
    before = len(site.requests)
    remote = lakecube.open(url, collections="sentinel-2-l2a")
    assert len(site.requests) == before  # metadata only
    np.testing.assert_array_equal(remote.time, local.time)
    for name in ("green", "swir16", "nir09", "observation"):
        xr.testing.assert_equal(remote[name].drop_vars("spatial_ref"), local[name].drop_vars("spatial_ref"))
    assert any(ranges for _, _, ranges in site.requests[before:])
    ours, theirs = remote.water.extract(), local.water.extract()
    np.testing.assert_array_equal(ours.water_mask, theirs.water_mask)
    np.testing.assert_array_equal(ours.reason, theirs.reason)


def test_a_search_cuts_place_and_time(served):
    made, url, _ = served
    west, south, east, north = made.bbox
    middle = (west + east) / 2, (south + north) / 2
    box = (west, south, *middle)
    cube = lakecube.open(url, collections=["sentinel-2-l2a"], bbox=box, datetime="2022-04/2022-07-09")
    assert [str(t)[:10] for t in cube.time.values] == DATES[1:]
    whole = lakecube.open(made.items_path)
    assert cube.sizes["x"] < 0.6 * whole.sizes["x"]
    xr.testing.assert_equal(cube.green, whole.green.sel(time=cube.time, y=cube.y, x=cube.x))
    with pytest.raises(EmptySearchError, match="2022"):
        lakecube.open(url, collections="sentinel-2-l2a", datetime="2019")


def test_a_static_catalogue_and_a_geoparquet_file_give_the_same_cube(served, tmp_path):
    made, _, _ = served
    wanted = lakecube.open(made.items_path)
    items = list(pystac.ItemCollection.from_file(str(made.items_path)))
    for item in items:
        for asset in item.assets.values():
            asset.href = str((made.path / asset.href).resolve())
    catalogue = pystac.Catalog("c", "a catalogue on disk")
    catalogue.add_items([item.clone() for item in items])
    catalogue.normalize_and_save(str(tmp_path / "catalogue"), pystac.CatalogType.SELF_CONTAINED)
    table = geoparquet.parse_stac_items_to_arrow([item.to_dict(transform_hrefs=False) for item in items])
    geoparquet.to_parquet(table, tmp_path / "items.parquet")
    for source in (tmp_path / "catalogue" / "catalog.json", tmp_path / "items.parquet", items):
        xr.testing.assert_equal(lakecube.open(source).green, wanted.green)
