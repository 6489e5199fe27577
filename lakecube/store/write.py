"""`to_zarr`: the front door of the one Zarr writer."""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from zarr.storage import LocalStore, MemoryStore

from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import SPATIAL_REF, TIME, X, Y
from lakecube.store.commit import (
    ROOT,
    Visible,
    commit,
    foreign,
    forget_unseen,
    mend_swap,
    read_root,
    refuse_inside,
    sibling,
    swap,
    sweep_partial,
)
from lakecube.store.contents import ITEM_ROW, Contents, survey, version
from lakecube.store.files import LocalFiles, check_room, explained, local_path
from lakecube.store.layout import Stored, array_document, open_array
from lakecube.store.lease import Lease
from lakecube.store.ledger import Ledger
from lakecube.store.passes import write_fields, write_rows
from lakecube.store.plan import Plan, check_fixed, check_lengths, make_plan, pixel_chunks, root_attrs, small_arrays
from lakecube.store.read import open_store
from lakecube.store.report import Run
from lakecube.store.revision import revision_arrays, revision_attrs, write_revision
from lakecube.store.waves import WAVE, Runner, threads

Mode = Literal["resume", "append", "overwrite"]


class ReadFailedWarning(UserWarning):
    """Some imagery could not be read, after retries; its pixels are unknown."""


#: Items named in one warning.
_NAMED = 20
#: Masks and reasons compress 20- to 100-fold; less room than this share of their raw size cannot be enough.
_LEAST_SHARE = 1 / 200


def to_zarr(
    water: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    mode: Mode = "resume",
    chunks: int | tuple[int, int] | dict[str, int] | None = None,
    progress: bool = True,
    wave: int | None = None,
) -> xr.Dataset:
    """Compute a lazy extract and store it: restartable, one writer at a time, visible all at once at the end.

    Parameters
    ----------
    water : xr.Dataset
        What `.water.extract()` returns: `water_mask`, `reason`, … (time, y, x), `threshold` (time, index).
    path : str or path
        Directory of the store.
    mode : {"resume", "append", "overwrite"}
        "resume": make the store, or finish a write that was killed; a finished store of the same
        configuration is returned as it is. "append": add the dates the store does not hold as new rows and
        make a new revision. "overwrite": write beside the store and put the new one in its place at the end;
        whoever holds a Dataset of the old store must then open it again, since its pixels are read from the path.
    chunks : int, (int, int) or dict, optional
        Pixel chunk (y, x) of a new store; 1024, or the whole image if that is smaller.
    progress : bool
        Show a progress bar, if there is a terminal or a notebook to show it in.
    wave : int, optional
        Number of block·dates sent out at once; at least eight per thread of the cluster by default.

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
    """
    if mode not in ("resume", "append", "overwrite"):
        raise InvalidInputError(f'mode is "resume", "append" or "overwrite"; got {mode!r}')
    if wave is not None and wave < 1:
        raise InvalidInputError(f"wave is a number of blocks, at least 1; got {wave}")
    place = local_path(path)
    refuse_inside(place)
    contents, path = survey(water), place
    pixel_chunks(contents.water, chunks)
    wave = wave or max(WAVE, 8 * threads())
    if path.parent.exists():
        mend_swap(path)
    visible = read_root(path)
    if visible is None or mode == "append":
        check_room(path, _least_room(contents))
    with explained(path):
        if mode == "overwrite" and visible is not None:
            told = _overwrite(contents, path, chunks, progress, wave)
        else:
            path.mkdir(parents=True, exist_ok=True)
            with Lease(LocalFiles(path)):
                LocalFiles(path.parent).delete(sibling(path, "overwriting").name)
                how = "resume" if mode == "overwrite" else mode
                told = _write(contents, path, path, how, chunks, progress, wave)
    _say(told)
    return open_store(path)


def _overwrite(contents: Contents, path: Path, chunks: Any, progress: bool, wave: int) -> list[Warning]:
    """Write beside `path`, then swap; a killed overwrite continues in the place beside."""
    new = sibling(path, "overwriting")
    visible = read_root(path)
    others = foreign(LocalFiles(path), visible) if visible is not None else []
    if others:
        raise StoreError(
            f"{path} also holds {', '.join(others[:5])}, which is not of the store and would be lost: "
            "move it elsewhere, then overwrite"
        )
    check_room(new, _least_room(contents))
    with Lease(LocalFiles(path)):
        if (new / ROOT).exists():  # the old store of an earlier swap, or a new one that was not wanted any more
            LocalFiles(new.parent).delete(new.name)
        new.mkdir(parents=True, exist_ok=True)
        with Lease(LocalFiles(new)) as lease:
            told = _write(contents, new, path, "resume", chunks, progress, wave)
            swap(new, path)
            lease.moved(path)
    return told


def _least_room(contents: Contents) -> int:
    raw = sum(contents.water[name].nbytes for name in contents.pixels)
    return int(raw * _LEAST_SHARE) + 16_000_000


def _write(
    contents: Contents, root: Path, path: Path, mode: str, chunks: Any, progress: bool, wave: int
) -> list[Warning]:
    """Bring the store at `root` up to `contents`; the caller holds its lease.

    Returns
    -------
    list
        What is to be said once the store lies at `path`: a warning that is made an error must not keep it from there.
    """
    files, ledger, visible = LocalFiles(root), Ledger(LocalFiles(root)), read_root(root)
    keys = ledger.rows(visible.rows) if visible is not None else []
    if keys is None:
        raise StoreError(f"the ledger of {root} is gone, so its rows cannot be told apart: use mode='overwrite'")
    pending = ledger.pending()
    if visible is None and not ledger.is_pending() and ledger.rows(1):
        raise StoreError(
            f"{root / ROOT} is missing, but the ledger knows that this store was finished: restore that file, "
            "or remove the directory and write the store again"
        )
    plan = make_plan(contents, visible, keys, mode, chunks, pending)
    contents = plan.contents
    if visible is not None:
        eager = dataclasses.replace(contents, fixed=tuple(n for n in contents.fixed if not _is_lazy(contents, n)))
        check_fixed(eager, {}, LocalStore(root), visible)
    if visible is not None and not plan.positions:
        ledger.finish()
        return _unread(_unread_before(ledger, contents), contents, path)
    if pending != plan.hash:
        forget_unseen(files, visible)
        ledger.begin(plan.hash, names_of(plan))
    else:
        sweep_partial(
            files, [*plan.pixels, *(f"revision/{plan.revision}/{n}" for n in files.list(_group(plan)))], plan.base
        )
    run = Run(progress)
    with run.bar:
        small = _passes(plan, root, keys, visible, ledger, run, wave)
    ledger.finish()
    ledger.report(run.finished(mode=mode, rows=len(plan.positions), lakecube=version()))
    return [*_unread(run.facts["read_failed"], contents, path), *_conflicts(small, plan)]


def _unread(failed: Mapping[str, int], contents: Contents, path: Path) -> list[Warning]:
    """Name the dates, and the items of them, whose imagery could not be read."""
    if not failed:
        return []
    water, items = contents.water, ""
    if "item_id" in water.variables and "item_date" in water.variables:
        of_dates = np.isin(water["item_date"].values.astype("datetime64[D]").astype(str), list(failed))
        items = f" (of the items {', '.join(map(str, water['item_id'].values[of_dates]))})"
    return [
        ReadFailedWarning(
            f"{sum(failed.values())} pixels on {', '.join(failed)} could not be read{items}: they are stored as "
            "unknown, reason read_failed. Once the archive answers again, make the store anew with "
            f"water.water.to_zarr({str(path)!r}, mode='overwrite')"
        )
    ]


def _unread_before(ledger: Ledger, contents: Contents) -> dict[str, int]:
    """Pixels of the given dates that earlier runs of a finished store could not read."""
    given = set(contents.dates.astype("datetime64[D]").astype(str))
    found: dict[str, int] = {}
    for report in ledger.reports():
        failed = report.get("read_failed")
        if isinstance(failed, dict):
            found |= {str(date): int(n) for date, n in failed.items() if date in given}
    return dict(sorted(found.items()))


def _conflicts(small: Mapping[str, Stored], plan: Plan) -> list[Warning]:
    """Name the items written whose numbers contradict the offset that their metadata declare."""
    if not {"item_offset_conflict", "item_id", ITEM_ROW} <= set(small):
        return []
    from lakecube.io.audit import OffsetConflictWarning

    columns = {
        name: np.asarray(small[name].values)
        for name in ("item_id", "item_offset_conflict", "item_offset", "item_offset_audited", ITEM_ROW)
        if name in small
    }
    found = np.flatnonzero((columns["item_offset_conflict"] == 1) & (columns[ITEM_ROW] >= plan.base))
    if not len(found):
        return []
    named = []
    for i in found[:_NAMED].tolist():
        offsets = [
            f"{what} {', '.join(f'{v:g}' for v in np.unique(columns[name][i]))}"
            for what, name in (("declared", "item_offset"), ("found", "item_offset_audited"))
            if name in columns
        ]
        named.append(f"{columns['item_id'][i]} ({', '.join(offsets)})")
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    configuration = plan.contents.water.attrs.get("configuration")
    applied = isinstance(configuration, str) and '"offset": "audit"' in configuration
    fate = (
        "what was found was applied, as asked by offset='audit'"
        if applied
        else "what is declared was applied; lakecube.open(…, offset='audit') applies what was found"
    )
    return [
        OffsetConflictWarning(
            f"the numbers of {len(found)} item{'s' if len(found) > 1 else ''} contradict the radiometric offset in the "
            f"metadata: {'; '.join(named)}{more}. For these, {fate}"
        )
    ]


def _say(told: list[Warning]) -> None:
    """Issue warnings at the line outside of lakecube that called."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "lakecube":
        level, frame = level + 1, frame.f_back
    for warning in told:
        warnings.warn(warning, stacklevel=level)


def names_of(plan: Plan) -> list[str]:
    """Names under the root that a plan makes."""
    found = plan.contents
    small = (*found.rows, *found.items, *found.fixed, TIME, Y, X, SPATIAL_REF, "revision")
    return sorted({*plan.pixels, *found.fields, *small})


def _is_lazy(contents: Contents, name: str) -> bool:
    return hasattr(contents.water[name].data, "dask")


def _group(plan: Plan) -> str:
    return f"revision/{plan.revision}"


def _passes(
    plan: Plan, root: Path, keys: list[dict[str, str]], visible: Visible | None, ledger: Ledger, run: Run, wave: int
) -> dict[str, Stored]:
    contents, files, store = plan.contents, LocalFiles(root), LocalStore(root)
    frozen, facts = write_rows(plan, root, ledger, run, wave)
    write_fields(frozen, plan, root, ledger, run, wave)
    known = facts | _lazy_items(frozen, contents)
    if visible is not None:
        check_fixed(contents, known, store, visible)
    small = small_arrays(plan, known, store, visible)
    dates = np.asarray(small[TIME].values).astype("datetime64[s]")
    derived = revision_arrays(plan, dates)
    write_revision(plan, dates, derived, root, ledger, run, wave)
    arrays = {**small, **{f"{_group(plan)}/{name}": stored for name, stored in derived.items()}}
    for name, stored in arrays.items():
        if stored.values is not None:
            _write_small(files, name, stored)
    new = [{"date": str(contents.dates[p]), "key": contents.keys[p]} for p in plan.positions]
    ledger.write_rows([*keys, *new])
    run.facts["dates"] = [str(contents.dates[p])[:10] for p in plan.positions]
    run.facts["items"] = {name: _tally(small[name].values) for name in contents.items if "status" in name}
    metadata = {**plan.pixels, **{name: stored.metadata for name, stored in arrays.items()}}
    kept = visible.documents if visible else {}
    check_lengths({**kept, **{name: array_document(m) for name, m in metadata.items()}})
    groups = {"revision": {}, _group(plan): revision_attrs(plan)}
    commit(files, root_attrs(plan, visible), metadata, groups, kept)
    return small


def _lazy_items(water: xr.Dataset, contents: Contents) -> dict[str, np.ndarray]:
    names = [n for n in (*contents.items, *contents.fixed) if hasattr(water[n].data, "dask")]
    out = {}
    for name in names:
        data = water[name].data.rechunk(-1)
        (out[name],) = Runner([data]).run([(data.name,) + (0,) * data.ndim])
    return out


def _tally(values: np.ndarray | None) -> dict[str, int]:
    """How often each value occurs: reads that failed belong in the report of the run."""
    return dict(sorted(Counter(map(str, [] if values is None else values.ravel().tolist())).items()))


def _write_small(files: LocalFiles, name: str, stored: Stored) -> None:
    """Write a small array chunk by chunk, each whole and atomically; a reader of the old length sees no change."""
    memory = MemoryStore()
    assert stored.values is not None
    open_array(memory, name, stored.metadata)[...] = stored.values
    chunks = {key: buffer.to_bytes() for key, buffer in memory._store_dict.items()}
    for key, data in chunks.items():
        files.write(key, data)
    if not chunks:
        files.delete(f"{name}/c")
