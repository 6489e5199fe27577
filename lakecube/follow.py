"""`update`: bring a store up to today, by the request that it keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from lakecube.errors import StoreError
from lakecube.io.request import reopen
from lakecube.methods import extract
from lakecube.store import open_store, to_zarr


def update(
    path: str | os.PathLike[str],
    *,
    until: Any = None,
    source: Any = None,
    dem: Any = None,
    sign: Callable[[str], str] | None = None,
    revise: bool | Mapping[str, Any] = True,
    retry: bool = False,
    progress: bool = True,
    wave: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Add to a store what its archive has got since: new dates, late ones, reprocessed ones; then revise.

    The request that made the store is asked again on the same pixels, from the same first day until today. Dates
    that the store holds from the same items are not read again.

    Parameters
    ----------
    path : str or path
        A finished store, made from `lakecube.open` and `.water.extract()`.
    until : date-like, optional
        The last day to look at; today if not given.
    source, dem : optional
        As for `lakecube.open`: where the archive or the DEM is now, if not where it was, or if it was an object
        in memory, which no store keeps. Of a store made of raster files: the files of the new dates. Another
        path of the DEM is another configuration, and refused.
    sign : callable, optional
        As for `lakecube.open`. It is kept nowhere, so it must be given again.
    revise : bool or mapping
        Also make a new revision, see `lakecube.store.to_zarr`; False leaves that to `lakecube.store.revise`.
    retry : bool
        Also read those dates anew that hold pixels which could not be read.
    progress, wave, storage_options
        As for `lakecube.store.to_zarr`.

    Returns
    -------
    xr.Dataset
        `open_store(path)`; as it was if there is nothing new.

    Raises
    ------
    StoreError
        If there is no store, it does not know its request, or it is being written by somebody else.
    InvalidInputError
        If something must be given again: `sign`, a source that has gone or was an object in memory, raster files;
        or `until` is before the first day of the request.
    EmptySearchError
        If the archive holds nothing of the request any more.

    Notes
    -----
    Law: exact; killed and called again it goes on, and gives the bytes of a run that was not disturbed if the archive
    has not changed in between.
    """
    store = open_store(path, storage_options=storage_options)
    request, asked = store.attrs.get("request"), store.attrs.get("extract_request")
    if not isinstance(request, str) or not isinstance(asked, str):
        raise StoreError(
            f"{path} does not know the request it was made from (it is not of lakecube.open and .water.extract()): "
            'add dates with water.water.to_zarr(path, mode="append")'
        )
    cube = reopen(request, until=until, source=source, dem=dem, sign=sign)
    water = extract(cube, **json.loads(asked))
    return to_zarr(
        water, path, mode="append", revise=revise, retry=retry, progress=progress, wave=wave,
        storage_options=storage_options,
    )  # fmt: skip
