"""What superpixels are for: majority fusion of a water mask, and statistics of each superpixel, lazily."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube import chunked
from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.kernels.fragments import PASSES
from lakecube.kernels.regions import describe, vote
from lakecube.names import LAND, TIME, UNKNOWN, VARIABLES, WATER, X, Y
from lakecube.refine.given import layers, number, refuse_empty, whole
from lakecube.refine.superpixels import STEP

#: What `majority` did to a pixel.
CHANGES = MappingProxyType({"kept": 0, "became_water": 1, "became_land": 2, "undecided": 3})


def superpixel_extent(step: int) -> int:
    """How far apart two pixels of one superpixel can lie, joined fragments included: less than 7 steps.

    A component lies in 3 × 3 cells; a fragment is less than a step across, and two may hang on either side of it.
    """
    return (3 + 2 * PASSES) * step


@law("exact", reach=superpixel_extent(STEP))
def majority(
    mask: xr.DataArray | np.ndarray, labels: xr.DataArray | np.ndarray, *, share: float = 0.5, step: int | None = None
) -> xr.Dataset:
    """Majority fusion of Cao et al.: every pixel takes the label that most pixels of its superpixel have.

    Parameters
    ----------
    mask : xr.DataArray or numpy.ndarray
        uint8: 0 land, 1 water, others unknown; dims (time, y, x) or (y, x).
    labels : xr.DataArray or numpy.ndarray
        Superpixels, int64, on the same pixels; without `time` they hold for all dates. Negative: no superpixel.
    share : float
        The majority must have more than this share of the superpixel's known pixels, 0.5 to 1.
    step : int, optional
        Of the superpixels; by default the `step` attribute of `labels`. Regions of any other kind have no step: then
        the whole image becomes one chunk.

    Returns
    -------
    xr.Dataset
        `water_mask` (uint8), and `majority_change` (uint8 flags): kept, became_water, became_land, undecided.
        Undecided superpixels keep their pixels' own labels, and so do pixels outside all superpixels. Unknown
        pixels neither vote nor change: unknown never becomes land.

    Raises
    ------
    InvalidInputError
        `share` or the dims are not as above.

    Notes
    -----
    Chunks: any; those smaller than the reach are merged with their neighbours. Law: exact (two integer counts per
    superpixel). Reach: 7·step, the extent of a superpixel. Lazy.

    The size of a superpixel bounds what fusion can keep: even a true mask loses whatever is much smaller.

    References
    ----------
    Cao et al. (2024), 10.5194/tc-18-153-2024, section 3.2.1.
    """
    if not 0.5 <= number("share", share) <= 1:
        raise InvalidInputError(f"share={share!r}: the majority's share is a number from 0.5 to 1")
    mask = layers(mask, "mask")
    if mask.dtype != np.uint8:
        codes = f"{LAND} land, {WATER} water, {UNKNOWN} unknown"
        raise InvalidInputError(f"a water mask is uint8 ({codes}), not {mask.dtype}")
    change = {"flag_values": np.array(list(CHANGES.values()), np.uint8), "flag_meanings": " ".join(CHANGES)}
    attrs = {
        "water_mask": VARIABLES["water_mask"].attrs,
        "majority_change": {"long_name": "what the majority did", **change},
    }
    return _by_superpixel(mask, labels, step, _vote, dict.fromkeys(attrs, np.uint8), attrs, share=float(share))


@law("exact", reach=superpixel_extent(STEP))
def superpixel_statistics(
    values: xr.DataArray | np.ndarray, labels: xr.DataArray | np.ndarray, *, step: int | None = None
) -> xr.Dataset:
    """Pixels, mean and valid fraction of each superpixel, given at each of its pixels.

    Parameters
    ----------
    values : xr.DataArray or numpy.ndarray
        A band or index (NaN: unknown), or a water mask (uint8, 255 unknown: the mean is then the share of water; so
        give a band of grey levels as ``band.astype("float32")``); dims (time, y, x) or (y, x).
    labels, step
        As for `majority`.

    Returns
    -------
    xr.Dataset
        `count` (uint32, pixels of the superpixel), `mean` (float32, unit of the values, NaN where none is known),
        `fraction` (float32, 1, share of the pixels that are known). Outside all superpixels 0, NaN, NaN.

    Raises
    ------
    InvalidInputError
        Labels are not int64, or on other pixels than the values.

    Notes
    -----
    Chunks: any; those smaller than the reach are merged with their neighbours. Law: exact (float64 sums in raster
    order over the whole superpixel). Reach: 7·step, the extent of a superpixel. Lazy.
    """
    values = layers(values, "values")
    dtypes = {"count": np.uint32, "mean": np.float32, "fraction": np.float32}
    attrs: dict[str, dict[str, Any]] = {
        "count": {"long_name": "pixels of the superpixel", "units": "1"},
        "mean": {"long_name": "mean over the superpixel", **{k: v for k, v in values.attrs.items() if k == "units"}},
        "fraction": {"long_name": "share of the superpixel that is known", "units": "1"},
    }
    return _by_superpixel(values, labels, step, _describe, dtypes, attrs)


def _by_superpixel(
    values: xr.DataArray, labels: xr.DataArray | np.ndarray, step: int | None, function: Any, dtypes: dict[str, Any],
    attrs: dict[str, dict[str, Any]], **options: Any,
) -> xr.Dataset:  # fmt: skip
    """Lazy variables that depend on all pixels of a superpixel, from tasks that return mappings of blocks."""
    labels = layers(labels, "labels")
    if labels.dtype != np.int64:
        raise InvalidInputError(f"labels are int64, not {labels.dtype}; use labels.astype('int64')")
    if any(values.sizes.get(dim) != labels.sizes.get(dim) for dim in (Y, X)):
        raise InvalidInputError(f"values {dict(values.sizes)} and labels {dict(labels.sizes)} are on different pixels")
    refuse_empty(values)
    refuse_empty(labels)
    dims = (TIME, Y, X) if TIME in values.dims or TIME in labels.dims else (Y, X)
    pair = xr.Dataset({"values": values.reset_coords(drop=True), "labels": labels.reset_coords(drop=True)})
    if any(pair.sizes[dim] != values.sizes.get(dim, pair.sizes[dim]) for dim in dims):
        raise InvalidInputError("values and labels have different coordinates")
    step = labels.attrs.get("step") if step is None else step
    reach = 0 if step is None else superpixel_extent(whole("step", step, 1))
    pair = chunked.alike(pair if step is not None else pair.chunk({Y: -1, X: -1}), dims, reach)
    arrays = [v.data if len(dims) == 3 else v.data[np.newaxis] for v in (pair["values"], pair["labels"])]
    blocks = chunked.windowed(
        function, arrays, ["tyx", "tyx"], reach, dtype=object, name="lakecube-by-superpixel", **options,
    )  # fmt: skip
    out = {}
    for name, dtype in dtypes.items():
        array: da.Array = chunked.field(blocks, name, dtype)
        out[name] = (dims, array if len(dims) == 3 else array[0], attrs[name])
    coords = {n: c for n, c in (labels.coords | values.coords).items() if set(c.dims) <= set(dims)}
    return xr.Dataset(out, coords={n: coords[n] for n in (*dims, "spatial_ref") if n in coords})


def _vote(first: tuple[int, int], mask: np.ndarray, labels: np.ndarray, *, share: float) -> dict[str, np.ndarray]:
    return _stacked(("water_mask", "majority_change"), [vote(m, i, share) for m, i in _contiguous(mask, labels)])


def _describe(first: tuple[int, int], values: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    if values.dtype == np.uint8:
        values = np.where(values <= WATER, values, np.float32(np.nan)).astype(np.float32)
    return _stacked(("count", "mean", "fraction"), [describe(v, i) for v, i in _contiguous(values, labels)])


def _contiguous(values: np.ndarray, labels: np.ndarray) -> Any:
    return ((np.ascontiguousarray(v), np.ascontiguousarray(i)) for v, i in zip(values, labels, strict=True))


def _stacked(names: tuple[str, ...], dates: list[tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
    return dict(zip(names, map(np.stack, zip(*dates, strict=True)), strict=True))
