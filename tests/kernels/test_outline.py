"""Rings of labelled regions: simple, of the right area, the same from any windows; rasterio is the oracle."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import shapely
from rasterio.features import shapes

from lakecube.kernels.label import label_block
from lakecube.kernels.outline import corners_block, join_corners, trace_rings
from tests.kernels.blocks import CUTS, blocks, random_classes


def corners_of(labels, cut):
    """Corners of all windows: blocks of vertices, of which an image has one more than pixels."""
    wide = np.pad(labels, 1)
    parts = []
    rows, columns = ([*sizes[:-1], sizes[-1] + 1] for sizes in cut)
    for y, x in blocks(rows, columns):
        parts.append(corners_block(wide[y.start : y.stop + 1, x.start : x.stop + 1], y.start, x.start))
    return join_corners(parts)


def rings_of(labels):
    """(label, ring, is_hole) in pixel coordinates with y up."""
    corners = corners_of(labels, ((labels.shape[0],), (labels.shape[1],)))
    vertices, starts, is_hole = trace_rings(corners)
    assert sorted(vertices) == list(range(len(corners)))
    out = []
    for k, hole in enumerate(is_hole):
        some = corners[vertices[starts[k] : starts[k + 1]]]
        assert len(set(some["label"])) == 1
        out.append((int(some["label"][0]), shapely.LinearRing(np.stack([some["column"], -some["row"]], 1)), bool(hole)))
    return out


@pytest.mark.parametrize("water", [0.2, 0.4, 0.6, 0.8, 0.97])
def test_rings_are_simple_turn_the_right_way_and_enclose_the_pixels(water):
    for seed in range(8):
        labels = label_block(random_classes(seed, water=water), 0, 0, 53)
        area: dict[int, float] = {}
        for label, ring, is_hole in rings_of(labels):
            assert shapely.Polygon(ring).is_valid
            assert ring.is_ccw != is_hole
            area[label] = area.get(label, 0) + shapely.Polygon(ring).area * (-1 if is_hole else 1)
            turns = np.diff(np.asarray(ring.coords), axis=0)
            assert ((turns[:, 0] == 0) != (turns[:, 1] == 0)).all()
            assert ((turns[1:, 0] == 0) != (turns[:-1, 0] == 0)).all(), "no vertex lies on a straight edge"
        ids, pixels = np.unique(labels[labels > 0], return_counts=True)
        assert area == dict(zip(ids.tolist(), pixels.tolist(), strict=True))


@pytest.mark.parametrize("water", [0.3, 0.6, 0.9])
def test_the_outline_is_that_of_rasterio(water):
    labels = label_block(random_classes(3, water=water), 0, 0, 53)
    theirs: dict[int, list] = {}
    flip = (1, 0, 0, 0, -1, 0)
    for shape, label in shapes(labels.astype(np.int32), labels > 0, connectivity=4, transform=flip):
        theirs.setdefault(int(label), []).append(shapely.geometry.shape(shape))
    ours: dict[int, list] = {}
    for label, ring, is_hole in rings_of(labels):
        ours.setdefault(label, [[], []])[is_hole].append(shapely.Polygon(ring))
    assert ours.keys() == theirs.keys()
    for label, (shells, holes) in ours.items():
        region = functools.reduce(shapely.symmetric_difference, [*shells, *holes])  # islands lie in holes
        assert region.equals(shapely.union_all(theirs[label])), label


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(str(len(c)) for c in cut))
def test_windows_do_not_matter(cut):
    labels = label_block(random_classes(5, water=0.6), 0, 0, 53)
    whole = corners_of(labels, ((37,), (53,)))
    np.testing.assert_array_equal(corners_of(labels, cut), whole)


def test_a_ring_that_would_touch_itself_is_cut():
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]])  # closes at a corner around its middle
    rings = rings_of(labels)
    assert [(hole, len(ring.coords) - 1) for _, ring, hole in rings] == [(False, 6), (True, 4)]
    two = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]])
    assert [(hole, len(ring.coords) - 1) for _, ring, hole in rings_of(two)] == [(False, 4), (True, 4), (True, 4)]
    apart = np.array([[7, 0], [0, 7]])
    assert [hole for _, _, hole in rings_of(apart)] == [False, False]


def test_nothing_has_no_outline():
    vertices, starts, is_hole = trace_rings(join_corners([corners_block(np.zeros((4, 5), np.int64), 0, 0)]))
    assert vertices.size == is_hole.size == 0
    assert starts.tolist() == [0]
