"""The synthetic archive is itself an instrument: these tests calibrate it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from scipy import ndimage

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS, OBSERVATION
from lakecube.synthetic import Archive, make_archive, make_landscape, render, sentinel2_cube
from lakecube.synthetic.items import mgrs_code
from lakecube.synthetic.quality import qa_pixel, scene_classification
from lakecube.synthetic.sky import cloud_base, shaded_by_terrain, sun_position, sunward
from lakecube.synthetic.terrain import flood, levels_on, slope_degrees

SUMMER, AUTUMN, WINTER = (np.datetime64(d) for d in ("2022-07-09", "2022-10-07", "2023-01-10"))
CLEAR = {"clouds": 0.0, "haze": 0.0, "missing": 0.0}


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def features(archive: Archive) -> list[dict]:
    return json.loads(archive.items_path.read_text())["features"]


def read(archive: Archive, asset: dict) -> np.ndarray:
    with rasterio.open(archive.items_path.parent / asset["href"]) as file:
        return file.read(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("tiny"), shape=(100, 85), dates=[WINTER, SUMMER, AUTUMN], clouds=0.2)


@pytest.fixture(scope="module")
def country():
    return make_landscape((240, 240), seed=3)


# -- the archive as files


def test_same_call_same_bytes(tmp_path):
    calls = {"shape": (48, 50), "dates": [SUMMER, WINTER], "clouds": 0.3, "bands": ["green", "nir09", "swir16"]}
    first, second = (make_archive(tmp_path / name, **calls) for name in "ab")
    assert fingerprint(first.path) == fingerprint(second.path)
    assert fingerprint(make_archive(tmp_path / "c", **calls, seed=1).path) != fingerprint(first.path)


def test_a_date_does_not_depend_on_the_others(tmp_path):
    few = make_archive(tmp_path / "few", shape=(48, 48), dates=[AUTUMN], bands=["green"])
    many = make_archive(tmp_path / "many", shape=(48, 48), dates=[WINTER, AUTUMN, SUMMER], bands=["green"])
    xr.testing.assert_identical(few.truth, many.truth.sel(time=[AUTUMN]))
    name = few.items[0]
    assert fingerprint(few.path / name) == fingerprint(many.path / name)


def test_every_asset_is_what_the_item_declares(tiny):
    assert len(features(tiny)) == 3
    for feature in features(tiny):
        assert set(feature["assets"]) == {*BANDS, "scl"}
        for asset in feature["assets"].values():
            with rasterio.open(tiny.path / asset["href"]) as file:
                assert list(file.shape) == asset["proj:shape"]
                assert list(file.transform)[:6] == asset["proj:transform"]
                assert file.crs.to_string() == asset["proj:code"] == "EPSG:32648"
                assert file.nodata == asset["raster:bands"][0]["nodata"]
                assert file.dtypes[0] == asset["raster:bands"][0]["data_type"]
                assert file.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_coarse_bands_cover_a_shape_that_is_no_multiple_of_six(tiny):
    assets = features(tiny)[0]["assets"]
    shapes = {name: assets[name]["proj:shape"] for name in ("green", "scl", "nir09")}
    assert shapes == {"green": [100, 85], "scl": [50, 43], "nir09": [17, 15]}


def test_pystac_reads_the_collection(tiny):
    collection = pystac.ItemCollection.from_file(str(tiny.items_path))
    assert [item.id for item in collection] == list(tiny.items)
    item = collection[0]
    assert item.ext.proj.code == "EPSG:32648"
    assert item.properties["grid:code"] == "MGRS-48RWQ"
    assert item.properties["platform"] in {"sentinel-2a", "sentinel-2b"}
    cloudy = np.isin(tiny.truth["observation"][0], [OBSERVATION["cloud"], OBSERVATION["cirrus"]]).mean()
    assert item.properties["eo:cloud_cover"] / 100 == pytest.approx(cloudy, abs=0.05)


def test_large_files_carry_overviews_and_small_ones_do_not(tmp_path):
    archive = make_archive(tmp_path, shape=(40, 1030), dates=[SUMMER], bands=["green", "swir16"], **CLEAR)
    assets = features(archive)[0]["assets"]
    with rasterio.open(tmp_path / assets["green"]["href"]) as file:
        assert file.overviews(1)
        assert file.block_shapes == [(512, 512)]
    with rasterio.open(tmp_path / assets["swir16"]["href"]) as file:
        assert not file.overviews(1)


@pytest.mark.parametrize(
    ("style", "baseline", "applied", "added"),
    [
        ("earth-search-v1", "03.01", None, 0),
        ("earth-search-v1", "04.00", True, 0),
        ("earth-search-v1", "05.09", False, 1000),
        ("planetary-computer", "02.12", None, 0),
        ("planetary-computer", "04.00", None, 1000),
    ],
)
def test_numbers_decode_to_the_rendered_reflectance(tmp_path, style, baseline, applied, added):
    archive = make_archive(
        tmp_path, shape=(60, 60), dates=[SUMMER], style=style, baseline=baseline, boa_offset_applied=applied,
        bands=["green", "swir16", "nir09"], **CLEAR,
    )  # fmt: skip
    scene = render(archive.landscape, SUMMER)
    feature = features(archive)[0]
    keys = {"green": "B03", "swir16": "B11", "nir09": "B09"} if style == "planetary-computer" else {}
    for band, factor in (("green", 1), ("swir16", 2), ("nir09", 6)):
        number = read(archive, feature["assets"][keys.get(band, band)])
        np.testing.assert_allclose((number.astype(float) - added) / 1e4, scene.native(band, factor), atol=2e-4)
    assert feature["properties"]["s2:processing_baseline"] == baseline


def test_items_list_the_offset_as_the_collections_do(tmp_path):
    calls = {"shape": (36, 36), "dates": [SUMMER], "bands": ["green"]}
    old = features(make_archive(tmp_path / "old", baseline="03.01", **calls))[0]
    new = features(make_archive(tmp_path / "new", baseline="04.00", **calls))[0]
    lie = features(make_archive(tmp_path / "lie", boa_offset_applied=False, offset_flag=True, **calls))
    assert old["assets"]["green"]["raster:bands"][0]["offset"] == 0
    assert not old["properties"]["earthsearch:boa_offset_applied"]
    assert new["assets"]["green"]["raster:bands"][0]["offset"] == -0.1
    assert new["properties"]["earthsearch:boa_offset_applied"]
    assert lie[0]["properties"]["earthsearch:boa_offset_applied"]


def test_valid_numbers_are_never_zero_and_missing_ones_always(tmp_path):
    archive = make_archive(tmp_path, shape=(72, 72), dates=[SUMMER], missing=0.3, clouds=0.0, bands=["green", "swir16"])
    missing = archive.truth["observation"][0].values == OBSERVATION["not_acquired"]
    assert missing.mean() == pytest.approx(0.3, abs=0.02)
    number = read(archive, features(archive)[0]["assets"]["green"])
    np.testing.assert_array_equal(number == 0, missing)
    coarse = read(archive, features(archive)[0]["assets"]["swir16"])
    np.testing.assert_array_equal(coarse == 0, missing.reshape(36, 2, 36, 2).any(axis=(1, 3)))


@pytest.mark.parametrize("overlap", [0, 24])
def test_two_tiles_of_one_day_agree_where_they_overlap(tmp_path, overlap):
    archive = make_archive(
        tmp_path, shape=(60, 120), dates=[SUMMER], tiles=2, overlap=overlap, baseline="mixed",
        boa_offset_applied=False, bands=["green", "nir09"], **CLEAR,
    )  # fmt: skip
    left, right = features(archive)
    assert [f["properties"]["s2:processing_baseline"] for f in (left, right)] == ["03.01", "04.00"]
    assert left["properties"]["grid:code"] != right["properties"]["grid:code"]
    assert left["properties"]["datetime"] == right["properties"]["datetime"]
    for band, metres in (("green", 10), ("nir09", 60)):
        a, b = (read(archive, f["assets"][band]).astype(int) for f in (left, right))
        shared = overlap * 10 // metres
        assert a.shape[1] + b.shape[1] == 120 * 10 // metres + shared
        np.testing.assert_array_equal(a[:, a.shape[1] - shared :], b[:, :shared] - 1000)


def test_a_tile_that_the_swath_misses_has_no_item(tmp_path):
    archive = make_archive(tmp_path, shape=(40, 120), dates=[SUMMER], tiles=2, overlap=0, missing=0.7, bands=["green"])
    assert len(archive.items) == 1


def test_landsat_style(tmp_path):
    weather = {"clouds": 0.25, "missing": 0.2}
    archive = make_archive(tmp_path, shape=(120, 100), dates=[SUMMER, WINTER], style="landsat-c2", **weather)
    feature = features(archive)[0]
    assert set(feature["assets"]) == {"coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "qa_pixel"}
    assert dict(archive.truth.sizes) == {"time": 2, "y": 40, "x": 34, "lake": 6}
    assert float(archive.truth.x[1] - archive.truth.x[0]) == 30
    scene = render(archive.landscape, SUMMER, **weather)
    number = read(archive, feature["assets"]["green"])
    decoded = np.where(number == 0, np.nan, number * 2.75e-5 - 0.2)
    expected = np.where(scene.seen(3), scene.native("green", 3), np.nan)[:40, :34]
    np.testing.assert_allclose(decoded, expected, atol=3e-5)
    qa = read(archive, feature["assets"]["qa_pixel"])
    np.testing.assert_array_equal(qa & 1, number == 0)
    assert {int(v) for v in np.unique(qa)} <= {1, 21824, 21952, 22280, 21826, 54596, 23888, 30048}
    bare = make_archive(tmp_path / "bare", shape=(36, 36), dates=[SUMMER], style="landsat-c2", qa=False)
    assert "qa_pixel" not in features(bare)[0]["assets"]


def test_dem_is_at_30_m_and_flat_on_water(tiny):
    with rasterio.open(tiny.dem_path) as file:
        height = file.read(1)
        assert file.transform.a == 30
        assert (file.bounds.left, file.bounds.top) == (549600, 2986500)
    truth = tiny.truth["elevation"].values[:99, :84].reshape(33, 3, 28, 3).mean(axis=(1, 3))
    dry = tiny.truth["lake_id"].values[:99, :84].reshape(33, 3, 28, 3).max(axis=(1, 3)) == 0
    assert np.abs(height[:33, :28] - truth)[dry].mean() < 2
    lake = (tiny.truth["lake_id"] == 2).values[:99, :84].reshape(33, 3, 28, 3).all(axis=(1, 3))
    assert np.std(height[:33, :28][ndimage.binary_erosion(lake)]) < 1


def test_progress_counts_dates(tmp_path):
    calls = []
    make_archive(tmp_path, shape=(36, 36), dates=3, bands=["green"], progress=lambda *a: calls.append(a))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"style": "spot"}, "known styles"),
        ({"shape": (10, 200)}, "at least 32"),
        ({"bands": ["green", "lime"]}, "has no band lime"),
        ({"clouds": [0.1]}, "2 dates"),
        ({"dates": [SUMMER, SUMMER]}, "each date once"),
        ({"tiles": 2, "overlap": 10}, "multiple of 12"),
    ],
)
def test_a_wrong_argument_says_what_is_needed(tmp_path, arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        make_archive(tmp_path, **{"shape": (36, 36), "dates": 2} | arguments)


# -- the truth


def test_area_is_pixels_of_water(tiny):
    truth = tiny.truth
    for lake in truth.lake.values:
        pixels = (truth["water"] == 1) & (truth["lake_id"] == lake)
        np.testing.assert_array_equal(truth["lake_area"].sel(lake=lake), pixels.sum(("y", "x")) * 100)
    xr.testing.assert_identical(xr.open_zarr(tiny.truth_path, consolidated=False).load(), truth)


def test_area_grows_with_level_and_fraction_agrees_with_area(country):
    basins = country.terrain.basins
    areas = []
    for share in np.linspace(0.1, 0.95, 7):
        water = flood(country.terrain, tuple(b.bottom + share * (b.rim - b.bottom) for b in basins))
        areas.append([np.count_nonzero(water.lake == b.number) for b in basins])
        np.testing.assert_array_equal((water.fraction >= 0.5) & (country.terrain.river == 0), water.lake > 0)
        assert water.fraction[water.lake > 0].sum() == pytest.approx(sum(areas[-1]), rel=0.15)
    assert (np.diff(areas, axis=0) >= 0).all()
    assert (np.diff(areas, axis=0) > 0).any(axis=0).all()


def test_the_country_has_what_a_lake_mapper_meets(country):
    water = flood(country.terrain, levels_on(country.terrain, SUMMER))
    names = {b.spec.name: water.lake == b.number for b in country.terrain.basins}
    assert 10 <= names["pond"].sum() <= 40
    assert names["edge lake"][:, -1].any()
    holes = ndimage.binary_fill_holes(names["great lake"]) & ~names["great lake"]
    assert holes.sum() > 3  # the island
    for lake in names.values():
        assert ndimage.label(lake)[1] == 1  # one connected lake
    assert (country.terrain.river[:, [0, 120, -1]] > 0).any(axis=0).all()
    slope = slope_degrees(country.terrain.elevation)
    assert np.percentile(slope, 99.9) > 30
    assert np.percentile(slope, 99) < 55
    levels = [levels_on(country.terrain, np.datetime64(d))[0] for d in ("2022-01-01", "2022-12-01", "2023-11-01")]
    assert levels[0] > levels[1] > levels[2]  # the reservoir is drawn down


# -- the light


def test_spectra_are_sane_on_a_clear_day(country):
    scene = render(country, SUMMER)
    band = dict(zip(BANDS, scene.reflectance, strict=True))
    mndwi = (band["green"] - band["swir16"]) / (band["green"] + band["swir16"])
    ndvi = (band["nir"] - band["red"]) / (band["nir"] + band["red"])
    deep = (scene.flood.depth > 4) & (scene.water == 1)
    forest = (country.cover.conifer + country.cover.leafy > 0.8) & (ndimage.maximum_filter(scene.flood.depth, 5) == 0)
    assert deep.sum() > 500
    assert forest.sum() > 500
    assert (mndwi[deep] > 0).all()
    assert (mndwi[forest] < 0).all()
    assert np.median(ndvi[forest]) > 0.7
    assert scene.reflectance.min() > 0
    assert scene.reflectance.max() < 1.2
    assert scene.reflectance.dtype == np.float32


def test_mndwi_alone_errs_somewhere(country):
    for day in (SUMMER, WINTER):
        scene = render(country, day)
        green, swir = scene.reflectance[BANDS.index("green")], scene.reflectance[BANDS.index("swir16")]
        judged = scene.observation != OBSERVATION["snow_ice"]
        found, true = ((green > swir) & judged), (scene.water == 1) & judged
        assert 0.3 < (found & true).sum() / (found | true).sum() < 0.99


def test_bands_at_their_own_pixel_average_the_ground(country):
    scene = render(country, SUMMER)
    fine = scene.reflectance[BANDS.index("swir16")].reshape(120, 2, 120, 2).mean(axis=(1, 3))
    noise = scene.native("swir16", 2) - fine
    assert abs(noise.mean()) < 2e-4
    assert 5e-4 < noise.std() < 5e-3


@pytest.mark.parametrize(("day", "azimuth", "elevation"), [(SUMMER, 100, 70), (WINTER, 155, 36)])
def test_sun_stands_where_the_products_say(day, azimuth, elevation):
    time = day.astype("datetime64[s]") + np.timedelta64(3 * 3600 + 37 * 60, "s")
    assert sun_position(time, 105.5, 27.0) == pytest.approx((azimuth, elevation), abs=3)


def test_terrain_shadow_of_a_wall():
    ground = np.zeros((40, 40), np.float32)
    ground[20, :] = 100.0  # a wall 100 m high, the sun in the south at 45 degrees: ten pixels of shadow to the north
    shaded = shaded_by_terrain(ground, 180.0, 45.0)
    assert shaded[11:20].all()
    assert not shaded[:10].any()
    assert not shaded[20:].any()


def test_cloud_shadow_lies_where_the_sun_puts_it(country):
    scene = render(country, WINTER, clouds=0.25)
    shift = (cloud_base(country.terrain.elevation) - np.median(country.terrain.elevation)) / 10
    shift /= np.tan(np.radians(scene.sun[1]))
    dr, dc = (round(-step * shift) for step in sunward(scene.sun[0]))  # from cloud to shadow
    assert dr < 0 < abs(dc) + 1  # morning in the northern winter: shadows fall to the north
    inner = slice(60, 180)
    cloud = scene.sky.cloud[60 - dr : 180 - dr, 60 - dc : 180 - dc]
    moved = np.corrcoef(cloud.ravel(), scene.sky.shadow[inner, inner].ravel())[0, 1]
    still = np.corrcoef(scene.sky.cloud[inner, inner].ravel(), scene.sky.shadow[inner, inner].ravel())[0, 1]
    assert moved > 0.5
    assert moved > still + 0.2
    dark = (scene.observation == OBSERVATION["cloud_shadow"]) & (scene.water == 0) & (scene.snow < 0.01)
    lit = (scene.observation == OBSERVATION["clear"]) & (scene.water == 0) & (scene.snow < 0.01)
    nir = scene.reflectance[BANDS.index("nir")]
    assert nir[dark].mean() < 0.65 * nir[lit].mean()


@pytest.mark.parametrize("cover", [0.1, 0.5, 0.9])
def test_cloud_cover_is_what_was_asked(country, cover):
    scene = render(country, AUTUMN, clouds=cover)
    assert (scene.observation == OBSERVATION["cloud"]).mean() == pytest.approx(cover, abs=0.06)


def test_snow_in_winter_only(country):
    assert (render(country, WINTER).observation == OBSERVATION["snow_ice"]).mean() > 0.03
    assert not (render(country, SUMMER).observation == OBSERVATION["snow_ice"]).any()


def test_scl_without_errors_is_the_truth_and_with_them_is_not(country):
    scene = render(country, WINTER, clouds=0.3, missing=0.1)
    expected = {"cloud": (8, 9), "cirrus": (10,), "cloud_shadow": (3,), "snow_ice": (11,), "not_acquired": (0,)}
    state = scene.observation.reshape(120, 2, 120, 2)
    pure = (state == state[:, :1, :, :1]).all(axis=(1, 3))
    perfect, usual = (scene_classification(scene, errors) for errors in (0.0, 1.0))
    for name, codes in expected.items():
        here = pure & (state[:, 0, :, 0] == OBSERVATION[name])
        assert here.any()
        assert np.isin(perfect[here], codes).mean() > 0.98, name
    agreement = (perfect == usual).mean()
    assert 0.75 < agreement < 0.99
    cloud = np.isin(perfect, (8, 9))
    missed = cloud & ~np.isin(usual, (8, 9))
    assert missed.any()
    assert not (missed & ndimage.binary_erosion(cloud, iterations=2)).any()  # only edges
    assert ((perfect == 6) & (usual == 2)).any()


def test_qa_pixel_has_every_class(country):
    qa = qa_pixel(render(country, WINTER, clouds=0.3, missing=0.1))
    assert len(np.unique(qa)) == 8


def test_a_polar_night_is_refused():
    arctic = make_landscape((36, 36), crs="EPSG:32633", origin=(500000.0, 8700000.0))
    with pytest.raises(InvalidInputError, match="sun"):
        render(arctic, WINTER)


def test_mgrs_squares_of_real_tiles():
    assert mgrs_code("EPSG:32611", 650000.0, 5750000.0) == "11UPT"
    assert mgrs_code("EPSG:32606", 450000.0, 6750000.0) == "06VVN"
    assert mgrs_code("EPSG:32720", 650000.0, 3250000.0) == "20EPT"


# -- the cube in memory


def test_cube_keeps_the_contract():
    cube, truth = sentinel2_cube((50, 44), 2, clouds=[0.0, 0.3], missing=0.1, truth=True)
    assert set(cube.data_vars) == {*BANDS, "observation", "elevation", "slope"}
    assert all(cube[band].dims == ("time", "y", "x") and cube[band].dtype == np.float32 for band in BANDS)
    assert cube["observation"].dtype == np.uint8
    assert cube.rio.crs.to_epsg() == 32648
    assert (cube.y.diff("y") == -10).all()
    for band in ("green", "nir09"):
        unseen = np.isnan(cube[band].values)
        assert unseen[cube["observation"].values == OBSERVATION["not_acquired"]].all()
    np.testing.assert_array_equal(cube["observation"], truth["observation"])
    xr.testing.assert_identical(cube, sentinel2_cube((50, 44), 2, clouds=[0.0, 0.3], missing=0.1))
