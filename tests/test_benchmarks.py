"""The benchmarks run: their bodies on a tiny archive, so that they cannot rot."""

from pathlib import Path

import pytest

from benchmarks import archive, pipeline


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
