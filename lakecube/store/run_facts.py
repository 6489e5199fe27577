"""What the report of a run says beyond times and bytes: scenes, thresholds, the method and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lakecube.names import INDEX, THRESHOLD_SOURCE
from lakecube.store.contents import ITEM_ROW, Contents
from lakecube.store.report import Pace

#: Parameters of a method that name the weights of a network.
_WEIGHTS = ("model", "architecture", "weights_sha256", "precision")


def scenes(
    contents: Contents, positions: tuple[int, ...], failed: Mapping[int, int], items: set[str]
) -> dict[str, Any]:
    """How many scenes were given, read and skipped, and which ones failed.

    Read are those of the dates that the run wrote, skipped those of dates that the store held already. Failed are
    `items`, of which something could not be read, and all scenes of a date with `failed` pixels and none of these.
    """
    water = contents.water
    if ITEM_ROW not in water.variables:
        return {"given": None, "read": None, "skipped": None, "failed": []}
    rows = water[ITEM_ROW].values
    read = np.isin(rows, positions)
    names = []
    if "item_id" in water.variables:
        ids = np.asarray(water["item_id"].values).astype(str)
        hit = read & np.isin(ids, sorted(items))
        names = ids[hit | (np.isin(rows, list(failed)) & ~np.isin(rows, rows[hit]))].tolist()
    counts = {"given": rows.size, "read": int(read.sum()), "skipped": int((~read).sum())}
    return {**counts, "failed": names}


def pace(found: Pace, contents: Contents, positions: tuple[int, ...]) -> dict[str, Any]:
    """Threads at most, and `speed` as `lakecube.plan.plan` takes it; None where the run was over with its start.

    A composite is made of all dates of its period, which count each.
    """
    water, dates = contents.water, len(positions)
    if ITEM_ROW in water.variables and "item_date" in water.variables:
        rows, days = (np.asarray(water[name].values) for name in (ITEM_ROW, "item_date"))
        given = np.isin(rows, positions)
        dates = len(set(zip(rows[given].tolist(), days[given].tolist(), strict=True))) or dates
    read = found.pixels * dates / max(len(positions), 1)
    return {"threads": found.threads, "speed": round(read / found.seconds) if found.seconds else None}


def thresholds(contents: Contents, facts: Mapping[str, np.ndarray], positions: tuple[int, ...]) -> dict[str, Any]:
    """The thresholds of every date that the run wrote, and what chose each."""
    water = contents.water
    if "threshold" not in water or INDEX not in water.variables:
        return {}
    values, sources = (
        facts[name] if name in facts else np.asarray(water[name].values)
        for name in ("threshold", "threshold_source")
        if name in water
    )
    words = {code: word for word, code in THRESHOLD_SOURCE.items()}
    out: dict[str, Any] = {}
    for position in positions:
        day = str(contents.dates[position])[:10]
        out[day] = {
            str(name): {"value": _number(value), "source": words.get(int(source), str(source))}
            for name, value, source in zip(water[INDEX].values, values[position], sources[position], strict=True)
        }
    return out


def method(contents: Contents) -> dict[str, Any]:
    """The method, its parameters, and the weights of its network if it has one."""
    attrs = contents.water.attrs
    try:
        parameters = json.loads(attrs.get("parameters", "{}"))
    except (TypeError, ValueError):
        parameters = {}
    parameters = parameters if isinstance(parameters, dict) else {}
    weights = {name: parameters[name] for name in _WEIGHTS if "weights_sha256" in parameters and name in parameters}
    return {"method": str(attrs.get("method", "")), "parameters": parameters, "weights": weights or None}


def _number(value: Any) -> float | None:
    """A number as JSON has it: null where there is none, and no more digits than float32 holds."""
    return float(np.format_float_positional(np.float32(value))) if np.isfinite(value) else None
