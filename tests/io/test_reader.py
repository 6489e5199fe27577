"""The reader: placement, nodata, mosaics, quality, failures. Oracles are NumPy, SciPy and GDAL's own warper."""

import logging
import traceback
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject
from scipy import ndimage

from lakecube.errors import ReadError, UnsafeHrefError
from lakecube.io import files, patience, reader
from lakecube.io.grids import Window
from lakecube.io.raw_cache import RAW
from lakecube.io.reader import read_block
from lakecube.names import OBSERVATION
from tests.imagery import LEFT, TOP, grid, item, settings, source, with_href, write_raster
from tests.io.server import serve

RNG = np.random.default_rng(2)
CLEAR, NOT_ACQUIRED, FAILED = (OBSERVATION[k] for k in ("clear", "not_acquired", "read_failed"))
UNKNOWN_CLOUD, CLOUD, NEAR = (OBSERVATION[k] for k in ("clear_cloud_unknown", "cloud", "cloud_adjacent"))
FINE = grid(48, 60)
QUICK = patience.Patience(times=1, wait=0.001)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    RAW.clear()


def numbers(rows, columns, low=1, high=9999):
    return RNG.integers(low, high, (rows, columns)).astype("uint16")


def everything(where=FINE):
    return Window(0, where.shape[0], 0, where.shape[1])


def read(records, where, *bands, window=None, **known):
    records = records if isinstance(records, tuple) else (records,)
    return read_block(records, window or everything(where), settings(where, *bands, **known))


def windows(shape, n=6, seed=0):
    """A few windows, one-pixel ones and some that reach beyond the grid among them."""
    rng = np.random.default_rng(seed)
    yield Window(0, 1, 0, 1)
    yield Window(-5, 3, shape[1] - 4, shape[1] + 9)
    for _ in range(n):
        y, x = np.sort(rng.integers(0, shape[0] + 1, 2)), np.sort(rng.integers(0, shape[1] + 1, 2))
        yield Window(int(y[0]), int(y[1]) + 1, int(x[0]), int(x[1]) + 1)


def assert_same_in_windows(records, where, *bands, **known):
    """Every window of a grid holds the bits of the whole."""
    outer = everything(where).pad(12)
    whole = read(records, where, *bands, window=outer, **known)
    for window in windows(where.shape):
        part = read(records, where, *bands, window=window, **known)
        RAW.clear()
        for name, array in part.items():
            expected = whole[name][window.within(outer)]
            assert array.dtype == expected.dtype
            assert array.tobytes() == np.ascontiguousarray(expected).tobytes(), (name, window)


# --- placement -----------------------------------------------------------------------------------------------------


def test_own_resolution_is_read_as_it_is(tmp_path):
    dn = numbers(48, 60)
    out = read(item(bands={"green": source(tmp_path / "g.tif", dn, FINE)}), FINE, "green")
    np.testing.assert_array_equal(out["green"], (dn * 1e-4).astype(np.float32))
    assert (out["observation"] == UNKNOWN_CLOUD).all()


def test_a_band_is_the_band_of_its_file(tmp_path):
    """Two bands, and two layers of one file, are not swapped."""
    a, b, c = numbers(48, 60), numbers(48, 60), numbers(48, 60)
    both = source(tmp_path / "ab.tif", np.stack([a, b]), FINE)
    record = item(bands={"red": replace(both, band=2), "green": both, "nir": source(tmp_path / "c.tif", c, FINE)})
    out = read(record, FINE, "green", "red", "nir")
    for name, dn in (("green", a), ("red", b), ("nir", c)):
        np.testing.assert_array_equal(out[name], (dn * 1e-4).astype(np.float32))


@pytest.mark.parametrize("factor", [2, 6])
@pytest.mark.parametrize("start", [(0, 0), (1, 5), (7, 3)])
def test_coarse_bands_are_raised_bilinearly_from_an_aoi_that_starts_inside_a_pixel(tmp_path, factor, start):
    dn = numbers(16, 20)
    record = item(bands={"swir16": source(tmp_path / "s.tif", dn, grid(16, 20, 10.0 * factor))})
    top, left = start
    where = grid(30, 36, left=LEFT + 10 * left, top=TOP - 10 * top)
    out = read(record, where, "swir16")["swir16"]
    v = (top + np.arange(30) + 0.5) / factor - 0.5
    u = (left + np.arange(36) + 0.5) / factor - 0.5
    points = np.meshgrid(v, u, indexing="ij")
    expected = ndimage.map_coordinates(dn * 1e-4, points, order=1, mode="nearest")
    # beyond the file there is nothing
    inside = (points[0] < 15.5) & (points[1] < 19.5)
    np.testing.assert_array_equal(np.isfinite(out), inside)
    np.testing.assert_allclose(out[inside], expected[inside], atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 6])
def test_raised_windows_hold_the_same_bits(tmp_path, factor):
    dn = numbers(16, 20)
    dn[RNG.uniform(size=dn.shape) < 0.2] = 0
    record = item(bands={"swir16": source(tmp_path / "s.tif", dn, grid(16, 20, 10.0 * factor))})
    assert_same_in_windows(record, grid(37, 41, left=LEFT + 10, top=TOP - 30), "swir16")


def test_nodata_makes_a_hole_of_its_own_pixel_and_leaves_neighbours_alone(tmp_path):
    fine, coarse = numbers(12, 12), np.full((6, 6), 5000, "uint16")
    coarse[2, 3] = 0
    record = item(bands={
        "green": source(tmp_path / "g.tif", fine, grid(12, 12)),
        "red": source(tmp_path / "s.tif", coarse, grid(6, 6, 20.0)),
    })  # fmt: skip
    out = read(record, grid(12, 12), "green", "red")
    hole = np.zeros((12, 12), bool)
    hole[4:6, 6:8] = True
    np.testing.assert_array_equal(np.isnan(out["red"]), hole)
    np.testing.assert_allclose(out["red"][~hole], 0.5, rtol=1e-6)
    assert np.isfinite(out["green"]).all()  # red is none of the bands that decide


def test_one_validity_for_all_bands_of_an_item(tmp_path):
    """Where a deciding band has no number, nothing of the item is taken."""
    green, swir = numbers(12, 12), np.full((6, 6), 5000, "uint16")
    swir[2, 3] = 0
    record = item(bands={
        "green": source(tmp_path / "g.tif", green, grid(12, 12)),
        "swir16": source(tmp_path / "s.tif", swir, grid(6, 6, 20.0)),
    })  # fmt: skip
    out = read(record, grid(12, 12), "green", "swir16")
    hole = out["observation"] == NOT_ACQUIRED
    assert hole.sum() == 4
    for band in ("green", "swir16"):
        np.testing.assert_array_equal(np.isnan(out[band]), hole)


def test_finer_files_are_averaged(tmp_path):
    dn = numbers(24, 36)
    dn[:2, :2] = 0
    dn[4, 4] = 0
    record = item(bands={"green": source(tmp_path / "g.tif", dn, grid(24, 36))})
    where = grid(12, 18, 20.0)
    out = read(record, where, "green")["green"]
    groups = np.where(dn == 0, np.nan, dn * 1e-4).reshape(12, 2, 18, 2)
    filled = np.where(np.isnan(groups), 0, groups).sum((1, 3)) / np.maximum(np.isfinite(groups).sum((1, 3)), 1)
    assert np.isnan(out[0, 0])
    np.testing.assert_allclose(out.ravel()[1:], filled.ravel()[1:], rtol=1e-6)
    assert_same_in_windows(record, where, "green")


WARPS = {
    "half a pixel off": grid(40, 40, 10.0, left=LEFT + 5, top=TOP - 5),
    "other pixel size": grid(40, 40, 7.0, left=LEFT + 3, top=TOP - 4),
    "next UTM zone": ("EPSG:32649", 10.0),
    "degrees": ("EPSG:4326", 1e-4),
    "south of the equator, named in the north": ("EPSG:32748", 10.0),
}


def warped_target(case):
    if not isinstance(case, tuple):
        return case
    crs, size = case
    west, south, east, north = rasterio.warp.transform_bounds(
        "EPSG:32648", crs, LEFT, TOP - 480, LEFT + 600, TOP, densify_pts=21
    )
    del south, east
    return replace(grid(40, 40, size, left=west, top=north), crs=crs)


@pytest.mark.parametrize("name", WARPS)
def test_warping_agrees_with_gdal(tmp_path, name):
    """Sine waves, so that a shift of a tenth of a pixel shows."""
    y, x = np.mgrid[:48, :60]
    dn = (5000 + 2000 * np.sin(x / 4) + 2000 * np.cos(y / 5)).astype("uint16")
    band = source(tmp_path / "g.tif", dn, FINE)
    where = warped_target(WARPS[name])
    out = read(item(bands={"green": band}), where, "green")["green"]
    expected = np.full(where.shape, np.nan)
    reproject(
        dn * 1e-4, expected, src_transform=Affine(*FINE.transform), src_crs=FINE.crs,
        dst_transform=Affine(*where.transform), dst_crs=where.crs, resampling=Resampling.bilinear,
        dst_nodata=np.nan, tolerance=0.0,
    )  # fmt: skip
    both = np.isfinite(out) & np.isfinite(expected)
    assert both.sum() > 0.3 * both.size
    inner = ndimage.binary_erosion(both, iterations=2)
    np.testing.assert_allclose(out[inner], expected[inner], atol=3e-3)


@pytest.mark.parametrize("name", WARPS)
def test_warped_windows_hold_the_same_bits(tmp_path, name):
    dn = numbers(48, 60)
    dn[RNG.uniform(size=dn.shape) < 0.1] = 0
    scl = RNG.integers(0, 12, (24, 30)).astype("uint8")
    record = item(
        bands={"green": source(tmp_path / "g.tif", dn, FINE)},
        qa={"scl": source(tmp_path / "q.tif", scl, grid(24, 30, 20.0))},
    )
    assert_same_in_windows(record, warped_target(WARPS[name]), "green", cloud_buffer=2)


# --- numbers -------------------------------------------------------------------------------------------------------


def test_offset_is_applied_to_each_source_before_the_mosaic(tmp_path):
    """One reflectance, two baselines side by side: 1000 more in the numbers of the newer one."""
    truth = RNG.uniform(0.0, 0.6, (24, 60))
    dn = np.rint(truth * 10000).astype("uint16") + 1
    left, right = grid(24, 36), grid(24, 36, left=LEFT + 240)
    old = item("old", bands={"green": source(tmp_path / "o.tif", dn[:, :36], left)})
    new = item("new", bands={"green": source(tmp_path / "n.tif", dn[:, 24:] + 1000, right, offset=-0.1)})
    expected = (dn * 1e-4).astype(np.float32)
    for pair in ((old, new), (new, old)):
        out = read(pair, grid(24, 60), "green")
        np.testing.assert_allclose(out["green"], expected, atol=1e-7)


def test_raising_across_the_seam_of_two_baselines_mixes_no_numbers(tmp_path):
    """At 20 m the interpolation stays within each item."""
    left, right = grid(12, 18, 20.0), grid(12, 18, 20.0, left=LEFT + 240)
    old = item("old", bands={"swir16": source(tmp_path / "o.tif", np.full((12, 18), 2000, "uint16"), left)})
    new = item(
        "new", bands={"swir16": source(tmp_path / "n.tif", np.full((12, 18), 3000, "uint16"), right, offset=-0.1)}
    )
    out = read((old, new), grid(24, 60), "swir16")["swir16"]
    np.testing.assert_allclose(out, 0.2, atol=1e-6)


def test_float_files_keep_their_values_and_their_holes(tmp_path):
    values = RNG.uniform(-0.1, 1.3, (12, 12)).astype("float32")
    values[3, 4] = np.nan
    values[5, 6] = -9999
    band = source(tmp_path / "g.tif", values, grid(12, 12), nodata=-9999.0, scale=1.0)
    out = read(item(bands={"green": band}), grid(12, 12), "green")["green"]
    hole = np.isnan(values) | (values == -9999)
    np.testing.assert_array_equal(out, np.where(hole, np.nan, values))


def test_no_items_read_as_not_acquired():
    out = read_block((), Window(0, 3, 0, 4), settings(FINE, "green"))
    assert (out["observation"] == NOT_ACQUIRED).all()
    assert np.isnan(out["green"]).all()


# --- mosaics and quality -------------------------------------------------------------------------------------------


def scene(tmp_path, name, dn, scl=None, where=FINE, **known):
    """An item with green at 10 m and SCL at 20 m."""
    rows, columns = where.shape
    qa_grid = replace(
        grid(rows // 2, columns // 2, 20.0), transform=(20.0, 0, where.transform[2], 0, -20.0, where.transform[5])
    )
    qa = {} if scl is None else {"scl": source(tmp_path / f"{name}_q.tif", scl.astype("uint8"), qa_grid)}
    return item(name, bands={"green": source(tmp_path / f"{name}.tif", dn, where)}, qa=qa, **known)


def test_each_pixel_comes_from_the_item_that_saw_it_best_the_first_of_equals(tmp_path):
    vegetation, cloud, none = 4, 9, 0
    scl_a, scl_b = np.full((24, 30), vegetation), np.full((24, 30), vegetation)
    scl_a[:, :10] = cloud
    scl_a[:, 10:15] = none
    scl_b[:12, :10] = none
    scl_b[12:, :10] = 3  # shadow: ranks below cloud, so it is the better of the two
    a = scene(tmp_path, "a", np.full((48, 60), 1000, "uint16"), scl_a)
    b = scene(tmp_path, "b", np.full((48, 60), 2000, "uint16"), scl_b)
    out = read((a, b), FINE, "green")
    state, green = out["observation"], np.round(out["green"], 4)
    assert (state[:24, :20] == CLOUD).all()
    assert (green[:24, :20] == np.float32(0.1)).all()
    assert (state[24:, :20] == OBSERVATION["cloud_shadow"]).all()
    assert (green[24:, :20] == np.float32(0.2)).all()
    assert (state[:, 20:30] == CLEAR).all()
    assert (green[:, 20:30] == np.float32(0.2)).all()
    assert (green[:, 30:] == np.float32(0.1)).all()  # both clear: the first
    swapped = read((b, a), FINE, "green")
    np.testing.assert_array_equal(swapped["observation"], state)
    assert (np.round(swapped["green"], 4)[:, 30:] == np.float32(0.2)).all()


def test_mosaic_windows_hold_the_same_bits(tmp_path):
    records = []
    for k, x in enumerate((0, 20, 30)):
        where = grid(40, 30, left=LEFT + 20 * x // 2 * 2, top=TOP - 20 * k)
        dn = numbers(40, 30)
        dn[RNG.uniform(size=dn.shape) < 0.3] = 0
        records.append(scene(tmp_path, f"m{k}", dn, RNG.choice([0, 4, 5, 6, 8, 3], (20, 15)), where))
    assert_same_in_windows(tuple(records), FINE, "green", cloud_buffer=2)


def test_what_the_mask_rules_out_is_the_same_whether_bands_are_read_or_not(tmp_path):
    """`skip_masked` leaves bands unread under cloud; the state may not depend on it, nodata or not."""
    dn = numbers(48, 60)
    dn[RNG.uniform(size=dn.shape) < 0.3] = 0
    scl = RNG.choice([4, 8, 9, 0], (24, 30), p=[0.1, 0.4, 0.4, 0.1])
    scl[:, :12] = 9
    records = scene(tmp_path, "a", dn, scl), scene(tmp_path, "b", dn[::-1].copy(), scl[::-1].copy())
    where = settings(FINE, "green", cloud_buffer=1)
    whole = read_block(records, everything(), where)
    judged = reader.IS_JUDGED[whole["observation"]]
    for window in [*windows(FINE.shape), Window(0, 48, 0, 20), Window(3, 40, 0, 11)]:
        part = read_block(records, window, where, skip_masked=True)
        cut = window.within(everything().pad(12))
        expected = np.pad(whole["observation"], 12, constant_values=NOT_ACQUIRED)[cut]
        np.testing.assert_array_equal(part["observation"], expected)
        seen = np.pad(judged, 12)[cut]
        np.testing.assert_array_equal(part["green"][seen], np.pad(whole["green"], 12)[cut][seen])


@pytest.mark.parametrize("buffer", [0, 1, 3, 6])
def test_cloud_buffer_is_a_disk_around_cloud_and_shadow(tmp_path, buffer):
    scl = np.full((24, 30), 4)
    scl[10, 12], scl[3, 25] = 9, 3
    out = read(scene(tmp_path, "a", numbers(48, 60), scl), FINE, "green", cloud_buffer=buffer)["observation"]
    source_pixels = np.zeros((48, 60), bool)
    source_pixels[20:22, 24:26] = source_pixels[6:8, 50:52] = True
    near = ndimage.distance_transform_edt(~source_pixels) <= buffer
    np.testing.assert_array_equal(out == NEAR, near & ~source_pixels)
    np.testing.assert_array_equal(out == CLEAR, ~near)


def test_a_cloud_outside_the_window_still_casts_its_buffer(tmp_path):
    scl = np.full((24, 30), 4)
    scl[:, :10] = 9
    record = scene(tmp_path, "a", numbers(48, 60), scl)
    out = read(record, FINE, "green", window=Window(0, 48, 20, 60), cloud_buffer=3)["observation"]
    assert (out[:, :3] == NEAR).all()
    assert (out[:, 3:] == CLEAR).all()


def test_without_the_mask_every_valid_pixel_is_unknown_cloud(tmp_path):
    dn = numbers(48, 60)
    dn[:5] = 0
    record = scene(tmp_path, "a", dn, np.full((24, 30), 9))
    out = read(record, FINE, "green", cloud_mask=False, cloud_buffer=5)["observation"]
    assert (out[:5] == NOT_ACQUIRED).all()
    assert (out[5:] == UNKNOWN_CLOUD).all()


@given(st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=10, deadline=None)
def test_two_quality_layers_the_worse_speaks(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("qa")
    clm, radsat = rng.integers(0, 2, (2, 12, 12)).astype("uint16")
    where = grid(12, 12)
    record = item(
        bands={"green": source(folder / "g.tif", numbers(12, 12), where)},
        qa={"cloud_mask": source(folder / "c.tif", clm.astype("uint8"), where),
            "qa_radsat": source(folder / "r.tif", radsat, where)},
    )  # fmt: skip
    out = read(record, where, "green")["observation"]
    expected = np.where(radsat == 1, OBSERVATION["saturated"], np.where(clm == 1, CLOUD, CLEAR))
    np.testing.assert_array_equal(out, expected)


# --- failures ------------------------------------------------------------------------------------------------------


def spoil(path, how):
    """Damage a raster on disk."""
    with path.open("r+b") as file:
        data = file.read()
        file.seek(0)
        if how == "cut in half":
            file.truncate(len(data) // 2)
        elif how == "header":
            file.write(b"\0" * 64)
        elif how == "not a raster":
            file.truncate(0)
            file.write(b"<html>gone</html>")


@pytest.mark.parametrize("how", ["missing", "cut in half", "header", "not a raster", "empty"])
def test_what_cannot_be_read_is_neither_dry_nor_cloud(tmp_path, how, caplog):
    record = item("spoilt", bands={"green": source(tmp_path / "g.tif", numbers(48, 60), FINE)})
    path = tmp_path / "g.tif"
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        spoil(path, how)
    out = read(record, FINE, "green")
    assert (out["observation"] == FAILED).all()
    assert np.isnan(out["green"]).all()
    assert "spoilt" in caplog.text
    assert any(r.levelno == logging.WARNING and r.name == "lakecube.io" for r in caplog.records)


def test_a_corrupt_block_fails_the_blocks_that_need_it_only(tmp_path):
    path = tmp_path / "g.tif"
    record = item(bands={"green": source(path, numbers(48, 60), FINE)})
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    out = read(record, FINE, "green", window=Window(0, 48, 0, 60))
    assert (out["observation"] == FAILED).all()
    out = read(record, FINE, "green", window=Window(32, 48, 0, 60))
    assert (out["observation"] == UNKNOWN_CLOUD).all()


def test_other_items_of_the_day_still_speak_and_only_the_failed_ones_ground_is_failed(tmp_path):
    left, right = grid(48, 36), grid(48, 30, left=LEFT + 300)
    good = item("good", bands={"green": source(tmp_path / "a.tif", numbers(48, 36), left)})
    bad = item("bad", bands={"green": source(tmp_path / "b.tif", numbers(48, 30), right)})
    (tmp_path / "b.tif").unlink()
    for pair in ((good, bad), (bad, good)):
        out = read(pair, grid(50, 70), "green")["observation"]
        assert (out[:48, :36] == UNKNOWN_CLOUD).all()
        assert (out[:48, 36:60] == FAILED).all()
        assert (out[48:] == NOT_ACQUIRED).all()
        assert (out[:, 60:] == NOT_ACQUIRED).all()


def test_a_block_that_changed_on_disk_is_read_again(tmp_path):
    """Numbers are remembered between passes, but never those of another file."""
    path = tmp_path / "g.tif"
    first, second = numbers(48, 60), numbers(48, 60)
    record = item(bands={"green": source(path, first, FINE)})
    np.testing.assert_array_equal(read(record, FINE, "green")["green"], (first * 1e-4).astype(np.float32))
    path.unlink()
    source(path, second, FINE)
    np.testing.assert_array_equal(read(record, FINE, "green")["green"], (second * 1e-4).astype(np.float32))


def test_a_file_replaced_by_one_of_other_tiles_is_read_where_its_pixels_lie(tmp_path):
    path, where = tmp_path / "g.tif", grid(700, 900)
    band = source(path, numbers(700, 900), where)
    for side in (256, 512, 128):
        path.unlink()
        dn = numbers(700, 900)
        write_raster(path, dn, where, blockxsize=side, blockysize=side)
        for window in (Window(0, 20, 0, 20), Window(200, 690, 100, 880), Window(300, 400, 500, 600)):
            out = read(item(bands={"green": band}), where, "green", window=window)["green"]
            expected = (dn[window.y0 : window.y1, window.x0 : window.x1] * 1e-4).astype(np.float32)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("lie", [grid(48, 90), grid(40, 60), grid(48, 60, left=LEFT + 30), grid(48, 60, 20.0)], ids=str)
def test_what_an_honest_item_read_is_no_pixel_of_an_item_that_lies(tmp_path, lie):
    band = source(tmp_path / "g.tif", numbers(48, 60), FINE)
    for _ in range(2):  # so that the tiles are held
        assert (read(item(bands={"green": band}), FINE, "green")["observation"] == UNKNOWN_CLOUD).all()
    out = read(item(bands={"green": replace(band, grid=lie)}), lie, "green")
    assert (out["observation"] == FAILED).all()


def test_a_file_in_another_crs_than_its_item_says_is_not_read(tmp_path, caplog):
    band = source(tmp_path / "g.tif", numbers(48, 60), FINE)
    there = replace(FINE, crs="EPSG:32649")
    out = read(item(bands={"green": replace(band, grid=there)}), there, "green")
    assert (out["observation"] == FAILED).all()
    assert "EPSG:32649" in caplog.text


def test_a_crs_may_be_written_in_other_words(tmp_path):
    """As HLS does: an unknown datum upon the ellipsoid of WGS 84, and southern scenes in the northern zone."""
    wkt = (
        'PROJCS["UTM Zone 48, Northern Hemisphere",GEOGCS["Unknown datum based upon the WGS 84 ellipsoid",'
        'DATUM["Not specified (based on WGS 84 spheroid)",SPHEROID["WGS 84",6378137,298.257223563]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
        'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",105],PARAMETER["scale_factor",0.9996],'
        'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
    )
    dn = numbers(48, 60)
    band = source(tmp_path / "g.tif", dn, replace(FINE, crs=wkt))
    out = read(item(bands={"green": replace(band, grid=FINE)}), FINE, "green")["green"]
    np.testing.assert_array_equal(out, (dn * 1e-4).astype(np.float32))


def test_nodata_that_only_the_file_knows_is_no_land(tmp_path):
    dn = numbers(48, 60)
    dn[:7] = 0
    band = replace(source(tmp_path / "g.tif", dn, FINE), nodata=None)
    for _ in range(3):  # from the file, then from what is held
        out = read(item(bands={"green": band}), FINE, "green")
        assert (out["observation"][:7] == NOT_ACQUIRED).all()
        assert np.isnan(out["green"][:7]).all()
        assert np.isfinite(out["green"][7:]).all()


def test_a_spoilt_local_file_is_tried_twice_within_a_moment_and_the_cause_is_told(tmp_path, caplog, monkeypatch):
    record = item("spoilt", bands={"green": source(tmp_path / "g.tif", numbers(48, 60), FINE)})
    spoil(tmp_path / "g.tif", "cut in half")
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    assert (read(record, FINE, "green", retries=3, backoff=0.5)["observation"] == FAILED).all()
    assert waits == [0.1]
    assert "read failed, try 2 of 2 in 0.1 s: " in caplog.text
    assert "previous exception" not in caplog.text
    assert "g.tif: " in caplog.text


def test_failed_ground_does_not_depend_on_the_window(tmp_path):
    bad = item("bad", bands={"green": source(tmp_path / "b.tif", numbers(30, 30), grid(30, 30, left=LEFT + 100))})
    (tmp_path / "b.tif").unlink()
    assert_same_in_windows(bad, FINE, "green", retries=0)


def test_a_failed_quality_layer_is_a_failed_read_not_a_clear_sky(tmp_path):
    record = scene(tmp_path, "a", numbers(48, 60), np.full((24, 30), 4))
    (tmp_path / "a_q.tif").unlink()
    assert (read(record, FINE, "green")["observation"] == FAILED).all()


@pytest.mark.parametrize("lie", ["shape", "place", "pixel size", "band"])
def test_a_header_that_contradicts_the_item_is_a_failed_read(tmp_path, lie):
    dn = numbers(48, 60)
    truth = {"shape": grid(47, 60), "place": grid(48, 60, left=LEFT + 30), "pixel size": grid(48, 60, 11.0)}.get(
        lie, FINE
    )
    band = source(tmp_path / "g.tif", dn[: truth.shape[0]], truth)
    band = replace(band, grid=FINE, band=2 if lie == "band" else 1)
    out = read(item(bands={"green": band}), FINE, "green")
    assert (out["observation"] == FAILED).all()
    assert np.isnan(out["green"]).all()


def test_metadata_rounded_by_less_than_a_quarter_pixel_are_believed(tmp_path):
    band = replace(source(tmp_path / "g.tif", numbers(48, 60), grid(48, 60, left=LEFT + 1)), grid=FINE)
    assert (read(item(bands={"green": band}), FINE, "green")["observation"] == UNKNOWN_CLOUD).all()


# --- over HTTP -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path):
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def remote(tmp_path, site):
    """A remote item, and what its pixels are."""
    dn = numbers(48, 60)
    band = replace(source(tmp_path / "B03_20200404.tif", dn, FINE), href=f"{site.url}/B03_20200404.tif")
    return item("remote", bands={"green": band}, local=False), (dn * 1e-4).astype(np.float32)


PATH = "/B03_20200404.tif"


def test_reads_byte_ranges_over_http(tmp_path, site):
    big = grid(600, 600)
    band = replace(
        source(tmp_path / "big.tif", numbers(600, 600), big, nodata=0), href=f"{site.url}/big.tif"
    )  # fmt: skip
    out = read(item(bands={"green": band}, local=False), big, "green", window=Window(500, 540, 500, 540))
    assert (out["observation"] == UNKNOWN_CLOUD).all()
    ranges = [r for method, _, r in site.requests if method == "GET"]
    assert ranges
    assert all(r is not None for r in ranges)
    asked = sum(int(b) - int(a) + 1 for a, b in (r.removeprefix("bytes=").split("-") for r in ranges))
    assert asked < (tmp_path / "big.tif").stat().st_size / 2


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_busy_server_is_asked_again(site, remote, code):
    record, expected = remote
    site.failures[PATH] = [code, code]
    out = read(record, FINE, "green", retries=3)
    np.testing.assert_array_equal(out["green"], expected)
    assert not site.failures[PATH]


def test_retries_end(site, remote, caplog):
    record, _ = remote
    site.always[PATH] = 503
    out = read(record, FINE, "green", retries=2)
    assert (out["observation"] == FAILED).all()
    assert "503" in caplog.text
    asked = site.asked(PATH)
    assert 3 <= asked <= 8
    del site.always[PATH]  # and the failure is not remembered
    assert (read(record, FINE, "green")["observation"] == UNKNOWN_CLOUD).all()


def test_a_missing_file_is_not_asked_for_again_and_again(tmp_path, site, remote):
    record, _ = remote
    (tmp_path / PATH[1:]).unlink()
    assert (read(record, FINE, "green", retries=5)["observation"] == FAILED).all()
    assert site.asked(PATH) <= 4


def test_an_answer_cut_short_is_a_failure_then_a_success(site, remote):
    record, expected = remote
    site.cut[PATH] = 700
    assert (read(record, FINE, "green", retries=1)["observation"] == FAILED).all()
    site.cut.clear()
    np.testing.assert_array_equal(read(record, FINE, "green")["green"], expected)


class Signer:
    """Signs every href anew and remembers that it was asked."""

    def __init__(self, key):
        self.key, self.asked = key, []

    def __call__(self, href):
        self.asked.append(href)
        return f"{href}?{self.key}"


@pytest.mark.parametrize("trouble", [None, 503, 404, "cut"])
def test_hrefs_are_signed_just_before_each_read_and_signatures_never_show(site, remote, caplog, trouble):
    record, expected = remote
    caplog.set_level(logging.DEBUG)
    site.key = "sv=1&sig=TOPSECRET"
    sign = Signer(site.key)
    if trouble == "cut":
        site.cut[PATH] = 700
    elif trouble:
        site.always[PATH] = trouble
    where = settings(FINE, "green", sign=sign, retries=1)
    for _ in range(2):
        RAW.clear()
        out = read_block((record,), everything(), where)
    if trouble is None:
        np.testing.assert_array_equal(out["green"], expected)
        assert len(sign.asked) == 2
    else:
        assert (out["observation"] == FAILED).all()
    assert set(sign.asked) == {record.bands["green"].href}
    assert "TOPSECRET" not in caplog.text


@pytest.mark.parametrize("trouble", [ValueError, KeyError, OSError, "none", "path"])
def test_a_signer_that_fails_is_a_file_that_cannot_be_read(remote, caplog, trouble):
    def sign(href):
        if trouble == "none":
            return None
        if trouble == "path":
            return "/vsicurl/" + href
        raise trouble(f"403 for {href}?sig=TOPSECRET and url: /sign?sig=TOPSECRET")

    record, _ = remote
    out = read(record, FINE, "green", sign=sign)
    assert (out["observation"] == FAILED).all()
    assert record.id in caplog.text
    assert PATH in caplog.text
    assert "TOPSECRET" not in caplog.text
    unknown = replace(record, bands={"green": replace(record.bands["green"], grid=None)})
    with pytest.raises(ReadError, match="sign") as caught:
        files.with_header(unknown, sign, QUICK)
    assert "TOPSECRET" not in "".join(traceback.format_exception(caught.value))


def test_each_retry_is_told(site, remote, caplog):
    site.failures[PATH] = [503, 503]
    read(remote[0], FINE, "green", retries=3)
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and r.name == "lakecube.io"]
    assert told
    assert all(f"read failed, try {k} of 4 in 0.0 s: " in m and "503" in m for k, m in enumerate(told, 2))


@pytest.mark.parametrize("trouble", [503, 404, "cut"])
def test_the_error_of_a_signed_file_holds_no_signature(site, remote, trouble):
    record, _ = remote
    site.key = "sig=TOPSECRET"
    if trouble == "cut":
        site.cut[PATH] = 700
    else:
        site.always[PATH] = trouble
    unknown = replace(record, bands={"green": replace(record.bands["green"], grid=None)})
    with pytest.raises(ReadError) as caught:
        files.with_header(unknown, Signer(site.key), QUICK)
    assert "TOPSECRET" not in "".join(traceback.format_exception(caught.value))
    assert PATH in str(caught.value)


def test_an_unsigned_request_is_refused_by_that_server(site, remote):
    site.key = "sig=TOPSECRET"
    assert (read(remote[0], FINE, "green")["observation"] == FAILED).all()


@pytest.mark.parametrize("href", ["file:///etc/passwd", "/etc/passwd", "/vsicurl/http://x/y.tif", "relative.tif"])
def test_a_remote_item_cannot_point_at_this_machine(remote, href):
    with pytest.raises(UnsafeHrefError):
        read(with_href(remote[0], "green", href), FINE, "green")


def test_a_vrt_served_as_tif_reads_no_local_file(tmp_path, site, remote):
    record, _ = remote
    secret = write_raster(tmp_path / "secret" / "own.tif", np.full((48, 60), 4242, "uint16"), FINE)
    (tmp_path / "trap.tif").write_text(
        f'<VRTDataset rasterXSize="60" rasterYSize="48"><SRS>EPSG:32648</SRS><GeoTransform>{LEFT},10,0,{TOP},0,-10'
        f'</GeoTransform><VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{secret}'
        "</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for local in (False, True):  # also where the user's own item names the server
        trap = replace(with_href(record, "green", f"{site.url}/trap.tif"), local=local)
        out = read(trap, FINE, "green")
        assert np.isnan(out["green"]).all()
        assert (out["observation"] == FAILED).all()


def test_headers_fill_in_unknown_grids(tmp_path):
    dn = numbers(48, 60)
    band = replace(source(tmp_path / "g.tif", dn, FINE), grid=None, nodata=None)
    record = files.with_header(item(bands={"green": band}))
    assert record.bands["green"].grid.transform == FINE.transform
    assert record.bands["green"].grid.shape == FINE.shape
    assert record.bands["green"].nodata == 0
