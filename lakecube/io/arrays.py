"""Arrays as a cube: an `xr.Dataset`, a Zarr or a NetCDF brought to the contract's names, dims and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from rioxarray.exceptions import NoDataInBounds

from lakecube.errors import EmptySearchError, InvalidInputError, MissingBandError, ReadError
from lakecube.io.grids import chunk_sizes
from lakecube.io.hrefs import redact, strip_signature, unknown_scheme
from lakecube.io.lazy import band_attrs
from lakecube.io.rasters import ALIASES
from lakecube.io.search_place import parse_bbox
from lakecube.io.search_time import parse_datetime, within
from lakecube.names import BANDS, OBSERVATION, SPATIAL_REF, TIME, VARIABLES, X, Y

_DIM_ALIASES = {"lat": Y, "latitude": Y, "northing": Y, "lon": X, "longitude": X, "easting": X, "t": TIME, "date": TIME}


def is_array_path(source: Any) -> bool:
    """True for the path of a Zarr or NetCDF file."""
    if not isinstance(source, str | Path):
        return False
    path = Path(strip_signature(str(source)))
    return path.suffix.lower() in (".zarr", ".nc", ".nc4", ".h5") or any(
        (path / name).is_file() for name in ("zarr.json", ".zgroup")
    )


def open_arrays(
    source: xr.Dataset | str | Path,
    *,
    bands: Sequence[str] | Mapping[str, str] | None = None,
    chunks: Any = None,
    datetime: Any = None,
    bbox: Any = None,
    dem: Any = None,
) -> xr.Dataset:
    """A Dataset, Zarr or NetCDF as a cube.

    Parameters
    ----------
    source
        Reflectance per band as floats, a variable each, NaN where not observed; dims time, y, x (or lat, lon, …).
    bands
        Mapping from the names there to STAC common names, or the common names to keep.
    chunks
        As in `open`.
    datetime, bbox
        Where to cut: as in `open`; a bbox over the antimeridian is refused.
    dem
        As in `open`.

    Raises
    ------
    InvalidInputError
        No CRS, no time, numbers that are not reflectance, or an `observation` of other flags (where it is lazy,
        when it is read).
    MissingBandError
        No known band.
    """
    dataset = _read(source) if not isinstance(source, xr.Dataset) else source
    dataset = dataset.rename({a: b for a, b in _DIM_ALIASES.items() if a in dataset.dims and b not in dataset.dims})
    if TIME not in dataset.dims and TIME in dataset.coords:
        dataset = dataset.expand_dims(TIME)
    missing = [dim for dim in (TIME, Y, X) if dim not in dataset.dims or dim not in dataset.coords]
    if missing:
        raise InvalidInputError(f"the Dataset has dims {tuple(dataset.dims)}; coordinates {missing} are missing")
    kept = _bands(dataset, bands)
    cube = xr.Dataset({name: _as_reflectance(dataset[old], name) for name, old in kept.items()})
    cube = _cut(_with_crs(cube, dataset), datetime, bbox)
    sizes = {**dict(zip((Y, X), chunk_sizes(chunks), strict=True)), TIME: 1}
    cube = cube.chunk({dim: n for dim, n in sizes.items() if dim in cube.dims})
    state = dataset.get("observation")
    cube["observation"] = _observation(cube, state)
    for name in ("elevation", "slope"):
        if name in dataset and dem is None:
            cube[name] = dataset[name].astype("float32").sel({Y: cube[Y], X: cube[X]}).chunk({Y: sizes[Y], X: sizes[X]})
    return _add_dem(cube, dem)


def _read(source: str | Path) -> xr.Dataset:
    path = str(source)
    zarr = not strip_signature(path).lower().endswith((".nc", ".nc4", ".h5"))
    try:
        return xr.open_zarr(path) if zarr else xr.open_dataset(path, chunks={})
    except (OSError, ValueError, KeyError, ImportError) as error:
        shown = strip_signature(path)  # the text of the cause would hold the signature
        why = unknown_scheme(path) or redact(str(error)).replace(path, shown)
        raise ReadError(f"{shown} cannot be opened as {'Zarr' if zarr else 'NetCDF'}: {why}") from (
            error if shown == path else None
        )


def _bands(dataset: xr.Dataset, bands: Sequence[str] | Mapping[str, str] | None) -> dict[str, str]:
    """Common name to the variable's name in the Dataset."""
    if isinstance(bands, Mapping):
        found = {common: old for old, common in bands.items() if old in dataset}
        absent = [old for old in bands if old not in dataset]
    else:
        known = {ALIASES[str(v).lower()]: str(v) for v in dataset.data_vars if str(v).lower() in ALIASES}
        found = known if bands is None else {b: known[b] for b in bands if b in known}
        absent = [] if bands is None else [b for b in bands if b not in known]
    wrong = [b for b in found if b not in BANDS]
    if absent or wrong or not found:
        raise MissingBandError(
            f"{'no band ' + ', '.join(map(repr, absent or wrong)) if absent or wrong else 'no known band'} among the "
            f"variables {', '.join(map(str, dataset.data_vars))}; tell which is which, for "
            f"example bands={{'B03': 'green', 'B11': 'swir16'}}, with STAC common names: {', '.join(BANDS)}"
        )
    return {b: found[b] for b in BANDS if b in found}


def _as_reflectance(array: xr.DataArray, name: str) -> xr.DataArray:
    if array.dtype.kind != "f":
        raise InvalidInputError(
            f"{array.name!r} holds {array.dtype}; reflectance as floats is needed, NaN where not observed, "
            f"for example ds[{array.name!r}].where(ds[{array.name!r}] != 0) * 1e-4"
        )
    out = array.transpose(TIME, Y, X).astype("float32").drop_vars([c for c in array.coords if c not in (TIME, Y, X)])
    out.attrs = band_attrs(name)
    return out


def _with_crs(cube: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    import rioxarray  # noqa: F401  registers .rio

    crs = dataset.rio.crs
    if crs is None:
        raise InvalidInputError("the Dataset has no CRS; write it first: ds.rio.write_crs('EPSG:32648')")
    cube = cube.rio.write_crs(crs, grid_mapping_name=SPATIAL_REF)
    if min(cube.sizes[Y], cube.sizes[X]) < 2:
        return cube
    return cube.rio.write_transform(Affine(*_transform(cube)), grid_mapping_name=SPATIAL_REF)


def _transform(cube: xr.Dataset) -> tuple[float, float, float, float, float, float]:
    """The affine of pixel centres `y`, `x`; from the file where one row or column tells no step."""
    x, y = cube[X].values, cube[Y].values
    if min(x.size, y.size) < 2:
        return tuple(cube.rio.transform())[:6]
    dx, dy = (float(v[-1] - v[0]) / (v.size - 1) for v in (x, y))
    return dx, 0.0, float(x[0]) - dx / 2, 0.0, dy, float(y[0]) - dy / 2


def _cut(cube: xr.Dataset, datetime: Any, bbox: Any) -> xr.Dataset:
    times = cube[TIME]
    if times.dtype.kind != "M":
        raise InvalidInputError(f"time holds {times.dtype}; dates (datetime64) are needed")
    if times.to_index().has_duplicates:
        raise InvalidInputError("time holds a date twice; join those first, for example ds.groupby('time').first()")
    interval = parse_datetime(datetime)
    if interval is not None:
        cube = cube.sortby(TIME)
        dates = cube[TIME].values
        inside = within(dates, interval)
        if not inside.any():
            held = f"{str(dates[0])[:10]} to {str(dates[-1])[:10]}" if dates.size else "no date"
            raise EmptySearchError(f"datetime={datetime!r} leaves no date; the Dataset holds {held}")
        cube = cube.isel({TIME: inside})
    if bbox is not None:
        box = parse_bbox(bbox)
        if box[0] > box[2]:
            raise InvalidInputError(
                f"bbox {box} crosses the antimeridian, where a Dataset cannot be cut: open it once for each side"
            )
        try:
            cube = cube.rio.clip_box(*box, crs="EPSG:4326", allow_one_dimensional_raster=True)
        except NoDataInBounds as error:
            raise EmptySearchError(f"bbox {box} (west, south, east, north) misses the Dataset") from error
    return cube


def _observation(cube: xr.Dataset, state: xr.DataArray | None) -> xr.DataArray:
    spec = VARIABLES["observation"]
    if state is not None:
        if set(state.dims) != {TIME, Y, X} or state.dtype.kind not in "uif":
            raise InvalidInputError(
                f"observation has dims {state.dims} of {state.dtype}; flags (time, y, x) are needed"
            )
        array = state.transpose(TIME, Y, X).sel({d: cube[d] for d in (TIME, Y, X)})
        if array.chunks is None:
            array = array.copy(data=_states(array.values)).chunk(cube.chunks)
        else:
            array = array.chunk(cube.chunks)
            array = array.copy(data=array.data.map_blocks(_states, dtype="uint8", meta=np.empty((0, 0, 0), "uint8")))
    else:
        bands = [cube[name] for name in cube.data_vars if name in BANDS]
        valid = bands[0].notnull()
        for band in bands[1:]:
            valid = valid & band.notnull()
        seen = xr.where(valid, OBSERVATION["clear_cloud_unknown"], OBSERVATION["not_acquired"])
        array = seen.astype("uint8")
    array.attrs = spec.attrs
    return array


def _states(values: np.ndarray) -> np.ndarray:
    """Flags as uint8; NaN, which other libraries write for no data, was not acquired (and never clear)."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), OBSERVATION["not_acquired"], values)
    known = np.isin(values, list(OBSERVATION.values()))
    if not known.all():
        flags = ", ".join(f"{value} {name}" for name, value in OBSERVATION.items())
        raise InvalidInputError(f"observation holds {values[~known][0]}; its flags are {flags}")
    return values.astype("uint8")


def _add_dem(cube: xr.Dataset, dem: Any) -> xr.Dataset:
    if dem is None:
        return cube
    from lakecube.io.records import SourceGrid
    from lakecube.io.terrain import add_terrain

    shape = cube.sizes[Y], cube.sizes[X]
    return add_terrain(cube, dem, SourceGrid(cube.rio.crs.to_string(), _transform(cube), shape))
