"""`fusion`: multi-feature water detection after Xue et al. (2025), one readable composition of the rooms below.

cloud mask → (monthly composite) → MNDWI + AWEIsh, a threshold each per date → removal rules → land, water or
unknown with the reason for each. The published numbers are ``threshold="otsu", rules="paper",
composite="month"``; the defaults are guarded forms of the same chain that hold up on scenes with little water.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube.chunked import law
from lakecube.detect.composite import composite as make_composite
from lakecube.detect.judge import judge, rule_params
from lakecube.detect.threshold import SAMPLE_TILES
from lakecube.detect.threshold import threshold as find_threshold
from lakecube.errors import InvalidInputError
from lakecube.io.lazy import BlockSource, audit, source_of
from lakecube.kernels.histogram import ThresholdParams
from lakecube.kernels.rules import REACH, RuleParams
from lakecube.names import ITEM, TIME

PAPER = "Xue et al. (2025), Multi-Feature Fusion and Cloud Restoration-Based Approach, 10.3390/app152111490"

_THRESHOLD_FIELDS = tuple(f.name for f in fields(ThresholdParams))
_RULE_FIELDS = tuple(f.name for f in fields(RuleParams) if f.name != "rules")


@law("exact", reach=REACH)
def extract(
    cube: xr.Dataset,
    *,
    composite: str | None = None,
    choice: str = "median",
    threshold: Any = "guarded",
    rules: str = "evidence",
    sample: int | None = SAMPLE_TILES,
    probability: bool = False,
    **parameters: Any,
) -> xr.Dataset:
    """Water on every date of a cube by multi-feature fusion (Xue et al. 2025).

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`: reflectance bands (at least `green` and `swir16`), `observation`; `slope` with a DEM.
    composite : {None, "month", "year"}
        Judge every date, or composites; the paper's are monthly.
    choice : {"median", "mndwi", "ndvi", "maximum"}
        What stands for a period in a composite, see `lakecube.detect.composite.composite`. The paper's "Maximum Value
        Composite" is ``"ndvi"`` as the field knows it, ``"maximum"`` if read literally.
    threshold : str or mapping
        ``"guarded"``, ``"otsu"`` (the paper's), ``"bimodal_tiles"``, ``"fixed"``, or values
        ``{"mndwi": 0.1, "awei_sh": 0}``.
    rules : {"evidence", "paper", "none"}
        Weigh the evidence of the paper's rules, apply them as published, or use the indices alone.
    sample : int or None
        About how many anchored tiles of 256² px tell the thresholds of a date; None: all.
    probability : bool
        Return `water_probability` as well.
    **parameters
        Any field of `lakecube.kernels.histogram.ThresholdParams` or `lakecube.kernels.rules.RuleParams`.

    Returns
    -------
    xr.Dataset
        `water_mask`, `reason`, `rules_fired` (time, y, x); `threshold`, `threshold_source` (time, index); the items
        along `item`; `elevation` (y, x), m, if the cube has it. See `lakecube.names.VARIABLES` for each output.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 1 px. Lazy. The thresholds of a date depend on the whole request.

    Raises
    ------
    InvalidInputError
        An unknown parameter or one out of its range.
    MissingBandError
        `green` or `swir16` is missing, or a band that `choice` needs.

    References
    ----------
    Xue et al. (2025), 10.3390/app152111490.
    """
    _check(parameters)
    source = source_of(cube)
    audited = audit(source) if source is not None else None
    configuration = _configuration(cube, source)
    for_threshold = {k: v for k, v in parameters.items() if k in _THRESHOLD_FIELDS}
    for_rules = {k: v for k, v in parameters.items() if k in _RULE_FIELDS}
    if composite is not None:
        cube = make_composite(cube, composite, choice=choice)
    limits = find_threshold(cube, threshold, sample=sample, **for_threshold)
    judged = judge(cube, limits["threshold"], rules=rules, probability=probability, **for_rules)
    out = judged.assign(limits.data_vars).assign_coords(_carried(cube))
    if audited is not None:
        out = out.assign(audited.data_vars)
    if "elevation" in cube:  # a store keeps it, for the elevation band of its lakes
        out = out.assign(elevation=cube["elevation"])
    used = {
        "composite": composite,
        "choice": choice if composite else None,
        "threshold": threshold,
        "sample": sample,
        **asdict(ThresholdParams(**for_threshold)),
        **asdict(rule_params(rules, for_rules)),
    }
    return out.assign_attrs(_attributes(cube, judged, used), configuration=configuration)


def _configuration(cube: xr.Dataset, source: BlockSource | None) -> str:
    """How the cube came to be, without its dates: two results of one configuration may share a store.

    A cube that was changed after `open` is known by the token of its arrays, since its items no longer tell.
    """
    how = json.loads(cube.attrs.get("configuration", "{}"))
    if source is None and "item_date" in cube.coords:
        how["changed"] = tokenize([cube[name].data for name in sorted(map(str, cube.data_vars))])
    return json.dumps(how, sort_keys=True)


def _check(parameters: dict[str, Any]) -> None:
    own = ("composite", "choice", "threshold", "rules", "sample", "probability")
    known = (*own, *_THRESHOLD_FIELDS, *_RULE_FIELDS)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise InvalidInputError(f"fusion has no parameter {', '.join(unknown)}{meant}; it takes {', '.join(known)}")


def _carried(cube: xr.Dataset) -> dict[str, Any]:
    """Coordinates that stay with the result: bounds of composites and the items of the dates it has."""
    carried: dict[str, Any] = {n: cube[n].variable for n in ("time_bounds",) if n in cube.coords}
    if "item_date" not in cube.coords:
        return carried
    where = _row_of_items(cube)
    kept = np.flatnonzero(where >= 0)
    table = {}
    for name, coord in cube.coords.items():
        if str(name).startswith(("item_", "source_band")):
            table[str(name)] = coord.variable.isel({ITEM: kept}) if ITEM in coord.dims else coord.variable
    return carried | table | {"item_time_index": (ITEM, where[kept].astype(np.int32), {"long_name": "row of `time`"})}


def _row_of_items(cube: xr.Dataset) -> np.ndarray:
    """Row of `time` that each item belongs to, -1 where none."""
    dates, times = cube["item_date"].values, cube[TIME].values
    if "time_bounds" in cube.coords:
        bounds = cube["time_bounds"].values
        inside = (dates[:, None] >= bounds[None, :, 0]) & (dates[:, None] < bounds[None, :, 1])
    else:
        inside = dates[:, None] == times[None, :]
    return np.where(inside.any(1), inside.argmax(1), -1)


def _attributes(cube: xr.Dataset, judged: xr.Dataset, used: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in cube.attrs.items() if isinstance(v, str | int | float)}
    return {
        **kept,
        "title": "Surface water by lakecube",
        "method": "fusion",
        "references": PAPER,
        "parameters": json.dumps(used, sort_keys=True, default=str),
        "rules_skipped": judged.attrs.get("rules_skipped", ""),
    }
