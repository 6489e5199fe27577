"""Overviews: what they hold, that every reader finds them, and that they are bytes like all others."""

import itertools
import json
from types import SimpleNamespace

import dask
import numpy as np
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError, StoreError
from lakecube.kernels.coarsen import join_labels, join_months, sum_fours
from lakecube.names import VARIABLES
from lakecube.store import open_store, overviews, revise, to_zarr
from lakecube.store.conventions import MULTISCALES_UUID, coarser, levels_of, transform_of
from lakecube.store.layout import pixel_array
from lakecube.store.overviews import MAPS, count_overviews, level_sizes
from lakecube.store.read import KEPT, open_level, overview
from tests.store.bowls import bowls
from tests.store.test_restart import snapshot


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A store of 8 dates with 96 × 80 px in chunks of 32: two levels."""
    path = tmp_path_factory.mktemp("levels") / "s"
    to_zarr(bowls(stop=8)[0], path, chunks=32, progress=False)
    return path


def fours(values):
    """(⌈y / 2⌉, ⌈x / 2⌉, 4) of a map, zero beyond its edge, in raster order."""
    padded = np.pad(values, [(0, n % 2) for n in values.shape])
    return np.stack([padded[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (8, 5), (6, 6)])
def test_kernels(shape):
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 0, 3, 3, 7], shape)
    np.testing.assert_array_equal(sum_fours(labels.astype(np.uint32)), fours(labels).sum(-1))
    states = rng.integers(0, 4, shape).astype(np.uint8)
    months, joined = join_months(states), join_labels(labels)
    for (i, j), months_of in np.ndenumerate(months):
        below = states[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        seen, wet = (below > 0).sum(), (below >= 2).sum()
        assert months_of == (0 if not seen else 2 if 2 * wet >= seen else 1)
        ids, counts = np.unique(labels[2 * i : 2 * i + 2, 2 * j : 2 * j + 2], return_counts=True)
        best = ids[counts == counts.max()]
        assert joined[i, j] == (best[best > 0].min() if (best > 0).any() else 0)


def test_counts_of_a_level_are_sums_over_the_image(path):
    whole = open_store(path)
    for level in (1, 2):
        store, step = open_store(path, level=level), 1 << level
        for total in ("", "_year"):
            sums = {}
            for name in (f"count_wet{total}", f"count_clear{total}"):
                sums[name] = whole[name].astype(np.int64).coarsen(y=step, x=step, boundary="exact").sum()
                np.testing.assert_array_equal(store[name], sums[name])
                assert store[name].dtype == np.uint32 and "area: sum" in store[name].attrs["cell_methods"]
            wet, clear = sums.values()
            ratio = (wet / clear.where(clear > 0)).astype(np.float32)
            np.testing.assert_array_equal(store[f"water_frequency{total}"], ratio)
        assert store.water.plot(series=False).axes


def test_lakes_and_months_of_a_level_are_those_of_most_pixels_below(path):
    whole = open_store(path)
    labels, months = whole["lake_label"].values, whole["month_state"].values
    for level in (1, 2):
        store = open_store(path, level=level)
        labels, months = join_labels(labels), np.stack([join_months(month) for month in months])
        np.testing.assert_array_equal(store["lake_label"], labels)
        np.testing.assert_array_equal(store["month_state"], months)
        assert store["lake_label"].dtype == np.int64 and store["lake_label"].attrs["cell_methods"] == "area: mode"
        assert labels.max() > 2 and np.unique(months).tolist() == [0, 1, 2]


def test_a_level_lies_where_its_pixels_lie(path):
    whole, half = open_store(path), open_store(path, level=2)
    np.testing.assert_allclose(half.x, whole.x.values.reshape(-1, 4).mean(1))
    np.testing.assert_allclose(half.y, whole.y.values.reshape(-1, 4).mean(1))
    assert half.spatial_ref.attrs["GeoTransform"] == "500000.0 40.0 0.0 3000000.0 0.0 -40.0"
    assert half.rio.crs == whole.rio.crs and half.rio.transform().a == 40
    assert half.sizes["lake"] == whole.sizes["lake"] and "water_mask" not in half


@pytest.mark.parametrize("rows, columns, chunk", [(7, 50, 16), (33, 1, 16), (1, 40, 8)])
def test_sides_that_do_not_divide(tmp_path, rows, columns, chunk):
    water = bowls(stop=2)[0].isel(y=slice(rows), x=slice(columns))
    water["spatial_ref"].attrs["GeoTransform"] = "500000.0 10.0 0.0 3000000.0 0.0 -10.0"
    store, least = to_zarr(water, tmp_path / "s", chunks=chunk), open_store(tmp_path / "s", level=1)
    assert least.sizes["y"] == -(-rows // 2) and least.sizes["x"] == -(-columns // 2)
    assert least.x.values[0] == 500_010 and least.y.values[0] == 2_999_990
    assert int(least.count_clear.sum()) == int(store.count_clear.sum())


def test_every_level_is_found_from_the_root_by_the_convention(path):
    root = json.loads((path / "zarr.json").read_text())
    attrs = root["attributes"]
    (told,) = (one for one in attrs["zarr_conventions"] if one["uuid"] == MULTISCALES_UUID)
    assert told["schema_url"].endswith("/multiscales/refs/tags/v0.1/schema.json") and told["name"] == "multiscales"
    layout = attrs["multiscales"]["layout"]
    assert [one["asset"] for one in layout] == ["revision/0", "overviews/0/1", "overviews/0/2"]
    for finer, level in itertools.pairwise(layout):
        assert level["derived_from"] == finer["asset"] and level["transform"] == {"scale": [2.0, 2.0]}
        group = json.loads((path / level["asset"] / "zarr.json").read_text())
        assert group["attributes"]["spatial:shape"] == level["spatial:shape"]
        assert group["attributes"]["spatial:transform"] == level["spatial:transform"]
        held = group["consolidated_metadata"]["metadata"]
        assert {*MAPS, "x", "y", "year", "year_month", "spatial_ref"} == set(held)
        assert all(json.loads((path / level["asset"] / n / "zarr.json").read_text()) == held[n] for n in held)
    for group in ("revision/0", "overviews/0/1"):  # which are no pyramid by themselves
        attrs = json.loads((path / group / "zarr.json").read_text())["attributes"]
        assert "multiscales" not in attrs and len(attrs["zarr_conventions"]) == 2


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore:Object at:UserWarning")
def test_a_tree_opens_without_them(path, consolidated):
    with xr.open_datatree(path, engine="zarr", consolidated=consolidated) as tree:
        assert set(tree.groups) == {"/", "/revision", "/revision/0"}


def test_levels_that_are_not_there(path, tmp_path):
    with pytest.raises(InvalidInputError, match="level=3: the store has levels 0 to 2"):
        open_store(path, level=3)
    with pytest.raises(InvalidInputError, match="level=-1"):
        open_store(path, level=-1)
    small = to_zarr(bowls(stop=2)[0], tmp_path / "s")
    assert "multiscales" not in small.attrs and not (tmp_path / "s/overviews").exists()
    with pytest.raises(InvalidInputError, match="level=1: the store has level 0 alone"):
        open_store(tmp_path / "s", level=1)


def test_levels_follow_the_revision(tmp_path):
    for name in "ab":
        to_zarr(bowls(stop=3)[0], tmp_path / name, chunks=32, revise=name == "a")
    assert levels_of(json.loads((tmp_path / "b/zarr.json").read_text())["attributes"]) == []
    revise(tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    to_zarr(bowls(first=3, stop=5)[0], tmp_path / "a", mode="append")
    to_zarr(bowls(first=3, stop=5)[0], tmp_path / "b", mode="append", revise=False)
    assert int(open_store(tmp_path / "b", level=2).count_clear.max()) <= 3 * 16
    revise(tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    assert int(open_store(tmp_path / "b", level=2).count_clear.max()) > 3 * 16
    assert (tmp_path / "b/overviews/0/2").is_dir()  # of the revision before, for its readers


def test_a_map_comes_from_the_level_that_fits_if_nobody_changed_it(path):
    store = open_store(path)
    for most, side in ((200, 96), (50, 48), (30, 24), (5, 96)):
        assert overview(store, "water_frequency", most).sizes["y"] == side
    changed = store.assign(water_frequency=store.water_frequency * 2)
    part = store.isel(y=slice(0, 90))
    for other in (changed, part, store.compute()):
        assert overview(other, "water_frequency", 50).identical(other["water_frequency"])
    assert open_level(store, store.encoding[KEPT]["levels"][0], None).sizes["x"] == 40


def test_a_level_that_is_gone_is_told(tmp_path):
    store = to_zarr(bowls(stop=2)[0], tmp_path / "s", chunks=32)
    for first in (2, 3):
        to_zarr(bowls(first=first, stop=first + 1)[0], tmp_path / "s", mode="append")
    assert not (tmp_path / "s/overviews/0").exists() and (tmp_path / "s/overviews/1/2").is_dir()
    with pytest.raises(StoreError, match=r"overviews/0/1 of .* is gone"):
        overview(store, "water_frequency", 50)


def test_sizes_of_levels():
    assert level_sizes((10_000, 9_000), (1024, 1024)) == [(5000, 4500), (2500, 2250), (1250, 1125), (625, 563)]
    assert level_sizes((1024, 1024), (1024, 1024)) == level_sizes((5, 4096), (1, 4096)) == []


@pytest.mark.parametrize("at", [0, 3, 4])
def test_levels_that_stopped_go_on_to_the_same_bytes(path, tmp_path, monkeypatch, at):
    """Four blocks of the first level and one of the second, each made once."""
    work, calls = overviews.coarsen_block, []

    def counted(*args):
        calls.append(1)
        if len(calls) == at + 1:
            raise RuntimeError("worker died")
        return work(*args)

    monkeypatch.setattr(overviews, "coarsen_block", counted)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(RuntimeError):
            to_zarr(bowls(stop=8)[0], tmp_path / "s", chunks=32, progress=False, wave=1)
        to_zarr(bowls(stop=8)[0], tmp_path / "s", chunks=32, progress=False, wave=1)
    assert snapshot(tmp_path / "s") == snapshot(path)
    assert len(calls) == count_overviews((96, 80), (32, 32)) + 1


def test_counts_of_a_level_have_room_for_every_date_of_every_pixel(monkeypatch):
    """A pixel of level 7 stands for 4⁷ pixels; 2¹⁸ dates of each are one more than 32 bits hold."""
    x, y = 500_005 + 10.0 * np.arange(256), 2_999_995 - 10.0 * np.arange(256)
    grid = xr.Dataset(coords={"y": y, "x": x, "spatial_ref": bowls(stop=1)[0]["spatial_ref"]})
    made = {}
    for name in MAPS:
        spec, whole = VARIABLES[name], (1,) * (len(VARIABLES[name].dims) - 2) + (256, 256)
        made[name] = pixel_array(name, spec.dtype, spec.dims, whole, (2, 2), {})
    made |= dict.fromkeys(("year", "year_month"))
    monkeypatch.setattr(overviews.Writer, "of", lambda place, arrays: None)
    passes = SimpleNamespace(each=lambda *given: None)
    for dates, wide in ((2**18 - 1, []), (2**18, [7])):
        job = SimpleNamespace(
            size=(256, 256), chunks=(2, 2), group="revision/0", number=0, place=None, dates=range(dates)
        )
        levels = overviews.write_levels(passes, job, made, grid)
        types = [{level.arrays[f"count_{kind}"].metadata.data_type.to_native_dtype() for kind in ("wet", "clear_year")}
                 for level in levels]  # fmt: skip
        assert [k for k, held in enumerate(types, 1) if held == {np.dtype("uint64")}] == wide
        assert types[0] == {np.dtype("uint32")}


def test_a_coarser_grid_says_its_pixels_in_every_way_alike():
    """By its axes, its affine and GDAL's numbers, from the same corner; a side that does not divide ends beyond."""
    y, x = 3_000_000 - 10.0 * (np.arange(7) + 0.5), 500_000 + 20.0 * (np.arange(8) + 0.5)
    grid = xr.Dataset(coords={"y": y, "x": x, "spatial_ref": bowls(stop=1)[0]["spatial_ref"]})
    twice = coarser(grid, 2)
    assert twice["y"].values.tolist() == [2_999_980, 2_999_940] and twice["x"].values.tolist() == [500_040, 500_120]
    assert transform_of(twice) == [80, 0, 500_000, 0, -40, 3_000_000]
    told = [float(number) for number in twice["spatial_ref"].attrs["GeoTransform"].split()]
    assert told == [500_000, 80, 0, 3_000_000, 0, -40]
    assert transform_of(coarser(grid, 4)) == [320, 0, 500_000, 0, -160, 3_000_000]  # one pixel: by GDAL's numbers alone
