"""The permutohedral lattice: Gaussian filtering of scattered points in a few dimensions, in time linear in the points.

A point of feature space (already divided by the standard deviations) lies in one simplex of the lattice; its value is
shared among the simplex' d + 1 vertices (*splat*), the vertices are smoothed with [1/2, 1, 1/2] along each of the
d + 1 axes (*blur*), and read back with the same weights (*slice*). The geometry follows `pydensecrf2` to the last
rounding, so that both tools filter alike.

A vertex is known by one int64: its first d coordinates in a mixed radix of their ranges. The code is linear in the
coordinates, so that the code of a vertex' neighbour is the vertex' own plus a constant, and it is exact while the
product of the ranges stays under 2⁶³ (eight bands at 8 bits do); beyond, fixed odd multipliers take the radix' place
and two vertices could be taken for one with a chance of about (number of vertices)² / 2⁶⁴.

References
----------
Adams, Baek and Davis (2010), 10.1111/j.1467-8659.2009.01645.x; Krähenbühl and Koltun (2011), arXiv:1210.5644.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit


class Lattice(NamedTuple):
    """Where N points lie among M vertices (vertex 0 does not exist: its value is 0)."""

    vertices: np.ndarray
    """int32 (N, d + 1), from 1."""
    weights: np.ndarray
    """float32 (N, d + 1), sum to 1."""
    neighbours: np.ndarray
    """int32 (d + 1, 2, M + 1): along each axis, the vertex before and behind; 0 where there is none."""

    def filter(self, values: np.ndarray) -> np.ndarray:
        """Splat, blur and slice float32 values (N,): a Gaussian sum up to a constant factor. O((N + M)·d)."""
        out = np.empty_like(values)
        _filter(self.vertices, self.weights, self.neighbours, values, out)
        return out


def build(features: np.ndarray) -> Lattice:
    """The lattice of float32 points (N, d), in units of standard deviations; all finite. O(N·d²)."""
    features = np.ascontiguousarray(features, np.float32)
    n, d = features.shape
    scale = (np.sqrt(2.0 / 3.0) * (d + 1) / np.sqrt(np.arange(1.0, d + 1) * np.arange(2.0, d + 2))).astype(np.float32)
    radix = _radix(features, scale) if n else np.ones(d + 1, np.int64)
    vertices, weights, codes, table, slots = _embed(features, scale, radix)
    return Lattice(vertices, weights, _neighbours(codes, radix, table, slots))


def _radix(features: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int64 (d + 1,): what one step along each coordinate adds to a vertex' code (0 for the last, which is implied)."""
    d = features.shape[1]
    low = features.min(axis=0).astype(float) * scale
    spread = features.max(axis=0).astype(float) * scale - low
    # coordinate i is (sum of the scaled features from i on) - i * (scaled feature i - 1)
    ranges = [int(spread[i:].sum() + i * (spread[i - 1] if i else 0.0)) + 6 * (d + 2) for i in range(d)]
    radix = np.zeros(d + 1, np.int64)
    step = 1
    for i, extent in enumerate(ranges):
        if step * extent >= 2**62:
            odd = np.random.default_rng(0).integers(2**62, size=d, dtype=np.int64) * 2 + 1
            radix[:d] = odd
            return radix
        radix[i] = step
        step *= extent
    return radix


@jit
def _slot(code: int, slots: np.ndarray, codes: np.ndarray) -> int:
    """The slot of an open-addressed table (ids from 1; 0 is empty) that holds `code` or is free for it."""
    mask = slots.size - 1
    mixed = np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(32)) & mask
    while slots[slot] != 0 and codes[slots[slot]] != code:
        slot = (slot + 1) & mask
    return slot


@jit
def _embed(features, scale, radix):  # type: ignore[no-untyped-def]
    n, d = features.shape
    down = np.float32(1.0) / np.float32(d + 1)
    elevated = np.empty(d + 1, np.float32)
    base = np.empty(d + 1, np.float32)
    rank = np.empty(d + 1, np.int32)
    of_rank = np.empty(d + 1, np.int32)
    share = np.empty(d + 2, np.float32)
    vertices = np.empty((n, d + 1), np.int32)
    weights = np.empty((n, d + 1), np.float32)
    slots = np.zeros(1 << 12, np.int32)
    codes = np.zeros(1 << 11, np.int64)
    count = 0
    all_radix = radix.sum()
    for p in range(n):
        total = np.float32(0.0)
        for j in range(d, 0, -1):
            part = features[p, j - 1] * scale[j - 1]
            elevated[j] = total - np.float32(j) * part
            total += part
        elevated[0] = total
        excess = np.float32(0.0)
        for i in range(d + 1):
            v = elevated[i] * down
            up = np.ceil(v) * np.float32(d + 1)
            below = np.floor(v) * np.float32(d + 1)
            base[i] = up if up - elevated[i] < elevated[i] - below else below
            excess += base[i] * down
            rank[i] = 0
        for i in range(d):
            di = elevated[i] - base[i]
            for j in range(i + 1, d + 1):
                if di < elevated[j] - base[j]:
                    rank[i] += 1
                else:
                    rank[j] += 1
        shift = np.int32(np.rint(excess))
        for i in range(d + 2):
            share[i] = np.float32(0.0)
        code = np.int64(0)
        for i in range(d + 1):
            rank[i] += shift
            if rank[i] < 0:
                rank[i] += d + 1
                base[i] += np.float32(d + 1)
            elif rank[i] > d:
                rank[i] -= d + 1
                base[i] -= np.float32(d + 1)
            v = (elevated[i] - base[i]) * down
            share[d - rank[i]] += v
            share[d - rank[i] + 1] -= v
            of_rank[rank[i]] = i
            code += np.int64(base[i]) * radix[i]
        share[0] += np.float32(1.0) + share[d + 1]
        for k in range(d + 1):
            if k:
                code += all_radix - (d + 1) * radix[of_rank[d - k + 1]]
            slot = _slot(code, slots, codes)
            if slots[slot] == 0:
                count += 1
                if count == codes.size:
                    codes, slots = _grow(codes, count)
                    slot = _slot(code, slots, codes)
                codes[count] = code
                slots[slot] = count
            vertices[p, k] = slots[slot]
            weights[p, k] = share[k]
    return vertices, weights, codes[: count + 1], codes, slots


@jit
def _grow(codes, count):  # type: ignore[no-untyped-def]
    more = np.zeros(codes.size * 2, np.int64)
    more[:count] = codes[:count]
    slots = np.zeros(more.size * 2, np.int32)
    for i in range(1, count):
        slots[_slot(more[i], slots, more)] = i
    return more, slots


@jit
def _neighbours(codes, radix, table, slots):  # type: ignore[no-untyped-def]
    axes = radix.size
    out = np.zeros((axes, 2, codes.size), np.int32)
    all_radix = radix.sum()
    for j in range(axes):
        step = axes * radix[j] - all_radix
        for i in range(1, codes.size):
            other = slots[_slot(codes[i] + step, slots, table)]
            if other:
                out[j, 0, i] = other
                out[j, 1, other] = i
    return out


@jit
def _filter(vertices, weights, neighbours, values, out):  # type: ignore[no-untyped-def]
    n, axes = vertices.shape
    size = neighbours.shape[2]
    old = np.zeros(size, np.float32)
    new = np.zeros(size, np.float32)
    for p in range(n):
        for k in range(axes):
            old[vertices[p, k]] += weights[p, k] * values[p]
    for j in range(axes):
        before = neighbours[j, 0]
        behind = neighbours[j, 1]
        for i in range(1, size):
            new[i] = old[i] + np.float32(0.5) * (old[before[i]] + old[behind[i]])
        old, new = new, old
    for p in range(n):
        total = np.float32(0.0)
        for k in range(axes):
            total += weights[p, k] * old[vertices[p, k]]
        out[p] = total
