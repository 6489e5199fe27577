"""`plot`: pictures of cubes, extracts and stores, without a display and without loading a store."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

import lakecube
from lakecube import panels
from lakecube.errors import InvalidInputError, StoreError
from lakecube.plot import credits_of, nearest_date, plot, sign
from lakecube.summary import area_series, in_km2, row_areas


@pytest.fixture(scope="module")
def stored(archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "s.zarr"
    return lakecube.open(archive.items_path, dem=archive.dem_path).water.extract().water.to_zarr(path, progress=False)


def words(picture):
    found = [text.get_text() for text in picture.findobj(Text)]
    return " | ".join(found)


def test_a_store_is_a_map_a_series_and_its_sources(stored, tmp_path):
    picture = stored.water.plot(path=tmp_path / "store.png", title="Three dates")
    assert isinstance(picture, Figure)
    assert (tmp_path / "store.png").stat().st_size > 20_000
    text = words(picture)
    for word in ("Three dates", "Water frequency, 3 dates", "km²", "share of the area seen", "UTM zone 48N"):
        assert word in text
    assert "Contains modified Copernicus Sentinel data" in text
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_an_extract_shows_the_same_frequency_as_its_store(archive, stored):
    water = lakecube.open(archive.items_path, dem=archive.dem_path).water.extract()
    maps = [plot(data, series=False).axes[0].images[0].get_array() for data in (water, stored)]
    np.testing.assert_array_equal(*(m.filled(-1) for m in maps))
    np.testing.assert_array_equal(water.water.frequency().values, stored["water_frequency"].values)


def test_a_cube_is_one_date_with_outlines(archive, stored):
    cube = lakecube.open(archive.items_path)
    text = words(plot(cube, date="2022-04-19", water=stored))
    assert "2022-04-20, swir16 · nir · red" in text
    with pytest.raises(InvalidInputError, match="does not hold 2022-07-09"):
        plot(cube, water=stored.isel(time=[0, 1]))


def test_one_date_is_a_map_of_classes(stored):
    for picture in (plot(stored.isel(time=[1])), plot(stored, date="2022-04-21")):
        text = words(picture)
        assert "Surface water, 2022-04-20" in text
        assert "sentinel-2-l2a, 2022-04-20, method fusion" in text
        assert "share of" not in text
        assert len(picture.axes) == 1
        mask = stored["water_mask"].isel(time=1).values
        for name, code in (("land", 0), ("water", 1), ("unknown", 255)):
            assert f"{name} {(mask == code).mean():.1%}" in text


def test_titles_say_what_and_when(stored):
    assert "sentinel-2-l2a, 2022-03-01 to 2022-07-09, method fusion" in words(plot(stored))


def test_nobody_looked_for_cloud_and_the_caption_says_so(archive, stored):
    unmasked = lakecube.open(archive.items_path, cloud_mask=False).water.extract()
    assert "cloud: not checked on 3 of 3 dates (no quality layer)" in words(plot(unmasked, series=False))
    assert "cloud: not checked on 1 of 1 date (no quality layer)" in words(plot(unmasked, date="2022-07-09"))
    assert "cloud:" not in words(plot(stored))


@pytest.mark.parametrize(("name", "says"), [("a.pgn", ".png"), ("a", ".pdf"), ("no/such/a.png", "does not exist")])
def test_a_path_that_cannot_be_is_refused_before_anything_is_drawn(stored, tmp_path, monkeypatch, name, says):
    monkeypatch.setattr("lakecube.plot.draw_frequency", None)
    with pytest.raises(InvalidInputError, match=says):
        plot(stored, path=tmp_path / name)


def test_ticks_have_equal_decimals():
    even = panels.Even(1000)
    even.set_locs([549_500, 550_000, 550_500])
    assert [even(x) for x in (549_500, 550_000, 550_500)] == ["549.5", "550.0", "550.5"]


def test_the_outline_of_a_small_lake_runs_along_pixel_edges():
    axes, mask = Figure().subplots(), np.zeros((6, 6), bool)
    mask[1:4, 2:4], mask[3, 4] = True, True
    panels.outline(axes, mask, (0, 6, 0, 6), "k")
    (path,) = axes.collections[0].get_paths()
    away = np.abs(path.vertices - np.round(path.vertices))
    assert (away.min(axis=1) < 1 / 8).all()  # a corner cut at 45 degrees would be 1 / 2 away


def test_no_pyplot_and_no_display():
    code = "import lakecube.plot, sys; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_scale_bar_is_as_long_as_it_says(stored):
    picture = Figure()
    axes = picture.subplots()
    panels.draw_frequency(axes, stored["water_frequency"])
    (label,) = [t.get_text() for t in axes.texts]
    metres = float(label.split()[0]) * (1000 if "km" in label else 1)
    start, end = axes.lines[-1].get_xdata()
    left, right, *_ = panels.extent(stored)
    assert (end - start) * (right - left) == pytest.approx(metres, rel=1e-3)  # UTM: up to 0.04 % off the ground


@pytest.mark.parametrize(("crs", "per_unit"), [("EPSG:3857", 0.5), ("EPSG:2263", 0.3048), ("EPSG:4326", 55_800.0)])
def test_the_scale_bar_and_the_axes_are_of_the_ground(crs, per_unit):
    north = {"EPSG:3857": 8_399_738.0, "EPSG:2263": 200_000.0, "EPSG:4326": 60.0}[crs]
    step = 20.0 / per_unit
    values = xr.DataArray(
        np.ones((60, 60), np.float32), dims=("y", "x"),
        coords={"y": north - step * (np.arange(60.0) - 30), "x": (1e6 if step > 1 else 10) + step * np.arange(60.0)},
    )  # fmt: skip
    axes = Figure().subplots()
    panels.draw_frequency(axes, values.rio.write_crs(crs))
    (label,) = [t.get_text() for t in axes.texts]
    start, end = axes.lines[-1].get_xdata()
    assert (end - start) * 60 * 20.0 == pytest.approx(float(label.split()[0]), rel=5e-3)  # 60 pixels of 20 m
    if crs == "EPSG:2263":
        assert float(axes.xaxis.get_major_formatter()(1e6)) == pytest.approx(304.8, rel=1e-5)  # survey feet
        assert axes.get_xlabel().startswith("easting, km")


@pytest.mark.parametrize(("crs", "north", "share"), [("EPSG:3857", 8_399_738.0, 0.25), ("EPSG:32648", 2.9e6, 1.0)])
def test_areas_are_of_the_ground_where_a_projection_stretches_them(crs, north, share):
    data = xr.Dataset(coords={"y": north - 20 * np.arange(300.0), "x": 5e5 + 20 * np.arange(4.0)}).rio.write_crs(crs)
    areas = row_areas(data)
    assert areas[0] == pytest.approx(400 * share, rel=6e-3)
    if crs == "EPSG:3857":  # each row has its own
        assert np.all(np.diff(areas) > 0)
    else:
        assert np.ptp(areas) == 0
    assert row_areas(data.isel(y=slice(None, None, -1)))[-1] == areas[0]


def test_large_maps_are_read_in_strides():
    big = xr.DataArray(np.zeros((1, 5000, 2400)), dims=("time", "y", "x"))
    thin = panels.thin(big)
    assert max(thin.sizes["y"], thin.sizes["x"]) <= panels.MAX_SIDE
    assert thin.sizes["y"] / thin.sizes["x"] == pytest.approx(5000 / 2400, rel=0.01)


def test_the_row_order_does_not_turn_the_map(stored):
    box = panels.extent(stored)
    assert box[0] < box[1]
    assert box[2] < box[3]
    turned = stored.isel(y=slice(None, None, -1), x=slice(None, None, -1))
    assert panels.extent(turned) == box
    xr.testing.assert_equal(panels.thin(turned["water_frequency"]), stored["water_frequency"])


def test_one_column_of_pixels_is_as_wide_as_its_grid_says(stored):
    column = stored.isel(x=slice(4, 5))
    left, right, *_ = panels.extent(column)
    assert right - left == pytest.approx(10.0)
    np.testing.assert_allclose(area_series(column).total, stored.sizes["y"] * 100.0)
    np.testing.assert_allclose(area_series(stored.isel(x=[4], y=[4])).total, 100.0)


def test_a_catalogue_cannot_break_a_picture_with_a_formula(stored, tmp_path):
    path, name = tmp_path / "a.png", "$x^{$ \\frac{"
    assert name in plot(stored.assign_attrs(collections=name), series=False, path=path).get_suptitle()
    assert path.stat().st_size > 0


def test_a_picture_is_whole_or_not_there_and_never_in_a_store(stored, tmp_path, monkeypatch):
    path = tmp_path / "a.pdf"
    path.write_text("before")

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match=r"a\.pdf stopped: .*No space left"):
        plot(stored, series=False, path=path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pdf"]
    assert path.read_text() == "before"
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="lies in the store"):
        plot(stored, series=False, path=tmp_path / "b.png")


def test_areas_by_date_are_those_of_the_masks(stored):
    series = area_series(stored)
    mask = stored["water_mask"].values
    np.testing.assert_allclose(series.water, (mask == 1).sum(axis=(1, 2)) * 100.0)
    np.testing.assert_allclose(series.seen, (mask != 255).mean(axis=(1, 2)))
    np.testing.assert_allclose(series.total, mask[0].size * 100.0)
    assert sum(series.unknown.values()) == pytest.approx((mask == 255).mean())


def test_areas_in_degrees_are_those_of_the_ellipsoid():
    y, x = np.array([60.25, 59.75]), np.arange(20.25, 23, 0.5)
    reason = np.zeros((1, 2, 6), np.uint8)
    reason[0, 1, :3] = 4
    crs = pyproj.CRS("EPSG:4326")
    data = xr.Dataset(
        {"reason": (("time", "y", "x"), reason)},
        coords={"time": [np.datetime64("2020-01-01", "ns")], "y": y, "x": x, "spatial_ref": ((), 0, crs.to_cf())},
    )
    edge = np.linspace(20, 20.5, 500)
    lons, lats = np.concatenate([edge, edge[::-1]]), np.repeat([60.0, 60.5], 500)
    truth = abs(crs.get_geod().polygon_area_perimeter(lons, lats)[0])
    assert row_areas(data)[0] == pytest.approx(truth, rel=1e-5)
    series = area_series(data)
    assert series.water[0] == pytest.approx(row_areas(data) @ [6, 3])
    assert dict(series.unknown) == pytest.approx({"cloud": row_areas(data)[1] * 3 / (row_areas(data) @ [6, 6])})


@pytest.mark.parametrize(
    ("collections", "credit"),
    [
        ("sentinel-2-l2a", "Copernicus"),
        ("landsat-c2-l2", "U.S. Geological Survey"),
        ("HLSS30 hls2-s30", "NASA"),
        ("own", ""),
    ],
)
def test_credits(collections, credit):
    assert credit in credits_of(xr.Dataset(attrs={"collections": collections}))
    assert credit in credits_of(xr.Dataset(attrs={"configuration": json.dumps({"dem": None, "sensor": collections})}))


def test_mistakes_are_named(stored):
    with pytest.raises(InvalidInputError, match="nothing to draw"):
        plot(xr.Dataset())
    with pytest.raises(InvalidInputError, match="not a date"):
        nearest_date(stored, "soon")
    with pytest.raises(InvalidInputError, match="nearest are 2022-03-01"):
        nearest_date(stored, "1990-01-01")


def test_where_no_crs_tells_the_size_of_a_pixel_there_is_no_scale_bar():
    axes = Figure().subplots()
    values = xr.DataArray(
        np.ones((6, 6), np.float32), dims=("y", "x"), coords={"y": -np.arange(6.0), "x": np.arange(6.0)}
    )
    panels.draw_frequency(axes, values)
    assert not axes.texts
    assert not axes.lines


def test_the_foot_fits_on_the_sheet(stored):
    for note in ("", "cloud: not checked on 1 of 2 dates (no quality layer); " * 2):
        picture = Figure(figsize=(7, 3))
        sign(picture, stored, note)
        (foot,) = picture.texts
        assert foot.get_window_extent().x0 >= 0


def test_dates_a_day_apart_are_told_by_days_not_hours():
    axes = Figure().subplots()
    axes.plot(np.array(["2020-08-02", "2020-08-04"], "datetime64[ns]"), [1, 2])
    panels.furnish_series(axes, axes.scatter([], [], c=[]), "seen")
    axes.figure.draw_without_rendering()
    told = [label.get_text() for label in axes.get_xticklabels()]
    assert told == ["2020-08-02", "2020-08-03", "2020-08-04"]


def test_areas_are_told_without_powers_of_ten():
    assert [in_km2(a) for a in (0.00012, 2.6144, 901.8, 12056.04)] == [
        "0.00012 km²",
        "2.614 km²",
        "901.8 km²",
        "12,056 km²",
    ]
