"""What visitors asked for lately, kept for the next one who asks for the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

#: Bytes of all that is kept.
MOST_BYTES = 96_000_000


class Kept:
    """Arrays by key, the latest used, within `MOST_BYTES`; safe to use from threads."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a key, made if it is not here; who asks meanwhile waits for it."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._found(key)
            try:
                return found if found is not None else self._put(key, make())
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _found(self, key: Hashable) -> np.ndarray | None:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def _put(self, key: Hashable, made: np.ndarray) -> np.ndarray:
        with self._lock:
            self._arrays[key] = made
            while len(self._arrays) > 1 and sum(array.nbytes for array in self._arrays.values()) > MOST_BYTES:
                self._arrays.popitem(last=False)
        return made
