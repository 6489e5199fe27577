"""The image whose edges a CRF follows: which bands guide, and how far apart their values may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.names import BANDS, TIME, VARIABLES, X, Y
from lakecube.refine.given import BAND, number, picture

#: Bands that guide where none are named: those in which water stands out from land.
GUIDE_BANDS = ("green", "nir", "swir16")
#: What else a Dataset of lakecube may hold.
NO_GUIDE = frozenset(VARIABLES) | {"observation", "elevation", "slope"}
#: Standard deviation of a guide in reflectance: 13 of 255 grey levels of a picture stretched from 0 to 0.4.
REFLECTANCE_SCALE = 0.02
#: Standard deviation of a guide in grey levels.
GREY_SCALE = 13.0


class Guide(NamedTuple):
    """Bands that guide, and the standard deviation of each."""

    bands: list[xr.DataArray]
    widths: tuple[float, ...]


def guide_of(guide: xr.Dataset | xr.DataArray | np.ndarray, scales: Mapping[str, float] | float | None) -> Guide:
    """The bands that guide, chosen and checked."""
    image: xr.Dataset | xr.DataArray = picture(guide, "guide")
    if isinstance(image, xr.DataArray):
        by_name = {str(image.name): image}
        if BAND in image.dims:
            by_name = {str(v): image.isel({BAND: i}, drop=True) for i, v in enumerate(image[BAND].values)}
        chosen = list(by_name)
    else:
        by_name = {str(name): v for name, v in image.data_vars.items()}
        chosen = _guides_among(image)
    if isinstance(scales, Mapping):
        chosen = [str(name) for name in scales]
    missing = [name for name in chosen if name not in by_name]
    if missing or not chosen:
        there = ", ".join(by_name) or "none"
        hint = "" if missing else "; pass the cube: .water.refine(cube)"
        raise MissingBandError(f"no band {', '.join(missing) or 'at all'} to guide; there are {there}{hint}")
    bands = [by_name[name] for name in chosen]
    for name, band in zip(chosen, bands, strict=True):
        if set(band.dims) - {TIME} != {Y, X}:
            raise InvalidInputError(f"guide {name} has dims {band.dims}; (time, y, x) or (y, x) are needed")
    given = scales.values() if isinstance(scales, Mapping) else [scales] * len(bands)
    return Guide(bands, tuple(_scale_of(*each) for each in zip(chosen, bands, given, strict=True)))


def _guides_among(dataset: xr.Dataset) -> list[str]:
    """Bands of a Dataset that guide: those in which water stands out, else all bands, else all that may be some."""
    nir = "nir" if "nir" in dataset else "nir08"
    outstanding = [name for name in (GUIDE_BANDS[0], nir, GUIDE_BANDS[2]) if name in dataset]
    bands = [str(name) for name in dataset.data_vars if name in BANDS]
    rest = [
        str(name) for name, v in dataset.data_vars.items()
        if {Y, X} <= set(v.dims) and v.dtype.kind in "iuf" and name not in NO_GUIDE
    ]  # fmt: skip
    return outstanding or bands or rest


def _scale_of(name: str, band: xr.DataArray, given: float | None) -> float:
    if given is not None:
        return number("each of scales", given)
    if band.dtype.kind == "f":
        return REFLECTANCE_SCALE
    if band.dtype == np.uint8:
        return GREY_SCALE
    raise InvalidInputError(
        f"guide {name} is {band.dtype}: say by scales= what its standard deviation is (of reflectance times 10000: 200)"
    )
