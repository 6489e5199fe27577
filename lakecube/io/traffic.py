"""Bytes that pass through this process, for the report of a run: imagery decoded, chunks of a store read and written.

Tasks take along what has passed since the last one did, so each byte is told once, whichever task of those that run
side by side tells it.
"""

from __future__ import annotations

import threading

#: What is told apart: pixels of imagery as decoded, and compressed chunks of the store.
KINDS = ("imagery", "read", "written")


class Traffic:
    """Bytes by kind since they were last taken; safe between threads."""

    def __init__(self) -> None:
        self._bytes = dict.fromkeys(KINDS, 0)
        self._lock = threading.Lock()

    def add(self, kind: str, count: int) -> None:
        """Count bytes that passed."""
        with self._lock:
            self._bytes[kind] += count

    def taken(self) -> dict[str, int]:
        """What has passed since the last call."""
        with self._lock:
            told, self._bytes = self._bytes, dict.fromkeys(KINDS, 0)
        return told


#: The process's own.
TRAFFIC = Traffic()
