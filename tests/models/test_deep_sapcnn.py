"""The tables of `benchmarks.deep_sapcnn`, on three pictures of forty pixels."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import deep_sapcnn

pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')
pytest.importorskip("sklearn", reason='learning needs scikit-learn: pip install -c constraints.txt ".[forest]"')


@pytest.fixture
def folder(tmp_path):
    """Blue water in green land; bands on disk are blue, green, red."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in (1, 2, 10):
        water = np.add.outer(np.arange(40), np.arange(48)) < 30 + 2 * number
        colours = np.where(water[..., None], (140, 60, 30), (40, 120, 90)) + rng.integers(-20, 20, (40, 48, 3))
        Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "images" / f"{number:02d}.jpg", quality=95)
        Image.fromarray(water.astype(np.uint8)).save(tmp_path / "masks" / f"{number:02d}.png")
    return tmp_path


def test_accuracy_at_the_edge_is_of_pixels_near_it_missed_and_invented_apart():
    """An upright shore behind column 9: columns 6 to 13 lie within 3 px of the pixels beside it."""
    truth = np.zeros((20, 20), bool)
    truth[:, :10] = True
    mask = truth.copy()
    mask[:, 8:10] = False  # missed, near
    mask[:10, 13] = True  # invented, near
    mask[:, 15:] = True  # invented, far: is not counted
    assert deep_sapcnn._at_edge(mask, truth) == pytest.approx([1 - 2.5 / 8, 2 / 8, 0.5 / 8])
    assert np.isnan(deep_sapcnn._at_edge(mask, np.zeros_like(truth))).all()


def test_tables_are_made(folder, monkeypatch, capsys):
    monkeypatch.setattr(deep_sapcnn, "ROWS", {"the network": ("aslic", "max")})
    keep = folder / "kept"
    monkeypatch.setattr(sys, "argv", ["deep_sapcnn", str(folder), "--keep", str(keep), "--epochs", "1"])
    deep_sapcnn.main()
    found = json.loads((keep / "figures.json").read_text())
    assert found["truth by A-SLIC (bound)"]["IoU"] > 0.8
    assert found["RF of pixels"]["OA"] > 0.95
    assert found["SVM of pixels"]["IoU"] > 0.9
    row = found["the network"]
    assert row["EOA"] + row["EOE"] + row["ECE"] == pytest.approx(1)
    assert "SVM of pixels" in capsys.readouterr().out
    assert sorted(p.name for p in keep.iterdir()) == [
        "figures.json",
        "rf.npz",
        "sapcnn-max.safetensors",
        "svm.npz",
    ]
