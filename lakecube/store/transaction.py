"""One write under its lease: new rows, a new revision or both, then one commit, then what became too old goes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from dask.array.core import slices_from_chunks
from zarr.storage import MemoryStore

from lakecube.errors import InvalidInputError, StoreError
from lakecube.io.messages import Heard
from lakecube.names import SPATIAL_REF, TIME, X, Y
from lakecube.store import run_facts
from lakecube.store.commit import (
    EXTRA_FILES,
    OVERVIEWS,
    REVISIONS,
    ROOT,
    Visible,
    commit,
    forget_revisions,
    forget_rows,
    is_extra,
    read_root,
    sweep_rows,
)
from lakecube.store.contents import Contents, version
from lakecube.store.files import Files
from lakecube.store.job import Level, is_current, job_of, made_from, parameters_of
from lakecube.store.layout import Stored, array_document, dumps, group_document, open_array
from lakecube.store.ledger import REVISING, Ledger, Row
from lakecube.store.passes import write_fields, write_rows
from lakecube.store.place import Place
from lakecube.store.plan import Plan, make_plan, new_items, root_attrs, small_arrays
from lakecube.store.registry import registry_hash
from lakecube.store.report import Run
from lakecube.store.revise_blocks import LostPartError
from lakecube.store.revision import write_revision
from lakecube.store.same import check_fixed, check_lengths
from lakecube.store.told import conflicts, unread, unread_before
from lakecube.store.unread import dates_of
from lakecube.store.waves import WAVE, Runner


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a caller asks for besides the contents.

    `revise`: None leaves the current revision; a mapping makes one with these parameters over those of the current.
    `path`: what to call the store in messages.
    """

    path: str
    mode: str = "resume"
    chunks: Any = None
    revise: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)
    registry: Place | None = None
    retry: bool = False
    wave: int | None = None


def write(contents: Contents, place: Place, wish: Wish, run: Run) -> list[Warning]:
    """Bring the store at `place` up to `contents`; the caller holds its lease.

    Returns
    -------
    list
        What is to be said once the store lies where it belongs: a warning that is made an error must not keep it
        from there.
    """
    ledger, visible = Ledger(place.files), read_root(place)
    rows = known_rows(ledger, visible, place)
    pending = ledger.pending()
    if visible is None and not ledger.is_pending() and ledger.rows(1):
        raise StoreError(
            f"{place.files.where(ROOT)} is missing, but the ledger knows that this store was finished: restore that "
            "file, or remove the directory and write the store again"
        )
    plan = make_plan(contents, visible, rows, wish.mode, wish.chunks, pending, retry=wish.retry)
    contents = plan.contents
    if visible is not None:
        eager = dataclasses.replace(contents, fixed=tuple(n for n in contents.fixed if not _is_lazy(contents, n)))
        check_fixed(eager, {}, place.chunks, visible)
    if visible is not None and not plan.positions:
        if ledger.is_pending():
            forget_rows(place.files, visible)
            ledger.finish()
        revise(place, wish, run)
        return unread(unread_before(rows, visible.superseded, contents), contents, wish.path, set())
    if pending != plan.hash:
        forget_rows(place.files, visible)
        ledger.begin(plan.hash, names_of(plan))
    else:
        sweep_rows(place.files, names_of(plan), plan.pixels, plan.base)
    with run.bar:
        small = _rows_and_revision(plan, place, rows, visible, ledger, run, wish)
    ledger.report(run.finished(mode=wish.mode, rows=len(plan.positions), lakecube=version()))
    after = read_root(place)
    hidden = after.superseded if after is not None else frozenset()
    told = unread(
        unread_before(known_rows(ledger, after, place), hidden, contents), contents, wish.path, run.troubles.items
    )
    return [*told, *conflicts(small, plan)]


def revise(place: Place, wish: Wish, run: Run) -> None:
    """Make a revision of the visible rows if the current one is of others; the caller holds the lease."""
    visible, revising = read_root(place), Ledger(place.files, REVISING)
    if visible is None:
        raise StoreError(f"there is no finished store at {place}: make it with .water.to_zarr() first")
    if wish.revise is None:
        return
    by_itself = wish.mode == "revise"
    if is_current(visible, _parameters(visible, wish), registry_hash(wish.registry), version_too=by_itself):
        if revising.is_pending():  # killed after its commit
            forget_revisions(place.files, visible)
            revising.finish()
        return
    rows = known_rows(Ledger(place.files), visible, place)
    with run.bar:
        after, extra = _with_revision(visible, visible, place, rows, run, wish)
        _commit(place.files, after, visible, extra, run)
    revising.finish()
    Ledger(place.files).report(run.finished(mode="revise", rows=0, lakecube=version()))


def known_rows(ledger: Ledger, visible: Visible | None, place: Place) -> list[Row]:
    """What the ledger knows of the visible rows; StoreError if it does not."""
    rows = ledger.rows(visible.rows) if visible is not None else []
    if rows is None:
        raise StoreError(f"the ledger of {place} is gone, so its rows cannot be told apart: use mode='overwrite'")
    return rows


def names_of(plan: Plan) -> list[str]:
    """Names under the root that a plan makes."""
    found = plan.contents
    small = (*found.rows, *found.items, *found.fixed, TIME, Y, X, SPATIAL_REF, REVISIONS, OVERVIEWS)
    return sorted({*plan.pixels, *found.fields, *small})


def _rows_and_revision(
    plan: Plan, place: Place, rows: list[Row], visible: Visible | None, ledger: Ledger, run: Run, wish: Wish
) -> dict[str, Stored]:
    contents, files = plan.contents, place.files
    frozen, facts, failed = write_rows(plan, place, ledger, run, wish.wave)
    write_fields(frozen, plan, place, ledger, run, wish.wave)
    known = facts | _lazy_items(frozen, plan, run.troubles.heard)
    if visible is not None:
        check_fixed(contents, known, place.chunks, visible)
    small = small_arrays(plan, known, place.chunks, visible)
    before = visible or Visible({}, {})
    superseded = plan.superseded(rows, failed)
    after = Visible(root_attrs(plan, visible, superseded), before.documents)
    after = after.with_arrays({**plan.pixels, **{name: stored.metadata for name, stored in small.items()}})
    run.lease.check()
    for name, stored in small.items():
        _write_small(files, name, stored)
    run.troubles.gather_late(ledger)
    touched = dates_of(run.troubles.items, contents)
    rows = [*rows, *(_row(contents, at, failed[at], at in touched) for at in plan.positions)]
    extra: dict[str, bytes] = {}
    if wish.revise is not None:
        after, extra = _with_revision(after, before, place, rows, run, wish)
    run.lease.check()
    ledger.write_rows(rows)
    run.facts["dates"] = [str(contents.dates[p])[:10] for p in plan.positions]
    run.facts["superseded"] = [row for row in superseded if row < plan.base]
    run.facts["scenes"] = run_facts.scenes(contents, plan.positions, failed, run.troubles.items)
    run.facts["thresholds"] = run_facts.thresholds(contents, facts, plan.positions)
    run.facts |= run_facts.method(contents) | run_facts.pace(run.pace, contents, plan.positions)
    run.facts["items"] = {name: _tally(small[name].values) for name in contents.items if "status" in name}
    _commit(files, after, visible, extra, run)
    ledger.finish()
    if wish.revise is not None:
        Ledger(files, REVISING).finish()
    return small


def _row(contents: Contents, position: int, failed: int, touched: bool) -> Row:
    row: Row = {"date": str(contents.dates[position]), "key": contents.keys[position]}
    return row | ({"failed": failed} if failed or touched else {})


def _with_revision(
    state: Visible, before: Visible, place: Place, rows: list[Row], run: Run, wish: Wish
) -> tuple[Visible, dict[str, bytes]]:
    """Make the next revision from the rows of `state`; what is visible with it, and the files that belong to it."""
    parameters = _parameters(state, wish)
    job = job_of(place, state, rows, parameters, wish.registry, registry_hash(wish.registry), before)
    ledger, files = Ledger(place.files, REVISING), place.files
    run.lease.check()  # else the revision of another writer would be swept away
    if ledger.pending() != job.hash:
        forget_revisions(files, before)
        ledger.begin(job.hash)
    for key in ("", REVISIONS, OVERVIEWS):
        files.sweep(key, below=False)
    files.sweep(job.group)
    files.sweep(f"{OVERVIEWS}/{job.number}")
    try:
        outcome = write_revision(job, ledger, run, wish.wave)
    except LostPartError:
        ledger.finish()  # what is recorded as done is not: the next call starts anew
        raise
    for name, stored in outcome.arrays.items():
        if stored.values is not None:
            _write_small(files, f"{job.group}/{name}", stored)
    for level in outcome.levels:
        _write_level(files, level)
    bad = [name for name in outcome.files if not is_extra(name, job.number)]
    if bad:
        raise InvalidInputError(f"files of revision {job.number} end in -{job.number}.<suffix>; got {bad}")
    attrs = {
        **job.attrs, "revision": job.number, "coordinates": SPATIAL_REF,
        **made_from(state, parameters, job.registry_hash),
        **({EXTRA_FILES: sorted(outcome.files)} if outcome.files else {}), **outcome.attrs,
    }  # fmt: skip
    arrays = {name: stored.metadata for name, stored in outcome.arrays.items()}
    pyramid = [(job.group, attrs), *((level.group, level.attrs) for level in outcome.levels)]
    return state.with_revision(job.number, arrays, attrs, pyramid), outcome.files


def _write_level(files: Files, level: Level) -> None:
    """Write what no task has written: small arrays, and the documents; a reader learns of it by the root alone."""
    documents = {name: array_document(stored.metadata) for name, stored in sorted(level.arrays.items())}
    for name, stored in level.arrays.items():
        if stored.values is not None:
            _write_small(files, f"{level.group}/{name}", stored)
        files.write(f"{level.group}/{name}/{ROOT}", dumps(documents[name]))
    files.write(f"{level.group}/{ROOT}", dumps(group_document(level.attrs, documents)))


def _parameters(visible: Visible, wish: Wish) -> dict[str, Any]:
    """Parameters of the revision to be made: those given, over those of the current one; None is the default."""
    return {k: v for k, v in {**parameters_of(visible), **(wish.revise or {})}.items() if v is not None}


def _commit(files: Files, after: Visible, before: Visible | None, extra: Mapping[str, bytes], run: Run) -> None:
    check_lengths(after.documents)
    run.lease.check()
    commit(files, after, before, extra)
    if before is not None and after.revision != before.revision:
        forget_revisions(files, after)


def _is_lazy(contents: Contents, name: str) -> bool:
    return hasattr(contents.water[name].data, "dask")


def _lazy_items(water: xr.Dataset, plan: Plan, heard: Heard) -> dict[str, np.ndarray]:
    """Values of the lazy columns of items, of those of the rows to be written, and of what is of neither.

    All columns of some items are computed together.
    """
    contents, chosen = plan.contents, new_items(plan)[0]
    parts = {n: chosen if n in contents.items else ... for n in (*contents.items, *contents.fixed)
             if _is_lazy(contents, n)}  # fmt: skip
    arrays = {name: water[name].data[part] for name, part in parts.items()}
    arrays = {name: array for name, array in arrays.items() if array.size}
    found = {name: np.empty(array.shape, array.dtype) for name, array in arrays.items()}
    blocks = []
    for name, array in arrays.items():
        for index, place in zip(np.ndindex(*array.numblocks), slices_from_chunks(array.chunks), strict=True):
            blocks.append((place[0].start if place else 0, name, place, (array.name, *index)))
    blocks.sort(key=lambda block: block[:2])
    runner, step = Runner(list(arrays.values()), heard), WAVE * len(arrays)
    for start in range(0, len(blocks), max(step, 1)):
        some = blocks[start : start + step]
        for (_, name, place, _), value in zip(some, runner.run([block[3] for block in some]), strict=True):
            found[name][place] = value
    out = {name: np.zeros(water[name].shape, water[name].dtype) for name in parts}
    for name, values in found.items():
        out[name][parts[name]] = values
    return out


def _tally(values: np.ndarray | None) -> dict[str, int]:
    """How often each value occurs: reads that failed belong in the report of the run."""
    return dict(sorted(Counter(map(str, [] if values is None else values.ravel().tolist())).items()))


def _write_small(files: Files, name: str, stored: Stored) -> None:
    """Write a small array chunk by chunk, each whole and atomically; a reader of the old length sees no change."""
    memory = MemoryStore()
    assert stored.values is not None
    open_array(memory, name, stored.metadata)[...] = stored.values
    chunks = {key: buffer.to_bytes() for key, buffer in memory._store_dict.items()}
    for key, data in chunks.items():
        files.write(key, data)
    if not chunks:
        files.delete(f"{name}/c")
