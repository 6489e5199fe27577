"""Weights for tests: a network of chance, written once, that calls about half of what it sees water."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="lakecube-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def tiny_weights() -> Path:
    """The file of a patch classifier of red, green and blue; skips where torch is not installed."""
    torch = pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')
    from lakecube.models.nets import build
    from lakecube.models.registry import save
    from lakecube.models.spec import ModelSpec

    options = {"hidden": 8}
    spec = ModelSpec(
        name="tiny", architecture="sapcnn", bands=("red", "green", "blue"), scale=(4.0,) * 3, offset=(-1.5, -1.2, -1.0),
        stride=1, radius=14, patch=28, options=options, radiometry="display",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build("sapcnn", 3, **options)
        network.classifier[-1].weight.data *= 30
        flat = torch.rand(64, 1, 1, 1) + 0.1 * torch.randn(64, 3, 28, 28)
        with torch.no_grad():
            logits = network.eval()(4 * flat - torch.tensor([1.5, 1.2, 1.0]).reshape(3, 1, 1))
            network.classifier[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    path = _folder() / "tiny.safetensors"
    save(path, spec, network.state_dict())
    return path
