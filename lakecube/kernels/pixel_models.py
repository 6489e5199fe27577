"""Evaluating a support vector machine and a random forest, pixel by pixel: NumPy in, NumPy out, no scikit-learn.

Each pixel is summed by itself in one order, so that its bits do not depend on the pixels beside it.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit


@jit
def svm_margin(features, vectors, weights, intercept, gamma):
    """Decision function of a support vector machine with the kernel exp(−γ |x − v|²), float64 (n,).

    features (n, bands) and vectors (m, bands) float64, weights (m,) float64: label times multiplier. O(n · m · bands).
    """
    out = np.empty(features.shape[0], np.float64)
    for i in range(features.shape[0]):
        total = intercept
        for k in range(vectors.shape[0]):
            square = 0.0
            for b in range(features.shape[1]):
                apart = features[i, b] - vectors[k, b]
                square += apart * apart
            total += weights[k] * np.exp(-gamma * square)
        out[i] = total
    return out


@jit
def forest_share(features, roots, feature, limit, left, right, share):
    """Mean over the trees of the share of water in the leaf that each pixel reaches, float64 (n,).

    features (n, bands) float32; roots (trees,) int64: first node of each tree; of every node `feature` (int64, −1 in a
    leaf), `limit` (float64: to the left up to it), `left` and `right` (int64 nodes), `share` (float64). As in
    scikit-learn, features are float32 and limits float64. O(n · trees · depth).
    """
    out = np.empty(features.shape[0], np.float64)
    for i in range(features.shape[0]):
        total = 0.0
        for t in range(roots.size):
            node = roots[t]
            while feature[node] >= 0:
                node = left[node] if features[i, feature[node]] <= limit[node] else right[node]
            total += share[node]
        out[i] = total / roots.size
    return out
