"""Labels of connected components: SciPy is the oracle, and no cutting of the image changes a bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lakecube.kernels.label import classify_extent, label_block, merge_pairs, relabel, touching_pairs
from tests.kernels.blocks import CUTS, label_whole, random_classes

LINES = np.array([0, 1, 2, 255], np.uint8)


def by_scipy(classes, connectivity):
    """Components of each class alone, named by 1 + their smallest flat index."""
    out = np.zeros(classes.shape, np.int64)
    flat = np.arange(classes.size).reshape(classes.shape)
    for value in (1, 2):
        found, n = ndimage.label(classes == value, ndimage.generate_binary_structure(2, connectivity))
        least = ndimage.minimum(flat, found, np.arange(1, n + 1)).astype(np.int64)
        out[found > 0] = 1 + least[found[found > 0] - 1]
    return out


@pytest.mark.parametrize("connectivity", [1, 2])
@pytest.mark.parametrize("water", [0.05, 0.3, 0.45, 0.6, 0.95, 1.0])
def test_components_are_those_of_scipy(water, connectivity):
    classes = random_classes(1, water=water)
    np.testing.assert_array_equal(label_block(classes, 0, 0, 53, connectivity), by_scipy(classes, connectivity))


@pytest.mark.parametrize("connectivity", [1, 2])
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(str(len(c)) for c in cut))
def test_no_cut_changes_a_label(cut, connectivity):
    for seed, water in enumerate((0.3, 0.5, 0.7, 0.9)):
        classes = random_classes(seed, water=water)
        whole = label_block(classes, 0, 0, 53, connectivity)
        np.testing.assert_array_equal(label_whole(classes, *cut, connectivity), whole)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cut_changes_a_label_of_any_image(data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    values = data.draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=81, max_size=81))
    classes = np.array(values, np.uint8)[: shape[0] * shape[1]].reshape(shape)
    cut = []
    for size in shape:
        edges = sorted(data.draw(st.sets(st.integers(1, size - 1)))) if size > 1 else []
        cut.append(np.diff([0, *edges, size]))
    np.testing.assert_array_equal(label_whole(classes, *cut), by_scipy(classes, 2))


def test_a_spiral_through_every_block_is_one_component():
    spiral = np.zeros((41, 41), np.uint8)
    for k in range(0, 20, 2):
        spiral[k, k : 41 - k] = spiral[k : 41 - k, 40 - k] = spiral[40 - k, k : 41 - k] = 1
        spiral[k + 2 : 41 - k, k] = 1
        spiral[k + 2, k : k + 3] = 1  # the way in
    labels = label_whole(spiral, (1,) * 41, (1,) * 41)
    np.testing.assert_array_equal(labels, spiral)


def test_classes_do_not_join():
    classes = np.array([[1, 1, 2, 2], [0, 2, 1, 0], [255, 255, 255, 1]], np.uint8)
    np.testing.assert_array_equal(
        label_block(classes, 0, 0, 4), [[1, 1, 3, 3], [0, 3, 1, 0], [0, 0, 0, 1]], "corners join, classes do not"
    )


def test_labels_are_places_in_the_image():
    classes = random_classes(3)
    labels = label_block(classes, 100, 1000, 100_000)
    inside = labels > 0
    np.testing.assert_array_equal(inside, (classes == 1) | (classes == 2))
    row, column = np.divmod(labels[inside] - 1, 100_000)
    assert (labels[inside] == labels[row - 100, column - 1000]).all()


def test_the_smallest_label_wins_whatever_the_order_of_the_pairs():
    rng = np.random.default_rng(0)
    pairs = rng.integers(1, 400, (300, 2))
    old, new = merge_pairs(pairs)
    for _ in range(5):
        parts = np.array_split(rng.permutation(pairs)[:, ::-1], 7)
        for a, b in zip((old, new), merge_pairs(parts), strict=True):
            np.testing.assert_array_equal(a, b)
    matrix = np.zeros((400, 400), bool)
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = True
    np.fill_diagonal(matrix, True)
    for _ in range(9):
        matrix = matrix @ matrix
    np.testing.assert_array_equal(relabel(np.arange(400), old, new), matrix.argmax(axis=1))


def test_no_pairs_change_nothing():
    old, new = merge_pairs([])
    assert old.size == new.size == 0
    labels = np.array([[0, 7, 7], [3, 0, 7]])
    np.testing.assert_array_equal(relabel(labels, old, new), labels)
    none = np.zeros(4, np.int64)
    assert touching_pairs(none, LINES, none, LINES).shape == (0, 2)


def test_what_was_given_is_not_written_to():
    classes = random_classes(5)
    classes.flags.writeable = False
    labels = label_block(classes, 0, 0, 53)
    labels.flags.writeable = False
    old, new = np.array([1]), np.array([9])
    assert relabel(labels, old, new) is not labels
    turned = np.asfortranarray(classes)
    np.testing.assert_array_equal(label_block(turned, 0, 0, 53), labels)


def test_extent_by_counts():
    wet = np.array([[0, 0, 1, 1, 2, 2, 3, 2]], np.uint32)
    clear = np.array([[0, 9, 1, 9, 21, 20, 30, 2]], np.uint32)
    expected = np.array([[255, 0, 2, 2, 2, 1, 1, 1]], np.uint8)
    found = classify_extent(wet, clear, min_frequency=0.1, min_wet=2)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    assert classify_extent(wet, clear, 0.0, 0)[0, 1] == 0, "never wet is no water, whatever the limits"
    assert classify_extent(wet, clear, 0.1, 1)[0, 2] == 1
