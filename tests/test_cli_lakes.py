"""`lakecube lakes`: every number that it prints is that of the store, in km²."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lakecube.cli import main
from lakecube.commands.lakes import _alerts, _lines_of_all
from lakecube.names import LAKE_KIND, SIZE_CLASS
from lakecube.series.areas import SERIES
from lakecube.store import to_zarr
from tests.store.bowls import bowls

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # main leaves logging as a process would


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return to_zarr(bowls(stop=5)[0], tmp_path_factory.mktemp("lakes") / "s.zarr", chunks=96, progress=False).compute()


@pytest.fixture
def run(store, capsys):
    def call(*words):
        assert main(["lakes", store.encoding["source"], *words]) == 0
        return capsys.readouterr().out

    return call


def test_the_largest_come_first_with_their_last_known_area(store, run):
    found = json.loads(run("--kind", "all", "--top", "3", "--json"))
    order = np.argsort(-store["max_area"].values, kind="stable")[:3]
    assert [row["lake"] for row in found["largest"]] == store["lake"].values[order].tolist()
    assert found["water_bodies"] == store.sizes["lake"] and found["dates"] == 5
    for row, k in zip(found["largest"], order, strict=True):
        lake = store.isel(lake=k)
        last = lake.isel(date=np.flatnonzero(lake["lake_area"].notnull())[-1])
        assert row["max_area_km2"] == float(lake["max_area"]) / 1e6
        for name, of in (("area", ""), ("q05", "_q05"), ("q95", "_q95")):
            assert row[f"last_{name}_km2"] == float(last[f"lake_area{of}"]) / 1e6
        assert row["last_date"] == str(last["date"].values)[:10]
        assert (row["longitude"], row["latitude"]) == (float(lake["longitude"]), float(lake["latitude"]))
        assert LAKE_KIND[row["kind"]] == int(lake["kind"]) and SIZE_CLASS[row["size_class"]] == int(lake["size_class"])


def test_a_kind_is_without_provisional_water(store, run):
    for kind, code in LAKE_KIND.items():
        found = json.loads(run("--kind", kind, "--json"))
        assert found["lakes"] == int(((store["kind"] == code) & (store["provisional"] == 0)).sum())
    lakes = store.isel(lake=np.flatnonzero((store["kind"] == LAKE_KIND["lake"]) & (store["provisional"] == 0)))
    for row in json.loads(run("--json"))["totals"]:
        some = lakes.isel(lake=np.flatnonzero(lakes["size_class"] == SIZE_CLASS[row["size_class"]]))
        area = some["lake_area"].sel(date=row["date"]).values.ravel()
        assert row["area_km2"] == pytest.approx(np.nansum(area) / 1e6) and row["lakes"] == np.isfinite(area).sum()


def test_one_lake_is_told_date_by_date(store, run):
    number = int(store["max_area"].idxmax())
    found, lake = json.loads(run("--lake", str(number), "--json")), store.sel(lake=number)
    assert [row["date"] for row in found["by_date"]] == [str(day)[:10] for day in lake["date"].values]
    for k, row in enumerate(found["by_date"]):
        values = {name: float(lake[name][k]) for name in SERIES}  # m² and shares, by the names of the store
        assert {name: row[name] for name in SERIES} == {n: None if np.isnan(v) else v for n, v in values.items()}
    assert found["perimeter_km"] == float(lake["perimeter"]) / 1e3
    k = int(np.flatnonzero(lake["lake_area_q95"].notnull())[0])
    line = run("--lake", str(number)).splitlines()[2 + k].split()
    parts = ("", "_q05", "_q95", "_lower", "_upper")
    assert line == [str(lake["date"].values[k])[:10], *(f"{float(lake[f'lake_area{p}'][k]) / 1e6:.4f}" for p in parts),
                    f"{float(lake['lake_observed_fraction'][k]):.1%}"]  # fmt: skip


def test_dates_that_were_not_seen_enough_have_no_area(store, run):
    number = int(store["max_area"].idxmax())
    rows = json.loads(run("--lake", str(number), "--min-observed", "0.9", "--json"))["by_date"]
    seen = store["lake_observed_fraction"].sel(lake=number).values
    assert [row["lake_area"] is None for row in rows] == (seen < 0.9).tolist() and 0 < (seen < 0.9).sum() < 5


def test_alerts_are_the_falls_of_the_last_month():
    months = pd.date_range("2021-01-01", periods=3, freq="MS")
    warned = xr.Dataset(
        {"alert": (("lake", "year_month"), np.array([[0, 1, 255], [0, 2, 255], [0, 0, 255]], np.uint8)),
         "change": (("lake", "year_month"), [[0, -0.2, np.nan], [0, -0.5, np.nan], [0, 0.1, np.nan]])},
        {"lake": [3, 5, 8], "year_month": months},
    )  # fmt: skip
    found = _alerts(warned)
    assert [(row["lake"], row["month"], row["change"], row["certain"]) for row in found] == [
        (3, "2021-02", -0.2, False), (5, "2021-02", -0.5, True)]  # fmt: skip
    nothing = {"store": "s", "kind": "lake", "lakes": 3, "water_bodies": 3, "dates": 3, "largest": [], "totals": []}
    text = "\n".join(_lines_of_all(nothing | {"alerts": found}))
    assert "alert: lake 3 fell by 20% in 2021-02" in text and "lake 5 certainly fell by 50%" in text


def test_what_is_not_listed_is_counted_and_a_lake_without_a_place_says_so():
    row = {"lake": 3, "latitude": float("nan"), "longitude": float("nan"), "touches_edge": False, "max_area_km2": 1.0,
           "last_date": None}  # fmt: skip
    found = {"store": "s", "kind": "all", "lakes": 3, "water_bodies": 3, "dates": 3, "largest": [row], "totals": [],
             "alerts": []}  # fmt: skip
    text = "\n".join(_lines_of_all(found))
    assert "the largest 1 of 3; --top 3 shows all" in text
    assert "no CRS" in text
    assert "nan" not in text
