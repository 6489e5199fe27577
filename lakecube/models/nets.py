"""The architectures by name: ``build("linknet50", bands=4)``."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import nn

from lakecube.errors import InvalidInputError
from lakecube.models.efficientnet import EfficientUNet
from lakecube.models.linknet import LinkNet
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


def build(architecture: str, bands: int, **options: Any) -> nn.Module:
    """A network with fresh weights.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    bands : int
        Of the input.
    **options
        Of the architecture: ``width`` of "unet", ``encoder`` and ``decoder`` of "efficientnet-unet",
        ``pooling``, ``hidden`` and ``dropout`` of "sapcnn", which names the class of a patch.

    Raises
    ------
    InvalidInputError
        An unknown architecture, option or number of bands.
    """
    if architecture not in ARCHITECTURES:
        near = get_close_matches(architecture, ARCHITECTURES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInputError(
            f"unknown architecture {architecture!r}{hint} There are {', '.join(map(repr, ARCHITECTURES))}"
        )
    try:
        return ARCHITECTURES[architecture](bands, **options)
    except TypeError as error:
        raise InvalidInputError(f"{architecture!r} does not take these options: {options} ({error})") from error
