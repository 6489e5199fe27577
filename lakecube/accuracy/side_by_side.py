"""Several maps beside each other: a row of the measures that papers print for each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from lakecube.accuracy.report import Assessment

#: Names of the measures, as papers print them: Cao et al.'s Tables 5 and 6, Chen et al.'s 2 to 4.
_OF_PIXELS = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "IoU": "iou",
    "OA": "overall_accuracy",
    "PA": "producers_accuracy_water",
    "UA": "users_accuracy_water",
    "kappa": "kappa",
}
#: Columns that are numbers of something; all others are shares.
COUNTS = ("lakes", "compared", "unknown")


def side_by_side(found: Mapping[str, Assessment]) -> pd.DataFrame:
    """A table of assessments against one reference, a row for each map.

    Parameters
    ----------
    found : mapping
        Name of the map, such as the method that made it, to what `assess` returned.

    Returns
    -------
    pd.DataFrame
        Per map precision, recall, F1 and IoU of water; overall, producer's and user's accuracy (OA, PA, UA); kappa;
        edge accuracy, omission and commission (EOA, EOE, ECE); the `lakes` of the reference that the map sees, and the
        share of them that is `detected`; and what all that is of: `compared` points or pixels, and how many
        `unknown` in the map alone. Shares from 0 to 1, NaN where there is none. Maps are judged where they know
        something: only those with the same `compared` and `unknown` were judged on as much ground.

    References
    ----------
    Cao, Y. et al. (2024), doi:10.5194/tc-18-153-2024; Chen, Y. et al. (2018), doi:10.3390/w10050585
    """
    return pd.DataFrame({name: _row(one) for name, one in found.items()}).T.rename_axis("map")


def _row(one: Assessment) -> dict[str, float]:
    row = {title: one.measures[name] for title, name in _OF_PIXELS.items()}
    edges = {} if one.edges is None else one.edges.measures()
    row |= {title: edges.get(title.lower(), math.nan) for title in ("EOA", "EOE", "ECE")}
    lakes = None if one.objects is None else one.objects.table.loc["all"]
    row["lakes"] = math.nan if lakes is None else float(lakes["lakes"] - lakes["unseen"])
    row["detected"] = math.nan if lakes is None else float(lakes["detection_rate"])
    return row | {"compared": float(one.confusion.total), "unknown": float(sum(one.unknown["map"].values()))}
