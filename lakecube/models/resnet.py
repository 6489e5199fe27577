"""ResNet encoders (He et al. 2016, 10.1109/CVPR.2016.90), as in Table 3 of Cao et al.: stages C1 to C5.

Parameters carry the usual names (``conv1``, ``bn1``, ``layer1.0.conv1`` …), so that weights trained elsewhere fit.
"""

from __future__ import annotations

import torch
from torch import nn

from lakecube.errors import InvalidInputError

#: Blocks per stage, and whether they are bottlenecks (1×1, 3×3, 1×1).
DEPTHS: dict[str, tuple[tuple[int, int, int, int], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and the way around them."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, channels, h / stride, w / stride) of features (n, inputs, h, w)."""
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (features if self.downsample is None else self.downsample(features)))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions and the way around them; the stride is the 3×3's."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _projection(inputs, 4 * width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, channels, h / stride, w / stride) of features (n, inputs, h, w)."""
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (features if self.downsample is None else self.downsample(features)))


class ResNet(nn.Module):
    """An encoder without its head: features at 1/2 (before the max pooling), 1/4, 1/8, 1/16 and 1/32.

    Parameters
    ----------
    depth : {"resnet18", "resnet34", "resnet50"}
    bands : int
        Of the input, any number.
    """

    def __init__(self, depth: str, bands: int) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise InvalidInputError(f"unknown encoder {depth!r}; there are {', '.join(map(repr, DEPTHS))}")
        blocks, bottleneck = DEPTHS[depth]
        block = Bottleneck if bottleneck else BasicBlock
        self.conv1 = nn.Conv2d(bands, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = (64, 128, 256, 512)
        self.channels = (64, *(w * block.expansion for w in widths))
        inputs = (64, *self.channels[1:])
        for k, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            first = block(inputs[k], width, 1 if k == 0 else 2)
            rest = [block(self.channels[k + 1], width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{k + 1}", nn.Sequential(first, *rest))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Five arrays of features, fine to coarse, of images (n, bands, h, w)."""
        features = [self.relu(self.bn1(self.conv1(images)))]
        below = self.maxpool(features[0])
        for k in range(1, 5):
            below = getattr(self, f"layer{k}")(below)
            features.append(below)
        return features


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
