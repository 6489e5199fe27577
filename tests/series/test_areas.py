"""What is made of the areas: pandas is the oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError, StoreError
from lakecube.series import areas
from lakecube.series.areas import ALERT, alerts, reliable, series_table, totals, write_series
from lakecube.series.lakes import lakes
from tests.series.test_lakes import stack


@pytest.fixture(scope="module")
def found():
    return lakes(stack(2, dates=9), min_frequency=0.5, min_pixels=4, size_limits=(2e3, 1e4)).compute()


def told(area, dates, **more):
    """Lakes with given areas (lake, date), all seen unless said otherwise."""
    area = np.asarray(area, float)
    base = {"lake_area": area, "lake_area_observed": area, "lake_area_lower": area, "lake_area_upper": area}
    base |= {"lake_observed_fraction": np.ones_like(area)}
    both = {name: (("lake", "date"), np.asarray(v, float)) for name, v in (base | more).items()}
    return xr.Dataset(both, coords={"lake": np.arange(1, len(area) + 1), "date": pd.DatetimeIndex(dates)})


def test_areas_of_lakes_that_were_hardly_seen_are_left_out(found):
    kept = reliable(found, min_observed=0.7)
    enough = found["lake_observed_fraction"] >= 0.7
    assert 0 < int(enough.sum()) < enough.size
    for name in ("lake_area", "lake_area_observed"):
        xr.testing.assert_identical(kept[name], found[name].where(enough).assign_attrs(found[name].attrs))
    xr.testing.assert_identical(kept["lake_area_upper"], found["lake_area_upper"])
    xr.testing.assert_identical(reliable(found, min_observed=0), found)
    with pytest.raises(InvalidInputError, match="min_observed=70: a share"):
        reliable(found, min_observed=70)


@pytest.mark.parametrize("min_observed", [0.0, 0.8])
def test_totals_are_those_of_pandas(found, min_observed):
    totalled = totals(found, variable="lake_area_observed", min_observed=min_observed, kinds=("lake", "river"))
    frame = found.drop_vars("lake_label").drop_dims(("y", "x")).to_dataframe().reset_index()
    frame = frame[frame["kind"].isin([0, 1]) & (frame["provisional"] == 0)]
    known = frame[frame["lake_area_observed"].notna() & (frame["lake_observed_fraction"] >= min_observed)]
    assert totalled["size_class"].values.tolist() == ["small", "medium", "large"]
    for code, name in enumerate(("small", "medium", "large")):
        mine, theirs = totalled.sel(size_class=name), known[known["size_class"] == code].groupby("date")
        every = frame[frame["size_class"] == code].groupby("date")
        dates = found["date"].values
        area = theirs["lake_area_observed"].sum().reindex(dates)
        np.testing.assert_array_equal(mine["total_area"], area)
        np.testing.assert_array_equal(mine["lake_count"], theirs.size().reindex(dates, fill_value=0))
        np.testing.assert_array_equal(mine["total_area_upper"], every["lake_area_upper"].sum())
        share = theirs["max_area"].sum().reindex(dates, fill_value=0) / every["max_area"].sum()
        np.testing.assert_array_equal(mine["known_fraction"], share)


def test_all_that_counts_is_all_there_is(found):
    everything = totals(found, variable="lake_area_observed", kinds=("lake", "river", "too_small"), provisional=True)
    np.testing.assert_array_equal(everything["total_area"].sum("size_class"), found["lake_area_observed"].sum("lake"))
    with pytest.raises(InvalidInputError, match="no kind pond; there are lake, river, too_small"):
        totals(found, kinds=("pond",))


def test_a_class_without_lakes_has_no_area_and_no_share():
    none = lakes(xr.zeros_like(stack())).compute()
    totalled = totals(none)
    assert (totalled["total_area"] == 0).all()
    assert totalled["known_fraction"].isnull().all()
    assert (totalled["lake_count"] == 0).all()


def test_a_tenth_less_than_the_month_before_is_an_alert():
    dates = ["2020-01-03", "2020-01-20", "2020-02-05", "2020-03-05", "2020-05-05", "2020-06-05"]
    area = [[100, 110, 94.5, 94.4, 50, 0], [100, 100, 95, 85.5, 85, np.nan], [0, 0, 0, 5, 5, 5]]
    found = alerts(told(area, dates))
    none, _, certain, unknown = ALERT.values()
    assert found["alert"].values.tolist() == [
        [unknown, certain, none, unknown, unknown, certain],
        [unknown, none, certain, unknown, unknown, unknown],
        [unknown, unknown, unknown, unknown, unknown, none],
    ]
    assert found["year_month"].values.astype("datetime64[M]").astype(str).tolist()[-1] == "2020-06"
    assert found["monthly_area"].values[0].tolist()[:3] == [105, 94.5, 94.4]
    assert found["change"].values[0, 1] == pytest.approx(-0.1)
    assert alerts(told(area, dates), drop=0.11)["alert"].values[0, 1] == none


def test_a_fall_that_clouds_may_have_made_is_not_certain():
    dates = ["2020-01-03", "2020-02-05"]
    limits = {"lake_area_lower": [[100, 80]] * 2, "lake_area_upper": [[100, 95], [100, 90]]}
    found = alerts(told([[100, 80]] * 2, dates, **limits))
    assert found["alert"].values[:, 1].tolist() == [ALERT["drop"], ALERT["certain_drop"]]
    dry_for_all_we_saw = {"lake_area_lower": [[0, 0]], "lake_area_upper": [[100, 0]]}
    assert alerts(told([[50, 0]], dates, **dry_for_all_we_saw))["alert"].values[0, 1] == ALERT["drop"]
    hazy = {"lake_area_lower": [[80, 80]], "lake_area_upper": [[100, 85]]}
    assert alerts(told([[100, 80]], dates, **hazy))["alert"].values[0, 1] == ALERT["drop"]
    hidden = alerts(told([[100, 80]], dates, lake_observed_fraction=[[1, 0.4]]))
    assert hidden["alert"].values.tolist() == [[ALERT["unknown"]] * 2]
    for wrong in ({"drop": 10}, {"drop": 0}):
        with pytest.raises(InvalidInputError, match="drop="):
            alerts(told([[1, 2]], dates), **wrong)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_hold_the_series(found, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(areas, "LAKES_AT_ONCE", 5)
    path = write_series(found.chunk({"lake": 7}), tmp_path / f"a{suffix}")
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    table = pd.read_csv(path, parse_dates=["date"]) if suffix == ".csv" else pd.read_parquet(path)
    assert table.columns.tolist() == ["lake_id", "date", *(name for name in areas.SERIES if name in found)]
    assert len(table) == found["lake_area"].size
    back = table.set_index(["lake_id", "date"]).to_xarray()
    for name in table.columns[2:]:
        np.testing.assert_array_equal(back[name].values, found[name].values, name)
    pd.testing.assert_frame_equal(series_table(found), table, check_dtype=False)
    again = write_series(found, tmp_path / f"b{suffix}")
    if suffix == ".csv":
        assert again.read_bytes() == path.read_bytes()
        assert path.read_text().splitlines()[1].startswith("1,2020-01-05,")
    assert (series_table(found, min_observed=1)["lake_area_observed"].notna()).sum() < len(table)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_whole_or_as_it_was(found, suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_text("before")
    tables = areas._tables

    def stops(*given):
        yield next(tables(*given))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(areas, "_tables", stops)
    with pytest.raises(StoreError, match=r"stopped: .*No space left on device"):
        write_series(found, path)
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_made_is_said(found, tmp_path):
    with pytest.raises(InvalidInputError, match=r"written as \.csv or \.parquet"):
        write_series(found, tmp_path / "a.xlsx")
    with pytest.raises(InvalidInputError, match="find the lakes first"):
        series_table(xr.Dataset())
    with pytest.raises(InvalidInputError, match="no lake_observed_fraction here"):
        reliable(found.drop_vars("lake_observed_fraction"), min_observed=0.5)
    empty = lakes(xr.zeros_like(stack())).compute()
    assert write_series(empty, tmp_path / "a.csv").read_text().startswith("lake_id,date,lake_area,")
