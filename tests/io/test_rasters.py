"""GeoTIFFs as items: names of bands, dates, scales, and what is refused."""

import numpy as np
import pytest

import lakecube
from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.io.rasters import describe_rasters, is_raster_source
from tests.imagery import LEFT, TOP, grid, write_raster

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
    more = [stack(tmp_path / f"2020-02-0{k}.tif", ["green", "swir16"], "uint16")[0] for k in (1, 2, 3)]
    with pytest.warns(UserWarning) as told:
        lakecube.open(more)
    assert len(told) == 1
    assert str(told[0].message).startswith("2020-02-01.tif and 2 more hold uint16 without a scale")
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


@pytest.mark.parametrize("sensor", ["sentinel-2-l2a", "landsat-oli-c2-l2"])
def test_a_sensors_scale_is_for_integers(tmp_path, sensor):
    path, values = stack(tmp_path / "2020-01-01.tif", ["green"])
    np.testing.assert_array_equal(lakecube.open(path, sensor=sensor).green.values[0], values[0])
    path, values = stack(tmp_path / "2020-01-02.tif", ["green"], "uint16")
    (record,) = describe_rasters(path, sensor=sensor)
    assert record.bands["green"].scale < 1e-3
    assert record.bands["green"].nodata == 0


@pytest.mark.parametrize(
    ("sensor", "file", "names", "expected"),
    [
        ("landsat-oli-c2-l2", "x", ["B3", "SR_B5", "sr_b6", "B8", "QA_PIXEL"], {"green": 1, "nir08": 2, "swir16": 3}),
        ("landsat-tm-c2-l2", "x", ["B2", "B4", "B5", "B6"], {"green": 1, "nir08": 2, "swir16": 3}),
        ("landsat", "LT05_L2SP_041025", ["B2", "B5"], {"green": 1, "swir16": 2}),
        ("landsat", "LC08_L2SP_041025", ["B3", "B6"], {"green": 1, "swir16": 2}),
        ("hls-l30", "x", ["B5", "B06"], {"nir08": 1, "swir16": 2}),
        ("sentinel-2", "x", ["B3", "B11", "b8a"], {"green": 1, "nir08": 3, "swir16": 2}),
    ],
)
def test_the_sensor_says_which_band_it_is(tmp_path, sensor, file, names, expected):
    path, _ = stack(tmp_path / f"{file}_2020-01-01.tif", names, "uint16")
    (record,) = describe_rasters(path, sensor=sensor)
    assert {name: source.band for name, source in record.bands.items()} == expected


def test_the_name_of_a_file_of_one_band(tmp_path):
    names = [f"LC08_L2SP_041025_20200804_02_T1_{n}.TIF" for n in ("SR_B3", "SR_B6", "QA_PIXEL")]
    paths = [stack(tmp_path / name, [""], "uint16")[0] for name in names]
    (record,) = describe_rasters(paths, sensor="landsat")
    assert list(record.bands) == ["green", "swir16"]
    assert list(record.qa) == ["qa_pixel"]


def test_an_offset_replaces_that_of_the_sensor(tmp_path):
    path, _ = stack(tmp_path / "2020-01-01.tif", ["green"], "uint16")
    (record,) = describe_rasters(path, sensor="landsat-oli-c2-l2", offset=-0.1)
    assert record.bands["green"].offset == -0.1
    assert record.offset_source == "user"
    for offset in ({"2020-01-01.tif": -0.3}, {"other.tif": 0.5}):
        (record,) = describe_rasters(path, sensor="landsat-oli-c2-l2", offset=offset)
        assert record.bands["green"].offset == offset.get("2020-01-01.tif", -0.2)
    for wrong in ("audt", -1000, float("nan"), True):
        with pytest.raises(InvalidInputError, match="offset"):
            lakecube.open(path, sensor="landsat-oli-c2-l2", offset=wrong)


def test_a_mapping_names_what_is_there_and_leaves_masks_alone(tmp_path):
    path, _ = stack(tmp_path / "2020-01-01.tif", ["one", "two", "SCL"])
    (record,) = describe_rasters(path, bands={"one": "green", "2": "swir16"})
    assert list(record.qa) == ["scl"]
    with pytest.raises(InvalidInputError, match=r"no band 'b3' in 2020-01-01.tif; it has 1 \(one\), 2 \(two\)"):
        lakecube.open(path, bands={"one": "green", "B3": "swir16"})


def test_files_are_not_searched(tmp_path):
    path, _ = stack(tmp_path / "2020-01-01.tif", ["green"])
    for options in ({"collections": "c"}, {"query": {"eo:cloud_cover": {"lt": 20}}}):
        with pytest.raises(InvalidInputError, match="collections= and query="):
            lakecube.open(path, **options)


def test_files_far_apart_make_a_cube_of_nothing_and_warn(tmp_path):
    values = np.zeros((1, 6, 8), "float32")
    paths = [
        write_raster(tmp_path / f"{name}.tif", values, grid(6, 8, left=LEFT + shift, top=TOP - shift), nodata=None,
                     descriptions=["green"])
        for name, shift in (("2020-01-01", 0), ("2020-01-02", 3000))
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="far apart"):
        lakecube.open(paths)
