"""Probability of water by a neural network, lazily, on anchored, blended tiles.

What a tile gives depends on the tile, the data in it and its margin, and the model alone: not on chunks, workers or
the number of cores. Its input starts at a multiple of the network's stride on the absolute grid; where the data end
before the margin does, the input ends there, and the network pads as it was trained to. A model that is not local is
defined on its fixed window; the windows of a block go through the network together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import get_args

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.between_blocks import Tile, tiled
from lakecube.chunked import law
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.models.forward import Precision, check_device, check_views
from lakecube.models.predict_blocks import PredictSettings, blend_blocks, predict_block
from lakecube.models.registry import STAND_INS, Weights, choose, find, missing_bands, need_torch
from lakecube.models.spec import ModelSpec, Radiometry
from lakecube.names import BANDS, SPATIAL_REF, TIME, VARIABLES, X, Y
from lakecube.tiling import Tiling

#: Side of a tile of a local model, and of a block of windows of one that is not, px: what a task works on. Store chunks
#: are multiples of it.
BLOCK = 1024
#: The margin covers the model's radius up to this many pixels, unless told otherwise: what lies beyond is rarely seen.
FAR = 256
#: Half the width of the ramp between tiles, px.
BLEND = 16


@law("tile-defined", reach=BLOCK + 512 + BLEND)
def predict(
    cube: xr.Dataset,
    model: str | os.PathLike[str] | Weights | None = None,
    *,
    tile: int | None = None,
    margin: int | None = None,
    blend: int | None = None,
    precision: Precision = "float32",
    device: str | None = None,
    views: int = 1,
    radiometry: Radiometry | None = None,
) -> xr.DataArray:
    """Probability of water on every date of a cube by a neural network.

    Parameters
    ----------
    cube : xr.Dataset
        Bands float32 (time, y, x) by STAC common names, NaN where not observed (`nir08` stands in for `nir`); with
        `observation`, pixels that it does not call clear are unknown.
    model : str, path or Weights, optional
        A name in `lakecube.models.registry.available()`, a ``.safetensors`` file that `lakecube train` wrote; by
        default the first of those available that takes bands the cube has.
    tile, margin, blend : int, optional
        Pixels: side of the anchored tiles (default 1024), how much more is read around each (default the model's
        effective radius, at most 256, and the ramp), half the width of the ramp between tiles. Tile and margin are
        multiples of the model's stride. A model that is not local has tiles and margins that make up its window.
    precision : {"float32", "bfloat16"}
        Of the network; bfloat16 is faster on processors that have it.
    device : str, optional
        ``"cpu"`` or ``"cuda"``; by default a GPU where there is one. Other devices give other last bits.
    views : {1, 2, 4, 8}
        How many turned and mirrored copies of each tile the network sees; their mean is the answer. The work grows
        with it.
    radiometry : {"reflectance", "display"}, optional
        What the bands hold; by default what `lakecube.open` noted: an 8-bit picture is ``"display"`` (its numbers over
        255), anything else reflectance. A model trained on the other kind gets values by a fixed rule: reflectance r
        is shown as r / 0.3, cut to 0 to 1, and a shown value v is taken for 0.3 · v; nothing depends on the request.

    Returns
    -------
    xr.DataArray
        `water_probability`, float32 (time, y, x), 0 to 1; NaN where a band is NaN or `observation` is not clear.
        To the network a NaN is its input 0; what is not clear but has values is shown as it is, as in training.

    Raises
    ------
    InvalidInputError
        An unknown model, a parameter out of range, or a cube without dates or pixels.
    MissingBandError
        A band that the model takes is missing, or no model works on the cube's bands.
    MissingDependencyError
        Without torch (extra ``deep``).

    Notes
    -----
    Chunks: any; best are multiples of `tile`. Law: tile-defined (on one class of devices). Reach: tile + margin +
    blend. Lazy: one task per tile and chunk of dates, computed once whatever the chunks, and one per chunk. Every pass
    runs on one thread; Dask's workers share the cores. The work is (1 + 2 · margin / tile)² that of the pixels.

    Measured by ``python -m benchmarks.predict``: what a margin costs in other labels, the speed against the bare pass
    of the network, and memory; how to choose is in the documentation of ``linknet50``.
    """
    need_torch()
    _check_cube(cube)
    radiometry = radiometry_of(cube) if radiometry is None else radiometry
    weights = weights_for(cube, model, radiometry)
    settings = _settings(weights, tile, margin, blend, radiometry, precision, device, views)
    names = [name if name in cube else STAND_INS[name] for name in weights.spec.bands]
    arrays = _aligned(cube, [*names, *(["observation"] if "observation" in cube else [])])
    anchor = chunked.anchor_of(cube) if Y in cube.coords and X in cube.coords else (0, 0)
    out = _predicted(arrays, anchor, settings)
    spec = VARIABLES["water_probability"]
    coords = {n: cube[n] for n in (TIME, Y, X, SPATIAL_REF) if n in cube.coords}
    return xr.DataArray(out, coords, spec.dims, spec.name, {**spec.attrs, "model": weights.spec.name})


def weights_for(
    cube: xr.Dataset, model: str | os.PathLike[str] | Weights | None, radiometry: Radiometry | None = None
) -> Weights:
    """The weights to use for a cube: those named, or the preferred ones for its bands.

    Raises
    ------
    InvalidInputError, MissingBandError
        As `predict`.
    """
    have = [str(name) for name in cube.data_vars if name in BANDS]
    if model is None:
        return choose(have, radiometry_of(cube) if radiometry is None else radiometry)
    weights = model if isinstance(model, Weights) else find(model)
    if weights.spec.patch is not None:
        raise InvalidInputError(
            f"the model {weights.spec.name} names the class of a patch, not of pixels: it is for method='sapcnn'"
        )
    missing = missing_bands(weights.spec, have)
    if missing:
        raise MissingBandError(
            f"the model {weights.spec.name} needs {', '.join(missing)}; the cube has {', '.join(have) or 'no band'}. "
            f"Open it with the bands {', '.join(weights.spec.bands)}, or leave the model out to have one chosen"
        )
    return weights


def radiometry_of(cube: xr.Dataset) -> Radiometry:
    """What the bands of a cube hold, by what `lakecube.open` noted on each; reflectance where nothing is noted.

    Raises
    ------
    InvalidInputError
        If bands of both kinds are there.
    """
    kinds = {str(cube[n].attrs.get("radiometry", "reflectance")) for n in cube.data_vars if n in BANDS}
    if len(kinds) > 1 or kinds - {*get_args(Radiometry)}:
        raise InvalidInputError(f"the bands hold {' and '.join(sorted(kinds))}: open one kind, or give radiometry=")
    return "display" if kinds == {"display"} else "reflectance"


def _settings(
    weights: Weights, tile: int | None, margin: int | None, blend: int | None, radiometry: Radiometry,
    precision: Precision, device: str | None, views: int,
) -> PredictSettings:  # fmt: skip
    if precision not in get_args(Precision):
        raise InvalidInputError(f"precision is 'float32' or 'bfloat16'; got {precision!r}")
    check_device(device)
    check_views(views)
    if radiometry not in get_args(Radiometry):
        raise InvalidInputError(f"radiometry is 'reflectance' or 'display'; got {radiometry!r}")
    tiling = default_tiling(weights.spec, tile, margin, blend)
    block = 1 if weights.spec.window is None else max(BLOCK // tiling.tile, 1)
    return PredictSettings(weights, tiling, radiometry, precision, device, views, block)


def default_tiling(
    spec: ModelSpec, tile: int | None = None, margin: int | None = None, blend: int | None = None
) -> Tiling:
    """The tiles of a model, with what is not given filled in.

    Raises
    ------
    InvalidInputError
        Tile or margin is no multiple of the stride, or they do not make up the window.
    """

    def up(pixels: float) -> int:
        return int(-(-pixels // spec.stride)) * spec.stride

    if spec.window is None:
        ramp = BLEND if blend is None else blend
        margin = up(min(spec.radius, FAR) + ramp) if margin is None else margin
        tile = up(BLOCK) if tile is None else tile
        ramp = min(ramp, margin, tile // 2) if blend is None else ramp
    else:
        if margin is None:
            most = (spec.window // spec.stride - 1) // 2 * spec.stride
            margin = min(up(spec.window / 8), most) if tile is None else (spec.window - tile) // 2
        tile = spec.window - 2 * margin if tile is None else tile
        if tile + 2 * margin != spec.window:
            raise InvalidInputError(
                f"the model {spec.name} is defined on a window of {spec.window} px: tile + 2 · margin must be that, "
                f"not {tile} + 2 · {margin}"
            )
        ramp = min(margin, tile // 2) if blend is None else blend
    if tile % spec.stride or margin % spec.stride:
        raise InvalidInputError(
            f"tile={tile} and margin={margin} must be multiples of the model's stride of {spec.stride} px"
        )
    return Tiling(tile, margin, ramp)


def _check_cube(cube: xr.Dataset) -> None:
    empty = [dim for dim in (TIME, Y, X) if cube.sizes.get(dim) == 0]
    if empty:
        raise InvalidInputError(f"there is nothing along {', '.join(empty)}: the selection of the cube is empty")
    for name in (*(b for b in BANDS if b in cube), *(n for n in ("observation",) if n in cube)):
        kind = "u" if name == "observation" else "f"
        if set(cube[name].dims) != {TIME, Y, X} or cube[name].dtype.kind != kind:
            raise InvalidInputError(
                f"{name} is {cube[name].dtype} with dims {cube[name].dims}; float bands and uint8 observation "
                "(time, y, x) are needed: lakecube.open(dataset) brings a Dataset into form"
            )


def _aligned(cube: xr.Dataset, names: Sequence[str]) -> list[da.Array]:
    """The arrays (time, y, x) on Dask, with equal chunks of dates."""
    arrays: list[da.Array] = []
    for name in names:
        data = cube[name].transpose(TIME, Y, X).data
        array = data if isinstance(data, da.Array) else da.from_array(np.asarray(data), chunks=(1, -1, -1))
        arrays.append(array.rechunk({0: arrays[0].chunks[0]}) if arrays else array)
    return arrays


def _predicted(arrays: list[da.Array], anchor: tuple[int, int], settings: PredictSettings) -> da.Array:
    rows, columns = (settings.tiling.along(n, start) for n, start in zip(arrays[0].shape[1:], anchor, strict=True))
    blocks = _blocks(rows, settings.per_block), _blocks(columns, settings.per_block)
    token = tokenize([a.name for a in arrays], anchor, settings)
    return tiled(
        partial(predict_block, tiles=(rows, columns), anchor=anchor, settings=settings),
        partial(blend_blocks, tiles=(rows, columns), anchor=anchor, tiling=settings.tiling),
        arrays, *blocks, dtype=np.float32, name="lakecube-predict", token=token,
    )  # fmt: skip


def _blocks(tiles: Mapping[int, Tile], per_block: int) -> dict[int, Tile]:
    """Blocks of so many neighbouring tiles along one axis, by their absolute number."""
    members: dict[int, list[Tile]] = {}
    for number, tile in tiles.items():
        members.setdefault(number // per_block, []).append(tile)
    return {
        k: Tile((inner[0].read[0], inner[-1].read[1]), (inner[0].gives[0], inner[-1].gives[1]))
        for k, inner in members.items()
    }
