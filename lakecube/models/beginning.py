"""What a training run begins with: a network with fresh or given weights, its bands and scaling; and the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lakecube.errors import InvalidInputError
from lakecube.models import registry
from lakecube.models.inputs import WHITE
from lakecube.models.nets import build, misfits
from lakecube.models.samples import Samples, spectral
from lakecube.models.spec import ModelSpec
from lakecube.models.tiles import Tiles
from lakecube.models.train import Request
from lakecube.models.trainer import Place

_ENCODER = "encoder."
Standard = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Beginning:
    """A network before its first step.

    Attributes
    ----------
    network : torch.nn.Module
        On the CPU.
    bands : tuple of str
        Its input, in order.
    options : dict
        Its architecture's.
    spec : ModelSpec or None
        Of the weights it starts with.
    """

    network: torch.nn.Module
    bands: tuple[str, ...]
    options: dict[str, Any]
    spec: ModelSpec | None = None

    def standard(self, tiles: Tiles) -> Standard:
        """Scale and offset of every band: those of the start, where it knows the band, else from the tiles.

        Values of the other kind are taken as the predictor takes them: reflectance as if a picture were white at 0.3.
        """
        scale = 1 / np.where(tiles.deviation > 0, tiles.deviation, 1)
        offset = -tiles.mean * scale
        if self.spec is not None:
            n, display = len(self.spec.bands), tiles.radiometry == "display"
            factor = 1.0 if self.spec.radiometry == tiles.radiometry else WHITE if display else 1 / WHITE
            scale[:n], offset[:n] = np.multiply(self.spec.scale, factor), self.spec.offset
        return scale, offset

    def described(self, tile: int, **told: Any) -> ModelSpec:
        """The spec of the network, whatever its weights; a network that is not local is defined on its tile."""
        network: Any = self.network
        if self.spec is not None:
            told["training"] += f" Began with {self.spec.name}: {self.spec.training}"
        return ModelSpec(
            bands=self.bands, options=self.options, stride=network.stride, radius=network.radius,
            window=None if network.local else tile, **told,
        )  # fmt: skip


def beginning(architecture: str, samples: Samples, request: Request) -> Beginning:
    """Build the network, with the weights of `start` if there is one.

    Raises
    ------
    InvalidInputError
        The weights are of another architecture or other bands, or a tensor does not fit.
    """
    start, encoder_only, seed = request.start, request.encoder_only, request.seed
    if start is None:
        if encoder_only:
            raise InvalidInputError("encoder_only=True needs start=: the weights whose encoder is taken")
        return Beginning(_built(architecture, samples.bands, request.options, seed), samples.bands, request.options)
    spec, state = registry.load(start)
    same = spec.architecture == architecture
    if not same and not encoder_only:
        raise InvalidInputError(
            f"{start} is a {spec.architecture}, not a {architecture}: train that, or take encoder_only=True"
        )
    unknown = [band for band in spec.bands if band not in samples.bands]
    if unknown:
        raise InvalidInputError(
            f"{start} takes the bands {', '.join(spec.bands)}; the samples have no {', '.join(unknown)}"
        )
    bands = (*spec.bands, *spectral([band for band in samples.bands if band not in spec.bands]))
    chosen = {**(spec.options if same else {}), **request.options}
    with torch.device("meta"):  # takes no memory, however great the network that a file asks for
        plan = build(architecture, len(bands), **chosen)
    fitting = _fitting(plan, state, len(spec.bands), str(start), encoder_only)
    network = _built(architecture, bands, chosen, seed)
    network.load_state_dict({**network.state_dict(), **fitting})
    return Beginning(network, bands, chosen, spec)


def place_of(device: str, precision: str) -> Place:
    """Device and number format; ``"auto"`` takes a GPU if there is one, and there 16 bits."""
    if precision not in ("auto", "float32", "bfloat16", "float16"):
        raise InvalidInputError(f"precision={precision!r}: use 'auto', 'float32', 'bfloat16' or 'float16'")
    try:
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InvalidInputError(f"device={device!r} cannot be used here: {first}") from error
    on_gpu = chosen.type == "cuda"
    if precision == "auto":
        precision = "float32" if not on_gpu else "bfloat16" if torch.cuda.is_bf16_supported(False) else "float16"
    if precision == "float16" and not on_gpu:
        raise InvalidInputError("precision='float16' is for GPUs; on a CPU use 'bfloat16' or 'float32'")
    return Place(chosen, precision, readers=8 if on_gpu else 1)


def _built(architecture: str, bands: Sequence[str], options: Mapping[str, Any], seed: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture, len(bands), **options)


def _fitting(
    network: torch.nn.Module, state: Mapping[str, torch.Tensor], known: int, start: str, encoder_only: bool
) -> dict[str, torch.Tensor]:
    """Weights as the network takes them; every tensor must find its place, of the encoder or of all."""
    prefix = _ENCODER if encoder_only else ""
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(prefix)}
    given = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    for name in own.keys() & given.keys():
        given[name] = _widened(given[name], own[name], known)
    wrong = misfits(own, given) if own else "the network has none"
    if wrong:
        what = "encoder" if encoder_only else "weights"
        raise InvalidInputError(f"the {what} of {start} do not fit the network: {wrong}")
    return given


def _widened(given: torch.Tensor, own: torch.Tensor, known: int) -> torch.Tensor:
    """The first convolution's weights with zeros for bands it does not know, so that at first these change nothing."""
    if given.ndim != 4 or given.shape == own.shape or given.shape[1] != known or own.shape[1] < known:
        return given
    out = torch.zeros(given.shape[0], own.shape[1], *given.shape[2:])
    out[:, :known] = given
    return out
