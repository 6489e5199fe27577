"""The architectures by name: ``build("linknet50", 4)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from lakecube.errors import InvalidInputError
from lakecube.models.efficientnet import EfficientUNet
from lakecube.models.linknet import LinkNet
from lakecube.models.padding import SegmentationNet
from lakecube.models.sapcnn import SAPCNN
from lakecube.models.unet import UNet


def _linknet(encoder: str) -> Callable[..., nn.Module]:
    return lambda bands: LinkNet(bands, encoder)


#: Architecture name to what builds it from a number of bands and options.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "linknet18": _linknet("resnet18"),
    "linknet34": _linknet("resnet34"),
    "linknet50": _linknet("resnet50"),
    "unet": UNet,
    "efficientnet-unet": EfficientUNet,
    "sapcnn": SAPCNN,
}


def build(architecture: str, bands: int, /, **options: Any) -> nn.Module:
    """A network with fresh weights.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    bands : int
        Of the input.
    **options
        Of the architecture: ``width`` of "unet", ``encoder`` and ``decoder`` of "efficientnet-unet",
        ``pooling``, ``hidden`` and ``dropout`` of "sapcnn", which names the class of a patch. All but "sapcnn" take
        ``halvings``: how many halved copies of the image they look at as well, with the same weights.

    Raises
    ------
    InvalidInputError
        An unknown architecture, option or number of bands.
    """
    if architecture not in ARCHITECTURES:
        near = get_close_matches(architecture, ARCHITECTURES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise InvalidInputError(
            f"unknown architecture {architecture!r}{hint} there are {', '.join(map(repr, ARCHITECTURES))}"
        )
    try:
        halvings = options.pop("halvings", 0) if architecture != "sapcnn" else 0
        net = ARCHITECTURES[architecture](bands, **options)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch's, of sizes that no tensor has
        first = str(error).partition("\n")[0]
        raise InvalidInputError(f"{architecture!r} does not take these options: {options} ({first})") from error
    if isinstance(net, SegmentationNet):
        net.look_coarser(halvings)
    return net


def misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Which tensors of a state do not fit a network's own: the first three by name, and how many more; or nothing."""
    wrong = [f"{name} is missing" for name in own.keys() - given.keys()]
    wrong += [f"{name} has no place" for name in given.keys() - own.keys()]
    for name in own.keys() & given.keys():
        kinds = [(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for tensor in (given[name], own[name])]
        if kinds[0] != kinds[1]:
            wrong.append("{} is {}, not {}".format(name, *(f"{shape} {dtype}" for shape, dtype in kinds)))
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(sorted(wrong)[:3]) + more
