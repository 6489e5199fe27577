import numpy as np
import pytest
from skimage.filters import threshold_otsu

from lakecube.kernels.histogram import (
    METHODS,
    N_BINS,
    ThresholdParams,
    bin_centers,
    bin_edges,
    class_share,
    count_tiles,
    decide_thresholds,
    merge_counts,
    otsu,
    separability,
    valley_depth,
)
from lakecube.names import OBSERVATION, THRESHOLD_SOURCE

CENTERS = bin_centers(0)
CLEAR, CLOUD = OBSERVATION["clear"], OBSERVATION["cloud"]


def mixture(water, n=40_000, seed=0, land=-0.4, wet=0.6, spread=0.08):
    """Integer counts of an index image with a share `water` of water."""
    rng = np.random.default_rng(seed)
    k = int(n * water)
    values = np.concatenate([rng.normal(wet, spread, k), rng.normal(land, spread, n - k)])
    return np.histogram(np.clip(values, -0.999, 0.999), bin_edges(0))[0]


def tiles(*histograms):
    return np.stack([np.stack([h, h]) for h in histograms])


def sources(codes):
    names = {code: name for name, code in THRESHOLD_SOURCE.items()}
    return [names[int(c)] for c in codes]


@pytest.mark.parametrize("water", [0.05, 0.2, 0.5, 0.8])
def test_otsu_equals_scikit_image(water):
    counts = mixture(water)
    held = np.flatnonzero(counts)
    inside = slice(held[0], held[-1] + 1)
    assert otsu(counts, CENTERS) == pytest.approx(threshold_otsu(hist=(counts[inside], CENTERS[inside])), abs=1e-12)


def test_otsu_maximises_the_separability():
    counts = mixture(0.3)
    best = max(separability(counts, CENTERS, t) for t in CENTERS)
    assert separability(counts, CENTERS, otsu(counts, CENTERS)) == pytest.approx(best, rel=1e-9)


def test_otsu_of_little():
    assert np.isnan(otsu(np.zeros(N_BINS, np.int64), CENTERS))
    one = np.zeros(N_BINS, np.int64)
    one[7] = 5
    assert np.isnan(otsu(one, CENTERS))
    one[200] = 5
    assert CENTERS[7] <= otsu(one, CENTERS) < CENTERS[200]


def test_measures():
    counts = np.zeros(N_BINS, np.int64)
    counts[50], counts[150] = 30, 10
    assert class_share(counts, CENTERS, 0.0) == 0.25
    assert separability(counts, CENTERS, 0.0) == pytest.approx(1)
    assert separability(counts, CENTERS, 0.9) == 0
    assert valley_depth(counts, CENTERS, 0.0) == 1
    assert np.isnan(class_share(counts * 0, CENTERS, 0.0))
    flat = np.full(N_BINS, 100)
    assert separability(flat, CENTERS, 0.0) == pytest.approx(0.75, abs=1e-3)
    assert valley_depth(flat, CENTERS, 0.0) < 0.5


def block(shape=(70, 90), seed=0):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 0.6, (2, *shape)).astype(np.float32)
    first[rng.random(shape) < 0.05] = np.nan
    second[rng.random(shape) < 0.05] = np.inf
    observation = np.where(rng.random(shape) < 0.2, CLOUD, CLEAR).astype(np.uint8)
    return first, second, observation


def test_counts_equal_numpy():
    first, second, observation = block()
    ids, counts = count_tiles(first, second, observation, 0, 0)
    seen = (observation == CLEAR) & np.isfinite(first) & np.isfinite(second)
    np.testing.assert_array_equal(ids, [[0, 0]])
    assert counts.dtype == np.int64
    for k, values in enumerate((first, second)):
        inside = np.clip(values[seen].astype(np.float64), -1, np.nextafter(1, 0))
        np.testing.assert_array_equal(counts[0, k], np.histogram(inside, bin_edges(k))[0])


@pytest.mark.parametrize("origin", [(0, 0), (-37, 1000), (255, -1)])
def test_counts_do_not_depend_on_the_cut(origin):
    first, second, observation = block()
    whole = count_tiles(first, second, observation, *origin, tile=32)
    parts = []
    for y in range(0, 70, 13):
        for x in range(0, 90, 29):
            at = (slice(y, y + 13), slice(x, x + 29))
            parts.append(count_tiles(first[at], second[at], observation[at], origin[0] + y, origin[1] + x, tile=32))
    for order in (parts, parts[::-1]):
        ids, counts = merge_counts(order)
        np.testing.assert_array_equal(ids, whole[0])
        np.testing.assert_array_equal(counts, whole[1])


def test_unseen_pixels_do_not_count_and_inputs_stay():
    first, second, observation = block()
    before = first.copy()
    counts = count_tiles(first, second, observation, 0, 0)[1]
    other = np.where(observation == CLOUD, np.float32(0.5), first)
    np.testing.assert_array_equal(count_tiles(other, second, observation, 0, 0)[1], counts)
    np.testing.assert_array_equal(first, before)


def test_without_awei_its_counts_are_zero():
    first, _, observation = block()
    counts = count_tiles(first, None, observation, 0, 0)[1]
    assert counts[:, 1].sum() == 0
    assert counts[:, 0].sum() == ((observation == CLEAR) & np.isfinite(first)).sum()
    value, source = decide_thresholds(counts)
    assert sources(source)[1] == "no_data"
    assert value[1] == ThresholdParams().fixed[1]


def test_counts_of_nothing():
    empty = np.zeros((0, 4), np.float32)
    assert count_tiles(empty, empty, empty.astype(np.uint8), 0, 0)[1].shape == (0, 2, N_BINS)
    assert merge_counts([])[1].shape == (0, 2, N_BINS)
    for method in METHODS:
        value, source = decide_thresholds(merge_counts([])[1], method)
        assert sources(source) == ["no_data", "no_data"]
        np.testing.assert_array_equal(value, np.float32(ThresholdParams().fixed))


def test_plain_otsu_invents_water_and_the_guard_does_not():
    dry = tiles(*(mixture(0.0, seed=k) for k in range(4)))
    assert decide_thresholds(dry, "otsu")[0][0] < -0.3
    value, source = decide_thresholds(dry)
    np.testing.assert_array_equal(value, np.float32(ThresholdParams().fixed))
    assert sources(source) == ["fallback_unimodal"] * 2


def test_a_little_water_in_every_tile_is_no_proof():
    value, source = decide_thresholds(tiles(mixture(0.04)))
    assert sources(source) == ["fallback_class_share"] * 2
    np.testing.assert_array_equal(value, np.float32(ThresholdParams().fixed))


def test_proven_tiles_move_the_threshold_part_of_the_way():
    p = ThresholdParams()
    counts = tiles(mixture(0.4, wet=0.5, land=-0.3), *(mixture(0.0, seed=k) for k in range(9)))
    free, source = decide_thresholds(counts, "bimodal_tiles")
    assert sources(source) == ["bimodal_tiles"] * 2
    value, source = decide_thresholds(counts)
    expected = p.fixed[0] + p.weight * (free[0] - p.fixed[0])
    assert value[0] == pytest.approx(np.clip(expected, p.lower[0], p.upper[0]), abs=1e-6)
    full = decide_thresholds(counts, weight=1.0, lower=(-1, -1), upper=(1, 1))[0]
    np.testing.assert_array_equal(full, free)


def test_bounds_are_kept_and_told():
    counts = tiles(mixture(0.5, wet=0.9, land=0.05, spread=0.03))
    value, source = decide_thresholds(counts)
    assert value[0] == np.float32(ThresholdParams().upper[0])
    assert sources(source)[0] == "clipped_to_bounds"


def test_forest_and_field_are_no_water():
    value, source = decide_thresholds(tiles(mixture(0.5, wet=-0.1, land=-0.5, spread=0.03)))
    np.testing.assert_array_equal(value, np.float32(ThresholdParams().fixed))
    assert sources(source) == ["fallback_unimodal"] * 2


def test_order_of_tiles_and_fixed():
    counts = tiles(mixture(0.3), mixture(0.0), mixture(0.6, seed=3))
    for method in METHODS:
        for a, b in zip(decide_thresholds(counts, method), decide_thresholds(counts[::-1], method), strict=True):
            np.testing.assert_array_equal(a, b)
    value, source = decide_thresholds(counts, "fixed", fixed=(0.15, 0.01))
    np.testing.assert_array_equal(value, np.float32([0.15, 0.01]))
    assert sources(source) == ["fixed", "fixed"]
    assert value.dtype == np.float32
    assert source.dtype == np.uint8


@pytest.mark.parametrize(("change", "match"), [
    ({"fixed": (0.5, 0.0)}, "lower <= fixed"), ({"weight": 2.0}, "weight"), ({"min_pixels": 0}, "min_pixels"),
    ({"min_class_share": 0.6}, "min_class_share"), ({"fixed": (0.1,)}, "two finite"),
])  # fmt: skip
def test_parameters_are_validated(change, match):
    with pytest.raises(ValueError, match=match):
        decide_thresholds(tiles(mixture(0.3)), **change)


def test_refuses():
    with pytest.raises(ValueError, match="method"):
        decide_thresholds(tiles(mixture(0.3)), "best")
    with pytest.raises(ValueError, match="integers of shape"):
        decide_thresholds(np.zeros((1, 2, 8)))
    with pytest.raises(TypeError, match="wieght"):
        decide_thresholds(tiles(mixture(0.3)), wieght=1.0)
    with pytest.raises(ValueError, match="one shape"):
        count_tiles(np.zeros((2, 2), np.float32), None, np.zeros((3, 3), np.uint8), 0, 0)
