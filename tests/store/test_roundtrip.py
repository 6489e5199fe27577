"""What is written is what comes back: values, types, attributes, dates, the item table."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import VARIABLES
from lakecube.store import open_store, to_zarr
from tests.store.made import extract


@pytest.mark.parametrize("items", [True, False])
def test_round_trip_of_values_types_and_attributes(tmp_path, items):
    water = extract(items=items)
    out = to_zarr(water, tmp_path / "s.zarr", chunks=32)
    for name, given in water.variables.items():
        got = out[name]
        assert got.dims == given.dims, name
        np.testing.assert_array_equal(np.asarray(got.values), np.asarray(given.values), err_msg=name)
        if given.dtype.kind != "U":
            assert got.dtype == given.dtype, name
    for name in water.data_vars:
        assert out[name].dtype == np.dtype(VARIABLES[name].dtype)
        for key, value in VARIABLES[name].attrs.items():
            if key not in ("grid_mapping",):
                np.testing.assert_array_equal(out[name].attrs[key], value)
    for key, value in water.attrs.items():
        assert out.attrs[key] == value
    assert out.rio.crs.to_epsg() == 32648
    assert out.spatial_ref.attrs["GeoTransform"] == "500000.0 10.0 0.0 3000000.0 0.0 -10.0"


def test_plain_readers_need_no_lakecube_and_do_not_warn(tmp_path):
    to_zarr(extract(), tmp_path / "s.zarr", chunks=32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(tmp_path / "s.zarr").load()
        tree = xr.open_datatree(tmp_path / "s.zarr", engine="zarr")
    assert plain.water_mask.dtype == "uint8" and "_FillValue" not in plain.water_mask.encoding
    assert plain.rio.crs.to_epsg() == 32648
    assert "count_wet" in tree["revision/0"]
    root = json.loads((tmp_path / "s.zarr/zarr.json").read_text())
    time = root["consolidated_metadata"]["metadata"]["time"]
    assert time["attributes"]["units"] == "seconds since 1970-01-01" and time["data_type"] == "int64"
    assert time["chunk_grid"]["configuration"]["chunk_shape"] == [16384]
    uuids = {c["uuid"] for c in root["attributes"]["zarr_conventions"]}
    assert {
        "f17cb550-5864-4468-aeb7-f3180cfb622f", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "d35379db-88df-4056-af3a-620245f8e347",
    } == uuids  # fmt: skip


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 33, 31), (3, 32, 32), (1, 7, 97)], ids=["one pixel", "remainders", "exact", "long"]
)
def test_any_shape(tmp_path, shape):
    water = extract(*shape, chunks=(1, 5, 7))
    water.spatial_ref.attrs["GeoTransform"] = "500000 10 0 3000000 0 -10"  # what one pixel cannot tell
    out = to_zarr(water, tmp_path / "s.zarr", chunks=16)
    xr.testing.assert_equal(out.water_mask.compute(), water.water_mask.compute())


def test_counts_against_numpy_and_unknown_never_land(tmp_path):
    water = extract(times=6, unknown_dates=(2,))
    out = to_zarr(water, tmp_path / "s.zarr", chunks=32).load()
    mask = water.water_mask.values
    assert (out.water_mask.values[2] == 255).all()
    np.testing.assert_array_equal(out.count_wet, (mask == 1).sum(0))
    np.testing.assert_array_equal(out.count_clear, (mask != 255).sum(0))
    np.testing.assert_array_equal(out.count_wet_year.sum("year"), out.count_wet)
    with np.errstate(invalid="ignore"):
        share = ((mask == 1).sum(0) / (mask != 255).sum(0)).astype("float32")
    np.testing.assert_array_equal(out.water_frequency, share)
    assert not (tmp_path / "s.zarr/water_mask/c/2").exists() or not any((tmp_path / "s.zarr/water_mask/c/2").rglob("0"))


def test_nothing_seen_at_all(tmp_path):
    out = to_zarr(extract(times=2, unknown_dates=(0, 1)), tmp_path / "s.zarr").load()
    assert (out.water_mask == 255).all() and (out.count_clear == 0).all() and out.water_frequency.isnull().all()


def test_unsorted_dates_come_back_in_order(tmp_path):
    water = extract(times=5, order=[3, 0, 4, 1, 2])
    out = to_zarr(water, tmp_path / "s.zarr", chunks=32)
    expected = water.sortby("time")
    assert (np.diff(out.time.values) > np.timedelta64(0)).all()
    xr.testing.assert_equal(out.water_mask.compute(), expected.water_mask.compute())
    np.testing.assert_array_equal(out.time.values[out.item_time_index], water.time.values[water.item_time_index])
    assert out.item_id.values.tolist() == water.item_id.values.tolist()


def test_more_kinds_of_variables(tmp_path):
    water = extract(times=3)
    bounds = np.stack([water.time.values, water.time.values + np.timedelta64(10, "D")], axis=1)
    slope = (water.water_mask[0].data / 2).astype("float32")
    water = water.assign_coords(time_bounds=(("time", "bnds"), bounds), slope=(("y", "x"), slope))
    water["good"] = ("time", np.array([True, False, True]))
    out = to_zarr(water, tmp_path / "s.zarr", chunks=32)
    np.testing.assert_array_equal(out.time_bounds.values, bounds)
    np.testing.assert_array_equal(out.slope.values, water.slope.values)
    assert out.good.dtype == bool and out.good.values.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.isel(time=slice(0, 0)), "no dates"),
        (lambda w: w.isel(y=slice(0, 0)), "no pixels along y"),
        (lambda w: xr.concat([w, w.isel(time=[0])], "time", data_vars="minimal"), "twice"),
        (lambda w: w.drop_vars("water_mask"), "water_mask missing"),
        (lambda w: w.assign(odd=(("time", "y"), np.zeros((w.sizes["time"], w.sizes["y"])))), "no place for odd"),
        (lambda w: w.assign(water_mask=w.water_mask.astype("float32")), "uint8"),
        (lambda w: w.assign_attrs(note=float("nan")), "NaN"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_made(tmp_path, change, message):
    with pytest.raises(InvalidInputError, match=message):
        to_zarr(change(extract(times=2)), tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize("bad", [0, (1, 2, 3), {"z": 3}, {"time": 5}, "auto", 1.5])
def test_bad_chunks(tmp_path, bad):
    with pytest.raises(InvalidInputError, match="chunks"):
        to_zarr(extract(times=1), tmp_path / "s.zarr", chunks=bad)
    assert not (tmp_path / "s.zarr").exists()


def test_open_store_says_what_is_wrong(tmp_path):
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "nothing.zarr")
    to_zarr(extract(times=1), tmp_path / "s.zarr")
    (tmp_path / "s.zarr/zarr.json").write_text('{"zarr_format": 3, "attr')
    with pytest.raises(StoreError, match="torn"):
        open_store(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/zarr.json").unlink()
    with pytest.raises(StoreError, match="not finished"):
        open_store(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="restore that file"):
        to_zarr(extract(times=1), tmp_path / "s.zarr")


def test_the_report_of_a_run_tells_what_failed(tmp_path):
    water = extract(times=3)
    status = np.array(["read", "read", "failed: 503", "read", "read", "read"])
    to_zarr(water.assign_coords(item_read_status=("item", status)), tmp_path / "s.zarr")
    run = json.loads((tmp_path / "s.zarr/_runs/0.json").read_text())
    assert run["items"]["item_read_status"] == {"failed: 503": 1, "read": 5}
    assert run["dates"] == ["2019-11-20", "2019-12-06", "2019-12-22"]
    assert run["unknown_share"].keys() == {"cloud"} and 0.1 < run["unknown_share"]["cloud"] < 0.3
    assert run["bytes_written"] > 0 and {"facts", "observed", "counts", "lakes"} <= set(run["passes"])
    to_zarr(water, tmp_path / "s.zarr")  # a status is a result, not an identity


def test_flags_and_fill_values_as_stored(tmp_path):
    nan = "NaN"
    to_zarr(extract(times=1, rows=8, columns=8), tmp_path / "s")
    fills = {
        "water_mask": 255, "reason": 255, "rules_fired": 0, "water_probability": nan, "revision/0/count_wet": 0,
        "revision/0/count_clear": 0, "revision/0/water_frequency": nan, "revision/0/count_wet_year": 0,
        "revision/0/count_clear_year": 0, "revision/0/water_frequency_year": nan, "item_scale": nan,
        "threshold": nan, "threshold_source": 255, "item_time_index": 0, "item_id": "",
    }  # fmt: skip
    stored = {name: json.loads((tmp_path / "s" / name / "zarr.json").read_text()) for name in fills}
    assert {name: document["fill_value"] for name, document in stored.items()} == fills
    assert not any("_FillValue" in document["attributes"] for document in stored.values())
    attrs = {name: document["attributes"] for name, document in stored.items()}
    assert attrs["water_mask"]["flag_values"] == [0, 1, 255]
    assert attrs["water_mask"]["flag_meanings"] == "land water unknown"
    assert attrs["rules_fired"]["flag_masks"][:3] == [1, 2, 4]
    assert attrs["rules_fired"]["flag_meanings"].split()[:3] == ["ndvi", "ndbi", "ndrei"]
    reasons = dict(zip(attrs["reason"]["flag_meanings"].split(), attrs["reason"]["flag_values"], strict=True))
    assert (reasons["water"], reasons["cloud"], reasons["read_failed"]) == (0, 4, 2)
    assert (reasons["index_below_threshold"], reasons["not_processed"]) == (20, 255)


def test_a_part_of_a_store_does_not_say_that_it_is_the_whole(tmp_path):
    out = to_zarr(extract(times=1, rows=8, columns=8), tmp_path / "s")
    assert not {"spatial:transform", "spatial:bbox", "spatial:shape"} & set(out.attrs)
    root = json.loads((tmp_path / "s/zarr.json").read_text())["attributes"]
    assert root["spatial:shape"] == [8, 8]
    part = to_zarr(extract(times=1, rows=8, columns=8).isel(x=slice(2, 6)), tmp_path / "part")
    assert part.sizes["x"] == 4
    root = json.loads((tmp_path / "part/zarr.json").read_text())["attributes"]
    assert root["spatial:shape"] == [8, 4] and root["spatial:bbox"][0] == 500_020


def test_attributes_of_item_columns_are_kept(tmp_path):
    water = extract(times=2, rows=8, columns=8)
    given = {"long_name": "scale of stored numbers", "units": "1"}
    water = water.assign_coords(item_scale=water.item_scale.assign_attrs(given))
    assert to_zarr(water, tmp_path / "s").item_scale.attrs == given
