"""What part of a map is looked at, and in which strides it is read, so that no view costs more than a screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lakecube.names import YEAR_MONTH, X, Y
from lakecube.series.pixel_area import PixelGrid

#: Longest side, in samples, of what one view reads.
MAX_SIDE = 1024
#: Decoded bytes of chunks that one view may touch: one to two seconds of reading on one core, hardly ever in memory at
#: once. The frequency of 15,000 × 15,000 pixels.
MAX_BYTES = 1_000_000_000

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """Every `step`-th pixel of half-open ranges of rows and columns.

    Steps are powers of two and ranges begin at multiples of them, so that the same samples are shown while a map is
    moved.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    step: int

    @classmethod
    def of(cls, grid: PixelGrid, box: Box | None = None) -> Window | None:
        """The window that covers a box (left, bottom, right, top), by default all; None if it misses the image."""
        height, width = grid.shape
        left, bottom, right, top = bounds(grid) if box is None else box
        rows = _between((np.array([bottom, top]) - grid.y) / grid.dy, height)
        columns = _between((np.array([left, right]) - grid.x) / grid.dx, width)
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            return None
        longest = max(rows[1] - rows[0], columns[1] - columns[0])
        step = 1 << max(0, int(np.ceil(np.log2(longest / MAX_SIDE))))
        return cls((rows[0] // step * step, rows[1]), (columns[0] // step * step, columns[1]), step)

    @property
    def index(self) -> dict[str, slice]:
        """For `isel`."""
        return {Y: slice(*self.rows, self.step), X: slice(*self.columns, self.step)}

    def coarser(self, level: int) -> Window:
        """The same samples as an index of a map whose pixels are 2**level times as wide, no wider than `step`."""
        rows, columns = ((start >> level, -(-stop >> level)) for start, stop in (self.rows, self.columns))
        return Window(rows, columns, self.step >> level)

    def box(self, grid: PixelGrid) -> Box:
        """Left, bottom, right, top of what the samples stand for."""
        (top, bottom), (left, right) = (
            (start, start + -(-(stop - start) // self.step) * self.step) for start, stop in (self.rows, self.columns)
        )
        x = sorted(grid.x + grid.dx * column for column in (left, right))
        y = sorted(grid.y + grid.dy * row for row in (top, bottom))
        return x[0], y[0], x[1], y[1]


def bounds(grid: PixelGrid) -> Box:
    """Left, bottom, right, top of an image."""
    x = sorted((grid.x, grid.x + grid.dx * grid.shape[1]))
    y = sorted((grid.y, grid.y + grid.dy * grid.shape[0]))
    return x[0], y[0], x[1], y[1]


def cost(array: xr.DataArray, window: Window) -> int:
    """Bytes of the chunks that a window touches, decoded: of all months, or of one date or year."""
    chunks = array.encoding.get("chunks") or array.shape
    layers = array.sizes.get(YEAR_MONTH, 1)
    touched = 1
    for (start, stop), chunk in zip((window.rows, window.columns), chunks[-2:], strict=True):
        every = np.arange(start, stop, max(window.step, 1)) // chunk
        touched *= np.unique(every).size
    return int(touched * layers * np.prod(chunks[-2:], dtype=np.int64) * array.dtype.itemsize)


def _between(ends: np.ndarray, size: int) -> tuple[int, int]:
    """Pixels that lie between two places, in pixels from the edge of the first."""
    low, high = np.clip([np.floor(ends.min()), np.ceil(ends.max())], 0, size)
    return int(low), int(high)
