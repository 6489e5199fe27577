"""The jit decorators: the only place that imports Numba's compilers.

Every kernel releases the GIL, so that parallelism comes from Dask's threads, one chunk each.
``parallel=True`` is left out on purpose: it aborts under concurrent use with the workqueue layer.
``fastmath`` is off: it may reorder sums and drop NaN, and these kernels decide pixels.

Machine code is kept on disk between processes, because compiling takes many seconds. Numba's cache is made safe in
three ways. A kernel holds the code of those that it calls, which lie in other files, but Numba looks at its own file
only; here a change of any file in this folder makes all code anew. Numba replaces each cache file atomically, but two
processes that compile different signatures of one kernel may give both the same data file; so saving is done under a
lock that all processes share. And the index is written last: a process that dies in between leaves no entry that
points to older code. ``LAKECUBE_NUMBA_CACHE=0`` does without the cache.
"""

from __future__ import annotations

import contextlib
import itertools
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
            return _cached_safely(numba.njit(cache=True, **options)(function))
        except RuntimeError:  # "no locator available": neither the package nor the user's cache folder is writable
            pass
    return numba.njit(**options)(function)


def _cached_safely(dispatcher: Any) -> Any:
    cache, files = dispatcher._cache, dispatcher._cache._cache_file
    save = cache.save_overload

    def locked(signature: Any, data: Any) -> None:
        with _lock(Path(cache.cache_path)):
            save(signature, data)

    def data_first(key: Any, data: Any) -> None:
        names = files._load_index()
        taken = set(names.values())
        names.setdefault(key, next(n for n in map(files._data_name, itertools.count(1)) if n not in taken))
        files._save_data(names[key], data)
        files._save_index(names)

    cache.save_overload, files.save, files._source_stamp = locked, data_first, _STAMP
    return dispatcher


def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of all kernels' files."""
    status = ((path.name, path.stat()) for path in sorted(Path(__file__).parent.glob("*.py")))
    return tuple((name, file.st_mtime_ns, file.st_size) for name, file in status)


_STAMP = _stamp()


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lakecube.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
