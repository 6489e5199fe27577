"""Values between the nodes of a regular lattice, as whole quanta: linear along y, then along x."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit


@jit
def between_nodes(nodes, row_at, row_share, column_at, column_share, scale):
    """Interpolate and round to 1/scale.

    nodes (n, m) float64; for each row and column wanted the node before it (int64) and how far it is towards the next
    (float64 in [0, 1)) → (rows, columns) int64. Each value by itself, whatever is asked for beside it. O(values).
    """
    out = np.empty((row_at.size, column_at.size), np.int64)
    line = np.empty(nodes.shape[1])
    for i in range(row_at.size):
        a, s = row_at[i], row_share[i]
        for k in range(line.size):
            line[k] = nodes[a, k] * (1 - s) + nodes[a + 1, k] * s
        for j in range(column_at.size):
            b, t = column_at[j], column_share[j]
            out[i, j] = np.int64(np.rint((line[b] * (1 - t) + line[b + 1] * t) * scale))
    return out
