"""`explain`: the reasons of single pixels, against the arrays they come from."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

import lakecube
from lakecube.errors import InvalidInputError
from lakecube.names import REASON, RULE_BITS


@pytest.fixture(scope="module")
def opened(archive):
    return lakecube.open(archive.items_path, dem=archive.dem_path, chunks=64)


@pytest.fixture(scope="module")
def water(opened):
    return opened.water.extract().compute()


def degrees(dataset, row, column):
    back = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)
    return back.transform(float(dataset["x"][column]), float(dataset["y"][row]))


@pytest.mark.parametrize("place", [(0, 0), (129, 141), (64, 63), (17, 100)])
@pytest.mark.parametrize("date", [0, 1, 2])
def test_it_tells_what_the_arrays_hold(water, place, date):
    lon, lat = degrees(water, *place)
    found = water.water.explain(lon, lat, water["time"].values[date])
    at = water.isel(time=date, y=place[0], x=place[1])
    assert found["pixel"] == place
    assert REASON[found["reason"]] == int(at["reason"])
    assert sum(1 << RULE_BITS[name] for name in found["rules_fired"]) == int(at["rules_fired"])
    assert {"land": 0, "water": 1, "unknown": 255}[found["label"]] == int(at["water_mask"])
    assert found["thresholds"]["mndwi"]["value"] == pytest.approx(float(at["threshold"][0]), abs=1e-6)


def test_a_cube_gives_state_bands_indices_and_items(opened):
    lon, lat = degrees(opened, 40, 30)
    found = opened.water.explain(lon, lat, "2022-03-01")
    green, swir = found["bands"]["green"], found["bands"]["swir16"]
    assert found["indices"]["mndwi"] == pytest.approx((green - swir) / (green + swir), abs=1e-3)
    assert found["observation"] == "clear"
    assert len(found["items"]) == 2
    assert {item["baseline"] for item in found["items"]} == {"03.01", "04.00"}
    assert 0 <= found["slope"] < 90


def test_the_nearest_date_is_taken_and_said(water):
    lon, lat = degrees(water, 5, 5)
    found = water.water.explain(lon, lat, "2022-04-23")
    assert (found["date"], found["asked_for"]) == ("2022-04-20", "2022-04-23")
    assert "nearest date, 3 days off" in repr(found)
    assert "asked_for" not in water.water.explain(lon, lat, "2022-04-20")


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("1990-01-01", "the nearest are 2022-03-01$"),
        ("2022-04-24", "the nearest are 2022-04-20 and 2022-07-09$"),
        ("2050", "the nearest are 2022-07-09$"),
    ],
)
def test_a_date_far_away_is_refused(water, time, says):
    with pytest.raises(InvalidInputError, match=says):
        water.water.explain(*degrees(water, 5, 5), time)


def test_a_day_of_a_composite_finds_its_month(opened):
    monthly = opened.water.extract(composite="month")
    found = monthly.water.explain(*degrees(monthly, 5, 5), "2022-04-28")
    assert (found["date"], found["note"]) == ("2022-04-01", "the composite of that date")


def test_it_prints_as_a_report(water):
    lon, lat = degrees(water, 5, 5)
    lines = repr(water.water.explain(lon, lat, "2022-04-20")).splitlines()
    assert [line for line in lines if line.startswith("reason ")]
    assert "np." not in "".join(lines)


@pytest.mark.parametrize(
    ("lon", "lat", "time", "says"),
    [
        (10.0, 50.0, "2022-04-20", "outside"),
        (26.9, 105.5, "2022-04-20", "longitude first"),
        (float("nan"), 26.9, "2022-04-20", "lon=nan: a number of degrees"),
        (105.501, 26.99, "yesteryear", "not a date"),
    ],
)
def test_mistakes_are_named(water, lon, lat, time, says):
    with pytest.raises(InvalidInputError, match=says):
        water.water.explain(lon, lat, time)


def test_just_outside_is_outside(water):
    """Half a pixel beyond the edge is no longer in the first pixel."""
    back = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)
    left, top = float(water["x"][0]), float(water["y"][0])
    inside = water.water.explain(*back.transform(left - 4.9, top + 4.9), "2022-04-20")
    assert inside["pixel"] == (0, 0)
    with pytest.raises(InvalidInputError, match="outside"):
        water.water.explain(*back.transform(left - 5.1, top), "2022-04-20")


def test_items_of_a_store_follow_its_dates(water):
    found = water.water.explain(*degrees(water, 9, 9), water["time"].values[2])
    assert {item["id"][10:18] for item in found["items"]} == {"20220709"}
    assert np.isfinite(found["thresholds"]["awei_sh"]["value"])
