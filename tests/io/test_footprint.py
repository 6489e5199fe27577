"""Outlines of grids on WGS84."""

import numpy as np
import pyproj
import pytest
import shapely

from lakecube.errors import InvalidInputError
from lakecube.io.footprint import footprint


def outline(crs, transform, shape):
    geometry, bbox = footprint(pyproj.CRS(crs), transform, shape)
    return shapely.geometry.shape(geometry), bbox


def test_a_grid_of_utm_holds_its_pixels_and_nothing_else():
    found, bbox = outline("EPSG:32648", (10, 0, 499_980, 0, -10, 3_000_000), (10_980, 10_980))
    to_degrees = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)
    for x, y, inside in [(500_000, 2_999_980, True), (555_000, 2_999_990, True), (555_000, 3_000_010, False),
                         (609_770, 2_890_210, True), (609_790, 2_890_210, False)]:  # fmt: skip
        assert found.contains(shapely.Point(to_degrees.transform(x, y))) == inside
    assert found.geom_type == "Polygon" and found.exterior.is_ccw
    np.testing.assert_allclose(bbox, found.bounds, atol=1e-5)
    assert len(found.exterior.coords) < 60  # straight where it may be


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        ("EPSG:32601", (100, 0, 200_000, 0, -100, 7_600_000), (1000, 2500)),
        ("EPSG:4326", (0.01, 0, 179, 0, -0.01, 10), (200, 200)),
        ("EPSG:4326", (0.01, 0, -181, 0, -0.01, 10), (200, 200)),
        ("EPSG:3832", (1000, 0, 2_000_000, 0, -1000, 1_000_000), (1000, 2000)),
    ],
    ids=["utm", "to 181", "from -181", "pacific mercator"],
)
def test_over_the_antimeridian_there_are_two_parts(crs, transform, shape):
    found, (west, south, east, north) = outline(crs, transform, shape)
    assert found.geom_type == "MultiPolygon" and len(found.geoms) == 2
    assert west > 0 > east and south < north
    assert found.bounds[0] == -180 and found.bounds[2] == 180
    assert sum(part.bounds[2] - part.bounds[0] for part in found.geoms) < 20
    assert all(part.exterior.is_ccw for part in found.geoms)


def test_beside_the_antimeridian_there_is_one():
    assert outline("EPSG:4326", (0.01, 0, 179, 0, -0.01, 10), (100, 100))[1] == [179, 9, 180, 10]
    assert outline("EPSG:4326", (0.01, 0, 180, 0, -0.01, 10), (100, 100))[1] == [-180, 9, -179, 10]
    assert outline("EPSG:4326", (1, 0, -180, 0, -1, 90), (180, 360))[1] == [-180, -90, 180, 90]


def test_all_the_way_around_there_is_no_west():
    found, bbox = outline("EPSG:4326", (1, 0, 0, 0, -1, 90), (180, 360))
    assert bbox == [-180, -90, 180, 90]
    assert found.covers(shapely.Point(-90, 0)) and found.covers(shapely.Point(90, 0))


def test_a_grid_that_is_not_all_on_the_earth_is_told():
    with pytest.raises(InvalidInputError, match="outside of what"):
        outline("+proj=geos +h=35785831", (3000, 0, -5_500_000, 0, -3000, 5_500_000), (3666, 3666))


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_around_a_pole_it_reaches_the_pole(crs, pole):
    found, (west, south, east, north) = outline(crs, (1000, 0, -500_000, 0, -1000, 400_000), (800, 1000))
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    for lon in (-179, -90, 0, 45, 179):
        assert found.covers(shapely.Point(lon, 0.99 * pole))
        assert not found.covers(shapely.Point(lon, 0.8 * pole))
