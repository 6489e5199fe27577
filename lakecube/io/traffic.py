"""Bytes that pass through this process, for the report of a run: imagery decoded, chunks of a store read and written.

Tasks take along what has passed since the last one did, so each byte is told once, whichever task of those that run
side by side tells it. Chunks are told apart by their store. Imagery is not: of two runs at the same time in one
process, the one whose task ends first tells what both have decoded.
"""

from __future__ import annotations

import threading
from collections import Counter

#: What is told apart: pixels of imagery as decoded, and compressed chunks of the store.
KINDS = ("imagery", "read", "written")


class Traffic:
    """Bytes by kind since they were last taken; safe between threads."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str, count: int, store: str = "") -> None:
        """Count bytes that passed: of a store, or of imagery."""
        with self._lock:
            self._bytes[kind, store] += count

    def taken(self, store: str) -> dict[str, int]:
        """What has passed of a store, and of imagery, since the last call."""
        with self._lock:
            return {kind: self._bytes.pop((kind, "" if kind == "imagery" else store), 0) for kind in KINDS}


#: The process's own.
TRAFFIC = Traffic()
