"""Drawing pixels at random so that neither blocks nor order matter: every pixel has a number of its own.

The number is a hash of the seed and the pixel's place on its lattice. The n pixels of a stratum with the smallest
numbers are a simple random sample without replacement; a larger n keeps those of a smaller one.
"""

from __future__ import annotations

import numpy as np

#: What is kept of a pixel.
DRAWN = np.dtype([("number", np.uint64), ("row", np.int64), ("column", np.int64)])
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


def pixel_numbers(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """A number per pixel: (y,) and (x,) int64 places on the lattice to (y, x) uint64, as if uniform (SplitMix64)."""
    start = _mixed(np.full(1, seed, np.int64).view(np.uint64))
    along_y = _mixed(rows.astype(np.int64).view(np.uint64) ^ start)
    return _mixed(along_y[:, None] ^ _mixed(columns.astype(np.int64).view(np.uint64) + start)[None, :])


def draw(
    strata: np.ndarray, row: int, column: int, anchor: tuple[int, int], counts: np.ndarray, seed: int
) -> np.ndarray:
    """The pixels of each stratum with the smallest numbers, of one block.

    Parameters
    ----------
    strata : (y, x) uint8
        Stratum of each pixel; those past the end of `counts` are in none.
    row, column : int
        Place of the block's first pixel in the image.
    anchor : (int, int)
        Place of the image's first pixel on its lattice.
    counts : (stratum,) int64
        How many are wanted of each.

    Returns
    -------
    (counts.sum(),) DRAWN
        `counts` entries per stratum one after the other, rising; filled up with row -1 where the block has fewer.
    """
    y, x = (np.arange(size) + at for size, at in zip(strata.shape, (row, column), strict=True))
    numbers = pixel_numbers(y + anchor[0], x + anchor[1], seed)
    out = []
    for stratum, count in enumerate(counts):
        inside = np.flatnonzero(strata.reshape(-1) == stratum)
        pixels = np.empty(inside.size, DRAWN)
        pixels["number"] = numbers.reshape(-1)[inside]
        pixels["row"], pixels["column"] = y[inside // x.size], x[inside % x.size]
        out.append(_least(pixels, int(count)))
    return np.concatenate([np.empty(0, DRAWN), *out])


def join_drawn(parts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The smallest of several draws: (part, counts.sum()) DRAWN to (counts.sum(),) DRAWN."""
    ends = np.cumsum(counts)
    pieces = (parts[:, end - count : end].reshape(-1) for end, count in zip(ends, counts, strict=True))
    kept = [_least(piece[piece["row"] >= 0], int(count)) for piece, count in zip(pieces, counts, strict=True)]
    return np.concatenate([np.empty(0, DRAWN), *kept])


def _least(pixels: np.ndarray, count: int) -> np.ndarray:
    if pixels.size > count:
        pixels = pixels[np.argpartition(pixels["number"], count)[:count]] if count else pixels[:0]
    out = np.empty(count, DRAWN)
    out["number"], out["row"], out["column"] = _LAST, -1, -1
    out[: pixels.size] = pixels[np.lexsort((pixels["column"], pixels["row"], pixels["number"]))]
    return out


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2714064.2660195); wraps round by design."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
