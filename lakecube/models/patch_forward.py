"""Forward passes of patch classifiers: batches of one shape, so that a patch has the same bits beside any others."""

from __future__ import annotations

import numpy as np

from lakecube.models.forward import device_of, network, one_thread, turn
from lakecube.models.registry import Weights

#: Patches in a pass. The last pass is filled up, since the bits of a network's sums depend on the shape they are in.
BATCH = 16


def patch_probabilities(weights: Weights, images: np.ndarray, device: str | None = None) -> np.ndarray:
    """Probability of water of each patch.

    Parameters
    ----------
    weights : Weights
        Of a network from patches to logits (n, 2) of land and water.
    images : (n, y, x, band) float32
        Network input. No NaN.
    device : str or None
        By default the first GPU, else the CPU.

    Returns
    -------
    (n,) float32
    """
    device = device_of(device)
    import torch

    net = network(weights, device)
    out = np.empty(len(images), np.float32)
    with one_thread(torch), torch.inference_mode(), turn(torch, device):
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
            batch[: len(part)] = part
            logits = net(torch.from_numpy(batch).permute(0, 3, 1, 2).to(device))
            out[start : start + BATCH] = torch.softmax(logits, 1)[: len(part), 1].cpu().numpy()
    return out
