"""Samples: what is read, what is known, how it is divided and cut, and that the same numbers draw the same tiles."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.enums import ColorInterp

from lakecube.errors import InvalidInputError, MissingBandError, ReadError
from lakecube.models.augment import LEVELS, Augment, Frame, cut, resized
from lakecube.models.samples import Samples, cube_samples, folder_samples, joined
from lakecube.models.scenes import Picture
from lakecube.models.tiles import Tiles, ahead, order_of
from lakecube.names import LAND, UNKNOWN, WATER

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path, numbers, **options):
    numbers = np.atleast_3d(np.moveaxis(numbers, 0, -1)) if numbers.ndim == 3 else numbers[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    driver = {".png": "PNG", ".jpg": "JPEG", ".tif": "GTiff"}[path.suffix]
    descriptions, scales = options.pop("descriptions", None), options.pop("scales", None)
    shape = {"height": numbers.shape[0], "width": numbers.shape[1], "count": numbers.shape[2]}
    with rasterio.open(path, "w", driver=driver, dtype=numbers.dtype, **shape, **options) as file:
        file.write(np.moveaxis(numbers, -1, 0))
        if descriptions:
            file.descriptions = descriptions
        if scales:
            file.scales = scales


@pytest.fixture
def folder(tmp_path):
    """Six pictures of 40 × 52; water is the left half of the even ones, and the odd ones have none."""
    chance = np.random.default_rng(0)
    for k in range(6):
        image = chance.integers(30, 200, (3, 40, 52)).astype(np.uint8)
        mask = np.zeros((40, 52), np.uint8)
        mask[:, :26] = k % 2 == 0
        write(tmp_path / "images" / f"s{k}.png", image)
        write(tmp_path / "masks" / f"s{k}.png", mask * 255)
    return tmp_path


def stored(folder, name="s0"):
    with rasterio.open(folder / "images" / f"{name}.png") as file:
        return file.read()


def test_bands_are_named_in_the_order_of_the_file_and_given_in_that_of_the_spectrum(folder):
    samples = folder_samples(folder, bands=("red", "green", "blue"), tile=16)
    assert samples.bands == ("blue", "green", "red")
    tiles = Tiles(samples.scenes[:1], samples.bands, 16)
    values, _ = tiles.read(0, LEVELS["none"])
    assert np.array_equal(values, stored(folder)[::-1, :16, :16].astype(np.float32) / np.float32(255))
    swapped = folder_samples(folder, bands=("blue", "green", "red"), tile=16)
    again, _ = Tiles(swapped.scenes[:1], swapped.bands, 16).read(0, LEVELS["none"])
    assert np.array_equal(again, values[::-1])


def test_tiles_cover_the_scene_once_and_are_unknown_beyond_its_edge(folder):
    scene = folder_samples(folder).scenes[0]
    tiles = Tiles([scene], ("green",), 16)
    assert len(tiles) == 3 * 4
    labels = np.stack([tiles.read(k, LEVELS["none"])[1] for k in range(len(tiles))])
    assert (labels != UNKNOWN).sum() == 40 * 52
    assert (labels == WATER).sum() == 40 * 26
    values, labels = tiles.read(len(tiles) - 1, LEVELS["none"])
    assert np.array_equal(np.isnan(values[0]), labels == UNKNOWN)
    assert (labels == UNKNOWN).any()


def test_tiles_without_water_are_left_out_or_some_are_kept(folder):
    scenes = folder_samples(folder).scenes
    assert len(Tiles(scenes, ("red",), 13, keep_empty=0.0)) == 3 * 4 * 2
    every = len(Tiles(scenes, ("red",), 13, keep_empty=1.0))
    assert every == 6 * 4 * 4
    assert 3 * 4 * 2 < len(Tiles(scenes, ("red",), 13, keep_empty=0.5)) < every


def test_validation_is_whole_scenes_and_does_not_depend_on_the_order(folder):
    samples = folder_samples(folder, validation=0.34)
    train, test = samples.split()
    assert len(test) == 2
    assert {s.name for s in train} | {s.name for s in test} == {f"s{k}" for k in range(6)}
    turned = Samples(samples.scenes[::-1], samples.bands, validation=0.34)
    assert {s.name for s in turned.split()[1]} == {s.name for s in test}
    seeds = [frozenset(s.name for s in folder_samples(folder, validation=0.34, seed=k).split()[1]) for k in range(6)]
    assert len(set(seeds)) > 1


def test_scenes_are_held_out_by_name(folder):
    assert [s.name for s in folder_samples(folder).without(["s[0-2]", "s5"]).scenes] == ["s3", "s4"]
    with pytest.raises(InvalidInputError, match="no scene is called 'x'"):
        folder_samples(folder).without(["x"])


def test_the_same_numbers_draw_the_same_tile_and_others_another(folder):
    tiles = Tiles(folder_samples(folder).scenes, ("red", "green", "blue"), 16)
    first, again, other = (tiles.read(3, LEVELS["strong"], (0, epoch)) for epoch in (1, 1, 2))
    assert np.array_equal(first[0], again[0], equal_nan=True)
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0], equal_nan=True)


def test_turns_move_values_and_labels_together(folder):
    tiles = Tiles(folder_samples(folder).scenes, ("red",), 16)
    plain_values, plain_labels = tiles.read(1, LEVELS["none"])
    seen = set()
    for epoch in range(40):
        values, labels = tiles.read(1, LEVELS["turns"], (0, epoch))
        pairs = set(zip(plain_values.ravel(), plain_labels.ravel(), strict=True))
        assert set(zip(values.ravel(), labels.ravel(), strict=True)) == pairs
        seen.add(values.tobytes())
    assert len(seen) == 8


def test_gain_is_the_same_for_all_bands_and_colour_is_not(folder):
    tiles = Tiles(folder_samples(folder).scenes, ("red", "green", "blue"), 16)
    plain, _ = tiles.read(0, LEVELS["none"])
    gain, _ = tiles.read(0, Augment(turn=False, gain=0.5), (1,))
    ratio = gain / plain
    assert np.allclose(ratio, ratio[0, 0, 0], rtol=1e-5)
    assert abs(ratio[0, 0, 0] - 1) > 0.01
    colour, _ = tiles.read(0, Augment(turn=False, colour=0.5), (1,))
    by_band = (colour / plain).reshape(3, -1)
    assert np.allclose(by_band, by_band[:, :1], rtol=1e-5)
    assert np.ptp(by_band[:, 0]) > 0.01


def test_a_tile_is_resized_like_a_linear_ramp_and_its_labels_stay_labels():
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (1, 32, 32))
    labels = (ramp[0] >= 16).astype(np.uint8)
    values, known = resized(np.ascontiguousarray(ramp), labels, 16)
    assert np.allclose(values[0, 0], np.arange(16) * 2 + 0.5)
    assert np.array_equal(known[0], np.arange(16) >= 8)
    values, known = resized(np.ascontiguousarray(ramp), labels, 64)
    assert np.allclose(values[0, 0, 1:-1], (np.arange(64) * 0.5 - 0.25)[1:-1])
    assert set(np.unique(known)) == {LAND, WATER}


def test_moved_windows_stay_inside_the_scene(folder):
    tiles = Tiles(folder_samples(folder).scenes, ("red",), 16)
    for epoch in range(5):
        for k in range(len(tiles)):
            _, labels = tiles.read(k, Augment(shift=0.5, zoom=0.4), (epoch,))
            assert (labels != UNKNOWN).all()


def test_a_window_beyond_the_edge_is_filled():
    array = np.arange(12).reshape(3, 4)
    assert cut(array, Frame(-1, 2, 3), -9).tolist() == [[-9, -9, -9], [2, 3, -9], [6, 7, -9]]
    assert (cut(array, Frame(50, 50, 2), -9) == -9).all()


def test_reflectance_is_scaled_and_nodata_is_unknown(tmp_path):
    numbers = np.full((4, 16, 16), 1500, np.uint16)
    numbers[:, :4] = 0
    mask = np.ones((16, 16), np.uint8)
    mask[8:] = 9
    named = {"nodata": 0, "descriptions": ("blue", "green", "red", "nir")}
    write(tmp_path / "images" / "a.tif", numbers, **named)
    write(tmp_path / "masks" / "a.png", mask)
    with pytest.raises(InvalidInputError, match=r"uint16 without a scale.*scale="):
        folder_samples(tmp_path).scenes[0].read()
    samples = folder_samples(tmp_path, scale=1e-4, offset=-0.1, ignore=9)
    assert samples.bands == ("blue", "green", "red", "nir")
    picture = samples.scenes[0].read()
    assert np.allclose(picture.values[:, 4:], 0.05)
    assert np.isnan(picture.values[:, :4]).all()
    assert [np.unique(picture.labels[rows]).tolist() for rows in (slice(0, 4), slice(4, 8), slice(8, 16))] == [
        [UNKNOWN], [WATER], [UNKNOWN],
    ]  # fmt: skip
    write(tmp_path / "images" / "a.tif", numbers, **named, scales=(1e-4,) * 4)
    assert np.allclose(folder_samples(tmp_path).scenes[0].read().values[:, 4:], 0.15)


def test_dark_corners_are_unknown_and_dark_lakes_are_not(tmp_path):
    image = np.full((3, 24, 24), 120, np.uint8)
    image[:, :6, :6], image[:, 10:14, 10:14] = 2, 2
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "masks" / "a.png", np.ones((24, 24), np.uint8))
    labels = folder_samples(tmp_path, black=8).scenes[0].read().labels
    assert (labels[:6, :6] == UNKNOWN).all()
    assert (labels == UNKNOWN).sum() == 36


def test_mistakes_are_named(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InvalidInputError, match=r"there is no folder .*images"):
        folder_samples(empty)
    with pytest.raises(InvalidInputError, match="has 3 bands, but bands= names red, green: name each"):
        folder_samples(folder, bands=("red", "green"))
    with pytest.raises(MissingBandError, match="s0 has no nir"):
        folder_samples(folder).ordered(("red", "nir"))
    (folder / "masks" / "s3.png").unlink()
    with pytest.raises(InvalidInputError, match="no mask is called s3"):
        folder_samples(folder)
    write(folder / "masks" / "s3.png", np.zeros((7, 52), np.uint8))
    with pytest.raises(InvalidInputError, match="has 7 x 52 pixels"):
        folder_samples(folder).scenes[3].read()
    write(folder / "masks" / "s3.png", np.arange(40 * 52).reshape(40, 52).astype(np.uint8))
    with pytest.raises(InvalidInputError, match="both 1 and 255"):
        folder_samples(folder).scenes[3].read()
    (folder / "images" / "s4.png").write_bytes(b"no picture")
    with pytest.raises(ReadError, match=r"s4\.png cannot be read"):
        folder_samples(folder).scenes[4].read()


def test_four_bands_need_names(tmp_path):
    names = ("red", "green", "blue", "nir")
    write(tmp_path / "images" / "a.tif", np.ones((4, 16, 16), np.uint8), photometric="MINISBLACK", alpha="NO")
    write(tmp_path / "masks" / "a.png", np.ones((16, 16), np.uint8))
    with pytest.raises(InvalidInputError, match="has 4 bands without names"):
        folder_samples(tmp_path)
    assert folder_samples(tmp_path, bands=names).bands == ("blue", "green", "red", "nir")
    with rasterio.open(tmp_path / "images" / "a.tif", "r+") as file:
        file.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
        file.descriptions = (None, None, None, "NIR")
    assert folder_samples(tmp_path).scenes[0].bands == ("blue", "green", "red", "nir")
    write(tmp_path / "images" / "a.tif", np.zeros((4, 16, 16), np.uint8))  # the fourth is called transparency
    assert (folder_samples(tmp_path).scenes[0].read().labels == UNKNOWN).all()
    assert (folder_samples(tmp_path, bands=names).scenes[0].read().labels == WATER).all()


def test_an_alpha_band_tells_what_is_known(tmp_path):
    image = np.full((4, 16, 16), 200, np.uint8)
    image[3, :, :5] = 0
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "masks" / "a.png", np.ones((16, 16), np.uint8))
    labels = folder_samples(tmp_path).scenes[0].read().labels
    assert (labels[:, :5] == UNKNOWN).all()
    assert (labels[:, 5:] == WATER).all()


# --- a cube and polygons ---------------------------------------------------------------------------------------------


@pytest.fixture
def polygons():
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import box

    return geopandas.GeoDataFrame(
        {"class": ["water", "land"]}, geometry=[box(20, 520, 100, 620), box(120, 520, 160, 620)], crs="EPSG:32648"
    )


@pytest.fixture
def small_cube():
    """Two dates of 64 × 48 pixels of 10 m whose upper left corner is (0, 640)."""
    from pyproj import CRS

    chance = np.random.default_rng(1)
    y, x = 640 - 10 * (np.arange(64) + 0.5), 10 * (np.arange(48) + 0.5)
    bands = {n: (("time", "y", "x"), chance.random((2, 64, 48), np.float32)) for n in ("nir", "green", "red")}
    observation = np.zeros((2, 64, 48), np.uint8)
    observation[1, :10] = 4
    out = xr.Dataset({**bands, "observation": (("time", "y", "x"), observation)}, {"time": [0, 1], "y": y, "x": x})
    out["time"] = np.array(["2021-01-01", "2021-02-01"], "M8[ns]")
    return out.assign_coords(spatial_ref=xr.Variable((), 0, {"crs_wkt": CRS.from_epsg(32648).to_wkt()}))


def labels_of(samples):
    return {scene.name: scene.read().labels for scene in samples.scenes}


def test_polygons_are_water_where_the_cube_is_observed(small_cube, polygons):
    small_cube["red"][0, 5, 5] = np.nan
    samples = cube_samples(small_cube.chunk({"y": 30, "x": 30}), polygons[:1], tile=16)
    assert samples.bands == ("green", "red", "nir")
    found = labels_of(samples)
    assert len(found) == 2 * 4 * 3
    first = np.full((64, 48), 9, np.uint8)
    for name, labels in found.items():
        if name.startswith("2021-01-01"):
            row, column = int(name[-12:-7]), int(name[-5:])
            first[row : row + 16, column : column + 16] = labels
    expected = np.zeros((64, 48), np.uint8)
    expected[2:12, 2:10] = WATER
    expected[5, 5] = UNKNOWN
    assert np.array_equal(first, expected)
    assert (found["2021-02-01T00:00:00-y00000-x00000"][:10] == UNKNOWN).all()


def test_classes_leave_the_rest_unknown_and_dates_of_a_place_stay_together(small_cube, polygons):
    samples = cube_samples(small_cube, polygons, column="class", tile=16)
    labels = labels_of(samples)["2021-01-01T00:00:00-y00000-x00000"]
    assert np.array_equal(np.unique(labels), [LAND, WATER, UNKNOWN])
    assert labels[0, 0] == UNKNOWN
    train, test = samples.split()
    assert len(test) == 2 * round(0.2 * 12)
    assert not {s.place for s in train} & {s.place for s in test}


def test_polygons_come_from_files_in_any_crs(small_cube, polygons, tmp_path):
    expected = labels_of(cube_samples(small_cube, polygons[:1], tile=16))
    polygons[:1].to_crs("EPSG:4326").to_file(tmp_path / "p.geojson")
    polygons[:1].to_file(tmp_path / "p.gpkg")
    for name in ("p.geojson", "p.gpkg"):
        found = labels_of(cube_samples(small_cube, tmp_path / name, tile=16))
        assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_mistakes_with_polygons_are_named(small_cube, polygons, tmp_path):
    with pytest.raises(InvalidInputError, match="there is no file"):
        cube_samples(small_cube, tmp_path / "p.gpkg")
    with pytest.raises(InvalidInputError, match="no column 'kind'"):
        cube_samples(small_cube, polygons, column="kind")
    with pytest.raises(InvalidInputError, match="is their CRS right"):
        cube_samples(small_cube, polygons.translate(1e6).to_frame("geometry"))
    with pytest.raises(MissingBandError, match="no blue"):
        cube_samples(small_cube, polygons, bands=("blue",))
    with pytest.raises(InvalidInputError, match="CRS in spatial_ref"):
        cube_samples(small_cube.drop_vars("spatial_ref"), polygons)
    polygons["class"] = ["lake?", "land"]
    with pytest.raises(InvalidInputError, match="'lake\\?'"):
        cube_samples(small_cube, polygons, column="class")


# --- streaming -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MadeScene:
    """A scene that is made when it is read."""

    name: str
    bands: tuple[str, ...] = ("red", "green", "blue")
    size: int = 256

    @property
    def place(self):
        return self.name

    def read(self):
        values = np.full((3, self.size, self.size), int(self.name) % 200, np.uint8)
        return Picture(values, np.ones((self.size, self.size), np.uint8))


def peak(n):
    tracemalloc.start()
    tiles = Tiles([MadeScene(str(k)) for k in range(n)], ("red",), 64, kept_bytes=2**20)
    for members in order_of(len(tiles), 4, 0, 0)[:20]:
        tiles.batch(members, LEVELS["turns"])
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest


def test_memory_does_not_grow_with_the_number_of_scenes():
    peak(2)
    assert peak(96) < 1.2 * peak(12)


def test_sources_are_joined(folder, tmp_path):
    write(tmp_path / "b" / "images" / "x.tif", np.ones((3, 16, 16), np.uint8))
    write(tmp_path / "b" / "masks" / "x.tif", np.ones((16, 16), np.uint8))
    both = joined(folder_samples(folder), folder_samples(tmp_path / "b", bands=("blue", "green", "red")))
    assert len(both.scenes) == 7
    tiles = Tiles(both.scenes, both.bands, 16)
    assert tiles.batch([0, len(tiles) - 1], LEVELS["turns"]).values.shape == (2, 3, 16, 16)


def test_batches_are_full_and_hold_every_tile_once_but_the_last_few():
    batches = order_of(22, 4, seed=1, epoch=0)
    assert [len(b) for b in batches] == [4] * 5
    assert len(np.unique(np.concatenate(batches))) == 20
    assert [len(b) for b in order_of(3, 4, 1, 0)] == [3]
    assert not np.array_equal(batches[0], order_of(22, 4, 1, 1)[0])


def test_results_come_in_order_whatever_thread_makes_them():
    assert list(ahead([lambda k=k: k * k for k in range(50)], readers=3)) == [k * k for k in range(50)]
