"""The jit decorators: the only place that imports Numba's compilers.

Every kernel releases the GIL, so that parallelism comes from Dask's threads, one chunk each.
``parallel=True`` is left out on purpose: it aborts under concurrent use with the workqueue layer.
``fastmath`` is off: it may reorder sums and drop NaN, and these kernels decide pixels.

The on-disk cache is off unless ``LAKECUBE_NUMBA_CACHE`` is ``1``: several processes that compile the
same kernel at once race for the index file, and a torn entry crashes a worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numba

#: Whether compiled kernels are kept on disk between processes.
CACHE = os.environ.get("LAKECUBE_NUMBA_CACHE", "0") == "1"


def jit(function: Callable[..., Any]) -> Any:
    """Compile `function` to machine code on first use: nopython, GIL released, exact arithmetic.

    Division follows NumPy (``error_model="numpy"``): x / 0 is inf or NaN, never an exception, which
    also lets the compiler use vector instructions.
    """
    return numba.njit(nogil=True, cache=CACHE, fastmath=False, error_model="numpy")(function)


def jit_inline(function: Callable[..., Any]) -> Any:
    """As `jit`, for small functions that disappear into their caller."""
    return numba.njit(nogil=True, cache=CACHE, fastmath=False, error_model="numpy", inline="always")(function)


kernel = jit
