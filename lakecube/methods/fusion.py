"""`fusion`: multi-feature water detection after Xue et al. (2025), one readable composition of the rooms below.

cloud mask → (monthly composite) → MNDWI + AWEIsh, a threshold each per date → removal rules → land, water or
unknown with the reason for each. The published numbers are ``threshold="otsu", rules="paper",
composite="month"``; the defaults are guarded forms of the same chain that hold up on scenes with little water.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import xarray as xr

from lakecube.chunked import law
from lakecube.detect.composite import composite as make_composite
from lakecube.detect.judge import judge, rule_params
from lakecube.detect.threshold import SAMPLE_TILES
from lakecube.detect.threshold import threshold as find_threshold
from lakecube.kernels.histogram import ThresholdParams
from lakecube.kernels.rules import REACH, RuleParams
from lakecube.methods.provenance import PAPERS, check_parameters, finished, given_of

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
    given = given_of(cube)
    for_threshold = {k: v for k, v in parameters.items() if k in _THRESHOLD_FIELDS}
    for_rules = {k: v for k, v in parameters.items() if k in _RULE_FIELDS}
    if composite is not None:
        cube = make_composite(cube, composite, choice=choice)
    limits = find_threshold(cube, threshold, sample=sample, **for_threshold)
    judged = judge(cube, limits["threshold"], rules=rules, probability=probability, **for_rules)
    used = {
        "composite": composite,
        "choice": choice if composite else None,
        "threshold": threshold,
        "sample": sample,
        **asdict(ThresholdParams(**for_threshold)),
        **asdict(rule_params(rules, for_rules)),
    }
    out = finished(judged.assign(limits.data_vars), cube, given, "fusion", PAPERS["fusion"], used)
    return out.assign_attrs(rules_skipped=judged.attrs.get("rules_skipped", ""))


def _check(parameters: dict[str, Any]) -> None:
    own = ("composite", "choice", "threshold", "rules", "sample", "probability")
    check_parameters("fusion", parameters, (*own, *_THRESHOLD_FIELDS, *_RULE_FIELDS))
