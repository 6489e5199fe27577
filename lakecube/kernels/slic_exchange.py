"""SLIC in pieces that exchange sums: what one window does in an iteration, given what its neighbours have summed.

A piece knows its pixels only. The sum over a superpixel that reaches into several pieces is the sum of theirs, in whole
numbers, so the centres, and with them every label, are those of `slic_sweep.cluster` on the image as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lakecube.kernels.slic_quanta import Scaling
from lakecube.kernels.slic_sweep import Cells, first_sums, means, reassign, to_cells, to_image


class Sums(NamedTuple):
    """A piece's share in the sums of the superpixels that its pixels may belong to."""

    corner: tuple[int, int]
    """Lattice row and column of the first."""
    values: np.ndarray
    """int64 (rows, columns, features and x, y, count)."""


class Piece(NamedTuple):
    """One window between two iterations."""

    cells: Cells
    codes: np.ndarray
    sums: Sums

    def image(self) -> np.ndarray:
        """Codes, uint8 (y, x)."""
        return to_image(self.codes, self.cells)


def begin(pairs: np.ndarray, scaling: Scaling, anchor: tuple[int, int]) -> Piece:
    """The piece of packed features (pairs, y, x) whose first pixel is at the absolute place `anchor`."""
    cells, codes = to_cells(pairs, scaling.step, anchor)
    corner = anchor[0] // scaling.step - 1, anchor[1] // scaling.step - 1
    return Piece(cells, codes, Sums(corner, first_sums(cells, codes, scaling.step)))


def advance(piece: Piece, others: Iterable[Sums], scaling: Scaling) -> Piece:
    """One iteration later; `others` are the sums, before it, of all pieces less than three steps away."""
    codes = np.empty_like(piece.codes)
    total = piece.sums.values.copy()
    for other in others:
        here, there = _common(piece.sums, other)
        total[here] += other.values[there]
    change = reassign(piece.cells, piece.codes, codes, means(total, scaling), scaling)
    return Piece(piece.cells, codes, Sums(piece.sums.corner, piece.sums.values + change))


def _common(one: Sums, other: Sums) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the superpixels of two pieces are the same ones; nowhere gives empty slices."""
    spans = []
    for axis in (0, 1):
        first = max(one.corner[axis], other.corner[axis])
        stop = min(v.corner[axis] + v.values.shape[axis] for v in (one, other))
        spans.append((first, max(first, stop)))
    both = [tuple(slice(a - c, b - c) for (a, b), c in zip(spans, v.corner, strict=True)) for v in (one, other)]
    return both[0], both[1]
