"""The one door: halos, merged chunks, anchors, cut graphs, honest metas."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lakecube import between_blocks, chunked
from lakecube.errors import InvalidInputError
from lakecube.store.waves import Runner
from tests.strategies import chunks_of

IMAGE = np.random.default_rng(3).uniform(size=(23, 29))


@given(chunks_of(23, least=2), chunks_of(29, least=2), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_a_filter_within_the_halo_is_the_filter_of_the_whole(rows, columns, reach):
    lazy = chunked.with_halo(da.from_array(IMAGE, chunks=(rows, columns)), reach)
    size = 2 * reach + 1
    done = chunked.trim_halo(lazy.map_blocks(ndimage.maximum_filter, size=size, mode="nearest", dtype=float), reach)
    np.testing.assert_array_equal(done.compute(), ndimage.maximum_filter(IMAGE, size, mode="nearest"))
    assert done.chunks == (rows, columns)


def test_a_chunk_smaller_than_the_reach_is_refused_and_can_be_merged():
    cube = xr.Dataset({"a": (("y", "x"), da.from_array(IMAGE, chunks=((20, 3), (29,))))})
    with pytest.raises(InvalidInputError, match="rechunk"):
        chunked.with_halo(cube.a.data, 4)
    merged = chunked.enough_chunks(cube, 4)
    assert merged.a.chunks == ((23,), (29,))
    assert chunked.enough_chunks(cube, 3) is cube


@pytest.mark.parametrize(("y", "x"), [(0, 0), (5, 7), (22, 28)])
def test_anchors_are_absolute(y, x):
    for size, left, top in ((10.0, 549600.0, 2986500.0), (1e-4, 105.0, 26.3), (9.995, 123.4, -55.0)):
        coords = {"y": top - size * (np.arange(40) + 0.5), "x": left + size * (np.arange(40) + 0.5)}
        cube = xr.Dataset(coords=coords)
        row, column = chunked.anchor_of(cube)
        assert chunked.anchor_of(cube.isel(y=slice(y, None), x=slice(x, None))) == (row + y, column + x)


@pytest.mark.parametrize("size", [1e-4, 0.00025, 0.25, 1 / 3600, 10 / 3600, 1 / 336, 10 / 111319.49079327358])
@pytest.mark.parametrize("edge", [0.0, 0.5])
def test_overlapping_windows_of_a_float32_grid_have_one_anchor(size, edge):
    rng = np.random.default_rng(0)
    for first in rng.uniform(-170, 170, 10) // size:
        exact = (first + np.arange(500) + edge) * size
        for sign in (1, -1):
            single = xr.Dataset(coords={"y": (sign * exact).astype(np.float32), "x": exact.astype(np.float32)})
            row, column = chunked.anchor_of(xr.Dataset(coords={"y": sign * exact, "x": exact}))
            for y, x in rng.integers(0, 300, (4, 2)).tolist():
                window = single.isel(y=slice(y, y + 200), x=slice(x, x + 200))
                assert chunked.anchor_of(window) == (row + y, column + x)


def test_a_small_window_of_a_float32_grid_takes_the_size_that_its_transform_tells():
    size = 10 / 111319.49079327358
    centres = (1_170_000.5 + np.arange(40)) * size
    reference = xr.DataArray(0, attrs={"GeoTransform": f"105 {size!r} 0 26 0 {-size!r}"})
    coords = {"y": -centres.astype(np.float32), "x": centres.astype(np.float32), "spatial_ref": reference}
    grid = xr.Dataset(coords=coords)
    for first in range(0, 38, 5):
        part = grid.isel(y=slice(first, first + 2), x=slice(first, None))
        assert chunked.anchor_of(part) == (1_170_000 + first, 1_170_000 + first)
    assert chunked.anchor_of(grid.isel(y=[7], x=[8])) == (1_170_007, 1_170_008)


def test_freezing_checks_what_it_is_given():
    cube = xr.Dataset({"a": (("y",), da.arange(6, chunks=2)), "b": (("y",), da.arange(1, 7, chunks=2))})
    cube["c"] = cube.a + cube.b
    frozen = chunked.freeze(cube, {"a": np.full(6, 100)})
    np.testing.assert_array_equal(frozen.c.values, 100 + np.arange(1, 7))
    np.testing.assert_array_equal(cube.c.values, np.arange(6) + np.arange(1, 7))
    for wrong in (np.zeros(5, int), np.zeros(6, "float32")):
        with pytest.raises(InvalidInputError, match="freeze"):
            chunked.freeze(cube, {"a": wrong})


def test_fields_of_records_have_their_dtype():
    records = np.zeros((4, 6), [("a", "u1"), ("b", "f4")])
    records["b"] = np.arange(24).reshape(4, 6)
    lazy = chunked.field(da.from_array(records, chunks=(3, 4)), "b")
    assert lazy.dtype == lazy._meta.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(), records["b"])


def test_tasks_are_made_when_asked_for_and_no_others():
    from lakecube.between_blocks import Tile

    made = []
    first = da.ones((1000, 8, 8), chunks=(1, 4, 4))
    tiles = {0: Tile((0, 8), (0, 8))}
    array = between_blocks.tiled(_first_piece, _joined, [first], tiles, tiles, dtype="f8", name="some", token="t")
    layer = array.dask.layers[array.name]
    kept = layer.make
    layer.make = lambda key: made.append(key) or kept(key)
    part = Runner([array]).part({(array.name, 500, 1, 0)})
    assert made == [(array.name, 500, 1, 0)]
    assert len(part) < 20
    np.testing.assert_array_equal(array[:2].compute(), np.ones((2, 8, 8)))
    with pytest.raises(KeyError):
        layer["other", 0, 0, 0]


def _first_piece(pieces, row, column):
    return pieces[0]


def _joined(parts, rows, columns):
    return parts[0][2][:, slice(*rows), slice(*columns)]


def test_a_frozen_value_is_cut_when_its_task_is_made():
    lazy = da.zeros(4, chunks=1).map_blocks(np.negative)
    values = np.zeros(4)
    frozen = chunked.freeze(xr.Dataset({"a": ("t", lazy), "b": ("t", lazy + 1)}), {"a": values})
    values[2] = 5.0  # found later, before the task is made
    data = frozen["b"].data
    assert Runner([data]).run([(data.name, 2)])[0] == 6.0
