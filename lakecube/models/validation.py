"""How a network does on scenes it did not learn from: counts of pixels by scene, and measures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from lakecube.models.augment import Augment
from lakecube.models.tiles import Batch, Tiles, ahead
from lakecube.names import UNKNOWN, WATER

#: Tiles are read as they are.
_AS_IT_IS = Augment(turn=False)
Predict = Callable[[np.ndarray], torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def validate(
    tiles: Tiles, predict: Predict, loss: Loss, batch: int, readers: int, stopped: Callable[[], bool]
) -> dict[str, float | None] | None:
    """Mean loss of the batches and `scores` of all tiles; None if it was stopped.

    Parameters
    ----------
    tiles : Tiles
        Of the scenes.
    predict : callable
        Values (n, band, y, x) to logits (n, 1, y, x), float32.
    loss : callable
        Of logits and uint8 targets of that shape.
    batch, readers : int
        Tiles at once, threads that read ahead.
    stopped : callable
        Asked after every batch.
    """
    counts, losses = np.zeros((len(tiles.scenes), 4), np.int64), []
    for members, part in _batches(tiles, batch, readers):
        with torch.inference_mode():
            logits = predict(part.values)
            losses.append(float(loss(logits, torch.from_numpy(part.labels[:, None]).to(logits.device))))
        np.add.at(counts, tiles.index[members, 0], _counts(logits[:, 0].cpu().numpy() > 0, part.labels))
        if stopped():
            return None
    return {"validation_loss": float(np.mean(losses)), **scores(counts)}


def _batches(tiles: Tiles, batch: int, readers: int) -> Iterator[tuple[np.ndarray, Batch]]:
    chunks = [np.arange(k, min(k + batch, len(tiles))) for k in range(0, len(tiles), batch)]
    read = ahead((partial(tiles.batch, members, _AS_IT_IS) for members in chunks), readers)
    yield from zip(chunks, read, strict=True)


def scores(counts: np.ndarray) -> dict[str, float | None]:
    """Of counts (scene, [both, map alone, truth alone, known]); the IoU of a scene without any water is 1.

    A scene of which nothing is known says nothing of the mean; where nothing is known of all, every measure is None.
    """
    if not counts[:, 3].any():
        return dict.fromkeys(("iou", "iou_mean", "f1", "precision", "recall", "accuracy"))
    both, alone, missed, known = (float(v) for v in counts.sum(axis=0))
    unions = counts[:, :3].sum(axis=1)
    each = np.where(unions > 0, counts[:, 0] / np.maximum(unions, 1), 1.0)
    return {
        "iou": both / max(both + alone + missed, 1),
        "iou_mean": float(each[counts[:, 3] > 0].mean()),
        "f1": 2 * both / max(2 * both + alone + missed, 1),
        "precision": both / max(both + alone, 1),
        "recall": both / max(both + missed, 1),
        "accuracy": 1 - (alone + missed) / max(known, 1),
    }


def _counts(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Per tile: water in both, in the map alone, in the labels alone, and what is known; the rest does not count."""
    wet, known = labels == WATER, labels != UNKNOWN
    parts = (found & wet, found & known & ~wet, ~found & wet, known)
    return np.stack([part.sum(axis=(1, 2)) for part in parts], axis=1)
