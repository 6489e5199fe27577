"""Affinity propagation (Frey and Dueck 2007) of a few points, deterministic: fixed sweeps, ties by index."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: Sweeps without a change of the centres after which they are taken to be final.
SETTLED = 15


@jit
def break_ties(similarity):
    """Lower each similarity (n, n) a little by its index alone, so that no two are alike; in place.

    Equal similarities make the messages of affinity propagation oscillate. The share is below 2⁻³⁰ of the largest.
    """
    n = similarity.shape[0]
    largest = 0.0
    for i in range(n):
        for j in range(n):
            largest = max(largest, abs(similarity[i, j]))
    for i in range(n):
        for j in range(n):
            mixed = np.uint64(i * n + j + 1) * np.uint64(0x9E3779B97F4A7C15)
            similarity[i, j] -= largest * np.float64(mixed >> np.uint64(40)) * 2.0**-54


@jit
def _respond(similarity, available, damping, response):
    """Responsibilities: how much better j would serve i than the best of the others."""
    n = similarity.shape[0]
    for i in range(n):
        most, second, where = -np.inf, -np.inf, 0
        for j in range(n):
            value = available[i, j] + similarity[i, j]
            if value > most:
                most, second, where = value, most, j
            elif value > second:
                second = value
        for j in range(n):
            rival = second if j == where else most
            response[i, j] = damping * response[i, j] + (1.0 - damping) * (similarity[i, j] - rival)


@jit
def _offer(response, damping, total, available):
    """Availabilities: what the other points that want j add to its own wish to be a centre."""
    n = response.shape[0]
    total[:] = 0.0
    for i in range(n):
        for j in range(n):
            total[j] += response[i, j] if i == j else max(response[i, j], 0.0)
    for i in range(n):
        for j in range(n):
            rest = total[j] - (response[i, j] if i == j else max(response[i, j], 0.0))
            offer = rest if i == j else min(rest, 0.0)
            available[i, j] = damping * available[i, j] + (1.0 - damping) * offer


@jit
def _medoids(similarity, chosen, count, nearest):
    """Give every point to its nearest centre, then move each centre to the point that is nearest to all of its own."""
    n = similarity.shape[0]
    for i in range(n):
        best = 0
        for c in range(1, count):
            if similarity[i, chosen[c]] > similarity[i, chosen[best]]:
                best = c
        nearest[i] = best
    for c in range(count):
        nearest[chosen[c]] = c
    for c in range(count):
        most = -np.inf
        for j in range(n):
            if nearest[j] == c:
                total = 0.0
                for i in range(n):
                    if nearest[i] == c:
                        total += similarity[i, j]
                if total > most:
                    most = total
                    chosen[c] = j


@jit
def centres(similarity, damping, sweeps):
    """Indices of the centres, ascending, of points with the given similarities (n, n; the diagonal: preferences).

    At most `sweeps` sweeps over all messages, fewer once the centres have not changed for `SETTLED` of them. If no
    point wants to be a centre in the end, the one that wants it most is. O(sweeps · n²).
    """
    n = similarity.shape[0]
    response, available = np.zeros((n, n)), np.zeros((n, n))
    total = np.empty(n)
    wants, before = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    same = 0
    for _ in range(sweeps):
        _respond(similarity, available, damping, response)
        _offer(response, damping, total, available)
        changed, any_wants = False, False
        for j in range(n):
            wants[j] = response[j, j] + available[j, j] > 0.0
            changed |= wants[j] != before[j]
            any_wants |= wants[j]
            before[j] = wants[j]
        same = 0 if changed else same + 1
        if same >= SETTLED and any_wants:
            break
    chosen, count = np.empty(n, np.int64), 0
    most = 0
    for j in range(n):
        if wants[j]:
            chosen[count] = j
            count += 1
        if response[j, j] + available[j, j] > response[most, most] + available[most, most]:
            most = j
    if count == 0 and n:
        chosen[0] = most
        count = 1
    _medoids(similarity, chosen, count, np.empty(n, np.int64))
    return np.sort(chosen[:count])
