"""What every segmentation network here has in common: any size in, logits of that size out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lakecube.errors import InvalidInputError

#: No probability is taken for less: its logarithm is finite, and what is surely wrong still learns.
_LEAST = 1e-30


class SegmentationNet(nn.Module):
    """A network from (n, bands, h, w) to logits (n, 1, h, w); subclasses give `logits` at multiples of their stride.

    With `halvings` it looks at the image as it is and at half, a quarter, … of its resolution, with the same weights,
    and says the mean of the probabilities: what looks like water near by may be a meadow from afar.
    """

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
        self.halvings = 0

    def look_coarser(self, halvings: int) -> None:
        """Look at so many halved copies of the image as well; the stride and the radius grow."""
        if type(halvings) is not int or not 0 <= halvings <= 3:
            raise InvalidInputError(f"halvings={halvings!r}: a whole number from 0 to 3 is needed")
        factor = 2**halvings
        self.halvings, self.stride = halvings, self.stride * factor
        self.radius = self.radius if halvings == 0 else factor * (self.radius + 2)  # bilinear, and a pixel's own width

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
        said = self.logits(images) if self.halvings == 0 else self._at_all_sizes(images)
        return said[..., :height, :width]

    def _at_all_sizes(self, images: torch.Tensor) -> torch.Tensor:
        """The logit of the mean probability, float32."""
        total = _shares(self.logits(images))
        for k in range(1, self.halvings + 1):
            coarse = _shares(self.logits(functional.avg_pool2d(images, 2**k)))
            total = total + functional.interpolate(coarse, scale_factor=2**k, mode="bilinear", align_corners=False)
        logs = total.clamp(min=_LEAST).log()
        return logs[:, :1] - logs[:, 1:]

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, h, w) where h and w are multiples of `stride`."""
        raise NotImplementedError


def _shares(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of water and of land (n, 2, h, w), float32; each by itself, since 1 − p loses the small ones."""
    return torch.sigmoid(torch.cat([logits, -logits], dim=1).float())


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU; the size is kept but for the stride."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double(images: torch.Tensor) -> torch.Tensor:
    """Twice the height and width, nearest: exact in any number format and local."""
    return functional.interpolate(images, scale_factor=2, mode="nearest")
