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
def test_a_list_in_another_order_than_the_channels_is_warned_of(tmp_path, numbers):
    path = write(tmp_path / "picture.png", numbers, "PNG")
    with pytest.warns(UserWarning, match=r"picture.png is read as red, green, blue.*\{'1': 'blue', '2': 'green', '3':"):
        plain = lakecube.open(path, bands=["blue", "green", "red"])
    named = lakecube.open(path, bands={"1": "blue", "2": "green", "3": "red"})
    np.testing.assert_array_equal(plain.red[0], numbers[0] / np.float32(255))
    np.testing.assert_array_equal(named.blue, plain.red)
    np.testing.assert_array_equal(lakecube.open(path, bands=["red", "green", "blue"]).red, plain.red)
    told = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(40, 50), nodata=None)
    with rasterio.open(told, "r+") as file:
        file.descriptions = ("blue", "green", "red")
    assert lakecube.open(told, bands=["red", "green", "blue"]).blue[0, 0, 0] == plain.red[0, 0, 0]  # the file tells


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


CORNER = (slice(0, 10), slice(0, 12))


def states_of(path, **given):
    """Values of red, and where the cube says that nothing was observed."""
    cube = lakecube.open(path, **given)
    empty = cube.observation.values[0] == OBSERVATION["not_acquired"]
    np.testing.assert_array_equal(empty, np.isnan(cube.red.values[0]))
    return empty


@pytest.fixture
def cornered(numbers):
    """A picture with a white corner; elsewhere one band or another is white, or black, but never all."""
    numbers[0], numbers[1:] = np.clip(numbers[0], 1, 255), np.clip(numbers[1:], 0, 254)
    numbers[(slice(None), *CORNER)] = 255
    numbers[0, 20:, 20:], numbers[1, 20:, :20] = 255, 0
    where = np.zeros((40, 50), bool)
    where[CORNER] = True
    return numbers, where


@pytest.mark.filterwarnings("ignore:.*tells no")
def test_a_number_that_means_no_data_is_one_of_all_bands_of_a_picture(tmp_path, cornered):
    numbers, where = cornered
    path = write(tmp_path / "picture.png", numbers, "PNG")
    assert not states_of(path).any()
    np.testing.assert_array_equal(states_of(path, nodata=255), where)
    np.testing.assert_array_equal(states_of(path, nodata=(255, 255)), where)
    np.testing.assert_array_equal(states_of(path, nodata=255, chunks=16), where)
    assert not states_of(path, nodata=0).any()
    assert states_of(path, nodata=(0, 255)).all()
    assert '"nodata": 255' in lakecube.open(path, nodata=255).attrs["request"]


@pytest.mark.filterwarnings("ignore:.*tells no")
def test_what_the_file_says_of_its_pixels_is_followed(tmp_path, cornered):
    numbers, where = cornered
    alpha = np.where(where, 0, 255).astype(np.uint8)
    clear = numbers.copy()
    clear[:, where] = 90
    path = write(tmp_path / "alpha.png", np.concatenate([clear, alpha[None]]), "PNG")
    np.testing.assert_array_equal(states_of(path), where)
    masked = write(tmp_path / "masked.tif", clear, "GTiff")
    with rasterio.open(masked, "r+") as file:
        file.write_mask(~where)
    np.testing.assert_array_equal(states_of(masked), where)
    declared = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(40, 50), nodata=255, photometric="RGB")
    np.testing.assert_array_equal(states_of(declared), where)
    assert not states_of(declared, nodata=0).any()
    np.testing.assert_array_equal(states_of([str(path)], nodata=90), where)


def test_no_data_of_reflectance_is_of_each_band_by_itself(tmp_path):
    numbers = np.full((2, 8, 8), 500, np.uint16)
    numbers[0, :2], numbers[1, 6:] = 7, 9
    path = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(8, 8), nodata=None)
    with pytest.warns(UserWarning, match="without a scale"):
        cube = lakecube.open(path, bands={"1": "red", "2": "green"}, nodata=(7, 9))
    assert np.isnan(cube.red.values[0, :2]).all()
    assert np.isnan(cube.green.values[0, 6:]).all()
    assert np.isfinite(cube.red.values[0, 2:6]).all()


@pytest.mark.parametrize("nodata", ["white", (1, 2, 3), (255, 250), True, float("nan")])
def test_what_is_no_number_is_told(tmp_path, numbers, nodata):
    path = write(tmp_path / "picture.png", numbers, "PNG")
    with pytest.raises(InvalidInputError, match="nodata="):
        lakecube.open(path, nodata=nodata)


@pytest.mark.filterwarnings("ignore:.*tells no")
def test_the_shell_says_it_too(tmp_path, cornered, capsys):
    from lakecube.arguments import parser
    from lakecube.cli import main
    from lakecube.commands.request import open_request

    numbers, where = cornered
    path = write_raster(tmp_path / "2020-01-01.tif", numbers, grid(40, 50), nodata=None, photometric="RGB")
    assert main(["plan", path, "--nodata", "9,3"]) != 0
    assert "--nodata takes the number" in capsys.readouterr().err
    cube = open_request(parser().parse_args(["plan", path, "--nodata", "250,255"]))
    np.testing.assert_array_equal(np.isnan(cube.red.values[0]), where)
