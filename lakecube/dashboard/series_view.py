"""The areas of one lake through time, with observational limits, calibrated interval and the share seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool, Label, PanTool, Range1d, ResetTool, Span, TapTool, WheelZoomTool
from bokeh.plotting import figure

from lakecube.names import DATE
from lakecube.panels import BLUE, INK, ORANGE
from lakecube.series.areas import SERIES

_COLUMNS = ("date", *SERIES, "shade", "words")


class SeriesView:
    """A Bokeh figure of one lake; belongs to one visitor.

    Attributes
    ----------
    figure : bokeh figure
    points : ColumnDataSource
        A row per date that is shown; its selection is what the visitor chose.
    """

    def __init__(self, dates: np.ndarray) -> None:
        zoom = WheelZoomTool(dimensions="width")
        self.figure = figure(
            x_axis_type="datetime", x_range=_span(dates), y_range=Range1d(0, 1),
            tools=[PanTool(dimensions="width"), zoom, TapTool()],
            toolbar_location="above", sizing_mode="stretch_both", min_height=220, background_fill_color="white",
            y_axis_label="area, km²", name="series_figure",
        )  # fmt: skip
        self.points = ColumnDataSource({name: [] for name in _COLUMNS})
        self._day = Span(dimension="height", line_color=ORANGE, line_width=2, line_dash="dashed", visible=False)
        self._empty = Label(
            x=12, y=12, x_units="screen", y_units="screen", text="no lake is chosen", text_color="#555555"
        )
        self._draw()

    def _draw(self) -> None:
        f, points = self.figure, self.points
        f.segment("date", "lake_area_lower", "date", "lake_area_upper", source=points, color="#8a8a8a", line_width=1.2)
        f.segment("date", "lake_area_q05", "date", "lake_area_q95", source=points, color=BLUE, line_width=7,
                  line_alpha=0.4)  # fmt: skip
        f.line("date", "lake_area", source=points, color=BLUE, line_width=1, line_alpha=0.6)
        dots = f.scatter("date", "lake_area", source=points, size=9, fill_color="shade", line_color=INK,
                         nonselection_fill_alpha=1.0, nonselection_line_alpha=1.0)  # fmt: skip
        f.add_layout(self._day)
        f.add_layout(self._empty)
        f.add_tools(HoverTool(renderers=[dots], tooltips="@words"), ResetTool())
        f.toolbar.logo = None
        f.xgrid.visible = False
        f.xaxis.ticker.desired_num_ticks = 4  # labels of a narrow screen do not meet
        f.yaxis.axis_label_text_font_style = "normal"

    def span(self, dates: np.ndarray) -> None:
        """Make room for other dates."""
        room = _span(dates)
        self.figure.x_range.update(start=room.start, end=room.end, reset_start=room.start, reset_end=room.end)

    def show(self, lake: xr.Dataset | None) -> None:
        """The dates of a lake on which something is known of it; nothing without a lake."""
        self._empty.visible = lake is None
        if lake is None:
            self.points.data = {name: [] for name in _COLUMNS}
            return
        values = {name: lake[name].values for name in SERIES}
        some = np.isfinite(values["lake_area_upper"])
        km2 = {name: v[some] / (1 if name == "lake_observed_fraction" else 1e6) for name, v in values.items()}
        dates = lake[DATE].values[some].astype("datetime64[ms]")
        seen = km2["lake_observed_fraction"]
        data: dict[str, Any] = {"date": dates, **km2, "shade": [_grey(share) for share in seen.tolist()]}
        data["words"] = [
            f"{day}: {area:.4g} km², {share:.0%} seen"
            for day, area, share in zip(dates.astype("datetime64[D]"), km2["lake_area"], seen, strict=True)
        ]
        self.points.selected.indices = []
        self.points.data = data
        tops = np.concatenate([km2["lake_area_upper"], km2["lake_area"], np.zeros(1)])
        most = 1.08 * float(np.nanmax(tops)) or 1.0
        self.figure.y_range.update(start=0, end=most, reset_start=0, reset_end=most)

    def mark(self, day: Any) -> None:
        """A line at the date that is chosen."""
        moment = float(np.datetime64(day, "ms").astype(np.int64))
        self._day.update(location=moment, visible=True)


def _span(dates: np.ndarray) -> Range1d:
    """All dates, with room beside the first and the last."""
    first, last = (int(np.datetime64(day, "ms").astype(np.int64)) for day in (dates.min(), dates.max()))
    room = max((last - first) // 40, 86_400_000)
    return Range1d(first - room, last + room)


def _grey(share: float) -> str:
    """White for nothing seen, black for all."""
    level = round(255 * (1 - min(max(share, 0.0), 1.0))) if np.isfinite(share) else 255
    return f"#{level:02x}{level:02x}{level:02x}"
