"""Areas and edges of pixels against geodesics of GeographicLib, in several projections; no window changes a bit."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.kernels.lakes import AREA_QUANTA, LENGTH_QUANTA
from lakecube.series.pixel_area import PixelGrid, pixel_quanta

#: CRS, corner (lon, lat), pixel in units of the CRS, how far planar areas are off at least.
PLACES = {
    "UTM north": ("EPSG:32648", (107.9, 27.0), 10, 5e-4),
    "UTM south": ("EPSG:32738", (43.0, -20.0), 30, 2e-4),
    "degrees": ("EPSG:4326", (105.2, 61.3), 1e-4, 0.99),
    "degrees south": ("EPSG:4326", (-70.0, -33.0), 0.01, 0.99),
    "equal area": ("EPSG:3035", (-9.0, 38.0), 20, 0.0),
    "polar": ("EPSG:3413", (-45.0, 72.3), 30, 0.01),
    "at the pole": ("EPSG:3031", (0.0, -90.0), 1000, 0.02),
    "web mercator": ("EPSG:3857", (8.0, 60.0), 10, 2.0),
    "coarse": ("EPSG:32648", (104.0, 27.0), 5000, 2e-4),
    "feet": ("EPSG:2263", (-74.0, 40.7), 30, 0.0),
    "over the antimeridian": ("EPSG:32601", (180.0, 65.0), 20, 0.0),
}  # fmt: skip
SHAPE = (300, 400)


def grid_at(name, shape=SHAPE):
    code, place, pixel, _ = PLACES[name]
    crs = pyproj.CRS(code)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*place)
    x, y = (round(v / pixel) * pixel for v in (x - 7 * pixel, y + 5 * pixel))
    coords = {"y": y - pixel * (np.arange(shape[0]) + 0.5), "x": x + pixel * (np.arange(shape[1]) + 0.5)}
    return PixelGrid.of(
        xr.Dataset(coords=coords | {"spatial_ref": ((), 0, {"crs_wkt": crs.to_wkt()})})
    )  # fmt: skip


def corners(grid, rows, columns):
    """Longitudes and latitudes of the ring around a window, with points on its sides."""
    t = np.linspace(0, 1, 11)[:-1]
    across, down = columns[1] - columns[0], rows[1] - rows[0]
    columns_at = np.concatenate(
        [columns[0] + across * t, columns[1] + 0 * t, columns[1] - across * t, columns[0] + 0 * t]
    )
    rows_at = np.concatenate([rows[0] + 0 * t, rows[0] + down * t, rows[1] + 0 * t, rows[1] - down * t])
    x, y = grid.x + grid.dx * columns_at, grid.y + grid.dy * rows_at
    geodetic = grid.system.geodetic_crs
    return pyproj.Transformer.from_crs(grid.system, geodetic, always_xy=True).transform(x, y)


@pytest.mark.parametrize("name", PLACES)
def test_areas_are_geodesic(name):
    grid = grid_at(name)
    geod = grid.system.get_geod()
    area = np.broadcast_to(pixel_quanta(grid, (0, SHAPE[0]), (0, SHAPE[1])).area, SHAPE)
    block = 1 if grid.system.is_geographic or abs(grid.dx) > 500 else 20  # wide enough for rounding not to matter
    for r, c in ((0, 0), (123, 77), (255, 256), (279, 379)):
        ring = corners(grid, (r, r + block), (c, c + block))
        true = abs(geod.polygon_area_perimeter(*ring)[0])
        found = area[r : r + block, c : c + block].sum() / AREA_QUANTA
        assert found == pytest.approx(true, rel=2e-6), (name, r, c)


@pytest.mark.parametrize("name", PLACES)
def test_plain_areas_would_be_off(name):
    """The scale is worth computing where the table says so."""
    grid = grid_at(name)
    unit = grid.system.axis_info[0].unit_conversion_factor if grid.system.is_projected else 1.0
    found = pixel_quanta(grid, (0, 1), (0, 1)).area[0, 0] / AREA_QUANTA
    assert abs(abs(grid.dx * grid.dy) * unit**2 / found - 1) >= PLACES[name][3]


@pytest.mark.parametrize("name", PLACES)
def test_edges_are_geodesic(name):
    grid = grid_at(name)
    geod = grid.system.get_geod()
    quanta = pixel_quanta(grid, (0, SHAPE[0]), (0, SHAPE[1]))
    edges_x = np.broadcast_to(quanta.edges_x, (SHAPE[0] + 1, SHAPE[1]))
    edges_y = np.broadcast_to(quanta.edges_y, (SHAPE[0], SHAPE[1] + 1))
    for r, c in ((0, 0), (123, 77), (255, 256), (279, 379)):
        along, down = (r, slice(c, c + 20)), (slice(r, r + 20), c)
        for values, (rows, columns) in (
            (edges_x[along], ((r, r), (c, c + 20))),
            (edges_y[down], ((r, r + 20), (c, c))),
        ):
            lon, lat = corners(grid, rows, columns)
            ring = geod.line_length(lon, lat) + geod.line_length([lon[-1], lon[0]], [lat[-1], lat[0]])  # there and back
            assert values.sum() / LENGTH_QUANTA == pytest.approx(ring / 2, rel=3e-6), (name, r, c)


@pytest.mark.parametrize("name", PLACES)
def test_no_window_changes_a_bit(name):
    grid = grid_at(name)
    whole = pixel_quanta(grid, (0, SHAPE[0]), (0, SHAPE[1]))
    assert all(v.dtype == np.int64 for v in whole)
    for rows, columns in (((0, 1), (0, 1)), ((17, 300), (255, 257)), ((299, 300), (0, 400)), ((100, 101), (399, 400))):
        part = pixel_quanta(grid, rows, columns)
        for found, full, more in zip(part, whole, ((0, 0), (1, 0), (0, 1)), strict=True):
            across = slice(columns[0], columns[1] + more[1]) if full.shape[1] > 1 else slice(None)
            np.testing.assert_array_equal(found, full[rows[0] : rows[1] + more[0], across])


def test_another_request_on_the_lattice_agrees():
    whole = grid_at("UTM north")
    coords = {
        "y": whole.y + whole.dy * (np.arange(60, 200) + 0.5),
        "x": whole.x + whole.dx * (np.arange(90, 300) + 0.5),
    }
    part = PixelGrid.of(xr.Dataset(coords=coords | {"spatial_ref": ((), 0, {"crs_wkt": whole.crs})}))
    for a, b in zip(pixel_quanta(part, (0, 40), (0, 50)), pixel_quanta(whole, (60, 100), (90, 140)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_of_degrees_add_up_to_the_earth():
    coords = {"y": 89.5 - np.arange(180), "x": np.arange(360) - 179.5}
    wkt = pyproj.CRS("EPSG:4326").to_wkt()
    grid = PixelGrid.of(xr.Dataset(coords=coords | {"spatial_ref": ((), 0, {"crs_wkt": wkt})}))
    total = pixel_quanta(grid, (0, 180), (0, 360)).area.sum() * 360 / AREA_QUANTA
    assert total == pytest.approx(510_065_621_724_088, rel=1e-12)  # WGS84, GeographicLib


def test_without_a_crs_the_plane_is_meant():
    quanta = pixel_quanta(PixelGrid.of(xr.Dataset(coords={"y": [25.0, 15.0, 5.0], "x": [5.0, 15.0]})), (0, 3), (0, 2))
    assert (quanta.area == 100 * AREA_QUANTA).all()
    assert (quanta.edges_x == 10 * LENGTH_QUANTA).all()
    assert quanta.area.shape == quanta.edges_y.shape == (3, 1)


def test_uneven_or_missing_coordinates_are_refused():
    with pytest.raises(InvalidInputError, match="x is not evenly spaced"):
        PixelGrid.of(xr.Dataset(coords={"y": [2.0, 1.0], "x": [0.0, 1.0, 5.0]}))
    with pytest.raises(InvalidInputError, match="no coordinate"):
        PixelGrid.of(xr.Dataset({"a": (("y", "x"), np.zeros((2, 2)))}))


def image(rows, columns, step, top, crs=None, transform=None):
    given = xr.DataArray(
        np.zeros((rows, columns)), dims=("y", "x"),
        coords={"y": top - step * (np.arange(rows) + 0.5), "x": step * (np.arange(columns) + 0.5)},
    )  # fmt: skip
    attrs = {} if crs is None else {"crs_wkt": pyproj.CRS.from_user_input(crs).to_wkt()}
    attrs |= {} if transform is None else {"GeoTransform": transform}
    return given.assign_coords(spatial_ref=((), 0, attrs))


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (4, 1), (1, 1)])
def test_a_pixel_without_a_neighbour_has_the_size_that_is_told_or_none(rows, columns):
    with pytest.raises(InvalidInputError, match="has one pixel"):
        PixelGrid.of(image(rows, columns, 10, 100))
    grid = PixelGrid.of(image(rows, columns, 10, 100, transform="0 10 0 100 0 -10"))
    assert (pixel_quanta(grid, (0, rows), (0, columns)).area == 100 * AREA_QUANTA).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (image(20, 4, 0.1, 91, "EPSG:4326"), "past a pole"),
        (image(20, 4, 0.1, -89, "EPSG:4326"), "past a pole"),
        (image(20, 20, 1e-3, 0, "EPSG:32648"), "too small"),
        (image(200, 200, 1e7, 0), "too large"),
    ],
)
def test_areas_that_cannot_be_counted_are_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        PixelGrid.of(given)
    PixelGrid.of(image(1800, 4, 0.1, 90, "EPSG:4326"))  # from pole to pole


def test_longitudes_over_the_antimeridian_are_those_of_the_other_side():
    grid = PixelGrid.of(image(20, 40, 0.1, 50, "EPSG:4326").assign_coords(x=178 + 0.1 * (np.arange(40) + 0.5)))
    lon, _ = grid.lonlat(*grid.centres(np.zeros(3), np.array([0, 19, 39])))
    np.testing.assert_allclose(lon, [178.05, 179.95, -178.05])


@pytest.mark.parametrize("name", PLACES)
def test_places_are_found_again(name):
    grid = grid_at(name)
    rows, columns = np.array([0, 17, 299]), np.array([3, 200, 399])
    np.testing.assert_allclose(
        grid.xy(*grid.lonlat(*grid.centres(rows, columns))),
        grid.centres(rows, columns),
        rtol=0,
        atol=abs(grid.dx) / 1e4,
    )


@pytest.mark.parametrize("west", [179.0, -181.0])
def test_places_beyond_the_antimeridian_are_found_again(west):
    crs = pyproj.CRS("EPSG:4326").to_wkt()
    coords = {"y": 10 - 0.01 * np.arange(20.0), "x": west + 0.01 * np.arange(200.0)}
    grid = PixelGrid.of(xr.Dataset(coords=coords | {"spatial_ref": ((), 0, {"crs_wkt": crs})}))
    columns = np.array([0, 99, 101, 199])
    x, y = grid.centres(np.zeros(4), columns)
    lon, lat = grid.lonlat(x, y)
    assert (np.abs(lon) <= 180).all() and np.ptp(lon) > 300
    np.testing.assert_allclose(grid.xy(lon, lat), (x, y), atol=1e-9)
