"""The surroundings of one lake, and what hid it on a date."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from lakecube.dashboard.source import Opened
from lakecube.dashboard.window import MAX_BYTES, Box, Window, bounds, cost
from lakecube.lake_panels import window_around
from lakecube.names import LAKE, LAND_REASONS, REASON, TIME
from lakecube.series.pixel_area import PixelGrid

_KNOWN = (REASON["water"], *LAND_REASONS.values())


class LakeNear:
    """One lake of a store.

    Attributes
    ----------
    key : (str, int)
        The commit and the lake.
    box : left, bottom, right, top of the surroundings
    """

    def __init__(self, opened: Opened, lake: xr.Dataset) -> None:
        self._opened, self._number = opened, int(lake[LAKE])
        self.key = (opened.mark, self._number)
        coarse = opened.levels[-1]["lake_label"] if opened.levels else None
        self.box: Box = bounds(PixelGrid.of(window_around(opened.store, lake, coarse)))

    @cached_property
    def _window(self) -> Window:
        window = Window.of(self._opened.grid, self.box)
        assert window is not None  # a lake lies in its store
        return window

    @cached_property
    def _inside(self) -> np.ndarray | None:
        labels = self._opened.label_samples(self._window)
        return None if labels is None else labels == self._number

    def hidden(self, date: int) -> dict[int, float]:
        """Share of the lake by reason why it was not seen on a date, greatest first; of large lakes from a sample."""
        reason = self._opened.store["reason"]
        inside = self._inside
        if inside is None or not inside.any() or cost(reason, self._window) > MAX_BYTES:
            return {}
        codes = reason.isel({TIME: date} | self._window.index).values[inside]
        shares = np.bincount(codes, minlength=256) / codes.size
        shares[list(_KNOWN)] = 0
        return {int(code): float(shares[code]) for code in np.argsort(-shares, kind="stable") if shares[code] > 0}
