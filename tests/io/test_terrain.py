"""Elevation and slope on the cube's grid."""

import numpy as np
import pytest
import rioxarray

import lakecube
from lakecube.errors import InvalidInputError
from lakecube.io.terrain import add_terrain
from tests.imagery import LEFT, TOP, grid, write_raster


@pytest.fixture
def base(cube):
    return cube.drop_vars(["elevation", "slope"]).chunk({"time": 1, "y": 40, "x": 44})


WHERE = grid(40, 44)


def plane(rise, folder):
    """A DEM of 30 m pixels that rises by `rise` metres per metre eastwards."""
    x = LEFT - 300 + 30 * (np.arange(40) + 0.5)
    heights = np.tile(1000 + rise * (x - LEFT), (40, 1)).astype("float32")
    return write_raster(folder / "dem.tif", heights, grid(40, 40, 30.0, left=LEFT - 300, top=TOP + 300), nodata=-9999)


@pytest.mark.parametrize("rise", [0.0, 0.1, 1.0])
def test_a_plane_keeps_its_slope_and_height(base, tmp_path, rise):
    out = add_terrain(base, plane(rise, tmp_path), WHERE)
    assert out.slope.dtype == out.elevation.dtype == np.float32
    np.testing.assert_allclose(out.slope.values, np.degrees(np.arctan(rise)), atol=1e-2)
    x = LEFT + 10 * (np.arange(44) + 0.5)
    np.testing.assert_allclose(out.elevation.values, np.tile(1000 + rise * (x - LEFT), (40, 1)), atol=2e-2)


def test_chunks_do_not_matter_and_arrays_equal_files(base, archive):
    whole = add_terrain(base, archive.dem_path, WHERE).compute()
    for chunks in ({"y": 7, "x": 11}, {"y": 1, "x": 43}):
        part = add_terrain(base.chunk(chunks), archive.dem_path, WHERE).compute()
        for name in ("elevation", "slope"):
            np.testing.assert_array_equal(part[name].values, whole[name].values)
    with rioxarray.open_rasterio(archive.dem_path) as dem:
        held = add_terrain(base, dem.squeeze(drop=True).load(), WHERE).compute()
    np.testing.assert_array_equal(held.slope.values, whole.slope.values)


def test_beyond_the_dem_nothing_is_known(base, tmp_path):
    flat = write_raster(tmp_path / "d.tif", np.full((10, 10), 5, "float32"), grid(10, 10, 10.0), nodata=-9999)
    with pytest.warns(UserWarning, match="NaN beyond it"):
        out = add_terrain(base, flat, WHERE).compute()
    known = np.zeros((40, 44), bool)
    known[:10, :10] = True
    np.testing.assert_array_equal(np.isfinite(out.elevation.values), known)


def test_a_dem_without_crs_is_refused(archive, cube):
    with pytest.raises(InvalidInputError, match="CRS"):
        lakecube.open(archive.items_path, dem=cube.elevation.drop_vars("spatial_ref"))


def test_a_dem_that_does_not_meet_the_cube(base, tmp_path):
    def dem(name, **where):
        return write_raster(tmp_path / f"{name}.tif", np.zeros((40, 40), "float32"), grid(40, 40, 30.0, **where))

    with pytest.raises(InvalidInputError, match=r"there\.tif does not meet the cube"):
        add_terrain(base, dem("there", crs="EPSG:32616"), WHERE)
    with pytest.raises(InvalidInputError, match="DataArray away does not meet the cube"):
        away = rioxarray.open_rasterio(dem("far", left=LEFT + 9000)).squeeze().rename("away")
        add_terrain(base, away, WHERE)
    with pytest.warns(UserWarning, match=r"half\.tif covers 50 % of the cube"):
        add_terrain(base, dem("half", left=LEFT + 220), WHERE)


def test_a_dem_that_is_replaced_is_not_mixed_with_what_it_was(base, tmp_path):
    path = plane(0.1, tmp_path)
    out = add_terrain(base.chunk({"y": 20, "x": 22}), path, WHERE)
    assert np.isfinite(out.elevation[:20, :22].values).all()
    path = plane(1.0, tmp_path)
    with pytest.raises(InvalidInputError, match="another size or date than when the cube was opened"):
        out.elevation[20:, 22:].compute()
    assert np.isfinite(add_terrain(base, path, WHERE).elevation.values).all()
