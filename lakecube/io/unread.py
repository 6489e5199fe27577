"""What could not be read, or only after further tries, in this process: kept until a run asks for its report."""

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
    counts: Counter[Trouble] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


_log = _Log()
_OTHERS = ("", "", "other reasons")


def note(item: str, file: str, reason: str, *, failed: bool) -> None:
    """Count a try that failed, or (`failed`) a read that was given up; `file` and `reason` hold no secret."""
    trouble = Trouble(item, file, reason, failed)
    with _log.lock:
        if len(_log.counts) >= _MOST and trouble not in _log.counts:
            trouble = Trouble(item if failed else "", "", _OTHERS[2], failed)
        _log.counts[trouble] += 1


def collect() -> Counter[Trouble]:
    """What was counted since the last call, in this process."""
    with _log.lock:
        counts, _log.counts = _log.counts, Counter()
    return counts


def failed_items(troubles: Iterable[Trouble]) -> set[str]:
    """Ids of the items of which something could not be read."""
    return {trouble.item for trouble in troubles if trouble.failed}
