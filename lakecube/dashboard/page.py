"""One visitor's page: what was chosen, and the work of showing it, off the thread that answers all the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from bokeh.document import Document
from bokeh.events import RangesUpdate, Tap
from bokeh.models import Div

from lakecube.dashboard import words
from lakecube.dashboard.controls import Controls
from lakecube.dashboard.filters import lake_number
from lakecube.dashboard.lake_near import LakeNear
from lakecube.dashboard.map_view import MapView
from lakecube.dashboard.series_view import SeriesView
from lakecube.dashboard.source import Source
from lakecube.dashboard.window import bounds
from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.explain import explain
from lakecube.series.areas import reliable
from lakecube.summary import cloud_doubt

logger = logging.getLogger("lakecube")
#: Milliseconds between two looks for a new revision.
LOOK_EVERY = 5000
#: Bytes of a view above which the visitor is told that it is being read.
_SLOW = 100_000_000
#: What can be out of date on a page, in the order in which it is brought up to date.
_PARTS = ("revision", "lakes", "lake", "map", "day")
TEXT_STYLE = (files("lakecube.dashboard") / "text.css").read_text(encoding="utf-8")


class Page:
    """What one visitor sees; made per session, shares nothing but the `Source` with others.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    lake : int or None
        The lake that is chosen.
    point : (float, float) or None
        The place that was clicked, in the CRS of the store.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.opened = source, source.opened
        self.controls = Controls(self.opened)
        self.map, self.series = MapView(self.opened), SeriesView(self.opened.dates)
        self.lake: int | None = None
        self.point: tuple[float, float] | None = None
        self._near: LakeNear | None = None
        self._of_lake: xr.Dataset | None = None
        self._kept = np.zeros(self.opened.lakes["lake"].size, bool)
        self._stale: set[str] = set()
        self._busy = False
        self._news = self._shown = self._told = ""
        self.document: Document | None = None
        names = ("status", "legend", "series_legend", "about_store", "about_lake", "about_day", "lineage", "downloads")
        self.texts = {name: Div(name=name, sizing_mode="stretch_width", stylesheets=[TEXT_STYLE]) for name in names}
        self.texts["series_legend"].text = words.series_legend()
        self._listen()

    @property
    def roots(self) -> list[Any]:
        """Every model that the template places."""
        return [self.map.figure, self.series.figure, *self.controls.all, *self.texts.values()]

    def _listen(self) -> None:
        on = self.controls
        for control, name, *parts in (
            (on.layer, "value", "map"), (on.date, "value", "map", "day"), (on.sizes, "active", "lakes", "map"),
            (on.kinds, "active", "lakes", "map"), (on.mean_seen, "value_throttled", "lakes", "map"),
            (on.min_observed, "value_throttled", "lakes", "lake"),
        ):  # fmt: skip
            control.on_change(name, self._updating(parts))
        for control in (on.lake, on.number):
            control.on_change("value", lambda attr, old, new: self.choose(new))
        on.earlier.on_click(lambda: self.step(-1))
        on.later.on_click(lambda: self.step(1))
        on.whole.on_click(lambda: self._fit(bounds(self.opened.grid)))
        on.near.on_click(self._to_lake)
        on.closer.on_click(lambda: self._zoom(0.5))
        on.wider.on_click(lambda: self._zoom(2.0))
        self.map.figure.on_event(RangesUpdate, lambda _: self.update("map"))
        self.map.figure.on_event(Tap, lambda event: self.click(event.x, event.y))
        self.map.figure.on_change("tags", lambda attr, old, new: self._keys(new))
        for side in ("inner_width", "inner_height"):
            self.map.figure.on_change(side, self._resized)
        self.series.points.selected.on_change("indices", lambda attr, old, new: self._picked(new))

    def _updating(self, parts: Sequence[str]) -> Callable[[str, Any, Any], None]:
        """A callback of a widget."""

        def changed(attr: str, old: Any, new: Any) -> None:
            self.update(*parts)

        return changed

    def choose(self, number: str | int | None) -> None:
        """Choose a lake by its number; nothing for ""."""
        text = str(number or "").strip()
        chosen = lake_number(text)
        if chosen is None and text:
            self.say(f"{number} is not the number of a lake")
        elif chosen != self.lake:
            if chosen is not None and chosen not in self.opened.lakes["lake"]:
                self.say(f"lake {chosen} is none of the {self.opened.lakes['lake'].size} of this store")
                return
            self.lake, self.point = chosen, None
            self.update("lakes", "lake", "map", "day")

    def step(self, by: int) -> None:
        """Go to an earlier or later date."""
        days, at = self.controls.date.options, self.position + by
        if 0 <= at < len(days):
            self.controls.date.value = days[at]

    @property
    def position(self) -> int:
        """Position of the chosen date."""
        return self.controls.date.options.index(self.controls.date.value)

    def click(self, x: float, y: float) -> None:
        """Ask of a place on the map; the lake there is chosen."""
        if not np.isfinite([x, y]).all():
            return
        self.point = (x, y)
        self.update("click", "day")

    def update(self, *parts: str) -> None:
        """Bring parts of the page up to date, after what runs now; what is asked for twice is done once."""
        self._stale.update(parts)
        if self._stale and not self._busy and self.document is not None:
            self._busy = True
            self.document.add_next_tick_callback(self.work)

    async def work(self) -> None:
        """Bring one part up to date and come back for the next; reading is left to threads. A failure is told.

        Bokeh sends what has changed, and hears what the visitor does meanwhile, when a callback has returned.
        """
        part = next((p for p in ("click", *_PARTS) if p in self._stale), None)
        if part is None:
            return
        self._busy = True
        self._stale.discard(part)
        try:
            await getattr(self, f"_{part}")()
        except (LakecubeError, OSError) as error:
            self._stale.clear()
            self.say(str(error))
        except Exception as error:  # a page that stops answering without a word helps nobody
            self._stale.clear()
            logger.exception("the dashboard could not bring a page up to date")
            self.say(f"unexpected {type(error).__name__}: {error}")
        finally:
            self._busy = False
            self.update()

    def say(self, text: str) -> None:
        """A line to the visitor."""
        self.texts["status"].text = words.line(text)

    async def _click(self) -> None:
        if self.point is None:
            return
        x, y = self.point
        found = await _read(lambda: self.map.lake_at(x, y, self._kept))
        if found is not None and found != self.lake:
            self.lake = found
            self._stale |= {"lakes", "lake", "map"}

    async def _revision(self) -> None:
        before, opened = self.opened, await _read(self.source.look)
        if opened is before:
            return
        self.opened = self.map.opened = opened
        self.controls.offer(opened)
        self.series.span(opened.dates)
        if opened.grid != before.grid:
            self.map.fit(bounds(opened.grid))
        if self.lake is not None and self.lake not in opened.lakes["lake"]:
            self.lake = None
        if self.texts["status"].text:
            self._news = f"; the store has changed, this is revision {opened.store.attrs.get('revision')}"
        self._stale |= set(_PARTS) - {"revision"}

    async def _lakes(self) -> None:
        filters = self.controls.filters
        self._kept = await _read(lambda: filters.keep(self.opened))
        self.controls.offer_lakes(self.opened, self._kept, self.lake)
        self.texts["about_store"].text = words.about_store(self.opened)
        self.texts["downloads"].text = words.downloads(filters.query, self.lake)

    async def _lake(self) -> None:
        if self.lake is None:
            self._of_lake = self._near = None
        elif self._of_lake is None or self._near is None or self._near.key != (self.opened.mark, self.lake):
            number = self.lake
            self._of_lake = found = await _read(lambda: self.opened.lake(number))
            self._near = await _read(lambda: LakeNear(self.opened, found))
        lake = self._of_lake
        least = self.controls.filters.min_observed
        self.series.show(None if lake is None else _seen(reliable(lake, min_observed=least), least))
        self.series.mark(self.controls.date.value)
        self.texts["about_lake"].text = words.about_lake(lake)
        self.texts["lineage"].text = "" if lake is None else await _read(lambda: words.lineage(self.opened.store, lake))

    async def _map(self) -> None:
        window = self.map.window
        if window is None:
            self.say("Nothing of the store is in view: choose “whole area”")
            return
        layer = self.opened.layers[self.controls.layer.value]
        if self._told != layer.key and (layer.key != self._shown or self.opened.cost(layer, window) > _SLOW):
            self.say(f"reading: {layer.title}")
            self._told = layer.key
            self._stale.add("map")  # the visitor is told before it is read
            return
        self._told = ""
        codes = await _read(lambda: self.opened.picture(layer, window, self.position))
        labels = await _read(lambda: self.opened.labels(window))
        self._shown = layer.key
        self.map.show(layer, codes, window)
        self.map.show_lakes(labels, window, self._kept, self.lake, every=codes is None)
        self.texts["legend"].text = words.legend(layer)
        more = (
            ": zoom in to see pixels; lakes are marked"
            if codes is None
            else words.sampled(window.step, self.opened.at(layer.needs, window)[0] is not self.opened.store)
        )
        self.say(layer.title_on(self.controls.date.value) + more + self._news)
        self._news = ""

    async def _day(self) -> None:
        day = self.opened.dates[self.position]
        self.series.mark(day)
        near = self._near
        hidden = {} if near is None else await _read(lambda: near.hidden(self.position))
        point = None if self.point is None else await _read(lambda: self._explained(day))
        doubt = cloud_doubt(self.opened.store, date=day)
        self.map.mark(self.point)
        self.texts["about_day"].text = words.about_day(day, self._of_lake, hidden, point, doubt)

    def _explained(self, day: Any) -> dict[str, Any] | None:
        """Why the clicked pixel is what it is; None outside, or where the store has no CRS."""
        crs = self.opened.crs
        if crs is None or self.point is None:
            return None
        degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*self.point)
        try:
            return explain(self.opened.store, *degrees, day)
        except InvalidInputError:
            return None

    def _picked(self, indices: list[int]) -> None:
        """A date was clicked in the series."""
        if indices:
            day = np.datetime64(self.series.points.data["date"][indices[0]], "D")
            self.controls.date.value = str(day)

    def _resized(self, side: str, old: Any, new: int) -> None:
        """The browser told the size of the map."""
        self.map.resize(side, new)
        self.update("map")

    def _fit(self, box: Any) -> None:
        self.map.fit(box)
        self.update("map")

    def _zoom(self, factor: float) -> None:
        self.map.zoom(factor)
        self.update("map")

    def _keys(self, told: Sequence[Any]) -> None:
        """Keys were pressed on the map: steps to the right and up, and how often closer; page.html tells them so."""
        right, up, closer = (max(-1, min(1, int(step))) for step in told[:3])
        self.map.pan(right / 5, up / 5)
        self._zoom(0.5**closer)

    def _to_lake(self) -> None:
        if self._near is not None:
            self._fit(self._near.box)


async def _read(function: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(function)


def _seen(lake: xr.Dataset, least: float) -> xr.Dataset:
    """Without the dates on which less was seen: their limits alone would still be drawn."""
    enough = lake["lake_observed_fraction"] >= least
    return lake.where(enough) if least > 0 else lake


def show(document: Document, source: Source) -> Page:
    """Fill a document with a new page."""
    page = Page(source)
    page.document = document
    with document.models.freeze():  # all models are looked through once, not once per root
        for model in page.roots:
            document.add_root(model)
    document.title = "lakecube"
    page.update(*_PARTS)  # the store is looked at first: without visitors nobody did, and its revision may be gone
    document.add_periodic_callback(lambda: page.update("revision"), LOOK_EVERY)
    return page
