"""One anchored, blended tile of the dense CRF: what a task does for `refine.crf`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from lakecube.between_blocks import Tile
from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.kernels import crf
from lakecube.kernels.crf import Samples
from lakecube.kernels.crf_groups import LARGEST
from lakecube.names import LAND, WATER
from lakecube.refine.crf_frame import around, frame, step_of
from lakecube.refine.given import number, whole
from lakecube.tiling import Tiling

Engine = Literal["numba", "pydensecrf2"]
#: Probabilities are kept this far away from 0 and 1.
CLIP = 1e-5
#: How far beyond them one may lie by rounding.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class CrfSettings:
    """What a tile needs to know besides its pixels."""

    potts: crf.Potts
    scales: tuple[float, ...]
    iterations: int
    confidence: float
    engine: Engine
    tiling: Tiling
    layers: int = 1
    """1: the probability of water; more: so many classes, which follow each other along time."""

    def __post_init__(self) -> None:
        for name, width in self.potts._asdict().items():
            number(name, width, zero=name.startswith("weight"))
        for scale in self.scales:
            number("each of scales", scale)
        if not 0.5 < number("confidence", self.confidence) < 1:
            raise InvalidInputError(f"confidence is between 0.5 and 1; got {self.confidence}")
        whole("iterations", self.iterations, 0)
        if self.tiling.tile + 2 * self.tiling.margin > LARGEST * self.potts.sxy_bilateral:
            raise InvalidInputError(
                f"sxy_bilateral={self.potts.sxy_bilateral} is too narrow for tile={self.tiling.tile}"
            )
        if self.engine not in ("numba", "pydensecrf2"):
            raise InvalidInputError(f"engine is 'numba' or 'pydensecrf2'; got {self.engine!r}")
        if self.engine == "pydensecrf2" and find_spec("pydensecrf") is None:
            raise MissingDependencyError('engine="pydensecrf2" needs it: pip install -c constraints.txt ".[crf]"')


def refine_tile(
    pieces: Sequence[np.ndarray], row: int, column: int, *, tiles: tuple[Mapping[int, Tile], ...],
    anchor: tuple[int, int], settings: CrfSettings,
) -> np.ndarray:  # fmt: skip
    """Refine one tile with its margin for every date of a chunk; return what it gives.

    Of several classes the first piece holds, along time, all those of the first date, then of the second.
    """
    water, *bands = pieces
    step = step_of(settings.potts) if settings.engine == "numba" else 1
    y, x = axes = frame(tiles, (row, column), anchor, settings.tiling, settings.potts, step)
    sampled = any((axis.near.stop - axis.near.start) < size for axis, size in zip(axes, water.shape[1:], strict=True))
    layers = settings.layers
    dates = []
    for t in range(water.shape[0] // layers):
        given = water[t] if layers == 1 else water[t * layers : (t + 1) * layers]
        guide = [b if b.ndim == 2 else b[t] for b in bands]
        beyond = None
        if sampled:
            far = given[..., y.far, x.far], _divided([b[y.far, x.far] for b in guide], settings)
            unary, seen, valid, _ = _terms(*far, settings)
            beyond = around(unary, seen, valid, axes, step)
        near = given[..., y.near, x.near], _divided([b[y.near, x.near] for b in guide], settings)
        refined = refine_image(*near, settings, (y.origin[0], x.origin[0]), beyond)[..., y.inside, x.inside]
        dates.append(refined.reshape(layers, *refined.shape[-2:]))
    return np.concatenate(dates)


def _divided(bands: Sequence[np.ndarray], settings: CrfSettings) -> np.ndarray:
    """Guide (bands, y, x) in standard deviations, float32."""
    guide = np.stack([np.asarray(band, np.float32) for band in bands])
    with np.errstate(over="ignore"):
        guide *= np.reciprocal(np.array(settings.scales, np.float32))[:, np.newaxis, np.newaxis]
    return guide


def refine_image(
    water: np.ndarray, guide: np.ndarray, settings: CrfSettings, origin: tuple[int, int] = (0, 0),
    beyond: Samples | None = None,
) -> np.ndarray:  # fmt: skip
    """One image (y, x), or (classes, y, x), as a whole; the guide (bands, y, x) is in its standard deviations."""
    unary, guide, valid, known = _terms(water, guide, settings)
    several = unary.ndim == 3
    if not valid.any():
        q = _alone(unary)
    elif settings.engine == "numba":
        refine = crf.mean_field_classes if several else crf.mean_field
        q = refine(unary, guide, valid, settings.potts, settings.iterations, origin=origin, around=beyond)
    elif several:
        q = _pydensecrf2(unary, guide, valid, settings)
    else:
        q = _pydensecrf2(np.stack([np.logaddexp(0, unary), np.logaddexp(0, -unary)]), guide, valid, settings)[1]
    q[..., ~known] = np.nan
    return q


def _alone(unary: np.ndarray) -> np.ndarray:
    """Probability by the unary term alone."""
    if unary.ndim == 2:
        return (1 / (1 + np.exp(-unary))).astype(np.float32)
    return np.exp(-unary) / np.exp(-unary).sum(axis=0)


def _terms(water: np.ndarray, guide: np.ndarray, settings: CrfSettings) -> tuple[np.ndarray, ...]:
    """Unary term (0 where unknown), guide, which pixels vote and which are known."""
    if settings.layers == 1:
        unary = _unary(water, settings.confidence)
        known = np.isfinite(unary)
        unary = np.where(known, unary, np.float32(0))
    else:
        unary, known = _unary_of_classes(water)
    return unary, guide, _voters(known, guide), known


def _unary_of_classes(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of probabilities (classes, y, x), which need not sum to 1, and where they are known."""
    _refuse_beyond_one(probability)
    total = probability.sum(axis=0)
    known = total > 0
    with np.errstate(invalid="ignore"):
        p = np.clip(probability / total, CLIP, 1)
    return np.where(known, -np.log(np.where(known, p, 1)), 0).astype(np.float32), known


def _voters(known: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Pixels that are known and have a guide; of a guide whose scales cannot be meant an error tells."""
    valid = known & np.isfinite(guide).all(axis=0)
    far = max(guide.max(where=valid, initial=0), -guide.min(where=valid, initial=0))
    if far > LARGEST:
        raise InvalidInputError(
            f"the guide reaches {far:.3g} standard deviations: give scales= in its own unit (of reflectance times "
            "10000: 200), and NaN where it holds a fill value"
        )
    return valid


def _refuse_beyond_one(probability: np.ndarray) -> None:
    for value in (np.fmin.reduce(probability, axis=None), np.fmax.reduce(probability, axis=None)):
        if value < -TOLERANCE or value > 1 + TOLERANCE:
            raise InvalidInputError(
                f"a probability is from 0 to 1, NaN unknown; found {value:g}: divide percent by 100, .clip(0, 1) what "
                "resampling overshot, and give a mask as integers"
            )


def _unary(water: np.ndarray, confidence: float) -> np.ndarray:
    """log p - log (1 - p), float32; NaN where unknown."""
    if water.dtype.kind == "f":
        _refuse_beyond_one(water)
        return crf.logit_of_probability(water)
    sure = np.float32(np.log(confidence / (1 - confidence)))
    return np.where(water == WATER, sure, np.where(water == LAND, -sure, np.float32(np.nan))).astype(np.float32)


def _pydensecrf2(unary: np.ndarray, guide: np.ndarray, valid: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Probabilities float32 (classes, y, x) of −log p; pixels that are not valid vote, undecided."""
    from pydensecrf import densecrf

    potts, (classes, *shape) = settings.potts, unary.shape
    y, x = np.indices(shape, np.float32)
    there = [np.where(valid, band, 0) for band in guide]
    near = np.stack([x / potts.sxy_gaussian, y / potts.sxy_gaussian])
    alike = np.stack([x / potts.sxy_bilateral, y / potts.sxy_bilateral, *there])
    model = densecrf.DenseCRF(valid.size, classes)
    model.setUnaryEnergy(np.where(valid, unary, np.log(classes)).reshape(classes, -1).astype(np.float32))
    for features, weight in ((near, potts.weight_gaussian), (alike, potts.weight_bilateral)):
        model.addPairwiseEnergy(np.ascontiguousarray(features.reshape(len(features), -1), np.float32), compat=weight)
    q = np.array(model.inference(settings.iterations), np.float32).reshape(classes, *shape)
    alone = np.exp(-unary)
    return np.where(valid, q, alone / alone.sum(axis=0)).astype(np.float32)
