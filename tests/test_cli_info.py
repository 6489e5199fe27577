"""`lakecube info`: areas in km², shares, and the date that was seen best, by hand on six pixels."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from lakecube.commands.describing import describe, lines
from lakecube.names import REASON
from lakecube.summary import area_series


@pytest.fixture(scope="module")
def found():
    """Four dates of 2 × 3 pixels of 10 m: seen 2, 6, 3 and 1 of them; 2, 1, 3 and 0 wet."""
    water, land, cloud, snow = (REASON[name] for name in ("water", "index_below_threshold", "cloud", "snow_ice"))
    reason = np.array([[water] * 2 + [cloud] * 4, [water] + [land] * 5, [water] * 3 + [cloud] * 3, [land] + [snow] * 5])
    days = np.array(["2021-01-05", "2021-02-04", "2021-03-06", "2021-04-05"], "datetime64[ns]")
    store = xr.Dataset(
        {"reason": (("time", "y", "x"), reason.reshape(4, 2, 3).astype(np.uint8))},
        {"time": days, "y": [2_999_995.0, 2_999_985], "x": [500_005.0, 500_015, 500_025],
         "spatial_ref": ((), 0, pyproj.CRS(32648).to_cf())},
        {"method": "fusion", "revision": 2, "collections": "sentinel-2-l2a"},
    )  # fmt: skip
    return describe("s3://bucket/s.zarr", store, area_series(store))


def test_areas_are_square_kilometres(found):
    assert found["area_km2"] == pytest.approx(600e-6)
    assert found["water_km2"] == pytest.approx({"least": 0, "most": 300e-6})


def test_the_date_that_was_seen_best(found):
    assert found["best_seen"] == {"date": "2021-02-04", "seen": 1.0, "water_km2": pytest.approx(100e-6)}
    assert found["dates_half_seen"] == 2 and (found["first"], found["last"]) == ("2021-01-05", "2021-04-05")


def test_what_was_not_seen_is_told_by_reason(found):
    assert found["seen"] == pytest.approx(12 / 24)
    assert found["unknown"] == pytest.approx({"cloud": 7 / 24, "snow_ice": 5 / 24})
    assert [*found["unknown"]] == ["cloud", "snow_ice"]  # the greatest first


def test_the_text_says_the_same(found):
    text = "\n".join(lines(found))
    for said in ("s3://bucket/s.zarr  (revision 2, fusion)", "4, 2021-01-05 to 2021-04-05",
                 "2 x 3 px of 10 m in EPSG:32648", "0.0006 km²", "50.0% of all pixels; 2 dates at least half seen",
                 "50.0%: cloud 29.2%, snow_ice 20.8%",
                 "0 to 0.0003 km² visible; best seen: 0.0001 km² on 2021-02-04 (100% seen)"):  # fmt: skip
        assert said in text, text
