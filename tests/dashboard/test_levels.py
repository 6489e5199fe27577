"""A map of more pixels than a screen comes from the overviews, and tells what the store tells."""

import numpy as np
import pytest

from lakecube.dashboard import source as sources
from lakecube.dashboard import window as windows
from lakecube.dashboard.source import Source
from lakecube.dashboard.window import Window, bounds


@pytest.fixture
def far(source, monkeypatch):
    """The store on a screen of 24 samples a side: every fourth pixel."""
    monkeypatch.setattr(windows, "MAX_SIDE", 24)
    window = Window.of(source.opened.grid)
    assert window.step == 4
    return source.opened, window


def blocks(values, step):
    """(⌈y / step⌉, ⌈x / step⌉, step²) of a map, zero beyond its edge."""
    padded = np.pad(values, [(0, -n % step) for n in values.shape])
    rows, columns = (n // step for n in padded.shape)
    return padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, -1)


def test_the_frequency_is_the_ratio_of_the_sums(far):
    opened, window = far
    codes = opened.picture(opened.layers["frequency"], window, 0)
    wet, clear = (
        blocks(opened.store[name].values.astype(np.int64), 4).sum(-1) for name in ("count_wet", "count_clear")
    )
    percent = np.where(wet > 0, np.maximum(np.rint(100 * (wet / clear).astype(np.float32)), 1), 0)
    np.testing.assert_array_equal(codes, percent)


@pytest.mark.parametrize("layer", ["frequency", "year-2019", "occurrence", "transitions", "seasonality"])
def test_less_is_read_and_the_picture_has_the_shape_of_the_window(far, layer, monkeypatch):
    opened, window = far
    layer = opened.layers[layer]
    assert opened.cost(layer, window) < layer.cost(opened.store, window) / 4
    shape = tuple(len(range(*ends, window.step)) for ends in (window.rows, window.columns))
    assert opened.picture(layer, window, 0).shape == shape == opened.labels(window).shape
    monkeypatch.setattr(sources, "MAX_BYTES", opened.cost(layer, window))  # pixels themselves would be too many
    assert opened.picture(layer, window, 0) is not None


def test_a_part_is_that_part_of_the_whole(far):
    opened, _ = far
    left, bottom, right, top = bounds(opened.grid)
    whole = opened.picture(opened.layers["frequency"], Window.of(opened.grid), 0)
    window = Window.of(opened.grid, (left + 330, bottom, right, top - 170))
    assert window.step == 4 and window.rows[0] > 0 and window.columns[0] > 0
    part = opened.picture(opened.layers["frequency"], window, 0)
    np.testing.assert_array_equal(part, whole[window.rows[0] // 4 :, window.columns[0] // 4 :])


def test_labels_of_one_zoom_are_not_taken_for_those_of_another(far):
    opened, _ = far
    far_off, near = Window((0, 64), (0, 64), 2), Window((0, 32), (0, 32), 1)
    assert far_off.coarser(1) == near
    assert not np.array_equal(opened.labels(far_off), opened.labels(near))
    np.testing.assert_array_equal(opened.label_samples(far_off), opened.store["lake_label"].values[:64:2, :64:2])


def test_a_store_without_levels_is_read_in_strides(source, far):
    opened, window = far
    old = sources.Opened(opened.store, opened.mark)
    picture = old.picture(old.layers["frequency"], window, 0)
    expected = source.opened.picture(opened.layers["frequency"], Window((0, 96), (0, 80), 1), 0)[::4, ::4]
    np.testing.assert_array_equal(picture, expected)
    assert len(Source(source.place.root).opened.levels) == 2
