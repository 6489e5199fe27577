"""A date given again: later, reprocessed, read anew. Rows are only ever added; a later one of a date supersedes."""

import json

import numpy as np
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import REASON, UNKNOWN
from lakecube.store import open_store, revise, to_zarr
from lakecube.store.told import ReadFailedWarning
from tests.store.made import extract
from tests.store.test_append import dated
from tests.store.test_read_failures import with_failures
from tests.store.test_restart import snapshot

SMALL = {"rows": 20, "columns": 24}


def reprocessed(times=3, changed=(1,), seed=99):
    """The extract, with new imagery under a new baseline on some dates."""
    water, other = dated(extract(times=times, **SMALL)), extract(times=times, seed=seed, **SMALL)
    new = xr.DataArray(np.isin(np.arange(times), changed), dims="time")
    for name in ("water_mask", "reason", "rules_fired", "water_probability"):
        water[name] = other[name].where(new, water[name]).astype(water[name].dtype)
    for name in ("threshold", "threshold_source"):
        water[name] = other[name].where(new, water[name]).astype(water[name].dtype)
    ids = water.item_id.values.astype("U60")
    hit = np.isin(water.item_time_index.values, changed)
    ids[hit] = np.char.add(ids[hit], f"_N{seed}")
    return water.assign_coords(item_id=("item", ids))


def same(store, water):
    """Whether an opened store holds the dates, pixels and items of an extract."""
    water = water.sortby("time")
    for name in ("time", "water_mask", "reason", "threshold", "water_probability"):
        np.testing.assert_array_equal(store[name].values, water[name].values, err_msg=name)
    pairs = [
        sorted(zip(d.item_id.values, d.time.values[d.item_time_index.values], strict=True)) for d in (store, water)
    ]
    assert pairs[0] == pairs[1]
    np.testing.assert_array_equal(store.count_clear, (water.water_mask != UNKNOWN).sum("time"))
    np.testing.assert_array_equal(store.date.values, store.time.values)


def test_a_reprocessed_date_supersedes_its_row(tmp_path):
    path = tmp_path / "s"
    to_zarr(dated(extract(times=3, **SMALL)), path, chunks=16)
    before = snapshot(path / "water_mask/c")
    old = open_store(path)
    seen = old.water_mask.values.copy()
    new = reprocessed()
    with pytest.raises(
        StoreError, match=r"1 are given made from other items \(the first: 2019-12-06\).*append.*supers"
    ):
        to_zarr(new, path)
    same(to_zarr(new, path, mode="append"), new)
    root = json.loads((path / "zarr.json").read_text())["attributes"]
    assert root["superseded_rows"] == [1] and "superseded_rows" not in open_store(path).attrs
    assert set(before.items()) <= set(snapshot(path / "water_mask/c").items())
    np.testing.assert_array_equal(old.water_mask.values, seen)  # who had it open reads on
    whole = snapshot(path)
    to_zarr(new, path, mode="append")  # the same twice changes nothing
    to_zarr(new, path)
    assert snapshot(path) == whole
    rows = json.loads((path / "_ledger/rows.json").read_text())["rows"]
    assert [row["date"][:10] for row in rows] == ["2019-11-20", "2019-12-06", "2019-12-22", "2019-12-06"]


def test_superseded_twice_and_a_late_date_between(tmp_path):
    path = tmp_path / "s"
    to_zarr(dated(extract(times=4, **SMALL)).isel(time=[0, 3]), path, chunks=16, revise=False)
    to_zarr(reprocessed(4, (3,)).isel(time=[1, 3]), path, mode="append", revise=False)  # one late, one reprocessed
    again = reprocessed(4, (0, 3), seed=5)
    to_zarr(again.isel(time=[0, 3]), path, mode="append", revise=False)
    late = dated(extract(times=4, **SMALL)).isel(time=[2])
    to_zarr(late, path, mode="append")
    store = open_store(path)
    assert json.loads((path / "zarr.json").read_text())["attributes"]["superseded_rows"] == [0, 1, 3]
    parts = [again.isel(time=[0]), reprocessed(4, (3,)).isel(time=[1]), late, again.isel(time=[3])]
    for t, part in enumerate(parts):
        np.testing.assert_array_equal(store.water_mask[t].values, part.water_mask[0].values)
    np.testing.assert_array_equal(store.count_clear, (store.water_mask != UNKNOWN).sum("time"))
    assert store.sizes["item"] == 8


def test_rows_that_could_not_be_read_are_replaced_on_request(tmp_path):
    path = tmp_path / "s"
    whole = extract(times=3, **SMALL)
    with pytest.warns(ReadFailedWarning, match="retry=True"):
        to_zarr(with_failures(whole), path, chunks=16)
    with pytest.warns(ReadFailedWarning, match="2019-12-06"):  # the same items: nothing to do, and said again
        to_zarr(whole, path, mode="append")
    assert open_store(path).sizes["time"] == 3 and (open_store(path).water_mask[1] == UNKNOWN).all()
    same(to_zarr(whole, path, mode="append", retry=True), whole)  # and no warning any more
    before = snapshot(path)
    to_zarr(whole, path, mode="append", retry=True)
    assert snapshot(path) == before
    with pytest.raises(InvalidInputError, match='mode="append"'):
        to_zarr(whole, path, retry=True)


def test_a_retry_that_reads_less_than_before_loses_nothing(tmp_path):
    path, whole = tmp_path / "s", extract(times=3, **SMALL)
    read = (whole.time != whole.time[1]) | (whole.x >= whole.x[5])
    partly = whole.assign(
        water_mask=whole.water_mask.where(read, UNKNOWN).astype("u1"),
        reason=whole.reason.where(read, REASON["read_failed"]).astype("u1"),
    )
    some = 5 * SMALL["rows"]
    with pytest.warns(ReadFailedWarning, match=f"{some} pixels"):
        to_zarr(partly, path, chunks=16)
    with pytest.warns(ReadFailedWarning, match=f"{some} pixels"):  # an outage: nothing of that date can be read now
        store = to_zarr(with_failures(whole), path, mode="append", retry=True)
    np.testing.assert_array_equal(store.water_mask, partly.water_mask)
    np.testing.assert_array_equal(store.count_clear, (partly.water_mask != UNKNOWN).sum("time"))
    same(to_zarr(whole, path, mode="append", retry=True), whole)


def test_without_items_other_input_is_refused(tmp_path):
    to_zarr(extract(times=2, items=False, **SMALL), tmp_path / "s")
    with pytest.raises(StoreError, match="cannot be told apart"):
        to_zarr(extract(times=2, items=False, chunks=(1, 7, 7), **SMALL), tmp_path / "s", mode="append")


def test_append_and_revise_is_a_recompute_of_the_live_rows(tmp_path):
    to_zarr(dated(extract(times=3, **SMALL)), tmp_path / "s", chunks=16, revise=False)
    to_zarr(reprocessed(), tmp_path / "s", mode="append", revise=False)
    revise(tmp_path / "s", progress=False)
    to_zarr(reprocessed(), tmp_path / "whole", chunks=16)
    one, other = (snapshot(tmp_path / name / "revision/0") for name in ("s", "whole"))
    del one["zarr.json"], other["zarr.json"]  # which tells of the rows
    assert one == other


def test_an_edited_list_of_superseded_rows_is_torn(tmp_path):
    to_zarr(extract(times=1, **SMALL), tmp_path / "s")
    root = tmp_path / "s/zarr.json"
    document = json.loads(root.read_text())
    for rows in ([5], [-1], "x"):
        document["attributes"]["superseded_rows"] = rows
        root.write_text(json.dumps(document))
        with pytest.raises(StoreError, match="torn"):
            open_store(tmp_path / "s")
