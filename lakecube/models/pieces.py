"""Layers near the input's resolution, run on one piece of a large image after another: the same to an ulp.

Their features are the large ones of a network, and a block of over 64 MiB is one that no thread but the main one keeps
between passes (`lakecube.models.forward.keep_memory`): the system handed it out page by page, anew for every layer,
which took up to half of a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import torch

#: About how large a piece is, px along a side, at the finer of its two resolutions.
SIDE = 256


def in_pieces(
    layers: Callable[..., torch.Tensor], features: torch.Tensor, link: torch.Tensor | None = None, *, halo: int,
    down: int = 1, up: int = 1,
) -> torch.Tensor:  # fmt: skip
    """What some layers give, piece by piece where the image is large; whole on a GPU, and where gradients are kept.

    Parameters
    ----------
    layers : callable
        ``layers(features)`` or ``layers(features, link)``, padded, so that h · up / down rows come of h.
    features : (n, channels, h, w)
        Sides that are multiples of `down`.
    link : (n, channels, h · up, w · up), optional
        Further features, at the size of the result.
    halo : int
        How far an output sees, in units of `down` input pixels and `up` output pixels, rounded up.
    down, up : int
        Input pixels to an output pixel, or output pixels to an input pixel.

    Returns
    -------
    (n, channels, h · up / down, w · up / down), channels last.
    """
    links = () if link is None else (link,)
    rows, columns = (_cuts(n // down, max(down, up)) for n in features.shape[-2:])
    if len(rows) + len(columns) == 2 or torch.is_grad_enabled() or features.device.type != "cpu":
        return layers(features, *links)
    out: torch.Tensor | None = None
    for inner in product(rows, columns):
        outer = [(max(a - halo, 0), b + halo) for a, b in inner]
        found = layers(_window(features, outer, down), *(_window(x, outer, up) for x in links))
        if out is None:
            shape = *found.shape[:2], rows[-1][1] * up, columns[-1][1] * up
            out = torch.empty(shape, dtype=found.dtype, memory_format=torch.channels_last)
        crop = [(a - o, b - o) for (a, b), (o, _) in zip(inner, outer, strict=True)]
        _part(out, inner, up).copy_(_part(found, crop, up))
    assert out is not None
    return out


def _cuts(units: int, size: int) -> list[tuple[int, int]]:
    """(start, stop) of pieces of nearly equal length."""
    count = max(round(units * size / SIDE), 1)
    return list(pairwise(k * units // count for k in range(count + 1)))


def _part(images: torch.Tensor, spans: list[tuple[int, int]] | tuple[tuple[int, int], ...], size: int) -> torch.Tensor:
    (top, bottom), (left, right) = spans
    return images[..., top * size : bottom * size, left * size : right * size]


def _window(images: torch.Tensor, spans: list[tuple[int, int]], size: int) -> torch.Tensor:
    return _part(images, spans, size).contiguous(memory_format=torch.channels_last)
