"""Disjoint sets (union-find) in one array of parents; the root of a set is its smallest member."""

from __future__ import annotations

from lakecube.kernels.jit import jit_inline


@jit_inline
def root(parent, k):
    """The smallest member of the set of k; parent (n,) of any integer dtype, shortened on the way."""
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@jit_inline
def unite(parent, j, k):
    """Make one set of those of j and k, in place."""
    p, q = root(parent, j), root(parent, k)
    if p < q:
        parent[q] = p
    else:
        parent[p] = q
