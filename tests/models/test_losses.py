"""The losses against slow references: the formulas of the papers, pixel by pixel."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")

from lakecube.models.losses import IGNORE, bce_dice, lovasz_hinge


def _slow_bce_dice(logits, target):
    pairs = [(1 / (1 + math.exp(-x)), y) for x, y in zip(logits, target, strict=True) if y != IGNORE]
    bce = -sum(math.log(p if y else 1 - p) for p, y in pairs) / len(pairs)
    both, sizes = sum(p * y for p, y in pairs), sum(p + y for p, y in pairs)
    return 0.5 * bce + 1 - (2 * both + 1) / (sizes + 1)


def _slow_lovasz(logits, target):
    """The Lovász extension of the Jaccard loss by its definition: each hinge, sorted, times what its pixel adds."""
    pairs = [
        (max(0.0, 1 - x * (1 if y else -1)), i, y)
        for i, (x, y) in enumerate(zip(logits, target, strict=True))
        if y != IGNORE
    ]
    truth = {i for _, i, y in pairs if y}

    def jaccard(wrong):
        return len(wrong) / len(truth | wrong) if truth | wrong else 0.0

    total, wrong = 0.0, set()
    for hinge, i, _ in sorted(pairs, reverse=True):
        total += hinge * (jaccard(wrong | {i}) - jaccard(wrong))
        wrong |= {i}
    return total


@pytest.mark.parametrize("seed", range(8))
def test_both_against_their_definitions(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 1, 4, 5, generator=g) * 2
    target = torch.randint(0, 2, (1, 1, 4, 5), generator=g).to(torch.uint8)
    target[torch.rand(target.shape, generator=g) < 0.2] = IGNORE
    flat, labels = logits.flatten().tolist(), target.flatten().tolist()
    assert bce_dice(logits, target).item() == pytest.approx(_slow_bce_dice(flat, labels), rel=1e-5)
    assert lovasz_hinge(logits, target).item() == pytest.approx(_slow_lovasz(flat, labels), rel=1e-5)


@pytest.mark.parametrize("loss", [bce_dice, lovasz_hinge])
@pytest.mark.parametrize("label", [0, 1, IGNORE])
def test_one_class_alone_and_none_at_all(loss, label):
    """Empty masks give a finite loss and gradient, what is not labelled none."""
    logits = torch.zeros(2, 1, 3, 3, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 3, 3), label, dtype=torch.uint8))
    value.backward()
    assert math.isfinite(value.item())
    assert torch.isfinite(logits.grad).all()
    assert (label == IGNORE) == (value.item() == 0)


@pytest.mark.parametrize("loss", [bce_dice, lovasz_hinge])
def test_what_is_not_labelled_takes_no_part(loss):
    logits = torch.tensor([[[[2.0, -1.0, 50.0]]]], requires_grad=True)
    target = torch.tensor([[[[1, 0, IGNORE]]]], dtype=torch.uint8)
    value = loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(loss(logits[..., :2], target[..., :2]).item())
    assert logits.grad[0, 0, 0, 2] == 0


def test_the_lovasz_hinge_of_signs_is_the_jaccard_loss():
    """At hinges of 0 and 1 (right beyond the margin, and on the line) it is the Jaccard loss itself."""
    for truth in itertools.product([0, 1], repeat=4):
        for right in itertools.product([0, 1], repeat=4):
            logits = torch.tensor([(2.0 if y else -2.0) if ok else 0.0 for y, ok in zip(truth, right, strict=True)])
            wrong = {i for i in range(4) if not right[i]}
            water = {i for i in range(4) if truth[i]}
            jaccard = len(wrong) / len(water | wrong) if water | wrong else 0.0
            got = lovasz_hinge(logits[None], torch.tensor([truth], dtype=torch.uint8))
            assert got.item() == pytest.approx(jaccard, abs=1e-6)


def test_perfect_logits_cost_nothing():
    target = torch.tensor([[[[1, 0], [0, 1]]]], dtype=torch.uint8)
    logits = torch.where(target == 1, 30.0, -30.0)
    assert bce_dice(logits, target).item() == pytest.approx(0, abs=1e-5)
    assert lovasz_hinge(logits, target).item() == 0
