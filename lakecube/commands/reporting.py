"""`lakecube info --runs`: the reports of the runs that made a store, as text."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from lakecube.summary import plural

#: Dates whose thresholds are listed, and scenes that are named.
_LISTED = 12


def runs_of(path: str) -> list[dict[str, Any]]:
    """Reports of all runs of a store that finished, the earliest first: one that had nothing to do leaves none."""
    from lakecube.store.ledger import Ledger
    from lakecube.store.place import place_of

    return Ledger(place_of(path).files).reports()


def run_lines(number: int, run: dict[str, Any]) -> Iterator[str]:
    """One run as text."""
    seconds = _seconds(run)
    took = "" if seconds is None else f", took {seconds:,.0f} s"
    rows = run.get("rows", 0)
    mode = run.get("mode", "?")
    done = "write" if mode == "resume" and not run.get("resumed_blocks") else mode  # the mode to make a store by
    yield f"run {number}: {done}, {run.get('started', '?')}{took}, lakecube {run.get('lakecube', '?')}"
    if rows:
        yield f"  dates     {rows} written{_first_to_last(run)}"
    yield from _scene_lines(run.get("scenes") or {})
    weights = run.get("weights")
    if weights:
        sha256 = weights["weights_sha256"][:12]
        yield f"  weights   {weights.get('model')} ({weights.get('architecture')}), sha256 {sha256}…"
    if run.get("resumed_blocks"):
        yield f"  resumed   {run['resumed_blocks']} {plural('block', run['resumed_blocks'])} were written before"
    if run.get("threads"):
        yield f"  threads   {_threads(run)}"
    unknown = ", ".join(f"{name} {share:.1%}" for name, share in (run.get("unknown_share") or {}).items())
    if unknown:
        yield f"  unknown   {unknown}"
    yield from _threshold_lines(run.get("thresholds") or {})
    yield from _stage_lines(run.get("passes") or {})


def _scene_lines(scenes: dict[str, Any]) -> Iterator[str]:
    if scenes.get("given") is None:
        return
    failed = scenes["failed"]
    skipped = f"{scenes['skipped']} skipped (stored before)"
    yield f"  scenes    {scenes['read']} read, {skipped}, {len(failed)} not read in full"
    for name in failed[:_LISTED]:
        yield f"            not read in full: {name}"
    if len(failed) > _LISTED:
        yield f"            and {len(failed) - _LISTED} more"


def _threshold_lines(thresholds: dict[str, Any]) -> Iterator[str]:
    for day, found in list(thresholds.items())[:_LISTED]:
        each = ", ".join(f"{name} {_of(t['value'])} ({t['source']})" for name, t in found.items())
        yield f"  threshold {day}  {each}"
    if len(thresholds) > _LISTED:
        yield f"            and of {len(thresholds) - _LISTED} dates more (--json tells all)"


def _stage_lines(passes: dict[str, Any]) -> Iterator[str]:
    if not passes:
        return
    yield f"  {'stage':<16}{'seconds':>9}{'blocks':>9}{'tasks':>9}{'imagery':>12}{'read':>12}{'written':>12}"
    for name, stage in passes.items():
        counts = "".join(f"{stage.get(k, ''):>9}" for k in ("blocks", "tasks"))
        moved = "".join(f"{_bytes(stage.get(f'bytes_{kind}')):>12}" for kind in ("imagery", "read", "written"))
        yield f"  {name:<16}{stage.get('seconds', 0):>9.2f}{counts}{moved}"


def _first_to_last(run: dict[str, Any]) -> str:
    dates = run.get("dates") or []
    return "" if not dates else f", {dates[0]}" if len(dates) == 1 else f", {dates[0]} to {dates[-1]}"


def _seconds(run: dict[str, Any]) -> float | None:
    try:
        begin, end = (datetime.datetime.fromisoformat(run[name]) for name in ("started", "finished"))
    except (KeyError, TypeError, ValueError):
        return None
    return (end - begin).total_seconds()


def _threads(run: dict[str, Any]) -> str:
    """How many there were, and what one did in a second, which `lakecube plan --speed` takes."""
    speed = run.get("speed")
    paced = "too few dates to tell their speed" if speed is None else f"{speed:,.0f} pixels per second each"
    return f"{run['threads']}, {paced}" + ("" if speed is None else f" (lakecube plan --speed {speed:.2g})")


def _of(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _bytes(count: int | None) -> str:
    return "" if not count else f"{count / 1e6:,.2f} MB"
