"""How many points, and how many in each stratum (Cochran, 1977; Olofsson et al., 2014)."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from lakecube.accuracy.measures import quantile
from lakecube.checks import is_number
from lakecube.errors import InvalidInputError

Allocation = Literal["proportional", "equal", "neyman"]


def sample_size(margin: float, *, weights: Any = (1.0,), expected: Any = 0.5, confidence: float = 0.95) -> int:
    """Points that give the overall accuracy (or any share) to within a margin.

    Parameters
    ----------
    margin : float
        Half the width of the interval: 0.03 for ± 3 %.
    weights : (stratum,) array
        Share of each stratum in the area; one stratum by default.
    expected : float or (stratum,) array
        User's accuracy that is expected in each; 0.5 asks for most.
    confidence : float
        Of the interval.

    Returns
    -------
    int
        ``(Σ W·√(U(1 - U)) / (margin / z))²``, rounded up.

    Raises
    ------
    InvalidInputError
        If the margin, a weight, an expectation or the confidence is out of range.

    References
    ----------
    Cochran, W. G. (1977), Sampling techniques, equation 5.25; Olofsson, P. et al. (2014),
    doi:10.1016/j.rse.2014.02.015, equation 13

    Examples
    --------
    >>> sample_size(0.03)
    1068
    """
    weights, spread = _checked(weights, expected)
    if not (is_number(margin) and 0 < margin < 1):
        raise InvalidInputError(f"margin={margin!r}: half the width of the interval is needed, for example 0.03")
    if not (is_number(confidence) and 0 < confidence < 1):
        raise InvalidInputError(f"confidence={confidence!r}: a share between 0 and 1 is needed, for example 0.95")
    size = (float(weights @ spread) * quantile(confidence) / margin) ** 2
    return max(math.ceil(size - 1e-9), 1)


def allocate(
    n: int, weights: Any, *, how: Allocation = "proportional", least: int = 50, expected: Any = 0.5
) -> np.ndarray:
    """Share points out among strata.

    Parameters
    ----------
    n : int
        Points in all.
    weights : (stratum,) array
        Share of each stratum in the area.
    how : {"proportional", "equal", "neyman"}
        By weight; the same for all; or by weight and spread, ``W·√(U(1 - U))``, best for the overall accuracy.
    least : int
        For each stratum that has area, so that rare ones can be told of; they take from the others.
    expected : float or (stratum,) array
        As in `sample_size`.

    Returns
    -------
    (stratum,) int64
        They add up to `n`, or to more where `least` asks for it. Fractions go to the largest, ties to the first.

    References
    ----------
    Olofsson, P. et al. (2014), doi:10.1016/j.rse.2014.02.015, section 5.1.2
    """
    weights, spread = _checked(weights, expected)
    if how not in ("proportional", "equal", "neyman"):
        raise InvalidInputError(f"allocation={how!r}: use proportional, equal or neyman")
    there = weights > 0
    demand = {"proportional": weights, "equal": there / 1.0, "neyman": weights * spread}[how]
    out = np.zeros(weights.size, np.int64)
    open_ = there.copy()
    while open_.any():  # those below the least get it, the rest share what is left
        total = demand[open_].sum()
        left = max(int(n) - int(out[~open_].sum()), 0)
        share = np.where(open_, demand / total * left if total > 0 else left / open_.sum(), 0.0)
        low = open_ & (share < least)
        if not low.any():
            out[open_] = _rounded(share[open_], left)
            break
        out[low] = least
        open_ &= ~low
    return out


def _rounded(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, by the largest fractions, ties to the first."""
    whole = np.floor(shares).astype(np.int64)
    order = np.argsort(-(shares - whole), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def _checked(weights: Any, expected: Any) -> tuple[np.ndarray, np.ndarray]:
    weights = np.atleast_1d(np.asarray(weights, np.float64))
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InvalidInputError("weights of strata are numbers from 0, and not all 0")
    try:
        expected = np.broadcast_to(np.asarray(expected, np.float64), weights.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"expected={expected!r}: a share is needed, or one for each stratum") from error
    if not ((expected >= 0) & (expected <= 1)).all():
        raise InvalidInputError(f"expected accuracies are shares from 0 to 1; got {expected.tolist()}")
    return weights / weights.sum(), np.sqrt(expected * (1 - expected))
