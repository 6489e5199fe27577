"""`sapcnn`: adaptive superpixels, each called land or water by a small network, after Chen et al. (2018).

HSI of three bands → adaptive SLIC → the 28 × 28 patch at the centre of every superpixel → SAPCNN → its class for all
its pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.detect.composite import composite as make_composite
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.kernels.patches import gather, regions_in
from lakecube.kernels.stages import decide
from lakecube.methods.provenance import PAPERS, check_threshold, finished, given_of, thresholds
from lakecube.models.forward import check_device
from lakecube.models.inputs import WHITE, network_input
from lakecube.models.patch_forward import patch_probabilities
from lakecube.models.predictor import radiometry_of
from lakecube.models.registry import STAND_INS, Weights, choose, find, missing_bands, need_torch
from lakecube.models.spec import Radiometry
from lakecube.models.superpixel_bands import PRICE, REGION, RGB, bands_of_superpixels
from lakecube.names import (
    BANDS,
    TIME,
    VARIABLES,
    X,
    Y,
)
from lakecube.refine.aslic import aslic
from lakecube.refine.majority import superpixel_extent
from lakecube.refine.superpixels import superpixels as slic

OUTPUTS = ("water_mask", "reason", "rules_fired", "water_probability")
#: Superpixels whose patches are in memory at once.
_AT_ONCE = 1024
_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class _Network:
    """What a task needs to know besides its pixels."""

    weights: Weights
    radiometry: Radiometry
    threshold: float
    device: str | None


@law("exact", reach=5 * REGION)
def extract(
    cube: xr.Dataset,
    *,
    composite: str | None = None,
    choice: str = "median",
    model: str | os.PathLike[str] | Weights | None = None,
    threshold: float = 0.5,
    superpixels: Literal["aslic", "slic"] = "aslic",
    region: int = REGION,
    price: float = PRICE,
    device: str | None = None,
) -> xr.Dataset:
    """Water on every date of a cube by superpixels and a network that knows patches (Chen et al. 2018).

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`: the bands of the model, and `observation`; packaged are models of red, green and blue of
        8-bit pictures, of blue, green, red and nir, and of green and nir.
    composite : {None, "month", "year"}
        Judge every date, or composites.
    choice : {"median", "mndwi", "ndvi", "maximum"}
        What stands for a period in a composite, see `lakecube.detect.composite.composite`.
    model : str, path or Weights, optional
        A patch classifier: its name in `lakecube.models.registry.available()`, or a ``.safetensors`` file that
        ``lakecube train`` wrote; by default the first of those available that takes bands the cube has, one trained on
        the same kind of values (reflectance or picture) before others.
    threshold : float
        Water is above it, 0 to 1.
    superpixels : {"aslic", "slic"}
        Adaptive ones, the paper's, or plain SLIC. Their bands are the paper's, blue, green and nir, where the cube
        has them, else red, green and blue, else green and nir, with green in the place of blue. A-SLIC goes by hue and
        saturation, and in red, green and blue by intensity too, which tells lakes from land better there; SLIC of a
        picture goes by CIELAB.
    region : int
        Side of a region of A-SLIC, or the step of SLIC, pixels.
    price : float
        Of one more superpixel in a region, see `lakecube.refine.aslic.aslic`.
    device : str, optional
        ``"cpu"`` or ``"cuda"``; by default a GPU where there is one. Other devices give other last bits.

    Returns
    -------
    xr.Dataset
        `water_mask`, `reason`, `rules_fired` and `water_probability` (time, y, x), that of the pixel's superpixel, NaN
        where unknown; land has the reason ``low_probability``. A pixel is unknown where `observation` cannot be
        judged or one of the bands is NaN. `threshold`, `threshold_source` (time, index); the items along `item`;
        `elevation` (y, x), m, if the cube has it.

    Notes
    -----
    Chunks: any; those smaller than the reach are merged with their neighbours. Law: exact, on one class of devices:
    the class of a superpixel depends on the patch at its centre alone, and passes have one shape. Reach: 5·region (the
    superpixels' 2·region and their extent), with ``"slic"`` 34·region. Lazy. About 12,000 passes of 60 million
    multiplications to a megapixel.

    The centre is the mean row and column of a superpixel's pixels, rounded half up; it may lie outside a crescent.
    A patch reaches from 14 px before it to 13 px after. Beyond the edge of the data the picture is mirrored; what is
    unknown in a patch has the mean of the superpixel that is asked for.

    Raises
    ------
    InvalidInputError
        A parameter out of range; a model that is missing or is no patch classifier.
    MissingBandError
        A band of the model is missing, or no model works on the cube's bands.
    MissingDependencyError
        Without torch (extra ``deep``).

    References
    ----------
    Chen et al. (2018), 10.3390/w10050585.
    """
    need_torch()
    _check(superpixels, threshold, device)
    given = given_of(cube)
    cube = checked(cube)
    weights, names = _weights(model, cube)
    if composite is not None:
        cube = make_composite(cube, composite, choice=choice)
    outlines = _bands_of_superpixels(cube)
    part = _part(cube, sorted({*names, *outlines}))
    labels = _superpixels(cube, part, superpixels, outlines, region, price)
    extent = 3 * region if superpixels == "aslic" else superpixel_extent(region)
    out = _classified(cube, labels, names, extent, weights, threshold, device)
    used = {
        "composite": composite, "choice": choice if composite else None, "superpixels": superpixels, "region": region,
        "price": price if superpixels == "aslic" else None, "bands": outlines, "threshold": threshold,
        "model": weights.spec.name, "weights_sha256": weights.spec.sha256, "radiometry": radiometry_of(cube),
    }  # fmt: skip
    return finished(out.assign(thresholds(cube, threshold, 0.5)), cube, given, "sapcnn", PAPERS["sapcnn"], used)


def _check(superpixels: str, threshold: float, device: str | None) -> None:
    if superpixels not in ("aslic", "slic"):
        raise InvalidInputError(f"superpixels={superpixels!r}: use 'aslic' or 'slic'")
    check_threshold(threshold)
    check_device(device)


def _weights(model: Any, cube: xr.Dataset) -> tuple[Weights, list[str]]:
    """The patch classifier, and the names that its bands have in the cube."""
    have = [str(name) for name in cube.data_vars if name in BANDS]
    if model is None:
        weights = choose(have, radiometry_of(cube), patches=True)
    else:
        weights = model if isinstance(model, Weights) else find(model)
    spec = weights.spec
    if spec.patch is None:
        raise InvalidInputError(
            f"the model {spec.name} names the class of pixels, not of patches: use method='linknet50' or .water.predict"
        )
    missing = missing_bands(spec, have)
    if missing:
        raise MissingBandError(
            f"the model {spec.name} needs {', '.join(missing)}; the cube has {', '.join(have) or 'no band'}. "
            f"Open it with the bands {', '.join(spec.bands)}, or leave the model out to have one chosen"
        )
    return weights, [name if name in cube else STAND_INS[name] for name in spec.bands]


def _bands_of_superpixels(cube: xr.Dataset) -> list[str]:
    names = bands_of_superpixels(cube.data_vars)
    if names is not None:
        return list(names)
    raise MissingBandError(
        "superpixels need green and nir (better with blue), or red, green and blue; "
        f"the cube has {', '.join(str(n) for n in cube.data_vars if n in BANDS) or 'no band'}"
    )


def _part(cube: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """True where a pixel can be judged."""
    layers = chunked.alike(_bare(cube, [*names, "observation"]), (TIME, Y, X), 0)
    arrays = [layers[name].data for name in ("observation", *names)]
    pairs = [v for array in arrays for v in (array, "tyx")]
    token = tokenize([array.name for array in arrays])
    data = chunked.blockwise(_judged, "tyx", *pairs, dtype=np.dtype(bool), name="lakecube-part", token=token)
    return xr.DataArray(data, layers.coords, (TIME, Y, X))


def _bare(cube: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Some variables without the coordinates that pixels can do without."""
    layers = cube[[*names]]
    return layers.drop_vars([name for name in layers.coords if name not in (TIME, Y, X, "spatial_ref")])


def _judged(observation: np.ndarray, *bands: np.ndarray) -> np.ndarray:
    out = IS_JUDGED[observation]
    for band in bands:
        out &= np.isfinite(band)
    return out


def _superpixels(
    cube: xr.Dataset, part: xr.DataArray, kind: str, names: list[str], region: int, price: float
) -> xr.DataArray:
    shown = radiometry_of(cube) == "display"
    picture = tuple(names) == RGB
    if kind == "slic":
        colour: Literal["cielab", "reflectance"] = "cielab" if shown and picture else "reflectance"
        names = list(dict.fromkeys(names))
        return slic(cube[names], step=region, bands=names, colour=colour, mask=part)
    components: Literal["hs", "hsi"] = "hsi" if picture else "hs"
    colours = cube[[*dict.fromkeys(names)]]
    if names[0] == names[1]:
        colours, names = colours.assign(blue=cube[names[0]]), ["blue", *names[1:]]
    return aslic(
        colours, region=region, price=price, candidates=min(region, _CANDIDATES), components=components,
        scale=1.0 if shown else 1 / WHITE, bands=names, mask=part,
    )  # fmt: skip


def _classified(
    cube: xr.Dataset, labels: xr.DataArray, names: list[str], extent: int, weights: Weights, threshold: float,
    device: str | None,
) -> xr.Dataset:  # fmt: skip
    """The outputs, from tasks that return mappings of blocks."""
    layers = _bare(cube, [*dict.fromkeys(names), "observation"])
    reach = extent + (weights.spec.patch or 0) // 2
    layers = chunked.alike(layers.assign(superpixel=labels.reset_coords(drop=True)), (TIME, Y, X), reach)
    arrays: list[da.Array] = [layers[name].data for name in ("superpixel", "observation", *names)]
    network = _Network(weights, radiometry_of(cube), float(threshold), device)
    sizes = arrays[0].chunks[1:]
    pairs = [v for array in arrays for v in (chunked.with_halo(array, reach), "tyx")]
    blocks = chunked.blockwise(  # not `chunked.windowed`: superpixels that lie in the halo alone are not classified
        _classify, "tyx", *chunked.span_pairs(arrays[0]), *pairs, dtype=object, name="lakecube-sapcnn",
        token=tokenize([array.name for array in arrays], reach, network),
        adjust_chunks={"y": sizes[0], "x": sizes[1]}, reach=reach, network=network,
    )  # fmt: skip
    specs = [VARIABLES[name] for name in OUTPUTS]
    return xr.Dataset(
        {s.name: (s.dims, chunked.field(blocks, s.name, s.dtype), s.attrs) for s in specs}, coords=layers.coords
    )


def _classify(
    rows: tuple[int, int], columns: tuple[int, int], labels: np.ndarray, observation: np.ndarray, *bands: np.ndarray,
    reach: int, network: _Network,
) -> dict[str, np.ndarray]:  # fmt: skip
    inside = _own(rows, reach), _own(columns, reach)
    dates = [
        _classify_date(labels[t], observation[t][inside], np.stack([b[t] for b in bands]), inside, network)
        for t in range(labels.shape[0])
    ]
    return {name: np.stack([date[name] for date in dates]) for name in OUTPUTS}


def _own(span: tuple[int, int], reach: int) -> slice:
    """Where the pixels of a block are along one axis once it has its halo, which is clipped at the image's edge."""
    first = max(span[0] - reach, 0)
    return slice(span[0] - first, span[1] - first)


def _classify_date(
    labels: np.ndarray, observation: np.ndarray, bands: np.ndarray, inside: tuple[slice, slice], network: _Network
) -> dict[str, np.ndarray]:
    bands = np.where(labels >= 0, bands, np.float32(np.nan))
    found = regions_in(labels, bands, inside)
    chance = np.full(found.labels.size + 1, np.nan, np.float32)  # the last is for pixels outside all
    for start in range(0, found.labels.size, _AT_ONCE):
        some = slice(start, min(start + _AT_ONCE, found.labels.size))
        patches = gather(bands, found.centres[some], found.means[some], network.weights.spec.patch)
        images = network_input(list(patches.swapaxes(0, 1)), network.weights.spec, network.radiometry)
        chance[some] = patch_probabilities(network.weights, images, network.device)
    probability = chance[found.number]
    return dict(zip(OUTPUTS, (*decide(probability, observation, network.threshold), probability), strict=True))
