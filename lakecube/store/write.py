"""`to_zarr` and `revise`: the front doors of the one Zarr writer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import xarray as xr

from lakecube.checks import is_flag, is_whole, is_word
from lakecube.errors import InvalidInputError, StoreError
from lakecube.series.pixel_area import PixelGrid
from lakecube.store.clusters import check_versions
from lakecube.store.commit import ROOT, foreign, read_root, refuse_inside
from lakecube.store.contents import Contents, survey
from lakecube.store.conventions import transform_of
from lakecube.store.disk import check_room
from lakecube.store.files import LocalFiles
from lakecube.store.guarded import readable
from lakecube.store.lease import Lease
from lakecube.store.objects import is_object_url
from lakecube.store.overwriting import mend_swap, sibling, swap
from lakecube.store.place import LocalPlace, Place, place_of
from lakecube.store.plan import pixel_chunks
from lakecube.store.read import open_place
from lakecube.store.report import Run
from lakecube.store.revision import check_parameters
from lakecube.store.told import ReadFailedWarning, say
from lakecube.store.transaction import Wish, write
from lakecube.store.transaction import revise as revise_rows

__all__ = ["Mode", "ReadFailedWarning", "revise", "to_zarr"]

Mode = Literal["resume", "append", "overwrite"]
#: Masks and reasons compress 20- to 100-fold; less room than this share of their raw size cannot be enough.
_LEAST_SHARE = 1 / 200


def to_zarr(
    water: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    mode: Mode = "resume",
    revise: bool | Mapping[str, Any] = True,
    retry: bool = False,
    chunks: int | tuple[int, int] | dict[str, int] | None = None,
    progress: bool = True,
    wave: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Compute a lazy extract and store it: restartable, one writer at a time, visible all at once at the end.

    Parameters
    ----------
    water : xr.Dataset
        What `.water.extract()` returns: `water_mask`, `reason`, … (time, y, x), `threshold` (time, index).
    path : str or path
        Directory of the store, or its address in object storage (``"s3://bucket/prefix"``).
    mode : {"resume", "append", "overwrite"}
        "resume": make the store, or finish a write that was killed; a finished store of the same
        configuration is returned as it is. "append": add the dates the store does not hold as new rows, in
        whatever order they come; a date made from other items than its row (reprocessed, or an item more)
        becomes a new row that supersedes the old one; the same items again change nothing.
        "overwrite": write beside the store and put the new one in its place at the end;
        whoever holds a Dataset of the old store must then open it again, since its pixels are read from the path.
    revise : bool or mapping
        Also make a new revision (counts, frequency, …) of all rows, in the same commit: with the parameters of the
        current one, or with the given ones over them. False leaves the current revision, whose `date` tells
        what it was made from, until `lakecube.store.revise(path)` or the next call without it.
    retry : bool
        With "append": read anew also those given dates that hold pixels which could not be read. Their new rows
        supersede the old ones, unless fewer pixels could be read this time.
    chunks : int, (int, int) or dict, optional
        Pixel chunk (y, x) of a new store; 1024, or the whole image if that is smaller.
    progress : bool
        Show a progress bar, if there is a terminal or a notebook to show it in.
    wave : int, optional
        Number of block·dates sent out at once; by default at least eight for each thread that there is by then.
    storage_options : mapping, optional
        For object storage: credentials and such, by obstore's names (``access_key_id``, ``secret_access_key``,
        ``region``, ``endpoint``, ``client_options``); without, those of the environment. They travel with the tasks
        to the workers, and are written nowhere. There, `mode="overwrite"` of a finished store is refused.

    Returns
    -------
    xr.Dataset
        `open_store(path)`.

    Raises
    ------
    StoreExistsError
        If something that is not a store lies at `path`.
    StoreError
        If the store is of another configuration or grid, is being written by somebody else, or the disk
        is full or not writable.
    InvalidInputError
        If `water` cannot be stored (no date, a date twice, no `water_mask`).

    Notes
    -----
    Chunks: any; chunks of one date and of the store's size avoid a rechunk. Law: exact. Not lazy: this is where
    pixels are computed, on the active Dask cluster or on threads, in bounded waves: memory depends on the
    block, not on the area or the number of dates.

    Who reads meanwhile: rows are only ever added, and a revision stays on disk until the commit of the second one
    after it. So a Dataset opened before an append or a revision goes on reading the same pixels; after two more
    revisions what it has of its own (counts, frequency) reads as never observed: open the store again by then.
    """
    _check_flags(retry=retry, progress=progress)
    if not is_word(mode, ("resume", "append", "overwrite")):
        raise InvalidInputError(f'mode is "resume", "append" or "overwrite"; got {mode!r}')
    if retry and mode != "append":
        raise InvalidInputError('retry=True adds rows in place of failed ones: give mode="append" with it')
    parameters = _revision_parameters(revise)
    check_versions()
    _check_wave(wave)
    place = place_of(path, storage_options)
    refuse_inside(place)
    contents = survey(water)
    pixel_chunks(contents.water, chunks)
    transform_of(contents.water)
    if parameters is not None:
        PixelGrid.of(contents.water)  # a revision has areas: refused now, not when all pixels are made
    if isinstance(place, LocalPlace) and place.root.parent.exists():
        mend_swap(place.root)
    visible = read_root(place)
    wish = Wish(str(place), mode, chunks, parameters, retry=retry, wave=wave)
    with place.told("write"), readable(place):
        if mode == "overwrite" and visible is not None:
            told = _overwrite(contents, place, wish, progress)
        else:
            if isinstance(place, LocalPlace):
                if visible is None or mode == "append":
                    check_room(place.root, _least_room(contents))
                place.root.mkdir(parents=True, exist_ok=True)
            with Lease(place.files) as lease:
                if isinstance(place, LocalPlace):
                    LocalFiles(place.root.parent).delete(sibling(place.root, "overwriting").name)
                told = write(contents, place, wish, Run(progress, lease))
    say(told)
    return open_place(place)


def revise(
    path: str | os.PathLike[str], *, registry: str | os.PathLike[str] | None = None, progress: bool = True,
    wave: int | None = None, storage_options: Mapping[str, Any] | None = None, **parameters: Any,
) -> xr.Dataset:  # fmt: skip
    """Make a new revision of a store from its rows and the revision before: counts, frequency, lakes.

    Parameters
    ----------
    path : str or path
        Directory (or address, with `storage_options`) of a finished store. No archive is read.
    registry : path, optional
        Another store with whose lakes (their ids) to go on, instead of those of the revision before. In object
        storage `storage_options` are for it too.
    progress, wave, storage_options
        As for `to_zarr`.
    **parameters
        Of the revision. Those not given are as in the current revision; None is the default again.

    Returns
    -------
    xr.Dataset
        `open_store(path)`.

    Raises
    ------
    StoreError
        If there is no finished store at `path`, or it is being written by somebody else.
    InvalidInputError
        An unknown parameter.

    Notes
    -----
    Law: exact; killed and called again it goes on and gives the same bytes. A revision of the same rows, parameters
    and version of lakecube is not made twice. Superseded rows take no part. The revision before stays
    readable until the next one is committed.
    """
    _check_flags(progress=progress)
    check_parameters({k: v for k, v in parameters.items() if v is not None})
    check_versions()
    _check_wave(wave)
    place = place_of(path, storage_options)
    if read_root(place) is None:
        raise StoreError(f"there is no finished store at {place}: make it with .water.to_zarr() first")
    known = None if registry is None else place_of(registry, storage_options if is_object_url(registry) else None)
    known = None if known == place else known
    wish = Wish(str(place), "revise", revise=parameters, registry=known, wave=wave)
    with place.told("write"), readable(place), Lease(place.files) as lease:
        revise_rows(place, wish, Run(progress, lease))
    return open_place(place)


def _revision_parameters(revise: bool | Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not isinstance(revise, bool | Mapping):
        raise InvalidInputError(f"revise is True, False or a mapping of parameters; got {revise!r}")
    if isinstance(revise, bool):
        return {} if revise else None
    check_parameters({k: v for k, v in revise.items() if v is not None})
    return revise


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not is_flag(value):
            raise InvalidInputError(f"{name}={value!r}: True or False is needed")


def _check_wave(wave: int | None) -> None:
    if wave is not None and not (is_whole(wave) and wave >= 1):
        raise InvalidInputError(f"wave is a number of blocks, at least 1; got {wave!r}")


def _overwrite(contents: Contents, place: Place, wish: Wish, progress: bool) -> list[Warning]:
    """Write beside `place`, then swap; a killed overwrite continues in the place beside."""
    if not isinstance(place, LocalPlace):
        raise StoreError(
            f"{place} is a finished store in object storage, where a whole store cannot be put in the place of another "
            "at once: write to another prefix with mode='resume', open that one from then on, and delete this one"
        )
    path = place.root
    new = LocalPlace(sibling(path, "overwriting"))
    visible = read_root(place)
    others = foreign(place.files, visible) if visible is not None else []
    if others:
        raise StoreError(
            f"{path} also holds {', '.join(others[:5])}, which is not of the store and would be lost: "
            "move it elsewhere, then overwrite"
        )
    check_room(new.root, _least_room(contents))
    with Lease(place.files) as old:
        if (new.root / ROOT).exists():  # the old store of an earlier swap, or a new one that was not wanted any more
            LocalFiles(path.parent).delete(new.root.name)
        new.root.mkdir(parents=True, exist_ok=True)
        with Lease(new.files) as lease:
            told = write(contents, new, wish, Run(progress, lease))
            old.check()
            swap(new.root, path)
            lease.moved(place.files)
    return told


def _least_room(contents: Contents) -> int:
    raw = sum(contents.water[name].nbytes for name in contents.pixels)
    return int(raw * _LEAST_SHARE) + 16_000_000
