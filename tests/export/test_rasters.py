"""Cloud Optimized GeoTIFFs, as GDAL reads them."""

import tracemalloc

import dask.array as da
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from pyproj import CRS

from lakecube.errors import InvalidInputError, StoreError
from lakecube.export import to_cog
from lakecube.names import COLOURS, WATER_MASK
from tests.io.server import serve
from tests.store.made import extract


def scene(rows=1300, columns=900, chunks=(1, 512, 400), seed=0) -> xr.Dataset:
    """Two dates with patches of land, water and unknown."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 1, 255], (2, rows // 50 + 1, columns // 50 + 1)).astype("uint8")
    values = np.kron(coarse, np.ones((1, 50, 50), "uint8"))[:, :rows, :columns]
    return xr.Dataset(
        {"water_mask": (("time", "y", "x"), da.from_array(values, chunks=chunks))},
        coords={
            "time": np.array(["2021-06-01", "2021-07-03"], "datetime64[ns]"),
            "y": 3_000_000.0 - 10 * np.arange(rows) - 5,
            "x": 500_000.0 + 10 * np.arange(columns) + 5,
            "spatial_ref": ((), 0, CRS.from_epsg(32648).to_cf()),
        },
        attrs={"method": "fusion", "lakecube_version": "0.1.0", "revision": 3},
    )


def layout(path):
    """What GDAL says of a file: tiles, and where its first overview and its pixels start."""
    with rasterio.open(path) as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        tiles = {file.block_shapes[0]}
        overviews = file.overviews(1)
        starts = [int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))]
        for k in range(len(overviews)):
            with rasterio.open(path, overview_level=k) as small:
                tiles.add(small.block_shapes[0])
            starts.append(int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=k)))
    return structure, tiles, overviews, starts


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
def test_a_mask_is_a_cog_with_classes(tmp_path, compress):
    water = scene()
    (path,) = to_cog(water, tmp_path / "m.tif", product="mask", date="2021-07", compress=compress)
    structure, tiles, overviews, starts = layout(path)
    assert structure["LAYOUT"] == "COG" and structure["COMPRESSION"] == compress.upper()
    assert tiles == {(512, 512)} and overviews == [2, 4]
    assert starts == sorted(starts, reverse=True)  # the smallest overview lies first in the file
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), water.water_mask[1].values)
        assert file.crs.to_epsg() == 32648
        assert file.transform[:6] == (10, 0, 500_000, 0, -10, 3_000_000)
        assert file.nodata == 255 and file.dtypes == ("uint8",)
        assert file.descriptions == ("water_mask",)
        assert file.tags(1)["flag_meanings"] == "land water unknown" and file.tags(1)["flag_values"] == "0 1 255"
        tags = file.tags()
        assert (tags["product"], tags["date"], tags["method"], tags["revision"]) == (
            "mask",
            "2021-07-03",
            "fusion",
            "3",
        )
        for name, code in WATER_MASK.items():
            alpha = "00" if code == 255 else "ff"  # GDAL makes no data transparent
            assert bytes(file.colormap(1)[code]).hex() == COLOURS["water_mask"][name] + alpha
        rasterio.shutil.copy(file, tmp_path / "names.vrt", driver="VRT")
    text = (tmp_path / "names.vrt").read_text()
    assert text.index("<Category>land<") < text.index("<Category>water<") < text.index("<Category>unknown<")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.tif", "m.tif.aux.xml", "names.vrt"]


def test_gdal_reads_a_part_over_http(tmp_path):
    water = scene()
    to_cog(water, tmp_path / "m.tif", product="mask", date="2021-07", compress="zstd")
    with serve(tmp_path) as site, rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        with rasterio.open(f"{site.url}/m.tif", overview_level=1) as small:
            assert small.shape == (325, 225)
            small.read(1)
        with rasterio.open(f"{site.url}/m.tif") as file:
            part = file.read(1, window=((1030, 1040), (520, 530)))
    np.testing.assert_array_equal(part, water.water_mask[1, 1030:1040, 520:530].values)
    assert all(wanted is not None for method, name, wanted in site.requests if method == "GET" and name == "/m.tif")


def test_overviews_of_flags_are_the_most_frequent_class_and_unknown_counts(tmp_path):
    values = np.zeros((1, 1024, 1024), "uint8")
    values[:, ::2, ::2] = 1  # a quarter is water, a quarter land, half unknown
    values[:, 1::2, :] = 255
    water = scene(1024, 1024).isel(time=[0])
    water["water_mask"] = water.water_mask.copy(data=da.from_array(values, chunks=(1, 512, 512)))
    (path,) = to_cog(water, tmp_path / "m.tif", product="mask")
    with rasterio.open(path, overview_level=0) as small:
        assert set(np.unique(small.read(1))) == {255}


def test_frequency_averages_what_is_known(tmp_path):
    rng = np.random.default_rng(1)
    shares = np.where(rng.random((1300, 900)) < 0.4, np.nan, rng.random((1300, 900))).astype("float32")
    water = scene().assign(water_frequency=(("y", "x"), shares))
    (path,) = to_cog(water, tmp_path / "f.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), shares)
        assert np.isnan(file.nodata) and file.units == ("1",) and file.dtypes == ("float32",)
        assert file.tags(1)["long_name"] == "share of clear dates that are wet"
        with pytest.raises(ValueError, match="color"):
            file.colormap(1)
    with rasterio.open(path, overview_level=0) as small:
        block = shares.reshape(650, 2, 450, 2)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(block, axis=(1, 3)) / np.isfinite(block).sum(axis=(1, 3))
        np.testing.assert_allclose(small.read(1), mean, atol=1e-6)
    assert not (tmp_path / "f.tif.aux.xml").exists()


def test_a_coarser_count_is_that_of_one_pixel(tmp_path):
    """No sum, which would be of other pixels than it says, and not the most frequent."""
    counts = np.tile(np.array([[5, 5, 9, 5], [5, 9, 5, 5], [9, 5, 5, 5], [5, 5, 5, 9]], "uint32"), (256, 256))
    (path,) = to_cog(scene(1024, 1024).assign(count_wet=(("y", "x"), counts)), tmp_path, product="count_wet")
    with rasterio.open(path) as file, rasterio.open(path, overview_level=0) as small:
        np.testing.assert_array_equal(file.read(1), counts)
        assert set(np.unique(small.read(1))) == {5, 9}


def test_each_product_is_its_own_map(tmp_path):
    water, rng = scene(60, 80), np.random.default_rng(2)
    water["water_mask"] = water.water_mask.where(rng.random((2, 60, 80)) < 0.7, 255).astype("uint8")
    restored = np.where(water.water_mask == 255, rng.integers(0, 2, (2, 60, 80)), 255).astype("uint8")
    maps = {name: (("y", "x"), rng.integers(0, 9, (60, 80)).astype("uint32")) for name in ("count_wet", "count_clear")}
    water = water.assign(
        {**maps, "water_restored": (("date", "y", "x"), restored)},
    ).assign_coords(date=water.time.values)
    wanted = {name: values for name, (_, values) in maps.items()}
    for product, values in {**wanted, "filled": np.where(restored == 255, water.water_mask, restored)[1]}.items():
        (path,) = to_cog(water, tmp_path, product=product, date="2021-07" if product == "filled" else None)
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), values, err_msg=product)


def test_products_of_months_and_files_of_dates(tmp_path):
    water = scene(60, 80)
    pairs = np.stack(np.meshgrid([0, 1, 255], [0, 1, 255], indexing="ij")).repeat(20, 1)[:, :, [0, 1, 2] * 26 + [0, 1]]
    water["water_mask"] = water.water_mask.copy(data=da.from_array(pairs.astype("uint8"), chunks=(1, 60, 80)))
    assert (water.water.seasonality().values == 12).any()
    for product in ("occurrence", "recurrence", "seasonality", "transitions", "extent"):
        (path,) = to_cog(water, tmp_path, product=product)
        name = {"extent": "maximum_extent"}.get(product, product)
        with rasterio.open(path) as file:
            assert path.name == f"{product}.tif"
            np.testing.assert_array_equal(file.read(1), getattr(water.water, name)().values)
            assert file.overviews(1) == []
    files = to_cog(water, tmp_path / "dates", product="mask")
    assert [file.name for file in files] == ["mask-2021-06-01.tif", "mask-2021-07-03.tif"]
    assert to_cog(water, tmp_path / "dates", product="mask", date=["2021-06-01", "2021-08/.."][:1])[0] == files[0]


def test_chunks_and_the_direction_of_y_change_nothing(tmp_path):
    water = scene(700, 640, chunks=(1, 512, 512))
    (first,) = to_cog(water, tmp_path / "a.tif", product="mask", date="2021-06-01")
    other = water.chunk({"y": 133, "x": 270}).isel(y=slice(None, None, -1))
    (second,) = to_cog(other, tmp_path / "b.tif", product="mask", date="2021-06-01")
    (third,) = to_cog(water.compute(), tmp_path / "c.tif", product="mask", date="2021-06-01")
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_lake_ids_take_32_bits_where_they_fit(tmp_path):
    labels = np.zeros((40, 50), "int64")
    labels[5:20, 5:30] = 7
    water = scene(40, 50).assign(lake_label=(("y", "x"), labels))
    for ids, dtype in (([7], "uint32"), ([7, 2**33], "int64")):
        (path,) = to_cog(water.assign_coords(lake=ids), tmp_path / "l.tif", product="lakes")
        with rasterio.open(path) as file:
            assert file.dtypes == (dtype,) and file.nodata == 0
            np.testing.assert_array_equal(file.read(1), labels)


def test_half_a_file_is_never_seen(tmp_path):
    water = scene()
    (path,) = to_cog(water, tmp_path / "m.tif", product="mask", date="2021-06-01")
    before = path.read_bytes()

    def fail(block):
        raise OSError("the disk is gone")

    broken = water.assign(water_mask=water.water_mask.copy(data=water.water_mask.data.map_blocks(fail, dtype="uint8",
                                                           meta=np.empty((0, 0, 0), "uint8"))))  # fmt: skip
    with pytest.raises(StoreError, match="the disk is gone"):
        to_cog(broken, path, product="mask", date="2021-06-01")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.tif", "m.tif.aux.xml"]


@pytest.mark.parametrize("lost", ["end", "middle"])
def test_a_disk_that_fills_while_gdal_closes_the_file_is_noticed(tmp_path, monkeypatch, lost):
    """It raises nothing then: a copy without its last bytes, or with a hole, was put under the name."""
    copy = rasterio.shutil.copy

    def spoilt(source, target, **options):
        copy(source, target, **options)
        data = target.read_bytes()
        hole = slice(len(data) // 2, None) if lost == "end" else slice(len(data) // 2, len(data) // 2 + 200)
        target.write_bytes(data[: hole.start] + (b"" if lost == "end" else bytes(200) + data[hole.stop :]))

    path = tmp_path / "m.tif"
    path.write_text("before")
    monkeypatch.setattr(rasterio.shutil, "copy", spoilt)
    with pytest.raises(StoreError, match=r"m\.tif stopped: it (cannot be read back|reads back as)"):
        to_cog(scene(), path, product="mask", date="2021-06-01")
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["m.tif"]


def test_east_is_right_whatever_the_order_of_x(tmp_path):
    (path,) = to_cog(scene().isel(x=slice(None, None, -1)), tmp_path / "m.tif", product="mask", date="2021-06-01")
    with rasterio.open(path) as file:
        assert file.transform.a == 10
        np.testing.assert_array_equal(file.read(1), scene().water_mask[0].values)


def test_memory_holds_a_few_blocks(tmp_path):
    """Four times the area, the same memory: blocks of 1 MB are made some at a time."""

    def peak(rows):
        made = da.zeros((1, rows, 8192), dtype="uint8", chunks=(1, 1024, 1024)).map_blocks(
            np.bitwise_not, dtype="uint8"
        )
        water = scene(rows, 8192).isel(time=[0]).assign(water_mask=(("time", "y", "x"), made))
        tracemalloc.start()
        try:
            to_cog(water, tmp_path / "m.tif", product="mask")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    to_cog(scene(20, 20), tmp_path / "m.tif")  # what is imported and compiled at first
    assert peak(4096) < 1.3 * peak(1024)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"product": "depth"}, "product='depth': choose from frequency, occurrence"),
        ({"product": "mask"}, "there are 2 dates: choose one with date="),
        (
            {"product": "mask", "date": "2020"},
            "date='2020' holds no date of these: 2021-06-01 to 2021-07-03; the nearest is 2021-06-01",
        ),
        ({"date": "2021"}, "product='frequency' is of all dates together"),
        ({"compress": "lzw"}, "compress='lzw'"),
        ({"product": "lakes"}, "lakecube revise"),
        ({"product": "reason", "date": "2021-06-01"}, "no reason here"),
    ],
)
def test_mistakes(tmp_path, options, message):
    with pytest.raises(InvalidInputError, match=message):
        to_cog(scene(20, 20), tmp_path / "m.tif", **options)
    with pytest.raises(InvalidInputError, match="no CRS"):
        to_cog(scene(20, 20).drop_vars("spatial_ref"), tmp_path / "m.tif")
    assert list(tmp_path.iterdir()) == []


def test_bits_keep_their_meanings(tmp_path):
    water = extract(times=1)
    (path,) = to_cog(water, tmp_path, product="rules")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), water.rules_fired[0].values)
        assert file.nodata is None
        assert len(file.tags(1)["flag_masks"].split()) == len(file.tags(1)["flag_meanings"].split())
