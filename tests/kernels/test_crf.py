"""The dense CRF against brute force over all pairs of pixels, and against pydensecrf2."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from lakecube.kernels import crf, crf_groups, permutohedral

#: Mean |ΔQ| between the lattice and the sum over all pairs, which the lattice approaches but does not reach.
LATTICE_ERROR = 0.01
RGB = np.float32(13)


def scene(rows, columns, seed=0, blur=4.0, texture=14.0):
    """A picture (3, y, x) of water and land with texture, a coarse and noisy probability, and the truth."""
    generator = np.random.default_rng(seed)
    height = ndimage.gaussian_filter(generator.normal(size=(rows, columns)), min(rows, columns) / 10)
    water = height > np.quantile(height, 0.7)
    waves = ndimage.gaussian_filter(generator.normal(size=(3, rows, columns)), (0, 2, 2))
    colour = np.where(water, np.reshape([50, 70, 80], (3, 1, 1)), np.reshape([90, 85, 75], (3, 1, 1)))
    picture = colour + texture * waves / waves.std() + generator.normal(0, 3, waves.shape)
    coarse = ndimage.gaussian_filter(water.astype(float), blur) * 0.7 + 0.15 + generator.normal(0, 0.08, water.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), np.clip(coarse, 0.03, 0.97).astype(np.float32), water


def brute_force(unary, guide, valid, potts, iterations):
    """Mean field by the sum over all pairs of pixels: unary (classes, y, x) of valid pixels."""
    y, x = np.nonzero(valid)
    place = np.stack([y, x], 1).astype(float)
    alike = np.concatenate([place / potts.sxy_bilateral, guide[:, valid].T], 1)

    def kernel(features):
        k = np.exp(-0.5 * ((features[:, None] - features[None]) ** 2).sum(-1))
        norm = 1 / np.sqrt(k.sum(1))
        return norm[:, None] * k * norm

    pull = potts.weight_gaussian * kernel(place / potts.sxy_gaussian) + potts.weight_bilateral * kernel(alike)
    energy = unary[:, valid].astype(float)
    q = softmax(-energy)
    for _ in range(iterations):
        q = softmax(-energy + q @ pull.T)
    return q


def softmax(logits):
    e = np.exp(logits - logits.max(0))
    return e / e.sum(0)


def pydensecrf2(picture, unary, iterations=5):
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    _, rows, columns = picture.shape
    model = densecrf.DenseCRF2D(columns, rows, len(unary))
    model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(len(unary), -1), np.float32))
    model.addPairwiseGaussian(sxy=3, compat=3)
    rgb = np.ascontiguousarray(picture.transpose(1, 2, 0))
    model.addPairwiseBilateral(sxy=80, srgb=13, rgbim=rgb, compat=10)
    return np.array(model.inference(iterations)).reshape(unary.shape)


def two(probability):
    return np.stack([-np.log1p(-probability), -np.log(probability)])


def run(picture, probability, valid=None, **options):
    valid = np.ones(probability.shape, bool) if valid is None else valid
    return crf.mean_field(crf.logit_of_probability(probability), picture / RGB, valid, **options)


# --- the lattice ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7])
def test_a_point_lies_between_its_vertices(d):
    points = np.random.default_rng(d).normal(0, 3, (300, d)).astype(np.float32)
    lattice = permutohedral.build(points)
    np.testing.assert_allclose(lattice.weights.sum(1), 1, atol=1e-5)
    assert (lattice.weights > -1e-5).all()
    assert lattice.vertices.min() == 1
    assert lattice.vertices.max() == lattice.neighbours.shape[2] - 1
    assert all(len(set(v)) == d + 1 for v in lattice.vertices)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_neighbours_are_mutual(d):
    points = np.random.default_rng(d).normal(0, 1, (500, d)).astype(np.float32)
    neighbours = permutohedral.build(points).neighbours
    for before, behind in neighbours:
        there = np.nonzero(before)[0]
        np.testing.assert_array_equal(behind[before[there]], there)
        assert (before > 0).sum() == (behind > 0).sum()


@pytest.mark.parametrize("d", [2, 3, 5])
def test_filter_is_nearly_a_gaussian_sum(d):
    generator = np.random.default_rng(d)
    points = generator.normal(0, 1, (800, d)).astype(np.float32)
    values = generator.random(800).astype(np.float32)
    kernel = np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(-1))
    lattice = permutohedral.build(points)
    found = lattice.filter(values) / lattice.filter(np.ones(800, np.float32))
    assert np.abs(found - kernel @ values / kernel.sum(1)).mean() < 0.01


def test_codes_beyond_the_radix_still_tell_vertices_apart():
    points = np.random.default_rng(0).normal(0, 1, (200, 3)).astype(np.float32)
    few = permutohedral.build(points)
    padded = np.concatenate([points, np.full((1, 3), 3e6, np.float32)])
    many = permutohedral.build(padded)
    pairs = np.unique(np.stack([few.vertices.ravel(), many.vertices[:200].ravel()]), axis=1)  # whatever their order
    assert pairs.shape[1] == few.vertices.max() == np.unique(pairs[1]).size


# --- the mean field ------------------------------------------------------------------------------------------------


POTTS = crf.Potts(2.0, 2.0, 6.0, 3.0)


@pytest.mark.parametrize("holes", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_against_all_pairs(seed, holes):
    picture, probability, _ = scene(20, 23, seed, blur=1.5)
    valid = np.random.default_rng(seed).random(probability.shape) >= holes
    expected = brute_force(two(probability), picture / RGB, valid, POTTS, 5)[1]
    found = run(picture, probability, valid, potts=POTTS)[valid]
    assert np.abs(found - expected).mean() < LATTICE_ERROR
    sure = np.abs(expected - 0.5) > 0.25
    assert sure.mean() > 0.6
    np.testing.assert_array_equal(found[sure] > 0.5, expected[sure] > 0.5)


def test_spatial_term_alone_is_exact():
    picture, probability, _ = scene(18, 31, 4, blur=1.5)
    potts = crf.Potts(2.0, 3.0, 6.0, 0.0)
    valid = np.random.default_rng(1).random(probability.shape) > 0.1
    expected = brute_force(two(probability), picture / RGB, valid, potts, 5)[1]
    assert np.abs(run(picture, probability, valid, potts=potts)[valid] - expected).max() < 2e-3


@pytest.mark.parametrize("classes", [3, 5])
def test_many_classes_against_all_pairs(classes):
    picture, _, _ = scene(18, 20, 7)
    unary = crf.unary_of_labels(np.random.default_rng(2).integers(0, classes, (18, 20)), classes, 0.6)
    valid = np.ones((18, 20), bool)
    expected = brute_force(unary, picture / RGB, valid, POTTS, 3)
    found = crf.mean_field_classes(unary, picture / RGB, valid, POTTS, 3)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    assert np.abs(found.reshape(classes, -1) - expected).mean() < 1.5 * LATTICE_ERROR


def test_one_channel_equals_two_classes():
    picture, probability, _ = scene(70, 90, 1)
    valid = np.random.default_rng(3).random(probability.shape) > 0.1
    both = crf.mean_field_classes(two(probability).astype(np.float32), picture / RGB, valid)
    np.testing.assert_allclose(run(picture, probability, valid)[valid], both[1][valid], atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_whole_images_against_pydensecrf2(seed):
    picture, probability, _ = scene(220, 250, seed)
    expected = pydensecrf2(picture, two(probability))[1]
    found = run(picture, probability)
    assert np.abs(found - expected).mean() <= 0.01
    assert ((found > 0.5) == (expected > 0.5)).mean() >= 0.999


def test_three_classes_against_pydensecrf2():
    picture, _, water = scene(150, 170, 5)
    labels = water + (picture[0] > 100)
    noisy = np.where(np.random.default_rng(0).random(labels.shape) < 0.2, (labels + 1) % 3, labels)
    unary = crf.unary_of_labels(noisy, 3, 0.6)
    expected = pydensecrf2(picture, unary)
    found = crf.mean_field_classes(unary, picture / RGB, np.ones(labels.shape, bool))
    assert np.abs(found - expected).mean() <= 0.01
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.999


def test_groups_change_little_against_every_pixel_alone():
    picture, probability, _ = scene(150, 160, 2)
    alone, together = run(picture, probability, group_guide=0), run(picture, probability)
    assert np.abs(alone - together).mean() < 2e-3
    assert (alone != together).any()


def test_outlines_come_nearer_to_the_truth():
    picture, probability, water = scene(160, 160, 3, texture=5.0)
    before, after = ((p > 0.5) == water for p in (probability, run(picture, probability)))
    assert (~after).sum() < 0.6 * (~before).sum()


# --- what lies around ----------------------------------------------------------------------------------------------

WIDE = crf.Potts(1.0, 1.0, 20.0, 6.0)


def middle_and_around(picture, probability, step):
    """The middle of a picture, and samples of the rest."""
    inner = slice(40, 100)
    every = slice(None, None, step)
    valid = np.ones(probability.shape, bool)
    valid[inner, inner] = False
    logit = crf.logit_of_probability(probability)
    guide = (picture / RGB).astype(np.float32)
    around = crf.Samples(logit[every, every], guide[:, every, every], valid[every, every], step, (0, 0))
    return (logit[inner, inner], guide[:, inner, inner], np.ones((60, 60), bool)), around


def test_every_pixel_around_gives_what_the_whole_gives():
    """Without the spatial kernel, which a picture has only of itself."""
    picture, probability, _ = scene(140, 140, 3)
    potts = WIDE._replace(weight_gaussian=0.0)
    middle, around = middle_and_around(picture, probability, 1)
    found = crf.mean_field(*middle, potts, origin=(40, 40), around=around)
    np.testing.assert_allclose(found, run(picture, probability, potts=potts)[40:100, 40:100], atol=1e-4)


@pytest.mark.parametrize("step", [2, 4])
def test_samples_speak_for_what_lies_around(step):
    picture, probability, _ = scene(140, 140, 3)
    whole = run(picture, probability, potts=WIDE)[40:100, 40:100]
    middle, around = middle_and_around(picture, probability, step)
    alone = crf.mean_field(*middle, WIDE, origin=(40, 40))
    found = crf.mean_field(*middle, WIDE, origin=(40, 40), around=around)
    assert np.abs(found - whole).mean() < 0.25 * np.abs(alone - whole).mean()


def test_classes_hear_what_lies_around():
    picture, probability, _ = scene(140, 140, 3)
    middle, around = middle_and_around(picture, probability, 2)
    binary = crf.mean_field(*middle, WIDE, origin=(40, 40), around=around)
    both = np.stack([np.logaddexp(0, middle[0]), np.logaddexp(0, -middle[0])])
    further = around._replace(unary=np.stack([np.logaddexp(0, around.unary), np.logaddexp(0, -around.unary)]))
    found = crf.mean_field_classes(both, *middle[1:], WIDE, origin=(40, 40), around=further)
    np.testing.assert_allclose(found[1], binary, atol=2e-3)


# --- groups, units, edges ------------------------------------------------------------------------------------------


def test_a_kernel_far_wider_than_the_picture_needs_no_more_memory():
    """Its cells would hold 4 · 10¹⁰ pixels."""
    picture, probability, _ = scene(16, 17, 5)
    wide, wider = (run(picture, probability, potts=crf.Potts(1.0, 1.0, sxy, 6.0)) for sxy in (1e4, 1e6))
    np.testing.assert_allclose(wider, wide, atol=1e-3)


def test_groups_hold_their_pixels():
    picture, probability, _ = scene(50, 61, 0)
    guide = (picture / RGB).astype(np.float32)
    valid = np.random.default_rng(0).random(probability.shape) > 0.3
    groups = crf_groups.group(guide, valid, 80.0, 16, 0.25, (5, 9))
    assert ((groups.ids > 0) == valid).all()
    np.testing.assert_array_equal(np.bincount(groups.ids[valid])[1:], groups.counts)
    y, x = np.indices(valid.shape)
    keys = np.stack([(y + 5) // 16, (x + 9) // 16, *np.floor(guide * 4).astype(int)])[:, valid]
    assert len(np.unique(np.vstack([keys, groups.ids[valid]]), axis=1).T) == len(np.unique(keys, axis=1).T)
    mean = np.bincount(groups.ids[valid], guide[1][valid])[1:] / groups.counts
    np.testing.assert_allclose(groups.features[:, 3], mean, rtol=1e-5)


def test_pixels_without_a_vote_do_not_matter():
    picture, probability, _ = scene(60, 70, 6)
    valid = np.random.default_rng(0).random(probability.shape) > 0.3
    other, wild = probability.copy(), (picture / RGB).astype(np.float32)
    other[~valid] = 0.999
    wild[:, ~valid] = np.nan
    logit = crf.logit_of_probability(other)
    found = crf.mean_field(logit, wild, valid)
    np.testing.assert_array_equal(found[valid], run(picture, probability, valid)[valid])
    np.testing.assert_allclose(found[~valid], 0.999, rtol=1e-5)


def test_far_from_the_edge_a_window_agrees_with_its_origin():
    """Cells and lattice count from the origin: the same place gives the same groups."""
    picture, _, _ = scene(64, 64, 8)
    valid = np.ones((64, 64), bool)
    whole = crf_groups.group((picture / RGB).astype(np.float32), valid, 80.0, 16, 0.25, (0, 0))
    part = crf_groups.group((picture[:, 16:, 16:] / RGB).astype(np.float32), valid[16:, 16:], 80.0, 16, 0.25, (16, 16))
    wanted = np.unique(whole.ids[16:, 16:])
    np.testing.assert_array_equal(whole.features[wanted - 1], part.features)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1)])
def test_small_images(shape):
    picture = np.full((2, *shape), 50, np.uint8)
    assert run(picture, np.full(shape, 0.7, np.float32)).shape == shape


def test_nothing_to_see_and_nothing_to_do():
    picture, probability, _ = scene(20, 20)
    np.testing.assert_allclose(run(picture, probability, iterations=0), probability, atol=1e-6)
    nobody = np.zeros((20, 20), bool)
    np.testing.assert_allclose(run(picture, probability, nobody), probability, atol=1e-6)


@pytest.mark.parametrize("far", [1e6, 1e12, 1e30, 3e38])
@pytest.mark.parametrize("bands", [1, 3, 12])
def test_a_guide_far_out_stays_within_the_lattice(far, bands):
    """Beyond float32's whole numbers a simplex' order of coordinates was wrong, and memory beyond its shares read."""
    rng = np.random.default_rng(0)
    guide = rng.normal(0, 1, (bands, 40, 50)).astype(np.float32) * np.float32(far / 10)
    guide[0, ::3] = -far
    valid = np.ones((40, 50), bool)
    logit = rng.normal(0, 2, (40, 50)).astype(np.float32)
    for potts in (crf.Potts(), crf.Potts(sxy_bilateral=1e-3)):
        q = crf.mean_field(logit, guide, valid, potts)
        assert np.isfinite(q).all()
        assert 0 <= q.min() <= q.max() <= 1


def test_inputs_are_not_written():
    picture, probability, _ = scene(30, 30)
    logit, guide = crf.logit_of_probability(probability), (picture / RGB).astype(np.float32)
    valid = np.ones((30, 30), bool)
    for array in (logit, guide, valid):
        array.flags.writeable = False
    twice = [crf.mean_field(logit, guide, valid) for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_exp_is_exact_enough():
    values = np.linspace(-80, 80, 4001, dtype=np.float32)
    found, whole = values.copy(), np.empty(values.size, np.int32)
    crf._exp_row(found, whole, whole.view(np.float32))
    np.testing.assert_allclose(found, np.exp(values.astype(float)), rtol=1e-5)


def test_unary_terms():
    np.testing.assert_allclose(crf.logit_of_probability(np.array([0.5, 0.8])), [0, np.log(4)], atol=1e-6)
    assert np.isfinite(crf.logit_of_probability(np.array([0.0, 1.0]))).all()
    assert np.isnan(crf.logit_of_probability(np.array([np.nan]))).all()
    p = np.exp(-crf.unary_of_labels(np.array([[0, 2, 9]]), 3, 0.7))
    np.testing.assert_allclose(p[:, 0, :].T, [[0.7, 0.15, 0.15], [0.15, 0.15, 0.7], [1 / 3] * 3], rtol=1e-6)


def test_flips_nearly_commute():
    """Lattice and cells have a phase, so a flipped image agrees only within what they approximate."""
    picture, probability, _ = scene(60, 64, 9)
    straight = run(picture, probability)
    for axes in itertools.chain([(0,), (1,)]):
        there = tuple(a + 1 for a in axes)
        flipped = np.flip(run(np.flip(picture, there), np.flip(probability, axes)), axes)
        assert np.abs(flipped - straight).mean() < 0.02
