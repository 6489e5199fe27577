"""The map: one picture of codes, the outlines of lakes over it, and a mark for each lake too small to be seen."""

from __future__ import annotations

import numpy as np
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    CustomJSHover,
    CustomJSTickFormatter,
    HoverTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    ScaleBar,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from scipy.ndimage import binary_dilation

from lakecube.dashboard.layers import Layer
from lakecube.dashboard.source import Opened
from lakecube.dashboard.window import MAX_SIDE, Box, Window, bounds
from lakecube.panels import INK, ORANGE
from lakecube.summary import ground_scale, unit_of

#: Lakes narrower than this many screen pixels get a mark; at most so many, the largest first.
_NARROW, MOST_MARKS = 14, 2000
#: Size of the map in pixels of the screen until the browser tells it.
_GUESS = {"inner_width": 820, "inner_height": 560}
#: By how much a metre of the CRS may miss one on the ground.
_SAME_LENGTH = 0.01
_EDGE, _CHOSEN = 1, 2
_NO_IMAGE: dict[str, list] = {name: [] for name in ("image", "x", "y", "dw", "dh")}


class MapView:
    """A Bokeh figure and what it shows; belongs to one visitor.

    Attributes
    ----------
    figure : bokeh figure
    """

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        zoom = WheelZoomTool(zoom_on_axis=False)
        pan = PanTool()
        self.figure = figure(
            x_range=Range1d(0, 1), y_range=Range1d(0, 1), tools=[pan, zoom, BoxZoomTool(match_aspect=True), TapTool()],
            active_scroll=zoom, active_drag=pan, toolbar_location="above", sizing_mode="stretch_both", min_height=260,
            background_fill_color="#f4f4f2", output_backend="canvas", name="map_figure",
        )  # fmt: skip
        self._words = ColumnDataSource({"words": [[""] * 256]})
        self._colours = LinearColorMapper(palette=["#ffffff"] * 256, low=-0.5, high=255.5)
        self._picture = ColumnDataSource(dict(_NO_IMAGE))
        self._edges = ColumnDataSource(dict(_NO_IMAGE))
        self._marks = ColumnDataSource({name: [] for name in ("x", "y", "lake", "size", "words")})
        self._ring = ColumnDataSource({"x": [], "y": []})
        self._place_asked = ColumnDataSource({"x": [], "y": []})
        self.screen = dict(_GUESS)
        self._wanted = self._fitted = bounds(opened.grid)
        self._draw()
        self._name_axes()
        self.fit(self._wanted)

    def _draw(self) -> None:
        picture = self.figure.image("image", "x", "y", "dw", "dh", source=self._picture, color_mapper=self._colours)
        clear = LinearColorMapper(palette=["rgba(0,0,0,0)", "rgba(20,20,20,0.75)", ORANGE], low=-0.5, high=2.5)
        self.figure.image("image", "x", "y", "dw", "dh", source=self._edges, color_mapper=clear)
        marks = self.figure.scatter(
            "x", "y", size="size", source=self._marks, fill_color="white", fill_alpha=0.35, line_color=INK,
            line_width=1.2, nonselection_fill_alpha=0.35, nonselection_line_alpha=1.0,
        )  # fmt: skip
        self.figure.scatter("x", "y", source=self._ring, size=22, fill_color=None, line_color="white", line_width=5)
        self.figure.scatter("x", "y", source=self._ring, size=22, fill_color=None, line_color=ORANGE, line_width=2.5)
        for colour, width in (("white", 5), (INK, 2)):
            self.figure.scatter(
                "x", "y", source=self._place_asked, size=16, marker="cross", color=colour, line_width=width
            )
        told = CustomJSHover(args={"source": self._words}, code="return source.data.words[0][value] ?? ''")
        self.figure.add_tools(
            HoverTool(renderers=[picture], tooltips="@image{custom}", formatters={"@image": told}),
            HoverTool(renderers=[marks], tooltips="@words"),
            ResetTool(),
        )
        self.figure.toolbar.logo = None

    def _name_axes(self) -> None:
        crs, axes = self.opened.crs, (self.figure.xaxis[0], self.figure.yaxis[0])
        if crs is not None and crs.is_geographic:
            names = ("longitude, °E", "latitude, °N")
        else:
            names = ("easting, km", "northing, km") if crs is not None else ("x, km", "y, km")
            self._add_scale_bar()
            for axis in axes:
                axis.formatter = CustomJSTickFormatter(
                    code=f"const km = {1000 / (unit_of(crs) if crs is not None else 1.0)!r};"
                    "const d = Math.max(0, Math.ceil(-Math.log10(Math.abs(ticks[1] - ticks[0]) / km) - 1e-9));"
                    "return (tick / km).toFixed(d)"
                )
        for axis, name in zip(axes, names, strict=True):
            axis.axis_label, axis.axis_label_text_font_style = name, "normal"
            axis.ticker.desired_num_ticks = 4
        self.figure.grid.visible = False

    def _add_scale_bar(self) -> None:
        """A bar of metres, where a unit of the CRS is one on the ground: of Mercator or feet it would be a lie."""
        left, bottom, right, top = bounds(self.opened.grid)
        crs, middle = self.opened.crs, ((left + right) / 2, (bottom + top) / 2)
        if crs is None or abs(ground_scale(crs, *middle, right - left) - 1) < _SAME_LENGTH:
            self.figure.add_layout(
                ScaleBar(range=self.figure.x_range, unit="m", location="bottom_left", background_fill_alpha=0.8)
            )

    @property
    def box(self) -> Box:
        """Left, bottom, right, top of what is looked at."""
        x, y = self.figure.x_range, self.figure.y_range
        return min(x.start, x.end), min(y.start, y.end), max(x.start, x.end), max(y.start, y.end)

    @property
    def window(self) -> Window | None:
        """The pixels to read for it; None where there are none."""
        return Window.of(self.opened.grid, self.box)

    def resize(self, side: str, size: int) -> None:
        """The browser told a side of the map: `inner_width` or `inner_height`. What is looked at is fitted to it."""
        box = self._wanted if self.box == self._fitted else self.box
        self.screen[side] = size or _GUESS[side]
        self.fit(box)

    def per_screen_pixel(self) -> float:
        """Units of the CRS along x in one pixel of the screen."""
        left, _, right, _ = self.box
        return (right - left) / self.screen["inner_width"]

    def fit(self, box: Box) -> None:
        """Show a box whole, with pixels as wide as high on the ground."""
        left, bottom, right, top = box
        width, height = self.screen["inner_width"], self.screen["inner_height"]
        middle = (bottom + top) / 2
        is_degrees = self.opened.crs is not None and self.opened.crs.is_geographic
        stretch = 1 / max(np.cos(np.radians(middle)), 0.05) if is_degrees else 1.0
        scale = 1.02 * max((right - left) / width, (top - bottom) * stretch / height)
        x, half = (left + right) / 2, (scale * width / 2, scale * height / 2 / stretch)
        ranges = (self.figure.x_range, x, half[0]), (self.figure.y_range, middle, half[1])
        self.figure.x_range.update(**dict(zip(("min_interval", "max_interval"), self._widths, strict=True)))
        for axis, centre, reach in ranges:
            axis.update(start=centre - reach, end=centre + reach, reset_start=centre - reach, reset_end=centre + reach)
        self._wanted, self._fitted = box, self.box

    @property
    def _widths(self) -> tuple[float, float]:
        """The least and the greatest width of a view: beyond them numbers run out, and no zoom leads back."""
        left, bottom, right, top = bounds(self.opened.grid)
        return abs(self.opened.grid.dx) / 4, 100 * max(right - left, top - bottom)

    def zoom(self, factor: float) -> None:
        """Look at `factor` times the width, around the same place, no nearer and no farther than there is to see."""
        least, most = self._widths
        width = self.figure.x_range.end - self.figure.x_range.start
        factor = min(max(factor, least / width), most / width)
        for axis in (self.figure.x_range, self.figure.y_range):
            centre, reach = (axis.start + axis.end) / 2, (axis.end - axis.start) / 2 * factor
            axis.update(start=centre - reach, end=centre + reach)

    def pan(self, across: float, up: float) -> None:
        """Look to the side, by parts of the width and of the height."""
        for axis, part in ((self.figure.x_range, across), (self.figure.y_range, up)):
            by = part * (axis.end - axis.start)
            axis.update(start=axis.start + by, end=axis.end + by)

    def mark(self, point: tuple[float, float] | None) -> None:
        """A cross at the place that is asked of."""
        self._place_asked.data = {"x": [], "y": []} if point is None else {"x": [point[0]], "y": [point[1]]}

    def show(self, layer: Layer, codes: np.ndarray | None, window: Window) -> None:
        """A picture of codes (y, x)."""
        self._colours.palette = list(layer.colours)
        self._words.data = {"words": [list(layer.words)]}
        self._place(self._picture, codes, window)

    def show_lakes(
        self, labels: np.ndarray | None, window: Window, kept: np.ndarray, chosen: int | None, every: bool = False
    ) -> None:
        """Outlines where there are labels (y, x), marks for lakes that are too small or for `every` one.

        Only of those that are `kept` (lake,).
        """
        lakes = self.opened.lakes
        edges = None if labels is None else outlines(_finer(labels), lakes["lake"][kept], chosen)
        self._place(self._edges, edges, window)
        at = self._marked(kept, every)
        size = np.array([6, 9, 13, 6])[np.minimum(lakes["size_class"][at], 3)]
        words = [f"lake {n}, at most {a / 1e6:.3g} km²" for n, a in
                 zip(lakes["lake"][at].tolist(), lakes["max_area"][at].tolist(), strict=True)]  # fmt: skip
        self._marks.data = {"x": lakes["x"][at], "y": lakes["y"][at], "lake": lakes["lake"][at], "size": size,
                            "words": words}  # fmt: skip
        self._marks.selected.indices = []
        one = np.flatnonzero(lakes["lake"] == chosen) if chosen is not None else np.zeros(0, int)
        one = one[self._narrow(one) | (labels is None)]
        self._ring.data = {"x": lakes["x"][one], "y": lakes["y"][one]}

    def lake_at(self, x: float, y: float, kept: np.ndarray) -> int | None:
        """The lake whose pixel is at a place, or whose mark is near it; None without."""
        pixel = abs(self.opened.grid.dx) / 2, abs(self.opened.grid.dy) / 2
        window = Window.of(self.opened.grid, (x - pixel[0] / 9, y - pixel[1] / 9, x + pixel[0] / 9, y + pixel[1] / 9))
        labels = self.opened.labels(window) if window is not None else None
        if labels is not None and labels.any():
            return int(labels[labels > 0][0])
        lakes, at = self.opened.lakes, np.flatnonzero(kept)
        across = self.per_screen_pixel()
        down = (self.box[3] - self.box[1]) / self.screen["inner_height"]
        distance = np.hypot((lakes["x"][at] - x) / across, (lakes["y"][at] - y) / down)
        near = int(distance.argmin()) if at.size else -1
        return int(lakes["lake"][at[near]]) if near >= 0 and distance[near] <= 14 else None

    def _narrow(self, at: np.ndarray) -> np.ndarray:
        """Whether lakes are too small on the screen to be seen as what they are."""
        per_pixel = self.per_screen_pixel()
        if self.opened.crs is not None and self.opened.crs.is_geographic:
            per_pixel *= 111_320
        return np.sqrt(self.opened.lakes["max_area"][at]) / per_pixel < _NARROW

    def _marked(self, kept: np.ndarray, every: bool) -> np.ndarray:
        lakes, (left, bottom, right, top) = self.opened.lakes, self.box
        inside = (lakes["x"] >= left) & (lakes["x"] <= right) & (lakes["y"] >= bottom) & (lakes["y"] <= top)
        at = np.flatnonzero(inside & kept)
        at = at if every else at[self._narrow(at)]
        return at[np.argsort(-lakes["max_area"][at], kind="stable")[:MOST_MARKS]]

    def _place(self, source: ColumnDataSource, codes: np.ndarray | None, window: Window) -> None:
        """Put an image where its pixels lie; Bokeh's first row is the lowest."""
        if codes is None:
            source.data = dict(_NO_IMAGE)
            return
        grid = self.opened.grid
        left, bottom, right, top = window.box(grid)
        image = codes[:: -1 if grid.dy < 0 else 1, :: -1 if grid.dx < 0 else 1]
        source.data = {"image": [np.ascontiguousarray(image)], "x": [left], "y": [bottom], "dw": [right - left],
                       "dh": [top - bottom]}  # fmt: skip


def _finer(labels: np.ndarray) -> np.ndarray:
    """Every pixel as several, where few are in view: so that a line is a part of a pixel."""
    times = max(1, min(8, MAX_SIDE // max(labels.shape)))
    return labels.repeat(times, axis=0).repeat(times, axis=1)


def outlines(labels: np.ndarray, kept: np.ndarray, chosen: int | None) -> np.ndarray:
    """Codes (y, x) uint8: 1 on the inner edge of every lake that is kept, 2 on that of the chosen one, 0 elsewhere."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        step = np.diff(labels, axis=axis) != 0
        before, after = (slice(None, -1), slice(1, None)) if axis == 0 else (
            (slice(None), slice(None, -1)), (slice(None), slice(1, None)))  # fmt: skip
        edge[before] |= step
        edge[after] |= step
    edge &= labels != 0
    out = np.zeros(labels.shape, np.uint8)
    out[edge] = np.isin(labels[edge], kept).astype(np.uint8) * _EDGE
    if chosen is not None:
        inside = labels == chosen
        out[binary_dilation(edge & inside) & (inside | (out == 0))] = _CHOSEN
    return out
