"""Samples of labelled superpixels, and the preset that learns from them."""

from __future__ import annotations

import numpy as np
import pytest

from lakecube.errors import InvalidInputError

torch = pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')

from lakecube.models import sapcnn_train
from lakecube.models.sapcnn import SAPCNN


def easy(n=96, seed=0):
    """Smooth patches are water."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.uint8)
    patches = rng.normal(size=(n, 1, 28, 28)) * np.where(labels, 0.1, 1.0)[:, None, None, None]
    return patches.astype(np.float32), labels


def test_samples_are_labelled_by_majority():
    labels = np.arange(6).reshape(1, 6).repeat(4, 0).repeat(5, 1).astype(np.int64)
    labels[:, :5] = -1
    truth = np.zeros((4, 30), np.uint8)
    truth[:3, 5:10] = 1  # water, 15 of 20
    truth[:2, 10:15] = 1  # undecided
    truth[:, 15:20] = 255  # unknown
    truth[1:, 20:25], truth[0, 20:22] = 255, 1  # three of the five that are known are land
    bands = np.random.default_rng(0).random((2, 4, 30), np.float32)
    bands[:, 0, 7] = np.nan
    found = sapcnn_train.samples(bands, labels, truth)
    assert found.classes.tolist() == [1, 0, 0]
    assert found.patches.shape == (3, 2, 28, 28)
    assert np.isfinite(found.patches).all()
    assert found.patches[0, :, 14, 14].tolist() == bands[:, 2, 7].tolist()


def test_it_learns():
    patches, labels = easy()
    state, log = sapcnn_train.fit(patches, labels, validation=easy(32, 1), hidden=8, epochs=3)
    assert min(row["validation_loss"] for row in log) < 0.6
    network = SAPCNN(1, hidden=8)
    network.load_state_dict(state)
    best = min(row["validation_loss"] for row in log)
    assert sapcnn_train.evaluate(network, *easy(32, 1))[0] == pytest.approx(best, rel=1e-5)
    assert all(v.dtype == torch.float32 and not v.is_cuda for v in state.values())


def test_a_seed_gives_the_same_bits():
    patches, labels = easy(32)
    first, second, other = (
        sapcnn_train.fit(patches, labels, hidden=4, epochs=1, seed=seed, jitter=0.1, dark=-1.0)[0] for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_rate_falls_on_a_plateau(monkeypatch):
    """The error never falls: three rates of three epochs each, and the state of the first epoch is kept."""
    monkeypatch.setattr(sapcnn_train, "evaluate", lambda network, x, y, **known: (1.0, 0.5))
    monkeypatch.setattr(sapcnn_train, "_epoch", lambda *known: (0.5, 0.5))
    patches, labels = easy(8)
    told = []
    _, log = sapcnn_train.fit(patches, labels, validation=(patches, labels), hidden=2, progress=told.append)
    np.testing.assert_allclose([row["rate"] for row in log], [0.01] * 4 + [1e-3] * 3 + [1e-4] * 3)
    assert told == log


def test_patches_are_turned_in_all_eight_ways():
    x = torch.arange(8 * 9.0).reshape(8, 1, 3, 3)
    turned = sapcnn_train._varied(x, np.random.default_rng(0), 0.0, 0.0)
    kinds = {tuple((after - before.min()).flatten().tolist()) for before, after in zip(x, turned, strict=True)}
    assert len(kinds) == 8


@pytest.mark.parametrize(
    ("change", "match"),
    [({"labels": np.zeros(8)}, "both"), ({"labels": np.ones(3)}, "label for each"),
     ({"patches": np.full((8, 1, 28, 28), np.nan)}, "NaN")],
)  # fmt: skip
def test_mistakes_are_named(change, match):
    patches, _ = easy(8)
    given = {"patches": patches, "labels": np.array([0, 1] * 4), **change}
    with pytest.raises(InvalidInputError, match=match):
        sapcnn_train.fit(given["patches"], given["labels"], epochs=1)


def test_a_loss_that_is_no_number_stops_the_run(monkeypatch):
    patches, labels = easy(8)
    monkeypatch.setattr(sapcnn_train, "_epoch", lambda *_: (float("nan"), 0.5))
    with pytest.raises(InvalidInputError, match="diverged"):
        sapcnn_train.fit(patches, labels, epochs=1, hidden=4)


def test_pixels_must_agree():
    with pytest.raises(InvalidInputError, match="same pixels"):
        sapcnn_train.samples(np.zeros((1, 3, 3), np.float32), np.zeros((3, 4), np.int64), np.zeros((3, 3), np.uint8))


def test_the_optimiser_is_that_of_the_paper(monkeypatch):
    seen, sgd = [], torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *given, **named: seen.append(sgd(*given, **named)) or seen[-1])
    patches = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    sapcnn_train.fit(patches, np.array([0, 1, 0, 1]), hidden=2, epochs=1)
    assert {name: seen[0].param_groups[0][name] for name in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.01, "momentum": 0.8, "weight_decay": 1e-4,
    }  # fmt: skip
    assert sapcnn_train.BATCH == 128
