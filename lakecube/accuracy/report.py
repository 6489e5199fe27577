"""What `assess` found: all numbers, as a report, a table or plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from lakecube.accuracy.edges import EdgeScores
from lakecube.accuracy.estimate import Estimate
from lakecube.accuracy.measures import Confusion
from lakecube.accuracy.objects import ObjectScores
from lakecube.accuracy.reference import Kind


@dataclass(frozen=True)
class Assessment:
    """How a map agrees with a reference. It prints as a report.

    Attributes
    ----------
    judged, kind, unit : str
        What was judged, by what ("points", "polygons", "raster"), and what is counted ("points", "pixels").
    confusion : Confusion
        Counts where both know: `tp`, `fp`, `fn`, `tn`.
    area : Confusion or None
        The same in m², of pixels.
    unknown : dict
        What could not be compared, never counted as land: `map` by class of the reference, `reference` (not told
        there), `outside` (points beside the map or without a date near theirs).
    measures : dict
        Precision, recall, F1, IoU, overall, user's and producer's accuracy, kappa, from the counts.
    intervals : dict
        Of the measures, for points taken as a simple random sample; empty for pixels, which are none, and for points
        of strata, whose intervals are those of `estimate`.
    estimate : Estimate or None
        Of points of a stratified design: accuracies and areas that are weighted by their strata. These count then.
    groups : pd.DataFrame or None
        Per value of the column `by`: points, right ones, their share and its interval.
    objects : ObjectScores or None
        By size class: lakes detected, missed, merged, invented, and the error of their areas.
    edges : EdgeScores or None
        Along the shores of the reference: counts, and edge accuracy, omission and commission.
    confidence : float
        Of all intervals.
    """

    judged: str
    kind: Kind
    unit: str
    confusion: Confusion
    unknown: dict[str, Any]
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    confidence: float
    area: Confusion | None = None
    estimate: Estimate | None = None
    groups: pd.DataFrame | None = None
    objects: ObjectScores | None = None
    edges: EdgeScores | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain values that JSON takes; NaN as None."""
        found = {
            "judged": self.judged,
            "kind": self.kind,
            "unit": self.unit,
            "confidence": self.confidence,
            "confusion": asdict(self.confusion),
            "area_m2": None if self.area is None else asdict(self.area),
            "unknown": self.unknown,
            "measures": self.measures,
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
            "estimate": None if self.estimate is None else self.estimate.to_dict(),
            "groups": None if self.groups is None else self.groups.to_dict(orient="index"),
            "edges": None if self.edges is None else self.edges.to_dict(),
            "objects": None if self.objects is None else self.objects.to_dict(),
            "notes": list(self.notes),
        }
        return _plain(found)

    def table(self) -> pd.DataFrame:
        """All numbers as one long table: `section`, `name`, `value`, `low`, `high`."""
        rows: list[tuple[Any, ...]] = [
            ("counts", name, value, None, None) for name, value in asdict(self.confusion).items()
        ]
        for name, value in self.measures.items():
            rows.append(("measures", name, value, *self.intervals.get(name, (None, None))))
        if self.edges is not None:
            rows += [("edges", name, value, None, None) for name, value in self.edges.to_dict().items()]
        if self.estimate is not None:
            rows.append(("estimate", "overall_accuracy", *(self.estimate.overall_accuracy[k] for k in (0, 2, 3))))
            for row in self.estimate.table.itertuples():
                for name in ("area", "users_accuracy", "producers_accuracy"):
                    values = (getattr(row, name + end) for end in ("", "_low", "_high"))
                    rows.append(("estimate", f"{name}_{row.Index}", *values))
        for title, frame in (
            ("groups", self.groups),
            ("objects", None if self.objects is None else self.objects.table),
        ):
            if frame is not None:
                rows += [
                    (title, f"{index} {name}", frame.at[index, name], None, None)
                    for index in frame.index
                    for name in frame
                ]
        return pd.DataFrame(rows, columns=["section", "name", "value", "low", "high"])

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        c = self.confusion
        yield f"{self.judged}, against {self.kind}"
        yield f"  compared   {c.total:,.0f} {self.unit}"
        for name, value in self.unknown.items():
            text = ", ".join(f"{v:,} {k}" for k, v in value.items() if v) if isinstance(value, dict) else f"{value:,}"
            if text not in ("", "0"):
                yield f"  not        {text}: {_UNKNOWN[name]}"
        yield f"{'':13}{'reference water':>18}{'reference land':>18}"
        yield f"  map water  {c.tp:>18,.0f}{c.fp:>18,.0f}"
        yield f"  map land   {c.fn:>18,.0f}{c.tn:>18,.0f}"
        for name, value in self.measures.items():
            yield f"  {_words(name):<26}{_number(value)}{self._interval(name)}"
        if self.edges is not None:
            yield from _edge_lines(self.edges)
        if self.estimate is not None:
            yield from _estimate_lines(self.estimate)
        for title, frame in (
            ("by group", self.groups),
            ("objects", None if self.objects is None else self.objects.table),
        ):
            if frame is not None:
                yield f"{title}:"
                yield from (f"  {line}" for line in frame.round(4).to_string().splitlines())
        yield from (f"! {note}" for note in self.notes)

    def _interval(self, name: str) -> str:
        low, high = self.intervals.get(name, (math.nan, math.nan))
        return "" if math.isnan(low) else f"  ({low:.4f} to {high:.4f} at {self.confidence:.0%})"


_UNKNOWN = {
    "map": "of the reference where the map is unknown",
    "reference": "where the reference tells nothing",
    "outside": "beside the map, or without a date near theirs",
}


def _edge_lines(edges: EdgeScores) -> Iterator[str]:
    total, unknown = edges.right + edges.omitted + edges.invented, edges.unknown
    more = f", {unknown:,} more unknown" if unknown else ""
    yield f"within {edges.width} px of the reference's shores, {total:,} pixels{more}:"
    words = {"eoa": "edge overall accuracy", "eoe": "edge omission error", "ece": "edge commission error"}
    for name, value in edges.measures().items():
        yield f"  {words[name]:<26}{_number(value)}"


def _estimate_lines(estimate: Estimate) -> Iterator[str]:
    value, _, low, high = estimate.overall_accuracy
    yield f"estimated from the strata, at {estimate.confidence:.0%} (above, all points count alike):"
    yield f"  overall accuracy          {value:.4f}  ({low:.4f} to {high:.4f})"
    for row in estimate.table.itertuples():
        area = f"{row.area / 1e6:,.4f} km² ({row.area_low / 1e6:,.4f} to {row.area_high / 1e6:,.4f})"
        yield f"  {row.Index:<6}  area {area}"
        for name in ("users_accuracy", "producers_accuracy"):
            value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
            yield f"          {_words(name):<20}{value:.4f} ({low:.4f} to {high:.4f})"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("users", "user's").replace("producers", "producer's")


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.4f}"


def _plain(value: Any) -> Any:
    """Without NumPy's numbers, and NaN as None."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value
