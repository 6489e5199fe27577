"""Placements, windows and the choice of a grid."""

from dataclasses import replace

import numpy as np
import pytest

from lakecube.errors import EmptySearchError, InvalidInputError
from lakecube.io.grids import Window, choose_grid, coordinates_in, place, share_covered, share_inside
from tests.imagery import LEFT, TOP, grid


@pytest.mark.parametrize(
    ("source", "kind", "factor", "corner"),
    [
        (grid(9, 9), "raise", (1, 1), (0, 0)), (grid(9, 9, 20.0), "raise", (2, 2), (0, 0)),
        (grid(9, 9, 60.0, left=LEFT - 120, top=TOP + 60), "raise", (6, 6), (-6, -12)),
        (grid(9, 9, 5.0), "coarsen", (2, 2), (0, 0)), (grid(9, 9, left=LEFT + 5), "warp", (1, 1), (0, 0)),
        (grid(9, 9, 15.0), "warp", (1, 1), (0, 0)), (grid(9, 9, crs="EPSG:32649"), "warp", (1, 1), (0, 0)),
    ],
)  # fmt: skip
def test_placements(source, kind, factor, corner):
    found = place(source, grid(30, 30))
    assert (found.kind, found.factor, (found.top, found.left)) == (kind, factor, corner)


def test_a_pixel_size_that_drifts_over_the_scene_is_warped():
    assert place(grid(4000, 4000, 10.0001), grid(4000, 4000)).kind == "warp"


def test_coordinates_of_a_window_are_those_of_the_whole():
    source, target = grid(40, 40, crs="EPSG:32649", left=-50000.0), grid(30, 30)
    whole = coordinates_in(source, target, Window(0, 30, 0, 30))
    for window in (Window(3, 9, 4, 5), Window(29, 30, 0, 30)):
        for part, all_ in zip(coordinates_in(source, target, window), whole, strict=True):
            np.testing.assert_array_equal(part, all_[window.y0 : window.y1, window.x0 : window.x1])


def test_windows():
    window = Window(2, 5, 3, 9)
    assert window.shape == (3, 6)
    assert window.pad(2) == Window(0, 7, 1, 11)
    assert window.clip((4, 4)) == Window(2, 4, 3, 4)
    assert window.clip((1, 1)).shape == (0, 0)
    assert window.within(window.pad(1)) == (slice(1, 4), slice(1, 7))


def test_a_bbox_over_the_antimeridian():
    """Zone 1 begins at 180°; a bbox from 179.9 to -179.9 takes what the scene has of it."""
    scene = grid(3000, 6000, 10.0, crs="EPSG:32701", left=290000.0, top=8_000_000.0)
    chosen, _ = choose_grid([scene], bbox=(179.0, -18.2, -178.9, -18.1), crs=None, resolution=None)
    assert 0 < chosen.shape[1] < 6000
    assert chosen.transform[2] == 290000.0


def test_a_bbox_elsewhere_and_a_crs_without_resolution_are_refused():
    with pytest.raises(EmptySearchError, match="bbox"):
        choose_grid([grid(9, 9)], bbox=(0, 0, 1, 1), crs=None, resolution=None)
    with pytest.raises(InvalidInputError, match="resolution"):
        choose_grid([grid(9, 9)], bbox=None, crs="EPSG:3857", resolution=None)


def test_edges_on_the_lattice_stay_where_they_are():
    chosen, others = choose_grid([grid(20, 30), grid(10, 15, 20.0)], bbox=None, crs=None, resolution=None)
    assert (chosen.transform, chosen.shape, others) == (grid(20, 30).transform, (20, 30), [])
    coarse, _ = choose_grid([grid(20, 30)], bbox=None, crs=None, resolution=60)
    assert coarse.transform[2] % 60 == coarse.transform[5] % 60 == 0


@pytest.mark.parametrize(
    ("scene", "options"),
    [
        (grid(10**9, 10**9), {}),
        (grid(2**20 + 1, 1), {}),
        (grid(200_000, 200_000), {}),
        (grid(9, 9), {"resolution": 1e-9}),
    ],
)
def test_cubes_that_would_fill_the_memory_are_refused(scene, options):
    with pytest.raises(InvalidInputError, match="bbox= or a coarser resolution="):
        choose_grid([scene], bbox=None, crs=None, **{"resolution": None, **options})


def test_pixels_larger_than_the_scenes_are_refused():
    with pytest.raises(InvalidInputError, match=r"60 degree is .* so give resolution=0.0001"):
        choose_grid([grid(900, 900)], bbox=None, crs="EPSG:4326", resolution=60)
    with pytest.raises(InvalidInputError, match="resolution=10 or"):
        choose_grid([grid(900, 900)], bbox=None, crs=None, resolution=2000)
    choose_grid([grid(900, 900)], bbox=None, crs=None, resolution=1000)


@pytest.mark.parametrize("at", [1, 3])
def test_a_scene_beyond_all_numbers_is_refused(at):
    transform = [10.0, 0.0, LEFT, 0.0, -10.0, TOP]
    transform[at] = -1e308
    scenes = [grid(40, 40), replace(grid(40, 40), transform=tuple(transform))]
    with np.errstate(over="ignore"), pytest.raises(InvalidInputError, match="that is no place"):
        choose_grid(scenes, bbox=None, crs=None, resolution=None)


def test_shares():
    near, far = grid(10, 10), grid(10, 10, left=LEFT + 900)
    both, _ = choose_grid([near, far], bbox=None, crs=None, resolution=None)
    assert share_covered([near, far, far], both) == pytest.approx(0.2)
    assert share_covered([near], near) == 1.0
    assert share_inside(near, grid(5, 100, left=LEFT - 200)) == 0.5
    assert share_inside(near, grid(10, 10, crs="EPSG:32616")) == 0.0
