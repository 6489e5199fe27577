"""Runs of pixels of one superpixel along the rows of an image, and the components that they form.

Where runs begin is kept as bits, 64 pixels to a word, with the number of runs before each word: the run of any pixel,
and so the one above or below another, is a matter of counting bits. Around the image lie pixels of no superpixel: a row
above and below it, and behind each row as many as fill its last word, at least one. Strips of rows can be worked on by
several threads at once; where two of them meet, runs are joined afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.lanes import WORD, count_bits, differing, lowest_bit
from lakecube.kernels.sets import root

#: The code of a pixel that belongs to no superpixel, and its colour.
NONE, COLOURLESS = 15, 255


class Runs(NamedTuple):
    """An image and its runs, in its order; `rows` and flat indices count the row above the image, too."""

    rows: int
    width: int
    """Words to a row."""
    colours: np.ndarray
    """uint8 (WORD + pixels,), a word ahead of the first row: equal where pixels that touch are of one superpixel."""
    begins: np.ndarray
    """int64 (words,): a bit for each pixel with which a run begins."""
    before: np.ndarray
    """int32 (words,): runs before each word."""


def empty_runs(rows: int, columns: int) -> Runs:
    """Room for the runs of an image."""
    width = columns // WORD + 1
    words = (rows + 2) * width
    colours = np.empty((words + 1) * WORD, np.uint8)
    return Runs(rows + 2, width, colours, np.empty(words, np.int64), np.empty(words, np.int32))


@jit
def find_runs(codes, step, origin_y, origin_x, r0, r1, runs):
    """Colour the rows r0 to r1 of codes (y, x) and mark where runs begin; returns how many do, counted from 0.

    A colour is the row and the column of a superpixel in the lattice modulo four: those of pixels that touch are less
    than four apart.
    """
    colours, begins, before, width = runs.colours, runs.begins, runs.before, runs.width
    columns, count = codes.shape[1], 0
    across = np.empty(columns, np.uint8)
    for j in range(columns):
        across[j] = (j + origin_x) // step & 3
    for i in range(r0, r1):
        at = WORD + i * width * WORD
        row = colours[at : at + width * WORD]
        row[columns:] = COLOURLESS
        if 0 < i < runs.rows - 1:
            _colour(codes[i - 1], (i - 1 + origin_y) // step, across, row)
        else:
            row[:columns] = COLOURLESS
        for word in range(i * width, (i + 1) * width):
            bits = differing(colours, at, colours, at - 1) | np.int64(word == i * width)
            begins[word], before[word] = bits, count
            count += count_bits(bits)
            at += WORD
    return count


@jit_inline
def _colour(codes, r, across, row):
    down = np.uint8(r & 3)
    for j in range(across.size):
        code = codes[j]
        third = np.uint8(np.uint16(code * np.uint16(11)) >> 5)
        colour = ((third + down) & 3) << 2 | ((code - 3 * third + across[j]) & 3)
        row[j] = np.uint8(255) if code == 15 else np.uint8(colour)


@jit
def join_runs(runs, r0, r1, first, parent, size):
    """Components of the rows r0 to r1, whose first run is number `first`.

    Puts the parent of each run in the tree of its component, whose root is the first of them, into `parent`, and the
    component's pixels into `size`, at the root. Both int32 (runs,).
    """
    begins, before, width = runs.begins, runs.before, runs.width
    n = first
    for i in range(r0, r1):
        for word in range(i * width, (i + 1) * width):
            before[word] += first
            bits = begins[word]
            while bits:
                place = (word - i * width) * WORD + lowest_bit(bits)
                bits &= bits - 1
                parent[n], size[n] = n, -place
                size[max(n - 1, first)] += place
                n += 1
        size[n - 1] += width * WORD
        if i > r0:
            join_row(runs, i, parent, size)


@jit
def join_row(runs, i, parent, size):
    """Unite the runs of the row i with those of the same superpixel that touch them from above."""
    colours, begins, before, width = runs.colours, runs.begins, runs.before, runs.width
    left = np.int64(0)
    for word in range(i * width, (i + 1) * width):
        at = WORD + word * WORD
        same = ~differing(colours, at, colours, at - width * WORD)
        here, above = begins[word], begins[word - width]
        meet = same & (here | ~(same << 1 | left))  # once for each pair of runs
        left = same >> 63 & 1
        while meet:
            upto = meet ^ (meet - 1)
            meet &= meet - 1
            p = root(parent, before[word - width] + count_bits(above & upto) - 1)
            q = root(parent, before[word] + count_bits(here & upto) - 1)
            if p != q:
                p, q = min(p, q), max(p, q)
                parent[q] = p
                size[p] += size[q]


@jit
def count_roots(parent, k0, k1):
    """How many components have their first run among the runs k0 to k1."""
    count = 0
    for k in range(k0, k1):
        count += parent[k] == np.int32(k)
    return count


@jit
def number_roots(parent, k0, k1, number):
    """Put −1 − its number, counted from `number`, into the parent of each root."""
    for k in range(k0, k1):
        first = parent[k] == k
        parent[k] = -1 - number if first else parent[k]
        number += first
