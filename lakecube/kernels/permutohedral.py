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

#: Points embedded together, so that the arithmetic runs in vector instructions.
BLOCK = 256
#: log2 of the first vertices seen last that are looked up first; neighbours share most, and this stays in the cache.
SEEN_BITS = 12


class Lattice(NamedTuple):
    """Where N points lie among M vertices (vertex 0 does not exist: its value is 0)."""

    vertices: np.ndarray
    """int32 (N, d + 1), from 1."""
    weights: np.ndarray
    """float32 (N, d + 1), sum to 1."""
    neighbours: np.ndarray
    """int32 (d + 1, 2, M + 1): along each axis, the vertex before and behind; 0 where there is none."""

    def filter(self, values: np.ndarray, norm: np.ndarray | None = None) -> np.ndarray:
        """Splat, blur and slice float32 values (N,): a Gaussian sum up to a constant factor. O((N + M)·d).

        With `norm` (N,) values are multiplied by it before and after.
        """
        out = np.empty_like(values)
        norm = np.ones_like(values) if norm is None else norm
        _filter(self.vertices, self.weights, self.neighbours, values, norm, out, (0,) * (self.weights.shape[1] - 1))
        return out


def build(features: np.ndarray) -> Lattice:
    """The lattice of float32 points (N, d), in units of standard deviations; all finite. O(N·d²)."""
    features = np.ascontiguousarray(features, np.float32)
    n, d = features.shape
    scale = (np.sqrt(2.0 / 3.0) * (d + 1) / np.sqrt(np.arange(1.0, d + 1) * np.arange(2.0, d + 2))).astype(np.float32)
    radix = _radix(features, scale) if n else np.ones(d + 1, np.int64)
    # large arrays are NumPy's, which asks for huge pages: Numba's cost as much time to touch as to fill
    vertices, weights = np.empty((n, d + 1), np.int32), np.empty((n, d + 1), np.float32)
    net = _Net(np.zeros((1 << 13, 2), np.int64), np.zeros(1 << 12, np.int64), np.zeros((1 << 12, d + 1), np.int32))
    begin = count = 0
    while begin < n:
        begin, count = _embed(features, scale, radix, (0,) * d, net, vertices, weights, begin, count)
        if begin < n:
            net = net.doubled()
    neighbours = np.zeros((d + 1, 2, count + 1), np.int32)
    _neighbours(radix, net, neighbours)
    return Lattice(vertices, weights, neighbours)


class _Net(NamedTuple):
    """The vertices so far."""

    table: np.ndarray
    """int64 (slots, 2): code and id, from 1; open-addressed, an id of 0 is free."""
    codes: np.ndarray
    """int64 (at least vertices + 1,): by id."""
    onward: np.ndarray
    """int32 (as codes, d + 1): the vertex one step behind along each axis, where it has been looked up, else 0."""

    def doubled(self) -> _Net:
        table = np.zeros((2 * self.table.shape[0], 2), np.int64)
        _rehash(self.table, table)
        codes, onward = (np.concatenate([a, np.zeros_like(a)]) for a in (self.codes, self.onward))
        return _Net(table, codes, onward)


def _radix(features: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int64 (d + 1,): what one step along each coordinate adds to a vertex' code (0 for the last, which is implied)."""
    d = features.shape[1]
    low, high = _bounds(features)
    spread = (high - low) * scale
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
def _bounds(features):
    low = features[0].astype(np.float64)
    high = low.copy()
    for p in range(features.shape[0]):
        for i in range(low.size):
            low[i] = min(low[i], features[p, i])
            high[i] = max(high[i], features[p, i])
    return low, high


@jit
def _slot(code, table):
    """The row of an open-addressed table of (code, id from 1; 0 is free) that holds `code` or is free for it."""
    mask = table.shape[0] - 1
    slot = np.int64((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
    while table[slot, 1] != 0 and table[slot, 0] != code:
        slot = (slot + 1) & mask
    return slot


@jit
def _vertex(code, table, codes, count):
    """The id of the vertex of this code, which is made if need be, and how many there are now."""
    slot = _slot(code, table)
    if table[slot, 1] == 0:
        count += 1
        codes[count] = code
        table[slot, 0] = code
        table[slot, 1] = count
    return np.int32(table[slot, 1]), count


@jit
def _embed(features, scale, radix, dims, net, vertices, weights, begin, count):
    """Vertices and weights of the points from `begin` on, until the net is full: where it ended, and its vertices.

    `dims` has d members: a length the compiler knows.
    """
    n = features.shape[0]
    d = len(dims)
    share = np.zeros((d + 1, BLOCK), np.float32)
    order = np.empty((d + 1, BLOCK), np.int32)
    starts = np.empty(BLOCK, np.int64)
    steps = radix.sum() - (d + 1) * radix
    seen = np.zeros((1 << SEEN_BITS, 2), np.int64)
    while begin < n and count + (d + 1) * BLOCK < net.codes.size:
        end = min(n, begin + BLOCK)
        _simplices(features[begin:end], scale, radix, dims, share, order, starts)
        here = vertices[begin:end]
        count = _first_vertices(starts, seen, net.table, net.codes, count, here)
        count = _other_vertices(order, steps, net.onward, net.table, net.codes, count, here)
        for k in range(d + 1):
            for p in range(begin, end):
                weights[p, k] = share[k, p - begin]
        begin = end
    return begin, count


@jit
def _first_vertices(starts, seen, table, codes, count, vertices):
    """Look up the first vertex of every point, those seen last first; returns how many vertices there are now."""
    for p in range(vertices.shape[0]):
        code = starts[p]
        last = np.int64((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - SEEN_BITS))
        if seen[last, 0] != code or seen[last, 1] == 0:
            seen[last, 0] = code
            seen[last, 1], count = _vertex(code, table, codes, count)
        vertices[p, 0] = seen[last, 1]
    return count


@jit
def _other_vertices(order, steps, onward, table, codes, count, vertices):
    """Walk from vertex to vertex along the axes; a step once taken is kept in `onward`, and is no look-up any more."""
    d = vertices.shape[1] - 1
    for k in range(d):
        for p in range(vertices.shape[0]):
            here, axis = vertices[p, k], order[d - k, p]
            there = onward[here, axis]
            if there == 0:
                there, count = _vertex(codes[here] + steps[axis], table, codes, count)
                onward[here, axis] = there
            vertices[p, k + 1] = there
    return count


@jit
def _simplices(features, scale, radix, dims, share, order, starts):
    """For a block of points, one loop over the points per step: the shares of the vertices, the order of the
    coordinates (which has rank 0, 1, …) and the code of the first vertex."""
    d = len(dims)
    size = features.shape[0]
    down = np.float32(1.0) / np.float32(d + 1)
    total = np.zeros(size, np.float32)
    excess = np.zeros(size, np.float32)
    elevated = np.empty((d + 1, size), np.float32)
    base = np.empty((d + 1, size), np.float32)
    ranks = np.empty((d + 1, size), np.int32)
    for j in range(d, 0, -1):
        for p in range(size):
            part = features[p, j - 1] * scale[j - 1]
            elevated[j, p] = total[p] - np.float32(j) * part
            total[p] += part
    elevated[0] = total
    for i in range(d + 1):
        for p in range(size):
            v = elevated[i, p]
            up = np.ceil(v * down) * np.float32(d + 1)
            below = np.floor(v * down) * np.float32(d + 1)
            near = up if up - v < v - below else below
            base[i, p] = near
            elevated[i, p] = v - near
            excess[p] += near * down
    for i in range(d + 1):
        for p in range(size):
            ranks[i, p] = np.int32(np.rint(excess[p]))
    for i in range(d):
        for j in range(i + 1, d + 1):
            for p in range(size):
                less = np.int32(1) if elevated[i, p] < elevated[j, p] else np.int32(0)
                ranks[i, p] += less
                ranks[j, p] += np.int32(1) - less
    for p in range(size):
        starts[p] = 0
    for i in range(d + 1):
        for p in range(size):
            turn = np.int32(d + 1) if ranks[i, p] < 0 else (np.int32(-d - 1) if ranks[i, p] > d else np.int32(0))
            ranks[i, p] += turn
            base[i, p] += np.float32(turn)
            elevated[i, p] = (elevated[i, p] - np.float32(turn)) * down
            starts[p] += np.int64(base[i, p]) * radix[i]
    _shares(elevated, ranks, dims, share, order)


@jit
def _shares(elevated, ranks, dims, share, order):
    """Which coordinate has which rank, and what the vertices get: the differences of one coordinate to the next."""
    d = len(dims)
    size = ranks.shape[1]
    before = np.zeros(size, np.float32)
    mine = np.zeros(size, np.float32)
    for k in range(d + 1):
        for p in range(size):
            before[p] = mine[p]
            order[d - k, p] = 0
            mine[p] = np.float32(0.0)
        for i in range(d + 1):
            for p in range(size):
                if ranks[i, p] == d - k:
                    order[d - k, p] = i
                    mine[p] = elevated[i, p]
        for p in range(size):
            share[k, p] = mine[p] - before[p]
    for p in range(size):
        share[0, p] += np.float32(1.0) - mine[p]


@jit
def _rehash(table, more):
    for i in range(table.shape[0]):
        if table[i, 1] != 0:
            more[_slot(table[i, 0], more)] = table[i]


@jit
def _neighbours(radix, net, out):
    axes = radix.size
    steps = radix.sum() - axes * radix
    for i in range(1, out.shape[2]):
        for j in range(axes):
            other = net.onward[i, j]
            if other == 0:
                other = np.int32(net.table[_slot(net.codes[i] + steps[j], net.table), 1])
            if other:
                out[j, 0, other] = i
                out[j, 1, i] = other


@jit
def _filter(vertices, weights, neighbours, values, norm, out, dims):
    n = vertices.shape[0]
    axes = len(dims) + 1
    size = neighbours.shape[2]
    old = np.zeros(size, np.float32)
    new = np.zeros(size, np.float32)
    for p in range(n):
        value = values[p] * norm[p]
        for k in range(axes):
            old[vertices[p, k]] += weights[p, k] * value
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
        out[p] = total * norm[p]
