"""What could not be read is unknown, named in a warning and in the report, and never dry."""

import json
import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import lakecube
import lakecube.store.write_tasks as write_tasks
from lakecube.io.audit import OffsetConflictWarning
from lakecube.names import REASON, UNKNOWN
from lakecube.store import open_store, to_zarr
from lakecube.store.write import ReadFailedWarning
from lakecube.synthetic.archive import make_archive
from tests.store.made import extract


def test_a_broken_file_is_named_and_its_date_unknown(tmp_path):
    made = make_archive(tmp_path / "archive", shape=(64, 64), dates=["2022-03-01", "2022-03-11"], clouds=0, seed=2)
    broken = sorted((tmp_path / "archive").glob("S2*/B03.tif"))[1]
    broken.write_bytes(broken.read_bytes()[:300])
    water = lakecube.open(made.items_path, retries=0).water.extract()
    with pytest.warns(ReadFailedWarning, match=rf"2022-03-11.*{broken.parent.name}"):
        store = water.water.to_zarr(tmp_path / "s.zarr", progress=False)
    assert (store.water_mask[1] == UNKNOWN).all()
    assert (store.reason[1] == REASON["read_failed"]).all()
    assert (store.water_mask[0] != UNKNOWN).mean() > 0.5
    assert int(store.count_clear.max()) == 1
    (report,) = (tmp_path / "s.zarr" / "_runs").glob("*.json")
    assert json.loads(report.read_text())["read_failed"] == {"2022-03-11": 64 * 64}


def with_failures(water, dates=(1,)):
    """The Dataset with some whole dates that could not be read."""
    mask, reason = water.water_mask.copy(), water.reason.copy()
    failed = xr.DataArray(np.isin(np.arange(water.sizes["time"]), dates), dims="time")
    return water.assign(
        water_mask=mask.where(~failed, UNKNOWN).astype("u1"),
        reason=reason.where(~failed, REASON["read_failed"]).astype("u1"),
    )


def test_a_finished_store_tells_of_failures_again_and_how_to_mend_them(tmp_path):
    water = with_failures(extract(times=3, rows=8, columns=8))
    message = r"64 pixels on 2019-12-06 could not be read.*water\.to_zarr\('.*s', mode='append', retry=True\)"
    for _ in range(2):
        with pytest.warns(ReadFailedWarning, match=message) as caught:
            to_zarr(water, tmp_path / "s")
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_zarr(water.isel(time=[0]), tmp_path / "t")  # another store, of another date
    with pytest.warns(ReadFailedWarning, match="retry=True"):
        water.water.to_zarr(tmp_path / "s", mode="overwrite")


def test_failures_before_a_kill_are_told_after_it(tmp_path, monkeypatch):
    water, write, left = with_failures(extract(times=3, rows=8, columns=8), (0,)), write_tasks._write, iter(range(100))
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: write(*a, **k) if next(left) < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_zarr(water, tmp_path / "s", wave=1)
    monkeypatch.undo()
    with pytest.warns(ReadFailedWarning, match="64 pixels on 2019-11-20"):
        to_zarr(water, tmp_path / "s", wave=1)


@pytest.mark.parametrize("mode", ["resume", "overwrite"])
def test_a_warning_made_an_error_comes_after_the_commit(tmp_path, mode):
    if mode == "overwrite":
        to_zarr(extract(times=1, rows=8, columns=8), tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ReadFailedWarning):
            to_zarr(with_failures(extract(times=3, rows=8, columns=8)), tmp_path / "s", mode=mode)
    assert open_store(tmp_path / "s").sizes["time"] == 3


@pytest.mark.parametrize(("offset", "fate"), [("metadata", "offset='audit'. applies"), ("audit", "was applied, as")])
def test_contradicted_offsets_are_told_once_after_the_run(tmp_path, offset, fate):
    water = extract(times=2, rows=8, columns=8).assign_attrs(configuration=json.dumps({"offset": offset}))
    water = water.assign(
        item_offset_audited=("item", da.from_array(np.array([-0.1, 0, np.nan, -0.1], "f4"), chunks=1)),
        item_offset_conflict=("item", da.from_array(np.array([0, 1, 0, 0], "u1"), chunks=1)),
    )
    name = str(water.item_id.values[1])
    message = rf"1 item contradict.*{name} \(declared -0\.1, found 0\)\..*{fate}"
    with pytest.warns(OffsetConflictWarning, match=message) as caught:
        to_zarr(water, tmp_path / "s")
    assert len(caught) == 1 and open_store(tmp_path / "s").sizes["time"] == 2
    more = extract(times=1, start=2, rows=8, columns=8).assign_attrs(water.attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_zarr(more, tmp_path / "s", mode="append")  # of new items only
