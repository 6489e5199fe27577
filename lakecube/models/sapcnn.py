"""SAPCNN of Chen et al. (2018): a small network that calls a 28 × 28 patch land or water, pooled self-adaptively.

Two convolutions of 5 × 5 (128 and 256 filters), each with ReLU and pooling of 2 × 2, and two fully connected layers.
What the paper leaves open, and how it is read here:

- The width of the first fully connected layer is not given: `hidden`, 256, so that the weights stay below 4 MB.
- Pooling adds an offset b. A convolution or a fully connected layer follows, whose own bias takes it in: left out.
- The first filters are principal components of 5 × 5 pieces of the training patches. With three bands these have
  75 dimensions, but there are 128 filters: the rest are the leading components with the other sign, since ReLU keeps
  one side of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lakecube.errors import InvalidInputError

#: Side of a patch, and of the filters.
PATCH, FILTER = 28, 5
#: Filters of the two convolutions.
FILTERS = (128, 256)
#: Side of what is pooled.
POOL = 2
#: A maximum up to here counts as zero: below it 1 / maximum is not finite.
_LEAST = 1e-37


class SelfAdaptivePool2d(nn.Module):
    """Between the mean and the maximum of each c × c pixels: u · mean + (1 − u) · max, u = a (b − a) / b².

    b is the maximum and a the mean of all the others. For values that are not negative, as after ReLU, u is 0 where
    all others are 0 or all are equal, and at most 1/4 (a = b / 2). Where b = 0, and where b < 0, u is 0.
    Input (n, channels, h, w) of any float dtype; rows and columns that do not fill a cell are left out.
    """

    def __init__(self, size: int = POOL) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Pool, (n, channels, h // size, w // size)."""
        pixels = self.size**2
        most, mean = functional.max_pool2d(x, self.size), functional.avg_pool2d(x, self.size)
        others = (mean * pixels - most) / (pixels - 1)
        positive = most > _LEAST
        ratio = torch.where(positive, others, 0) / torch.where(positive, most, 1)
        factor = ratio * (1 - ratio)  # a (b − a) / b², without the square, which could vanish
        return factor * mean + (1 - factor) * most


#: Poolings by name.
POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "self-adaptive": SelfAdaptivePool2d,
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
}


class SAPCNN(nn.Module):
    """Logits (n, 2) of land and water from patches (n, bands, 28, 28).

    Parameters
    ----------
    bands : int
        Of a patch, any number.
    pooling : {"self-adaptive", "max", "average"}
        The paper's, or its two rivals.
    hidden : int
        Width of the first fully connected layer.
    dropout : float
        Before each fully connected layer, in training.
    """

    def __init__(self, bands: int, *, pooling: str = "self-adaptive", hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        if bands < 1 or hidden < 1:
            raise InvalidInputError(f"bands and hidden must be at least 1; got {bands!r} and {hidden!r}")
        if pooling not in POOLINGS:
            raise InvalidInputError(f"pooling={pooling!r}: use one of {', '.join(map(repr, POOLINGS))}")
        self.bands = bands
        pool = POOLINGS[pooling]
        side = ((PATCH - FILTER + 1) // POOL - FILTER + 1) // POOL
        self.features = nn.Sequential(
            nn.Conv2d(bands, FILTERS[0], FILTER), nn.ReLU(), pool(POOL),
            nn.Conv2d(FILTERS[0], FILTERS[1], FILTER), nn.ReLU(), pool(POOL),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(FILTERS[1] * side**2, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, 2),
        )  # fmt: skip

    def forward(self, patches: Tensor) -> Tensor:
        """Logits of land and water."""
        if patches.ndim != 4 or tuple(patches.shape[1:]) != (self.bands, PATCH, PATCH):
            raise InvalidInputError(
                f"SAPCNN of {self.bands} bands takes patches (n, {self.bands}, {PATCH}, {PATCH}); "
                f"got {tuple(patches.shape)}"
            )
        return self.classifier(self.features(patches))

    @torch.no_grad()
    def initialise(self, patches: np.ndarray) -> None:
        """Set the filters of the first convolution to the principal components of training patches."""
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        filters = torch.from_numpy(pca_filters(patches, FILTERS[0]))
        first.weight[: len(filters)] = filters.to(first.weight)


def pca_filters(patches: np.ndarray, most: int) -> np.ndarray:
    """Filters from the principal components of all 5 × 5 pieces of patches, each less its own mean.

    Parameters
    ----------
    patches : numpy.ndarray
        (n, bands, y, x) in the network's units.
    most : int
        How many filters are wanted.

    Returns
    -------
    numpy.ndarray
        float32 (at most `most`, bands, 5, 5) of length 1: the d = 25 · bands components by falling variance, the
        greatest weight of each positive, then the same with the other sign. More than 2 · d there are not.
    """
    bands = patches.shape[1]
    size = bands * FILTER**2
    scatter = np.zeros((size, size))
    for patch in np.asarray(patches, np.float64):
        pieces = np.lib.stride_tricks.sliding_window_view(patch, (FILTER, FILTER), axis=(1, 2))
        table = np.moveaxis(pieces, 0, 2).reshape(-1, size)
        table = table - table.mean(axis=1, keepdims=True)
        scatter += table.T @ table
    vectors = np.linalg.eigh(scatter)[1][:, ::-1].T
    greatest = vectors[np.arange(size), np.abs(vectors).argmax(axis=1)]
    vectors = vectors * np.where(greatest < 0, -1, 1)[:, None]
    return np.concatenate([vectors, -vectors])[:most].reshape(-1, bands, FILTER, FILTER).astype(np.float32)
