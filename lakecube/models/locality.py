"""How far a network looks, measured: tiles against the whole image by margin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.models.predictor import predict
from lakecube.models.registry import Weights, find


@dataclass(frozen=True)
class Seam:
    """What a margin costs: the largest and mean change of the probability, and the share of other labels."""

    margin: int
    largest: float
    mean: float
    labels: float


def seams(
    model: str | os.PathLike[str] | Weights, cubes: Sequence[xr.Dataset], margins: Iterable[int], tile: int = 256
) -> list[Seam]:
    """Prediction in tiles without a ramp against one pass over the whole image, by margin.

    Parameters
    ----------
    model : str, path or Weights
        Of a local model.
    cubes : sequence of xr.Dataset
        Images that are larger than a tile.
    margins : iterable of int
        Pixels, multiples of the model's stride.
    tile : int
        Pixels, a multiple of the stride.
    """
    weights, cubes, whole = _whole(model, cubes)
    return [_seam(weights, cubes, whole, margin, tile) for margin in margins]


def effective_radius(
    model: str | os.PathLike[str] | Weights, cubes: Sequence[xr.Dataset], *, tolerance: float = 1e-3, tile: int = 256
) -> int:
    """The least margin with which tiles give nearly all labels of the whole image: what `ModelSpec.radius` is set to.

    Parameters
    ----------
    model, cubes, tile
        As for `seams`.
    tolerance : float
        Share of labels that may differ; that of the dense CRF with its default margin is 0.0007.

    Returns
    -------
    int
        Pixels, a multiple of the stride; at most the radius in the spec.
    """
    weights, cubes, whole = _whole(model, cubes)
    stride = weights.spec.stride
    low, high = 0, -(-weights.spec.radius // stride)
    while low < high:  # the change shrinks as the margin grows
        middle = (low + high) // 2
        if _seam(weights, cubes, whole, middle * stride, tile).labels <= tolerance:
            high = middle
        else:
            low = middle + 1
    return high * stride


def _whole(
    model: str | os.PathLike[str] | Weights, cubes: Sequence[xr.Dataset]
) -> tuple[Weights, list[xr.Dataset], list[np.ndarray]]:
    """The images, all beginning at the corner of a tile, and what one pass over each gives."""
    weights = model if isinstance(model, Weights) else find(model)
    if weights.spec.window is not None:
        raise InvalidInputError(f"the model {weights.spec.name} is not local: it is defined on its window")
    placed = [cube.drop_vars(["y", "x"], errors="ignore") for cube in cubes]
    most = -(-max(max(cube.sizes["y"], cube.sizes["x"]) for cube in cubes) // weights.spec.stride)
    side = most * weights.spec.stride
    return weights, placed, [predict(cube, weights, tile=side, margin=0, blend=0).values for cube in placed]


def _seam(weights: Weights, cubes: Sequence[xr.Dataset], whole: Sequence[np.ndarray], margin: int, tile: int) -> Seam:
    tiled = [predict(cube, weights, tile=tile, margin=margin, blend=0).values for cube in cubes]
    a, b = (np.concatenate([v[~np.isnan(v)] for v in found]) for found in (tiled, whole))
    change = np.abs(a - b)
    return Seam(margin, float(change.max()), float(change.mean()), float(((a > 0.5) != (b > 0.5)).mean()))
