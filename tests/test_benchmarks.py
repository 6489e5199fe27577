"""The benchmarks run: their bodies on a tiny archive, so that they cannot rot."""

from pathlib import Path

import pytest

from benchmarks import archive, pipeline, restoration


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(pipeline, "STORE", tmp_path / "s.zarr")
    return archive.archive(96, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # odc-stac's own, on these versions
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # raised in odc-stac's reprojection
def test_both_sides_read_the_same_archive(tiny):
    theirs, ours = pipeline.odc_load(tiny), pipeline.read(tiny)
    assert theirs.sizes["time"] == ours.sizes["time"] == 2
    assert (theirs.sizes["y"], theirs.sizes["x"]) >= (ours.sizes["y"], ours.sizes["x"]) == (96, 96)
    pipeline.fusion(tiny)
    tasks = pipeline.tasks_per_block()
    assert 0 < tasks["observed"] + tasks["facts"] <= 8


def test_an_archive_repeated_has_other_files_and_other_dates(tiny):
    many = pipeline.read(archive.repeated(tiny, 3))
    assert many.sizes["time"] == 6
    assert len({*many.item_id.values}) == 6
    assert Path(tiny).exists()


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
    assert 85 < found["coverage"] < 95
    assert found["error, restored"] < 0.1 * found["error, observed"]
