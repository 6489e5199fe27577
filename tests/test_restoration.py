"""The benchmark of restoration runs on a small archive; a larger one shows what restoration is worth."""

import pytest

from benchmarks import restoration


def test_restoration_is_scored_on_what_was_hidden_on_purpose():
    case = restoration.synthetic(1, 72, 10, step=30)
    table = restoration.table_of(restoration.hide_and_restore(case, ("frequency", "lake")))
    assert set(table) == {"frequency", "lake", "none"}
    for row in (row for rows in table.values() for row in rows.values()):
        assert 0 <= row["F1"] <= 100 and row["pixels"] > 0
    assert all(row["recall"] == 0 for row in table["none"].values())
    shares = restoration.intervals_by_share([restoration.areas(case)])
    assert shares["all"]["lakes × dates"] > 20 and 0 < shares["all"]["coverage"] <= 100
    assert shares["all"]["error, restored"] < shares["all"]["error, observed"]


@pytest.mark.slow
def test_restoration_past_60_per_cent_of_cloud_and_the_coverage_of_its_intervals():
    case = restoration.synthetic(21, 200, 60)
    table = restoration.table_of(restoration.hide_and_restore(case, ("frequency", "lake")))
    heavy = {method: rows["> 60"] for method, rows in table.items()}
    assert heavy["lake"]["accuracy, lakes"] > 96
    assert heavy["lake"]["accuracy, lakes"] > heavy["frequency"]["accuracy, lakes"] + 4
    assert heavy["lake"]["area error"] < 0.2 * heavy["none"]["area error"]
    found = restoration.intervals_by_share([restoration.areas(case)])["all"]
    assert 85 < found["coverage, hidden"] < 95
    assert found["error, restored"] < 0.1 * found["error, observed"]
