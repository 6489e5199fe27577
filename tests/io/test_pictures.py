"""Pictures of bytes: shown values from 0 to 1, marked as such; place and date may be missing, and that is said."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import lakecube
from lakecube.errors import InvalidInputError, ReadError
from lakecube.names import OBSERVATION
from tests.imagery import grid, write_raster


@pytest.fixture
def numbers():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)


def write(path, numbers, driver):
    """A file without CRS, transform or date."""
    with rasterio.open(
        path, "w", driver=driver, height=numbers.shape[1], width=numbers.shape[2], count=len(numbers),
        dtype=numbers.dtype, **({"photometric": "RGB"} if driver == "GTiff" else {}),
    ) as file:  # fmt: skip
        file.write(numbers)
    return path


@pytest.mark.parametrize(("suffix", "driver"), [("png", "PNG"), ("jpg", "JPEG"), ("tif", "GTiff")])
def test_a_picture_without_place_and_date(tmp_path, numbers, suffix, driver):
    path = write(tmp_path / f"picture.{suffix}", numbers, driver)
    with pytest.warns(UserWarning, match="no date: it is kept under 1970"), pytest.warns(UserWarning, match="no CRS"):
        cube = lakecube.open(path)
    assert list(cube.time.values) == [np.datetime64("1970-01-01", "ns")]
    assert cube.rio.crs is None
    np.testing.assert_array_equal(cube.x, np.arange(50) + 0.5)
    np.testing.assert_array_equal(cube.y, -np.arange(40) - 0.5)
    for band, given in zip(("red", "green", "blue"), numbers, strict=True):
        assert cube[band].attrs["radiometry"] == "display"
        assert "standard_name" not in cube[band].attrs
        if driver != "JPEG":
            np.testing.assert_allclose(cube[band].values[0], given / 255, rtol=1e-6)
    assert (cube.observation == OBSERVATION["clear_cloud_unknown"]).all()
    with pytest.warns(UserWarning, match="no CRS"):
        dated = lakecube.open(path, datetime="2020-08-04")
    assert str(dated.time.values[0])[:10] == "2020-08-04"


@pytest.mark.filterwarnings("ignore:.*tells no")
def test_what_has_no_place_is_not_asked_for_by_place(tmp_path, numbers):
    path = write(tmp_path / "picture.png", numbers, "PNG")
    for asked in ({"bbox": (0, 0, 1, 1)}, {"crs": "EPSG:4326", "resolution": 1}, {"dem": "dem.tif"}):
        with pytest.raises(InvalidInputError, match="tells no place"):
            lakecube.open(path, **asked)
    placed = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(40, 50), nodata=None, photometric="RGB")
    with pytest.raises(InvalidInputError, match="together"):
        lakecube.open([str(path), placed])


def test_numbers_that_are_no_picture_need_a_place(tmp_path, numbers):
    path = write(tmp_path / "2020-01-01.tif", numbers.astype(np.uint16), "GTiff")
    with pytest.raises(ReadError, match="has no CRS"):
        lakecube.open(path)


def test_a_placed_picture_is_shown_values_and_with_a_scale_it_is_reflectance(tmp_path, numbers):
    path = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(40, 50), nodata=None, photometric="RGB")
    cube = lakecube.open(path)
    assert cube.red.attrs["radiometry"] == "display"
    assert cube.rio.crs is not None
    assert cube.water.composite("month").red.attrs["radiometry"] == "display"
    with rasterio.open(path, "r+") as file:
        file.scales = (0.002,) * 3
    assert "radiometry" not in lakecube.open(path).red.attrs
    wide = write_raster(tmp_path / "2020-02-01.tif", numbers.astype(np.uint16), grid(40, 50), nodata=None,
                        photometric="RGB")  # fmt: skip
    plain = write_raster(tmp_path / "2020-01-02.tif", numbers, grid(40, 50), nodata=None, photometric="RGB")
    with pytest.warns(UserWarning, match="without a scale"):
        mixed = lakecube.open([plain, wide])
    assert mixed.red.attrs["radiometry"] == "mixed"
    pytest.importorskip("torch")
    with pytest.raises(InvalidInputError, match="mixed"):
        mixed.water.predict()


@pytest.mark.filterwarnings("ignore:.*tells no")
def test_a_picture_goes_through_the_network_into_a_store(tmp_path, numbers):
    pytest.importorskip("torch")
    from tests.models import made

    model = made.shared(bands=("red", "green", "blue"), radiometry="display")
    cube = lakecube.open(write(tmp_path / "picture.png", numbers, "PNG"))
    water = cube.water.extract("linknet50", model=model)
    store = water.water.to_zarr(tmp_path / "s.zarr", progress=False)
    np.testing.assert_array_equal(store.water_mask, water.water_mask)
    assert store.sizes["lake"] > 0
    assert store.longitude.isnull().all()
    store.water.plot(path=tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 1000
    lakecube.update(tmp_path / "s.zarr", source=str(tmp_path / "picture.png"), progress=False)
