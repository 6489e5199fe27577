"""Spectral indices of a cube, lazily: one DataArray per index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from lakecube.checks import is_word
from lakecube.chunked import law
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.indices import CATALOGUE
from lakecube.names import BANDS

#: Where a formula asks for `nir` and the cube has none, `nir08` serves (the main NIR of Landsat, B8A of Sentinel-2).
STAND_IN = {"nir": "nir08"}


def bands_for(cube: xr.Dataset, needed: Sequence[str], what: str) -> dict[str, str]:
    """Needed band to the cube's variable that serves it.

    Raises
    ------
    MissingBandError
        If one is missing; names it, what needs it and what there is.
    """
    served = {band: band if band in cube else STAND_IN.get(band, band) for band in needed}
    missing = [band for band, name in served.items() if name not in cube]
    if missing:
        have = ", ".join(b for b in BANDS if b in cube)
        raise MissingBandError(
            f"{what} needs {', '.join(missing)}, which the cube does not have (it has {have or 'no band'}); "
            f"open it with bands= that include {'it' if len(missing) == 1 else 'them'}, if the sensor has "
            f"{'it' if len(missing) == 1 else 'them'}"
            + ("; a network does without: extract with method='linknet50'" if "swir16" in missing else "")
        )
    return served


@law("exact")
def index(cube: xr.Dataset, name: str) -> xr.DataArray:
    """One spectral index by its name in the literature (`mndwi`, `awei_sh`, `ndvi`, …).

    Parameters
    ----------
    cube : xr.Dataset
        Reflectance bands by STAC common names, any dims.
    name : str
        A key of `lakecube.kernels.indices.CATALOGUE`, which gives formula and reference.

    Returns
    -------
    xr.DataArray
        float32, unit 1, dims of the bands; NaN where a band is NaN or a denominator is 0.

    Raises
    ------
    InvalidInputError
        An unknown name.
    MissingBandError
        A band the formula needs is missing.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy.
    """
    if not is_word(name, CATALOGUE):
        raise InvalidInputError(f"unknown index {name!r}; choose from {', '.join(sorted(CATALOGUE))}")
    spec = CATALOGUE[name]
    served = bands_for(cube, spec.bands, name)
    out = xr.apply_ufunc(
        spec.function, *(cube[served[b]] for b in spec.bands), dask="parallelized", output_dtypes=[np.float32]
    )
    out.attrs = {"long_name": name, "units": "1", "formula": spec.formula, "references": spec.reference}
    return out.rename(name)


@law("exact")
def indices(cube: xr.Dataset, names: Sequence[str] | None = None) -> xr.Dataset:
    """Several indices as one Dataset; by default all that the cube's bands allow. See `index`.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy.
    """
    if names is None:
        names = [n for n, spec in CATALOGUE.items() if all(b in cube or STAND_IN.get(b, b) in cube for b in spec.bands)]
    elif isinstance(names, str):
        names = [names]
    elif not isinstance(names, Iterable):
        raise InvalidInputError(f"names={names!r}: names of indices are needed, of {', '.join(sorted(CATALOGUE))}")
    return xr.Dataset({name: index(cube, name) for name in names})
