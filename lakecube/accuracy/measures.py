"""Measures of agreement from four counts, and their intervals for a simple random sample."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from statistics import NormalDist

NAN = float("nan")
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often map and reference say water, where both say something.

    Attributes
    ----------
    tp, fp, fn, tn : float
        Water in both; in the map alone; in the reference alone; in neither. Numbers of points or pixels, or areas.
    """

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def total(self) -> float:
        """All that was compared."""
        return sum(astuple(self))

    def measures(self) -> dict[str, float]:
        """Precision, recall, F1, IoU, overall, user's and producer's accuracy, kappa; NaN where undefined."""
        tp, fp, fn, tn = astuple(self)
        return {
            "overall_accuracy": share(tp + tn, self.total),
            "precision": share(tp, tp + fp),
            "recall": share(tp, tp + fn),
            "f1": share(2 * tp, 2 * tp + fp + fn),
            "iou": share(tp, tp + fp + fn),
            "users_accuracy_water": share(tp, tp + fp),
            "producers_accuracy_water": share(tp, tp + fn),
            "users_accuracy_land": share(tn, tn + fn),
            "producers_accuracy_land": share(tn, tn + fp),
            "kappa": self._kappa()[0],
        }

    def intervals(self, confidence: float = 0.95) -> dict[str, Interval]:
        """An interval for every measure, as if the counts were of a simple random sample of points.

        Shares by Wilson; F1 through that of IoU, of which it is a rising function, 2·IoU / (1 + IoU); kappa by its
        large-sample variance. Pixels of a whole map are no sample: they are neighbours, and these would be too narrow.

        References
        ----------
        Wilson, E. B. (1927), doi:10.1080/01621459.1927.10502953; Fleiss, J. L., Cohen, J., Everitt, B. S. (1969),
        doi:10.1037/h0028106
        """
        tp, fp, fn, tn = astuple(self)
        iou = wilson(tp, tp + fp + fn, confidence)
        precision, recall = wilson(tp, tp + fp, confidence), wilson(tp, tp + fn, confidence)
        kappa, error = self._kappa()
        half = quantile(confidence) * error
        return {
            "overall_accuracy": wilson(tp + tn, self.total, confidence),
            "precision": precision,
            "recall": recall,
            "f1": (2 * iou[0] / (1 + iou[0]), 2 * iou[1] / (1 + iou[1])),
            "iou": iou,
            "users_accuracy_water": precision,
            "producers_accuracy_water": recall,
            "users_accuracy_land": wilson(tn, tn + fn, confidence),
            "producers_accuracy_land": wilson(tn, tn + fp, confidence),
            "kappa": (max(kappa - half, -1.0), min(kappa + half, 1.0)) if math.isfinite(kappa) else (NAN, NAN),
        }

    def _kappa(self) -> tuple[float, float]:
        """Cohen's kappa and its standard error."""
        n = self.total
        if not n:
            return NAN, NAN
        tp, fp, fn, tn = (v / n for v in astuple(self))
        mapped, truth = (tn + fn, tp + fp), (tn + fp, tp + fn)
        agree, chance = tp + tn, mapped[0] * truth[0] + mapped[1] * truth[1]
        if chance == 1:
            return NAN, NAN
        a, c = 1 - agree, 1 - chance
        cells = ((tn, 0, 0), (fn, 0, 1), (fp, 1, 0), (tp, 1, 1))
        both = sum(p * (mapped[m] + truth[r]) for p, m, r in cells if m == r)
        squared = sum(p * (truth[m] + mapped[r]) ** 2 for p, m, r in cells)
        variance = (
            agree * a / c**2 + 2 * a * (2 * agree * chance - both) / c**3 + a**2 * (squared - 4 * chance**2) / c**4
        ) / n
        return (agree - chance) / c, math.sqrt(max(variance, 0.0))


def wilson(successes: float, total: float, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share; (NaN, NaN) of none."""
    if total <= 0:
        return NAN, NAN
    z, p = quantile(confidence), successes / total
    middle, scale = p + z**2 / (2 * total), 1 + z**2 / total
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def quantile(confidence: float) -> float:
    """How many standard errors an interval of this confidence reaches: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def share(part: float, whole: float) -> float:
    """`part` of `whole`; NaN of none."""
    return part / whole if whole else NAN
