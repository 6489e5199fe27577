"""Thresholds of the water indices, one pair per date, from histograms of anchored tiles.

*Partial → combine → decide*: every block counts its part of every tile (integers), parts are added per date,
and one pure function decides. The answer is the same however the image is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.detect.indices import bands_for
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.io.grids import Window
from lakecube.io.lazy import source_of, window_of
from lakecube.io.reader import ReadSettings, read_block
from lakecube.io.records import ItemRecord
from lakecube.kernels import histogram, indices
from lakecube.names import INDEX, OBSERVATION, THRESHOLD_SOURCE, TIME, VARIABLES, X, Y

#: Water indices with a threshold, in the order of `index`.
INDICES = histogram.INDICES
#: Tiles of a date that are counted, about: more are thinned out by `stride_of`.
SAMPLE_TILES = 32

_RESULT = np.dtype([("threshold", "f4"), ("threshold_source", "u1")])
_AWEI_BANDS = ("blue", "green", "nir", "swir16", "swir22")
_NOT_COUNTED = np.uint8(OBSERVATION["not_acquired"])


@law("exact")
def threshold(
    cube: xr.Dataset,
    method: str | Mapping[str, float] = "guarded",
    *,
    sample: int | None = SAMPLE_TILES,
    **parameters: Any,
) -> xr.Dataset:
    """Thresholds of MNDWI and AWEIsh for every date.

    Parameters
    ----------
    cube : xr.Dataset
        At least `green` and `swir16`; with `blue`, `nir` (or `nir08`) and `swir22` AWEIsh as well; `observation`.
    method : str or mapping
        ``"guarded"`` (Otsu of proven bimodal tiles, within physical bounds, around a fixed value), ``"otsu"`` (the
        plain form of Xue et al. 2025), ``"bimodal_tiles"``, ``"fixed"``; or given values ``{"mndwi": 0.1}``.
    sample : int or None
        About how many anchored tiles of 256² px are counted per date; None counts all.
    **parameters
        Fields of `lakecube.kernels.histogram.ThresholdParams`.

    Returns
    -------
    xr.Dataset
        `threshold` (time, index), float32, and `threshold_source`, uint8 flags. `index` is ``mndwi``, ``awei_sh``.

    Raises
    ------
    InvalidInputError
        An unknown method or parameter.
    MissingBandError
        `green` or `swir16` is missing.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy. Depends on the whole request (its tiles), by date.

    References
    ----------
    Otsu (1979), 10.1109/TSMC.1979.4310076; Xue et al. (2025), 10.3390/app152111490, section 3.4.
    """
    cube = checked(cube)
    served = bands_for(cube, ("green", "swir16"), "the threshold of MNDWI")
    settings = _settings(method, parameters)
    if method == "fixed" or isinstance(method, Mapping):
        return _as_dataset(_constant(settings, cube.sizes[TIME]), cube)
    if all(band in cube or (band == "nir" and "nir08" in cube) for band in _AWEI_BANDS):
        served = bands_for(cube, _AWEI_BANDS, "AWEIsh")
    stride = stride_of(cube, sample)
    counts = _counts(cube, served, stride)
    token = tokenize(counts.name, sorted(settings.items()))
    decided = chunked.blockwise(
        _decide, "ti", counts, "tyx", dtype=_RESULT, name="lakecube-threshold", token=token,
        new_axes={"i": len(INDICES)}, settings=settings,
    )  # fmt: skip
    return _as_dataset(decided, cube)


def stride_of(cube: xr.Dataset, sample: int | None) -> int:
    """Every how many tiles one is counted, from the size of the request alone (not from its chunks)."""
    if sample is None:
        return 1
    if isinstance(sample, bool) or not isinstance(sample, int | np.integer) or sample < 1:
        raise InvalidInputError(f"sample={sample}: a number of tiles is needed, 1 or more, or None for all")
    tiles = np.prod([-(-cube.sizes[dim] // histogram.TILE) for dim in ("y", "x")])
    return max(1, -(-int(tiles) // sample))


def is_sampled(tile_y: Any, tile_x: Any, stride: int) -> Any:
    """True for the anchored tiles that are counted: one in `stride`, spread evenly.

    The step from row to row is coprime to the stride and near its golden section: every row or column of `stride`
    tiles holds exactly one, wherever it begins, and so does about every box of `stride` tiles.
    """
    return (tile_y * _row_step(stride) + tile_x) % stride == 0


@lru_cache(maxsize=256)
def _row_step(stride: int) -> int:
    return min((m for m in range(1, stride + 1) if gcd(m, stride) == 1), key=lambda m: abs(m - 0.618 * stride))


def _settings(method: str | Mapping[str, float], parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if isinstance(method, Mapping):
            unknown = set(method) - set(INDICES)
            if unknown or not method:
                raise InvalidInputError(f"threshold={dict(method)}: give values for {' and '.join(INDICES)}")
            if not all(np.isfinite(float(value)) for value in method.values()):
                raise InvalidInputError(f"threshold={dict(method)}: finite numbers are needed")
            given = [float(method.get(name, "nan")) for name in INDICES]
            base = histogram.ThresholdParams(**parameters).fixed
            return {"values": [b if np.isnan(g) else g for g, b in zip(given, base, strict=True)],
                    "source": "given"}  # fmt: skip
        histogram.decide_thresholds(np.zeros((0, len(INDICES), histogram.N_BINS), np.int64), method, **parameters)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"threshold: {error}") from error
    if method == "fixed":
        return {"values": list(histogram.ThresholdParams(**parameters).fixed), "source": "fixed"}
    return {"method": method, **parameters}


def _constant(settings: Mapping[str, Any], n: int) -> da.Array:
    row = np.empty((n, len(INDICES)), _RESULT)
    row["threshold"], row["threshold_source"] = settings["values"], THRESHOLD_SOURCE[settings["source"]]
    return da.from_array(row, chunks=(1, len(INDICES)), name=f"lakecube-threshold-{tokenize(row)}")


def _as_dataset(decided: da.Array, cube: xr.Dataset) -> xr.Dataset:
    names = ("threshold", "threshold_source")
    return xr.Dataset(
        {name: (VARIABLES[name].dims, chunked.field(decided, name), VARIABLES[name].attrs) for name in names},
        coords={TIME: cube[TIME], INDEX: list(INDICES)},
    )


def _counts(cube: xr.Dataset, served: Mapping[str, str], stride: int) -> da.Array:
    """Per block the counts of its tiles, as object blocks (time, y, x) of (ids, counts)."""
    cube = cube.transpose(TIME, Y, X, ...)
    anchor = chunked.anchor_of(cube)
    source = source_of(cube)
    if source is not None:
        return source.map(
            _count_read, dtype=object, name="lakecube-histogram", served=dict(served), anchor=anchor, stride=stride
        )
    arrays = [cube[name].data for name in (*dict.fromkeys(served.values()), "observation")]
    arrays = [a if isinstance(a, da.Array) else da.from_array(a, chunks=(1, -1, -1)) for a in arrays]
    arrays = list(da.core.unify_chunks(*[v for a in arrays for v in (a, "tyx")])[1])
    rows, columns = (chunked.per_chunk(sizes, chunked.spans(sizes)) for sizes in arrays[0].chunks[1:])
    token = tokenize([a.name for a in arrays], anchor, stride, sorted(served.items()))
    return chunked.blockwise(
        _count_arrays, "tyx", rows, "y", columns, "x", *[v for a in arrays for v in (a, "tyx")], dtype=object,
        name="lakecube-histogram", token=token, served=dict(served), anchor=anchor, stride=stride,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """Tile counts of one block: per date a list of (tile ids, counts)."""

    dates: list[list[tuple[np.ndarray, np.ndarray]]]


def _count_read(
    records: tuple[ItemRecord, ...], rows: tuple[int, int], columns: tuple[int, int], *, settings: ReadSettings,
    served: Mapping[str, str], anchor: tuple[int, int], stride: int,
) -> BlockCounts:  # fmt: skip
    """Count the sampled tiles of one block, reading only the bands the indices need."""
    bands = tuple(dict.fromkeys([*served.values(), *settings.validity_bands]))
    window = window_of(rows, columns)
    parts = []
    for tile in [window] if stride == 1 else _sampled_windows(window, anchor, stride):
        block = read_block(records, tile, settings, bands, skip_masked=True)
        parts.append(_count(block, served, (tile.y0 + anchor[0], tile.x0 + anchor[1])))
    return BlockCounts([parts])


def _sampled_windows(window: Window, anchor: tuple[int, int], stride: int) -> Iterator[Window]:
    """The counted tiles' parts inside a window."""
    side = histogram.TILE
    for ty in range((window.y0 + anchor[0]) // side, -(-(window.y1 + anchor[0]) // side)):
        for tx in range((window.x0 + anchor[1]) // side, -(-(window.x1 + anchor[1]) // side)):
            if is_sampled(ty, tx, stride):
                top, left = ty * side - anchor[0], tx * side - anchor[1]
                yield Window(
                    max(window.y0, top), min(window.y1, top + side), max(window.x0, left), min(window.x1, left + side)
                )


def _count_sampled(
    block: dict[str, np.ndarray], served: Mapping[str, str], window: Window, anchor: tuple[int, int], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count a whole block, its pixels in other tiles than the sampled ones left out."""
    row, column = window.y0 + anchor[0], window.x0 + anchor[1]
    if stride > 1:
        ty, tx = (np.arange(a, a + n) // histogram.TILE for a, n in zip((row, column), window.shape, strict=True))
        counted = is_sampled(ty[:, None], tx[None, :], stride)
        block = block | {"observation": np.where(counted, block["observation"], _NOT_COUNTED)}
    return _count(block, served, (row, column))


def _count_arrays(
    rows: tuple[int, int], columns: tuple[int, int], *blocks: np.ndarray, served: Mapping[str, str],
    anchor: tuple[int, int], stride: int,
) -> BlockCounts:  # fmt: skip
    """Count the sampled tiles of blocks that are there already; any number of dates per block."""
    names = (*dict.fromkeys(served.values()), "observation")
    window = window_of(rows, columns)
    dates = []
    for i in range(blocks[0].shape[0]):
        block = {name: np.ascontiguousarray(array[i]) for name, array in zip(names, blocks, strict=True)}
        dates.append([_count_sampled(block, served, window, anchor, stride)])
    return BlockCounts(dates)


def _count(
    block: Mapping[str, np.ndarray], served: Mapping[str, str], origin: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    bands = {band: block[name] for band, name in served.items()}
    awei = indices.CATALOGUE["awei_sh"](bands) if "swir22" in bands else None
    mndwi = indices.mndwi(bands["green"], bands["swir16"])
    ids, counts = histogram.count_tiles(mndwi, awei, block["observation"], *origin)
    held = counts.any(axis=(1, 2))
    return ids[held], counts[held].astype(np.int32)


def _decide(blocks: Any, *, settings: Mapping[str, Any]) -> np.ndarray:
    """Add the counts of the blocks of one date (or several) and decide; `blocks` are nested lists over y and x."""
    found = list(_leaves(blocks))
    out = np.empty((len(found[0].dates), len(INDICES)), _RESULT)
    for i, row in enumerate(out):
        _, counts = histogram.merge_counts([part for block in found for part in block.dates[i]])
        row["threshold"], row["threshold_source"] = histogram.decide_thresholds(counts, **settings)
    return out


def _leaves(nested: Any) -> Iterator[BlockCounts]:
    if isinstance(nested, BlockCounts):
        yield nested
    else:
        for inner in nested:
            yield from _leaves(inner)
