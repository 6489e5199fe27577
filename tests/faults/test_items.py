"""Items that lie about their files, and odd time stamps: handled, or refused in words; never silently wrong."""

from __future__ import annotations

import copy
import json

import numpy as np
import pystac
import pytest
import rasterio

import lakecube
from lakecube.errors import LakecubeError
from lakecube.io.records import SourceGrid
from lakecube.names import OBSERVATION
from lakecube.synthetic.archive import make_archive

FAILED = OBSERVATION["read_failed"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    dates = ["2022-03-01", "2022-03-11"]
    made = make_archive(folder, shape=(60, 66), dates=dates, bands=["green", "swir16"], clouds=0, seed=2, dem=False)
    return folder, json.loads(made.items_path.read_text())["features"]


def items(archive, change=lambda item: None, which=1):
    """The items in Python, one of them changed."""
    folder, features = archive
    features = copy.deepcopy(features)
    for feature in features:
        for asset in feature["assets"].values():
            asset["href"] = str(folder / asset["href"])
    change(features[which])
    return [pystac.Item.from_dict(feature) for feature in features]


def asset_of(feature, band="green"):
    return feature["assets"][band]


LIES = {
    "shape": lambda f: asset_of(f).update({"proj:shape": [60, 70]}),
    "transform": lambda f: asset_of(f)["proj:transform"].__setitem__(2, asset_of(f)["proj:transform"][2] + 40),
    "pixel size": lambda f: asset_of(f).update(
        {"proj:transform": [12.0, *asset_of(f)["proj:transform"][1:4], -12.0, asset_of(f)["proj:transform"][5]]}
    ),
    "crs": lambda f: asset_of(f).update({"proj:code": "EPSG:32748"}),
    "dtype": lambda f: asset_of(f)["raster:bands"][0].update({"data_type": "float32"}),
}


#: The pixels of the archive: a lie does not move the cube.
LIKE = SourceGrid("EPSG:32648", (10.0, 0.0, 549600.0, 0.0, -10.0, 2986500.0), (60, 66))


@pytest.mark.parametrize("lie", LIES)
def test_what_contradicts_its_file_is_not_read(archive, lie, caplog):
    honest = lakecube.open(items(archive), bands=["green"]).load()  # so that header and tiles are remembered
    lying = lakecube.open(items(archive, LIES[lie]), bands=["green"], retries=0, like=LIKE).load()
    assert np.isnan(lying.green.sel(time="2022-03-11")).all()
    there = lying.observation.sel(time="2022-03-11").values
    assert not np.isin(there, [OBSERVATION["clear"], OBSERVATION["clear_cloud_unknown"]]).any()
    if lie != "crs":  # which puts the band elsewhere, so that it is not even opened
        assert (there == FAILED).mean() > 0.9
        assert "its metadata say" in caplog.text
    np.testing.assert_array_equal(lying.green.sel(time="2022-03-01"), honest.green.sel(time="2022-03-01"))


@pytest.mark.parametrize("said", [None, 0, 65535, 7])
def test_nodata_of_the_file_counts_whatever_the_item_says(archive, tmp_path, said):
    folder, features = archive
    old = folder / asset_of(features[1])["href"]
    with rasterio.open(old) as file:
        profile, numbers = file.profile | {"nodata": 65535}, file.read()
    numbers[:, 10:20, 10:20] = 65535
    with rasterio.open(tmp_path / "g.tif", "w", **profile) as file:
        file.write(numbers)

    def change(feature):
        asset_of(feature)["href"] = str(tmp_path / "g.tif")
        asset_of(feature)["raster:bands"][0]["nodata"] = said

    cube = lakecube.open(items(archive, change), bands=["green"], cloud_mask=False).sel(time="2022-03-11").load()
    assert np.isnan(cube.green.values[10:20, 10:20]).all()
    assert (cube.observation.values[10:20, 10:20] == OBSERVATION["not_acquired"]).all()
    assert np.nanmax(cube.green.values) < 2


TIMES = {
    "2022-03-11T11:37:25+08:00": "2022-03-11T03:37:25",
    "2022-03-10T23:59:59.999-04:00": "2022-03-11T03:59:59.999",
    "2022-03-11T03:37:25.123456Z": "2022-03-11T03:37:25.123456",
    "2022-03-11T03:37:25": "2022-03-11T03:37:25",
}


@pytest.mark.parametrize("text", TIMES)
def test_zones_and_fractions_are_understood(archive, text):
    cube = lakecube.open(items(archive, lambda f: f["properties"].update({"datetime": text})), bands=["green"])
    assert cube.item_time.values[1] == np.datetime64(TIMES[text], "ns")
    assert str(cube.time.values[1])[:10] == "2022-03-11"


def test_a_period_starts_when_it_starts(archive):
    def change(feature):
        feature["properties"].update(
            {"datetime": None, "start_datetime": "2022-03-11T03:00:00Z", "end_datetime": "2022-03-11T05:00:00Z"}
        )

    cube = lakecube.open(items(archive, change), bands=["green"])
    assert cube.item_time.values[1] == np.datetime64("2022-03-11T03:00:00", "ns")


def test_out_of_order_is_in_order(archive):
    there, back = (lakecube.open(given, bands=["green"]) for given in (items(archive), items(archive)[::-1]))
    assert there.identical(back)
    assert there.chunks == back.chunks


def test_one_time_twice_is_one_date(archive):
    def change(feature):  # another tile of the same moment
        feature["id"] = "S2A_48RXQ_20220311_0_L2A"
        feature["properties"]["grid:code"] = "MGRS-48RXQ"
        feature["properties"]["s2:product_uri"] = feature["properties"]["s2:product_uri"].replace("48RWQ", "48RXQ")

    twice = [*items(archive), items(archive, change)[1]]
    for groupby in ("solar_day", "time"):
        cube = lakecube.open(twice, bands=["green"], groupby=groupby)
        assert cube.sizes["time"] == 2 and cube.sizes["item"] == 3
    once = lakecube.open(items(archive), bands=["green"]).green.values
    np.testing.assert_array_equal(cube.green.values, once)


@pytest.mark.parametrize(
    ("time", "words"), [("2500-01-01T00:00:00Z", "year 2500"), ("0001-01-01T00:00:00Z", "year 1"), (None, "datetime")]
)
def test_times_that_are_none_are_refused(archive, time, words):
    given = items(archive)
    given[1].datetime = None if time is None else pystac.utils.str_to_datetime(time)
    with pytest.raises(LakecubeError, match=words):
        lakecube.open(given, bands=["green"])


def test_the_newer_copy_is_newer_in_any_zone(archive):
    def older(feature):
        feature["properties"]["updated"] = "2022-04-01T07:00:00+08:00"  # 23:00 of the day before

    def newer(feature):
        feature["properties"]["updated"] = "2022-04-01T00:00:00.5Z"
        feature["collection"] = "other"

    copies = [items(archive, older)[1], items(archive, newer)[1]]
    for given in (copies, copies[::-1]):
        cube = lakecube.open(given, bands=["green"], sensor="sentinel-2-l2a")
        assert list(cube.item_updated.values) == ["2022-04-01T00:00:00.5Z"]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["properties"].update({"proj:code": "EPSG:999999"}),
        lambda f: asset_of(f).update({"proj:shape": "60 x 66"}),
        lambda f: asset_of(f).update({"proj:transform": [10, 0, "east", 0, -10, "north"]}),
        lambda f: asset_of(f).update({"raster:bands": [{"scale": "small", "offset": [], "nodata": "none"}]}),
        lambda f: asset_of(f).update({"href": ""}),
        lambda f: f["assets"].clear(),
    ],
)
def test_nonsense_is_refused_in_words_or_does_no_harm(archive, change):
    try:
        cube = lakecube.open(items(archive, change), bands=["green"], retries=0).load()
    except LakecubeError as error:
        assert str(error)
    else:
        np.testing.assert_array_equal(cube.green, lakecube.open(items(archive), bands=["green"]).green)
