"""Training SAPCNN by its paper's preset: samples at the centres of labelled superpixels, PCA filters, SGD."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lakecube.errors import InvalidInputError
from lakecube.kernels.patches import gather, regions_in
from lakecube.models.sapcnn import PATCH, SAPCNN

#: Of the paper: samples in a batch, momentum, first learning rate, weight decay.
BATCH, MOMENTUM, RATE, DECAY = 128, 0.8, 0.01, 1e-4
#: Rates, each a tenth of the one before; training ends after the last.
RATES = 3
#: Patches that the principal components are taken from.
_FOR_FILTERS = 500


class Samples(NamedTuple):
    """Labelled patches."""

    patches: np.ndarray
    """float32 (n, bands, 28, 28), in the units of the bands."""
    classes: np.ndarray
    """uint8 (n,): 0 land, 1 water."""


def samples(bands: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Samples:
    """The patch at the centre of every superpixel, and what most of its pixels are.

    Parameters
    ----------
    bands : numpy.ndarray
        float32 (bands, y, x), NaN where unknown: a patch has the mean of its superpixel there.
    labels : numpy.ndarray
        int64 (y, x), superpixels; negative outside all.
    truth : numpy.ndarray
        uint8 (y, x): 0 land, 1 water, others unknown, which have no voice. Superpixels without a majority are left
        out.
    """
    if bands.ndim != 3 or not bands.shape[1:] == labels.shape == truth.shape:
        raise InvalidInputError(
            f"bands (bands, y, x), labels and truth (y, x) are on the same pixels; got {bands.shape}, {labels.shape} "
            f"and {truth.shape}"
        )
    bands = np.ascontiguousarray(bands, np.float32)
    found = regions_in(labels, bands, (slice(None), slice(None)))
    n = found.labels.size
    known = (found.number >= 0) & (truth <= 1)
    votes = np.bincount(found.number[known] * 2 + truth[known], minlength=2 * n).reshape(n, 2)
    decided = votes[:, 0] != votes[:, 1]
    patches = gather(bands, found.centres[decided], found.means[decided], PATCH)
    return Samples(patches, (votes[decided, 1] > votes[decided, 0]).astype(np.uint8))


def fit(
    patches: np.ndarray, labels: np.ndarray, *, validation: tuple[np.ndarray, np.ndarray] | None = None,
    pooling: str = "self-adaptive", hidden: int = 256, seed: int = 0, epochs: int = 40, patience: int = 3,
    jitter: float = 0.0, dark: float = 0.0, bfloat16: bool = False, device: str = "cpu",
    progress: Callable[[dict[str, float]], Any] | None = None,
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:  # fmt: skip
    """Train SAPCNN by the preset of Chen et al. (2018).

    Stochastic gradient descent with momentum 0.8, rate 0.01 divided by 10 on a plateau (twice, then it ends), batches
    of 128, weight decay 1e-4, dropout 0.1, first filters by principal components. Each patch is turned and mirrored at
    random, which the paper does not tell of.

    Parameters
    ----------
    patches : numpy.ndarray
        float32 (n, bands, 28, 28) in the network's units.
    labels : numpy.ndarray
        (n,): 0 land, 1 water.
    validation : (numpy.ndarray, numpy.ndarray), optional
        Patches and labels of other scenes, whose error the rate follows and which choose the epoch that is kept.
        Without it the error of training does.
    pooling, hidden
        Of the network.
    seed : int
        Of the weights, the order, the turns and the dropout. Bits agree on one machine with one number of threads.
    epochs : int
        At most so many.
    patience : int
        The rate is lowered when the error has not fallen for so many epochs.
    jitter : float
        Each patch is multiplied by exp(N(0, jitter)), and each of its bands by another half as wide, so that the
        network does not learn the stretch of its pictures.
    dark : float
        What black is in the network's units.
    bfloat16 : bool
        Convolutions in bfloat16, for processors that are fast at it.
    device : str
        Of torch.
    progress : callable, optional
        Called with each row of the log.

    Returns
    -------
    state : dict
        Of the network, float32 tensors on the CPU.
    log : list of dict
        Per epoch: `epoch`, `rate`, `loss`, `accuracy`, and with a validation `validation_loss`,
        `validation_accuracy`.
    """
    _check(patches, labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SAPCNN(patches.shape[1], pooling=pooling, hidden=hidden)
        rng = np.random.default_rng(seed)
        network.initialise(patches[rng.permutation(len(patches))[:_FOR_FILTERS]])
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
        best, best_loss, since, log = copy.deepcopy(network.state_dict()), math.inf, 0, []
        for epoch in range(epochs):
            loss, accuracy = _epoch(network, optimizer, patches, labels, rng, (jitter, dark), bfloat16)
            row = {"epoch": epoch, "rate": optimizer.param_groups[0]["lr"], "loss": loss, "accuracy": accuracy}
            if validation is not None:
                loss, accuracy = evaluate(network, *validation, bfloat16=bfloat16)
                row |= {"validation_loss": loss, "validation_accuracy": accuracy}
            if not math.isfinite(loss):
                raise InvalidInputError(f"the loss is {loss} in epoch {epoch + 1}: training diverged, check the values")
            log.append(row)
            if progress is not None:
                progress(row)
            since = 0 if loss < best_loss else since + 1
            if loss < best_loss:
                best, best_loss = copy.deepcopy(network.state_dict()), loss
            if since >= patience:
                since = 0
                optimizer.param_groups[0]["lr"] /= 10
                if optimizer.param_groups[0]["lr"] < RATE / 10**RATES * 3:
                    break
    return {name: value.float().cpu().contiguous() for name, value in best.items()}, log


def evaluate(
    network: nn.Module, patches: np.ndarray, labels: np.ndarray, *, bfloat16: bool = False
) -> tuple[float, float]:
    """Mean cross entropy and accuracy of a network on labelled patches."""
    device = next(network.parameters()).device
    network.eval()
    total, right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(patches), 4 * BATCH):
            x, y = _batch(patches, labels, np.arange(start, min(start + 4 * BATCH, len(patches))), device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                logits = network(x)
            total += float(nn.functional.cross_entropy(logits.float(), y, reduction="sum"))
            right += int((logits.argmax(1) == y).sum())
    return total / len(patches), right / len(patches)


def _epoch(
    network: SAPCNN, optimizer: torch.optim.Optimizer, patches: np.ndarray, labels: np.ndarray,
    rng: np.random.Generator, jitter: tuple[float, float], bfloat16: bool,
) -> tuple[float, float]:  # fmt: skip
    device = next(network.parameters()).device
    network.train()
    total, right = 0.0, 0
    order = rng.permutation(len(patches))
    for start in range(0, len(order), BATCH):
        x, y = _batch(patches, labels, order[start : start + BATCH], device)
        x = _varied(x, rng, *jitter)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits = network(x)
        loss = nn.functional.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(y)
        right += int((logits.argmax(1) == y).sum())
    return total / len(patches), right / len(patches)


def _batch(patches: np.ndarray, labels: np.ndarray, chosen: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(np.ascontiguousarray(patches[chosen], np.float32))
    y = torch.from_numpy(np.asarray(labels)[chosen].astype(np.int64))
    return x.to(device, memory_format=torch.channels_last), y.to(device)


def _varied(x: Tensor, rng: np.random.Generator, jitter: float, dark: float) -> Tensor:
    """A batch of which each eighth is turned and mirrored in its own way, and each patch brighter or darker."""
    parts = []
    for k, part in enumerate(x.tensor_split(8)):
        turned = torch.rot90(part, k % 4, (2, 3))
        parts.append(turned.flip(3) if k >= 4 else turned)
    out = torch.cat(parts)
    if jitter:
        gain = rng.normal(0, jitter, (len(x), 1, 1, 1)) + rng.normal(0, jitter / 2, (len(x), x.shape[1], 1, 1))
        out = (out - dark) * torch.from_numpy(np.exp(gain).astype(np.float32)).to(out.device) + dark
    return out.contiguous(memory_format=torch.channels_last)


def _check(patches: np.ndarray, labels: np.ndarray) -> None:
    if patches.ndim != 4 or len(patches) != len(labels) or not len(patches):
        raise InvalidInputError(
            f"patches (n, bands, {PATCH}, {PATCH}) and a label for each are needed; got {patches.shape} and "
            f"{np.shape(labels)}"
        )
    found = set(np.unique(labels).tolist())
    if found != {0, 1}:
        raise InvalidInputError(f"labels are 0 land and 1 water, and both are needed; got {sorted(found)}")
    if not np.isfinite(patches).all():
        raise InvalidInputError("patches hold NaN or infinity; `samples` fills what is unknown")
