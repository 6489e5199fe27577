"""A small memory of decoded tiles of files, so that passes and neighbouring blocks decode each tile once.

A block read with a margin of one pixel touches a whole row of tiles of its neighbour; the pass that finds
thresholds and the pass that judges read the same tiles. Tiles are held as the file has them, bounded in bytes per
process whatever the area or the number of dates; the least recently used goes first.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from lakecube.errors import ReadError
from lakecube.io.grids import Window
from lakecube.io.patience import RequestError

#: Tiles are at least this many pixels high and wide, so that strips of a few rows are not held one by one.
_LEAST_SIDE = 256
#: Larger tiles are not worth holding.
_LARGEST_TILE = 2**25

Tile = tuple[int, int]


class RawCache:
    """Least-recently-used read-only tiles, at most `capacity` bytes together; safe between threads."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(
        self,
        key: Hashable,
        area: Window,
        shape: tuple[int, int],
        block: tuple[int, int],
        read: Callable[[Window], np.ndarray],
    ) -> np.ndarray:
        """The pixels of `area` of a raster of `shape`, from held tiles and, for the rest, one call of `read`.

        `key` identifies the raster band and its state; `block` is the shape of the file's own tiles.
        """
        side = tuple(max(b, -(-_LEAST_SIDE // b) * b) for b in block)
        if self.capacity == 0 or side[0] * side[1] > _LARGEST_TILE:
            return read(area)
        wanted = [
            (i, j)
            for i in range(area.y0 // side[0], -(-area.y1 // side[0]))
            for j in range(area.x0 // side[1], -(-area.x1 // side[1]))
        ]
        key = (key, side, shape)  # tiles of another size lie elsewhere
        held = {tile: self._get((key, tile)) for tile in wanted}
        tiles = {tile: array for tile, array in held.items() if array is not None}
        missing = [tile for tile in wanted if tile not in tiles]
        if missing:
            try:
                tiles |= self._fetch(key, missing, shape, side, read)
            except RequestError:  # the way to the file is broken, not a part of it: that is for who tries again
                raise
            except OSError:  # a broken part beyond `area` must not take it along
                numbers = read(area)
                return _checked(numbers, numbers.size, area)
        return _assemble(tiles, area, side)

    def _fetch(
        self, key: Hashable, missing: list[Tile], shape: tuple[int, int], side: tuple[int, ...],
        read: Callable[[Window], np.ndarray],
    ) -> dict[Tile, np.ndarray]:  # fmt: skip
        """Read the box of all missing tiles at once and hold each."""
        (top, left), (bottom, right) = np.min(missing, axis=0), np.max(missing, axis=0) + 1
        box = Window(int(top) * side[0], int(bottom) * side[0], int(left) * side[1], int(right) * side[1]).clip(shape)
        numbers = read(box)
        if numbers.shape != box.shape:
            raise ReadError(f"{numbers.shape} pixels were read where {box.shape} were asked for")
        found = {}
        for i, j in missing:
            tile = Window(i * side[0], (i + 1) * side[0], j * side[1], (j + 1) * side[1]).clip(shape)
            array = numbers if tile == box else np.ascontiguousarray(numbers[tile.within(box)])
            array.flags.writeable = False
            found[i, j] = array
            self._put((key, (i, j)), array)
        return found

    def _get(self, key: Hashable) -> np.ndarray | None:
        with self._lock:
            array = self._held.get(key)
            if array is not None:
                self._held.move_to_end(key)
            return array

    def _put(self, key: Hashable, array: np.ndarray) -> None:
        with self._lock:
            if key in self._held or array.nbytes > self.capacity:
                return
            self._held[key] = array
            self._bytes += array.nbytes
            while self._bytes > self.capacity:
                _, old = self._held.popitem(last=False)
                self._bytes -= old.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


def _assemble(tiles: dict[Tile, np.ndarray], area: Window, side: tuple[int, ...]) -> np.ndarray:
    """Cut `area` out of the tiles that cover it; raise ReadError where they do not, rather than make pixels up."""
    first = next(iter(tiles.values()))
    if len(tiles) == 1:
        ((i, j),) = tiles
        rows, columns = area.within(Window(i * side[0], 0, j * side[1], 0))
        cut = np.ascontiguousarray(first[rows, columns])
        return _checked(cut, cut.size, area)
    covered = 0
    out = np.empty(area.shape, first.dtype)
    for (i, j), array in tiles.items():
        top, left = i * side[0], j * side[1]
        y0, y1 = max(area.y0, top), min(area.y1, top + array.shape[0])
        x0, x1 = max(area.x0, left), min(area.x1, left + array.shape[1])
        out[y0 - area.y0 : y1 - area.y0, x0 - area.x0 : x1 - area.x0] = array[
            y0 - top : y1 - top, x0 - left : x1 - left
        ]
        covered += max(y1 - y0, 0) * max(x1 - x0, 0)
    return _checked(out, covered, area)


def _checked(numbers: np.ndarray, covered: int, area: Window) -> np.ndarray:
    if numbers.shape != area.shape or covered != numbers.size:
        raise ReadError(f"the tiles held cover {covered} of the {area.shape} pixels asked for")
    return numbers


#: The process's own; ``LAKECUBE_CACHE_MB`` sets its size, 0 turns it off.
RAW = RawCache(int(float(os.environ.get("LAKECUBE_CACHE_MB", "128")) * 2**20))
