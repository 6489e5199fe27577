"""Superpixels of cubes and arrays, majority fusion and statistics: requests agree, unknown stays unknown, quality."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.color import rgb2lab
from skimage.segmentation import find_boundaries
from skimage.segmentation import slic as skimage_slic

from lakecube import chunked
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels.lab import rgb_to_lab
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.kernels.slic import slic
from lakecube.kernels.slic_quanta import slic_reach
from lakecube.names import LAND, UNKNOWN, WATER
from lakecube.refine.aslic import aslic
from lakecube.refine.crf import refine
from lakecube.refine.majority import CHANGES, majority, superpixel_extent, superpixel_statistics
from lakecube.refine.superpixels import superpixels
from tests.strategies import chunks_of


def image(shape=(90, 96), seed=0, corner=(700000.0, 2900000.0)):
    """Three bands of reflectance on a 10 m lattice, with holes."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.normal(size=(3, *shape)), (0, 3, 3))
    values = (0.15 + 0.08 * ground / ground.std() + rng.normal(0, 0.01, ground.shape)).astype(np.float32)
    values[:, 30:40, 50:53] = np.nan
    coords = {
        "band": ["green", "nir", "swir16"],
        "y": corner[1] - 10 * (np.arange(shape[0]) + 0.5),
        "x": corner[0] + 10 * (np.arange(shape[1]) + 0.5),
    }
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


ANCHOR = chunked.anchor_of(image())


@settings(max_examples=8, deadline=None)
@given(rows=chunks_of(90), columns=chunks_of(96), join=st.booleans())
def test_any_chunks_give_the_same_bits(rows, columns, join):
    whole = slic(image().values, 4, iterations=2, scale=200, offset=-50, anchor=ANCHOR, enforce_connectivity=join)
    for exchange in (True, False):
        cut = image().chunk({"y": rows, "x": columns})
        found = superpixels(cut, step=4, iterations=2, enforce_connectivity=join, exchange=exchange)
        np.testing.assert_array_equal(found.compute(scheduler="threads"), whole)


def test_the_exchange_takes_chunks_from_three_steps_and_several_dates():
    dates = xr.concat([image(), image(seed=1), image(seed=2)], "time").chunk({"time": 2, "y": 25, "x": 31})
    for join in (True, False):
        cut = superpixels(dates, step=5, iterations=6, enforce_connectivity=join, exchange=True)
        assert len(cut.chunks[1]) > 2
        halo = superpixels(dates, step=5, iterations=6, enforce_connectivity=join, exchange=False)
        xr.testing.assert_identical(cut.compute(), halo.compute())


def test_chunks_as_small_as_the_reach_are_kept_and_smaller_ones_merged():
    reach = slic_reach(2, 2)
    kept = superpixels(image().chunk({"y": reach, "x": reach}), step=2, iterations=2, exchange=False)
    assert kept.chunks == ((18, 18, 18, 18, 18), (18, 18, 18, 18, 24))
    merged = superpixels(image().chunk({"y": 7, "x": reach - 1}), step=2, iterations=2, exchange=False)
    assert min(merged.chunks[0]) >= reach
    assert min(merged.chunks[1]) >= reach
    xr.testing.assert_identical(kept.compute(), merged.compute())
    with pytest.raises(InvalidInputError, match="reach"):
        chunked.with_halo(image().chunk({"y": 7, "x": 30}).data, reach)


def test_two_requests_agree_beyond_the_reach():
    whole = image((130, 140))
    reach = slic_reach(3, 3)
    a = superpixels(whole[:, :110, :115], step=3, iterations=3)
    b = superpixels(whole[:, 13:, 22:].chunk({"y": 40, "x": 40}), step=3, iterations=3)
    inside = {"y": slice(13 + reach, 110 - reach), "x": slice(22 + reach, 115 - reach)}
    common = whole.isel(band=0, drop=True)[inside]
    assert common.size > 800
    xr.testing.assert_equal(a.sel(y=common.y, x=common.x), b.sel(y=common.y, x=common.x).compute())


def test_nothing_is_computed_while_building(no_compute):
    lazy = image().chunk({"y": 50, "x": 50})
    labels = superpixels(lazy, step=4, iterations=2)
    mask = (lazy.isel(band=0) > 0.2).astype("uint8")
    assert majority(mask, labels).water_mask.dtype == np.uint8
    assert superpixel_statistics(lazy.isel(band=0), labels)["mean"].dtype == np.float32


def test_arrays_datasets_and_the_kernel_agree(cube):
    array = image()
    plain = superpixels(array.values, step=5, compactness=7)
    expected = slic(array.values, 5, compactness=7, scale=200, offset=-50)
    np.testing.assert_array_equal(plain, expected)
    moved = superpixels(array.drop_vars(["y", "x"]), step=5, compactness=7)
    np.testing.assert_array_equal(moved, expected)
    one = superpixels(array.isel(band=0, drop=True), step=5)
    np.testing.assert_array_equal(one, superpixels(array[:1], step=5))
    dated = superpixels(cube, step=5)
    assert dated.dims == ("time", "y", "x")
    np.testing.assert_array_equal(dated[1], cube.isel(time=1).water.superpixels(step=5))
    np.testing.assert_array_equal(dated, superpixels(cube, step=5, bands=["green", "nir", "swir16"]))
    assert (dated.values[~IS_JUDGED[cube.observation.values]] == -1).all()
    assert (dated.values >= 0).any()


def test_masks_and_numbers_of_segments():
    array = image()
    part = xr.zeros_like(array[0], bool)
    part[:, :48] = True
    labels = superpixels(array, step=4, mask=part)
    assert (labels[:, 48:] == -1).all()
    assert (labels[:, :48].values >= 0).sum() == 90 * 48
    assert superpixels(array, n_segments=90 * 96 // 64).attrs["step"] == 8


def test_cielab_is_that_of_scikit_image():
    rgb = np.random.default_rng(0).random((3, 40, 50)).astype(np.float32)
    rgb[:, 0] = 0
    rgb[:, 1] = 1
    expected = rgb2lab(rgb, channel_axis=0)
    assert np.abs(rgb_to_lab(*rgb) - expected).max() < 0.1
    assert np.abs(rgb_to_lab(*(rgb / 2), 2.0) - expected).max() < 0.1
    rgb[1, 5, 5] = np.nan
    assert np.isnan(rgb_to_lab(*rgb)[:, 5, 5]).all()


def test_cielab_features_are_those_of_three_bands_in_their_order():
    values = np.clip(image().values, 0.0, 1.0)
    rgb = xr.Dataset({n: (("y", "x"), v) for n, v in zip(("blue", "red", "green"), values, strict=True)})
    lab = rgb_to_lab(values[1], values[2], values[0], 2.0)
    expected = slic(lab, 5, compactness=6, offset=(-50.0, 0.0, 0.0))
    np.testing.assert_array_equal(superpixels(rgb, step=5, compactness=6, colour="cielab", scale=2.0), expected)


# --- majority and statistics ---------------------------------------------------------------------------------------


def naive_majority(mask, labels, share):
    out, change = mask.copy(), np.zeros_like(mask)
    for name in np.unique(labels[labels >= 0]):
        here = (labels == name) & (mask <= 1)
        wet, n = int(mask[here].sum()), int(here.sum())
        if wet > share * n:
            out[here] = WATER
        elif n - wet > share * n:
            out[here] = LAND
        else:
            change[here] = CHANGES["undecided"]
    change[(out == WATER) & (mask == LAND)] = CHANGES["became_water"]
    change[(out == LAND) & (mask == WATER)] = CHANGES["became_land"]
    return out, change


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("chunks", [None, {"y": 40, "x": 48}, {"y": (1, 50, 39), "x": 37}])
def test_majority_against_its_definition(share, chunks):
    array = image()
    labels = superpixels(array, step=4, iterations=3).compute()
    rng = np.random.default_rng(2)
    mask = (array[0] > 0.15).astype("uint8").reset_coords(drop=True)
    mask.values[rng.random(mask.shape) < 0.1] = UNKNOWN
    before = mask.copy(deep=True)
    lazy = (mask, labels) if chunks is None else (mask.chunk(chunks), labels.chunk(chunks))
    found = majority(*lazy, share=share).compute()
    expected = naive_majority(mask.values, labels.values, share)
    np.testing.assert_array_equal(found.water_mask, expected[0])
    np.testing.assert_array_equal(found.majority_change, expected[1])
    assert set(np.unique(expected[1])) == set(CHANGES.values())
    np.testing.assert_array_equal(found.water_mask == UNKNOWN, mask == UNKNOWN)
    xr.testing.assert_identical(mask, before)


@pytest.mark.parametrize("seed", range(3))
def test_no_superpixel_extends_beyond_what_majority_looks_for(seed):
    noise = np.random.default_rng(seed).normal(0, 40, (1, 80, 90)).astype(np.float32)
    labels = slic(noise, 6, compactness=1 + 20 * seed, iterations=3)
    for name in np.unique(labels):
        assert max(np.ptp(v) for v in np.nonzero(labels == name)) < superpixel_extent(6)


def test_a_superpixel_as_wide_as_they_come_is_seen_whole_from_every_chunk():
    labels = xr.DataArray(np.full((1, 39), -1, np.int64), dims=("y", "x"), attrs={"step": 2})
    mask = xr.zeros_like(labels).astype(np.uint8)
    first = 13  # the last column of the first chunk; 14 columns of it on the other side
    labels[0, first : first + superpixel_extent(2)] = 5
    mask[0, first + 6 : first + superpixel_extent(2)] = 1
    whole = majority(mask, labels).compute()
    assert (whole.water_mask[0, first:20] == 1).all()
    for chunks in ((14, 25), (25, 14)):
        cut = {"x": chunks}
        xr.testing.assert_identical(majority(mask.chunk(cut), labels.chunk(cut)).compute(), whole)


def test_statistics_against_numpy():
    array = image()
    labels = superpixels(array.isel(band=[2]), step=5, iterations=3).compute()
    values = array[0].copy()
    values.values[3:9, 10:60] = np.nan
    found = superpixel_statistics(values.chunk({"y": 45, "x": 60}), labels.chunk({"y": 30, "x": 96})).compute()
    for name in np.unique(labels)[::7]:
        here = (labels == name).values
        known = values.values[here & np.isfinite(values.values)]
        got = found.isel(y=np.nonzero(here)[0][0], x=np.nonzero(here)[1][0])
        if name < 0:
            assert got["count"] == 0
            continue
        assert got["count"] == here.sum()
        np.testing.assert_allclose(got["fraction"], known.size / here.sum(), rtol=1e-6)
        np.testing.assert_allclose(got["mean"], known.mean(dtype=float) if known.size else np.nan, rtol=1e-6)


def test_a_mask_of_many_dates_takes_regions_without_a_step():
    mask = xr.DataArray(np.array([[[0, 1, 1, 255]], [[0, 0, 1, 1]]], np.uint8), dims=("time", "y", "x"))
    regions = xr.DataArray(np.array([[7, 7, 7, 7]], np.int64), dims=("y", "x"))
    found = majority(mask.chunk({"x": 2}), regions)
    with dask.config.set(scheduler="synchronous"):
        assert found.water_mask.values.tolist() == [[[1, 1, 1, 255]], [[0, 0, 1, 1]]]
        assert found.majority_change.values.tolist() == [[[1, 0, 0, 0]], [[3, 3, 3, 3]]]
        shares = superpixel_statistics(mask, regions)
        np.testing.assert_allclose(shares["mean"][:, 0, 0], [2 / 3, 0.5], rtol=1e-6)


# --- quality -------------------------------------------------------------------------------------------------------


def quality(labels, truth):
    """Share of the true border within 2 px of a superpixel's, and pixels of superpixels that leak over it."""
    border = find_boundaries(truth, mode="thick")
    number = np.unique(labels, return_inverse=True)[1]  # SciPy's filters see ids as float64, which cannot hold them
    recall = binary_dilation(find_boundaries(number.reshape(truth.shape)), iterations=2)[border].mean()
    number = number.ravel()
    wet, size = np.bincount(number, truth.ravel()), np.bincount(number)
    return recall, np.minimum(wet, size - wet).sum() / truth.size


@pytest.mark.parametrize("seed", range(4))
def test_as_good_as_scikit_image(seed):
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.normal(size=(256, 256)), 14) > 0.01
    colours = np.array([[30, 5, -10], [45, -5, 10]], np.float32)
    lab = np.moveaxis(colours[truth.astype(int)], -1, 0) + rng.normal(0, 5, (3, 256, 256))
    lab = gaussian_filter(lab, (0, 0.8, 0.8)).astype(np.float32)
    ours = quality(slic(lab, 16, compactness=10), truth)
    last = np.moveaxis(lab, 0, -1)
    same = 10 / np.ptp(lab)  # scikit-image scales an image by its own range
    theirs = quality(skimage_slic(last, 256, compactness=same, convert2lab=False, channel_axis=-1), truth)
    assert ours[0] >= theirs[0] - 0.01
    assert ours[1] <= theirs[1] * 1.05 + 1e-3


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"step": 1}, "step"),
        ({"step": 4, "n_segments": 9}, "not both"),
        ({"n_segments": 0}, "n_segments"),
        ({"iterations": 0}, "iterations"),
        ({"compactness": -1}, "compactness"),
        ({"colour": "hsv"}, "cielab"),
        ({"colour": "cielab", "bands": ["nir"]}, "three bands"),
        ({"n_segments": "many"}, "n_segments"),
        ({"step": float("nan")}, "step"),
        ({"iterations": float("inf")}, "iterations"),
        ({"compactness": "10"}, "compactness"),
        ({"scale": 0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"mask": np.ones((90, 95), bool)}, "not on the same pixels"),
        ({"mask": np.ones((90, 96))}, "boolean"),
        ({"mask": image().isnull().any("band").assign_coords(y=np.arange(90.0))}, "not on the same pixels"),
        ({"mask": xr.DataArray(np.ones((90, 96), bool), dims=("lat", "lon"))}, "dims"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(InvalidInputError, match=match):
        superpixels(image(), **options)


def test_refuses_bands_and_dims_that_are_not_there(cube):
    with pytest.raises(MissingBandError, match="rededge9"):
        superpixels(cube, bands=["rededge9"])
    with pytest.raises(InvalidInputError, match="dims"):
        superpixels(xr.DataArray(np.zeros(3), dims="x"))
    labels = superpixels(cube, step=4)
    with pytest.raises(InvalidInputError, match="share"):
        majority(cube.observation, labels, share=0.2)
    with pytest.raises(InvalidInputError, match="uint8"):
        majority(cube.green, labels)
    with pytest.raises(InvalidInputError, match="int64"):
        majority(cube.observation, labels.astype("int32"))
    with pytest.raises(InvalidInputError, match="pixels"):
        majority(cube.observation, labels.isel(y=slice(3)))


def test_grey_levels_have_a_scale_of_their_own_and_other_integers_none():
    grey = (255 * image().fillna(0)).astype(np.uint8)
    for options in ({}, {"colour": "cielab", "bands": ["swir16", "nir", "green"]}):
        found = superpixels(grey, step=8, **options)
        scale = found.attrs["scale"]
        xr.testing.assert_identical(found, superpixels(grey.astype("f4"), step=8, scale=scale, **options))
        assert scale == (1 / 255 if options else 100 / 255)
    with pytest.raises(InvalidInputError, match=r"band green is uint16.*0\.02"):
        superpixels(grey.astype(np.uint16))
    with pytest.warns(UserWarning, match="most of green is above 2.0"):
        superpixels(grey[:1].astype("f4") + 100)


def test_numpy_arrays_and_masks():
    values = image().values
    mask = np.random.default_rng(1).random(values.shape[1:]) > 0.1
    found = superpixels(values, step=8, mask=mask)
    np.testing.assert_array_equal(found, slic(values, 8, scale=200, offset=-50, mask=mask))
    for wrong, match in ((np.moveaxis(values, 0, -1), "moveaxis"), (values.tolist(), "list"),
                         (values.astype(complex), "numbers"), (values[None], "dims")):  # fmt: skip
        with pytest.raises(InvalidInputError, match=match):
            superpixels(wrong)
    with pytest.raises(MissingBandError, match="no band at all"):
        superpixels(values[:0])
    with pytest.raises(InvalidInputError, match="called a"):
        superpixels(image().assign_coords(band=["a", "a", "b"]))
    assert superpixels(image(), bands="nir", step=8).attrs["bands"] == "nir"


@pytest.mark.filterwarnings("ignore:most of")
def test_numbers_that_float32_cannot_hold_are_clipped():
    huge = image().astype("f8") * 1e300
    assert (superpixels(huge, step=8) >= 0).sum() == huge.notnull().all("band").sum()


@pytest.mark.parametrize("corner", [(2**30 - 300, -(2**30) + 300), (-(2**30) + 300, 2**30 - 300)])
def test_coordinates_as_far_as_ids_reach_and_not_farther(corner):
    far = image(corner=(10.0 * corner[1], -10.0 * corner[0]))
    found = superpixels(far.chunk({"y": 33, "x": 41}), step=2, iterations=2).values
    np.testing.assert_array_equal(found, slic(far.values, 2, iterations=2, scale=200, offset=-50, anchor=corner))
    assert (found[~far.isnull().any("band").values] >= 0).all()
    with pytest.raises(InvalidInputError, match="pixels from their origin"):
        superpixels(image(corner=(20.0 * corner[1], -20.0 * corner[0])))


@pytest.mark.parametrize("nothing", [{"time": slice(0)}, {"y": slice(0)}, {"x": slice(0)}], ids=str)
def test_an_empty_selection_is_told_by_everything(cube, nothing):
    labels, mask = superpixels(cube, step=8), (cube["green"] > cube["nir"]).astype("u1")
    none = cube.isel(nothing)
    for call in (lambda: superpixels(none), lambda: aslic(none), lambda: refine(mask.isel(nothing), none),
                 lambda: majority(mask.isel(nothing), labels.isel(nothing))):  # fmt: skip
        with pytest.raises(InvalidInputError, match=f"nothing along {next(iter(nothing))}"):
            call()
