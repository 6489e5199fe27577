"""What could not be read, or only after further tries, in this process: kept until the runs ask for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

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
    """Counts by run, so that runs side by side take nothing from each other; "" is all since the process began."""

    counts: dict[str, Counter[Trouble]] = field(default_factory=lambda: {"": Counter()})
    lock: threading.Lock = field(default_factory=threading.Lock)


_log = _Log()
_OTHERS = "other reasons"
#: Runs that are counted for: those that ended by an error never say so, and the oldest are forgotten.
_RUNS = 16


def note(item: str, file: str, reason: str, *, failed: bool) -> None:
    """Count a try that failed, or (`failed`) a read that was given up; `file` and `reason` hold no secret."""
    with _log.lock:
        for counts in _log.counts.values():
            trouble = Trouble(item, file, reason, failed)
            if len(counts) >= _MOST and trouble not in counts:
                trouble = Trouble(item if failed else "", "", _OTHERS, failed)
            counts[trouble] += 1


def begin(run: str) -> None:
    """Count for a run from now on."""
    with _log.lock:
        _open(run)


def collect(run: str) -> Counter[Trouble]:
    """What was counted since the last call for this run; all so far in a process that joined it later."""
    with _log.lock:
        counts = _log.counts[run if run in _log.counts else ""].copy()
        _open(run)
    return counts


def _open(run: str) -> None:
    _log.counts.pop(run, None)
    _log.counts[run] = Counter()
    for old in [name for name in _log.counts if name][:-_RUNS]:
        del _log.counts[old]


def failed_items(troubles: Iterable[Trouble]) -> set[str]:
    """Ids of the items of which something could not be read."""
    return {trouble.item for trouble in troubles if trouble.failed}
