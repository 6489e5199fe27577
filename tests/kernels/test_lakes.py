"""Sums over lakes: brute force is the oracle, blocks in any cut and order add up to the same integers."""

from __future__ import annotations

import numpy as np
import pytest

from lakecube.kernels.label import label_block, relabel
from lakecube.kernels.lake_areas import INFERRED, UNRESOLVED, add_sums, areas_of_sums, lake_runs, sum_states
from lakecube.kernels.lake_overlap import combine_overlaps, overlap_block
from lakecube.kernels.lakes import AREA_QUANTA, LAKE_TABLE, LENGTH_QUANTA, combine_tables, measure_block
from tests.kernels.blocks import CUTS, blocks, label_in_blocks, random_classes

cuts = pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(str(len(c)) for c in cut))
SHAPE = (37, 53)


def quanta(seed, shape, by_row=False):
    rng = np.random.default_rng(seed)
    return rng.integers(90_000, 110_000, (shape[0], 1) if by_row else shape)


def measured_in_blocks(classes, cut, by_row):
    rng = np.random.default_rng(2)
    elevation = rng.normal(100, 20, classes.shape).astype(np.float32)
    elevation[rng.random(classes.shape) < 0.3] = np.nan
    area = quanta(3, classes.shape, by_row)
    edges_x = quanta(4, (classes.shape[0] + 1, classes.shape[1]), by_row)
    edges_y = quanta(5, classes.shape, True) if by_row else quanta(5, (classes.shape[0], classes.shape[1] + 1))
    labels, old, new = label_in_blocks(classes, *cut)
    halo = np.pad(classes, 1, constant_values=255)
    tables = []
    for y, x in blocks(*cut):
        columns = slice(None) if by_row else x
        table = measure_block(
            halo[y.start : y.stop + 2, x.start : x.stop + 2], labels[y, x], y.start, x.start, area[y, columns],
            edges_x[y.start : y.stop + 1, columns],
            edges_y[y] if by_row else edges_y[y, x.start : x.stop + 1], elevation[y, x],
        )  # fmt: skip
        assert (np.diff(table["label"]) > 0).all()
        table["label"] = relabel(table["label"], old, new)
        tables.append(table)
    return combine_tables(tables), (relabel(labels, old, new), area, edges_x, edges_y, elevation)


def by_force(classes, labels, area, edges_x, edges_y, elevation):
    """Each lake by itself, with masks and padded shifts."""
    shape = classes.shape
    area = np.broadcast_to(area, shape)
    edges_x, edges_y = np.broadcast_to(edges_x, (shape[0] + 1, shape[1])), np.broadcast_to(
        edges_y, (shape[0], shape[1] + 1)
    )  # fmt: skip
    unseen = np.pad(classes, 1, constant_values=255) == 255
    rows = []
    for label in np.unique(labels[labels > 0]):
        inside = labels == label
        wide = np.pad(inside, 1)
        perimeter = edges_x[(wide[1:] != wide[:-1])[:, 1:-1]].sum() + edges_y[(wide[:, 1:] != wide[:, :-1])[1:-1]].sum()
        y, x = np.nonzero(inside)
        near = np.zeros_like(unseen)
        for dy in range(3):
            for dx in range(3):
                near[y + dy, x + dx] = True
        seen = elevation[inside][~np.isnan(elevation[inside])]
        band = (seen.min(), seen.max()) if seen.size else (np.nan, np.nan)
        rows.append((
            label, classes[inside][0], (near & unseen).any(), inside.sum(), area[inside].sum(), perimeter, y.sum(),
            x.sum(), y.min(), y.max(), x.min(), x.max(), *band,
        ))  # fmt: skip
    return np.array(rows, LAKE_TABLE)


@pytest.mark.parametrize("by_row", [True, False])
@cuts
def test_tables_add_up_to_brute_force(cut, by_row):
    classes = random_classes(7, water=0.5)
    table, rest = measured_in_blocks(classes, cut, by_row)
    expected = by_force(classes, *rest)
    for name in LAKE_TABLE.names:
        np.testing.assert_array_equal(table[name], expected[name], name)


def test_lakes_away_from_the_edge_do_not_touch_it():
    classes = np.zeros((9, 9), np.uint8)
    classes[1, 1] = classes[4:6, 4:6] = classes[8, 8] = 1
    classes[2, 8] = 255
    classes[3, 7] = 2
    labels = label_block(classes, 0, 0, 9)
    one = np.full((10, 1), LENGTH_QUANTA)
    area = np.full((9, 1), AREA_QUANTA)
    table = measure_block(np.pad(classes, 1, constant_values=255), labels, 0, 0, area, one, one[1:])
    assert table["touches_edge"].tolist() == [0, 1, 0, 1], "a corner of what was never seen counts as the edge"
    assert (table["perimeter"] / LENGTH_QUANTA).tolist() == [4, 4, 8, 4]
    assert (table["area"] / AREA_QUANTA).tolist() == [1, 1, 4, 1]


def test_an_image_without_lakes():
    empty = np.zeros((3, 4), np.uint8)
    one = np.full((3, 1), 5)
    table = measure_block(np.pad(empty, 1), empty.astype(np.int64), 0, 0, one, np.full((4, 1), 5), one)
    assert table.size == combine_tables([table, table]).size == combine_tables([]).size == 0
    ids, runs = lake_runs(empty.astype(np.int64))
    assert sum_states(empty[None], None, runs, ids.size, one).shape == (0, 1, 4)
    assert overlap_block(empty.astype(np.int64), empty.astype(np.int64)).size == combine_overlaps([]).size == 0


@cuts
def test_overlaps_are_counted_as_by_pandas(cut):
    pd = pytest.importorskip("pandas")
    classes = random_classes(8, water=0.6)
    labels, old, new = label_in_blocks(classes, *cut)
    previous = label_block(random_classes(9, water=0.6), 0, 0, SHAPE[1])
    tables = [overlap_block(labels[b], previous[b]) for b in blocks(*cut)]
    for table in tables:
        table["label"] = relabel(table["label"], old, new)
    found = combine_overlaps(tables)
    frame = pd.DataFrame({"a": relabel(labels, old, new).ravel(), "b": previous.ravel()})
    counts = frame[(frame.a > 0) & (frame.b > 0)].groupby(["a", "b"]).size()
    assert [tuple(row) for row in found.tolist()] == [(a, b, n) for (a, b), n in counts.items()]


def states_of(seed, dates=4):
    rng = np.random.default_rng(seed)
    states = rng.choice(np.array([0, 1, 255, 7], np.uint8), (dates, *SHAPE), p=[0.4, 0.3, 0.2, 0.1])
    return states, rng.choice(np.array([0, 1, 255], np.uint8), (dates, *SHAPE))


@pytest.mark.parametrize("by_row", [True, False])
@cuts
def test_sums_of_states_add_up_to_brute_force(cut, by_row):
    labels = label_block(random_classes(10, water=0.5), 0, 0, SHAPE[1])
    states, restored = states_of(11)
    area = quanta(12, SHAPE, by_row)
    ids = np.unique(labels[labels > 0])
    total = np.zeros((ids.size, len(states), 4), np.int64)
    for y, x in blocks(*cut):
        of, runs = lake_runs(labels[y, x])
        part = area[y] if by_row else area[y, x]
        for t in range(len(states)):  # a date at a time
            sums = sum_states(states[t : t + 1, y, x], restored[t : t + 1, y, x], runs, of.size, part)
            add_sums(total[:, t : t + 1], ids, sums, of)
    hidden = states > 1
    layers = (states == 1, hidden, hidden & (restored == 1), hidden & (restored > 1))
    for k, layer in enumerate(layers):
        for n, label in enumerate(ids):
            expected = ((labels == label) & layer).astype(np.int64) * np.broadcast_to(area, SHAPE)
            np.testing.assert_array_equal(total[n, :, k], expected.sum(axis=(1, 2)))


def test_lakes_can_be_taken_a_range_at_a_time():
    total = np.zeros((2, 1), np.int64)
    add_sums(total, np.array([5, 8]), np.array([[1], [2], [4], [8]]), np.array([2, 5, 8, 9]))
    add_sums(total, np.array([5, 8]), np.array([[16]]), np.array([8]))
    assert total.ravel().tolist() == [2, 20]


def test_areas_never_claim_more_than_was_seen():
    labels = label_block(random_classes(13, water=0.5), 0, 0, SHAPE[1])
    states, restored = states_of(14, dates=5)
    states[1] = 255  # hidden altogether
    states[2][states[2] > 1] = 0  # seen altogether
    restored[3] = 1
    ids, runs = lake_runs(labels)
    area = quanta(15, SHAPE)
    whole = np.bincount(np.searchsorted(ids, labels[labels > 0]), area[labels > 0]).astype(np.int64)
    sums = sum_states(states, restored, runs, ids.size, area)
    found = areas_of_sums(sums, whole)
    lower, upper, best = found["lake_area_lower"], found["lake_area_upper"], found["lake_area"]
    assert all(v.dtype == np.float64 and v.shape == (ids.size, 5) for v in found.values())
    known = ~np.isnan(best)
    np.testing.assert_array_equal(known, sums[..., UNRESOLVED] == 0)
    assert (lower[known] <= best[known]).all()
    assert (best[known] <= upper[known]).all()
    assert np.isnan(found["lake_area_observed"][:, 1]).all(), "nothing was seen"
    np.testing.assert_array_equal(upper[:, 1], whole / AREA_QUANTA)
    for name in ("lake_area", "lake_area_lower", "lake_area_upper"):
        np.testing.assert_array_equal(found[name][:, 2], found["lake_area_observed"][:, 2])
    np.testing.assert_array_equal(found["lake_area"][:, 3], upper[:, 3])
    assert ((found["lake_observed_fraction"] >= 0) & (found["lake_observed_fraction"] <= 1)).all()
    without = sum_states(states, None, runs, ids.size, area)
    assert (without[..., INFERRED] == 0).all()
    np.testing.assert_array_equal(without[..., UNRESOLVED], without[..., 1])
