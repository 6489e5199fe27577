"""New outlines put into a result: mask, reason and rules change together."""

from __future__ import annotations

import json
from typing import Literal, get_args

import numpy as np
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.kernels.stages import redraw
from lakecube.names import TIME, VARIABLES, X, Y

By = Literal["crf", "superpixel"]
_CHANGED = ("water_mask", "reason", "rules_fired")


@law("exact")
def with_outlines(water: xr.Dataset, outlines: xr.DataArray, *, by: By = "crf") -> xr.Dataset:
    """A result with the outlines of a refined mask, ready to be stored.

    Parameters
    ----------
    water : xr.Dataset
        Of `extract`: `water_mask`, `reason`, `rules_fired` (time, y, x).
    outlines : xr.DataArray
        The refined mask, uint8 (time, y, x) on the same pixels and dates: of `lakecube.refine.crf.refine` with
        ``output="labels"``, or `water_mask` of `lakecube.refine.majority.majority`. 255 keeps what was there.
    by : {"crf", "superpixel"}
        What drew them: the reason of water that became land.

    Returns
    -------
    xr.Dataset
        `water` with the three variables changed. Unknown stays unknown, with its reason. Its `configuration` says
        that outlines were drawn, so that a store does not mix rows with and without.

    Raises
    ------
    InvalidInputError
        A variable is missing, or the mask is no uint8 mask of the same dates and pixels.

    Notes
    -----
    Chunks: any; those of `water` are kept. Law: exact. Reach: 0. Lazy.
    """
    if by not in get_args(By):
        raise InvalidInputError(f"by={by!r}: use 'crf' or 'superpixel'")
    missing = [name for name in _CHANGED if name not in water]
    if missing:
        raise InvalidInputError(f"{', '.join(missing)} is missing; give the result of cube.water.extract()")
    if outlines.dtype != np.uint8:
        raise InvalidInputError(f'outlines are a uint8 mask, not {outlines.dtype}: refine(..., output="labels")')
    try:
        xr.align(water["water_mask"], outlines, join="exact", copy=False)
    except ValueError as error:
        raise InvalidInputError("outlines and water must share time, y and x") from error
    if set(outlines.dims) != {TIME, Y, X}:
        raise InvalidInputError(f"outlines have dims {outlines.dims}; (time, y, x) are needed")
    named = xr.Dataset({n: water[n] for n in _CHANGED} | {"outlines": outlines.reset_coords(drop=True)})
    arrays = chunked.alike(named, (TIME, Y, X), 0)
    pairs = [v for name in (*_CHANGED, "outlines") for v in (arrays[name].data, "tyx")]
    blocks = chunked.blockwise(_redraw, "tyx", *pairs, dtype=object, name="lakecube-outlines", by=by)
    changed = {
        name: (VARIABLES[name].dims, chunked.field(blocks, name, VARIABLES[name].dtype), water[name].attrs)
        for name in _CHANGED
    }
    how = json.loads(water.attrs.get("configuration", "{}")) | {"outlines": [by, tokenize(outlines.data)]}
    out = water.assign(changed).assign_attrs(configuration=json.dumps(how, sort_keys=True))
    out.attrs.pop("extract_request", None)  # the same call would not draw these outlines again
    return out


def _redraw(
    mask: np.ndarray, reason: np.ndarray, fired: np.ndarray, drawn: np.ndarray, *, by: str
) -> dict[str, np.ndarray]:
    return dict(zip(_CHANGED, redraw(mask, reason, fired, drawn, by), strict=True))
