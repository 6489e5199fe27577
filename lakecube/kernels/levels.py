"""The water level of each lake on each date, in units of frequency, and what it says of the hidden shore.

A lake at one level is wet where it is deep enough, and water frequency orders its pixels by depth; so on one date one
number, the level, parts wet bins from dry ones. Every visible pixel speaks for some levels and against others
(`weigh_levels`), and a level is near those of the dates before and after (`link_dates`): a hidden Markov chain per
lake, solved exactly. A date whose shore is hidden takes its level from its neighbours in time, with their spread.

All functions work on any group of lakes; memory is lakes × dates × LEVELS numbers of 8 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakecube.kernels.heights import BINS, LEVELS
from lakecube.kernels.jit import jit
from lakecube.kernels.shore import DRY, WET

#: What a decision rests on: the lake's own shore on that date, its shore on other dates, the whole scene of that date.
OWN_SHORE, OTHER_DATES, SCENE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class LevelParams:
    """How levels are inferred; the defaults were chosen by measurement (`benchmarks/restoration.py`).

    Parameters
    ----------
    softness : float
        Bins over which the state changes from land to water at a given level: frequencies are noisy.
    error : float
        Share of pixels whose state is wrong at any depth.
    trust : float
        Weight of one pixel: below 1, because neighbouring pixels err together.
    drifts : tuple of float
        Bins by which a level may move in ten days; the likeliest for each lake is taken. It grows with the square root
        of the time between two dates.
    min_shore : int
        Visible pixels of bins between never and always wet that a lake needs: on the date, to be called OWN_SHORE; on
        all dates together, not to fall back to the whole scene.
    """

    softness: float = 0.5
    error: float = 0.01
    trust: float = 0.1
    drifts: tuple[float, ...] = (0.5, 1.5, 5.0)
    min_shore: int = 20

    def __post_init__(self) -> None:
        if not self.softness > 0 or not 0 < self.error < 0.5 or not 0 < self.trust <= 1:
            raise ValueError(
                "need softness > 0, 0 < error < 0.5 and 0 < trust <= 1; "
                f"got {self.softness!r}, {self.error!r}, {self.trust!r}"
            )
        if not self.drifts or not all(drift > 0 for drift in self.drifts):
            raise ValueError(f"drifts must be positive, got {self.drifts!r}")
        if self.min_shore < 1:
            raise ValueError(f"min_shore must be at least 1, got {self.min_shore!r}")


DEFAULT = LevelParams()


def water_at_level(params: LevelParams = DEFAULT) -> np.ndarray:
    """Probability of water at each level and bin: (LEVELS, BINS) float64, a soft step at the level."""
    depth = np.arange(BINS)[None, :] + 0.5 - np.arange(LEVELS)[:, None]
    return params.error + (1 - 2 * params.error) / (1 + np.exp(-depth / params.softness))


def weigh_levels(shore: np.ndarray, params: LevelParams = DEFAULT) -> np.ndarray:
    """Log-likelihood of every level, from the visible pixels of each lake and date.

    Parameters
    ----------
    shore : (time, lake, BINS, 2 or more) uint32
        What `count_shore` or `count_shore_under` returned, added over blocks.

    Returns
    -------
    (time, lake, LEVELS) float64
        Zero throughout where nothing is visible.
    """
    water = water_at_level(params)
    return _weigh(shore, params.trust * np.log(water).T.copy(), params.trust * np.log(1 - water).T.copy())


@jit
def _weigh(shore: np.ndarray, log_wet: np.ndarray, log_dry: np.ndarray) -> np.ndarray:
    dates, lakes, bins, _ = shore.shape
    out = np.zeros((dates, lakes, bins + 1))
    for t in range(dates):
        for lake in range(lakes):
            for b in range(bins):
                wet, dry = shore[t, lake, b, WET], shore[t, lake, b, DRY]
                if wet:
                    for k in range(bins + 1):
                        out[t, lake, k] += wet * log_wet[b, k]
                if dry:
                    for k in range(bins + 1):
                        out[t, lake, k] += dry * log_dry[b, k]
    return out


def link_dates(evidence: np.ndarray, days: np.ndarray, params: LevelParams = DEFAULT) -> np.ndarray:
    """Probability of every level from the *other* dates of the lake alone.

    Parameters
    ----------
    evidence : (time, lake, LEVELS) float64
        What `weigh_levels` returned, dates in ascending order.
    days : (time,) int64
        Day number of each date, ascending.

    Returns
    -------
    (time, lake, LEVELS) float64
        Each adds to 1. A date's own evidence is not in it, so that `join_evidence` may add it, or what was left of
        it under other clouds.
    """
    if evidence.shape[0] == 0:
        return np.empty_like(evidence)
    root = np.sqrt(np.maximum(np.diff(np.asarray(days, np.float64)), 1.0) / 10)
    decay = np.exp(-1 / (np.asarray(params.drifts)[:, None] * root[None, :]))
    k = np.arange(evidence.shape[2])
    step = decay[..., None]
    rows = (1 + step - step ** (k + 1) - step ** (k.size - k)) / (1 - step)  # what decay**distance adds to, by row
    return _link(evidence, decay, 1 / rows)


@jit
def _link(evidence: np.ndarray, decay: np.ndarray, scale: np.ndarray) -> np.ndarray:
    dates, lakes, n = evidence.shape
    out = np.empty((dates, lakes, n))
    seen, forward, trial = np.empty((dates, n)), np.empty((dates, n)), np.empty((dates, n))
    back, room = np.empty(n), np.empty(n)
    for lake in range(lakes):
        for t in range(dates):
            most = -np.inf
            for k in range(n):
                most = max(most, evidence[t, lake, k])
            for k in range(n):
                seen[t, k] = np.exp(evidence[t, lake, k] - most)
        best, chosen = -np.inf, 0
        for d in range(decay.shape[0]):
            likelihood = _pass_forward(seen, decay[d], scale[d], trial, room)
            if likelihood > best:
                best, chosen = likelihood, d
                forward, trial = trial, forward
        for k in range(n):
            back[k] = 1.0
        for t in range(dates - 1, -1, -1):
            total = 0.0
            for k in range(n):
                out[t, lake, k] = forward[t, k] * back[k]
                total += out[t, lake, k]
            for k in range(n):
                out[t, lake, k] /= total
            if t > 0:
                for k in range(n):
                    back[k] *= seen[t, k]
                _spread(back, decay[chosen, t - 1], room)
                total = 0.0
                for k in range(n):
                    back[k] *= scale[chosen, t - 1, k]
                    total += back[k]
                for k in range(n):
                    back[k] /= total
    return out


@jit
def _pass_forward(seen, decay, scale, out, room):
    """Fill `out` with the probability of each level given all earlier dates; the log-likelihood of the dates."""
    dates, n = seen.shape
    likelihood = 0.0
    for k in range(n):
        out[0, k] = 1.0 / n
    for t in range(dates):
        total = 0.0
        for k in range(n):
            total += out[t, k] * seen[t, k]
        likelihood += np.log(total)
        if t + 1 < dates:
            for k in range(n):
                out[t + 1, k] = out[t, k] * seen[t, k] / total * scale[t, k]
            _spread(out[t + 1], decay[t], room)
    return likelihood


@jit
def _spread(mass: np.ndarray, decay: float, source: np.ndarray) -> None:
    """Replace each level by the sum of all, weighted by decay**distance: two sweeps. `source` is room to work in."""
    n = mass.size
    carry = 0.0
    for k in range(n):
        source[k] = mass[k]
        mass[k] += carry
        carry = (carry + source[k]) * decay
    carry = 0.0
    for k in range(n - 1, -1, -1):
        mass[k] += carry
        carry = (carry + source[k]) * decay


@jit
def join_evidence(linked: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Probability of every level, given all dates: `link_dates` times the date's own evidence.

    Parameters
    ----------
    linked, evidence : (time, lake, LEVELS) float64

    Returns
    -------
    (time, lake, LEVELS) float64
        Each adds to 1.
    """
    out = np.empty_like(linked)
    for t in range(linked.shape[0]):
        for lake in range(linked.shape[1]):
            weight = evidence[t, lake] + np.log(linked[t, lake] + 1e-300)
            share = np.exp(weight - weight.max())
            out[t, lake] = share / share.sum()
    return out


def water_by_bin(levels: np.ndarray, params: LevelParams = DEFAULT) -> np.ndarray:
    """Probability of water in every bin, from the probability of every level.

    Parameters
    ----------
    levels : (time, lake, LEVELS) float64
        What `join_evidence` returned.

    Returns
    -------
    (time, lake, BINS) float32
    """
    return _mix(levels, water_at_level(params))


@jit
def _mix(levels: np.ndarray, water: np.ndarray) -> np.ndarray:
    dates, lakes, n = levels.shape
    bins = water.shape[1]
    out = np.empty((dates, lakes, bins), np.float32)
    row = np.empty(bins)
    for t in range(dates):
        for lake in range(lakes):
            row[:] = 0
            for k in range(n):
                for b in range(bins):
                    row[b] += levels[t, lake, k] * water[k, b]
            for b in range(bins):
                out[t, lake, b] = row[b]
    return out


@jit
def level_numbers(levels: np.ndarray) -> np.ndarray:
    """Median level: (time, lake) uint8, from the probability of every level (time, lake, LEVELS)."""
    out = np.empty(levels.shape[:2], np.uint8)
    for t in range(levels.shape[0]):
        for lake in range(levels.shape[1]):
            k, below = 0, levels[t, lake, 0]
            while below < 0.5 and k < levels.shape[2] - 1:
                k += 1
                below += levels[t, lake, k]
            out[t, lake] = k
    return out


def sources(shore: np.ndarray, params: LevelParams = DEFAULT) -> np.ndarray:
    """What the decision of each lake and date rests on: (time, lake) uint8 of OWN_SHORE, OTHER_DATES, SCENE.

    Counted on the visible pixels of bins between never and always wet, against ``params.min_shore``.
    """
    visible = shore[:, :, 1:-1, :2].sum(axis=(2, 3), dtype=np.int64)
    ever = visible.sum(axis=0) >= params.min_shore
    out = np.where(ever[None, :], OTHER_DATES, SCENE)
    return np.where(visible >= params.min_shore, OWN_SHORE, out).astype(np.uint8)
