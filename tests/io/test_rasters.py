"""GeoTIFFs as items: names of bands, dates, scales, and what is refused."""

import numpy as np
import pytest

import lakecube
from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.io.rasters import describe_rasters, is_raster_source
from tests.imagery import grid, write_raster

WHERE = grid(6, 8)


def stack(path, names, dtype="float32", **known):
    values = np.arange(len(names) * 48).reshape(-1, 6, 8).astype(dtype)
    return write_raster(path, values, WHERE, descriptions=names, nodata=None, **known), values


def test_bands_by_description_in_any_order(tmp_path):
    path, values = stack(tmp_path / "2020-05-06.tif", ["B11", "B8A", "B03", "SCL"])
    (record,) = describe_rasters(path)
    assert {n: s.band for n, s in record.bands.items()} == {"green": 3, "nir08": 2, "swir16": 1}
    assert set(record.qa) == {"scl"}
    assert record.solar_day == np.datetime64("2020-05-06")
    cube = lakecube.open(path, cloud_mask=False)
    np.testing.assert_array_equal(cube.swir16.values[0], values[0])


def test_bands_by_position_and_by_name_of_the_file(tmp_path):
    path, values = stack(tmp_path / "x.tif", ["", ""])
    cube = lakecube.open(path, bands={"2": "green", "1": "swir16"}, datetime="2020-01-01")
    np.testing.assert_array_equal(cube.green.values[0], values[1])
    single, values = stack(tmp_path / "lake_nir_2021-02-03.tif", [""])
    cube = lakecube.open(single)
    np.testing.assert_array_equal(cube.nir.values[0], values[0])


def test_files_of_one_date_become_one_and_dates_are_sorted(tmp_path):
    a, _ = stack(tmp_path / "2020-05-06_g.tif", ["green"])
    b, _ = stack(tmp_path / "2020-05-06_s.tif", ["swir16"])
    c, _ = stack(tmp_path / "20200101.tif", ["green", "swir16"])
    cube = lakecube.open([a, b, c])
    np.testing.assert_array_equal(cube.time, np.array(["2020-01-01", "2020-05-06"], "datetime64[ns]"))
    with pytest.raises(InvalidInputError, match="both hold green"):
        lakecube.open([a, stack(tmp_path / "2020-05-06_h.tif", ["green"])[0]])


def test_scales(tmp_path):
    path, values = stack(tmp_path / "2020-01-01.tif", ["green"], "uint16")
    with pytest.warns(UserWarning, match="without a scale"):
        np.testing.assert_allclose(lakecube.open(path).green.values[0], values[0] * 1e-4, atol=1e-7)
    byte, values = stack(tmp_path / "2020-01-02.tif", ["green"], "uint8")
    np.testing.assert_allclose(lakecube.open(byte).green.values[0], values[0] / 255, atol=1e-7)


def test_refusals(tmp_path):
    path, _ = stack(tmp_path / "undated.tif", ["green"])
    strange, _ = stack(tmp_path / "2020-01-01_x.tif", ["thermal"])
    (tmp_path / "2020-01-01.tif").write_text("no raster")
    for wrong, options in (
        (path, {}), (path, {"datetime": "soon"}), (path, {"datetime": ["2020-01-01", "2020-01-02"]}), (strange, {}),
        (tmp_path / "2020-01-01.tif", {}), (tmp_path / "gone-2020-01-01.tif", {}),
        (path, {"datetime": "2020-01-01", "bands": {"green": "gren"}}),
    ):  # fmt: skip
        with pytest.raises(LakecubeError):
            lakecube.open(wrong, **options)
    assert not is_raster_source([])
    assert not is_raster_source("https://host/items.json")
