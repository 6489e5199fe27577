"""`linknet50`: a neural network and two refinements of its outlines, after Cao et al.

network → probability → majority in SLIC superpixels → dense CRF → land, water or unknown with the reason for each.
Each refinement can be left out; the network is LinkNet50, or whatever model is given or fits the cube's bands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr

from lakecube import chunked
from lakecube.chunked import law
from lakecube.detect.composite import composite as make_composite
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.kernels.stages import decide
from lakecube.methods.provenance import PAPERS, check_parameters, check_threshold, finished, given_of, thresholds
from lakecube.models.forward import Precision
from lakecube.models.predictor import default_tiling, predict, radiometry_of, weights_for
from lakecube.models.registry import need_torch
from lakecube.models.spec import Radiometry
from lakecube.names import LAND, SPATIAL_REF, TIME, UNKNOWN, VARIABLES, WATER, X, Y
from lakecube.refine import crf as dense_crf
from lakecube.refine.majority import majority
from lakecube.refine.superpixels import superpixels

Refine = Literal["slic+crf", "slic", "crf", "none"]
Unary = Literal["probability", "labels"]
#: Pixels between the seeds of superpixels.
STEP = 8
#: Standard deviations of the CRF: in space, px; of a guide, 8 grey levels of a picture, or as much of one shown from
#: reflectance 0 to 0.4. The paper's tool has 80 px and 13 grey levels, which drown small lakes.
SXY, SCALES = 40.0, {"display": 8 / 255, "reflectance": 0.4 * 8 / 255}
_RGB = ("red", "green", "blue")
_OUTPUTS = ("water_mask", "reason", "rules_fired")


@dataclass(frozen=True)
class Chain:
    """What refines the network's answer, and how.

    Parameters
    ----------
    refine : {"slic+crf", "slic", "crf", "none"}
        Majority in superpixels, a dense CRF, both (the paper's two levels), or the network alone.
    threshold : float
        The network says water where its probability is above.
    unary : {"probability", "labels"}
        What the CRF starts from: the network's probability (mirrored at a half where the majority says otherwise),
        or the labels, each right with the CRF's `confidence`. The paper names both.
    slic : mapping
        Parameters of `lakecube.refine.superpixels.superpixels`; `share` goes to the majority. By default ``{"step":
        8}``, of a picture in CIELAB. The paper's, for pictures of half a metre, are ``{"n_segments": 2800,
        "compactness": 60}``.
    crf : mapping
        Parameters of `lakecube.refine.crf.refine`; by default ``{"sxy_bilateral": 40}`` and `scales` of 8 grey levels.
        Those of the paper's tool are 80 px and 13.
    """

    refine: Refine = "slic+crf"
    threshold: float = 0.5
    unary: Unary = "probability"
    slic: Mapping[str, Any] | None = None
    crf: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.refine not in get_args(Refine):
            raise InvalidInputError(f"refine={self.refine!r}: use {', '.join(map(repr, get_args(Refine)))}")
        if self.unary not in get_args(Unary):
            raise InvalidInputError(f"unary={self.unary!r}: use 'probability' or 'labels'")
        check_threshold(self.threshold)
        for name in ("slic", "crf"):
            if not isinstance(getattr(self, name), Mapping | None):
                raise InvalidInputError(f"{name} is a mapping of parameters; got {getattr(self, name)!r}")

    def for_slic(self, cube: xr.Dataset, radiometry: Radiometry) -> dict[str, Any]:
        """The parameters of the superpixels, with what is not given filled in."""
        given = dict(self.slic or {})
        if "n_segments" not in given:
            given = {"step": STEP, **given}
        if radiometry == "display" and set(_RGB) <= set(cube.data_vars):
            given = {"colour": "cielab", **given}
        return given

    def for_crf(self, cube: xr.Dataset, radiometry: Radiometry) -> dict[str, Any]:
        """The parameters of the CRF, with what is not given filled in."""
        scales: Any = SCALES[radiometry]
        if radiometry == "display":
            scales = dict.fromkeys((band for band in _RGB if band in cube), scales)
        return {"sxy_bilateral": SXY, "scales": scales, **(self.crf or {})}


@law("tile-defined", reach=1024 + 512 + 1024 + 300)
def extract(
    cube: xr.Dataset,
    *,
    composite: str | None = None,
    choice: str = "median",
    model: str | os.PathLike[str] | None = None,
    precision: Precision = "float32",
    device: str | None = None,
    views: int = 1,
    tile: int | None = None,
    margin: int | None = None,
    **parameters: Any,
) -> xr.Dataset:
    """Water on every date of a cube by a neural network, superpixels and a dense CRF (Cao et al.).

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`: the bands that the model takes, and `observation`. Surface reflectance, or an 8-bit
        picture: `lakecube.models.predictor.predict` says how each is shown to the network.
    composite : {None, "month", "year"}
        Judge every date, or composites.
    choice : {"median", "mndwi", "ndvi", "maximum"}
        What stands for a period in a composite.
    model : str or path, optional
        A model by name (`lakecube.models.registry.available()`) or the file of one that was trained; by default the
        first of those available that takes bands the cube has.
    precision, device, views, tile, margin
        As for `lakecube.models.predictor.predict`.
    **parameters
        Fields of `Chain`: `refine`, `threshold`, `unary`, `slic`, `crf`.

    Returns
    -------
    xr.Dataset
        `water_mask`, `reason`, `rules_fired`, `water_probability` (time, y, x; after the CRF, if there is one);
        `threshold`, `threshold_source` (time, index); the items along `item`; `elevation` (y, x), m, if the cube has
        it. See `lakecube.names.VARIABLES` for each output.

    Notes
    -----
    Chunks: any; best are multiples of 1024. Law: tile-defined. Reach: that of network, superpixels, majority and CRF,
    one after the other. Lazy. Nothing depends on the request, unless superpixels are given by ``n_segments``.

    Over 16 hand-labelled pictures that `rgb-efficientnet-unet-even` had not seen (``python -m benchmarks.deep_esw``,
    options chosen on three others): mean IoU 0.755 by the network alone, 0.753 with superpixels, 0.770 with the CRF,
    0.766 with both. The defaults here, which are not quite those options, were settled on five of the 16.

    Raises
    ------
    InvalidInputError
        An unknown parameter or model, or a value out of its range.
    MissingBandError
        A band that the model takes is missing.
    MissingDependencyError
        Without torch (extra ``deep``).

    References
    ----------
    Cao et al. (2024), 10.5194/tc-18-153-2024; Chaurasia and Culurciello (2017), 10.1109/VCIP.2017.8305148;
    Achanta et al. (2012), 10.1109/TPAMI.2012.120; Krähenbühl and Koltun (2011), 10.48550/arXiv.1210.5644.
    """
    check_parameters("linknet50", parameters, Chain.__dataclass_fields__)
    need_torch()
    chain = Chain(**parameters)
    given = given_of(cube)
    cube = checked(cube)
    radiometry = radiometry_of(cube)
    weights = weights_for(cube, model, radiometry)
    tiling = default_tiling(weights.spec, tile, margin)
    if composite is not None:
        cube = make_composite(cube, composite, choice=choice)
    probability = predict(
        cube, weights, tile=tile, margin=margin, precision=precision, device=device, views=views, radiometry=radiometry
    )
    out = _judged(cube, probability, chain, radiometry).assign(thresholds(cube, chain.threshold, Chain.threshold))
    used = {
        "composite": composite, "choice": choice if composite else None, "model": weights.spec.name,
        "weights_sha256": weights.spec.sha256, "architecture": weights.spec.architecture, "precision": precision,
        "views": views, "tile": tiling.tile, "margin": tiling.margin, "radiometry": radiometry, "refine": chain.refine,
        "threshold": chain.threshold, "unary": chain.unary if "crf" in chain.refine else None,
        "slic": chain.for_slic(cube, radiometry) if "slic" in chain.refine else None,
        "crf": chain.for_crf(cube, radiometry) if "crf" in chain.refine else None,
    }  # fmt: skip
    return finished(out, cube, given, "linknet50", PAPERS["linknet50"], used)


def _judged(cube: xr.Dataset, probability: xr.DataArray, chain: Chain, radiometry: Radiometry) -> xr.Dataset:
    """The outputs of the chain, lazily."""
    mask = fused = refined = None
    if "slic" in chain.refine:
        mask = _fused(cube, probability, chain, radiometry)
        fused = mask.chunk(probability.chunksizes).data
    if "crf" in chain.refine:
        refined = _refined(cube, probability, mask, chain, radiometry)
    arrays = [probability.data, cube["observation"].transpose(TIME, Y, X).chunk(probability.chunksizes).data]
    given = [a for a in (fused, None if refined is None else refined.data) if a is not None]
    pairs = [v for a in (*arrays, *given) for v in (a, "tyx")]
    blocks = chunked.blockwise(
        _decide, "tyx", *pairs, dtype=object, name="lakecube-stages", threshold=chain.threshold,
        has=(fused is not None, refined is not None),
    )  # fmt: skip
    specs = [VARIABLES[name] for name in _OUTPUTS]
    coords = {n: cube[n] for n in (TIME, Y, X, SPATIAL_REF) if n in cube.coords}
    out = xr.Dataset({s.name: (s.dims, chunked.field(blocks, s.name, s.dtype), s.attrs) for s in specs}, coords)
    told = (probability if refined is None else refined).variable
    return out.assign(water_probability=(told.dims, told.data, VARIABLES["water_probability"].attrs))


def _decide(*blocks: np.ndarray, threshold: float, has: tuple[bool, bool]) -> dict[str, np.ndarray]:
    probability, observation, *rest = blocks
    fused = rest.pop(0) if has[0] else None
    refined = rest.pop(0) if has[1] else None
    return dict(zip(_OUTPUTS, decide(probability, observation, threshold, fused, refined), strict=True))


def _fused(cube: xr.Dataset, probability: xr.DataArray, chain: Chain, radiometry: Radiometry) -> xr.DataArray:
    """The network's mask after the vote of its superpixels."""
    given = chain.for_slic(cube, radiometry)
    share = {"share": given.pop("share")} if "share" in given else {}
    labels = _called(superpixels, "slic", cube, **given)
    return _called(majority, "slic", _mask_of(probability, chain.threshold), labels, **share)["water_mask"]


def _refined(
    cube: xr.Dataset, probability: xr.DataArray, fused: xr.DataArray | None, chain: Chain, radiometry: Radiometry
) -> xr.DataArray:
    """Probability after the CRF."""
    if chain.unary == "labels":
        unary = _mask_of(probability, chain.threshold) if fused is None else fused
    else:
        pairs = [v for a in (probability, fused) if a is not None
                 for v in (a.chunk(probability.chunksizes).data, "tyx")]  # fmt: skip
        centred = chunked.blockwise(
            _centred, "tyx", *pairs, dtype=np.float32, name="lakecube-unary", threshold=chain.threshold
        )
        unary = probability.copy(data=centred)
    return _called(
        dense_crf.refine, "crf", unary.chunk(probability.chunksizes), cube, **chain.for_crf(cube, radiometry)
    )


def _called(function: Any, name: str, *arrays: Any, **given: Any) -> Any:
    """The function's result; a parameter it does not have is a mistake of the request."""
    known = {*function.__kwdefaults__}
    check_parameters(name, given, known - {"output", "classes", "superpixels", "mask", "exchange"})
    return function(*arrays, **given)


def _mask_of(probability: xr.DataArray, threshold: float) -> xr.DataArray:
    data = da.map_blocks(
        _cut, probability.data, threshold=threshold, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    return probability.copy(data=data).rename("water_mask")


def _cut(probability: np.ndarray, threshold: float) -> np.ndarray:
    mask = np.where(probability > np.float32(threshold), np.uint8(WATER), np.uint8(LAND))
    mask[np.isnan(probability)] = UNKNOWN
    return mask


def _centred(probability: np.ndarray, fused: np.ndarray | None = None, *, threshold: float) -> np.ndarray:
    """Probability moved so that the threshold lies at a half; on the other side of it where the majority says so."""
    t = np.float32(threshold)
    p = probability if threshold == 0.5 else probability * (1 - t) / (probability * (1 - t) + (1 - probability) * t)
    if fused is None:
        return p
    other = ((fused == WATER) & (p <= 0.5)) | ((fused == LAND) & (p > 0.5))
    return np.where(other, 1 - p, p)
