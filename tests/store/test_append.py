"""What is appended must be of the kind that is there, or nothing is written."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import lakecube.store.write_tasks as write_tasks
from lakecube.errors import StoreError
from lakecube.store import open_store, to_zarr
from lakecube.store.same import check_lengths
from tests.store.made import extract

#: Dims of what depends on the revisions that came before.
OF_LAKES = ("lake", "event")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.drop_vars("threshold_source"), "threshold_source is only in the store"),
        (lambda w: w.drop_vars("item_scale"), "item_scale is only in the store"),
        (lambda w: w.assign_coords(item_new=("item", np.ones(w.sizes["item"]))), "item_new is only given"),
        (lambda w: w.drop_dims("item"), "only in the store"),
        (lambda w: w.assign_coords(item_scale=w.item_scale.astype("f4")), "item_scale is float32"),
        (lambda w: w.assign_coords(item_offset=("item", ["a"] * w.sizes["item"])), "item_offset is <U1"),
        (lambda w: w.assign(threshold=w.threshold.astype("f8")), "threshold is float64"),
        (lambda w: w.assign(threshold=w.threshold[:, 0]), "threshold is float32"),
        (lambda w: w.assign_coords(index=["ndwi"]), r'index is \["mndwi"\] in the store and \["ndwi"\] now'),
        (lambda w: w.assign_coords(note=3), "note is only given"),
        (lambda w: w.assign(slope=(("y", "x"), np.ones((40, 40), "f4"))), "slope is only given"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_pass(tmp_path, monkeypatch, change, message):
    to_zarr(extract(times=2, rows=40, columns=40), tmp_path / "s", chunks=32)
    monkeypatch.setattr(write_tasks, "_write", lambda *a, **k: 1 / 0)
    with pytest.raises(StoreError, match=message):
        to_zarr(change(extract(times=1, start=2, rows=40, columns=40)), tmp_path / "s", mode="append")
    assert open_store(tmp_path / "s").sizes["time"] == 2


def audited(water):
    n = water.sizes["item"]
    return water.assign(
        item_offset_audited=("item", da.zeros(n, dtype="f4", chunks=1)),
        item_offset_conflict=("item", da.zeros(n, dtype="u1", chunks=1)),
    )


def test_audit_columns_are_filled_or_dropped(tmp_path):
    to_zarr(audited(extract(times=2)), tmp_path / "s")
    out = to_zarr(extract(times=1, start=2), tmp_path / "s", mode="append").load()
    assert out.item_offset_conflict.values.tolist() == [0, 0, 0, 0, 255, 255]
    assert np.isnan(out.item_offset_audited.values).tolist() == [False] * 4 + [True] * 2
    to_zarr(extract(times=2), tmp_path / "t")
    out = to_zarr(audited(extract(times=1, start=2)), tmp_path / "t", mode="append")
    assert "item_offset_conflict" not in out and out.sizes["time"] == 3


def test_one_length_per_dim():
    documents = {"a": {"dimension_names": ["item"], "shape": [4]}, "b": {"dimension_names": ["item"], "shape": [3]}}
    with pytest.raises(StoreError, match="3 of item in b and 4 in a"):
        check_lengths(documents)
    check_lengths({"a": documents["a"], "revision/0/b": documents["b"]})


def dated(water):
    return water.assign_coords(item_date=("item", water.time.values[water.item_time_index.values]))


@pytest.mark.parametrize("chosen", [[3], [1, 3], [4, 2, 0]], ids=["one", "two", "turned"])
def test_items_stay_with_their_dates_after_a_choice_of_dates(tmp_path, chosen):
    water = dated(extract(times=5))
    out = to_zarr(water.isel(time=chosen), tmp_path / "s")
    assert out.sizes["item"] == 2 * len(chosen)
    np.testing.assert_array_equal(out.time.values[out.item_time_index], out.item_date.values)
    expected = [i for i, t in zip(water.item_id.values, water.item_time_index.values, strict=True) if t in chosen]
    assert sorted(out.item_id.values) == sorted(expected)
    again = to_zarr(dated(extract(times=5)), tmp_path / "s", mode="append")  # the same dates have the same items
    other = to_zarr(water, tmp_path / "t").drop_dims(["item", *OF_LAKES]).drop_vars("lake_label")
    xr.testing.assert_equal(again.drop_dims(["item", *OF_LAKES]).drop_vars("lake_label").compute(), other)
    np.testing.assert_array_equal(again.time.values[again.item_time_index], again.item_date.values)


def test_items_of_composites_stay_with_their_periods(tmp_path):
    water = dated(extract(times=4))
    starts = water.time.values - np.timedelta64(2, "D")
    bounds = np.stack([starts, starts + np.timedelta64(10, "D")], axis=1)
    water = water.assign_coords(time_bounds=(("time", "bnds"), bounds))
    water = water.assign_coords(item_date=water.item_date + np.timedelta64(3, "D"))
    out = to_zarr(water.sel(time=water.time[2:]), tmp_path / "s")
    assert out.item_time_index.values.tolist() == [0, 0, 1, 1]
    assert out.item_id.values.tolist() == water.item_id.values[4:].tolist()
