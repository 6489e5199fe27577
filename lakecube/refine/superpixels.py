"""Superpixels of a cube, lazily: SLIC on a lattice anchored to the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.between_blocks import exchanged
from lakecube.chunked import law
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.fragments import SHIFT
from lakecube.kernels.lab import rgb_to_lab
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.kernels.slic import ids_of, slic_quanta
from lakecube.kernels.slic_exchange import Piece, Sums, advance, begin
from lakecube.kernels.slic_quanta import JOINING, Scaling, quantise, slic_reach
from lakecube.names import BANDS, TIME, X, Y
from lakecube.refine.given import dataset_of, number, scale_of, taking_part, whole

#: Pixels between seeds, unless told otherwise.
STEP = 16
#: Dates of at most so many pixels are worked on as a whole, in chunks that exchange sums: about 18 bytes a pixel.
EXCHANGED = 2**26
#: Rows to a chunk of data that are in memory, so that several threads share the work.
ROWS = 1024


@dataclass(frozen=True)
class _Settings:
    scaling: Scaling
    scale: float
    offset: float
    colour: str
    iterations: int
    join: bool
    anchor: tuple[int, int]
    reach: int
    exchange: bool


@law("exact", reach=slic_reach(STEP, 10))
def superpixels(
    data: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    step: int | None = None,
    n_segments: int | None = None,
    compactness: float = 10.0,
    iterations: int = 10,
    scale: float | None = None,
    bands: Sequence[str] | None = None,
    colour: Literal["reflectance", "cielab"] = "reflectance",
    mask: xr.DataArray | np.ndarray | None = None,
    enforce_connectivity: bool = True,
    exchange: bool | None = None,
) -> xr.DataArray:
    """Superpixels by simple linear iterative clustering (SLIC), seeded on a lattice anchored to the map.

    Parameters
    ----------
    data : xr.Dataset, xr.DataArray or numpy.ndarray
        A cube with reflectance bands; an array with dims `band`, `y`, `x` (and `time`), or one band without `band`;
        a NumPy array (band, y, x). Its lattice then starts at the first pixel.
    step, n_segments : int, optional
        Pixels between seeds (by default 16), or about how many superpixels the request shall have; fragments that
        no superpixel can take (orphans) come on top. Two requests agree only for an equal `step`.
    compactness : float
        Units of feature that weigh as much as `step` pixels; greater is squarer.
    iterations : int
        Always so many: stopping when nothing moves would depend on the request.
    scale : float, optional
        Declared, never taken from the data. Units of feature per unit of reflectance, by default 200: a difference
        of 0.05 then weighs as much as a compactness of 10; −0.39 to 0.88 are told apart. For ``"cielab"`` what turns
        a band into sRGB from 0 to 1, by default 1. Of grey levels (uint8) the defaults are 100 / 255 and 1 / 255;
        other integers have none.
    bands : sequence of str, optional
        Of a Dataset; by default green, nir (or nir08) and swir16 if it has them, else all its reflectance bands;
        for ``"cielab"`` red, green, blue.
    colour : {"reflectance", "cielab"}
        The features: the bands themselves, or three bands as red, green and blue turned into CIELAB as in the paper.
    mask : xr.DataArray or numpy.ndarray, optional
        Boolean, on the same pixels: True where they take part. By default those that can be judged, where `data` has
        an `observation`.
    enforce_connectivity : bool
        Join fragments of fewer than `step` pixels to the neighbour with the longest common border; larger ones become
        superpixels of their own (`kernels.fragments`).
    exchange : bool, optional
        How chunks work together; the labels are the same. True: all chunks of a date go through the iterations
        together and exchange their sums, so that no pixel is worked on twice, but the quanta of the whole date are
        in memory at once. False: each chunk by itself, with a halo of the reach around it. By default true up to
        2²⁶ pixels.

    Returns
    -------
    xr.DataArray
        int64, dims (time, y, x) or (y, x): row and column on the lattice, or of its first pixel, packed
        (`kernels.fragments.lattice_index`); −1 where a band is NaN or the mask says no. The ids are beyond 2⁵³: tools
        that compute in float64 (`scipy.ndimage`, scikit-image's `mark_boundaries`) take neighbours for one, so number
        them first.

    Raises
    ------
    InvalidInputError
        A parameter is out of range, or `data` has other dims.
    MissingBandError
        A band that was asked for is missing.

    Notes
    -----
    Chunks: any; those smaller than 5·step (with ``exchange=False``: than the reach) are merged with their neighbours.
    Law: exact. Reach: (2·iterations + 5)·step, or 2·iterations·step without joining. Lazy. Two tasks per chunk and
    iteration with `exchange`; without it (1 + 2·reach/chunk)² times the work, one task per chunk.

    Examples
    --------
    >>> left_dark = np.full((3, 32, 32), 0.3, np.float32)
    >>> left_dark[:, :, :13] = 0.05
    >>> labels = superpixels(left_dark, step=16)
    >>> numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)  # 0, 1, 2, … to draw them
    >>> numbers[0, [0, 12, 13, 31]].tolist()
    [0, 0, 1, 1]

    References
    ----------
    Achanta et al. (2012), 10.1109/TPAMI.2012.120; Cao et al. (2024), 10.5194/tc-18-153-2024, section
    3.2.1.
    """
    dataset = dataset_of(data, colour)
    names = _bands_of(dataset, bands, colour)
    size = dataset.sizes[Y] * dataset.sizes[X]
    if step is not None and n_segments is not None:
        raise InvalidInputError("give step or n_segments, not both")
    if n_segments is not None:
        step = max(round((size / whole("n_segments", n_segments, 1)) ** 0.5), 2)
    step = whole("step", STEP if step is None else step, 2, 4096)
    iterations = whole("iterations", iterations, 1)
    try:
        scaling = Scaling.of(step, number("compactness", compactness), len(names))
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    factor = scale_of(dataset[names], scale, (1.0, 1 / 255) if colour == "cielab" else (200.0, 100 / 255))
    settings = _Settings(
        scaling, factor, -50.0, colour, iterations, enforce_connectivity, anchor_or_zero(dataset),
        slic_reach(scaling.step, iterations, enforce_connectivity),
        size <= EXCHANGED if exchange is None else exchange,
    )  # fmt: skip
    dataset = dataset[names].assign(taking_part(dataset, mask))
    dims = (TIME, Y, X) if any(TIME in v.dims for v in dataset.data_vars.values()) else (Y, X)
    if settings.exchange and not any(isinstance(v.data, da.Array) for v in dataset.data_vars.values()):
        dataset = dataset.chunk({dim: 1 if dim == TIME else ROWS for dim in dims[:-1]})
    dataset = chunked.alike(dataset, dims, JOINING * scaling.step if settings.exchange else settings.reach)
    ids = _superpixels([v.data for v in dataset.data_vars.values()], len(names), settings)
    attrs = {
        "long_name": "superpixel", "step": scaling.step, "compactness": float(compactness), "iterations": iterations,
        "scale": factor, "colour": colour, "bands": " ".join(map(str, names)),
    }  # fmt: skip
    return xr.DataArray(
        ids if len(dims) == 3 else ids[0], dims=dims, coords=coords_of(dataset, dims), name="superpixel", attrs=attrs
    )


def _bands_of(dataset: xr.Dataset, bands: Sequence[str] | None, colour: str) -> list[str]:
    have = [str(n) for n in dataset.data_vars if n in BANDS]
    if "every" in dataset.attrs:
        have = [str(n) for n in dataset.data_vars]
    nir = "nir" if "nir" in have else "nir08"
    if bands is not None:
        names = [bands] if isinstance(bands, str) else [str(name) for name in bands]
    elif colour == "cielab":
        names = have if len(have) == 3 and "every" in dataset.attrs else ["red", "green", "blue"]
    else:
        names = ["green", nir, "swir16"] if {"green", nir, "swir16"} <= set(have) else have
    missing = [n for n in names if n not in dataset]
    if missing or not names:
        needed = ", ".join(missing) or "a band"
        there = ", ".join(have) or "none: take the cube, or use bands="
        raise MissingBandError(f"superpixels need {needed}; of bands the data have {there}")
    if colour == "cielab" and len(names) != 3:
        raise InvalidInputError(f"CIELAB takes three bands as red, green, blue; got {', '.join(names)}")
    return names


def anchor_or_zero(data: xr.Dataset, most: int = SHIFT) -> tuple[int, int]:
    """Absolute row and column of the first pixel; 0, 0 without coordinates. Ids hold less than `most` of them."""
    if Y not in data.coords or X not in data.coords:
        return 0, 0
    anchor = chunked.anchor_of(data)
    far = max(max(abs(first), abs(first + data.sizes[dim])) for first, dim in zip(anchor, (Y, X), strict=True))
    if far >= most:
        raise InvalidInputError(
            f"the coordinates lie {far:,} pixels from their origin, and ids hold {most:,}: are y and x in the unit of "
            "the CRS? .assign_coords gives others"
        )
    return anchor


def coords_of(dataset: xr.Dataset, dims: tuple[str, ...]) -> Mapping[Any, Any]:
    """Coordinates of these dims, and the CRS."""
    return {n: dataset[n] for n in (*dims, "spatial_ref") if n in dataset.coords}


def _superpixels(arrays: list[da.Array], n_bands: int, settings: _Settings) -> da.Array:
    arrays = [a if a.ndim == 3 else a[np.newaxis] for a in arrays]
    pairs = [v for a in arrays for v in (a, "tyx")]
    token = tokenize([a.name for a in arrays], n_bands, settings)
    packed = chunked.blockwise(
        _quantise, "tpyx", *pairs, dtype=np.dtype(np.int32), name="lakecube-quanta", token=token,
        new_axes={"p": (n_bands + 1) // 2}, n_bands=n_bands, settings=settings,
    )  # fmt: skip
    if not settings.exchange or packed.npartitions == packed.numblocks[0]:
        return chunked.windowed(
            _cluster, [packed], ["tpyx"], settings.reach, dtype=np.dtype(np.int64), name="lakecube-slic",
            settings=settings,
        )  # fmt: skip
    codes = exchanged(
        partial(_begin, settings=settings), _share, partial(_advance, scaling=settings.scaling), _codes, packed,
        settings.iterations, dtype=np.dtype(np.uint8), name="lakecube-slic-codes", token=token,
    )  # fmt: skip
    reach = JOINING * settings.scaling.step if settings.join else 0
    return chunked.windowed(
        _ids, [codes], ["tyx"], reach, dtype=np.dtype(np.int64), name="lakecube-slic", settings=settings
    )


def _quantise(*blocks: np.ndarray, n_bands: int, settings: _Settings) -> np.ndarray:
    out = []
    for t in range(blocks[0].shape[0]):
        layers = [_float32(b[t]) for b in blocks[:n_bands]]
        part = blocks[n_bands][t] if len(blocks) > n_bands else None
        if part is not None:
            part = IS_JUDGED[part] if part.dtype == np.uint8 else part
        if settings.colour == "cielab":
            lab = rgb_to_lab(layers[0], layers[1], layers[2], settings.scale)
            out.append(quantise(list(lab), settings.scaling, 1.0, (settings.offset, 0.0, 0.0), part))
        else:
            out.append(quantise(layers, settings.scaling, settings.scale, settings.offset, part))
    return _stacked(out)


def _stacked(dates: list[np.ndarray]) -> np.ndarray:
    """Dates one after another; a single one without a copy."""
    return dates[0][np.newaxis] if len(dates) == 1 else np.stack(dates)


def _float32(band: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold is clipped afterwards
        return np.ascontiguousarray(band, np.float32)


def _cluster(first: tuple[int, int], packed: np.ndarray, *, settings: _Settings) -> np.ndarray:
    anchor = settings.anchor[0] + first[0], settings.anchor[1] + first[1]
    return _stacked([slic_quanta(p, settings.scaling, anchor, settings.iterations, settings.join) for p in packed])


def _begin(block: np.ndarray, rows: Sequence[int], columns: Sequence[int], *, settings: _Settings) -> list[Piece]:
    anchor = settings.anchor[0] + rows[0], settings.anchor[1] + columns[0]
    return [begin(pairs, settings.scaling, anchor) for pairs in block]


def _share(dates: list[Piece]) -> list[Sums]:
    return [piece.sums for piece in dates]


def _advance(dates: list[Piece], others: list[list[Sums]], *, scaling: Scaling) -> list[Piece]:
    return [advance(piece, [sums[t] for sums in others], scaling) for t, piece in enumerate(dates)]


def _codes(dates: list[Piece]) -> np.ndarray:
    return _stacked([piece.image() for piece in dates])


def _ids(first: tuple[int, int], codes: np.ndarray, *, settings: _Settings) -> np.ndarray:
    anchor = settings.anchor[0] + first[0], settings.anchor[1] + first[1]
    return _stacked([ids_of(date, settings.scaling.step, anchor, settings.join, 1) for date in codes])
