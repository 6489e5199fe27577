"""Adaptive superpixels of a cube, lazily: A-SLIC of Chen et al., whose number and centres follow the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.aslic import LARGEST_REGION, REGION_SHIFT, Settings
from lakecube.kernels.aslic import aslic as kernel
from lakecube.kernels.hsi import to_hsi
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.names import TIME, X, Y
from lakecube.refine.given import dataset_of, number, scale_of, taking_part, whole
from lakecube.refine.superpixels import anchor_or_zero, coords_of

#: B1, B2 and B4 of the paper's sensors, in the place of red, green and blue.
BANDS_OF_PAPER = ("blue", "green", "nir")
#: Candidates along each side of a region, unless told otherwise.
CANDIDATES = 5


@law("exact", reach=2 * 16)
def aslic(
    data: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    region: int = 16,
    alpha: float = 0.2,
    price: float = 0.05,
    candidates: int | Literal["pixels"] | None = None,
    components: Literal["hs", "hsi"] = "hs",
    damping: float = 0.7,
    sweeps: int = 200,
    scale: float | None = None,
    bands: Sequence[str] | None = None,
    mask: xr.DataArray | np.ndarray | None = None,
) -> xr.DataArray:
    """Adaptive superpixels (A-SLIC, Chen et al. 2018): affinity propagation finds how many there are, and where.

    Hue and saturation of three bands; in each region of an anchored lattice affinity propagation chooses some points
    as centres; every pixel joins the nearest centre of the 3 × 3 regions around its own.

    Parameters
    ----------
    data : xr.Dataset, xr.DataArray or numpy.ndarray
        As for `superpixels`: a cube, an array (band, y, x) of three bands, with or without `time`.
    region : int
        Side of a region, pixels, 2 to 32. Regions are anchored to the map.
    alpha : float
        What a distance of `region` pixels weighs against colour (1: a full turn of hue, or a saturation of 1).
    price : float
        What one more centre costs, as a distance of every point of its region; less gives more superpixels. The
        preference of affinity propagation is −price · points.
    candidates : int or "pixels", optional
        Points along each side of a region that affinity propagation looks at, 2 to `region`: the fast form. By default
        5, or `region` if that is less.
        ``"pixels"``: all of them, the paper's form, hundreds of times slower.
    components : {"hs", "hsi"}
        Colour is hue and saturation, or intensity too.
    damping : float
        Share of a message that is kept from the sweep before, at least 0.5 and below 1.
    sweeps : int
        At most so many.
    scale : float, optional
        Turns a band into 0 to 1; matters to intensity only. By default 1, of uint8 1 / 255.
    bands : sequence of str, optional
        The three bands in the place of red, green and blue; of a Dataset blue, green and nir by default.
    mask : xr.DataArray or numpy.ndarray, optional
        Boolean, on the same pixels: True where they take part. By default those that can be judged, where `data` has
        an `observation`.

    Returns
    -------
    xr.DataArray
        int64, dims (time, y, x) or (y, x): the region's row and column and the centre's rank, packed
        (`kernels.aslic.region_index`); −1 where a band is NaN or the mask says no. Fragments are left as they are.

    Raises
    ------
    InvalidInputError
        A parameter is out of range, or not three bands.
    MissingBandError
        A band is missing.

    Notes
    -----
    Chunks: any; those smaller than 2·region are merged with their neighbours. Law: exact. Reach: 2·region. Lazy.

    What the paper's section 2.3.2 was taken to mean:

    - Its colour distance repeats the formula of the spatial one. Here d_c is the Euclidean distance of hue and
      saturation, which it names as the components used; with ``"hsi"`` of all three, as its step 5 can be read. Hue
      is an angle, so its difference goes the shorter way round; a turn weighs as much as a saturation of 1.
    - S in d = d_c + (α / S) · d_xy is called "the area of the cluster in the current loop". Affinity propagation
      needs similarities that stay, and areas are not known before it ends, so S is the side of a region: the interval
      of centres, as in SLIC. (Read literally, space would weigh less in large clusters, and nothing in tiny ones'
      units.)
    - α is both this weight and a message. The messages "attraction" α(i, j) and "attribution" β(i, j) are the
      responsibility and availability of Frey and Dueck; "min over i ≠ j" in β is a plain minimum.
    - Equations 14 and 16 take both messages from the sweep before; as in Frey and Dueck, availabilities here see the
      new responsibilities, and both are damped, without which the messages oscillate. Ties are broken by index.
    - The preference s(i, i) is not given, and −d(i, i) = 0 would make every pixel a centre: see `price`.
    - "The point where the sum of β and α is max" is a point whose sum with itself is positive. A centre is then moved
      to the medoid of its points, and stays: the paper names no further iteration.

    References
    ----------
    Chen et al. (2018), 10.3390/w10050585; Frey and Dueck (2007), 10.1126/science.1136800.
    """
    settings = _settings(region, alpha, price, candidates, components, damping, sweeps)
    dataset = dataset_of(data)
    names = _bands_of(dataset, bands)
    factor = scale_of(dataset[names], scale, (1.0, 1 / 255)) if settings.intensity else 1.0
    dataset = dataset[names].assign(taking_part(dataset, mask))
    anchor = anchor_or_zero(dataset, (REGION_SHIFT - 1) * settings.region)
    dims = (TIME, Y, X) if any(TIME in v.dims for v in dataset.data_vars.values()) else (Y, X)
    dataset = chunked.alike(dataset, dims, 2 * region)
    labels = _labels([v.data for v in dataset.data_vars.values()], factor, settings, anchor)
    attrs = {
        "long_name": "adaptive superpixel", "step": region, "alpha": float(alpha), "price": float(price),
        "candidates": settings.grid or "pixels", "components": components, "bands": " ".join(names),
    }  # fmt: skip
    return xr.DataArray(
        labels if len(dims) == 3 else labels[0], dims=dims, coords=coords_of(dataset, dims), name="superpixel",
        attrs=attrs,
    )  # fmt: skip


def _settings(
    region: int, alpha: float, price: float, candidates: int | str | None, components: str, damping: float, sweeps: int
) -> Settings:
    region = whole("region", region, 2, LARGEST_REGION)
    if candidates is None:
        candidates = min(CANDIDATES, region)
    grid = 0 if candidates == "pixels" else whole("candidates, if not 'pixels',", candidates, 2, region)
    if components not in ("hs", "hsi"):
        raise InvalidInputError(f"components is 'hs' or 'hsi'; got {components!r}")
    if not 0.5 <= number("damping", damping) < 1:
        raise InvalidInputError(f"damping is from 0.5 to below 1; got {damping}")
    return Settings(
        region, number("alpha", alpha), number("price", price), grid, float(damping), whole("sweeps", sweeps, 1),
        components == "hsi",
    )  # fmt: skip


def _bands_of(dataset: xr.Dataset, bands: Sequence[str] | None) -> list[str]:
    have = [str(name) for name in dataset.data_vars]
    if bands is not None:
        names = [bands] if isinstance(bands, str) else [str(name) for name in bands]
    else:
        names = have if "every" in dataset.attrs else list(BANDS_OF_PAPER)
        if "nir" not in have and "nir08" in have:
            names = ["nir08" if name == "nir" else name for name in names]
    missing = [name for name in names if name not in have]
    if missing:
        raise MissingBandError(f"A-SLIC needs {', '.join(missing)}; the data have {', '.join(have)}; use bands=")
    if len(names) != 3:
        raise InvalidInputError(f"A-SLIC takes three bands as red, green, blue; got {', '.join(names)}; use bands=")
    return names


def _labels(arrays: list[da.Array], scale: float, settings: Settings, anchor: tuple[int, int]) -> da.Array:
    arrays = [a if a.ndim == 3 else a[np.newaxis] for a in arrays]
    pairs: list[Any] = [v for a in arrays for v in (a, "tyx")]
    token = tokenize([a.name for a in arrays], scale)
    hsi = chunked.blockwise(
        _hsi, "tpyx", *pairs, dtype=np.dtype(np.int16), name="lakecube-hsi", token=token, new_axes={"p": 3},
        scale=scale,
    )  # fmt: skip
    return chunked.windowed(
        _cluster, [hsi], ["tpyx"], 2 * settings.region, dtype=np.dtype(np.int64), name="lakecube-aslic",
        settings=settings, anchor=anchor,
    )  # fmt: skip


def _hsi(*blocks: np.ndarray, scale: float) -> np.ndarray:
    out = []
    for t in range(blocks[0].shape[0]):
        hsi = to_hsi(blocks[0][t], blocks[1][t], blocks[2][t], scale)
        if len(blocks) > 3:
            part = blocks[3][t]
            hsi[0][~(IS_JUDGED[part] if part.dtype == np.uint8 else part)] = -1
        out.append(hsi)
    return np.stack(out)


def _cluster(first: tuple[int, int], hsi: np.ndarray, *, settings: Settings, anchor: tuple[int, int]) -> np.ndarray:
    anchor = anchor[0] + first[0], anchor[1] + first[1]
    return np.stack([kernel(np.ascontiguousarray(date), settings, anchor) for date in hsi])
