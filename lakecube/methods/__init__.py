"""The published systems, each one composition of the rooms below; `extract` finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from lakecube.chunked import law
from lakecube.detect.observe import checked
from lakecube.errors import InvalidInputError
from lakecube.methods import fusion

#: Method name to its function.
METHODS: dict[str, Callable[..., xr.Dataset]] = {"fusion": fusion.extract}


@law("exact", reach=1)
def extract(cube: xr.Dataset, method: str = "fusion", *, composite: str | None = None, **parameters: Any) -> xr.Dataset:
    """Extract water from a cube by one of the published systems, lazily.

    Parameters
    ----------
    cube : xr.Dataset
        From `lakecube.open`, or any Dataset in its form.
    method : {"fusion"}
        See `lakecube.methods.fusion.extract`.
    composite : {None, "month", "year"}
        Judge every date, or composites of a period.
    **parameters
        Of the method.

    Returns
    -------
    xr.Dataset
        Dims (time, y, x): `water_mask`, `reason`, `rules_fired`; (time, index): `threshold`, `threshold_source`.

    Raises
    ------
    InvalidInputError
        An unknown method or parameter, or a Dataset that is no cube.
    MissingBandError
        A band that the method cannot do without.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 1 px, the greatest of the methods'. Lazy.
    """
    if method not in METHODS:
        raise InvalidInputError(f"unknown method {method!r}; this version has {', '.join(map(repr, METHODS))}")
    return METHODS[method](checked(cube), composite=composite, **parameters)
