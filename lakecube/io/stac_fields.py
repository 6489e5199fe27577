"""What STAC says of a variable, from the same table as its CF attributes: `bands`, classes, bit fields, projection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyproj

from lakecube.names import COLOURS, VARIABLES, VariableSpec

_SCHEMAS = "https://stac-extensions.github.io"
PROJECTION = f"{_SCHEMAS}/projection/v2.0.0/schema.json"
RASTER = f"{_SCHEMAS}/raster/v2.0.0/schema.json"
CLASSIFICATION = f"{_SCHEMAS}/classification/v2.0.0/schema.json"
PROCESSING = f"{_SCHEMAS}/processing/v1.2.0/schema.json"
EO = f"{_SCHEMAS}/eo/v1.1.0/schema.json"


def classes(spec: VariableSpec) -> dict[str, Any]:
    """`classification:classes` of flags, `classification:bitfields` of flag masks, nothing of other variables."""
    if spec.flags is None:
        return {}
    if spec.masks:
        fields = [
            {
                "name": name,
                "offset": bit,
                "length": 1,
                "classes": [{"value": 0, "name": "no"}, {"value": 1, "name": "yes"}],
            }
            for name, bit in spec.flags.items()
        ]
        return {"classification:bitfields": fields}
    colours: Mapping[str, str] = COLOURS.get(spec.name, {})
    found: list[dict[str, Any]] = []
    for name, value in spec.flags.items():
        one: dict[str, Any] = {"value": value, "name": name, "description": name.replace("_", " ")}
        if name in colours:
            one["color_hint"] = colours[name].upper()
        if value == spec.nodata:
            one["nodata"] = True
        found.append(one)
    return {"classification:classes": found}


def numbers(spec: VariableSpec, dtype: Any = None) -> dict[str, Any]:
    """`data_type`, `nodata` and `unit` of STAC 1.1, and the classes.

    NaN is left out of `nodata`, as floats tell it by themselves: rustac 0.9 cannot read an Item that says "nan".
    """
    out: dict[str, Any] = {"data_type": str(np.dtype(dtype or spec.dtype))}
    if spec.nodata is not None and not np.isnan(spec.nodata):
        out["nodata"] = spec.nodata
    if spec.units is not None:
        out["unit"] = spec.units
    return out | classes(spec)


def bands(names: Iterable[str]) -> list[dict[str, Any]]:
    """The `bands` of an asset that holds several variables."""
    return [
        {"name": name, "description": VARIABLES[name].long_name, **numbers(VARIABLES[name])}
        for name in names
        if name in VARIABLES
    ]


def projection(crs: pyproj.CRS, transform: Sequence[float], shape: tuple[int, int]) -> dict[str, Any]:
    """The fields of the extension `projection` 2.0."""
    a, b, c, d, e, f = transform
    corners = [(a * u + b * v + c, d * u + e * v + f) for u in (0, shape[1]) for v in (0, shape[0])]
    x, y = zip(*corners, strict=True)
    code = crs.to_authority()
    named = {"proj:code": ":".join(code)} if code else {"proj:code": None, "proj:wkt2": crs.to_wkt()}
    return {
        **named,
        "proj:shape": list(shape),
        "proj:transform": [float(value) for value in transform],
        "proj:bbox": [min(x), min(y), max(x), max(y)],
    }
