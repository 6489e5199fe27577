"""What a visitor sees, without a browser: every value on the page is that of the store."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from bokeh.models import ScaleBar

import lakecube
from lakecube.dashboard import filters, words
from lakecube.dashboard import source as sources
from lakecube.dashboard.downloads import SeriesFile
from lakecube.dashboard.filters import Filters
from lakecube.dashboard.lake_near import LakeNear
from lakecube.dashboard.layers import _percent
from lakecube.dashboard.map_view import MapView, outlines
from lakecube.dashboard.page import Page, show
from lakecube.dashboard.source import Source
from lakecube.dashboard.window import Window
from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import LAND, TRANSITION, UNKNOWN, WATER, WATER_MASK
from lakecube.store import revise, to_zarr
from tests.store.bowls import bowls


class Ticks:
    """A document that remembers nothing: `work` is called by the test."""

    def add_next_tick_callback(self, callback):
        pass


def settle(page):
    """Do what is stale, part by part, as the server would."""
    page._busy = False
    while page._stale:
        asyncio.run(page.work())
    assert "unexpected" not in text(page, "status")


@pytest.fixture
def page(source):
    page = Page(source)
    page.document = Ticks()
    page.update("lakes", "lake", "map", "day")
    settle(page)
    return page


def text(page, name):
    return page.texts[name].text


def picture(page):
    """The codes on the map, first row on top."""
    return page.map._picture.data["image"][0][::-1]


def largest(source):
    lakes = source.opened.lakes
    return int(lakes["lake"][lakes["max_area"].argmax()])


def test_the_first_view_is_the_frequency_of_the_whole_store(page, source):
    frequency = source.opened.store["water_frequency"].values
    codes = picture(page)
    assert codes.shape == frequency.shape
    never = np.isnan(frequency)
    assert (codes[never] == 255).all()
    assert np.abs(codes[~never] / 100 - frequency[~never]).max() <= 0.01
    assert ((codes == 0) == (frequency == 0)).all()
    assert text(page, "status").count("Water frequency") == 1
    left, bottom, right, top = page.map.box
    assert left < 500_000 and right > 500_800 and bottom < 2_999_040 and top > 3_000_000


def test_every_layer_shows_its_product(page, source):
    store = lakecube.open_store(source.place.root)
    wanted = {
        "seasonality": store.water.seasonality(), "transitions": store.water.transitions(),
        "extent": store.water.maximum_extent(), "occurrence": store.water.occurrence(),
        "recurrence": store.water.recurrence(), "year-2019": store["water_frequency_year"].sel(year=2019),
    }  # fmt: skip
    for key, product in wanted.items():
        page.controls.layer.value = key
        settle(page)
        values = product.values
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), 255, np.maximum(np.rint(100 * values), values > 0))
        np.testing.assert_array_equal(picture(page), values, err_msg=key)
        assert f">{source.opened.layers[key].title}<" in text(page, "status")


@pytest.mark.parametrize(("crs", "is_there"), [("EPSG:32648", True), ("EPSG:3857", False), ("EPSG:2263", False)])
def test_a_bar_of_metres_is_drawn_where_metres_are_metres(source, crs, is_there):
    opened = SimpleNamespace(grid=source.opened.grid, crs=pyproj.CRS(crs), layers=source.opened.layers)
    bars = [one for one in MapView(opened).figure.center if isinstance(one, ScaleBar)]
    assert bool(bars) is is_there


def test_the_visitor_is_told_what_is_read_before_it_is_read(page, source):
    before = picture(page)
    page.controls.layer.value = "transitions"
    asyncio.run(page.work())
    assert "reading: Transitions" in text(page, "status") and picture(page) is not before
    np.testing.assert_array_equal(picture(page), before)
    settle(page)
    assert ">Transitions<" in text(page, "status") and (picture(page) != before).any()
    page.map.zoom(0.5)  # what is shown already, and quick to read, is not announced
    page.update("map")
    asyncio.run(page.work())
    assert "reading" not in text(page, "status")


def test_a_date_shows_what_was_seen_and_what_was_inferred(page, source):
    store = source.opened.store
    page.controls.layer.value = "date"
    date = int((store["water_mask"].values[:-1] == 255).sum((1, 2)).argmax())
    page.controls.date.value = str(source.opened.dates[date])
    settle(page)
    mask, restored = (store[name][date].values for name in ("water_mask", "water_restored"))
    codes = picture(page)
    np.testing.assert_array_equal(codes[mask != 255], mask[mask != 255])
    hidden = mask == 255
    assert hidden.any()
    expected = np.select([restored == 0, restored == 1], [2, 3], 255)
    np.testing.assert_array_equal(codes[hidden], expected[hidden])
    page.step(1)
    settle(page)
    assert page.position == date + 1
    assert str(source.opened.dates[date + 1]) in text(page, "status")


def test_a_part_is_read_when_the_map_is_moved(page, source):
    page.map.fit((500_100.0, 2_999_500.0, 500_300.0, 2_999_700.0))
    page.update("map")
    settle(page)
    seen = page.map._picture.data
    rows, columns = picture(page).shape
    assert 20 <= rows < 96 and 20 <= columns < 80
    assert seen["dw"] == [10.0 * columns] and seen["x"][0] <= 500_100


def test_a_click_on_a_lake_tells_its_series_and_the_day(page, source):
    number = largest(source)
    lake = source.opened.lake(number)
    at = np.argwhere(source.opened.store["lake_label"].values == number)[40]
    page.click(500_000 + 10 * (at[1] + 0.5), 3_000_000 - 10 * (at[0] + 0.5))
    settle(page)
    assert page.lake == number and page.controls.lake.value == str(number)
    points = page.series.points.data
    for name in ("lake_area", "lake_area_lower", "lake_area_upper", "lake_area_q05", "lake_area_q95"):
        np.testing.assert_array_equal(points[name], lake[name].values / 1e6)
    np.testing.assert_array_equal(points["lake_observed_fraction"], lake["lake_observed_fraction"].values)
    assert f"Lake {number}" in text(page, "about_lake")
    day = text(page, "about_day")
    assert page.map._place_asked.data == {"x": [page.point[0]], "y": [page.point[1]]}
    assert "At the marked place" in day and f"{float(lake['lake_observed_fraction'][-1]):.1%}" in day
    assert "first found by revision 0" in text(page, "lineage")
    assert f"lake={number}" in text(page, "downloads")
    assert (page.map._edges.data["image"][0] == 2).any()


def test_what_hid_a_lake_adds_up(page, source):
    page.choose(largest(source))
    settle(page)
    seen = page._of_lake["lake_observed_fraction"].values
    for date in range(len(seen)):
        assert sum(page._near.hidden(date).values()) == pytest.approx(1 - seen[date])


def test_a_date_is_chosen_in_the_series(page, source):
    page.choose(largest(source))
    settle(page)
    page.series.points.selected.indices = [3]
    settle(page)
    assert page.controls.date.value == str(source.opened.dates[3])
    assert str(source.opened.dates[3]) in text(page, "about_day")


def test_filters_by_size_kind_and_quality(page, source):
    lakes, seen = source.opened.lakes, source.opened.mean_seen
    np.testing.assert_allclose(seen, source.opened.store["lake_observed_fraction"].mean("date").values)
    page.controls.kinds.active = [0, 1, 2, 3]
    settle(page)
    assert page._kept.all()
    page.controls.kinds.active = [3]
    settle(page)
    np.testing.assert_array_equal(page._kept, lakes["provisional"] == 1)
    page.controls.kinds.active = [0]
    page.controls.sizes.active = []
    settle(page)
    assert not page._kept.any() and len(page.controls.lake.options) == 1
    assert Filters(mean_seen=0.7, kinds=filters.KINDS).keep(source.opened).tolist() == (seen >= 0.7).tolist()


def test_dates_on_which_too_little_was_seen_are_left_out(page, source):
    page.choose(largest(source))
    settle(page)
    page.controls.min_observed.value = 90
    page.update("lake")
    settle(page)
    shown = page.series.points.data["lake_observed_fraction"]
    every = page._of_lake["lake_observed_fraction"].values
    assert 0 < len(shown) < len(every) and (shown >= 0.9).all()
    assert len(shown) == (every >= 0.9).sum()


def test_filters_travel_in_an_address():
    one = Filters(("small",), ("lake", "provisional"), 0.25, 0.5)
    query = dict(pair.split("=") for pair in one.query.replace("%2C", ",").split("&"))
    assert Filters.parse(query) == one
    for wrong in ({"sizes": "huge"}, {"kinds": "sea"}, {"mean_seen": "2"}, {"min_observed": "x"}, {"mean_seen": "nan"}):
        with pytest.raises(InvalidInputError, match=r"sizes are|shares from 0 to 1"):
            Filters.parse(wrong)


def test_a_lake_that_is_not_there_is_said(page):
    page.choose("987654")
    assert "987654 is none of the" in text(page, "status")
    page.choose("<i>x</i>")
    assert "&lt;i&gt;x&lt;/i&gt; is not the number of a lake" in text(page, "status")
    for digit in ("²", "9" * 5000):
        page.choose(digit)
        assert "is not the number of a lake" in text(page, "status")
    assert page.lake is None


def test_text_of_the_store_is_escaped(page):
    assert "&lt;b&gt;bowls&lt;/b&gt;" in text(page, "about_store")


def test_visitors_have_each_their_own_page(source):
    one, other = Page(source), Page(source)
    for page in (one, other):
        page.document = Ticks()
        page.update("lakes", "lake", "map", "day")
        settle(page)
    one.choose(largest(source))
    one.controls.layer.value = "date"
    settle(one)
    assert other.lake is None and other.controls.layer.value == "frequency"
    assert one.opened is other.opened
    assert not set(one.map.figure.references()) & set(other.map.figure.references())


def test_a_view_that_costs_too_much_marks_lakes_instead(page, monkeypatch, source):
    monkeypatch.setattr(sources, "MAX_BYTES", 1000)
    monkeypatch.setattr(sources, "LABEL_BYTES", 1000)
    page.update("map")
    settle(page)
    assert page.map._picture.data["image"] == []
    assert "zoom in" in text(page, "status")
    assert sorted(page.map._marks.data["lake"]) == sorted(source.opened.lakes["lake"][page._kept])
    x, y = page.map._marks.data["x"][0], page.map._marks.data["y"][0]
    page.click(x + page.map.per_screen_pixel(), y)
    settle(page)
    assert page.lake == page.map._marks.data["lake"][0]


def test_nothing_is_read_outside_the_view(copy):
    """Chunks that a view does not touch may even be torn."""
    for torn in ("revision/0/water_frequency/c/2/2", "overviews/0/1/water_frequency/c/1/1"):
        (copy / torn).write_bytes(b"torn")
    opened = Source(copy).opened
    layer, whole = opened.layers["frequency"], lakecube.open_store(copy)["water_frequency"][:64]
    part = opened.picture(layer, Window((0, 64), (0, 80), 1), 0)
    np.testing.assert_array_equal(part == 255, np.isnan(whole))
    assert opened.picture(layer, Window((0, 64), (0, 80), 2), 0).shape == (32, 40)
    for step in (1, 2):
        with pytest.raises(StoreError, match="damaged"):
            opened.picture(layer, Window((0, 96), (0, 80), step), 0)


def test_a_new_revision_is_noticed(copy, monkeypatch):
    monkeypatch.setattr(sources, "LOOK_EVERY", 0.0)
    source = Source(copy)
    page = Page(source)
    page.document = Ticks()
    page.update("lakes", "lake", "map", "day")
    settle(page)
    page.choose(largest(source))
    settle(page)
    number, before = page.lake, source.opened
    page.update("revision")
    settle(page)
    assert page.opened is before
    to_zarr(bowls(dates=18, first=14)[0], copy, mode="append", progress=False)
    revise(copy, progress=False)
    page.update("revision")
    settle(page)
    assert page.opened is not before and len(page.controls.date.options) == 18
    assert "revision 1" in text(page, "about_store") and "this is revision 1" in text(page, "status")
    assert page.lake == number and page.series.figure.x_range.end > before.dates[-1].astype("M8[ms]").astype(int)
    assert len(page.series.points.data["date"]) == 18


def test_the_first_visitor_after_some_revisions_sees_the_store_as_it_is(tmp_path, monkeypatch):
    """The revision that the server opened is gone by then, and what is gone reads as never seen."""
    path = tmp_path / "s.zarr"
    to_zarr(bowls(dates=5, stop=3)[0], path, chunks=32, progress=False)
    source = Source(path)
    for k in (3, 4):
        to_zarr(bowls(dates=5, first=k, stop=k + 1)[0], path, mode="append", progress=False)
        revise(path, progress=False)
    assert not (path / "revision/0").exists()
    monkeypatch.setattr(sources, "LOOK_EVERY", 0.0)
    document = SimpleNamespace(models=SimpleNamespace(freeze=nullcontext), add_root=lambda model: None,
                               add_next_tick_callback=lambda callback: None,
                               add_periodic_callback=lambda callback, period: None)  # fmt: skip
    page = show(document, source)
    settle(page)
    page.controls.layer.value = "extent"
    settle(page)
    assert (picture(page) != UNKNOWN).mean() > 0.5
    assert "revision 2" in text(page, "about_store") and "has changed" not in text(page, "status")
    handler = SimpleNamespace(source=source)
    csv = SeriesFile.make(handler, tmp_path, source.look(), {})
    assert pd.read_csv(csv)["lake_area_upper"].notna().all()


def test_a_store_that_is_gone_is_said(copy, monkeypatch):
    monkeypatch.setattr(sources, "LOOK_EVERY", 0.0)
    page = Page(Source(copy))
    page.document = Ticks()
    copy.rename(copy.with_name("elsewhere"))
    page.update("revision")
    settle(page)
    assert "there is no store at" in text(page, "status")


def test_rows_without_a_revision_are_shown(tmp_path):
    to_zarr(bowls(dates=3)[0], tmp_path / "s.zarr", chunks=32, progress=False, revise=False)
    page = Page(Source(tmp_path / "s.zarr"))
    page.document = Ticks()
    page.update("lakes", "lake", "map", "day")
    settle(page)
    assert page.controls.layer.value == "date" and picture(page).shape == (96, 80)
    page.click(500_300.0, 2_999_700.0)
    settle(page)
    assert "At the marked place" in text(page, "about_day")


def test_degrees_are_as_wide_as_high_on_the_ground(tmp_path):
    to_zarr(bowls(dates=4, epsg=4326)[0], tmp_path / "s.zarr", chunks=32, progress=False)
    page = Page(Source(tmp_path / "s.zarr"))
    left, bottom, right, top = page.map.box
    shown = (right - left) * np.cos(np.radians(27)) / (top - bottom)
    assert shown == pytest.approx(page.map.screen["inner_width"] / page.map.screen["inner_height"], rel=1e-3)
    page.map.resize("inner_width", 400)
    assert page.map.box[2] - page.map.box[0] >= 0.0080


def test_lakes_beyond_the_antimeridian_lie_on_the_map(tmp_path):
    water = bowls(dates=4, epsg=4326)[0]
    to_zarr(water.assign_coords(x=water.x + (179.996 - 105)), tmp_path / "s.zarr", chunks=32, progress=False)
    page = Page(Source(tmp_path / "s.zarr"))
    lakes, (left, _, right, _) = page.opened.lakes, page.map.box
    assert (lakes["longitude"] < 0).any() and (lakes["longitude"] > 0).any()
    assert ((lakes["x"] > left) & (lakes["x"] < right)).all()
    beyond = np.flatnonzero(lakes["longitude"] < 0)
    small = int(lakes["lake"][beyond[lakes["max_area"][beyond].argmin()]])
    west, _, east, _ = LakeNear(page.opened, page.opened.lake(small)).box
    assert east > 180 and east - west < 0.005  # of 0.008


def test_legends_are_of_the_flag_tables(source):
    layers = source.opened.layers
    for layer, table in ((layers["transitions"], TRANSITION), (layers["date"], WATER_MASK)):
        shown = words.legend(layer)
        for name, code in table.items():
            text = name.replace("_", " ")
            assert layer.words[code] == text
            assert f'background:{layer.colours[code]}"></span>{text}<' in shown
        assert len({layer.colours[code] for code in table.values()}) == len(table)
    extent = layers["extent"]
    assert [extent.colours[code] for code in (LAND, WATER)] == [layers["date"].colours[code] for code in (LAND, WATER)]
    assert (extent.words[LAND], extent.words[WATER]) == ("never water", "water at least once")
    frequency = layers["frequency"]
    light = [int(colour[1:3], 16) + int(colour[3:5], 16) + int(colour[5:], 16) for colour in frequency.colours[:101]]
    assert light == sorted(light, reverse=True) and frequency.colours[255] not in frequency.colours[:101]


def test_lineage_tells_events_of_later_versions_too(source):
    store = xr.Dataset({name: ("event", [value]) for name, value in
                        (("lineage_lake", 3), ("lineage_other", 5), ("lineage_event", 99))})  # fmt: skip
    assert "changed with lake 5" in words.lineage(store, xr.Dataset(coords={"lake": 3}))


def test_water_outside_the_reference_is_a_kind_of_its_own():
    lakes = {
        "provisional": np.array([0, 1, 0, 1]),
        "kind": np.array([0, 0, 1, 1]),
        "size_class": np.array([0, 1, 2, 0]),
    }
    opened = SimpleNamespace(lakes=lakes)
    kept = {kinds: Filters(kinds=kinds).keep(opened).tolist() for kinds in (("lake",), ("river",), ("provisional",))}
    assert list(kept.values()) == [[True, False, False, False], [False, False, True, False], [False, True, False, True]]
    assert Filters(("medium",), filters.KINDS).keep(opened).tolist() == [False, True, False, False]


def test_a_pixel_that_was_ever_wet_is_not_shown_as_dry():
    shares = xr.DataArray(np.array([[0, 0.001, 0.5, 1, np.nan]], "f4"), dims=("y", "x"))
    assert _percent(shares).tolist() == [[0, 1, 50, 100, 255]]


def test_outlines_are_of_the_lakes_that_are_kept():
    labels = np.zeros((8, 9), np.int64)
    labels[1:5, 1:5], labels[5:8, 6:9] = 3, 7
    edges = outlines(labels, np.array([3]), None)
    assert (edges[1:5, 1:5] == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]).all()
    assert not edges[5:8, 6:9].any()
    assert (outlines(labels, np.array([3, 7]), 7)[labels == 7] > 0).sum() >= 5


def test_no_zoom_goes_where_numbers_run_out(page, source):
    """A key held down for some seconds; the width became 0, and no step back made it wider."""
    x = page.map.figure.x_range
    for factor in (0.5, 2.0):
        for _ in range(400):
            page._zoom(factor)
        settle(page)
        assert 0 < x.end - x.start < np.inf
        width = x.end - x.start
        page._zoom(1 / factor)
        assert (x.end - x.start) / width == pytest.approx(1 / factor)
    assert x.min_interval == pytest.approx(2.5) and x.max_interval == pytest.approx(96_000)


def test_a_click_nowhere_asks_nothing(page):
    page.click(float("nan"), 0.0)
    assert page.point is None and not page._stale


@pytest.mark.parametrize(("latitude", "longitude", "said"), [
    (-31.5, -70.25, "31.5000° S, 70.2500° W"), (27.0, 105.0, "27.0000° N, 105.0000° E"), (np.nan, np.nan, "no CRS"),
])  # fmt: skip
def test_places_are_told_by_their_side_of_the_globe(source, latitude, longitude, said):
    lake = source.opened.lake(largest(source)).assign(latitude=latitude, longitude=longitude)
    assert said in words.about_lake(lake)


def test_keys_move_the_map(page):
    left, bottom, right, top = page.map.box
    page.map.figure.tags = [1, 0, 0, 1]
    assert page.map.box == pytest.approx((left + (right - left) / 5, bottom, right + (right - left) / 5, top))
    page.map.figure.tags = [-1, 0, 0, 2]
    page.map.figure.tags = [0, 10**9, 0, 3]  # a page that was tampered with moves no farther
    assert page.map.box == pytest.approx((left, bottom + (top - bottom) / 5, right, top + (top - bottom) / 5))
    page.map.figure.tags = [0, -1, 1, 4]
    settle(page)
    across = page.map.box[2] - page.map.box[0]
    assert across == pytest.approx((right - left) / 2) and picture(page).size
