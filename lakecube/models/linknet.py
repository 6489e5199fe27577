"""LinkNet (Chaurasia and Culurciello 2017, 10.1109/VCIP.2017.8305148) and LinkNet50 (Cao et al., Figure 4)."""

from __future__ import annotations

import torch
from torch import nn

from lakecube.models.padding import SegmentationNet, conv_bn_relu
from lakecube.models.pieces import in_pieces
from lakecube.models.resnet import DEPTHS, ResNet


class LinkDecoder(nn.Module):
    """1×1 convolution to a quarter of the channels, 3×3 transposed convolution to twice the size, 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = inputs // 4
        self.reduce = conv_bn_relu(inputs, narrow, 1)
        self.raise_ = nn.Sequential(
            nn.ConvTranspose2d(narrow, narrow, 3, 2, 1, output_padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
        )
        self.widen = conv_bn_relu(narrow, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, outputs, 2h, 2w) of features (n, inputs, h, w)."""
        raised: torch.Tensor = self.widen(self.raise_(self.reduce(features)))
        return raised


class LinkNet(SegmentationNet):
    """An encoder of five stages; decoders whose output is *added* to the encoder's features of the same size.

    Parameters
    ----------
    bands : int
        Of the input, any number.
    encoder : {"resnet18", "resnet34", "resnet50"}
        ``"resnet50"`` makes LinkNet50: 256, 512, 1024 and 2048 channels at 1/4 to 1/32.

    Notes
    -----
    The paper's figure ends in a 4×4 transposed convolution that halves the channels and doubles the size, then 3×3
    convolutions to one channel.
    """

    stride = 32

    def __init__(self, bands: int, encoder: str = "resnet18") -> None:
        super().__init__(bands)
        self.encoder = ResNet(encoder, bands)
        c1, c2, c3, c4, c5 = self.encoder.channels
        self.decoders = nn.ModuleList(
            [LinkDecoder(c5, c4), LinkDecoder(c4, c3), LinkDecoder(c3, c2), LinkDecoder(c2, c1)]
        )
        self.head = nn.Sequential(
            nn.ConvTranspose2d(c1, c1 // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(c1 // 2),
            nn.ReLU(inplace=True),
            conv_bn_relu(c1 // 2, c1 // 2),
            nn.Conv2d(c1 // 2, 1, 3, padding=1),
        )
        self.radius = _radius(DEPTHS[encoder][0], bottleneck=DEPTHS[encoder][1])

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w); h and w are multiples of 32."""
        _, c2, c3, c4, c5 = self.encoder(images)
        features = c5
        for decoder, link in zip(self.decoders, (c4, c3, c2), strict=False):
            features = decoder(features) + link
        return in_pieces(lambda c1: self.head(self.decoders[3](c1)), features, halo=2, up=4)


def _radius(blocks: tuple[int, int, int, int], *, bottleneck: bool) -> int:
    """A bound of the receptive field's radius: each kernel's reach times its pixel size, and the way back."""
    reach = 3 + 2  # conv1 at 1, the pooling at 2 px
    for k, count in enumerate(blocks):
        size = 4 << k
        threes = count * (1 if bottleneck else 2)
        reach += threes * size - (size // 2 if k else 0)  # the stage's first convolution still looks at the finer size
    return reach + sum((32, 16, 8, 4, 2)) + 2 + 2
