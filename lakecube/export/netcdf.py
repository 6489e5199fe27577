"""A store or an extract as one NetCDF-4 file by CF, a block at a time."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.export.products import chosen_dates
from lakecube.io.out_files import outside_stores
from lakecube.names import DATE, ITEM, TIME, X, Y
from lakecube.whole_files import writing

_LEVEL, _BLOCK = 4, 1024
#: Bytes of a disk that stay free: more than HDF5 holds back before it writes.
_ROOM = 16 << 20
_BESIDE = "ancillary_variables"


def to_netcdf(water: xr.Dataset, path: str | Path, *, date: Any = None) -> Path:
    """Write a NetCDF-4 file: masks as they are, without ``_FillValue``, flags with their meanings.

    Parameters
    ----------
    water : xr.Dataset
        A store or an extract.
    path : path
        The file, which is replaced.
    date : str, date or list of these, optional
        Dates, months, years or intervals to write of what is by date, without the table of scenes; all by default.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InvalidInputError
        If a date is not there, or `path` lies in a store.
    StoreError
        If the file cannot be written; nothing half-written stays.

    Notes
    -----
    Chunks: any. Memory holds some blocks.
    """
    path = outside_stores(path)
    chosen = _plain(water if date is None or TIME not in water.dims else _at(water, chosen_dates(water, date)))
    encoding = {str(n): _encoding(v, n in chosen.coords) for n, v in chosen.variables.items()}
    with writing(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own: threads that still write when another one failed open a file anew that is gone.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lakecube-", ignore_cleanup_errors=True) as folder:
            draft = Path(folder) / path.name
            _with_room(chosen, path.parent).to_netcdf(draft, engine="h5netcdf", encoding=encoding)
            draft.replace(partial)
    return path


def _with_room(water: xr.Dataset, folder: Path) -> xr.Dataset:
    """The same; OSError before what is in memory is written, or a block, if the disk is all but full.

    HDF5 does not survive a disk that fills: closing the file ends the process (seen in HDF5 2.0, h5py 3.16).
    """
    _if_room(np.zeros(0), folder, sum(v.nbytes for v in water.variables.values() if v.chunks is None))
    lazy = {name: v for name, v in water.variables.items() if v.chunks is not None}
    checked = {
        name: v.copy(data=da.map_blocks(_if_room, v.data, folder, dtype=v.dtype, meta=v.data._meta))
        for name, v in lazy.items()
    }
    return water.assign(checked)


def _if_room(block: np.ndarray, folder: Path, more: int = 0) -> np.ndarray:
    if shutil.disk_usage(folder).free < _ROOM + block.nbytes + more:
        raise OSError(errno.ENOSPC, f"less than {_ROOM >> 20} MB are free there")
    return block


def _at(water: xr.Dataset, positions: np.ndarray) -> xr.Dataset:
    """Some dates; areas and restored pixels of the same."""
    dates = water[TIME].values[positions]
    water = water.isel({TIME: positions})
    if DATE in water.dims:
        water = water.isel({DATE: np.flatnonzero(np.isin(water[DATE].values, dates))})
    return water.drop_vars([name for name, variable in water.variables.items() if ITEM in variable.dims])


def _plain(water: xr.Dataset) -> xr.Dataset:
    """Attributes as NetCDF has them: text, numbers and arrays. Maps in blocks: xarray reads any other whole."""
    whole = {name: maps for name, maps in water.data_vars.items() if maps.dims[-2:] == (Y, X) and maps.chunks is None}
    water = water.assign(
        {name: v.chunk({**dict.fromkeys(v.dims[:-2], 1), Y: _BLOCK, X: _BLOCK}) for name, v in whole.items()}
    )
    # A colon is in the names of Zarr's conventions alone: CF has letters, digits and underscores.
    water.attrs = {name: _attribute(value) for name, value in water.attrs.items() if ":" not in name}
    water.attrs |= {"history": f"written by lakecube {version('lakecube')} (to_netcdf)"}
    for variable in water.variables.values():
        variable.attrs = {name: _attribute(value) for name, value in variable.attrs.items() if name != "dtype"}
        variable.encoding = {}
        if beside := variable.attrs.pop(_BESIDE, ""):
            held = " ".join(name for name in beside.split() if name in water.variables)
            variable.attrs |= {_BESIDE: held} if held else {}
    return water


def _attribute(value: Any) -> Any:
    if isinstance(value, str | int | float | np.ndarray | np.generic) and not isinstance(value, bool):
        return value
    return json.dumps(value)


def _encoding(variable: xr.Variable, is_coordinate: bool) -> dict[str, Any]:
    """Compressed by the chunks of the picture; no fill value where none is meant."""
    encoding: dict[str, Any] = {"_FillValue": None} if is_coordinate or variable.dtype.kind not in "f" else {}
    if variable.dtype.kind == "M":
        encoding |= {
            "units": f"{'microseconds' if ITEM in variable.dims else 'seconds'} since 1970-01-01",
            "dtype": "int64",
        }
    if variable.dims[-2:] == (Y, X) and variable.size:
        sizes = zip(variable.dims, variable.shape, variable.chunks or [()] * variable.ndim, strict=True)
        chunks = tuple(min(size, (parts or (_BLOCK,))[0]) if dim in (Y, X) else 1 for dim, size, parts in sizes)
        encoding |= {"zlib": True, "complevel": _LEVEL, "shuffle": True, "chunksizes": chunks}
    return encoding
