"""The memory of decoded tiles: it gives the pixels of the file or none."""

import numpy as np
import pytest

from lakecube.errors import ReadError
from lakecube.io.grids import Window
from lakecube.io.raw_cache import RawCache, _assemble

NUMBERS = np.random.default_rng(0).integers(0, 9999, (700, 900)).astype("uint16")


def cut(window, of=NUMBERS):
    return of[window.y0 : window.y1, window.x0 : window.x1].copy()


def test_tiles_of_another_size_are_other_tiles():
    cache = RawCache(2**24)
    area = Window(300, 640, 250, 800)
    for block in ((256, 256), (512, 512), (16, 512), (256, 256)):
        np.testing.assert_array_equal(cache.read("a", area, NUMBERS.shape, block, cut), cut(area))


def test_a_raster_of_another_shape_is_another_raster():
    cache = RawCache(2**24)
    small = NUMBERS[:300, :300]
    near = Window(0, 300, 0, 300)
    cache.read("a", near, small.shape, (256, 256), lambda w: cut(w, small))
    area = Window(0, 700, 0, 900)
    np.testing.assert_array_equal(cache.read("a", area, NUMBERS.shape, (256, 256), cut), NUMBERS)


def test_held_tiles_are_not_read_again():
    cache = RawCache(2**24)
    asked = []
    for _ in range(3):
        cache.read("a", Window(0, 300, 0, 300), NUMBERS.shape, (256, 256), lambda w: asked.append(w) or cut(w))
    assert len(asked) == 1


def test_what_no_tile_covers_is_never_made_up():
    tiles = {(0, 0): NUMBERS[:256, :256], (0, 1): NUMBERS[:256, 256:400]}
    with pytest.raises(ReadError, match="cover"):
        _assemble(tiles, Window(0, 256, 0, 512), (256, 256))
    with pytest.raises(ReadError, match="cover"):
        _assemble({(0, 1): tiles[0, 1]}, Window(0, 256, 256, 512), (256, 256))


def test_a_read_that_comes_back_short_is_a_failure():
    cache = RawCache(2**24)
    with pytest.raises(ReadError):
        cache.read("a", Window(0, 300, 0, 300), NUMBERS.shape, (256, 256), lambda w: cut(w)[:-1])
