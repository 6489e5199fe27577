"""What could not be read, or only after further tries: counted in this process for its runs, told by workers to theirs.

A worker tells of it on the stream on which it tells that its tasks are finished, so whoever knows the result of a task
knows of its failures, though the worker may have died since.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from typing import Any

#: Topic of the cluster under which its workers tell.
TOPIC = "lakecube-unread"
#: Kinds of trouble that are kept apart; further ones are counted together.
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble: the item, its file (no query, no user) and what was wrong; `failed`: no try helped."""

    item: str
    file: str
    reason: str
    failed: bool


@dataclass(slots=True)
class _Log:
    """Counts by run, so that runs side by side take nothing from each other."""

    counts: dict[str, Counter[Trouble]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_log = _Log()
_OTHERS = "other reasons"
#: Runs that are counted for: those that ended by an error never say so, and the oldest are forgotten.
_RUNS = 16
_ME = uuid.uuid4().hex


def note(item: str, file: str, reason: str, *, failed: bool) -> None:
    """Count a try that failed, or (`failed`) a read that was given up; `file` and `reason` hold no secret."""
    trouble = Trouble(item, file, reason, failed)
    _count(trouble)
    _tell(trouble)


def _count(trouble: Trouble) -> None:
    with _log.lock:
        for counts in _log.counts.values():
            kind = trouble
            if len(counts) >= _MOST and kind not in counts:
                kind = Trouble(kind.item if kind.failed else "", "", _OTHERS, kind.failed)
            counts[kind] += 1


def _tell(trouble: Trouble) -> None:
    """In a task of a Dask worker: tell the processes that listen to its scheduler."""
    if "distributed.worker" not in sys.modules:
        return
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # no task of one
        return
    worker.log_event(TOPIC, [_process(), *astuple(trouble)])


def hear(event: tuple[float, Any]) -> None:
    """Count what a worker told; its own process has counted it already."""
    process, *trouble = event[1]
    if process != _process():
        _count(Trouble(*trouble))


def _process() -> str:
    return f"{_ME}-{os.getpid()}"  # a forked process has the same memory


def begin(run: str) -> None:
    """Count for a run from now on."""
    with _log.lock:
        _open(run)


def collect(run: str) -> Counter[Trouble]:
    """What was counted for a run since the last call."""
    with _log.lock:
        counts = _log.counts.get(run, Counter())
        _open(run)
    return counts


def _open(run: str) -> None:
    _log.counts.pop(run, None)
    _log.counts[run] = Counter()
    for old in list(_log.counts)[:-_RUNS]:
        del _log.counts[old]


def failed_items(troubles: Iterable[Trouble]) -> set[str]:
    """Ids of the items of which something could not be read."""
    return {trouble.item for trouble in troubles if trouble.failed}
