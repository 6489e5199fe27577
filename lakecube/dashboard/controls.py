"""The widgets of a page: what to show, of which date, which lakes. Each is a labelled form control of the browser."""

from __future__ import annotations

from importlib.resources import files
from itertools import groupby
from typing import Any

import numpy as np
from bokeh.models import Button, CheckboxGroup, Select, Slider, TextInput

from lakecube.dashboard.filters import KINDS, Filters
from lakecube.dashboard.source import Opened
from lakecube.names import SIZE_CLASS

#: Lakes in the list, the largest first; any other is chosen on the map or by its number.
LAKES_LISTED = 300
_STYLE = (files("lakecube.dashboard") / "controls.css").read_text(encoding="utf-8")


class Controls:
    """The widgets of one visitor.

    Attributes
    ----------
    layer, date, lake, number, sizes, kinds, mean_seen, min_observed, earlier, later, whole, near, closer, wider
        Bokeh widgets.
    """

    def __init__(self, opened: Opened) -> None:
        self.layer = _made(Select, "layer", title="Map")
        self.date = _made(Select, "date", title="Date")
        self.earlier = _made(Button, "earlier", label="‹ earlier")
        self.later = _made(Button, "later", label="later ›")
        self.lake = _made(Select, "lake", title="Lake, by largest extent")
        self.number = _made(TextInput, "number", title="or by its number", placeholder="e.g. 17")
        words = [name.replace("_", " ") for name in KINDS]
        self.sizes = _made(CheckboxGroup, "sizes", labels=list(SIZE_CLASS), active=list(range(len(SIZE_CLASS))))
        self.kinds = _made(CheckboxGroup, "kinds", labels=words, active=[0])
        shares: dict[str, Any] = {"start": 0, "end": 100, "step": 5, "value": 0}
        self.mean_seen = _made(Slider, "mean_seen", title="Least share seen on average, %", **shares)
        self.min_observed = _made(Slider, "min_observed", title="Least share seen on a date, %", **shares)
        self.whole = _made(Button, "whole", label="whole area")
        self.near = _made(Button, "near", label="to the lake", disabled=True)
        self.closer = _made(Button, "closer", label="+ closer")
        self.wider = _made(Button, "wider", label="− wider")
        self.offer(opened)

    def offer(self, opened: Opened) -> None:
        """Let choose from what a store holds; keeps what was chosen if it is still there."""
        layers = opened.layers.values()
        self.layer.options = {
            group: [(layer.key, layer.title) for layer in some]
            for group, some in groupby(layers, key=lambda layer: layer.group)
        }
        if self.layer.value not in opened.layers:
            self.layer.value = next(iter(opened.layers))
        days = [str(day) for day in opened.dates]
        self.date.options = days
        if self.date.value not in days:
            self.date.value = days[-1]

    def offer_lakes(self, opened: Opened, kept: np.ndarray, chosen: int | None) -> None:
        """The largest lakes that pass the filters, and the chosen one."""
        at = np.flatnonzero(kept)
        at = at[np.argsort(-opened.lakes["max_area"][at], kind="stable")[:LAKES_LISTED]]
        one = np.flatnonzero(opened.lakes["lake"] == (chosen or -1))
        at = np.append(at, one[~np.isin(one, at)])
        some = list(zip(opened.lakes["lake"][at].tolist(), opened.lakes["max_area"][at].tolist(), strict=True))
        options = [("", f"none of {int(kept.sum())}")]
        options += [(str(number), f"lake {number}: {area / 1e6:.3g} km²") for number, area in some]
        self.lake.options = options
        self.lake.value = "" if chosen is None else str(chosen)
        self.near.disabled = chosen is None

    @property
    def filters(self) -> Filters:
        """What the boxes and sliders say."""
        names = list(SIZE_CLASS)
        return Filters(
            tuple(names[k] for k in sorted(self.sizes.active)), tuple(KINDS[k] for k in sorted(self.kinds.active)),
            self.mean_seen.value / 100, self.min_observed.value / 100,
        )  # fmt: skip

    @property
    def all(self) -> list[Any]:
        """Every widget."""
        return list(vars(self).values())


def _made(kind: Any, name: str, **options: Any) -> Any:
    return kind(name=name, sizing_mode="stretch_width", stylesheets=[_STYLE], **options)
