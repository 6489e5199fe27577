"""Batch normalisation folded into the convolution before it: one pass over memory less in every layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def fold_batch_norm(net: nn.Module) -> None:
    """Scale each convolution by the batch normalisation that follows it, which becomes the identity; in place.

    Relies on what all networks here keep to: a `BatchNorm2d` is defined right after the `Conv2d` or `ConvTranspose2d`
    whose output it takes, and that convolution has no bias.

    Parameters
    ----------
    net : torch.nn.Module
        In evaluation mode.
    """
    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d)]
    for (_, conv), (name, norm) in pairwise(layers):
        if isinstance(norm, nn.BatchNorm2d) and not isinstance(conv, nn.BatchNorm2d) and conv.bias is None:
            _fold(conv, norm)
            parent, _, own = name.rpartition(".")
            setattr(net.get_submodule(parent), own, nn.Identity())


def _fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    outputs = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    conv.weight = nn.Parameter(conv.weight * scale.reshape(outputs), requires_grad=False)
    conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
