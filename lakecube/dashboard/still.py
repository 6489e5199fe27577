"""A picture to move and to ask, in a notebook or a file: the map and the series of the dashboard, without a server."""

from __future__ import annotations

import os
from html import escape
from typing import Any

import xarray as xr
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import Div
from bokeh.resources import INLINE

from lakecube.dashboard import words
from lakecube.dashboard.filters import Filters
from lakecube.dashboard.lake_near import LakeNear
from lakecube.dashboard.map_view import MapView
from lakecube.dashboard.page import TEXT_STYLE
from lakecube.dashboard.series_view import SeriesView
from lakecube.dashboard.source import Opened
from lakecube.dashboard.window import Window, bounds
from lakecube.errors import InvalidInputError
from lakecube.io.out_files import outside_stores
from lakecube.names import TIME
from lakecube.plot import credits_of
from lakecube.store.read import KEPT, graph_name, open_level
from lakecube.summary import position_of
from lakecube.whole_files import writing

#: Pixels of the screen: those that `MapView` expects, and the height of a series.
_WIDTH, _HEIGHT, _SERIES = 820, 560, 240


class Interactive:
    """A page of its own; it shows itself at the end of a notebook cell, and needs no network.

    Attributes
    ----------
    layout : bokeh layout
    title : str
    """

    def __init__(self, layout: Any, title: str) -> None:
        self.layout, self.title = layout, title

    @property
    def html(self) -> str:
        """The whole page, scripts included."""
        return file_html(self.layout, INLINE, title=self.title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file."""
        page = self.html
        with writing(outside_stores(path)) as partial:
            partial.write_text(page, encoding="utf-8")

    def _repr_html_(self) -> str:
        height = sum(getattr(part, "frame_height", 0) + 90 for part in self.layout.children)
        look = f'width="{_WIDTH + 130}" height="{height}" style="border:0"'
        return f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts allow-downloads" {look}></iframe>'


def interactive(
    dataset: xr.Dataset, *, date: Any = None, lake: int | None = None, title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Interactive:  # fmt: skip
    """A map of a store or an extract to move and to ask; parameters as of `lakecube.plot.plot`.

    Returns
    -------
    Interactive
        It shows itself at the end of a notebook cell; `save` and `html` give the whole page.

    Raises
    ------
    InvalidInputError
        Nothing to draw, no date that near, or more to read than a screen is worth.

    Notes
    -----
    Chunks: any. Not lazy: reads one map, from the overviews of a store where there are, never more than 1 GB decoded.
    """
    if not {"water_mask", "water_frequency"} & {*dataset.data_vars} or TIME not in dataset.dims:
        raise InvalidInputError("engine='bokeh' draws a store or an extract with its dates; see lakecube.open_store()")
    levels = [open_level(dataset, group, {}) for group in _levels(dataset)]
    opened = Opened(dataset, "", levels)
    at = opened.dates.size - 1 if date is None else position_of(dataset, date, "date")[0]
    layer = opened.layers["date" if date is not None or "frequency" not in opened.layers else "frequency"]
    one = None if lake is None else opened.lake(lake)
    box = bounds(opened.grid) if one is None else LakeNear(opened, one).box
    window = Window.of(opened.grid, box)
    assert window is not None  # a lake lies in its store
    codes = opened.picture(layer, window, at)
    if codes is None:
        raise InvalidInputError(f"{layer.title} of all of it is too much for a picture: take a part with .isel(y=, x=)")
    chart = MapView(opened)
    chart.fit(box)
    chart.show(layer, codes, window)
    kept = Filters().keep(opened) if lake is None else opened.lakes["lake"] == lake
    chart.show_lakes(opened.labels(window), window, kept, lake)
    _fix(chart.figure, _HEIGHT)
    name = title or layer.title_on(str(opened.dates[at]))
    parts = [_text(f"<h3>{escape(name)}</h3>"), chart.figure, _text(words.legend(layer))]
    if one is not None:
        series = SeriesView(opened.dates)
        series.show(one)
        _fix(series.figure, _SERIES)
        parts += [_text(words.about_lake(one)), series.figure, _text(words.series_legend())]
    parts.append(_text(f"<p>{escape('; '.join(filter(None, (credits_of(dataset), 'map: lakecube'))))}</p>"))
    made = Interactive(column(*parts), name)
    if path is not None:
        made.save(path)
    return made


def _fix(figure: Any, height: int) -> None:
    """Give a figure a size of its own, that of the pixels within its axes."""
    figure.update(sizing_mode="fixed", width=None, height=None, frame_width=_WIDTH, frame_height=height)


def _levels(dataset: xr.Dataset) -> list[str]:
    """Groups of the levels of a store that nobody changed."""
    kept = dataset.encoding.get(KEPT, {})
    names = kept.get("names", {}).items()
    is_whole = all(name in dataset and graph_name(dataset[name]) == graph for name, graph in names)
    return kept["levels"] if names and is_whole else []


def _text(html: str) -> Div:
    return Div(text=html, width=_WIDTH, stylesheets=[TEXT_STYLE])
