"""Rows and revisions come one by one or together: the same bytes, and a store that opens at every moment."""

import dask
import numpy as np
import pytest
import xarray as xr

import lakecube.store.revision as revision
from lakecube.errors import InvalidInputError, LakecubeError, StoreError
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.job import RevisionOutcome
from tests.store.made import extract
from tests.store.test_restart import snapshot

SMALL = {"rows": 20, "columns": 24}


def opens(path, times, date=None):
    """Whether every reader opens it and finds so many dates, and so many in its revision."""
    assert xr.open_zarr(path).sizes["time"] == times
    with xr.open_datatree(path, engine="zarr") as tree:
        assert tree.sizes["time"] == times
    store = open_store(path)
    assert store.sizes["time"] == times and store.sizes.get("date") == date
    return store


def test_append_then_revise_is_append_with_a_revision(tmp_path):
    for name in "ab":
        to_zarr(extract(times=2, **SMALL), tmp_path / name, chunks=16)
    to_zarr(extract(times=3, start=2, **SMALL), tmp_path / "a", mode="append")
    to_zarr(extract(times=3, start=2, **SMALL), tmp_path / "b", mode="append", revise=False)
    between = opens(tmp_path / "b", 5, 2)
    assert int(between.count_clear.max()) == 2 and between.attrs["revision"] == 0
    out = revise(tmp_path / "b", progress=False)
    assert opens(tmp_path / "b", 5, 5).attrs["revision"] == 1
    np.testing.assert_array_equal(out.count_clear, (out.water_mask != 255).sum("time"))
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_first_write_without_a_revision(tmp_path):
    to_zarr(extract(times=2, **SMALL), tmp_path / "a", chunks=16)
    out = to_zarr(extract(times=2, **SMALL), tmp_path / "b", chunks=16, revise=False)
    assert "count_clear" not in out and "date" not in out.dims
    opens(tmp_path / "b", 2)
    revise(tmp_path / "b", progress=False)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_call_that_adds_nothing_makes_the_revision_that_is_missing_and_no_other(tmp_path):
    water = extract(times=2, **SMALL)
    to_zarr(water, tmp_path / "s", chunks=16, revise=False)
    assert to_zarr(water, tmp_path / "s").attrs["revision"] == 0
    before = snapshot(tmp_path / "s")
    to_zarr(water, tmp_path / "s")
    revise(tmp_path / "s")
    assert snapshot(tmp_path / "s") == before


def test_the_revision_before_stays_for_its_readers_and_older_ones_go(tmp_path):
    path = tmp_path / "s"
    first = to_zarr(extract(times=1, **SMALL), path, chunks=16)
    expected = first.count_clear.values.copy()
    reader = open_store(path)
    for start in (1, 2):
        to_zarr(extract(times=1, start=start, **SMALL), path, mode="append")
        left = sorted(p.name for p in (path / "revision").iterdir() if p.is_dir())
        assert left == (["0", "1"] if start == 1 else ["1", "2"])
        np.testing.assert_array_equal(reader.water_mask.values, first.water_mask.values)
        if start == 1:
            np.testing.assert_array_equal(reader.count_clear.values, expected)
    assert "revision/0" not in xr.open_datatree(path, engine="zarr").groups
    opens(path, 3, 3)


def failing(monkeypatch, at):
    work, calls = revision.count_block, iter(range(10**6))

    def stops(*args, **kwargs):
        if next(calls) >= at:
            raise RuntimeError("worker died")
        return work(*args, **kwargs)

    stops.__module__, stops.__qualname__ = "lakecube.store.revision", "_stops"
    monkeypatch.setattr(revision, "count_block", stops)


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_revision_that_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch, at):
    for name in "ab":
        to_zarr(extract(times=2, **SMALL), tmp_path / name, chunks=16, revise=False)
    revise(tmp_path / "a", progress=False)
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        failing(patch, at)
        with pytest.raises(RuntimeError):
            revise(tmp_path / "b", wave=1)
    opens(tmp_path / "b", 2)
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        failing(patch, 4 - at)  # no block is counted twice
        revise(tmp_path / "b", wave=1)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_revision_between_does_not_disturb_rows_that_wait(tmp_path, monkeypatch):
    import lakecube.store.write_tasks as write_tasks

    path, water = tmp_path / "s", extract(times=2, start=1, **SMALL)
    to_zarr(extract(times=1, **SMALL), path, chunks=16, revise=False)
    write, calls = write_tasks._write, []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("stop")
        return write(*args, **kwargs)

    monkeypatch.setattr(write_tasks, "_write", counted)
    with pytest.raises(RuntimeError), dask.config.set(scheduler="synchronous"):
        to_zarr(water, path, mode="append", wave=1)
    revise(path)
    del calls[:]
    with dask.config.set(scheduler="synchronous"):
        to_zarr(water, path, mode="append", wave=2)
    assert len(calls) == 8 - 4 and opens(path, 3, 3).attrs["revision"] == 1


def test_another_job_starts_anew(tmp_path, monkeypatch):
    path = tmp_path / "s"
    to_zarr(extract(times=2, **SMALL), path, chunks=16, revise=False)
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        failing(patch, 2)
        with pytest.raises(RuntimeError):
            revise(path, wave=1)
    to_zarr(extract(times=1, start=2, **SMALL), path, mode="append")
    clean = to_zarr(extract(times=3, **SMALL), tmp_path / "clean", chunks=16)
    xr.testing.assert_equal(open_store(path).count_clear.load(), clean.count_clear.load())


def with_lakes(monkeypatch):
    """A revision pass that has a file and a parameter of its own, like the real one."""
    work = revision.write_revision

    def made(job, ledger, run, wave):
        outcome = work(job, ledger, run, wave)
        text = f"{job.previous} {job.parameters} {len(job.rows)} {job.registry is not None}"
        files = {f"lakes-{job.number}.parquet": text.encode()}
        return RevisionOutcome(outcome.arrays, {**outcome.attrs, "note": "lakes"}, files)

    import lakecube.store.transaction as transaction

    monkeypatch.setattr(transaction, "write_revision", made)


def test_files_and_parameters_of_a_revision(tmp_path, monkeypatch):
    with_lakes(monkeypatch)
    path = tmp_path / "s"
    to_zarr(extract(times=1, **SMALL), path, chunks=16, revise={"min_wet": 3})
    told = lambda k: (path / f"lakes-{k}.parquet").read_text()  # noqa: E731
    assert told(0) == "None {'min_wet': 3} 1 False"
    to_zarr(extract(times=1, start=1, **SMALL), path, mode="append")  # with the parameters of the current one
    assert told(1) == "0 {'min_wet': 3} 2 False"
    to_zarr(extract(times=1, **SMALL), tmp_path / "other", chunks=16)
    revise(path, min_wet=None, min_pixels=1, registry=tmp_path / "other")
    assert told(2) == "1 {'min_pixels': 1} 2 True"
    assert sorted(p.name for p in path.glob("lakes-*")) == ["lakes-1.parquet", "lakes-2.parquet"]
    assert xr.open_zarr(path, group="revision/2", consolidated=False).attrs["note"] == "lakes"
    to_zarr(extract(times=2, **SMALL), path, mode="overwrite", chunks=16)  # they are not somebody else's
    assert sorted(p.name for p in path.glob("lakes-*")) == ["lakes-0.parquet"]


def test_what_no_revision_can_be_made_of(tmp_path):
    with pytest.raises(StoreError, match="no finished store"):
        revise(tmp_path / "s")
    with pytest.raises(InvalidInputError, match="no parameter odd"):
        to_zarr(extract(times=1), tmp_path / "s", revise={"odd": 1})
    with pytest.raises(InvalidInputError, match="True, False or a mapping"):
        to_zarr(extract(times=1), tmp_path / "s", revise="later")
    assert not (tmp_path / "s").exists()


def test_a_place_without_areas_is_refused_before_the_work(tmp_path, no_compute):
    water = extract(times=1, **SMALL)
    uneven = water.assign_coords(y=water.y.values - np.where(np.arange(water.sizes["y"]) > 3, 4, 0))
    one_row = water.isel(y=[0])
    for given in (uneven, one_row):
        with pytest.raises(LakecubeError, match=r"not evenly spaced|has one pixel"):
            to_zarr(given, tmp_path / "s", chunks=16)
    assert not (tmp_path / "s").exists()


def test_one_row_is_stored_without_areas(tmp_path):
    to_zarr(extract(times=1, **SMALL).isel(y=[0]), tmp_path / "s", chunks=16, revise=False)
    with pytest.raises(InvalidInputError, match="y has one pixel"):
        revise(tmp_path / "s")


def test_one_date_more_holds_the_bytes_of_a_run_of_all(tmp_path, monkeypatch):
    import lakecube.store.write_tasks as write_tasks

    tiny, rows, write = {"rows": 8, "columns": 8}, set(), write_tasks._write
    to_zarr(extract(times=61, **tiny), tmp_path / "whole")
    to_zarr(extract(times=60, **tiny), tmp_path / "s", revise=False)  # no lakes whose ids the next revision would keep
    monkeypatch.setattr(write_tasks, "_write", lambda row, *a, **k: rows.add(row) or write(row, *a, **k))
    to_zarr(extract(times=61, **tiny), tmp_path / "s", mode="append")
    assert rows == {60}  # what is there is not made again
    assert snapshot(tmp_path / "s") == snapshot(tmp_path / "whole")
