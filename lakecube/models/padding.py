"""What every segmentation network here has in common: any size in, logits of that size out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lakecube.errors import InvalidInputError


class SegmentationNet(nn.Module):
    """A network from (n, bands, h, w) to logits (n, 1, h, w); subclasses give `logits` at multiples of their stride."""

    #: The sides of what `logits` gets are multiples of this, px.
    stride: int
    #: No output pixel depends on an input pixel farther than this, px; see `receptive_radius`.
    radius: int
    #: False: some layer looks at the whole input (pooling to one pixel), so that the result depends on its extent.
    local: bool = True

    def __init__(self, bands: int) -> None:
        super().__init__()
        if bands < 1:
            raise InvalidInputError(f"a network needs at least one band; got {bands}")
        self.bands = bands

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w) of images (n, bands, h, w): padded with the edge to the stride, and cropped."""
        if images.ndim != 4 or images.shape[1] != self.bands:
            raise InvalidInputError(
                f"this network takes (n, {self.bands}, h, w); got {tuple(images.shape)}: "
                "give the bands its ModelSpec names, in that order"
            )
        height, width = images.shape[2:]
        pad = (-width % self.stride, -height % self.stride)
        if any(pad):
            images = functional.pad(images, (0, pad[0], 0, pad[1]), mode="replicate")
        return self.logits(images)[..., :height, :width]

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w) where h and w are multiples of `stride`."""
        raise NotImplementedError


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU; the size is kept but for the stride."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double(images: torch.Tensor) -> torch.Tensor:
    """Twice the height and width, nearest: exact in any number format and local."""
    return functional.interpolate(images, scale_factor=2, mode="nearest")
