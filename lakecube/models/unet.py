"""U-Net (Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28): the plain one, padded, with batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lakecube.models.padding import SegmentationNet, conv_bn_relu, double
from lakecube.models.pieces import in_pieces


class UpBlock(nn.Module):
    """Twice the size, joined with the encoder's features, and two 3×3 convolutions."""

    def __init__(self, inputs: int, link: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv_bn_relu(inputs + link, outputs), conv_bn_relu(outputs, outputs))

    def forward(self, features: torch.Tensor, link: torch.Tensor | None = None) -> torch.Tensor:
        """Features (n, outputs, 2h, 2w) of features (n, inputs, h, w) and, if given, a link (n, link, 2h, 2w)."""
        features = double(features)
        out: torch.Tensor = self.convs(features if link is None else torch.cat([features, link], dim=1))
        return out


class UNet(SegmentationNet):
    """Four halvings and the way back, features joined.

    Parameters
    ----------
    bands : int
        Of the input, any number.
    width : int
        Channels at full size, doubled at each halving; 64 is the published network.
    """

    stride = 16
    radius = 4 + sum(2 * 2 * size for size in (2, 4, 8)) + 2 * 16 + sum((1, 2, 4, 8))

    def __init__(self, bands: int, width: int = 64) -> None:
        super().__init__(bands)
        widths = [width << k for k in range(5)]
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(a, b), conv_bn_relu(b, b))
            for a, b in zip([bands, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(UpBlock(widths[k + 1], widths[k], widths[k]) for k in reversed(range(4)))
        self.head = nn.Conv2d(width, 1, 1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w); h and w are multiples of 16."""
        links: list[torch.Tensor] = []
        features = images
        for k, down in enumerate(self.down):
            features = in_pieces(down, features if k == 0 else self.pool(features), halo=2)
            links.append(features)
        return decode(features, links[-2::-1], self.up, self.head)


def decode(
    features: torch.Tensor, links: Sequence[torch.Tensor | None], blocks: nn.ModuleList, head: nn.Module
) -> torch.Tensor:
    """The way back: each block with the features of its size, coarse to fine, and the head (a kernel of at most 3)."""
    *first, last = blocks
    for block, link in zip(first, links[:-1], strict=True):
        features = in_pieces(block, features, link, halo=1, up=2)
    return in_pieces(lambda *given: head(last(*given)), features, links[-1], halo=2, up=2)
