"""EfficientNet-Lite encoders and the EfficientNet-U-Net (the baseline Qayyum et al. 2020 of Cao et al.).

EfficientNet (Tan and Le 2019, arXiv:1905.11946) in its *Lite* form: without squeeze-and-excitation and with ReLU6, so
that every layer is local and a tile gives what the whole image gives. Parameters carry the names of the published
weights (``_conv_stem``, ``_blocks.3._depthwise_conv`` …); their padding is that of TensorFlow (one more at the end).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from lakecube.errors import InvalidInputError
from lakecube.models.padding import SegmentationNet
from lakecube.models.pieces import in_pieces
from lakecube.models.unet import UpBlock, decode

#: Width and depth of each size, relative to the base network.
SIZES: dict[str, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
#: Repeats, kernel, stride, expansion, output channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: at a stride of 2, one pixel more at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, channels, h / stride, w / stride) of features (n, inputs, h, w)."""
        if self.stride[0] > 1:
            low = (self.kernel_size[0] - self.stride[0]) // 2
            high = self.kernel_size[0] - self.stride[0] - low
            features = functional.pad(features, (low, high, low, high))
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if self.groups > 1 and features.device.type == "cpu" and learns:
            # oneDNN's gradients take two to four times as long in bfloat16 where the kernel is 5 or the stride 2.
            with torch.autocast("cpu", enabled=False):
                return super().forward(features.float()).to(features.dtype)
        return super().forward(features)


class InvertedBottleneck(nn.Module):
    """Expand (1×1), depthwise convolution, project (1×1); the way around where the size is kept."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv(inputs, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv(wide, outputs, 1)
        self._bn2 = _norm(outputs)
        self.skips = stride == 1 and inputs == outputs
        self.stride, self.halo = stride, 1 if stride > 1 else kernel // 2

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, channels, h / stride, w / stride) of features (n, inputs, h, w)."""
        return in_pieces(self._bottleneck, features, halo=self.halo, down=self.stride)

    def _bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        out = features
        if self.expands:
            out = functional.relu6(self._bn0(self._expand_conv(out)))
        out = functional.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + features if self.skips else out


class EfficientNetLite(nn.Module):
    """An encoder without its head: features at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Parameters
    ----------
    size : {"lite0", "lite1", "lite2"}
    bands : int
        Of the input, any number.
    """

    def __init__(self, size: str, bands: int) -> None:
        super().__init__()
        if size not in SIZES:
            raise InvalidInputError(f"unknown encoder {size!r}; there are {', '.join(map(repr, SIZES))}")
        width, depth = SIZES[size]
        self._conv_stem = SameConv(bands, 32, 3, 2)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList()
        self.kernels: list[tuple[int, int]] = []  # kernel, and the pixel size it looks at
        inputs, pixel, outputs, widths = 32, 2, list[int](), list[int]()
        for k, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            channels = _round_channels(channels * width)
            repeats = repeats if k in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
            for r in range(repeats):
                step = stride if r == 0 else 1
                if step == 2:
                    outputs.append(len(self._blocks) - 1)
                    widths.append(inputs)
                self._blocks.append(InvertedBottleneck(inputs, channels, kernel, step, expansion))
                self.kernels.append((kernel, pixel))
                inputs, pixel = channels, pixel * step
        self.outputs = (*outputs, len(self._blocks) - 1)
        self.channels = (*widths, inputs)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Five arrays of features, fine to coarse, of images (n, bands, h, w)."""
        below = in_pieces(self._begin, images, halo=2, down=2)
        features = [below]
        for k, block in enumerate(self._blocks[1:], 1):
            below = block(below)
            if k in self.outputs:
                features.append(below)
        return features

    def _begin(self, images: torch.Tensor) -> torch.Tensor:
        """The stem and the first block, at half the size."""
        below: torch.Tensor = self._blocks[0](functional.relu6(self._bn0(self._conv_stem(images))))
        return below


class EfficientUNet(SegmentationNet):
    """A U-Net whose encoder is an EfficientNet-Lite.

    Parameters
    ----------
    bands : int
        Of the input, any number.
    encoder : {"lite0", "lite1", "lite2"}
    decoder : sequence of 5 int
        Channels on the way back, at 1/16, 1/8, 1/4, 1/2 and 1.
    """

    stride = 32

    def __init__(self, bands: int, encoder: str = "lite0", decoder: tuple[int, ...] = (128, 64, 48, 32, 16)) -> None:
        super().__init__(bands)
        self.encoder = EfficientNetLite(encoder, bands)
        links = (*self.encoder.channels[-2::-1], 0)
        inputs = (self.encoder.channels[-1], *decoder[:-1])
        self.up = nn.ModuleList(UpBlock(i, link, o) for i, link, o in zip(inputs, links, decoder, strict=True))
        self.head = nn.Conv2d(decoder[-1], 1, 3, padding=1)
        down = 2 + sum((kernel // 2) * pixel + pixel for kernel, pixel in self.encoder.kernels)
        self.radius = down + sum(3 * pixel for pixel in (16, 8, 4, 2, 1)) + 1

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w); h and w are multiples of 32."""
        *links, features = self.encoder(images)
        return decode(features, [*reversed(links), None], self.up, self.head)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _round_channels(channels: float) -> int:
    """To a multiple of 8, never more than a tenth down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
