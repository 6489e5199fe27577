"""Fragments, what lies along their borders, and which component gets each; for `kernels.fragments`.

Each pixel edge of a fragment is noted, row by row through the image, where the notes of that fragment lie together:
nothing is looked up far away, and little has to be guessed. A fragment of n pixels has at most 2·n + 2 edges.

Strips of rows can be worked on by several threads at once. A fragment spans less than `step` rows, so one that reaches
into a strip from the strip above has no edge from row `step` of it on; what lies before that is noted afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.lanes import WORD, count_bits, differing, lowest_bit
from lakecube.kernels.runs import Runs

#: The bit of the id of a component that is not its superpixel's largest; row and column are those of its first pixel.
APART = 2**62
#: How often fragments join. A third pass finds next to none.
PASSES = 2


class Components(NamedTuple):
    """m components of runs, in the order of their first runs; number m stands for no superpixel, and for nobody."""

    owner: np.ndarray
    """int32 (runs,): the component of each run."""
    marks: np.ndarray
    """int64 (words,): a bit for each pixel of a fragment."""
    size: np.ndarray
    """int32 (m,): pixels."""
    gets: np.ndarray
    """int32 (PASSES + 1, m + 1): which component gets each, before the first pass and after each."""
    ids: np.ndarray
    """int64 (m + 1,)."""
    ends: np.ndarray
    """int32 (m + 1,): where the notes of each fragment end, 0 of what is none."""


def empty_components(runs: Runs, n: int, m: int) -> Components:
    """Room for m components of n runs; what stands for number m is set."""
    gets, ids, ends = np.empty((PASSES + 1, m + 1), np.int32), np.empty(m + 1, np.int64), np.empty(m + 1, np.int32)
    gets[:, m], ids[m], ends[m] = m, -1, 0
    return Components(np.empty(n, np.int32), np.empty_like(runs.begins), np.empty(m, np.int32), gets, ids, ends)


@jit_inline
def pack(row, column):
    """The id of a row and a column, each from −2³⁰ to 2³⁰ − 1."""
    return (np.int64(row + 2**30) << 31) | np.int64(column + 2**30)


@jit_inline
def unpack(superpixel):
    """Row and column of an id, without the bit `APART`."""
    return (superpixel >> 31 & (2**31 - 1)) - 2**30, (superpixel & (2**31 - 1)) - 2**30


@jit
def find_components(runs, parent, sizes, place, r0, r1, k, components, largest):
    """Tell the components of the rows r0 to r1, from run `k`; returns how many notes their fragments may have.

    parent, sizes: see `runs.join_runs`, the roots numbered. place: step, cells to a row with one more on either side,
    and row and column of the first pixel, in its cell and absolute. Puts the largest component of each superpixel that
    is no fragment, the first among equals, into `largest`, at first −1. The id of each is the one that it has if apart.
    """
    begins, colours, width = runs.begins, runs.colours, runs.width
    owner, marks, size, gets, ids, _ = components
    step, across, origin_y, origin_x, pixel_y, pixel_x = place
    none, room, small = np.int32(size.size), 0, np.int64(0)
    for word in range(r0 * width, r1 * width):
        bits, turns, before = begins[word], np.int64(0), small
        while bits:
            t, low = lowest_bit(bits), bits & -bits
            bits &= bits - 1
            colour, root = np.int64(colours[WORD + word * WORD + t]), np.int64(k)
            while parent[root] >= 0:
                root = np.int64(parent[root])
            number, pixels = -1 - parent[root], sizes[root]
            last, small = small, np.int64(pixels < step) & np.int64(colour != 255)
            turns |= low & -(last ^ small)
            owner[k] = none if colour == 255 else number
            if root == k:
                y, x = word // width - 1, word % width * WORD + t
                ids[number] = (np.int64(1) << 62) | pack(y + pixel_y, x + pixel_x)
                size[number] = pixels
                gets[0, number] = none if small else number
                if small:
                    room += 2 * pixels + 2
                elif colour != 255:
                    here = _cell_of(colour, (y + origin_y) // step, (x + origin_x) // step, across)
                    if largest[here] < 0 or pixels > size[largest[here]]:
                        largest[here] = number
            k += 1
        for shift in (1, 2, 4, 8, 16, 32):
            turns ^= turns << shift
        marks[word] = turns ^ -before
    return room


@jit_inline
def _cell_of(colour, r, c, across):
    """The cell of a superpixel of `across` to a row, from a pixel's colour and cell; see `runs.find_runs`."""
    return (r + (((colour >> 2) - r) & 3)) * across + c + (((colour & 3) - c) & 3)


@jit
def cells_of(numbers, runs, components, place):
    """The cells, int64, of the superpixels of components whose ids are still those of their places."""
    step, across, origin_y, origin_x, pixel_y, pixel_x = place
    out = np.empty(numbers.size, np.int64)
    for f in range(numbers.size):
        y, x = unpack(components.ids[numbers[f]])
        y, x = y - pixel_y, x - pixel_x
        colour = np.int64(runs.colours[WORD + (y + 1) * runs.width * WORD + x])
        out[f] = _cell_of(colour, (y + origin_y) // step, (x + origin_x) // step, across)
    return out


@jit
def set_ends(components, c0, c1, first):
    """Room for the notes of the fragments among the components c0 to c1, from `first`."""
    size, ends, gets = components.size, components.ends, components.gets
    for c in range(c0, c1):
        ends[c] = 0
        if gets[0, c] == size.size:
            ends[c] = first
            first += 2 * size[c] + 2


@jit
def note_borders(runs, components, notes, r0, r1, junk):
    """Note the component beyond each edge of a fragment in the rows r0 to r1, the edges between r0 and r0 − 1 included.

    What is no fragment's goes to the place `junk`.
    """
    begins, before, colours, width = runs.begins, runs.before, runs.colours, runs.width
    owner, marks, ends = components.owner, components.marks, components.ends
    for word in range(r0 * width, r1 * width):
        here, above, at = begins[word], begins[word - width], WORD + word * WORD
        edges = here & (marks[word] | marks[word] << 1 | marks[word - 1] >> 63 & 1)
        while edges:
            k = before[word] + count_bits(here & (edges ^ (edges - 1))) - 1
            edges &= edges - 1
            _note(owner[k - 1], owner[k], junk, ends, notes)
        edges = differing(colours, at, colours, at - width * WORD) & (marks[word] | marks[word - width])
        while edges:
            upto = edges ^ (edges - 1)
            edges &= edges - 1
            a = before[word - width] + count_bits(above & upto) - 1
            b = before[word] + count_bits(here & upto) - 1
            _note(owner[a], owner[b], junk, ends, notes)


@jit_inline
def _note(p, q, junk, ends, notes):
    at = ends[p]
    notes[max(at, junk)] = q
    ends[p] = at + (at > 0)
    at = ends[q]
    notes[max(at, junk)] = p
    ends[q] = at + (at > 0)


@jit
def join_fragments(components, notes, number, c0, c1, first, shared):
    """Pass `number`, from 1: fragments that nobody has go to the longest border, the first among equals.

    c0, c1: which components; first: where their notes begin; shared (m + 1,) int32: zeros, and zeros again at the end.
    """
    size, ends, gets = components.size, components.ends, components.gets
    before, after = gets[number - 1], gets[number]
    none = np.int64(size.size)
    for c in range(c0, c1):
        best, begin = np.int64(0), first  # best: of edges · 2³² − component the greatest
        if gets[0, c] == none:
            first += 2 * size[c] + 2
        if before[c] != none:
            after[c] = before[c]
            continue
        if ends[c] - begin == 4:  # a single pixel: without a loop, whose end would have to be guessed
            p, q = _beyond(notes, begin, before), _beyond(notes, begin + 1, before)
            r, s = _beyond(notes, begin + 2, before), _beyond(notes, begin + 3, before)
            best = max(max(_shared(p, q, r, s, none), _shared(q, p, r, s, none)), _shared(r, p, q, s, none))
            best = max(best, _shared(s, p, q, r, none))
        else:
            for k in range(begin, ends[c]):
                shared[_beyond(notes, k, before)] += 1
            shared[none] = 0
            for k in range(begin, ends[c]):
                other = _beyond(notes, k, before)
                best = max(best, (np.int64(shared[other]) << 32) - other)
                shared[other] = 0
        after[c] = -best & 0xFFFFFFFF if best else none


@jit_inline
def _beyond(notes, k, before):
    return np.int64(before[np.uintp(notes[np.uintp(k)])])


@jit_inline
def _shared(a, b, c, d, none):
    edges = 1 + np.int64(a == b) + np.int64(a == c) + np.int64(a == d)
    return (edges << 32) - a if a != none else np.int64(0)
