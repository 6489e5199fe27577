"""The jit decorators: the only place that imports Numba's compilers.

Every kernel releases the GIL, so that parallelism comes from Dask's threads, one chunk each.
``parallel=True`` is left out on purpose: it aborts under concurrent use with the workqueue layer.
``fastmath`` is off: it may reorder sums and drop NaN, and these kernels decide pixels.

Machine code is kept on disk between processes, because compiling takes many seconds. Numba replaces each cache
file atomically, but two processes that compile different signatures of one kernel may give both the same data
file; so saving is done under a lock that all processes share. ``LAKECUBE_NUMBA_CACHE=0`` does without the cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba

try:
    import fcntl
except ImportError:  # no such locks on Windows: compile anew in every process
    fcntl = None  # type: ignore[assignment]

#: Whether compiled kernels are kept on disk between processes.
CACHE = fcntl is not None and os.environ.get("LAKECUBE_NUMBA_CACHE", "1") != "0"


def jit(function: Callable[..., Any]) -> Any:
    """Compile `function` to machine code on first use: nopython, GIL released, exact arithmetic.

    Division follows NumPy (``error_model="numpy"``): x / 0 is inf or NaN, never an exception, which
    also lets the compiler use vector instructions.
    """
    return _compile(function)


def jit_inline(function: Callable[..., Any]) -> Any:
    """As `jit`, for small functions that disappear into their caller."""
    return _compile(function, inline="always")


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    options = {"nogil": True, "fastmath": False, "error_model": "numpy", **options}
    if CACHE:
        try:
            return _save_under_lock(numba.njit(cache=True, **options)(function))
        except RuntimeError:  # "no locator available": neither the package nor the user's cache folder is writable
            pass
    return numba.njit(**options)(function)


def _save_under_lock(dispatcher: Any) -> Any:
    cache = dispatcher._cache
    save = cache.save_overload

    def locked(signature: Any, data: Any) -> None:
        with _lock(Path(cache.cache_path)):
            save(signature, data)

    cache.save_overload = locked
    return dispatcher


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lakecube.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
