"""Restoration by a random forest on frequency and indices, trained on the visible pixels (Xue et al., 2025, §3.6).

A hidden pixel has no index of its date, so its features are those of its other dates and of the scene of that date:

1. water frequency, this date left out;
2. water frequency in the same season (the month, the one before and the one after, of any year), this date left out;
3. how much more or less of the visible shore (wet on some dates, dry on others) is wet than its frequencies say;
4. `elevation`, if the Dataset has it;
5. mean MNDWI and AWEIsh of the clear dates, if the Dataset has `mndwi` and `awei_sh` (time, y, x).

One forest learns from an anchored sample of all dates, so that it is the same for every chunking. The paper trains on
5,000 points labelled by hand; here the visible pixels are the labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube.chunked import anchor_of, blockwise, per_chunk, spans
from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.kernels.heights import BINS
from lakecube.kernels.shore import DRY, WET, count_shore
from lakecube.names import TIME, UNKNOWN, WATER, X, Y
from lakecube.series.occurrence import count

_MONTHS = 12
#: Steps of the lattice of samples from column to column and from day to day: primes, so that no line is favoured.
_COLUMN_STEP, _DAY_STEP = 7919, 104729
#: The shore is sampled this many times as densely as the rest.
_DENSER = 8
#: Indices are added as integers of this many to 1; and what stands for an index that was not seen.
_INDEX_SCALE, _UNSEEN = 10_000, np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class ForestParams:
    """Size of the forest and its sample.

    Parameters
    ----------
    trees : int
        Number of trees.
    sample : int
        About how many visible pixels of all dates to train on (without the denser sample of the shore).
    min_leaf : int
        Smallest number of pixels in a leaf.
    seed : int
        Of scikit-learn's generator.
    """

    trees: int = 100
    sample: int = 20_000
    min_leaf: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("trees", "sample", "min_leaf"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class _Setting:
    """Month (0 to 11) and day number of every date, place of the first pixel, every how many pixels is a sample."""

    months: tuple[int, ...]
    days: tuple[int, ...]
    anchor: tuple[int, int]
    stride: int
    params: ForestParams
    p: float


def forest_blocks(
    dataset: xr.Dataset, mask: xr.DataArray, wet: da.Array, clear: da.Array, p: float, params: ForestParams
) -> da.Array:
    """What is hidden of `mask` (time, y, x), by a forest: uint8, 0 or 1 where hidden and ever seen, else 255."""
    if find_spec("sklearn") is None:
        raise MissingDependencyError('method="forest" needs scikit-learn: pip install -c constraints.txt ".[forest]"')
    states: da.Array = mask.data
    setting = _setting(mask, p, params)
    layers = (*_seasons(mask, setting.months), *_statics(dataset, mask))
    token = tokenize(states.name, [layer.name for layer in layers], setting)
    places = [v for dim, sizes in zip("tyx", states.chunks, strict=True) for v in (per_chunk(sizes, spans(sizes)), dim)]
    counted = (states, "tyx", wet, "yx", clear, "yx")
    scene = _objects(_count_scene, "tyx", *places[:2], *counted, name="scene", token=token)
    n_dates = len(setting.days)
    surplus = _objects(_surplus, "d", scene, "tyx", name="surplus", token=token, new_axes={"d": 1}, n_dates=n_dates)
    features = (*counted, surplus, "d", *(v for layer in layers for v in (layer, "syx"[-layer.ndim :])))
    samples = _objects(_sample, "tyx", *places, *features, name="forest-sample", token=token, setting=setting)
    forest = _objects(_fit, "d", samples, "tyx", name="forest", token=token, new_axes={"d": 1}, params=params)
    return blockwise(
        _predict, "tyx", *places[:2], forest, "d", *features, dtype=np.uint8, name="lakecube-restored", token=token,
        setting=setting,
    )  # fmt: skip


def _objects(function: Any, index: str, *pairs: Any, name: str, token: str, **options: Any) -> da.Array:
    return blockwise(function, index, *pairs, dtype=object, name=f"lakecube-{name}", token=token, **options)


def _setting(mask: xr.DataArray, p: float, params: ForestParams) -> _Setting:
    if TIME not in mask.coords or mask[TIME].dtype.kind != "M":
        raise InvalidInputError("the forest needs a coordinate `time` of datetimes: mask.assign_coords(time=dates)")
    months = mask[TIME].dt.month.values.astype(int) - 1
    days = mask[TIME].values.astype("datetime64[D]").astype(int)
    anchor = anchor_of(mask) if {Y, X} <= set(mask.coords) else (0, 0)
    return _Setting(tuple(months.tolist()), tuple(days.tolist()), anchor, max(1, mask.size // params.sample), params, p)


def _seasons(mask: xr.DataArray, months: tuple[int, ...]) -> list[da.Array]:
    """Wet and clear dates of the season around each month: two arrays (12, y, x) uint32, a chunk each month."""
    pairs = []
    for month in range(_MONTHS):
        near = [i for i, other in enumerate(months) if (other - month) % _MONTHS in (0, 1, _MONTHS - 1)]
        pairs.append(count(mask.isel({TIME: near})))
    return [da.stack([pair[name].data for pair in pairs]) for name in ("count_wet", "count_clear")]


def _statics(dataset: xr.Dataset, mask: xr.DataArray) -> list[da.Array]:
    """What the Dataset holds of each pixel beside its states: float32 (y, x) each, NaN where unknown."""
    chunks = mask.data.chunks
    out = []
    if "elevation" in dataset:
        height = dataset["elevation"].transpose(Y, X).astype(np.float32).data
        out.append(da.asarray(height).rechunk(chunks[1:]))
    for name in ("mndwi", "awei_sh"):
        if name in dataset:
            values = da.asarray(dataset[name].transpose(TIME, Y, X).data).rechunk(chunks)
            quanta = blockwise(_quanta, "tyx", values, "tyx", mask.data, "tyx", dtype=np.int64, name=f"lakecube-{name}")
            known = (quanta != _UNSEEN).sum(axis=0)
            total = da.where(quanta == _UNSEEN, 0, quanta).sum(axis=0)
            out.append(blockwise(_mean, "yx", total, "yx", known, "yx", dtype=np.float32, name=f"lakecube-mean-{name}"))
    return out


def _quanta(values: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Index in integers, so that its sum is exact; `_UNSEEN` where the pixel was not seen."""
    known = (states <= 1) & np.isfinite(values)
    return np.where(known, np.rint(np.where(known, values, 0) * _INDEX_SCALE), _UNSEEN).astype(np.int64)


def _mean(total: np.ndarray, known: np.ndarray) -> np.ndarray:
    return _ratio(total, known).astype(np.float32)


def _count_scene(
    dates: tuple[int, int], states: np.ndarray, wet: np.ndarray, clear: np.ndarray
) -> tuple[int, np.ndarray]:
    outside = np.full(wet.shape, -1, np.int32)
    return dates[0], count_shore(states, wet, clear, outside, 0)[:, 0].astype(np.int64)


def _surplus(scene: Any, *, n_dates: int) -> np.ndarray:
    """Wet share of the visible shore of each date, less what its frequencies say: (time,) float32, 0 without shore."""
    total = np.zeros((n_dates, BINS, 3), np.int64)
    for first, counts in _leaves(scene):
        total[first : first + len(counts)] += counts
    between = total[:, 1:-1]
    visible = between[..., WET] + between[..., DRY]
    middle = (np.arange(BINS - 2) + 0.5) / (BINS - 2)
    more = between[..., WET].sum(axis=1) - visible @ middle
    return (more / np.maximum(visible.sum(axis=1), 1)).astype(np.float32)


def _features(
    chosen: np.ndarray, dates: slice, states: np.ndarray, wet: np.ndarray, clear: np.ndarray, surplus: Any,
    layers: tuple[Any, ...], setting: _Setting,
) -> np.ndarray:  # fmt: skip
    """Features of the chosen pixels of a block: (n, features) float32, NaN where unknown."""
    t, y, x = np.nonzero(chosen)
    state = states[t, y, x]
    own_wet, own_clear = (state == 1).astype(np.int64), (state <= 1).astype(np.int64)
    month = np.array(setting.months[dates])[t]
    season_wet, season_clear = (np.concatenate(layer)[month, y, x] for layer in layers[:2])
    columns = [
        _ratio(wet[y, x] - own_wet, clear[y, x] - own_clear),
        _ratio(season_wet - own_wet, season_clear - own_clear),
        surplus[0][dates][t],
        *(layer[y, x] for layer in layers[2:]),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _ratio(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    return np.divide(wet, clear, out=np.full(wet.shape, np.nan), where=clear > 0)


def _sample(
    dates: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int], states: np.ndarray, wet: np.ndarray,
    clear: np.ndarray, surplus: Any, *layers: Any, setting: _Setting,
) -> np.ndarray:  # fmt: skip
    """Visible pixels on an anchored lattice of rows, columns and days: what they are, and their features."""
    day = np.array(setting.days[slice(*dates)])[:, None, None]
    row = (np.arange(*rows) + setting.anchor[0])[:, None]
    column = np.arange(*columns) + setting.anchor[1]
    place = row + _COLUMN_STEP * column + _DAY_STEP * day
    shore = (wet > 0) & (wet < clear)
    stride = np.where(shore, max(1, setting.stride // _DENSER), setting.stride)
    chosen = (place % stride == 0) & (states <= 1)
    t, y, x = np.nonzero(chosen)
    known = np.stack([day[t, 0, 0], row[y, 0], column[x], states[t, y, x]], axis=1)
    return np.hstack([known, _features(chosen, slice(*dates), states, wet, clear, surplus, layers, setting)])


def _fit(samples: Any, *, params: ForestParams) -> Any:
    """The forest, from the samples of all blocks in the order of day, row and column; None if there are none."""
    from sklearn.ensemble import RandomForestClassifier

    table = np.concatenate(list(_leaves(samples)))
    if len(table) == 0:
        return None
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    forest = RandomForestClassifier(
        params.trees, min_samples_leaf=params.min_leaf, random_state=params.seed, n_jobs=1
    )  # fmt: skip
    return forest.fit(table[:, 4:].astype(np.float32), table[:, 3].astype(np.uint8))


def _predict(
    dates: tuple[int, int], forest: Any, states: np.ndarray, wet: np.ndarray, clear: np.ndarray, surplus: Any,
    *layers: Any, setting: _Setting,
) -> np.ndarray:  # fmt: skip
    out = np.full(states.shape, UNKNOWN, np.uint8)
    hidden = (states > 1) & (clear > 0)
    if forest[0] is not None and hidden.any():
        table = _features(hidden, slice(*dates), states, wet, clear, surplus, layers, setting)
        out[hidden] = _probability(forest[0], table) > setting.p
    return out


def _probability(forest: Any, table: np.ndarray) -> np.ndarray:
    """Mean share of water in the leaves of the trees: what the forest's own method gives.

    That method sends every tree through joblib, whose bookkeeping of warnings is not safe in the threads of Dask.
    """
    water = np.flatnonzero(forest.classes_ == WATER)
    total = np.zeros(len(table))
    for tree in forest.estimators_:
        total += tree.predict_proba(table, check_input=False)[:, water].sum(axis=1)
    return total / len(forest.estimators_)


def _leaves(nested: Any) -> Iterator[Any]:
    if isinstance(nested, list):
        for inner in nested:
            yield from _leaves(inner)
    else:
        yield nested
