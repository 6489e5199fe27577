"""`.water` by itself says what a Dataset is, in text and in a notebook, whatever a catalogue says."""

import html.parser
import json

import numpy as np
import pytest
import xarray as xr

import lakecube
from lakecube.card import card_of
from lakecube.names import LAKE_KIND
from lakecube.store import open_store, to_zarr
from tests.store.bowls import bowls
from tests.store.made import extract

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'"&\x1b[31m'


class Tags(html.parser.HTMLParser):
    """Which elements and attributes a piece of HTML has."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "s.zarr"
    water = bowls(stop=4)[0].assign_attrs(collections="sentinel-2-l2a")
    return to_zarr(water, path, chunks=32, progress=False)


def test_a_store_says_what_it_holds(store):
    text = repr(store.water)
    assert "lakecube store" in text and "s.zarr, revision 0" in text
    assert "4 dates, 2019-03-18 to" in text and "96 × 80 px of 10 m in WGS 84 / UTM zone 48N" in text
    assert "0.768 km², around 27.1181° N, 105.0040° E" in text
    assert f"{store.sizes['lake']} bodies: " in text
    whole = store.provisional.values == 0
    assert f"{int((whole & (store.kind.values == LAKE_KIND['lake'])).sum())} lake" in text
    assert f"{int((~whole).sum())} provisional" in text
    assert "2 levels" in text and "water_mask" in text and "modified Copernicus" in text
    assert "failed" not in text and "stale" not in text and ".water.plot()" in text


@pytest.mark.parametrize(("west", "north", "around"), [
    (179.9999, -16.0, "16.0050° S, 179.9951° W"), (10.0, 20.0, "19.9950° N, 10.0050° E"),
])  # fmt: skip
def test_a_grid_of_degrees_is_told_too(west, north, around):
    water = bowls(2, epsg=4326)[0].isel(y=slice(0, 100), x=slice(0, 80))
    y, x = north - 0.01 * (np.arange(water.sizes["y"]) + 0.5), west + 1e-2 * (np.arange(water.sizes["x"]) + 0.5)
    text = repr(card_of(water.assign_coords(y=y, x=x).isel(y=slice(0, 1), x=slice(0, 1)).assign_coords(
        spatial_ref=water.spatial_ref.assign_attrs(GeoTransform=f"{west} 0.01 0 {north} 0 -0.01"))))  # fmt: skip
    assert around in text
    assert "1 × 1 px of 0.01° in WGS 84" in text
    assert "km²" in text and "e-" not in text.split(" km²")[0][-12:]


def test_what_is_missing_is_said(tmp_path):
    water = bowls(stop=3)[0]
    reason, mask = water["reason"].values.copy(), water["water_mask"].values.copy()
    reason[1, :4], mask[1, :4] = 2, 255
    failed = water.assign(reason=(water.reason.dims, reason), water_mask=(water.reason.dims, mask)).chunk(time=1)
    with pytest.warns(lakecube.store.write.ReadFailedWarning):
        to_zarr(failed.isel(time=[0, 1]), tmp_path / "s", progress=False)
    store = to_zarr(failed.isel(time=[2]), tmp_path / "s", mode="append", revise=False, progress=False)
    text = repr(store.water)
    assert f"reading, in part: {str(water.time.values[1])[:10]};" in text
    assert "1 date not in this revision yet" in text
    ledger = tmp_path / "s/_ledger/rows.json"  # a date of which a threshold was made without a part of its imagery
    known = json.loads(ledger.read_text())
    known["rows"][1]["failed"] = 0
    ledger.write_text(json.dumps(known))
    assert f"reading, in part: {str(water.time.values[1])[:10]};" in repr(open_store(tmp_path / "s").water)


def test_an_extract_and_a_cube_say_what_to_do_next():
    lazy = extract()
    text = repr(lazy.water)
    assert "extract, method fusion, nothing computed yet" in text and ".water.to_zarr(path)" in text
    assert "nothing computed" not in repr(lazy.compute().water) and "10 scenes" in text
    cube = xr.Dataset(dict.fromkeys(("green", "swir16"), lazy["water_probability"]))
    assert "cube" in repr(cube.water) and "green, swir16" in repr(cube.water) and ".water.extract()" in repr(cube.water)


@pytest.mark.parametrize(
    "dataset",
    [xr.Dataset(), xr.Dataset({"a": ("y", [1.0])}, {"y": ["top"], "x": ("x", [])}), xr.Dataset(coords={"time": []})],
)
def test_it_has_a_word_for_anything(dataset):
    assert "lakecube.open" in repr(dataset.water) and "<table" in dataset.water._repr_html_()


def test_no_pixel_is_read(store):
    lazy = open_store(store.encoding["source"])
    for name in ("water_mask", "reason", "water_frequency", "lake_area"):
        broken = lazy[name].data.map_blocks(
            lambda block: 1 / 0, dtype=lazy[name].dtype, meta=np.empty(0, lazy[name].dtype)
        )
        lazy[name] = lazy[name].copy(data=broken)
    assert "bodies" in repr(lazy.water)


def test_what_a_catalogue_says_stays_text():
    water = extract()
    water = water.assign_coords(
        item_collection=("item", [HOSTILE] * water.sizes["item"]),
        item_platform=("item", [HOSTILE] * water.sizes["item"]),
    ).assign_attrs(method=HOSTILE, collections=HOSTILE, title=HOSTILE)
    shown = water.water._repr_html_()
    found = Tags(shown)
    assert found.tags == {"style", "table", "caption", "tr", "th", "td"} and found.attributes == {"class"}
    assert "&lt;script&gt;" in shown and "\x1b" not in shown and "\x1b" not in repr(card_of(water))
