"""Centres of regions and the patches around them, against slow references."""

import numpy as np
import pytest

from lakecube.kernels.patches import gather, regions_in


def made(shape=(23, 31), seed=0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(shape[0])[:, None] // 6) * 100 + np.arange(shape[1]) // 7
    labels = np.where(rng.random(shape) < 0.1, -1, labels + rng.integers(0, 2, shape) * 1000).astype(np.int64)
    bands = rng.random((2, *shape), np.float32)
    bands[:, rng.random(shape) < 0.1] = np.nan
    return labels, bands


def test_regions_are_those_of_numpy():
    labels, bands = made()
    window = slice(5, 14), slice(8, 20)
    found = regions_in(labels, bands, window)
    inside = labels[window]
    assert set(found.labels.tolist()) == set(inside[inside >= 0].tolist())
    np.testing.assert_array_equal(found.number >= 0, inside >= 0)
    np.testing.assert_array_equal(found.labels[found.number[inside >= 0]], inside[inside >= 0])
    for k, label in enumerate(found.labels):
        rows, columns = np.nonzero(labels == label)
        assert tuple(found.centres[k]) == (np.floor(rows.mean() + 0.5), np.floor(columns.mean() + 0.5))
        np.testing.assert_allclose(found.means[k], np.nanmean(bands[:, labels == label], axis=1), rtol=1e-6)


def test_nothing_in_the_window():
    labels, bands = made()
    labels[:5, :5] = -1
    found = regions_in(labels, bands, (slice(0, 5), slice(0, 5)))
    assert found.labels.size == 0
    assert gather(bands, found.centres, found.means, 28).shape == (0, 2, 28, 28)


def test_means_of_what_is_all_unknown_are_zero():
    labels = np.zeros((3, 3), np.int64)
    found = regions_in(labels, np.full((1, 3, 3), np.nan, np.float32), (slice(0, 3), slice(0, 3)))
    np.testing.assert_array_equal(found.means, 0)


@pytest.mark.parametrize("shape", [(40, 50), (9, 50), (1, 3)])
def test_patches_are_cut_from_the_mirrored_picture(shape):
    rng = np.random.default_rng(1)
    bands = rng.random((3, *shape), np.float32)
    bands[:, rng.random(shape) < 0.2] = np.nan
    centres = np.stack([rng.integers(0, n, 12) for n in shape], axis=1)
    fill = rng.random((12, 3), np.float32)
    padded = np.pad(bands, [(0, 0), (28, 28), (28, 28)], mode="symmetric")
    patches = gather(bands, centres, fill, 28)
    for patch, (i, j), value in zip(patches, centres, fill, strict=True):
        expected = padded[:, i + 14 : i + 42, j + 14 : j + 42]
        np.testing.assert_array_equal(patch, np.where(np.isnan(expected), value[:, None, None], expected))


def test_a_window_with_a_halo_tells_the_same():
    labels, bands = made((60, 70))
    whole = regions_in(labels, bands, (slice(20, 35), slice(25, 45)))
    cut = regions_in(labels[10:55], np.ascontiguousarray(bands[:, 10:55]), (slice(10, 25), slice(25, 45)))
    np.testing.assert_array_equal(whole.labels, cut.labels)
    np.testing.assert_array_equal(whole.number, cut.number)
    np.testing.assert_array_equal(whole.centres, cut.centres + np.array([10, 0]))
    np.testing.assert_array_equal(whole.means, cut.means)
    np.testing.assert_array_equal(
        gather(bands, whole.centres, whole.means, 8), gather(bands[:, 10:55].copy(), cut.centres, cut.means, 8)
    )
