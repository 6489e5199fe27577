"""What every method hands on beside its pixels: items, bounds, configuration, parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.io.lazy import audit, source_of
from lakecube.kernels.rows import rows_of
from lakecube.names import INDEX, ITEM, THRESHOLD_SOURCE, TIME, VARIABLES

#: Where a system was published, as `references` of a result says it; `CITATION.cff` has the same.
PAPERS: Mapping[str, str] = MappingProxyType({
    "fusion": "Xue et al. (2025), Multi-Feature Fusion and Cloud Restoration-Based Approach for Remote Sensing "
              "Extraction of Lake and Reservoir Water Bodies in Bijie City, Applied Sciences 15, 11490, "
              "10.3390/app152111490",
    "linknet50": "Cao et al. (2024), Refined glacial lake extraction in a high Asia region by Deep Neural Network and "
                 "Superpixel-based Conditional Random Field, The Cryosphere 18, 153, 10.5194/tc-18-153-2024",
    "sapcnn": "Chen et al. (2018), Extraction of Urban Water Bodies from High-Resolution Remote-Sensing Imagery Using "
              "Deep Learning, Water 10, 585, 10.3390/w10050585",
})  # fmt: skip


def check_parameters(method: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise InvalidInputError for a parameter that a method does not have, with a guess at what was meant."""
    known = list(known)
    unknown = sorted(set(given) - set(known))
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise InvalidInputError(f"{method} has no parameter {', '.join(unknown)}{meant}; it takes {', '.join(known)}")


def configuration_of(cube: xr.Dataset) -> str:
    """How the cube came to be, without its dates: two results of one configuration may share a store.

    A cube that was changed after `open` is known by the token of its arrays, since its items no longer tell.
    """
    how = json.loads(cube.attrs.get("configuration", "{}"))
    if source_of(cube) is None and "item_date" in cube.coords:
        how["changed"] = tokenize([cube[name].data for name in sorted(map(str, cube.data_vars))])
    return json.dumps(how, sort_keys=True)


@dataclass(frozen=True)
class Given:
    """What is known of a cube as it was given, before composites or checks change it."""

    configuration: str
    audited: xr.Dataset | None
    """What the audit of radiometric offsets found; None where the cube does not come from files."""


def given_of(cube: xr.Dataset) -> Given:
    """What a method hands on of the cube it was given."""
    source = source_of(cube)
    return Given(configuration_of(cube), audit(source) if source is not None else None)


@law("exact")
def finished(
    out: xr.Dataset, cube: xr.Dataset, given: Given, method: str, paper: str, used: Mapping[str, Any]
) -> xr.Dataset:
    """The result of a method with all that goes with it: items, audit, elevation, attributes, configuration.

    Parameters
    ----------
    out : xr.Dataset
        What the method found, on the dates and pixels of `cube`.
    cube : xr.Dataset
        The one that was judged, of composites if there are any.
    given : Given
        Of the cube before.
    method, paper, used
        Name, source and parameters.

    Notes
    -----
    Chunks: any; those of `out` are kept. Law: exact. Reach: 0. Lazy.
    """
    out = out.assign_coords(carried(cube))
    if given.audited is not None:
        out = out.assign(given.audited.data_vars)
    if "elevation" in cube:  # a store keeps it, for the elevation band of its lakes
        out = out.assign(elevation=cube["elevation"])
    return out.assign_attrs(attributes(cube, method, paper, used), configuration=given.configuration)


def carried(cube: xr.Dataset) -> dict[str, Any]:
    """Coordinates that stay with the result: bounds of composites and the items of the dates it has."""
    out: dict[str, Any] = {n: cube[n].variable for n in ("time_bounds",) if n in cube.coords}
    if "item_date" not in cube.coords:
        return out
    where = _row_of_items(cube)
    kept = np.flatnonzero(where >= 0)
    table = {}
    for name, coord in cube.coords.items():
        if str(name).startswith(("item_", "source_band")):
            table[str(name)] = coord.variable.isel({ITEM: kept}) if ITEM in coord.dims else coord.variable
    return out | table | {"item_time_index": (ITEM, where[kept].astype(np.int32), {"long_name": "row of `time`"})}


def _row_of_items(cube: xr.Dataset) -> np.ndarray:
    """Row of `time` that each item belongs to, -1 where none."""
    dates = cube["item_date"].values
    if "time_bounds" not in cube.coords:
        return rows_of(dates, cube[TIME].values)
    return rows_of(dates, *cube["time_bounds"].values.T)


def check_threshold(threshold: Any) -> None:
    """Raise InvalidInputError unless it cuts a probability in two."""
    if not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise InvalidInputError(f"threshold={threshold!r}: a probability between 0 and 1 is needed")


def thresholds(cube: xr.Dataset, threshold: float, default: float) -> dict[str, Any]:
    """The variables that tell the threshold of a probability on every date: the same for all."""
    shape = cube.sizes[TIME], 1
    source = THRESHOLD_SOURCE["fixed" if threshold == default else "given"]
    values = np.full(shape, threshold, np.float32), np.full(shape, source, np.uint8)
    specs = VARIABLES["threshold"], VARIABLES["threshold_source"]
    out: dict[str, Any] = {s.name: (s.dims, v, s.attrs) for s, v in zip(specs, values, strict=True)}
    return {**out, INDEX: np.array(["water_probability"])}


def attributes(cube: xr.Dataset, method: str, paper: str, used: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a result: those of the cube that a store can hold, the method, its paper and its parameters."""
    kept = {k: v for k, v in cube.attrs.items() if isinstance(v, str | int | float)}
    return {
        **kept,
        "title": "Surface water by lakecube",
        "method": method,
        "references": paper,
        "parameters": json.dumps(used, sort_keys=True, default=str),
    }
