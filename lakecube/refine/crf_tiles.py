"""One anchored, blended tile of the dense CRF: what a task does for `refine.crf`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from lakecube.chunked import Tile
from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.kernels import crf
from lakecube.kernels.crf_groups import LARGEST
from lakecube.names import LAND, WATER
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
    y, x = tiles[0][row], tiles[1][column]
    origin = (
        y.read[0] + anchor[0] - (row * settings.tiling.tile - settings.tiling.margin),
        x.read[0] + anchor[1] - (column * settings.tiling.tile - settings.tiling.margin),
    )
    inside = tuple(slice(v.gives[0] - v.read[0], v.gives[1] - v.read[0]) for v in (y, x))
    dates = []
    layers = settings.layers
    for t in range(water.shape[0] // layers):
        guide = np.stack([np.asarray(b if b.ndim == 2 else b[t], np.float32) for b in bands])
        with np.errstate(over="ignore"):
            guide *= np.reciprocal(np.array(settings.scales, np.float32))[:, np.newaxis, np.newaxis]
        if layers == 1:
            dates.append(refine_image(water[t], guide, settings, origin)[np.newaxis][:, *inside])
        else:
            dates.append(refine_classes(water[t * layers : (t + 1) * layers], guide, settings, origin)[:, *inside])
    return np.concatenate(dates)


def refine_image(
    water: np.ndarray, guide: np.ndarray, settings: CrfSettings, origin: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """One image (y, x) as a whole; the guide (bands, y, x) is already divided by its standard deviations."""
    logit = _unary(water, settings.confidence)
    known = np.isfinite(logit)
    valid = _voters(known, guide)
    if not valid.any():
        return (1 / (1 + np.exp(-logit))).astype(np.float32)
    if settings.engine == "numba":
        q = crf.mean_field(logit, guide, valid, settings.potts, settings.iterations, origin=origin)
    else:
        wet = np.where(known, logit, 0)
        q = _pydensecrf2(np.stack([np.logaddexp(0, wet), np.logaddexp(0, -wet)]), guide, valid, settings)[1]
    q[~known] = np.nan
    return q


def refine_classes(
    probability: np.ndarray, guide: np.ndarray, settings: CrfSettings, origin: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """As `refine_image` for probabilities (classes, y, x), which need not sum to 1."""
    _refuse_beyond_one(probability)
    total = probability.sum(axis=0)
    known = total > 0
    with np.errstate(invalid="ignore"):
        p = np.clip(probability / total, CLIP, 1)
    unary = np.where(known, -np.log(np.where(known, p, 1)), 0).astype(np.float32)
    valid = _voters(known, guide)
    if not valid.any():
        q = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    elif settings.engine == "numba":
        q = crf.mean_field_classes(unary, guide, valid, settings.potts, settings.iterations, origin=origin)
    else:
        q = _pydensecrf2(unary, guide, valid, settings)
    q[:, ~known] = np.nan
    return q


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
