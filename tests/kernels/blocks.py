"""An image cut into blocks, its lakes found block by block and joined, as the store and the lazy functions do."""

from __future__ import annotations

import itertools

import numpy as np

from lakecube.kernels.label import label_block, merge_pairs, relabel, touching_pairs

CUTS = [
    ((37,), (53,)),
    ((1,) * 37, (1,) * 53),
    ((7, 11, 13, 6), (53,)),
    ((37,), (23, 29, 1)),
    ((1, 35, 1), (2, 3, 5, 7, 11, 13, 12)),
]


def random_classes(seed, shape=(37, 53), water=0.45):
    weights = [1 - water, water * 0.6, water * 0.3, water * 0.1]
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), shape, p=weights)


def blocks(rows, columns):
    """Slices of every block, in a scrambled order, for no answer may depend on it."""
    spans = [list(itertools.pairwise(itertools.accumulate(sizes, initial=0))) for sizes in (rows, columns)]
    pairs = [(slice(*y), slice(*x)) for y in spans[0] for x in spans[1]]
    return [pairs[k] for k in np.random.default_rng(0).permutation(len(pairs))]


def label_in_blocks(classes, rows, columns, connectivity=2):
    """Labels of the blocks by themselves, and what they yield to."""
    labels = np.empty(classes.shape, np.int64)
    for y, x in blocks(rows, columns):
        labels[y, x] = label_block(classes[y, x], y.start, x.start, classes.shape[1], connectivity)
    lines = [(labels[k - 1 : k + 1], classes[k - 1 : k + 1]) for k in np.cumsum(rows)[:-1]]
    lines += [(labels[:, k - 1 : k + 1].T, classes[:, k - 1 : k + 1].T) for k in np.cumsum(columns)[:-1]]
    pairs = [touching_pairs(a[0], c[0], a[1], c[1], connectivity) for a, c in lines]
    return labels, *merge_pairs(pairs)


def label_whole(classes, rows, columns, connectivity=2):
    return relabel(*label_in_blocks(classes, rows, columns, connectivity))
