"""Small models on disk: what the tests of prediction are made of."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from lakecube.models import registry
from lakecube.models.spec import ModelSpec

BANDS = ("green", "nir", "swir16")
#: About the median of what the small model answers.
MIDDLE = 0.5


def spec(name: str = "tiny", **known) -> ModelSpec:
    """A U-Net of two channels at full size: stride 16."""
    bands = known.pop("bands", BANDS)
    defaults = {"architecture": "unet", "options": {"width": 2}, "scale": (4.0,) * len(bands),
                "offset": (-0.5,) * len(bands), "stride": 16, "radius": 76}  # fmt: skip
    return ModelSpec(name, bands=bands, **{**defaults, **known})


def write(folder: Path, name: str = "tiny", seed: int = 0, **known) -> Path:
    """A model with random weights whose answers are neither all 0 nor all 1."""
    import torch

    from lakecube.models.nets import build

    about = spec(name, **known)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(about.architecture, len(about.bands), **about.options)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(module.weight, 0.8, 1.6)
        net.head.weight.data *= 40
        with torch.no_grad():
            net.head.bias -= net.eval()(0.3 * torch.randn(1, len(about.bands), 64, 64)).median()
    path = folder / f"{name}.safetensors"
    registry.save(path, about, net.state_dict())
    return path


@functools.cache
def shared(**known) -> str:
    """The path of a small model, written once per process."""
    folder = Path(tempfile.mkdtemp(prefix="lakecube-models-"))
    return str(write(folder, **known))
