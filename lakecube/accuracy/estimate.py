"""Areas and accuracies from a stratified random sample, with intervals (Olofsson et al., 2014; Stehman, 2014).

A map's pixels counted are not the area: what it misses and invents is. The sample corrects that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lakecube.accuracy.measures import quantile
from lakecube.errors import InvalidInputError


@dataclass(frozen=True)
class Estimate:
    """What a stratified sample says of a map.

    Attributes
    ----------
    table : pd.DataFrame
        One row per class: `area` in the unit of the strata's areas, `users_accuracy`, `producers_accuracy`, each with
        `_error` (standard error), `_low` and `_high`; `mapped_area` where the map's own area is known.
    overall_accuracy : tuple
        Estimate, standard error, low, high.
    confidence : float
        Of the intervals.
    """

    table: pd.DataFrame
    overall_accuracy: tuple[float, float, float, float]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain values that JSON takes."""
        value, error, low, high = self.overall_accuracy
        return {
            "confidence": self.confidence,
            "overall_accuracy": {"value": value, "error": error, "low": low, "high": high},
            "classes": self.table.to_dict(orient="index"),
        }


def estimate_area(
    confusion: Any, mapped_area: Any, *, classes: Sequence[Any] | None = None, confidence: float = 0.95
) -> Estimate:
    """Areas and accuracies from the error matrix of a sample that is stratified by the map's classes.

    Parameters
    ----------
    confusion : (class, class) array of int
        Sample counts: rows are the map's classes, columns the reference's, in one order.
    mapped_area : (class,) array
        Area of each class in the map, in any unit; areas come out in the same.
    classes : sequence, optional
        Names of the classes.
    confidence : float
        Of the intervals.

    Returns
    -------
    Estimate

    Raises
    ------
    InvalidInputError
        If the shapes do not fit, a count or an area is negative, or a class with area has fewer than two points.

    References
    ----------
    Olofsson, P. et al. (2014), doi:10.1016/j.rse.2014.02.015, equations 4 to 11

    Examples
    --------
    >>> found = estimate_area([[90, 10], [5, 95]], [100, 900], classes=["water", "land"])
    >>> float(found.table.loc["water", "area"].round(1))
    135.0
    """
    counts, areas = np.asarray(confusion), np.asarray(mapped_area, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise InvalidInputError(
            f"an error matrix is square, rows the map and columns the reference; got {counts.shape}"
        )
    names = list(range(len(counts))) if classes is None else list(classes)
    cube = np.zeros((len(counts), *counts.shape))
    cube[np.arange(len(counts)), np.arange(len(counts))] = counts
    found = estimate_stratified(cube, areas, classes=names, strata=names, confidence=confidence)
    found.table.insert(0, "mapped_area", areas)
    return found


def estimate_stratified(
    counts: Any,
    areas: Any,
    *,
    classes: Sequence[Any],
    strata: Sequence[Any] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Areas and accuracies from a sample whose strata need not be the map's classes.

    Parameters
    ----------
    counts : (stratum, class, class) array of int
        Points of each stratum by the class in the map and the class in the reference.
    areas : (stratum,) array
        Area of each stratum.
    classes, strata : sequence
        Their names.
    confidence : float
        Of the intervals.

    Returns
    -------
    Estimate

    Raises
    ------
    InvalidInputError
        If the shapes do not fit, a count or an area is negative, or a stratum with area has fewer than two points.

    Notes
    -----
    Strata are taken as large against their samples: no correction for a finite population.

    References
    ----------
    Stehman, S. V. (2014), doi:10.1080/01431161.2014.930207; where the strata are the map's classes, the same numbers
    as Olofsson et al. (2014)
    """
    counts, areas = np.asarray(counts, np.float64), np.asarray(areas, np.float64)
    names = list(range(len(areas))) if strata is None else list(strata)
    _check(counts, areas, len(classes), names)
    keep = areas > 0
    sample = _Sample(counts[keep], areas[keep])
    z = quantile(confidence)
    n = len(classes)
    diagonal = np.eye(n)
    rows = {}
    for k, name in enumerate(classes):
        mapped, truth, right = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
        mapped[k, :], truth[:, k], right[k, k] = 1, 1, 1
        share, error = sample.mean(truth)
        row = _with_interval("area", share * areas.sum(), error * areas.sum(), z)
        row["area_low"] = max(row["area_low"], 0.0)
        for title, of in (("users_accuracy", mapped), ("producers_accuracy", truth)):
            row |= _within_one(_with_interval(title, *sample.ratio(right, of), z))
        rows[name] = row
    overall = _within_one(_with_interval("", *sample.mean(diagonal), z))
    return Estimate(pd.DataFrame.from_dict(rows, orient="index"), tuple(overall.values()), confidence)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Sample:
    """Points of strata: counts (stratum, map, reference) and areas (stratum,)."""

    counts: np.ndarray
    areas: np.ndarray

    def moments(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per stratum: means of two indicators (map, reference), and their sample covariance."""
        points = self.counts.sum(axis=(1, 2))
        mean_y, mean_x, mean_yx = ((self.counts * v).sum(axis=(1, 2)) / points for v in (y, x, y * x))
        return mean_y, mean_x, points / (points - 1) * (mean_yx - mean_y * mean_x) / points

    def mean(self, y: np.ndarray) -> tuple[float, float]:
        """Share of the area where an indicator holds, and its standard error."""
        weights = self.areas / self.areas.sum()
        mean, _, variance = self.moments(y, y)
        return float(weights @ mean), float(np.sqrt(weights**2 @ variance))

    def ratio(self, y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
        """Area where `y` holds over that where `x` holds, and its standard error; NaN if `x` was never found."""
        mean_y, mean_x, covariance = self.moments(y, x)
        total = float(self.areas @ mean_x)
        if total == 0:
            return np.nan, np.nan
        ratio = float(self.areas @ mean_y) / total
        variance = self.moments(y, y)[2] + ratio**2 * self.moments(x, x)[2] - 2 * ratio * covariance
        return ratio, math.sqrt(max(float(self.areas**2 @ variance), 0.0)) / total


def _check(counts: np.ndarray, areas: np.ndarray, classes: int, names: list[Any]) -> None:
    if counts.shape != (areas.size, classes, classes) or areas.ndim != 1 or len(names) != areas.size:
        raise InvalidInputError(
            f"counts of {areas.size} strata and {classes} classes have shape ({areas.size}, {classes}, {classes}); "
            f"got {counts.shape}"
        )
    if not (np.isfinite(areas).all() and (areas >= 0).all() and areas.sum() > 0):
        raise InvalidInputError(f"areas of strata are numbers from 0, and not all 0; got {areas.tolist()}")
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise InvalidInputError("counts of points are numbers from 0")
    points = counts.sum(axis=(1, 2))
    few = [f"{name} has {int(n)}" for name, n, area in zip(names, points, areas, strict=True) if n < 2 and area > 0]
    if few:
        raise InvalidInputError(f"every stratum needs at least two points that could be compared; {', '.join(few)}")


def _with_interval(name: str, value: float, error: float, z: float) -> dict[str, float]:
    return {name: value, f"{name}_error": error, f"{name}_low": value - z * error, f"{name}_high": value + z * error}


def _within_one(row: dict[str, float]) -> dict[str, float]:
    return {name: v if name.endswith("_error") else min(max(v, 0.0), 1.0) for name, v in row.items()}
