"""Losses of Cao et al. §3.1.2: 0.5·BCE + Dice, and the Lovász hinge for fine-tuning.

Targets are uint8: 0 land, 1 water, 255 not labelled; what is not labelled takes no part.
"""

from __future__ import annotations

import torch
from torch.nn import functional

#: A pixel with this target is not labelled.
IGNORE = 255


def bce_dice(logits: torch.Tensor, target: torch.Tensor, ignore: int = IGNORE) -> torch.Tensor:
    """0.5 · binary cross-entropy + Dice loss over the labelled pixels of the batch.

    Parameters
    ----------
    logits : torch.Tensor
        Float, any shape.
    target : torch.Tensor
        The same shape: 0, 1 or `ignore`.

    Returns
    -------
    torch.Tensor
        A scalar; 0, with a gradient of 0, where nothing is labelled. The Dice part is 1 − 2·Σp·y / (Σp + Σy) with
        the probabilities p for X (Cao's equation 1 is of sets), smoothed by 1 px above and below the line.
    """
    logits, target = _labelled(logits, target, ignore)
    if not logits.numel():
        return logits.sum()
    bce = functional.binary_cross_entropy_with_logits(logits, target)
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 0.5 * bce + dice


def lovasz_hinge(logits: torch.Tensor, target: torch.Tensor, ignore: int = IGNORE) -> torch.Tensor:
    """The Lovász hinge (Berman et al. 2018, 10.1109/CVPR.2018.00464), the mean over the images of the batch.

    Parameters
    ----------
    logits : torch.Tensor
        Float, (n, …): an image each.
    target : torch.Tensor
        The same shape: 0, 1 or `ignore`.

    Returns
    -------
    torch.Tensor
        A scalar. An image without any label counts 0; one without water is the hinge of its worst pixel.
    """
    each = [_lovasz_of_one(*_labelled(x, y, ignore)) for x, y in zip(logits, target, strict=True)]
    return torch.stack(each).mean()


def _lovasz_of_one(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if not logits.numel():
        return logits.sum()
    errors, order = torch.sort(1 - logits * (2 * target - 1), descending=True)
    return torch.dot(functional.relu(errors), _jaccard_steps(target[order]))


def _jaccard_steps(truth: torch.Tensor) -> torch.Tensor:
    """How much the Jaccard loss grows with each further error, in the order of `truth`."""
    total = truth.sum()
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def _labelled(logits: torch.Tensor, target: torch.Tensor, ignore: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets, flat and in float32, where there is a label."""
    keep = target.reshape(-1) != ignore
    return logits.reshape(-1).float()[keep], target.reshape(-1)[keep].float()
