"""Every recorded item against a table by hand, and the traps one by one."""

import json
import pickle
import warnings

import numpy as np
import pystac
import pytest
import rasterio

from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.io.offsets import audit_offset
from lakecube.io.records import BandSource, ItemRecord
from lakecube.io.sensors import SENSORS, describe_item, select_newest, solar_day
from lakecube.names import BANDS

S2 = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16",
      "swir22")  # fmt: skip
S2_NATIVE = dict(zip(S2, ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
                     strict=True))  # fmt: skip
S2_SIZE = dict(zip(S2, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20), strict=True))
OLI = dict(zip(("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"), (1, 2, 3, 4, 5, 6, 7), strict=True))
TM = dict(zip(("blue", "green", "red", "nir08", "swir16", "swir22"), (1, 2, 3, 4, 5, 7), strict=True))
GA = dict(zip(OLI, ("01", "02", "03", "04", "05", "06", "07"), strict=True))


def s2_row(sensor, tail, offset, source, *, qa=("scl",), exact=True):
    bands = {band: (tail(native, S2_SIZE[band]), float(S2_SIZE[band])) for band, native in S2_NATIVE.items()}
    return sensor, bands, 1e-4, offset, 0, source, qa


def landsat_row(sensor, numbers, source="sensor", size=30.0, small=""):
    bands = {band: (f"_SR_B{n}", size) for band, n in numbers.items()}
    return sensor, bands, 2.75e-5, -0.2, 0, source, ("qa_pixel", "qa_radsat")


def cog(native, size):
    return f"{native}.tif"


#: Folder or file, and what marks the item → sensor, band → (tail of the href, resolution), scale, offset, nodata,
#: who decided the offset, quality layers.
TABLE = {
    "pystac-client/sentinel-2-l2a/": s2_row("sentinel-2-l2a", cog, 0.0, "boa_offset_applied"),
    "pystac-client/sentinel-2-c1-l2a/": s2_row("sentinel-2-l2a", cog, -0.1, "baseline"),
    "pystac-client/sentinel-s2-l2a-cogs/": s2_row("sentinel-2-l2a", cog, 0.0, "boa_offset_applied"),
    "pystac-client/sentinel-2-l1c/": s2_row("sentinel-2-l1c", lambda b, _: f"{b}.jp2", -0.1, "baseline", qa=()),
    "pystac-client/landsat-8-c2-l2/": landsat_row("landsat-oli-c2-l2", OLI),
    "odc-stac/LC08_L2SP_028030": landsat_row("landsat-oli-c2-l2", OLI),
    "odc-stac/LC08_L2SR_081119": landsat_row("landsat-oli-c2-l2", OLI, size=1164.15),
    "odc-stac/LE07_L2SP_044033": landsat_row("landsat-tm-c2-l2", TM),
    "odc-stac/S2A_28QCH_20200714_0_L2A": s2_row("sentinel-2-l2a", cog, 0.0, "baseline"),
    "odc-stac/S2B_MSIL2A": s2_row("sentinel-2-l2a", lambda b, m: f"{b}_{m}m.tif", 0.0, "baseline"),
    "odc-stac/site1": s2_row("sentinel-2-l2a", lambda b, m: f"{b}_{m}m.tif", 0.0, "baseline"),
    "odc-stac/site2": s2_row("sentinel-2-l2a", lambda b, m: f"{b}_{m}m.tif", 0.0, "baseline"),
    "odc-stac/ga_ls8c_ard": (
        "ga-landsat-ard", {band: (f"_final_band{n}.tif", 30.0) for band, n in GA.items()}, 1e-4, 0.0, -999, "sensor",
        ("ga_fmask",),
    ),
}  # fmt: skip
#: Items that are no optical imagery: refused with what was seen.
REFUSED = ("pystac-client/cop-dem-glo-30/", "pystac-client/sentinel-1-grd/", "odc-stac/lidar_dem", "odc-stac/only_crs")
COUNTS = {"pystac-client": 71, "odc-stac": 9 + 9 + 13}


def recorded_items(folder):
    for path in sorted(folder.rglob("*json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["type"] in {"Feature", "FeatureCollection"}:
            for fields in document.get("features", [document]):
                with warnings.catch_warnings():
                    # pystac cannot migrate the storage extension of https hrefs; nothing here reads it
                    warnings.filterwarnings("ignore", message="Could not parse bucket/account")
                    yield str(path.relative_to(folder)), pystac.Item.from_dict(fields)


def test_every_recorded_item(recorded):
    seen = dict.fromkeys(COUNTS, 0)
    for name, item in recorded_items(recorded):
        seen[name.split("/")[0]] += 1
        if name.startswith(REFUSED):
            with pytest.raises(InvalidInputError, match="sensor="):
                describe_item(item)
            continue
        (row,) = [row for start, row in TABLE.items() if name.startswith(start)]
        check_row(name, describe_item(item), *row)
    assert seen == COUNTS


def check_row(name, record, sensor, bands, scale, offset, nodata, source, qa):
    assert record.sensor == sensor, name
    assert list(record.bands) == [band for band in BANDS if band in bands], name
    for band, (tail, resolution) in bands.items():
        found = record.bands[band]
        assert tail in found.href.rpartition("/")[2], (name, band)
        assert "-jp2" not in found.href
        assert (found.scale, found.offset, found.nodata) == (scale, offset, nodata), (name, band)
        assert found.resolution == resolution, (name, band)
        assert found.grid is not None and found.grid.crs.startswith("EPSG:"), (name, band)
        assert found.grid.transform[0] == resolution and min(found.grid.shape) > 0
    assert record.offset_source == source, name
    assert 0 < record.offset_confidence <= 1
    assert tuple(record.qa) == qa, name
    assert record.time.dtype == np.dtype("datetime64[ns]") and record.solar_day.dtype == np.dtype("datetime64[D]")
    assert record.identity and "None" not in record.identity
    assert pickle.loads(pickle.dumps(record)) == record


def test_t11upt(t11upt):
    items = pystac.ItemCollection.from_file(str(t11upt / "items.json"))
    s2, landsat = (describe_item(item, base_href=str(t11upt / "items.json"), local=True) for item in items)
    assert list(s2.bands) == ["coastal", "blue", "green", "red", "rededge1", "nir08", "nir09", "swir16", "swir22"]
    assert set(s2.dropped) == {"nir", "rededge2", "rededge3"} and "B08" in s2.dropped["nir"]
    assert (s2.baseline, s2.offset_source, s2.bands["green"].offset) == ("02.14", "baseline", 0.0)
    assert s2.local and s2.qa["scl"].nodata == 0
    assert landsat.bands["nir08"].offset == -0.2 and landsat.offset_source == "raster:bands" and not landsat.qa
    for record in (s2, landsat):
        for source in record.bands.values():
            with rasterio.open(source.href) as file:  # relative hrefs start at items.json; the grid is that of the file
                assert file.shape == source.grid.shape
                assert tuple(file.transform)[:6] == source.grid.transform
                assert file.crs == rasterio.crs.CRS.from_string(source.grid.crs)


# --- made items ----------------------------------------------------------------------------------------------------


def make_item(
    item_id="scene", collection="sentinel-2-l2a", assets=("blue",), time="2023-06-01T10:00:00Z", **properties
):
    fields = {key: {"href": f"https://example.com/{key}.tif", "type": "image/tiff"} for key in assets}
    if isinstance(assets, dict):
        fields = {key: {"href": f"https://example.com/{key}.tif", **extra} for key, extra in assets.items()}
    return pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": item_id, "collection": collection, "links": [],
        "geometry": {"type": "Point", "coordinates": [10.0, 50.0]}, "bbox": [10.0, 50.0, 11.0, 51.0],
        "properties": {"datetime": time, **properties}, "assets": fields,
    })  # fmt: skip


MINUS = {"raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]}


@pytest.mark.parametrize(
    ("properties", "asset", "time", "offset", "source", "confidence"),
    [
        ({"s2:processing_baseline": "02.14"}, {}, "2020", 0.0, "baseline", (1, 1)),
        ({"s2:processing_baseline": "03.01"}, MINUS, "2022", 0.0, "baseline", (0.8, 0.95)),
        ({"s2:processing_baseline": "04.00"}, MINUS, "2022", -0.1, "baseline", (1, 1)),
        ({"s2:processing_baseline": "05.00"}, {}, "2018", -0.1, "baseline", (0.85, 0.95)),  # reprocessed: not the date
        ({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}, MINUS, "2025", 0.0,
         "boa_offset_applied", (0.85, 0.95)),
        ({"sentinel:processing_baseline": "05.11", "sentinel:boa_offset_applied": True}, {}, "2025", 0.0,
         "boa_offset_applied", (0.85, 0.95)),
        ({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": False}, MINUS, "2025", -0.1, "baseline",
         (0.7, 0.85)),
        ({"processing:version": "05.11"}, {}, "2025", -0.1, "baseline", (0.85, 0.95)),
        ({"s2:product_uri": "S2A_MSIL2A_20180101T000000_N0500_R001_T31UFU_20230101T000000.SAFE"}, {}, "2018", -0.1,
         "baseline", (0.85, 0.95)),
        ({"s2:datatake_id": "GS2B_20190629T212529_012081_N02.12"}, {}, "2019", 0.0, "baseline", (1, 1)),
        ({"earthsearch:boa_offset_applied": True}, MINUS, "2025", 0.0, "boa_offset_applied", (0.75, 0.85)),
        ({}, MINUS, "2018", -0.1, "raster:bands", (0.5, 0.7)),
        ({}, {}, "2018", 0.0, "unknown", (0.1, 0.4)),
        ({}, {}, "2023", -0.1, "unknown", (0.3, 0.6)),
    ],
)  # fmt: skip
def test_sentinel2_offset_rule(properties, asset, time, offset, source, confidence):
    record = describe_item(make_item(assets={"green": asset}, time=f"{time}-06-01T00:00:00Z", **properties))
    assert (record.bands["green"].offset, record.offset_source) == (offset, source)
    assert confidence[0] <= record.offset_confidence <= confidence[1]
    assert record.bands["green"].scale == 1e-4 and record.bands["green"].nodata == 0


def test_user_offset_overrides():
    item = make_item(**{"s2:processing_baseline": "05.11"})
    for given in (0.0, {"scene": 0.0}, np.float32(0)):
        record = describe_item(item, offset=given)
        assert (record.bands["blue"].offset, record.offset_source, record.offset_confidence) == (0.0, "user", 1.0)
    for given in ("metadata", "audit", {"other": 0.0}, {}):
        record = describe_item(item, offset=given)
        assert (record.bands["blue"].offset, record.offset_source) == (-0.1, "baseline")


@pytest.mark.parametrize(
    ("given", "message"),
    [("auto", "'metadata', 'audit'"), (-1000, "write -0.1"), (float("nan"), "finite"), (True, "finite"),
     ({"scene": "0"}, "finite")],
)  # fmt: skip
def test_bad_offsets(given, message):
    with pytest.raises(InvalidInputError, match=message):
        describe_item(make_item(), offset=given)


def test_cdse_names():
    keys = [f"{native}_{size}m" for band, native in S2_NATIVE.items() for size in {S2_SIZE[band], 60}]
    item = make_item(
        "S2A_MSIL2A_20240101T000000_N0510_R001_T31UFU_20240101T010000", assets=[*keys, "SCL_20m", "SCL_60m"]
    )
    record = describe_item(item)
    assert {band: source.href.rpartition("/")[2] for band, source in record.bands.items()} == {
        band: f"{native}_{S2_SIZE[band]}m.tif" for band, native in S2_NATIVE.items()
    }
    assert record.qa["scl"].href.endswith("SCL_20m.tif")
    assert record.bands["red"].offset == -0.1 and record.baseline == "05.10"
    assert record.bands["nir08"].resolution == 20 and record.bands["red"].resolution == 10


def test_stac_1_1_bands_and_asset_level_numbers():
    item = make_item(
        assets={"B03_10m": {"bands": [{"name": "B03", "eo:common_name": "green"}], "nodata": 0, "raster:scale": 1e-4,
                            "raster:offset": -0.1, "gsd": 10}},
        **{"processing:version": "05.11"},
    )  # fmt: skip
    record = describe_item(item)
    assert (record.bands["green"].scale, record.bands["green"].offset, record.offset_confidence) == (1e-4, -0.1, 1.0)


def test_jp2_doubles_are_ignored_and_named():
    item = make_item(assets={"blue": {}, "green-jp2": {"eo:bands": [{"name": "B03", "common_name": "green"}]}})
    record = describe_item(item)
    assert list(record.bands) == ["blue"] and "looked for green" in record.dropped["green"]


def test_own_keys_are_found_by_the_name_of_the_band():
    item = make_item(assets={"my-red": {"eo:bands": [{"name": "B04"}], "type": "image/tiff"}})
    assert list(describe_item(item, sensor="sentinel-2").bands) == ["red"]


def test_nir08_is_the_second_nir_of_sentinel_2_and_the_nir_of_landsat():
    s2 = describe_item(make_item(assets=("B08", "B8A")))
    assert s2.bands["nir"].href.endswith("B08.tif") and s2.bands["nir08"].href.endswith("B8A.tif")
    landsat = describe_item(make_item("LC09_L2SP_044034_20230601_02_T1", "landsat-c2-l2", ("nir08",)))
    assert list(landsat.bands) == ["nir08"] and landsat.platform == "landsat-9"


@pytest.mark.parametrize(
    ("item_id", "platform", "sensor", "green"),
    [
        ("LC08_L2SP_044034_20230601_02_T1", None, "landsat-oli-c2-l2", "SR_B3.tif"),
        ("LE07_L2SP_044034_20030601_02_T1", None, "landsat-tm-c2-l2", "SR_B2.tif"),
        ("LT05_L2SP_044034_19930601_02_T1", None, "landsat-tm-c2-l2", "SR_B2.tif"),
        ("scene", "LANDSAT_5", "landsat-tm-c2-l2", "SR_B2.tif"),
        ("scene", "landsat-9", "landsat-oli-c2-l2", "SR_B3.tif"),
    ],
)
def test_landsat_band_numbers_by_platform(item_id, platform, sensor, green):
    item = make_item(item_id, "landsat-c2-l2", [f"SR_B{n}" for n in range(1, 8)], platform=platform)
    record = describe_item(item)
    assert record.sensor == sensor and record.bands["green"].href.endswith(green)
    assert SENSORS[sensor].is_oli == (sensor == "landsat-oli-c2-l2")


def test_hls():
    s30 = describe_item(make_item("HLS.S30.T35MNM.2020152T080611.v2.0", "HLSS30.v2.0",
                                  ["B01", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "Fmask"]))  # fmt: skip
    assert list(s30.bands) == ["coastal", "red", "rededge1", "nir", "nir08", "nir09", "swir16"]
    l30 = describe_item(
        make_item("HLS.L30.T35MNM.2020152T080611.v2.0", "hls2-l30", ["B04", "B05", "B06", "B09", "Fmask"])
    )
    assert {band: source.href.rpartition("/")[2] for band, source in l30.bands.items()} == {
        "red": "B04.tif", "nir08": "B05.tif", "swir16": "B06.tif"
    }  # fmt: skip
    assert "B09" in l30.dropped  # cirrus there, water vapour on S30
    for record in (s30, l30):
        assert {(s.scale, s.offset, s.nodata) for s in record.bands.values()} == {(1e-4, 0.0, -9999)}
        assert record.qa["hls_fmask"].nodata == 255 and record.offset_source == "sensor"
    assert s30.identity != l30.identity


# --- imagery without a known sensor ---------------------------------------------------------------------------------


def test_generic_one_picture_of_many_bands():
    bands = [{"common_name": name} for name in ("blue", "green", "red", "nir", "pan")]
    item = make_item(collection="planet", assets={
        "analytic": {"eo:bands": bands, "raster:bands": [{"scale": 1e-4, "nodata": 0}] * 5, "type": "image/tiff"},
        "thumbnail": {"eo:bands": bands[:3], "roles": ["thumbnail"]}})  # fmt: skip
    record = describe_item(item)
    assert {band: source.band for band, source in record.bands.items()} == {"blue": 1, "green": 2, "red": 3, "nir": 4}
    assert record.sensor == "generic" and record.bands["red"].scale == 1e-4 and record.offset_source == "unknown"


def test_generic_rgb_by_order():
    item = make_item(collection="aerial", assets={"image": {"type": "image/tiff"}})
    with pytest.raises(InvalidInputError, match=r"Assets: image\. Pass sensor="):
        describe_item(item)
    record = describe_item(item, sensor="rgbn")
    assert {band: source.band for band, source in record.bands.items()} == {"red": 1, "green": 2, "blue": 3, "nir": 4}
    assert "nir" not in describe_item(item, sensor="RGB").bands


def test_unknown_sensor_name():
    with pytest.raises(InvalidInputError, match=r"sensor='modis' is not known\. Known sensors: .*landsat-oli-c2-l2"):
        describe_item(make_item(), sensor="modis")


def test_missing_bands():
    item = make_item(assets=("blue", "green"))
    with pytest.raises(MissingBandError, match=r"no band 'nir'.*looked for nir, B08.*a selection of: blue, green"):
        describe_item(item, bands=["blue", "nir"])
    with pytest.raises(MissingBandError, match="'B03' is 'green' here"):
        describe_item(item, bands="B03")
    assert list(describe_item(item, bands=("green",)).bands) == ["green"]


def test_placeholder_scale_is_not_believed():
    item = make_item("LC08_L2SP_044034_20230601_02_T1", "landsat-c2-l2",
                     {"red": {"raster:bands": [{"scale": 1.0, "offset": 0.0, "nodata": "nan"}]}})  # fmt: skip
    source = describe_item(item).bands["red"]
    assert (source.scale, source.offset) == (2.75e-5, -0.2)
    assert np.isnan(source.nodata)


# --- grids ----------------------------------------------------------------------------------------------------------

GRID = {"proj:shape": [100, 200], "proj:transform": [10, 0, 6e5, 0, -10, 5e6]}


@pytest.mark.parametrize(
    ("item_fields", "asset_fields", "crs"),
    [
        ({"proj:code": "EPSG:32631", **GRID}, {}, "EPSG:32631"),
        ({"proj:epsg": 32631}, GRID, "EPSG:32631"),
        ({"proj:epsg": 32631}, {"proj:code": "EPSG:32632", **GRID}, "EPSG:32632"),
        ({"proj:epsg": None, "proj:wkt2": "PROJCRS[...]"}, GRID, "PROJCRS[...]"),
        ({"proj:projjson": {"type": "GeographicCRS"}}, GRID, '{"type": "GeographicCRS"}'),
        ({"proj:code": "EPSG:32631"}, {}, None),
        ({}, GRID, None),
        ({"proj:code": "EPSG:32631", **GRID}, {"proj:shape": [50, 100]}, None),  # no transform of that shape
        ({"proj:code": "EPSG:32631"}, {**GRID, "proj:transform": [6e5, 10, 0, 5e6, 0, -10]}, None),  # GDAL's order
        ({"proj:epsg": "EPSG:32631"}, GRID, "EPSG:32631"),
        ({"proj:code": "EPSG:32631"}, {**GRID, "proj:shape": [None, None]}, None),
        ({"proj:code": "EPSG:32631"}, {**GRID, "proj:transform": [0, 0, 6e5, 0, 0, 5e6]}, None),
    ],
)
def test_grid(item_fields, asset_fields, crs):
    source = describe_item(make_item(assets={"red": asset_fields}, **item_fields)).bands["red"]
    assert (source.grid.crs if source.grid else None) == crs
    if crs:
        assert source.grid.transform == (10, 0, 6e5, 0, -10, 5e6) and source.grid.shape == (100, 200)
    assert source.resolution == 10


# --- identity -------------------------------------------------------------------------------------------------------


def test_copies_of_one_scene_share_an_identity(recorded):
    by_collection = {}
    for name, item in recorded_items(recorded):
        if "20EPT" in name:
            by_collection[item.collection_id] = describe_item(item)
    l2a = [by_collection[name] for name in ("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-s2-l2a-cogs")]
    assert {record.identity for record in l2a} == {"S2B/20250731T131909/20EPT/l2a"}
    assert by_collection["sentinel-2-l1c"].identity == "S2B/20250731T131909/20EPT/l1c"
    kept, superseded = select_newest([*l2a, by_collection["sentinel-2-l1c"]])
    assert [record.collection for record in kept] == ["sentinel-2-l2a", "sentinel-2-l1c"]  # the newest `updated`
    assert {dropped.split("/")[0] for dropped, _ in superseded} == {"sentinel-2-c1-l2a", "sentinel-s2-l2a-cogs"}
    assert select_newest(reversed([*l2a]))[0] == [l2a[0]]


def landsat(item_id, **properties):
    return describe_item(make_item(item_id, "landsat-c2-l2", ("red",), **properties))


def test_landsat_categories_and_reprocessing():
    rt = landsat("LC08_L2SP_044034_20230601_20230602_02_RT")
    t1 = landsat("LC08_L2SP_044034_20230601_20230610_02_T1")
    again = landsat("LC08_L2SP_044034_20230601_20231010_02_T1_SR")
    other = landsat("LC08_L2SP_044035_20230601_20230610_02_T1")
    assert rt.identity == t1.identity == again.identity != other.identity
    kept, superseded = select_newest([t1, other, again, rt])
    assert kept == [other, again]
    assert superseded == [(f"landsat-c2-l2/{one.id}", f"landsat-c2-l2/{again.id}") for one in (t1, rt)]


def record_of(item_id, **fields):
    return ItemRecord(item_id, "c", "sentinel-2-l2a", np.datetime64("2020-01-01", "ns"), np.datetime64("2020-01-01"),
                      **fields)  # fmt: skip


def test_select_newest_by_baseline_then_updated_then_id():
    old = record_of("z", identity="a", baseline="02.14", updated="2024")
    new = record_of("b", identity="a", baseline="05.00", updated="2023")
    newer = record_of("a", identity="a", baseline="05.00", updated="2023-05")
    assert select_newest([old, new])[0] == [new]
    assert select_newest([newer, new, old])[0] == [newer]
    assert select_newest([record_of("a"), record_of("b"), record_of("a")])[0] == [record_of("a"), record_of("b")]
    assert select_newest([]) == ([], [])


def test_two_halves_of_a_tile_are_both_kept():
    halves = [record_of(n, identity="a", baseline="05.00", datastrip=f"T{n}") for n in "12"]
    assert select_newest(halves)[0] == halves
    old = [record_of(f"old{n}", identity="a", baseline="02.14", datastrip=f"T{n}") for n in "12"]
    assert select_newest([*old, *halves])[0] == halves
    anonymous = record_of("v0", identity="a", baseline="05.00")
    assert select_newest([halves[0], anonymous])[0] == [anonymous]  # a copy of the only part there is


# --- solar day ------------------------------------------------------------------------------------------------------


def test_solar_day_is_that_of_odc_stac():
    odc = pytest.importorskip("odc.stac.model")
    rng = np.random.default_rng(7)
    for seconds, longitude in zip(rng.integers(0, 10**9, 500), rng.uniform(-180, 180, 500), strict=True):
        time = np.datetime64(int(seconds), "s").astype("datetime64[ns]")
        expected = odc._convert_to_solar_time(time.astype("datetime64[s]").item(), float(longitude)).date()
        assert solar_day(time, float(longitude)) == np.datetime64(expected)


def test_solar_day_of_items():
    item = make_item(time="2023-06-01T23:30:00Z")
    assert describe_item(item).solar_day == np.datetime64("2023-06-01")
    item.bbox = [170.0, 0.0, -178.0, 1.0]  # crosses the antimeridian; the middle is at 176 east
    assert describe_item(item).solar_day == np.datetime64("2023-06-02")
    assert solar_day(np.datetime64("2023-06-01T23:30"), None) == np.datetime64("2023-06-01")


def test_no_time():
    item = make_item()
    item.datetime = None
    item.properties.pop("datetime")
    with pytest.raises(InvalidInputError, match="no datetime"):
        describe_item(item)
    item.properties["start_datetime"] = "2023-06-01T00:00:00+02:00"
    assert describe_item(item).time == np.datetime64("2023-05-31T22:00", "ns")


# --- audit ----------------------------------------------------------------------------------------------------------


def s2_record(offset):
    bands = {band: BandSource(band, scale=1e-4, offset=offset, nodata=0) for band in ("green", "nir", "swir16")}
    return record_of("scene", bands=bands)


def scene(rng, water=0.2, added=0, dark=True):
    """Digital numbers of land and dark water in three bands."""
    numbers = {}
    for band, (land, lake) in {"green": (900, 500), "nir": (3000, 150), "swir16": (2200, 60)}.items():
        values = rng.normal(land, land / 5, 20_000)
        lakes = rng.normal(lake, 40, 20_000)
        mixed = np.where(rng.random(20_000) < (water if dark else 0), lakes, np.maximum(values, 1200))
        numbers[band] = np.clip(np.rint(mixed) + added, 1, 65535).astype(np.uint16)
        numbers[band][:500] = 0
    return numbers


def test_audit_confirms_both_ways():
    rng = np.random.default_rng(1)
    corrected, carrying = scene(rng), scene(rng, added=1000)
    for numbers, truth in ((corrected, 0.0), (carrying, -0.1)):
        agreed = audit_offset(numbers, s2_record(truth))
        assert agreed.offset == truth and agreed.confidence >= 0.9 and not agreed.conflict
        contradicted = audit_offset(numbers, s2_record(-0.1 - truth))
        assert contradicted.offset == truth and contradicted.conflict
        assert "swir16" in contradicted.evidence or "nir" in contradicted.evidence


def test_audit_does_not_guess_where_nothing_is_dark():
    rng = np.random.default_rng(2)
    for added in (0, 1000):
        for offset in (0.0, -0.1):
            bright = audit_offset(scene(rng, dark=False, added=added + 800), s2_record(offset))
            assert (bright.offset, bright.conflict) == (offset, False)


def test_audit_is_not_misled_by_a_tail_of_land():
    rng = np.random.default_rng(3)  # dry land, corrected: the tails of NIR and SWIR end near 1000 by chance
    numbers = {band: rng.normal(mean, 300, 20_000).clip(900).astype(np.uint16)
               for band, mean in (("nir", 2200), ("swir16", 1900))}  # fmt: skip
    assert not audit_offset(numbers, s2_record(0.0)).conflict


def test_audit_needs_numbers_and_a_sentinel():
    few = {"nir": np.full(20, 50, np.uint16)}
    assert not audit_offset(few, s2_record(-0.1)).conflict
    assert audit_offset({}, s2_record(-0.1)).offset == -0.1
    assert not audit_offset({"nir": np.zeros(10_000, np.uint16)}, s2_record(-0.1)).conflict  # all nodata
    other = ItemRecord("x", "c", "landsat-oli-c2-l2", np.datetime64(0, "ns"), np.datetime64(0, "D"),
                       bands={"nir08": BandSource("x", offset=-0.2)})  # fmt: skip
    assert audit_offset({"nir08": np.full(10_000, 50)}, other).offset == -0.2


def test_audit_of_t11upt(t11upt):
    item = next(iter(pystac.ItemCollection.from_file(str(t11upt / "items.json"))))
    numbers = {}
    for band in ("swir22", "swir16", "nir08", "red"):
        with rasterio.open(t11upt / "sentinel-2" / f"{band}.tif") as file:
            numbers[band] = file.read(1)[::7, ::7]
    honest = audit_offset(numbers, describe_item(item))
    assert honest.offset == 0.0 and honest.confidence > 0.9 and not honest.conflict
    wrong = audit_offset(numbers, describe_item(item, offset=-0.1))
    assert wrong.offset == 0.0 and wrong.conflict
    carrying = {band: np.where(values == 0, 0, values + 1000) for band, values in numbers.items()}
    assert audit_offset(carrying, describe_item(item, offset=-0.1)).offset == -0.1
    assert not audit_offset(carrying, describe_item(item, offset=-0.1)).conflict


@pytest.mark.parametrize(
    ("properties", "asset"),
    [({"proj:epsg": "garbage"}, {}), ({"proj:epsg": 999999}, {}), ({}, {"proj:shape": 5}), ({}, {"eo:bands": 5}),
     ({}, {"proj:transform": 7}), ({}, {"proj:transform": "text"}), ({}, {"raster:bands": 5})],
    ids=str,
)  # fmt: skip
def test_metadata_that_cannot_be_understood_name_the_item(properties, asset):
    item = make_item(assets={"red": asset}, **properties)
    with pytest.raises(InvalidInputError, match=f"Item '{item.id}'"):
        describe_item(item)


@pytest.mark.parametrize("bbox", [[1, 2], "abcd", 5])
def test_a_bbox_that_is_none_names_the_item(bbox):
    item = make_item()
    item.bbox = bbox
    with pytest.raises(InvalidInputError, match=f"Item '{item.id}'"):
        describe_item(item)
