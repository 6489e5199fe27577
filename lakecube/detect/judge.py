"""Land or water for every pixel of every date: the labelled, lazy form of `kernels.rules.classify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
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
from lakecube.io.lazy import source_of, window_of
from lakecube.io.reader import ReadSettings, read_block
from lakecube.io.records import ItemRecord
from lakecube.kernels.histogram import INDICES
from lakecube.kernels.rules import BANDS, REACH, RuleParams, classify
from lakecube.names import INDEX, TIME, VARIABLES, X, Y

#: Smaller chunks of a given Dataset are merged: a task per few pixels is all overhead.
LEAST_CHUNK = 64

#: What one block of `judge` holds, by name.
OUTPUTS = ("water_mask", "reason", "rules_fired", "water_probability")


@law("exact", reach=REACH)
def judge(
    cube: xr.Dataset,
    threshold: xr.DataArray,
    *,
    rules: str = RuleParams().rules,
    probability: bool = False,
    **parameters: Any,
) -> xr.Dataset:
    """Judge every pixel land, water or unknown by two water indices, the removal rules and the neighbours.

    Parameters
    ----------
    cube : xr.Dataset
        Reflectance bands, at least `green` and `swir16`, and `observation`; with `slope` its rule speaks too.
        Rules whose band is missing are skipped (listed in ``attrs["rules_skipped"]``).
    threshold : xr.DataArray
        Dims (time, index): of MNDWI and AWEIsh, see `lakecube.detect.threshold.threshold`.
    rules : {"evidence", "paper", "none"}
        Weigh the evidence, or remove by hard rules (Xue et al. 2025, section 3.5), or by the indices alone.
    probability : bool
        Return `water_probability` as well (only ``"evidence"`` gives one).
    **parameters
        Fields of `lakecube.kernels.rules.RuleParams`.

    Returns
    -------
    xr.Dataset
        `water_mask` (uint8: 0 land, 1 water, 255 unknown), `reason` (uint8 flags), `rules_fired` (uint16 flag masks);
        on request `water_probability` (float32, 1; NaN where unknown). Dims (time, y, x).

    Raises
    ------
    MissingBandError
        `green` or `swir16` is missing.
    InvalidInputError
        An unknown parameter, or one out of its range.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 1 px; beyond the edge of the cube there are no neighbours. Lazy: one task per
    chunk and date reads and judges a cube straight from `open`.

    References
    ----------
    Xue et al. (2025), 10.3390/app152111490, sections 3.4 and 3.5.
    """
    params = rule_params(rules, parameters)
    cube = checked(cube)
    bands_for(cube, ("green", "swir16"), "MNDWI")
    if probability and params.rules != "evidence":
        raise InvalidInputError(f"rules={params.rules!r} gives no probability; use rules='evidence'")
    served = [band for band in BANDS if band in cube]
    judged = _judged(cube, threshold, served, params)
    specs = [VARIABLES[name] for name in OUTPUTS if probability or name != "water_probability"]
    out = xr.Dataset(
        {s.name: (s.dims, chunked.field(judged, s.name, s.dtype), s.attrs) for s in specs},
        coords={name: cube[name] for name in (TIME, Y, X, "spatial_ref") if name in cube.coords},
    )
    return out.assign_attrs(rules_skipped=" ".join(_skipped(cube)))


def rule_params(rules: str, parameters: Mapping[str, Any]) -> RuleParams:
    """`RuleParams` of a mode and changes to it, with lakecube's own errors."""
    known = [f.name for f in fields(RuleParams)]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise InvalidInputError(f"unknown parameter {', '.join(unknown)}; rules take {', '.join(known)}")
    if not isinstance(rules, str):
        raise InvalidInputError(f"rules={rules!r}: the name of a set of rules is needed, such as 'evidence' or 'paper'")
    base = {"combine": RuleParams.paper().combine} if rules == "paper" else {}
    try:
        return RuleParams(**{"rules": rules, **base, **parameters})
    except TypeError as error:
        raise InvalidInputError(f"the parameters of rules are numbers; got {dict(parameters)}") from error
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _skipped(cube: xr.Dataset) -> list[str]:
    """Rules that cannot speak for want of their band."""
    needs = {"ndvi": ("red", "nir"), "ndbi": ("nir",), "ndrei": ("rededge1", "nir"), "nir": ("nir",),
             "nir09": ("nir09",), "slope": ("slope",)}  # fmt: skip
    has = set(cube.data_vars) | ({"nir"} if "nir08" in cube else set())
    return [rule for rule, bands in needs.items() if not has.issuperset(bands)]


def _judged(cube: xr.Dataset, threshold: xr.DataArray, served: Sequence[str], params: RuleParams) -> da.Array:
    """The lazy blocks of `OUTPUTS` by name, from the files where the cube is untouched, else from its arrays."""
    cube = cube.transpose(TIME, Y, X, ...)
    limits = _aligned(threshold, cube).data
    if not isinstance(limits, da.Array):
        limits = da.from_array(np.asarray(limits, np.float32), chunks=(1, -1))
    source = source_of(cube)
    if source is not None and limits.chunks[0] == source.chunk_sizes[0]:
        slope = _halo(cube, "slope", source.chunk_sizes[1:])
        extra = [] if slope is None else [slope, "yx"]
        return source.map(_read_and_judge, limits, "ti", *extra, dtype=object, name="lakecube-judge", params=params)
    cube = chunked.enough_chunks(_all_lazy(cube).unify_chunks(), LEAST_CHUNK)
    arrays = [cube[name].data for name in (*served, "observation")]
    sizes = arrays[0].chunks
    limits = limits.rechunk({0: sizes[0], 1: -1})
    slope = _halo(cube, "slope", sizes[1:])
    extra = [] if slope is None else [slope, "yx"]
    rows, columns = (chunked.per_chunk(s, chunked.spans(s)) for s in sizes[1:])
    pairs = [v for a in arrays for v in (chunked.with_halo(a, REACH), "tyx")]
    token = tokenize([a.name for a in arrays], limits.name, getattr(slope, "name", None), params)
    return chunked.blockwise(
        _judge_arrays, "tyx", rows, "y", columns, "x", limits, "ti", *pairs, *extra, dtype=object,
        name="lakecube-judge", token=token, adjust_chunks={"y": sizes[1], "x": sizes[2]}, served=tuple(served),
        shape=(cube.sizes[Y], cube.sizes[X]), params=params,
    )  # fmt: skip


def _aligned(threshold: xr.DataArray, cube: xr.Dataset) -> xr.DataArray:
    """The thresholds (time, index) in the order of the cube's dates and of `INDICES`, by their coordinates."""
    if set(threshold.dims) != {TIME, INDEX}:
        raise InvalidInputError(f"threshold has dims {threshold.dims}; (time, index) are needed")
    try:
        for dim, wanted in ((TIME, cube[TIME].values), (INDEX, np.array(INDICES))):
            if dim in threshold.coords and not np.array_equal(threshold[dim].values, wanted):
                threshold = threshold.sel({dim: wanted})
    except KeyError as error:
        raise InvalidInputError(f"threshold has no value for {error}; one per date of the cube is needed") from error
    shape = cube.sizes[TIME], len(INDICES)
    limits = threshold.transpose(TIME, INDEX)
    if limits.shape != shape:
        raise InvalidInputError(f"threshold has shape {limits.shape}; (dates, indices) {shape} is needed")
    return limits


def _all_lazy(cube: xr.Dataset) -> xr.Dataset:
    return (
        cube if all(v.chunks is not None for v in cube.data_vars.values() if TIME in v.dims) else cube.chunk({TIME: 1})
    )


def _halo(cube: xr.Dataset, name: str, sizes: tuple[tuple[int, ...], ...]) -> da.Array | None:
    if name not in cube:
        return None
    array = cube[name].transpose(Y, X).data
    array = array.rechunk(sizes) if isinstance(array, da.Array) else da.from_array(array, chunks=sizes)
    return chunked.with_halo(array, REACH)


def _read_and_judge(
    records: tuple[ItemRecord, ...], rows: tuple[int, int], columns: tuple[int, int], limits: Any, slope: Any = None, *,
    settings: ReadSettings, params: RuleParams,
) -> dict[str, np.ndarray]:  # fmt: skip
    window = window_of(rows, columns)
    padded = window.pad(REACH).clip(settings.grid.shape)
    block = read_block(records, padded, settings, skip_masked=True)
    judged = _judge(block, slope, _row(limits, 0), params)
    return {name: np.ascontiguousarray(array[window.within(padded)])[np.newaxis] for name, array in judged.items()}


def _judge_arrays(
    rows: tuple[int, int], columns: tuple[int, int], limits: Any, *blocks: np.ndarray, served: Sequence[str],
    shape: tuple[int, int], params: RuleParams,
) -> dict[str, np.ndarray]:  # fmt: skip
    window = window_of(rows, columns)
    inside = window.within(window.pad(REACH).clip(shape))
    arrays, slope = blocks[: len(served) + 1], (blocks[len(served) + 1] if len(blocks) > len(served) + 1 else None)
    dates = []
    for i in range(arrays[0].shape[0]):
        block = {n: np.ascontiguousarray(a[i]) for n, a in zip((*served, "observation"), arrays, strict=True)}
        dates.append(_judge(block, slope, _row(limits, i), params))
    return {name: np.stack([date[name][inside] for date in dates]) for name in dates[0]}


def _row(limits: Any, i: int) -> np.ndarray:
    """The thresholds of date i; `limits` is a list of blocks along the contracted `index`."""
    return np.concatenate([block[i] for block in limits]) if isinstance(limits, list) else limits[i]


def _judge(
    block: Mapping[str, np.ndarray], slope: np.ndarray | None, limits: np.ndarray, params: RuleParams
) -> dict[str, np.ndarray]:
    bands = {name: array for name, array in block.items() if name != "observation"}
    judged = classify(bands, block["observation"], slope, limits, params)
    return {name: array for name, array in zip(OUTPUTS, judged, strict=True) if array is not None}
