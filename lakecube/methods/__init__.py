"""The published systems, each one composition of the rooms below; `extract` finds one by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from lakecube.checks import is_word
from lakecube.chunked import law
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.methods import fusion, linknet50, pixelwise, sapcnn

#: Method name to its function.
METHODS: dict[str, Callable[..., xr.Dataset]] = {
    "fusion": fusion.extract,
    "linknet50": linknet50.extract,
    "sapcnn": sapcnn.extract,
    "svm": pixelwise.svm,
    "rf": pixelwise.rf,
}


@law("exact", reach=1)
def extract(cube: xr.Dataset, method: str = "fusion", *, composite: str | None = None, **parameters: Any) -> xr.Dataset:
    """Extract water from a cube by one of the published systems, lazily.

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`, or any Dataset in its form.
    method : {"fusion", "linknet50", "sapcnn", "svm", "rf"}
        See `lakecube.methods.fusion.extract`, `lakecube.methods.linknet50.extract`,
        `lakecube.methods.sapcnn.extract`, and `lakecube.methods.pixelwise.extract` of the last two.
    composite : {None, "month", "year"}
        Judge every date, or composites of a period.
    **parameters
        Of the method.

    Returns
    -------
    xr.Dataset
        Dims (time, y, x): `water_mask`, `reason`, `rules_fired`, and where the method gives one
        `water_probability`; (time, index): `threshold`, `threshold_source`.

    Raises
    ------
    InvalidInputError
        An unknown method or parameter, or a Dataset that is no cube.
    MissingBandError
        A band that the method cannot do without.

    Notes
    -----
    Chunks: any. Law: that of the method, as its reach: exact and 1 px for ``"fusion"``. Lazy.
    """
    if not is_word(method, METHODS):
        raise InvalidInputError(f"unknown method {method!r}; this version has {', '.join(map(repr, METHODS))}")
    out = METHODS[method](checked(cube), composite=composite, **parameters)
    return out.assign_attrs(extract_request=_request(method, composite, parameters))


def _request(method: str, composite: str | None, parameters: dict[str, Any]) -> str:
    """What was asked for, as text: the same call can be made again of later dates."""
    return json.dumps({"method": method, "composite": composite, **parameters}, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else dict(value) if isinstance(value, Mapping) else str(value)
