"""How long and how large an array of a store may say it is: judged by its metadata, before anything of it is read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lakecube.errors import StoreError
from lakecube.io.grids import MOST_ALONG_A_SIDE, MOST_PIXELS
from lakecube.names import DATE, ITEM, TIME, YEAR, YEAR_MONTH, X, Y

#: Entries along a dim; a date for each day since the year 0 is under a million.
_MOST = {
    TIME: 2**20, DATE: 2**20, YEAR: 2**14, YEAR_MONTH: 2**18, ITEM: 2**21, Y: MOST_ALONG_A_SIDE, X: MOST_ALONG_A_SIDE,
}  # fmt: skip
#: Entries along any other dim: lakes, what happened to them.
_MOST_OTHERS = 2**25
#: Values of one chunk, all of which are in memory at once.
_MOST_OF_CHUNK = 2**30


def check_claim(name: str, dims: Sequence[str | None], shape: Sequence[int], chunk: Sequence[int]) -> None:
    """Raise StoreError where an array says it is larger than one of a store can be.

    Parameters
    ----------
    name : str
        What to call it.
    dims, shape, chunk : sequence
        Its dims, its entries along each, and those of a chunk.
    """
    for dim, size in zip(dims, shape, strict=True):
        most = _MOST.get(dim or "", _MOST_OTHERS)
        if size > most:
            raise StoreError(f"{name} says it has {size:,} entries along {dim}; a store has {most:,} at most{_EDITED}")
    pixels = math.prod(shape[-2:])
    if tuple(dims[-2:]) == (Y, X) and pixels > MOST_PIXELS:
        raise StoreError(f"{name} says it has {pixels:,} pixels; a store has {MOST_PIXELS:,} at most{_EDITED}")
    if (values := math.prod(chunk)) > _MOST_OF_CHUNK:
        raise StoreError(f"{name} says its chunks are of {values:,} values; {_MOST_OF_CHUNK:,} are the most{_EDITED}")


_EDITED = ", so its metadata are torn or were edited: bring the store back from a copy, or make it anew"
