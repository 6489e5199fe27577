import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import ndimage

from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.kernels import heights, levels, relation, shore
from lakecube.kernels import restore as decide
from lakecube.kernels.counts import count_states
from lakecube.names import VARIABLES
from lakecube.series import forest
from lakecube.series.lake_levels import MIN_VISIBLE
from lakecube.series.occurrence import count
from lakecube.series.restore import filled, restore

DATES = 40
WHOLLY_HIDDEN = 17


def bowls(seed=0, chunks=None, dates=DATES):
    """Two round lakes, each with its own season and trend, under smooth clouds: mask and truth (time, y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :60]
    t = np.arange(dates) / DATES
    radius = np.stack([9 + 4 * np.sin(4 * np.pi * t + 1) - 3 * t, 7 + 3 * np.cos(4 * np.pi * t) + 2 * t], axis=1)
    bumps = ndimage.gaussian_filter(rng.normal(size=y.shape), 3) * 8
    truth = np.zeros((dates, *y.shape), np.uint8)
    for lake, centre in enumerate(((22, 15), (25, 45))):
        truth |= np.hypot(y - centre[0], x - centre[1]) + bumps < radius[:, lake, None, None]
    sky = ndimage.gaussian_filter(rng.normal(size=truth.shape), (0, 8, 8))
    cover = rng.uniform(0, 0.95, dates) * (rng.random(dates) < 0.8)
    cover[WHOLLY_HIDDEN % dates] = 1
    hidden = sky < np.quantile(sky, cover, axis=(1, 2)).T[np.arange(dates), np.arange(dates), None, None]
    time = pd.date_range("2021-01-05", periods=dates, freq="9D").values
    coords = {"time": time, "y": 480.0 - 10 * np.arange(48), "x": 10.0 * np.arange(60)}
    mask, true = (
        xr.DataArray(a, dims=("time", "y", "x"), coords=coords, name="water_mask")
        for a in (np.where(hidden, np.uint8(255), truth), truth)
    )
    return mask if chunks is None else mask.chunk(chunks), true


def accuracy(restored, truth):
    known = restored.values <= 1
    return (restored.values == truth.values)[known].mean()


def shore_accuracy(restored, truth):
    between = truth.any("time") & ~truth.all("time")
    return accuracy(restored.where(between, 255), truth)


def test_levels_beat_frequency_on_lakes_with_their_own_seasons():
    mask, truth = bowls(chunks={"time": 7, "y": 20, "x": 33})
    found = {method: restore(mask, method).compute() for method in ("lake", "frequency")}
    for restored in found.values():
        spec = VARIABLES["water_restored"]
        assert (restored.name, restored.dtype, restored.dims) == (spec.name, spec.dtype, mask.dims)
        assert restored.attrs["flag_meanings"] == spec.attrs["flag_meanings"]
        np.testing.assert_array_equal(restored.values <= 1, mask.values > 1)
    assert shore_accuracy(found["lake"], truth) > 0.93
    assert shore_accuracy(found["lake"], truth) > shore_accuracy(found["frequency"], truth) + 0.1
    areas = [(a.isel(time=WHOLLY_HIDDEN) == 1).sum().item() for a in (found["lake"], truth)]
    assert abs(areas[0] - areas[1]) < 0.06 * areas[1]


def test_a_forest_learns_what_is_visible():
    pytest.importorskip("sklearn")
    mask, truth = bowls(chunks={"time": 7, "y": 20, "x": 33})
    restored = restore(mask, "forest", trees=10, sample=3000, p=0.5).compute()
    np.testing.assert_array_equal(restored.values <= 1, mask.values > 1)
    assert accuracy(restored, truth) > 0.92
    assert shore_accuracy(restored, truth) > 0.78
    timid = restore(mask, "forest", trees=10, sample=3000, p=0.95).compute()
    assert (timid == 1).sum() < (restored == 1).sum()
    assert ((restored == 1) | (timid != 1)).all()


def test_trees_add_up_to_the_forest():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    table = rng.random((500, 4)).astype(np.float32)
    table[::7, 1] = np.nan
    known = np.zeros((500, 8))
    known[:, 0], known[:, 3], known[:, 4:] = rng.permutation(500), table[:, 0] + table[:, 2] > 1, table
    model = forest._fit([[known[:300]], [known[300:]]], params=forest.ForestParams(trees=7))
    expected = model.predict_proba(table)[:, 1]
    np.testing.assert_allclose(forest._probability(model, table), expected, atol=1e-12)
    known[:, 3] = 0
    dry = forest._fit([known], params=forest.ForestParams(trees=2))
    assert (forest._probability(dry, table) == 0).all()
    assert forest._fit([known[:0]], params=forest.ForestParams()) is None


def test_forest_features_against_numpy():
    mask, _ = bowls(dates=30)
    values, months = mask.values, mask["time"].dt.month.values - 1
    wet, clear = count_states(values)
    rng = np.random.default_rng(0)
    elevation = rng.random(wet.shape, np.float32)
    setting = forest._Setting(tuple(months.tolist()), (0,) * 30, (0, 0), 1, forest.ForestParams(), 0.7)
    seasons = [list(layer.compute()[:, None]) for layer in forest._seasons(mask.chunk(), setting.months)]
    surplus = rng.random(30).astype(np.float32)
    chosen = rng.random(values.shape) < 0.003
    found = forest._features(
        chosen, slice(0, 30), values, wet, clear, [surplus], (*seasons, elevation), setting
    )  # fmt: skip
    assert found.dtype == np.float32
    for row, (t, i, j) in zip(found, np.argwhere(chosen), strict=True):
        others = np.array([u for u in range(30) if u != t and values[u, i, j] <= 1])
        season = others[[(months[u] - months[t]) % 12 in (0, 1, 11) for u in others]] if others.size else others
        means = [values[dates, i, j].mean() if dates.size else np.nan for dates in (others, season)]
        np.testing.assert_allclose(row, [*means, surplus[t], elevation[i, j]], rtol=1e-6)


def test_lazy_flow_equals_the_kernels_on_whole_arrays():
    mask, _ = bowls()
    labels = np.zeros(mask.shape[1:], np.int64)
    labels[2:45, 2:30], labels[2:45, 31:59] = 7, 400
    given = xr.DataArray(labels, dims=("y", "x"))
    numbers = np.searchsorted([7, 400], shore.grow_lakes(labels, 2)).astype(np.int32)
    numbers[shore.grow_lakes(labels, 2) == 0] = -1
    states, days = mask.values, mask["time"].values.astype("datetime64[D]").astype(int)
    wet, clear = count_states(states)
    table = shore.count_shore(states, wet, clear, numbers, 2)
    scene = relation.relation_by_date(table.sum(axis=1, dtype=np.int64), MIN_VISIBLE)
    first = decide.decide_lakes(table[:, :2], scene, days)
    level = levels.level_numbers(first.levels)
    row = heights.index_shore(wet, clear, numbers, np.ones(2, bool))
    known = heights.Heights(row, heights.count_levels(states, level, numbers, row), level)
    second = decide.decide_lakes(shore.count_shore(states, wet, clear, numbers, 2, known)[:, :2], scene, days)
    decisions = np.concatenate([second.decisions, decide.decide_scene(scene)[:, None]], axis=1)
    expected = shore.restore_states(states, wet, clear, numbers, decisions, known)
    for chunks in ({"time": 1, "y": 48, "x": 60}, {"time": 13, "y": (11, 37), "x": (1, 40, 19)}):
        found = restore(mask.chunk(chunks), lakes=given)
        np.testing.assert_array_equal(found, expected)
    renamed = given.where(given != 7, 3).where(given != 400, 8).astype("uint16")
    np.testing.assert_array_equal(restore(mask, lakes=renamed), expected)
    np.testing.assert_array_equal(restore(xr.Dataset({"water_mask": mask, "lake_label": given})), expected)


@pytest.mark.parametrize("method", ["lake", "frequency"])
def test_the_order_of_dates_does_not_matter(method):
    mask, _ = bowls(chunks={"time": 9, "y": 48, "x": 60})
    order = np.random.default_rng(5).permutation(DATES)
    shuffled = restore(mask.isel(time=order), method).sortby("time")
    np.testing.assert_array_equal(shuffled, restore(mask, method))


def test_what_is_seen_of_a_date_does_not_enter_its_own_bins():
    """A pixel that is wet on one date alone is, on that date, a pixel that was never wet."""
    states = np.zeros((6, 20, 20), np.uint8)
    states[2, :10] = 1
    states[2, :, 15:] = 255
    time = pd.date_range("2021-01-01", periods=6, freq="5D").values
    mask = xr.DataArray(states, dims=("time", "y", "x"), coords={"time": time})
    assert not (restore(mask, "frequency").isel(time=2) == 1).any()


def test_filled_joins_and_observes_nothing_new():
    mask, _ = bowls(chunks={"time": 5, "y": 48, "x": 31})
    restored = restore(mask, "frequency")
    joined = filled(mask, restored)
    assert joined.name == "water_filled" and joined.dtype == np.uint8
    expected = np.where(mask.values <= 1, mask.values, restored.values)
    np.testing.assert_array_equal(joined, expected)
    np.testing.assert_array_equal(filled(mask), filled(mask, restore(mask)))
    store = xr.Dataset({"water_mask": mask, "water_restored": restored.isel(time=slice(3, None)).rename(time="date")})
    expected[:3] = mask[:3]
    np.testing.assert_array_equal(filled(store), expected)
    np.testing.assert_array_equal(store.water.filled(), expected)
    np.testing.assert_array_equal(store.water.restore("frequency"), restored)
    xr.testing.assert_identical(count(store["water_mask"]), count(mask))


def test_flags_of_other_dtypes_and_no_dates():
    mask, _ = bowls(dates=12)
    odd = mask.astype("int32").where(mask <= 1, 256)
    np.testing.assert_array_equal(restore(odd, "frequency"), restore(mask, "frequency"))
    np.testing.assert_array_equal(filled(odd, restore(odd)), filled(mask))
    none = mask.isel(time=slice(0, 0))
    assert restore(none).shape == (0, 48, 60)
    never = mask.where(mask["x"] > 20, 255).astype("uint8")
    assert (restore(never).values[:, :, :3] == 255).all()


def test_laziness_and_the_room_for_errors(monkeypatch):
    mask, _ = bowls(chunks={"time": 1, "y": 24, "x": 30}, dates=6)

    def refuse(*args, **kwargs):
        raise AssertionError("computed while building")

    with dask.config.set(scheduler=refuse):
        for method in ("lake", "frequency", "forest"):
            restore(mask, method)
        filled(mask)
    bad = [
        (lambda: restore(mask, "magic"), "restore knows lake, frequency, forest"),
        (lambda: restore(mask, "frequency", softness=1), "no parameter softness"),
        (lambda: restore(mask, softness=-1), "softness > 0"),
        (lambda: restore(mask, colour=1), "colour"),
        (lambda: restore(mask, "forest", trees=0), "trees must be at least 1"),
        (lambda: restore(mask, p=1.5), "between 0 and 1"),
        (lambda: restore(mask, "forest", lakes=mask[0]), "lakes have no part"),
        (lambda: restore(mask, lakes=mask[0, :3]), "lakes are integers"),
        (lambda: restore(mask.drop_vars("time")), "datetimes"),
        (lambda: restore(mask.drop_vars("time"), "forest"), "datetimes"),
        (lambda: restore(mask.to_dataset(name="water")), "extract it first"),
        (lambda: restore(mask.isel(time=0)), "dims"),
        (lambda: filled(mask, mask[:, :5]), "what was restored"),
    ]
    for call, message in bad:
        with pytest.raises(InvalidInputError, match=message):
            call()
    monkeypatch.setattr(forest, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"\.\[forest\]"):
        restore(mask, "forest")
