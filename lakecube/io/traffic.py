"""Bytes of the chunks of a store that pass through this process, for the report of a run.

Tasks take along what has passed of their store since the last one did, so each byte is told once, whichever task of
those that run side by side tells it.
"""

from __future__ import annotations

import threading
from collections import Counter

#: What is told apart: compressed chunks that are read, and that are written.
KINDS = ("read", "written")


class Traffic:
    """Bytes by kind and store since they were last taken; safe between threads."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str, count: int, store: str) -> None:
        """Count bytes that passed."""
        with self._lock:
            self._bytes[kind, store] += count

    def taken(self, store: str) -> dict[str, int]:
        """What has passed of a store since the last call."""
        with self._lock:
            return {kind: self._bytes.pop((kind, store), 0) for kind in KINDS}


#: The process's own.
TRAFFIC = Traffic()
