"""A small memory of raw blocks, so that the pass that finds thresholds and the pass that judges decode a file once.

Bounded in bytes per process, whatever the area or the number of dates; least recently used goes first.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np


class RawCache:
    """Least-recently-used read-only arrays, at most `capacity` bytes together; safe between threads."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`, read if it is not held."""
        with self._lock:
            array = self._held.get(key)
            if array is not None:
                self._held.move_to_end(key)
                return array
        array = read()
        array.flags.writeable = False
        self._put(key, array)
        return array

    def _put(self, key: Hashable, array: np.ndarray) -> None:
        with self._lock:
            if key in self._held or array.nbytes > self.capacity:
                return
            self._held[key] = array
            self._bytes += array.nbytes
            while self._bytes > self.capacity:
                _, old = self._held.popitem(last=False)
                self._bytes -= old.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


#: The process's own; ``LAKECUBE_CACHE_MB`` sets its size, 0 turns it off.
RAW = RawCache(int(float(os.environ.get("LAKECUBE_CACHE_MB", "256")) * 2**20))
