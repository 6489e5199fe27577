"""What the page says, as HTML: legends, a lake, what was seen of it on a day, its lineage. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from lakecube.dashboard.layers import Layer
from lakecube.dashboard.source import Opened
from lakecube.names import DATE, LAKE, LAKE_KIND, REASON, SIZE_CLASS
from lakecube.plot import credits_of
from lakecube.series.registry import EVENT
from lakecube.summary import cloud_doubt, in_degrees

_SIZES, _KINDS = ({code: name.replace("_", " ") for name, code in t.items()} for t in (SIZE_CLASS, LAKE_KIND))
_REASONS = {code: name.replace("_", " ") for name, code in REASON.items()}
#: Events of the current revision, as told of the lake itself, and of the other one.
_EVENTS = {
    EVENT["birth"]: ("new in this revision", ""),
    EVENT["death"]: ("gone in this revision", ""),
    EVENT["split"]: ("split from lake {other}", "lake {other} split from it"),
    EVENT["merge"]: ("merged into lake {other}", "lake {other} merged into it"),
    EVENT["exchange"]: ("took pixels of lake {other}", "gave pixels to lake {other}"),
}
_OTHER_EVENT = ("changed with lake {other}", "changed with lake {other}")


def legend(layer: Layer) -> str:
    """Swatches with words, or a scale with its ends; and what is drawn over the map."""
    return _legend_of(layer) + _OVER_THE_MAP


_OVER_THE_MAP = (
    '<ul class="legend"><li><span class="swatch" style="border:2px solid #222"></span>largest extent of a lake</li>'
    '<li><span class="swatch" style="border:2px solid #d95f02"></span>of the chosen one</li>'
    '<li><span class="dot" style="background:#fff"></span>a lake too small to be seen</li></ul>'
)


def _legend_of(layer: Layer) -> str:
    if not layer.scale:
        return _list(_swatch(layer.colours[code], words) for code, words in layer.legend)
    (first, low), (_, middle), (last, high), (other, unknown) = layer.legend
    steps = np.linspace(first, last, 13).round().astype(int)
    ramp = ", ".join(layer.colours[code] for code in steps.tolist())
    ends = "".join(f"<span>{escape(words)}</span>" for words in (low, middle, high))
    bar = f'<div class="bar" style="background:linear-gradient(to right, {ramp})"></div>'
    return f'<div class="scale">{bar}<div class="ends">{ends}</div></div>' + _list(
        [_swatch(layer.colours[other], unknown)]
    )


def series_legend() -> str:
    """What the marks of the series mean."""
    return (
        '<ul class="legend"><li><span class="dot"></span>area; share of the lake seen: '
        '<span class="bar grey"></span> 0–100 %</li>'
        '<li><span class="thick"></span>5 to 95 %</li>'
        '<li><span class="thin"></span>if all hidden is land, or water</li></ul>'
    )


def line(text: str) -> str:
    """One line to the visitor; a space keeps its place."""
    return f'<p class="line">{escape(text) or "&nbsp;"}</p>'


def sampled(step: int, together: bool) -> str:
    """How a map shows more pixels than there are on a screen; nothing where it shows every one."""
    if step == 1:
        return ""
    return f"; {step} × {step} px are shown as one" if together else f"; one in {step} × {step} px is shown"


def downloads(query: str, lake: int | None) -> str:
    """Links to what can be taken away."""
    links = [f'<a href="download/series.csv?{escape(query)}">areas of the lakes that pass the filters (CSV)</a>']
    if lake is not None:
        links.insert(0, f'<a href="download/series.csv?{escape(query)}&amp;lake={lake}">areas of lake {lake} (CSV)</a>')
    links.append('<a href="download/outlines.parquet">outlines of all lakes (GeoParquet)</a>')
    return _list(links)


def about_store(opened: Opened) -> str:
    """Whose data they are, of when, and by what method."""
    attrs, dates = opened.store.attrs, opened.dates
    rows, columns = opened.grid.shape
    place = f" in {opened.crs.name}" if opened.crs is not None else ""
    doubt = cloud_doubt(opened.store)
    parts = [
        attrs.get("collections", ""), f"{dates.size} dates, {dates.min()} to {dates.max()}",
        f"{rows} × {columns} px{place}",
        f"method {attrs['method']}" if attrs.get("method") else "", f"revision {attrs.get('revision')}",
        f"{opened.lakes['lake'].size} water bodies", f"cloud {doubt}" if doubt else "", credits_of(opened.store),
    ]  # fmt: skip
    return f"<p>{escape(' · '.join(str(part) for part in parts if part))}</p>"


def about_lake(lake: xr.Dataset | None) -> str:
    """What a lake is."""
    if lake is None:
        return "<p>Choose a lake: click it on the map, or take it from the list.</p>"
    km2 = float(lake["max_area"]) / 1e6
    kind = "provisional" if int(lake["provisional"]) else _KINDS.get(int(lake["kind"]), "unknown kind")
    facts = {
        "kind": f"{kind}, {_SIZES.get(int(lake['size_class']), 'unknown size')}",
        "largest extent": f"{km2:.4g} km²",
        "perimeter": f"{float(lake['perimeter']) / 1e3:.3g} km",
        "shape index": f"{float(lake['shape_index']):.2f}",
        "centre": in_degrees(float(lake["latitude"]), float(lake["longitude"])),
    }
    if int(lake["touches_edge"]):
        facts["edge"] = "reaches the edge of the data"
    return f"<h3>Lake {int(lake[LAKE])}</h3>{_facts(facts)}"


def lineage(store: xr.Dataset, lake: xr.Dataset) -> str:
    """Since when a lake is known, and what the last revision did to it."""
    number = int(lake[LAKE])
    said = []
    if "first_revision" in lake:
        said.append(f"first found by revision {int(lake['first_revision'])}")
    if "lineage_lake" in store.variables:
        of, other = store["lineage_lake"].values, store["lineage_other"].values
        for row in np.flatnonzero((of == number) | (other == number)).tolist():
            code, mine = int(store["lineage_event"].values[row]), of[row] == number
            words = _EVENTS.get(code, _OTHER_EVENT)[0 if mine else 1]
            said.append(words.format(other=int(other[row] if mine else of[row])))
    return _list(escape(line) for line in said) if said else "<p>nothing recorded</p>"


def about_day(
    day: Any, lake: xr.Dataset | None, hidden: Mapping[int, float], point: Mapping[str, Any] | None, doubt: str
) -> str:
    """What was seen on a date: of the lake, and at the place that was clicked."""
    parts = [f"<h3>{escape(str(day))}</h3>"]
    if doubt:
        parts.append(f"<p>cloud {escape(doubt)}</p>")
    if lake is not None:
        parts.append(_lake_on(lake, day, hidden))
    if point is not None:
        parts.append(f"<h4>At the marked place</h4>{_facts(_point(point))}")
    if lake is None and point is None:
        parts.append("<p>Click the map to ask why a pixel is what it is.</p>")
    return "".join(parts)


def _lake_on(lake: xr.Dataset, day: Any, hidden: Mapping[int, float]) -> str:
    at = np.flatnonzero(lake[DATE].values.astype("datetime64[D]") == day)
    if not at.size:
        return "<p>No revision has seen this date yet: <code>lakecube revise</code> takes it in.</p>"
    one = {name: float(lake[name].values[at[-1]]) for name in lake.data_vars if lake[name].dims == (DATE,)}
    km2 = {name: value / 1e6 for name, value in one.items()}
    seen = one["lake_observed_fraction"]
    facts = {
        "area": _number(km2["lake_area"]) + " km², seen and inferred",
        "5 to 95 %": f"{_number(km2['lake_area_q05'])} to {_number(km2['lake_area_q95'])} km²",
        "limits": f"{_number(km2['lake_area_lower'])} km² if all hidden is land, "
        f"{_number(km2['lake_area_upper'])} km² if water",
        "seen": f"{seen:.1%} of its largest extent" if np.isfinite(seen) else "not known",
    }
    if hidden:
        facts["not seen"] = ", ".join(f"{_REASONS.get(code, str(code))} {share:.1%}" for code, share in hidden.items())
    return _facts(facts)


def _point(found: Mapping[str, Any]) -> dict[str, str]:
    """The answer of `explain`, without what a reader of the page does not ask for."""
    out = {"place": in_degrees(found["latitude"], found["longitude"], 5)}
    for name in ("label", "reason"):
        if name in found:
            out[name] = str(found[name]).replace("_", " ")
    if found.get("rules_fired"):
        out["spoke against water"] = ", ".join(found["rules_fired"])
    if "water_frequency" in found:
        out["wet"] = f"on {found.get('count_wet', 0)} of {found.get('count_clear', 0)} clear dates"
    for name, one in found.get("thresholds", {}).items():
        out[f"threshold {name}"] = f"{one['value']:.3f} ({one['source'].replace('_', ' ')})"
    scenes = [str(item.get("id", "")) for item in found.get("items", [])]
    if scenes:
        out["scenes"] = ", ".join(scenes[:4]) + (f" and {len(scenes) - 4} more" if len(scenes) > 4 else "")
    return out


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{rows}</dl>"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "unknown"


def _swatch(colour: str, words: str) -> str:
    return f'<span class="swatch" style="background:{colour}"></span>{escape(words)}'


def _list(items: Iterable[str]) -> str:
    return '<ul class="legend">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>"
