"""What is drawn, pixel for pixel: its place, its colour, its unit, and that the legend says the same. Tiny arrays."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from lakecube import panels
from lakecube.lake_panels import draw_extent, draw_lake_series, window_around
from lakecube.names import COLOURS, REASON, TRANSITION
from lakecube.panels import BLUE, GREY, ORANGE, SAND, YELLOW
from lakecube.plot import plot
from lakecube.product_panels import _draw_seasons, draw_agreement, draw_product
from lakecube.summary import AreaSeries

DATES = np.array(["2021-03-01", "2021-01-01", "2021-02-01"], "datetime64[ns]")


def on_grid(values, epsg=32648, step=10.0, corner=(500_000.0, 3_000_000.0)):
    """A map (y, x) or (time, y, x) of some values on a grid with north up."""
    values = np.asarray(values)
    rows, columns = values.shape[-2:]
    coords = {
        "y": corner[1] - step * (np.arange(rows) + 0.5), "x": corner[0] + step * (np.arange(columns) + 0.5),
        "spatial_ref": ((), 0, pyproj.CRS(epsg).to_cf()),
    }  # fmt: skip
    dims = ("time", "y", "x")[-values.ndim :]
    return xr.DataArray(values, coords | ({"time": DATES[: len(values)]} if "time" in dims else {}), dims)


def axes_of():
    return Figure().subplots()


def colours(axes):
    """The colour of every pixel that is drawn, (y, x)."""
    (image,) = axes.images
    array = image.get_array()
    rgb = array if array.ndim == 3 else image.to_rgba(array)[..., :3]
    return np.apply_along_axis(to_hex, -1, rgb)


def legend(axes):
    """Words of the legend, and the colour of each."""
    return {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(axes.get_legend().get_texts(), axes.get_legend().get_patches(), strict=True)
    }


def words(figure):
    return " | ".join(text.get_text() for text in figure.findobj(Text))


def lightness(colour):
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))


def test_a_map_ends_at_the_outer_edges_of_its_pixels():
    assert panels.extent(on_grid(np.zeros((3, 2)))) == (500_000, 500_020, 2_999_970, 3_000_000)
    assert panels.extent(on_grid(np.zeros((1, 2)))) == (500_000, 500_020, 2_999_990, 3_000_000)
    assert panels.extent(on_grid(np.zeros((1, 1)))) == (500_004.5, 500_005.5, 2_999_994.5, 2_999_995.5)


def test_frequency_is_darker_where_it_is_wetter_white_where_never_and_grey_where_nobody_knows():
    axes = axes_of()
    panels.draw_frequency(axes, on_grid([[0.0, np.nan], [0.1, 1.0]]))
    (dry, unseen), (seldom, always) = colours(axes)
    assert dry == "#ffffff" and unseen == GREY
    assert lightness(always) < lightness(seldom) < 1
    assert legend(axes) == {"never wet": "#ffffff", "never clear": GREY}
    panels.draw_frequency(axes := axes_of(), on_grid([[0.0, 0.5]]))
    assert legend(axes) == {"never wet": "#ffffff"}


def test_classes_have_the_colours_that_the_legend_says_and_what_is_no_class_is_unknown():
    axes = axes_of()
    panels.draw_classes(axes, on_grid([[0, 1], [255, 7]]), "a date")
    assert colours(axes).tolist() == [[SAND, BLUE], [GREY, GREY]]
    assert legend(axes) == {"land 25.0%": SAND, "water 25.0%": BLUE, "unknown 25.0%": GREY}


def test_false_colour_is_swir_nir_red_in_this_order_with_water_outlined_and_unknown_hatched():
    ramp = np.linspace(0, 1, 12)
    layers = {
        "swir16": np.tile(ramp, (12, 1)),
        "nir": np.tile(ramp[:, None], (1, 12)),
        "red": np.tile(1 - ramp, (12, 1)),
    }
    cube = xr.Dataset({name: on_grid(values[None]) for name, values in layers.items()})
    mask = np.zeros((12, 12), np.uint8)
    mask[2:5, 3:6], mask[8:11, 8:11] = 1, 255
    panels.draw_false_colour(axes := axes_of(), cube, DATES[0], on_grid(mask[None]))
    rgb = axes.images[0].get_array()
    for k, name in enumerate(layers):
        assert np.corrcoef(rgb[..., k].ravel(), layers[name].ravel())[0, 1] > 0.95
    line, hatch = axes.collections
    assert to_hex(line.get_edgecolor()[0]) == YELLOW and hatch.hatches == ["////"]
    for collection, (top, left) in ((line, (2, 3)), (hatch, (8, 8))):
        box = collection.get_paths()[0].get_extents()
        wanted = (500_000 + 10 * left, 3_000_000 - 10 * (top + 3), 500_030 + 10 * left, 3_000_000 - 10 * top)
        np.testing.assert_allclose(box.extents, wanted, atol=5)
    panels.draw_false_colour(axes := axes_of(), cube, DATES[0], on_grid(np.minimum(mask, 1)[None]))
    assert "unknown" not in words(axes.figure)


@pytest.mark.parametrize(
    ("have", "told", "channels"),
    [
        (("green", "nir"), "nir · green · green", (1, 0, 0)),  # vegetation red, water blue to black
        (("blue", "green", "nir08"), "nir08 · green · green", (2, 1, 1)),
        (("green", "swir16"), "swir16 · green · green", (1, 0, 0)),
        (("nir",), "nir, grey", (0, 0, 0)),
    ],
)
def test_a_cube_of_few_bands_has_a_picture_as_well(have, told, channels):
    ramp = np.linspace(0, 1, 12)
    layers = [np.tile(ramp, (12, 1)), np.tile(ramp[:, None], (1, 12)), np.tile(1 - ramp, (12, 1))]
    cube = xr.Dataset({name: on_grid(values[None]) for name, values in zip(have, layers, strict=False)})
    panels.draw_false_colour(axes := axes_of(), cube, DATES[0])
    rgb = axes.images[0].get_array()
    for k, layer in enumerate(channels):
        assert np.corrcoef(rgb[..., k].ravel(), layers[layer].ravel())[0, 1] > 0.95
    assert told in words(axes.figure)


def test_the_series_is_in_square_kilometres_by_date_and_shaded_by_what_was_seen():
    by_reason = np.zeros((3, 256))
    by_reason[:, REASON["water"]], by_reason[:, REASON["cloud"]] = (3e6, 1e6, 2e6), (0, 3e6, 2e6)
    panels.draw_series(axes := axes_of(), AreaSeries(DATES, by_reason), truth=(3e6, 4e6, 4e6))
    points = axes.collections[-1]
    np.testing.assert_allclose(points.get_offsets()[:, 1], [1, 2, 3])
    assert (np.diff(points.get_offsets()[:, 0]) > 0).all()
    np.testing.assert_allclose(points.get_array(), [0.25, 0.5, 1])
    shades = [lightness(colour[:3]) for colour in points.to_rgba(points.get_array())]
    assert shades == sorted(shades, reverse=True)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [4, 4, 3])
    assert axes.get_ylabel() == "area of water, km²"


def lake_of(**areas):
    known = {"lake_area": 2, "lake_area_lower": 1, "lake_area_upper": 4, "lake_area_q05": 1.5, "lake_area_q95": 3}
    one = {name: ("date", np.full(3, value * 1e6)) for name, value in (known | areas).items()}
    return xr.Dataset(one | {"lake_observed_fraction": ("date", [1.0, 0.5, 0.995])}, {"date": DATES, "lake": 7})


def test_a_lake_has_thin_limits_a_thick_interval_and_points_in_square_kilometres():
    draw_lake_series(axes := axes_of(), lake_of())
    limits, interval, points = axes.collections
    for lines, ends in ((limits, [1, 4]), (interval, [1.5, 3])):
        assert [part[:, 1].tolist() for part in lines.get_segments()] == [ends] * 3
    assert limits.get_linewidth()[0] < interval.get_linewidth()[0]
    assert to_hex(limits.get_edgecolor()[0]) == GREY and to_hex(interval.get_edgecolor()[0]) == BLUE
    np.testing.assert_allclose(points.get_offsets()[:, 1], 2)
    np.testing.assert_allclose(points.get_array(), [1, 0.5, 0.995])
    assert lightness(points.to_rgba(1.0)[:3]) < lightness(points.to_rgba(0.0)[:3])
    assert axes.get_ylim()[1] >= 4 and "Seen whole on 2 of 3 dates" in words(axes.figure)


def test_only_the_chosen_lake_is_outlined():
    label = np.zeros((8, 8), np.int64)
    label[1:3, 1:3], label[5:7, 5:7] = 7, 8
    draw_extent(axes := axes_of(), on_grid(label), 7)
    (line,) = axes.collections
    np.testing.assert_allclose(
        line.get_paths()[0].get_extents().extents, (500_010, 2_999_970, 500_030, 2_999_990), atol=1
    )
    assert to_hex(line.get_edgecolor()[0]) == ORANGE


def test_a_lake_is_named_with_its_extent_in_square_kilometres():
    label = np.zeros((8, 8), np.int64)
    label[2:6, 2:6] = 7
    maps = {"lake_label": on_grid(label), "water_frequency": on_grid(np.where(label, 0.5, 0.0))}
    lon, lat = pyproj.Transformer.from_crs(32648, 4326, always_xy=True).transform(500_040, 2_999_960)
    facts = {"longitude": lon, "latitude": lat, "perimeter": 160.0, "max_area": 1600.0}
    lake = lake_of().assign({name: ((), value) for name, value in facts.items()}).expand_dims(lake=[7])
    text = words(plot(xr.Dataset(maps).merge(lake), lake=7))
    assert "Lake 7" in text and "largest extent, 0.0016 km²" in text and "area, km²" in text


@pytest.mark.parametrize(("product", "of"), [("occurrence", "months"), ("recurrence", "years")])
def test_a_share_says_what_it_is_a_share_of(monkeypatch, product, of):
    monkeypatch.setitem(draw_product.__globals__["PRODUCTS"], product, lambda months: on_grid([[0.5]]).chunk())
    months = on_grid(np.zeros((1, 1, 1), np.uint8)).rename(time="year_month")
    draw_product(axes := axes_of(), xr.Dataset({"month_state": months}), product)
    assert f"share of {of} with water" in words(axes.figure)


def test_the_window_round_a_lake_is_in_metres_on_grids_of_degrees_too():
    store = xr.Dataset({"lake_label": on_grid(np.zeros((400, 400), np.int64), 4326, 0.001, (20.0, 60.2))})
    lake = xr.Dataset({"longitude": 20.2, "latitude": 60.0, "perimeter": 8000.0, "max_area": 1e6}, {"lake": 7})
    cut = window_around(store, lake)
    height, width = (float(cut[dim].max() - cut[dim].min()) * 111_320 for dim in ("y", "x"))
    assert height == pytest.approx(4000, rel=0.06) and width * np.cos(np.radians(60)) == pytest.approx(4000, rel=0.06)


def test_agreement_has_a_colour_for_each_of_five_and_its_legend_says_which():
    mask = on_grid(np.array([[1, 1, 0], [0, 255, 1]], np.uint8))
    there = on_grid(np.array([[1, 0, 1], [0, 1, 255]], np.uint8))
    draw_agreement(axes := axes_of(), mask, there, "a date")
    drawn, said = colours(axes), {text.rpartition(" ")[0]: colour for text, colour in legend(axes).items()}
    kinds = [["water in both", "mapped, not there", "missed"], ["land in both", "unknown", "unknown"]]
    assert drawn.tolist() == [[said[kind] for kind in row] for row in kinds]
    assert len(set(said.values())) == 5 and axes.get_title("left") == "a date, IoU 0.333"


def test_agreement_of_a_sample_says_that_it_is_one(monkeypatch):
    monkeypatch.setattr(panels, "MAX_SIDE", 4)
    mask = on_grid(np.ones((2, 12), np.uint8))
    draw_agreement(axes := axes_of(), mask, mask, "a date")
    assert axes.get_title("left") == "a date, IoU 1.000 (one in 3 × 3 px)"


def test_seasons_go_from_white_for_never_to_the_darkest_for_twelve_months():
    _draw_seasons(axes := axes_of(), on_grid(np.array([[0, 1, 6, 7, 12, 255]], np.uint8)), "Seasonality")
    never, *some, unseen = colours(axes)[0]
    assert never == "#ffffff" and unseen == GREY and len(set(some)) == 4
    shades = [lightness(colour) for colour in some]
    assert shades == sorted(shades, reverse=True)
    assert legend(axes) == {"never wet": "#ffffff", "never seen": GREY}


def test_transitions_have_the_colours_of_the_table(monkeypatch):
    codes = np.array([list(TRANSITION.values())], np.uint8)
    monkeypatch.setitem(draw_product.__globals__["PRODUCTS"], "transitions", lambda months: on_grid(codes).chunk())
    months = on_grid(np.zeros((1, 1, codes.size), np.uint8)).rename(time="year_month")
    draw_product(axes := axes_of(), xr.Dataset({"month_state": months}), "transitions")
    wanted = [f"#{COLOURS['water_transition'][name]}".lower() for name in TRANSITION]
    assert colours(axes)[0].tolist() == wanted and len(set(wanted)) == len(wanted)
    assert [*legend(axes).values()] == wanted


def test_degrees_are_drawn_as_wide_as_high_on_the_ground_with_a_bar_in_metres():
    panels.draw_frequency(axes := axes_of(), on_grid(np.ones((40, 40)), 4326, 0.01, (20.0, 60.2)))
    assert axes.get_aspect() == pytest.approx(1 / np.cos(np.radians(60)), rel=1e-6)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("longitude, °E", "latitude, °N")
    (label,) = axes.texts
    start, end = axes.lines[-1].get_xdata()
    assert label.get_text() == "5 km"
    assert (end - start) * 0.4 * 111_320 * np.cos(np.radians(60)) == pytest.approx(5000, rel=0.01)


def test_ticks_of_a_projected_map_are_kilometres():
    panels.draw_frequency(axes := axes_of(), on_grid(np.ones((40, 40))))
    axes.figure.canvas.draw()
    assert [float(label.get_text()) for label in axes.get_xticklabels()] == pytest.approx(axes.get_xticks() / 1000)
    assert axes.get_xlabel().startswith("easting, km")


def test_the_date_that_is_asked_for_is_the_one_that_is_drawn():
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 0], masks[1, 1], masks[2, 2] = 1, 1, 1
    store = xr.Dataset({"water_mask": on_grid(masks)})
    for k, day in enumerate(DATES):
        drawn = colours(plot(store, date=day).axes[0])
        assert (drawn == BLUE)[k].all() and (drawn == BLUE).sum() == 4
