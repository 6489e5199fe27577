"""The jit decorators: every compiled loop of lakecube goes through one of these.

Kernels release the GIL (`nogil`), so that Dask's threads run them side by side; none is `parallel`, because
Numba's thread layers abort when several Dask threads enter them; none uses `fastmath`, because reordered sums
would depend on the length of a block. Machine code is cached on disk beside the package (or in the user's cache
folder): Numba writes those files to a temporary name and renames them, so workers that compile at the same time
only repeat the work. Set ``LAKECUBE_NUMBA_CACHE=0`` to do without.
"""

import os

from numba import njit

_CACHE = os.environ.get("LAKECUBE_NUMBA_CACHE", "1") != "0"

#: A compiled loop over arrays.
kernel = njit(nogil=True, cache=_CACHE, error_model="numpy")
