"""Progress for a person, and the numbers of a run for its report."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from lakecube.io.traffic import KINDS
from lakecube.names import REASON
from lakecube.store.lease import Lease
from lakecube.store.unread import Troubles


class _Rate(ProgressColumn):
    """Blocks per second."""

    def render(self, task: Task) -> Text:
        """Text of the column."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "–/s")


#: What a person reads of a pass.
_WORDS = {
    "observed": "mapping water",
    "fields": "storing terrain",
    "counts": "counting",
    "lakes": "finding lakes",
    "labels": "naming lakes",
    "shore": "reading shores",
    "shore-by-height": "reading shores by height",
    "pairs": "laying clouds over clear dates",
    "calibrate": "calibrating",
    "levels": "inferring levels",
    "decide": "deciding what was hidden",
    "areas": "restoring and measuring",
    "series": "writing series",
}
logger = logging.getLogger("lakecube")


class Pace:
    """How many pixels a thread reads and judges in a second.

    Without the first group of dates, which also waits for imports, for compiled kernels and for workers to come.
    """

    def __init__(self) -> None:
        self.threads, self.pixels, self.seconds = 0, 0, 0.0
        self._begun = False

    def add(self, pixels: int, threads: int, seconds: float) -> None:
        """A group of dates: pixels that were written, threads that there are by its end, seconds it took."""
        if pixels:
            if self._begun:
                self.pixels, self.seconds = self.pixels + pixels, self.seconds + threads * seconds
            self.threads, self._begun = max(self.threads, threads), True


class Run:
    """One run of `to_zarr` under its lease: a progress bar (terminal or notebook only) and the facts for `_runs/`."""

    def __init__(self, shown: bool, lease: Lease) -> None:
        self.lease = lease
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
            console=console, disable=not (shown and (console.is_terminal or console.is_jupyter)),
        )  # fmt: skip
        self.logged = shown and self.bar.disable
        self.facts: dict[str, Any] = {"started": _now(), "passes": {}}
        self.unknown = np.zeros(256, np.int64)
        self.pace = Pace()
        self.troubles = Troubles()

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """A pass over `total` units; yields the function that tells of finished ones."""
        words = _WORDS.get(name, name)
        task = self.bar.add_task(words, total=total)
        begin, done = time.perf_counter(), 0

        def advance(n: int) -> None:
            nonlocal done
            self.bar.advance(task, n)
            before, done = done, min(done + n, total)  # what is made anew counts once
            if self.logged and before < done and 10 * before // total < 10 * done // total:
                pace = _pace(done, total, time.perf_counter() - begin)
                logger.info("%s: %d %% (%d of %d %s)%s", words, 100 * done // total, done, total, unit, pace)

        yield advance
        self.note(name, **{unit: total, "seconds": round(time.perf_counter() - begin, 3)})

    def resumed(self, blocks: int, total: int) -> None:
        """Tell how much an earlier run of the same write left."""
        self.facts["resumed_blocks"] = blocks
        if blocks:
            logger.info("resuming: %d of %d blocks are already written", blocks, total)

    def note(self, stage: str, **facts: Any) -> None:
        """Add facts to a pass."""
        self.facts["passes"].setdefault(stage, {}).update(facts)

    def passed(self, stage: str, traffic: Mapping[str, int]) -> None:
        """Add bytes that passed in a pass."""
        facts = self.facts["passes"].setdefault(stage, {})
        for kind, count in traffic.items():
            facts[f"bytes_{kind}"] = facts.get(f"bytes_{kind}", 0) + int(count)

    def count(self, stage: str, records: np.ndarray) -> None:
        """Add the records of the blocks that a pass has written."""
        self.passed(stage, {kind: records[kind].sum() for kind in KINDS})
        self.unknown += records["unknown"].sum(axis=0, dtype=np.int64)
        self.facts["pixels"] = self.facts.get("pixels", 0) + int(records["pixels"].sum())

    def finished(self, **facts: Any) -> dict[str, Any]:
        """The report: passes, and the share of pixels left unknown by reason."""
        names = {code: name for name, code in REASON.items()}
        pixels = self.facts.get("pixels", 0)
        shares = {names.get(int(c), str(c)): int(self.unknown[c]) / pixels for c in np.flatnonzero(self.unknown)}
        written = sum(stage.get("bytes_written", 0) for stage in self.facts["passes"].values())
        facts |= {"bytes_written": written, "reads": self.troubles.report()}
        return {**self.facts, **facts, "unknown_share": shares, "finished": _now()}


def _pace(done: int, total: int, seconds: float) -> str:
    """Rate and remaining time for a line of the log; nothing at the end, or before any time has passed."""
    if done >= total or seconds <= 0:
        return ""
    left = datetime.timedelta(seconds=round((total - done) * seconds / done))
    return f", {done / seconds:.1f}/s, {left} left"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
