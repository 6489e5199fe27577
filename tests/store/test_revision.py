"""What a revision derives from the rows: against whole arrays, for any chunks, and through the years."""

import shutil

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from lakecube.errors import InvalidInputError, StoreError
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.names import LAKE_KIND, VARIABLES
from lakecube.series.pixel_area import PixelGrid, area_quanta
from lakecube.series.restore import MIN_PIXELS, restore
from lakecube.series.shape import LakeParams
from lakecube.store import (
    open_store,
    revise,
    revise_areas,
    revise_blocks,
    revise_restore,
    revise_shores,
    revision,
    to_zarr,
)
from lakecube.store.place import place_of
from lakecube.store.registry import registry_hash
from lakecube.store.revise_shores import _pack, _unpack
from tests.store.bowls import bowls
from tests.store.test_restart import snapshot

EVERYWHERE = np.ones((3, 3), int)
AREAS = [name for name, spec in VARIABLES.items() if spec.dims == ("lake", "date")]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of 30 dates in nine blocks, computed, and the truth."""
    water, wet = bowls()
    return to_zarr(water, tmp_path_factory.mktemp("bowls") / "s", chunks=32).compute(), wet


def classes(store):
    share = store.count_wet / store.count_clear.where(store.count_clear > 0)
    reference = (store.count_wet >= 2) & (share >= LakeParams().min_frequency)
    return reference.values, ((store.count_wet > 0) & ~reference).values


def test_labels_are_the_components_of_the_extent(stored):
    store, _ = stored
    for mask, provisional in zip(classes(store), (0, 1), strict=True):
        expected, n = ndimage.label(mask, structure=EVERYWHERE)
        ours = store.lake_label.values[mask]
        pairs = set(zip(expected[mask].tolist(), ours.tolist(), strict=True))
        assert len(pairs) == n == len({lake for _, lake in pairs})
        assert (store.provisional.sel(lake=[lake for _, lake in pairs]) == provisional).all()
    np.testing.assert_array_equal(store.lake_label > 0, store.count_wet > 0)
    assert (store.lake_label.values[~np.logical_or(*classes(store))] == 0).all()


def test_areas_are_those_of_the_pixels(stored):
    store, _ = stored
    area = area_quanta(PixelGrid.of(store), (0, 96), (0, 80)) / AREA_QUANTA * np.ones((96, 80))
    for lake in store.lake.values[store.max_area.argsort().values[-3:]]:
        one, here = store.sel(lake=lake), store.lake_label.values == lake
        assert float(one.max_area) == pytest.approx(area[here].sum(), rel=1e-12)
        wet, hidden = (((store.water_mask.values == v) & here) for v in (1, 255))
        inferred = (store.water_restored.values == 1) & here
        for name, pixels in (
            ("lake_area_lower", wet),
            ("lake_area_upper", wet | hidden),
            ("lake_area", wet | inferred),
        ):
            np.testing.assert_allclose(one[name], (pixels * area).sum((1, 2)), rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(one.lake_observed_fraction, 1 - (hidden * area).sum((1, 2)) / area[here].sum())


def test_no_seen_water_is_lost_among_the_lakes(stored):
    store, _ = stored
    area = area_quanta(PixelGrid.of(store), (0, 96), (0, 80)) / AREA_QUANTA
    seen = ((store.water_mask.values == 1) * area).sum((1, 2))
    np.testing.assert_allclose(store.lake_area_lower.sum("lake"), seen, rtol=1e-12)


def test_bounds_are_in_order_and_close_where_all_was_seen(stored):
    store, _ = stored
    low, q05, q95, high = (store[f"lake_area_{part}"] for part in ("lower", "q05", "q95", "upper"))
    assert ((low <= q05) & (q05 <= q95) & (q95 <= high)).all()
    whole = store.lake_observed_fraction == 1
    assert (q05.where(whole) == store.lake_area.where(whole)).where(whole, True).all()
    assert (q95 - q05).where(~whole).max() > 0
    known = store.lake_area.notnull()
    assert ((low <= store.lake_area) & (store.lake_area <= high)).where(known, True).all()


def test_intervals_hold_the_truth_and_are_narrow(stored):
    store, wet = stored
    area = area_quanta(PixelGrid.of(store), (0, 96), (0, 80)) / AREA_QUANTA
    inside, width = [], []
    for lake in store.lake.values[store.max_area.argsort().values[-3:]]:
        one = store.sel(lake=lake)
        unseen = wet & (store.lake_label.values == lake) & (store.water_mask.values == 255)
        true = one.lake_area_lower + (unseen * area).sum((1, 2))
        hidden = one.lake_observed_fraction < 1
        inside.append(((one.lake_area_q05 <= true) & (true <= one.lake_area_q95)).values[hidden])
        width.append(((one.lake_area_q95 - one.lake_area_q05) / (one.lake_area_upper - one.lake_area_lower))[hidden])
    assert np.concatenate(inside).mean() >= 0.9
    assert np.concatenate(width).mean() < 0.15  # of all that is hidden
    assert (np.abs(store.restoration_error) < 1.5).all()  # expected spreads


def test_intervals_are_the_limits_where_no_date_tells_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(revise_restore, "LEAST_SEEN", 1.01)
    store = to_zarr(bowls(stop=8)[0], tmp_path / "s", chunks=48).compute()
    assert np.isnan(store.restoration_error).all()
    for end, limit in (("q05", "lower"), ("q95", "upper")):
        np.testing.assert_allclose(store[f"lake_area_{end}"], store[f"lake_area_{limit}"], rtol=1e-3)


def test_bits_hold_all_that_was_seen():
    states = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (5, 3, 13))
    packed = _pack(states)
    assert packed.nbytes == 5 * 2 * 3 * 2
    np.testing.assert_array_equal(_unpack(packed[[3, 0]], 13), states[[3, 0]])


def test_it_restores_as_restore_does(stored):
    store, _ = stored
    own = store.lake.values[(store.pixel_count.values >= MIN_PIXELS) & (store.provisional.values == 0)]
    label = store.lake_label.where(store.lake_label.isin(own), 0)
    expected = restore(store.water_mask.chunk({"time": 4}), "lake", lakes=label)
    np.testing.assert_array_equal(store.water_restored, expected)
    assert ((store.water_restored <= 1).values <= (store.water_mask == 255).values).all()


def test_what_was_hidden_is_restored_well(stored):
    store, wet = stored
    restored = store.water_restored.values
    assert (restored[restored <= 1] == wet[restored <= 1]).mean() > 0.985
    assert (restored[store.water_mask.values == 255] <= 1).mean() > 0.999


def test_products_of_the_months(stored):
    store, _ = stored
    months = store.time.values.astype("datetime64[M]")
    for state, month in zip(store.month_state.values, np.unique(months), strict=True):
        rows = store.water_mask.values[months == month]
        np.testing.assert_array_equal(state, (rows == 0).any(0) * 1 + (rows == 1).any(0) * 2)


@pytest.mark.parametrize("chunks", [96, (17, 80)], ids=["one", "uneven"])
def test_blocks_do_not_matter(stored, tmp_path, chunks):
    store, _ = stored
    other = to_zarr(bowls(chunks=(5, 40, 13))[0], tmp_path / "s", chunks=chunks, wave=2)
    for name in ("lake_label", "water_restored", *(n for n, v in store.items() if v.dims[:1] == ("lake",))):
        xr.testing.assert_equal(store[name].drop_attrs(), other[name].drop_attrs())


def test_groups_of_lakes_and_waves_do_not_matter(stored, tmp_path, monkeypatch):
    store, _ = stored
    monkeypatch.setattr(revise_shores, "_GROUP_BYTES", 1)  # every lake by itself
    monkeypatch.setattr(revise_blocks, "_WAVE_BYTES", 1)
    for module in (revise_areas, revision):
        monkeypatch.setattr(module, "LAKES_PER_CHUNK", 7)
    other = to_zarr(bowls()[0], tmp_path / "s", chunks=32)
    for name in ("water_restored", "restoration_error", *AREAS):
        xr.testing.assert_equal(store[name].drop_attrs(), other[name].drop_attrs())


def test_append_and_revise_is_a_recompute_with_the_same_registry(tmp_path):
    to_zarr(bowls(stop=20)[0], tmp_path / "a", chunks=32)
    first = open_store(tmp_path / "a").compute()
    grown = to_zarr(bowls(first=20)[0], tmp_path / "a", mode="append").compute()
    to_zarr(bowls(stop=20)[0], tmp_path / "registry", chunks=32)
    to_zarr(bowls()[0], tmp_path / "b", chunks=32, revise=False)
    again = revise(tmp_path / "b", registry=tmp_path / "registry").compute()
    ours, theirs = (d.drop_dims("event") for d in (grown, again))
    xr.testing.assert_equal(ours.drop_vars("first_revision"), theirs.drop_vars("first_revision"))
    xr.testing.assert_equal(
        grown[[n for n in grown if "event" in grown[n].dims]], again[[n for n in again if "event" in again[n].dims]]
    )
    kept = np.intersect1d(first.lake.values, grown.lake.values)
    large = first.lake.values[first.pixel_count.values > 100]
    assert set(large) <= set(kept) and large.size == 3
    fresh = np.setdiff1d(grown.lake.values, first.lake.values)
    assert fresh.size and fresh.min() > first.lake.values.max()


def test_degrees_and_one_date(tmp_path):
    store = to_zarr(bowls(stop=1, epsg=4326)[0], tmp_path / "s", chunks=32)
    assert store.sizes["date"] == 1 and bool(store.longitude.notnull().all())
    assert float(abs(store.longitude - 105.004).max()) < 0.01 and float(abs(store.latitude - 26.995).max()) < 0.01
    assert store.lake_area_q05.notnull().all()


@pytest.mark.parametrize("method", ["frequency", "none"])
def test_other_ways_to_restore(stored, tmp_path, method):
    store = to_zarr(bowls()[0], tmp_path / "s", chunks=48, revise={"restore": method})
    if method == "none":
        assert (store.water_restored == 255).all() and store.lake_area.isnull().any()
        np.testing.assert_array_equal(store.lake_area_q95, store.lake_area_upper)
    else:
        expected = restore(store.water_mask, "frequency")
        np.testing.assert_array_equal(store.water_restored, expected)
    assert store.attrs.get("revision") == 0


def test_a_registry_that_has_changed_makes_another_revision(tmp_path):
    for name in "ab":
        to_zarr(bowls(stop=6)[0], tmp_path / name, chunks=48)
    first = revise(tmp_path / "a", registry=tmp_path / "b").attrs["revision"]
    assert revise(tmp_path / "a", registry=tmp_path / "b").attrs["revision"] == first
    revise(tmp_path / "b", min_wet=1)
    assert revise(tmp_path / "a", registry=tmp_path / "b").attrs["revision"] == first + 1


def test_a_registry_is_known_by_its_lakes_wherever_it_lies(tmp_path):
    for name, seed in (("a", 3), ("b", 9)):
        to_zarr(bowls(stop=2, seed=seed)[0], tmp_path / name, chunks=48)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    hashes = [registry_hash(place_of(tmp_path / name)) for name in ("a", "copy", "b")]
    assert hashes[0] == hashes[1] != hashes[2]
    assert registry_hash(None) is None


def test_no_water_and_nothing_seen(tmp_path):
    water, _ = bowls(stop=3)
    for name, value in (("land", 0), ("unknown", 255)):
        same = water.assign(water_mask=water.water_mask * 0 + np.uint8(value))
        store = to_zarr(same.assign(water_mask=same.water_mask.astype("uint8")), tmp_path / name, chunks=32)
        assert store.sizes["lake"] == 0 and store.lake_area.shape == (0, 3)
        assert (store.water_restored == 255).all()
        xr.open_datatree(tmp_path / name, engine="zarr").close()


def test_kinds_follow_the_parameters(tmp_path):
    path = tmp_path / "s"
    to_zarr(bowls(stop=8)[0], path, chunks=48)
    store = revise(path, min_pixels=5000)
    assert (store.kind == LAKE_KIND["too_small"]).all()
    before = snapshot(path)
    assert revise(path).attrs["revision"] == 1 and snapshot(path) == before
    with pytest.raises(InvalidInputError, match="min_frequency=2"):
        revise(path, min_frequency=2)
    for name, value in (("min_wet", "two"), ("min_wet", 1.5), ("min_frequency", "nan"), ("lake_shapes", 1)):
        with pytest.raises(InvalidInputError, match=f"{name}={value!r}: .* needed"):
            revise(path, **{name: value})
    with pytest.raises(InvalidInputError, match="restore is one of 'lake'"):
        revise(path, restore="magic")


def test_a_registry_of_another_place_is_refused(tmp_path):
    to_zarr(bowls(stop=2)[0], tmp_path / "a", chunks=48)
    to_zarr(bowls(stop=2, epsg=4326)[0], tmp_path / "b", chunks=48)
    with pytest.raises(StoreError, match="another grid"):
        revise(tmp_path / "a", registry=tmp_path / "b")
    with pytest.raises(StoreError, match="no finished store"):
        revise(tmp_path / "a", registry=tmp_path / "none")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="file is not a store"):
        revise(tmp_path / "a", registry=tmp_path / "file")


def test_a_registry_that_was_revised_is_another_one(tmp_path):
    for name in ("a", "b"):
        to_zarr(bowls(stop=4)[0], tmp_path / name, chunks=48)
    assert revise(tmp_path / "a", registry=tmp_path / "b").attrs["revision"] == 1
    assert revise(tmp_path / "a", registry=tmp_path / "b").attrs["revision"] == 1
    again = revise(tmp_path / "b", min_frequency=0.8)
    store = revise(tmp_path / "a", registry=tmp_path / "b", min_frequency=0.8)
    assert store.attrs["revision"] == 2
    np.testing.assert_array_equal(store.lake, again.lake)
    assert revise(tmp_path / "a", registry=tmp_path / "a").attrs["revision"] == 2


@pytest.mark.parametrize("lost", ["lake", "lake_label", "lake_label/c/1"])
def test_lakes_that_are_not_whole_are_not_taken_for_none(tmp_path, lost):
    for name in ("a", "b"):
        to_zarr(bowls(stop=4)[0], tmp_path / name, chunks=48)
    shutil.rmtree(tmp_path / f"b/revision/0/{lost}")
    before = snapshot(tmp_path / "a")
    with pytest.raises(StoreError, match=r"b/revision/0.* torn or gone"):
        revise(tmp_path / "a", registry=tmp_path / "b")
    with pytest.raises(StoreError, match=r"b/revision/0.* torn or gone"):
        revise(tmp_path / "b", min_wet=1)
    assert revise(tmp_path / "b", min_wet=1, registry=tmp_path / "a").sizes["lake"] > 3
    assert {k: v for k, v in snapshot(tmp_path / "a").items() if k in before} == before
