"""SAPCNN and its pooling, against slow references."""

from __future__ import annotations

import numpy as np
import pytest

from lakecube.errors import InvalidInputError

torch = pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')

from lakecube.models import sapcnn


def pooled_slowly(values: np.ndarray, kind: str) -> np.ndarray:
    """One cell at a time, in the words of the paper."""
    n, channels, rows, columns = values.shape
    out = np.empty((n, channels, rows // 2, columns // 2))
    for index in np.ndindex(out.shape):
        i, j = 2 * index[2], 2 * index[3]
        cell = sorted(values[index[0], index[1], i : i + 2, j : j + 2].ravel().tolist())
        most, others = cell[-1], cell[:-1]
        a = sum(others) / len(others)
        u = a * (most - a) / most**2 if most > 0 else 0.0
        mean = sum(cell) / len(cell)
        out[index] = {"self-adaptive": u * mean + (1 - u) * most, "max": most, "average": mean}[kind]
    return out


@pytest.mark.parametrize("kind", sapcnn.POOLINGS)
@pytest.mark.parametrize("shape", [(2, 3, 6, 4), (1, 1, 7, 5)])
def test_pooling_is_that_of_the_paper(kind, shape):
    values = np.maximum(np.random.default_rng(0).normal(size=shape), 0)
    pooled = sapcnn.POOLINGS[kind](2)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(pooled, pooled_slowly(values, kind), rtol=1e-12, atol=1e-15)


def test_self_adaptive_pooling_lies_between_mean_and_maximum():
    values = torch.rand(4, 8, 12, 12, generator=torch.Generator().manual_seed(1))
    pooled = sapcnn.SelfAdaptivePool2d()(values)
    most = torch.nn.functional.max_pool2d(values, 2)
    mean = torch.nn.functional.avg_pool2d(values, 2)
    assert ((pooled >= mean) & (pooled <= most)).all()
    assert (pooled < most).any()
    assert (pooled >= most - (most - mean) / 4 - 1e-6).all()  # u is at most 1/4


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], 0.0),
        ([0.0, 0.0, 0.0, 8.0], 8.0),  # a lonely maximum is kept whole
        ([3.0, 3.0, 3.0, 3.0], 3.0),
        ([1.0, 1.0, 1.0, 2.0], 0.25 * 1.25 + 0.75 * 2.0),
        ([-4.0, -3.0, -2.0, -1.0], -1.0),
    ],
)
def test_cells_by_hand(cell, expected):
    values = torch.tensor(cell).reshape(1, 1, 2, 2).requires_grad_()
    pooled = sapcnn.SelfAdaptivePool2d()(values)
    assert pooled.item() == pytest.approx(expected)
    pooled.backward()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-30, 1e-20, 1e30])
def test_gradients_stay_finite(size):
    values = (torch.tensor([[1.0, 0.5], [0.25, 0.0]]) * size).reshape(1, 1, 2, 2).requires_grad_()
    sapcnn.SelfAdaptivePool2d()(values).backward()
    assert torch.isfinite(values.grad).all()


def test_gradients_are_those_of_the_formula():
    values = torch.from_numpy(np.random.default_rng(2).permutation(64) / 64 + 0.01).reshape(1, 4, 4, 4)
    assert torch.autograd.gradcheck(sapcnn.SelfAdaptivePool2d(), values.requires_grad_())


@pytest.mark.parametrize("bands", [1, 3, 12])
@pytest.mark.parametrize("pooling", sapcnn.POOLINGS)
def test_architecture_is_that_of_the_paper(bands, pooling):
    network = sapcnn.SAPCNN(bands, pooling=pooling, hidden=8)
    shapes = []
    for layer in network.features:
        layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    logits = network(torch.rand(2, bands, 28, 28))
    assert logits.shape == (2, 2)
    assert shapes[::3] == [(128, 24, 24), (256, 8, 8)]
    assert shapes[2::3] == [(128, 12, 12), (256, 4, 4)]
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("shape", [(1, 4, 28, 28), (1, 3, 27, 28), (3, 28, 28)])
def test_other_patches_are_refused(shape):
    with pytest.raises(InvalidInputError, match=r"\(n, 3, 28, 28\)"):
        sapcnn.SAPCNN(3, hidden=2)(torch.zeros(shape))


def test_mistakes_are_named():
    with pytest.raises(InvalidInputError, match="median"):
        sapcnn.SAPCNN(3, pooling="median")
    with pytest.raises(InvalidInputError, match="at least 1"):
        sapcnn.SAPCNN(0)


def test_first_filters_are_principal_components():
    rng = np.random.default_rng(3)
    patches = rng.normal(size=(6, 2, 28, 28)).cumsum(axis=3).astype(np.float32)
    pieces = np.stack([
        patch[:, i : i + 5, j : j + 5].ravel() for patch in patches for i in range(24) for j in range(24)
    ])  # fmt: skip
    pieces = pieces - pieces.mean(axis=1, keepdims=True)
    filters = sapcnn.pca_filters(patches, 60).reshape(60, 50).astype(np.float64)
    variance = ((pieces @ filters[:49].T) ** 2).mean(axis=0)
    assert (np.diff(variance) <= 1e-3 * variance[0]).all()
    np.testing.assert_allclose(filters[:49] @ filters[:49].T, np.eye(49), atol=1e-5)
    kept = pieces @ filters[:10].T @ filters[:10]
    best = np.linalg.norm(np.linalg.svd(pieces, compute_uv=False)[10:])
    assert np.linalg.norm(pieces - kept) == pytest.approx(best, rel=1e-5)
    np.testing.assert_array_equal(filters[50:], -filters[:10])


def test_more_filters_than_components_keep_their_chance():
    network = sapcnn.SAPCNN(1, hidden=2)
    before = network.features[0].weight.detach().clone()
    network.initialise(np.random.default_rng(4).random((3, 1, 28, 28), np.float32))
    weight = network.features[0].weight.detach()
    np.testing.assert_array_equal(weight[50:], before[50:])
    assert (weight[:50] != before[:50]).any()


def test_a_patch_has_the_same_bits_in_every_place_of_a_batch():
    """What makes the class of a superpixel independent of chunks: batches of one size, whatever stands beside."""
    network = sapcnn.SAPCNN(3, hidden=32).eval()
    patches = torch.rand(32, 3, 28, 28, generator=torch.Generator().manual_seed(5))
    order = torch.randperm(32, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        straight = torch.cat([network(patches[k : k + 16]) for k in (0, 16)])
        mixed = torch.cat([network(patches[order][k : k + 16]) for k in (0, 16)])
    assert torch.equal(straight[order], mixed)
