"""What is said once a write is committed: imagery that could not be read, offsets that the imagery contradicts."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Mapping

import numpy as np

from lakecube.store.contents import ITEM_ROW, Contents
from lakecube.store.layout import Stored
from lakecube.store.ledger import Row
from lakecube.store.plan import Plan

#: Items named in one warning.
_NAMED = 20


class ReadFailedWarning(UserWarning):
    """Some imagery could not be read, after retries; its pixels are unknown."""


def unread(failed: Mapping[str, int], contents: Contents, path: str, items: set[str]) -> list[Warning]:
    """Name the dates, and the items of them (those of `items`, if any), whose imagery could not be read."""
    if not failed:
        return []
    water, named = contents.water, ""
    if "item_id" in water.variables and "item_date" in water.variables:
        of_dates = np.isin(water["item_date"].values.astype("datetime64[D]").astype(str), list(failed))
        all_of_them = [str(name) for name in water["item_id"].values[of_dates]]
        broken = [name for name in all_of_them if name in items] or all_of_them
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        named = f" (of the items {', '.join(broken[:_NAMED])}{more})"
    pixels = {date: count for date, count in failed.items() if count}
    others = [date for date, count in failed.items() if not count]
    told = []
    if pixels:
        told.append(
            f"{sum(pixels.values())} pixels on {', '.join(pixels)} could not be read{named}: they are stored as "
            "unknown, reason read_failed"
        )
    if others:
        told.append(
            f"some imagery of {', '.join(others)} could not be read{'' if pixels else named}: every pixel is of other "
            "imagery, but a threshold, an overlap or an audit was made without it"
        )
    again = f"water.water.to_zarr({path!r}, mode='append', retry=True)"
    return [ReadFailedWarning(f"{'; '.join(told)}. Once it can be read, read these dates anew with {again}")]


def unread_before(rows: list[Row], superseded: frozenset[int], contents: Contents) -> dict[str, int]:
    """Pixels of the given dates that could not be read and have not been since."""
    given = {str(date) for date in contents.dates}
    live = [row for k, row in enumerate(rows) if k not in superseded and row["date"] in given]
    failed: Counter[str] = Counter()
    for row in live:
        if "failed" in row:
            failed[str(row["date"])[:10]] += int(row["failed"])
    return dict(failed)


def conflicts(small: Mapping[str, Stored], plan: Plan) -> list[Warning]:
    """Name the items written whose numbers contradict the offset that their metadata declare."""
    if not {"item_offset_conflict", "item_id", ITEM_ROW} <= set(small):
        return []
    from lakecube.io.audit import OffsetConflictWarning

    columns = {
        name: np.asarray(small[name].values)
        for name in ("item_id", "item_offset_conflict", "item_offset", "item_offset_audited", ITEM_ROW)
        if name in small
    }
    found = np.flatnonzero((columns["item_offset_conflict"] == 1) & (columns[ITEM_ROW] >= plan.base))
    if not len(found):
        return []
    named = []
    for i in found[:_NAMED].tolist():
        offsets = [
            f"{what} {', '.join(f'{v:g}' for v in np.unique(columns[name][i]))}"
            for what, name in (("declared", "item_offset"), ("found", "item_offset_audited"))
            if name in columns
        ]
        named.append(f"{columns['item_id'][i]} ({', '.join(offsets)})")
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    configuration = plan.contents.water.attrs.get("configuration")
    applied = isinstance(configuration, str) and '"offset": "audit"' in configuration
    fate = (
        "what was found was applied, as asked by offset='audit'"
        if applied
        else "what is declared was applied; lakecube.open(…, offset='audit') applies what was found"
    )
    return [
        OffsetConflictWarning(
            f"the numbers of {len(found)} item{'s' if len(found) > 1 else ''} contradict the radiometric offset in the "
            f"metadata: {'; '.join(named)}{more}. For these, {fate}"
        )
    ]


def say(told: list[Warning]) -> None:
    """Issue warnings at the line outside of lakecube that called."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "lakecube":
        level, frame = level + 1, frame.f_back
    for warning in told:
        warnings.warn(warning, stacklevel=level)
