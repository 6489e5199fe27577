"""Colours, marks, units and words of the dashboard on a store of two lakes that was made by hand, in memory."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pyproj
import pytest
import xarray as xr
from bokeh.events import ButtonClick
from bokeh.models import Scatter, Segment

from lakecube.dashboard import words
from lakecube.dashboard.lake_near import LakeNear
from lakecube.dashboard.map_view import MapView
from lakecube.dashboard.page import Page
from lakecube.dashboard.series_view import SeriesView
from lakecube.dashboard.source import Opened
from lakecube.dashboard.still import interactive
from lakecube.dashboard.window import Window
from lakecube.names import LAND, REASON, UNKNOWN, WATER
from lakecube.panels import BLUE, GREY, ORANGE
from lakecube.series.registry import EVENT

DATES = np.array(["2020-06-01", "2021-06-01"], "datetime64[ns]")
_SIDE = 40
#: Rows and columns of lake 7, which is large, and of lake 9, one pixel of another kind of size.
_LARGE, _SMALL = (slice(5, 25), slice(5, 25)), (35, 36)


def two_lakes():
    """40 × 40 pixels of 10 m: lake 7 was seen on both dates, half of it under cloud on the second."""
    label = np.zeros((_SIDE, _SIDE), np.int64)
    label[_LARGE], label[_SMALL] = 7, 9
    wet = (label > 0).astype(np.uint8)
    mask, restored = np.stack([wet, wet]), np.full((2, _SIDE, _SIDE), UNKNOWN, np.uint8)
    mask[1, :15], restored[1, :15] = UNKNOWN, wet[:15]
    reason = np.where(mask == WATER, REASON["water"], REASON["index_below_threshold"]).astype(np.uint8)
    reason[1, :15] = REASON["cloud"]
    frequency = np.where(label == 7, 1.0, np.where(label == 9, 0.5, 0.0)).astype(np.float32)
    x, y = 500_000 + 10 * (np.arange(_SIDE) + 0.5), 3_000_000 - 10 * (np.arange(_SIDE) + 0.5)
    rows, columns = (np.array([np.nonzero(label == k)[axis].mean() for k in (7, 9)]) for axis in (0, 1))
    degrees = pyproj.Transformer.from_crs(32648, 4326, always_xy=True)
    lon, lat = degrees.transform(500_005 + 10 * columns, 2_999_995 - 10 * rows)
    area = np.array([40_000.0, 100.0])
    areas = {"": 1.0, "_observed": 0.75, "_lower": 0.5, "_upper": 1.5, "_q05": 0.9, "_q95": 1.2}
    pixels = ("y", "x")
    return xr.Dataset(
        {
            "water_mask": (("time", *pixels), mask), "reason": (("time", *pixels), reason),
            "water_restored": (("date", *pixels), restored), "water_frequency": (pixels, frequency),
            "water_frequency_year": (("year", *pixels), np.stack([frequency, frequency / 2])),
            "lake_label": (pixels, label), "max_area": ("lake", area), "perimeter": ("lake", [800.0, 40.0]),
            "shape_index": ("lake", [1.0, 1.0]), "touches_edge": ("lake", np.array([0, 1], np.uint8)),
            "size_class": ("lake", np.array([1, 0], np.uint8)), "kind": ("lake", np.zeros(2, np.uint8)),
            "provisional": ("lake", np.zeros(2, np.uint8)),
            "lake_observed_fraction": (("lake", "date"), [[1.0, 0.5], [1.0, 1.0]]),
            **{f"lake_area{part}": (("lake", "date"), share * area[:, None] * [1, 1]) for part, share in areas.items()},
        },
        {
            "time": DATES, "date": DATES, "year": [2020, 2021], "y": y, "x": x, "lake": [7, 9],
            "longitude": ("lake", lon), "latitude": ("lake", lat),
            "spatial_ref": ((), 0, pyproj.CRS(32648).to_cf()),
        },
        {"revision": 0, "method": "fusion"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened():
    return Opened(two_lakes(), "")


@pytest.fixture
def chart(opened):
    made, window = MapView(opened), Window.of(opened.grid)
    layer = opened.layers["frequency"]
    made.show(layer, opened.picture(layer, window, 1), window)
    made.show_lakes(opened.labels(window), window, np.array([True, True]), 7)
    return made


def colour_of(mapper, code):
    """The colour that Bokeh's linear mapper gives a code."""
    at = int(np.floor((code - mapper.low) / (mapper.high - mapper.low) * len(mapper.palette)))
    return mapper.palette[at]


def images(chart):
    return [one.glyph.color_mapper for one in chart.figure.renderers if hasattr(one.glyph, "color_mapper")]


def shown(chart, name):
    """An image with its first row on top."""
    return getattr(chart, name).data["image"][0][::-1]


def test_a_code_has_the_colour_of_its_layer(chart, opened):
    codes, edges = images(chart)
    layer = opened.layers["frequency"]
    assert [colour_of(codes, code) for code in range(256)] == list(layer.colours)
    assert colour_of(codes, 0) == "#ffffff" and colour_of(codes, 255) == GREY
    assert (
        colour_of(edges, 2) == ORANGE
        and colour_of(edges, 1).startswith("rgba(20,20,20")
        and edges.palette[0][-2] == "0"
    )


def test_only_the_edge_of_the_chosen_lake_is_in_its_colour(chart, opened):
    edges = shown(chart, "_edges")
    times = edges.shape[0] // _SIDE
    whole = edges.reshape(_SIDE, times, _SIDE, times).max(axis=(1, 3))
    assert set(np.unique(whole[_SMALL])) == {1}
    assert not edges[8 * times : 22 * times, 8 * times : 22 * times].any()
    chosen = np.argwhere(whole == 2)
    assert chosen.min(axis=0).tolist() in ([4, 4], [5, 5]) and chosen.max(axis=0).tolist() in ([24, 24], [25, 25])
    assert (whole[5, 5:25] == 2).all() and (whole[24, 5:25] == 2).all() and (whole[5:25, 24] == 2).all()


def test_a_small_lake_has_a_mark_where_it_lies_with_its_area(chart, opened):
    marks = chart._marks.data
    assert marks["lake"].tolist() == [9] and marks["words"] == ["lake 9, at most 0.0001 km²"]
    np.testing.assert_allclose([marks["x"][0], marks["y"][0]], [500_365, 2_999_645], atol=0.1)
    window = Window.of(opened.grid)
    chart.show_lakes(opened.labels(window), window, np.array([True, False]), 9)
    assert marks is not chart._marks.data and not chart._marks.data["lake"].size
    np.testing.assert_allclose(chart._ring.data["x"], [500_365], atol=0.1)
    chart.pan(0.95, 0.0)  # as far out as before, past lake 9
    chart.show_lakes(opened.labels(window), window, np.array([True, True]), None)
    assert not chart._marks.data["lake"].size and not chart._ring.data["x"].size


def test_degrees_have_their_names_and_a_lake_is_as_small_as_in_metres(opened):
    store, one = two_lakes(), 0.0001
    degrees = store.assign_coords(
        x=105 + one * np.arange(_SIDE), y=27 - one * np.arange(_SIDE), spatial_ref=((), 0, pyproj.CRS(4326).to_cf()),
        longitude=("lake", [105 + 14.5 * one, 105 + 36 * one]), latitude=("lake", [27 - 14.5 * one, 27 - 35 * one]),
    )  # fmt: skip
    there = Opened(degrees, "")
    chart, window = MapView(there), Window.of(there.grid)
    assert [axis.axis_label for axis in (chart.figure.xaxis[0], chart.figure.yaxis[0])] == [
        "longitude, °E",
        "latitude, °N",
    ]
    chart.show_lakes(there.labels(window), window, np.array([True, True]), None)
    assert chart._marks.data["lake"].tolist() == [9]
    plane = MapView(opened).figure
    assert [axis.axis_label for axis in (plane.xaxis[0], plane.yaxis[0])] == ["easting, km", "northing, km"]


def test_a_click_finds_the_lake_of_the_pixel_or_a_mark_that_is_near(chart):
    both = np.array([True, True])
    assert chart.lake_at(500_100, 2_999_900, both) == 7
    assert chart.lake_at(500_358, 2_999_645, both) == 9
    assert chart.lake_at(500_358, 2_999_645, np.array([True, False])) is None
    assert chart.lake_at(500_320, 2_999_700, both) is None


def test_the_series_is_in_square_kilometres_with_thin_limits_and_a_thick_interval(opened):
    series = SeriesView(opened.dates)
    series.show(opened.lake(7))
    limits, interval = (r.glyph for r in series.figure.renderers if isinstance(r.glyph, Segment))
    assert (limits.y0, limits.y1) == ("lake_area_lower", "lake_area_upper") and limits.line_width < interval.line_width
    assert (interval.y0, interval.y1, interval.line_color) == ("lake_area_q05", "lake_area_q95", BLUE)
    (dots,) = (r.glyph for r in series.figure.renderers if isinstance(r.glyph, Scatter))
    assert (dots.x, dots.y, dots.fill_color) == ("date", "lake_area", "shade")
    points = series.points.data
    np.testing.assert_allclose(points["lake_area_upper"], 0.06)
    assert points["shade"] == ["#000000", "#808080"]
    assert points["words"] == ["2020-06-01: 0.04 km², 100% seen", "2021-06-01: 0.04 km², 50% seen"]
    assert series.figure.y_range.start == 0 and 0.06 < series.figure.y_range.end < 0.08
    series.mark(opened.dates[1])
    assert series._day.visible and series._day.location == DATES[1].astype("datetime64[ms]").astype(int)


def test_a_date_tells_seen_from_inferred_by_its_colours(opened):
    layer, window = opened.layers["date"], Window.of(opened.grid)
    codes = opened.picture(layer, window, 1)
    said = dict(layer.legend)
    assert [said[codes[at]] for at in ((5, 5), (0, 0), (20, 20), (39, 0))] == [
        "hidden, water inferred", "hidden, land inferred", "water", "land"]  # fmt: skip
    blue, rest = layer.colours[WATER], {layer.colours[code] for code in (LAND, 2, 3, UNKNOWN)}
    assert blue == BLUE and len(rest) == 4
    hue = {code: np.array([int(layer.colours[code][k : k + 2], 16) for k in (1, 3, 5)]) for code in said}
    assert all((hue[code].argmax() == 2) == (code in (WATER, 3)) for code in said if np.ptp(hue[code]) > 0)


def test_each_year_is_its_own(opened):
    window = Window.of(opened.grid)
    assert [opened.picture(opened.layers[f"year-{year}"], window, 0)[10, 10] for year in (2020, 2021)] == [100, 50]


def test_more_water_is_darker_in_every_scale(opened):
    months = two_lakes().assign(month_state=(("year_month", "y", "x"), np.zeros((1, _SIDE, _SIDE), np.uint8)))
    layers = Opened(months.assign_coords(year_month=DATES[:1]), "").layers
    for key, top in (("frequency", 100), ("occurrence", 100), ("recurrence", 100), ("seasonality", 12)):
        light = [sum(int(colour[k : k + 2], 16) for k in (1, 3, 5)) for colour in layers[key].colours[: top + 1]]
        assert light == sorted(light, reverse=True) and light[0] == 3 * 255 and light[-1] < 250, key
        assert layers[key].colours[UNKNOWN] == GREY
    assert (layers["extent"].colours[WATER], layers["extent"].colours[UNKNOWN]) == (BLUE, GREY)


def text_of(html):
    return re.sub(r"<[^>]+>", " ", html)


def test_a_lake_in_words_has_its_place_and_its_units(opened):
    text = text_of(words.about_lake(opened.lake(7)))
    for said in ("Lake 7", "0.04 km²", "0.8 km", "lake, medium", "27.1211° N, 105.0015° E"):
        assert said in text
    assert "edge of the data" not in text and "edge of the data" in words.about_lake(opened.lake(9))
    south = opened.lake(7).assign_coords(latitude=-12.5, longitude=-70.25)
    assert "12.5000° S, 70.2500° W" in words.about_lake(south)


def test_a_day_in_words_has_interval_limits_and_what_hid_the_lake(opened):
    hidden = LakeNear(opened, opened.lake(7)).hidden(1)
    assert hidden == {REASON["cloud"]: 0.5} and LakeNear(opened, opened.lake(7)).hidden(0) == {}
    text = text_of(words.about_day(opened.dates[1], opened.lake(7), hidden, None, ""))
    assert "0.036 to 0.048 km²" in text and "0.02 km² if all hidden is land, 0.06 km² if water" in text
    assert "50.0% of its largest extent" in text and "cloud 50.0%" in text


def test_both_sides_of_an_event_are_told(opened):
    names = ("lineage_lake", "lineage_other", "lineage_event")
    rows = [(7, 9, EVENT["split"]), (7, 9, EVENT["merge"])]
    store = xr.Dataset(
        {name: ("event", list(column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )
    mine, theirs = (text_of(words.lineage(store, xr.Dataset(coords={"lake": k}))) for k in (7, 9))
    assert "split from lake 9" in mine and "merged into lake 9" in mine
    assert "lake 7 split from it" in theirs and "lake 7 merged into it" in theirs


def test_what_is_drawn_as_one_is_said():
    assert words.sampled(1, True) == "" and "shown as one" in words.sampled(4, True)
    assert "one in 4 × 4 px" in words.sampled(4, False)


class _Source:
    """What a page asks of its source."""

    def __init__(self, opened):
        self.opened = opened


@pytest.fixture
def page(opened):
    return Page(_Source(opened))


def press(button):
    button._trigger_event(ButtonClick(button))


def test_a_day_says_where_nobody_looked_for_cloud():
    store = two_lakes().assign_coords(item_has_quality=("item", [1, 0]), item_time_index=("item", [0, 1]))
    page = Page(_Source(Opened(store, "")))
    asyncio.run(page._day())
    assert "cloud not checked on 1 of 1 date" in page.texts["about_day"].text
    page.step(-1)
    asyncio.run(page._day())
    assert "not checked" not in page.texts["about_day"].text


def test_buttons_do_what_they_say(page):
    on = page.controls
    width = page.map.box[2] - page.map.box[0]
    press(on.closer)
    assert page.map.box[2] - page.map.box[0] == pytest.approx(width / 2)
    press(on.wider)
    assert page.map.box[2] - page.map.box[0] == pytest.approx(width)
    assert page.position == 1
    press(on.earlier)
    assert page.position == 0
    press(on.later)
    assert page.position == 1


def test_the_list_begins_with_the_largest_lake_in_square_kilometres(page, opened):
    page.controls.offer_lakes(opened, np.array([True, True]), None)
    assert page.controls.lake.options[1:] == [("7", "lake 7: 0.04 km²"), ("9", "lake 9: 0.0001 km²")]


def test_the_place_that_was_clicked_is_the_one_that_is_explained(page, opened):
    page.point = (500_365.0, 2_999_645.0)
    found = page._explained(opened.dates[0])
    assert found["label"] == "water" and found["latitude"] == pytest.approx(27.11926, abs=1e-5)
    page.point = (500_355.0, 2_999_645.0)
    assert page._explained(opened.dates[0])["label"] == "land"
    text = text_of(words.about_day(opened.dates[0], None, {}, found, ""))
    assert f"{found['latitude']:.5f}° N, {found['longitude']:.5f}° E" in text


def test_a_still_picture_is_of_the_date_and_round_the_lake():
    store = two_lakes().chunk(time=1)
    first, last = (interactive(store, date=day).layout.children[1] for day in DATES)
    codes = [next(r for r in f.renderers if r.glyph.__class__.__name__ == "Image").data_source.data["image"][0]
             for f in (first, last)]  # fmt: skip
    assert (codes[0] <= 1).all() and (codes[1] > 1).any()
    near = interactive(store, lake=9).layout.children[1]
    assert near.x_range.end - near.x_range.start < 200 and near.x_range.start < 500_365 < near.x_range.end
