import itertools

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import isotonic_regression

from lakecube.kernels import heights, intervals, levels, relation, restore, shore
from lakecube.kernels.counts import count_states
from lakecube.kernels.heights import BINS, LEVELS


def archive(dates=9, rows=7, columns=8, lakes=3, seed=0):
    """States, their counts, lake numbers; a pixel that was never seen, one seen once, one that is always wet."""
    rng = np.random.default_rng(seed)
    states = rng.choice(np.array([0, 1, 255], np.uint8), (dates, rows, columns), p=[0.35, 0.35, 0.3])
    states[:, 0, 0], states[1:, 0, 1], states[:, 0, 2] = 255, 254, 1
    wet, clear = count_states(states)
    return states, wet, clear, rng.integers(-1, lakes, (rows, columns)).astype(np.int32)


def plain_bin(wet, clear):
    if clear == 0:
        return None
    if wet == 0 or wet == clear:
        return 0 if wet == 0 else BINS - 1
    return next(b for b in range(1, BINS - 1) if wet * (BINS - 2) < b * clear)


def plain_height(wet, seen_levels):
    """Between the levels of its wet dates and those of its dry ones, the dates sorted from high water to low."""
    if not seen_levels:
        return None
    if wet in (0, len(seen_levels)):
        return 0 if wet == 0 else BINS - 1
    order = sorted(seen_levels)
    return min(max((order[wet - 1] + order[wet] - 1) // 2, 1), BINS - 2)


def plain_counts(states, lakes, n_lakes, donors=None, level=None):
    """Bin by bin in Python, every date left out by counting the others anew."""
    out = np.zeros((len(states), n_lakes + 1, BINS, 3 if donors is None else 4), np.uint32)
    for t, i, j in np.ndindex(states.shape):
        series, state, lake = states[:, i, j], states[t, i, j], lakes[i, j]
        if donors is not None and state > 1:
            continue
        others = [u for u in range(len(states)) if u != t and series[u] <= 1]
        wet = sum(int(series[u] == 1) for u in others)
        mixed = 0 < (series == 1).sum() < (series <= 1).sum()
        if level is not None and lake >= 0 and mixed:
            k = plain_height(wet, [int(level[u, lake]) for u in others])
        else:
            k = plain_bin(wet, len(others))
        if k is not None:
            column = min(state, 2) if donors is None else state + 2 * (donors[t, i, j] > 1)
            out[t, lake, k, column] += 1
    return out


@pytest.fixture
def known_heights():
    states, wet, clear, lakes = archive()
    level = np.random.default_rng(3).integers(0, LEVELS, (len(states), 3)).astype(np.uint8)
    row = heights.index_shore(wet, clear, lakes, np.ones(3, bool))
    counts = heights.count_levels(states, level, lakes, row)
    return heights.Heights(row, counts, level)


def test_shores_against_plain_python(known_heights):
    states, wet, clear, lakes = archive()
    before = [a.copy() for a in (states, wet, clear, lakes, *known_heights)]
    found = shore.count_shore(states, wet, clear, lakes, 3)
    np.testing.assert_array_equal(found, plain_counts(states, lakes, 3))
    found = shore.count_shore(states, wet, clear, lakes, 3, known_heights)
    np.testing.assert_array_equal(found, plain_counts(states, lakes, 3, level=known_heights.levels))
    for a, b in zip((states, wet, clear, lakes, *known_heights), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_shores_under_other_clouds_against_plain_python(known_heights):
    states, wet, clear, lakes = archive()
    donors = np.roll(states, 2, axis=0)
    for known, level in ((None, None), (known_heights, known_heights.levels)):
        found = shore.count_shore_under(states, donors, wet, clear, lakes, 3, known)
        np.testing.assert_array_equal(found, plain_counts(states, lakes, 3, donors, level))
        seen = shore.count_shore(states, wet, clear, lakes, 3, known)[..., :2]
        np.testing.assert_array_equal(found[..., :2] + found[..., 2:], seen)


def test_parts_add_up_to_the_whole(known_heights):
    states, wet, clear, lakes = archive()
    whole = shore.count_shore(states, wet, clear, lakes, 3, known_heights)
    total = np.zeros_like(whole)
    for t, y, x in itertools.product(
        (slice(0, 4), slice(4, 9)), (slice(0, 5), slice(5, 7)), (slice(0, 1), slice(1, 8))
    ):
        row = heights.index_shore(wet[y, x], clear[y, x], lakes[y, x], np.ones(3, bool))
        parts = [heights.count_levels(states[d, y, x], known_heights.levels[d], lakes[y, x], row) for d in
                 (slice(0, 2), slice(2, 9))]  # fmt: skip
        known = heights.Heights(row, parts[0] + parts[1], known_heights.levels[t])
        total[t] += shore.count_shore(states[t, y, x], wet[y, x], clear[y, x], lakes[y, x], 3, known)
    np.testing.assert_array_equal(total, whole)


def test_restored_pixels_are_looked_up(known_heights):
    states, wet, clear, lakes = archive()
    decisions = np.random.default_rng(1).choice(np.array([0, 1, 255], np.uint8), (9, 4, BINS))
    for known in (None, known_heights):
        restored = shore.restore_states(states, wet, clear, lakes, decisions, known)
        level = None if known is None else known.levels
        for t, i, j in np.ndindex(states.shape):
            only = np.full_like(states, 255)
            only[:, i, j] = states[:, i, j]
            hidden = plain_counts(only[:, i : i + 1, j : j + 1], lakes[i : i + 1, j : j + 1], 3, level=level)[t, ..., 2]
            expected = decisions[t][hidden > 0]
            assert restored[t, i, j] == (expected[0] if expected.size else 255)


def test_lakes_grow_alike_in_every_window():
    labels = np.zeros((30, 31), np.int64)
    for number, (y, x) in enumerate(np.random.default_rng(2).integers(0, 30, (9, 2)), start=1):
        labels[y : y + 2, x] = 10 * number
    before = labels.copy()
    grown = shore.grow_lakes(labels, 3)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(grown > 0, ndimage.binary_dilation(labels > 0, np.ones((3, 3)), iterations=3))
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    window = shore.grow_lakes(labels[7:23, 5:28], 3)
    np.testing.assert_array_equal(window[3:-3, 3:-3], grown[10:20, 8:25])


# --- one relation per date -------------------------------------------------------------------------------------------


def test_relation_is_the_isotonic_fit():
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 30, (BINS, 2)) * (rng.random((BINS, 1)) < 0.7)
        counts[3] = 5, 1
        weight = counts.sum(axis=1)
        there = np.flatnonzero(weight)
        fit = isotonic_regression(counts[there, 1] / weight[there], weights=weight[there]).x
        expected = np.interp(np.arange(BINS), there, fit)
        np.testing.assert_allclose(relation.monotone_share(counts.astype(float)), expected, atol=1e-12)


def test_a_date_with_little_to_see_takes_the_relation_of_all():
    counts = np.zeros((3, BINS, 3), np.int64)
    counts[0, :16, 0], counts[0, 16:, 1] = 10, 10
    counts[1, 20, 0], counts[:, 25, 2] = 3, 500
    found = relation.relation_by_date(counts, 20)
    np.testing.assert_array_equal(found[1], found[2])
    assert found[0, 15] == 0 and found[0, 16] == 1 and found.dtype == np.float32
    assert found[1, 20] < 1
    nothing = relation.relation_by_date(np.zeros((1, BINS, 3), np.int64), 20)[0]
    np.testing.assert_allclose(nothing, np.arange(BINS) / (BINS - 1), rtol=1e-6)
    assert relation.relation_by_date(counts[:0], 20).shape == (0, BINS)


# --- levels ----------------------------------------------------------------------------------------------------------


def dense_posterior(evidence, days, drift):
    """The same chain with whole matrices: (time, LEVELS) from the other dates alone."""
    k = np.arange(LEVELS)
    moves = [np.exp(-np.abs(k[:, None] - k) / (drift * np.sqrt(max(d, 1) / 10))) for d in np.diff(days)]
    moves = [m / m.sum(axis=1, keepdims=True) for m in moves]
    likely = np.exp(evidence)
    out = []
    for t in range(len(days)):
        left, right = np.full(LEVELS, 1 / LEVELS), np.ones(LEVELS)
        for u in range(t):
            left = (left * likely[u]) @ moves[u]
        for u in range(len(days) - 1, t, -1):
            right = moves[u - 1] @ (right * likely[u])
        out.append(left * right / (left * right).sum())
    return np.array(out)


def test_levels_are_linked_as_by_whole_matrices():
    rng = np.random.default_rng(0)
    evidence = -np.abs(np.arange(LEVELS) - rng.integers(0, LEVELS, (7, 2, 1))) * rng.random((7, 2, 1))
    evidence[2] = 0
    days = np.array([0, 5, 12, 12, 60, 61, 300])
    params = levels.LevelParams(drifts=(1.5,))
    linked = levels.link_dates(evidence, days, params)
    for lake in range(2):
        np.testing.assert_allclose(linked[:, lake], dense_posterior(evidence[:, lake], days, 1.5), atol=1e-12)
    joined = levels.join_evidence(linked, evidence)
    np.testing.assert_allclose(joined.sum(axis=2), 1)
    expected = linked * np.exp(evidence)
    np.testing.assert_allclose(joined, expected / expected.sum(axis=2, keepdims=True), atol=1e-12)
    alone = levels.link_dates(evidence[:, 1:], days, params)
    np.testing.assert_array_equal(alone, linked[:, 1:])
    assert levels.link_dates(evidence[:0], days[:0], params).shape == (0, 2, LEVELS)


def test_the_likeliest_drift_is_taken():
    steady = -5.0 * np.abs(np.arange(LEVELS) - 12.0) * np.ones((20, 1, 1))
    wild = -5.0 * np.abs(np.arange(LEVELS) - np.where(np.arange(20) % 2, 4.0, 28.0)[:, None, None])
    days = 10 * np.arange(20)
    both = levels.link_dates(np.concatenate([steady, wild], axis=1), days, levels.LevelParams(drifts=(0.5, 20.0)))
    for lake, (evidence, drift) in enumerate(((steady, 0.5), (wild, 20.0))):
        np.testing.assert_allclose(both[:, lake], dense_posterior(evidence[:, 0], days, drift), atol=1e-9)


def shore_at(level, pixels=20):
    """Counts of a lake at a level, its shore in full sight."""
    table = np.zeros((BINS, 3), np.uint32)
    table[:level, shore.DRY], table[level:, shore.WET] = pixels, pixels
    return table


def test_a_hidden_date_lies_between_its_neighbours():
    table = np.stack([shore_at(8), np.zeros((BINS, 3), np.uint32), shore_at(16)])[:, None]
    table[1, 0, :, shore.HIDDEN] = 20
    flat = np.linspace(0, 1, BINS, dtype=np.float32)[None].repeat(3, axis=0)
    found = restore.decide_lakes(table, flat, np.array([0, 10, 20]))
    assert found.source[:, 0].tolist() == [levels.OWN_SHORE, levels.OTHER_DATES, levels.OWN_SHORE]
    first, between, last = found.decisions[:, 0].sum(axis=1)
    assert (first, last) == (BINS - 8, BINS - 16)
    assert last < between < first
    assert levels.level_numbers(found.levels)[[0, 2], 0].tolist() == [8, 16]
    sharp, broad = found.probability[[0, 1], 0]
    assert ((broad > 0.1) & (broad < 0.9)).sum() > ((sharp > 0.1) & (sharp < 0.9)).sum()


def test_a_lake_without_a_shore_goes_by_the_scene():
    table = np.zeros((2, 1, BINS, 3), np.uint32)
    table[:, 0, 0, shore.DRY], table[:, 0, :, shore.HIDDEN] = 50, 5
    scene = np.array([np.linspace(0, 1, BINS), np.zeros(BINS)], np.float32)
    found = restore.decide_lakes(table, scene, np.array([0, 10]))
    assert (found.source == levels.SCENE).all()
    np.testing.assert_array_equal(found.decisions[:, 0], restore.decide_scene(scene))
    assert found.decisions[0].sum() == (np.linspace(0, 1, BINS) > 0.7).sum()


# --- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "limit"), [(2, 960), (60, 960), (7, 960), (1000, 240), (960, 960), (1, 5), (0, 5)])
def test_donors_are_other_dates_and_spread(n, limit):
    pairs = intervals.pseudo_dates(n, limit)
    assert pairs.shape[1] == 2 and len(pairs) <= max(limit, n if n <= limit else 0)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len({tuple(p) for p in pairs.tolist()}) == len(pairs)
    if n >= 60:
        assert np.ptp(pairs[:, 1]) > 0.9 * n and np.ptp(pairs[:, 0]) > 0.9 * n
        np.testing.assert_array_less(np.bincount(pairs[:, 1], minlength=n), 20)


def test_quantiles_of_known_errors():
    rng = np.random.default_rng(0)
    spread = np.full((4000, 3), 5.0)
    true = np.rint(1000 + spread * rng.normal(1.0, 2.0, spread.shape)).astype(int)
    classes = np.broadcast_to([0, 1, 11], (4000, 3))
    valid = np.ones((4000, 3), bool)
    valid[50:, 1] = False
    restored = np.full((4000, 3), 1000)
    parts = [intervals.count_errors(true[s], restored[s], spread[s], classes[s], valid[s]) for s in
             (slice(0, 7), slice(7, 4000))]  # fmt: skip
    counts = parts[0] + parts[1]
    np.testing.assert_array_equal(counts, intervals.count_errors(true, restored, spread, classes, valid))
    assert counts.sum() == valid.sum()
    found = intervals.error_quantiles(counts)
    np.testing.assert_allclose(found[0], 1 + 2 * np.array([-1.645, 1.645]), atol=0.2)
    np.testing.assert_allclose(found[1], found[0], atol=0.25)  # pooled over sizes
    np.testing.assert_allclose(found[7], found[11], atol=0.2)  # pooled over all
    inside = (true[:, 2] >= 1000 + found[11, 0] * 5) & (true[:, 2] <= 1000 + found[11, 1] * 5)
    assert 0.89 < inside.mean() < 0.92
    assert np.isnan(intervals.error_quantiles(counts // 1000)).all()


def test_quantiles_of_a_hundred_errors_by_hand():
    counts = np.zeros((intervals.N_CLASSES, intervals.STEPS), int)
    counts[4, 1000:1100] = 1  # of 100 sorted errors the 5th, ⌊101 · 5 %⌋, and the 96th, ⌈101 · 95 %⌉
    low, high = intervals.error_quantiles(counts)[4] * 32 + intervals.STEPS // 2
    # of 100 sorted errors the 5th, ⌊101 · 5 %⌋, where its step begins, and the 96th, ⌈101 · 95 %⌉, where its step ends
    assert (low, high) == (1004, 1096)


def test_intervals_keep_to_what_is_hidden():
    quantiles = np.full((intervals.N_CLASSES, 2), [-2.0, 3.0])
    quantiles[5] = np.nan
    restored, hidden = np.array([[0, 40, 95, 40]]), np.array([[0, 100, 100, 100]])
    spread, classes = np.array([[1.0, 5.0, 5.0, 5.0]]), np.array([[0, 0, 0, 5]])
    low, high = intervals.hidden_interval(restored, hidden, spread, classes, quantiles)
    assert low.tolist() == [[0, 30, 85, 0]]
    assert high.tolist() == [[0, 55, 100, 100]]


def test_spread_is_that_of_the_model():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(LEVELS), (2, 3))
    hidden = rng.integers(0, 9, (2, 3, BINS))
    params = levels.LevelParams(trust=0.25)
    water = levels.water_at_level(params)
    mean = np.einsum("tlk,tlb,kb->tl", probability, hidden, water)
    square = np.einsum("tlk,tlk->tl", probability, (hidden @ water.T) ** 2)
    noise = np.einsum("tlk,tlb,kb->tl", probability, hidden, water * (1 - water))
    found = intervals.spread_of_hidden(probability, hidden, params)
    np.testing.assert_allclose(found, np.sqrt(square - mean**2 + 4 * noise + 1))
    classes = intervals.error_class(np.array([[0, 29, 60, 100]]), np.array([100, 99, 100, 100]))
    assert classes.tolist() == [[1, 0, 7, 10]]


@pytest.mark.parametrize("bad", [{"softness": 0}, {"error": 0.5}, {"trust": 0}, {"drifts": ()}, {"min_shore": 0}])
def test_impossible_parameters_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        levels.LevelParams(**bad)
