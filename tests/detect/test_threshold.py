"""Thresholds per date: oracles, dates without data, sampling, given values, refusals."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

import lakecube
from lakecube import chunked
from lakecube.detect.indices import index
from lakecube.detect.threshold import SAMPLE_TILES, is_sampled, stride_of, threshold
from lakecube.errors import InvalidInputError, MissingBandError
from lakecube.kernels import histogram
from lakecube.kernels.histogram import N_BINS, RANGES, ThresholdParams
from lakecube.names import OBSERVATION, THRESHOLD_SOURCE
from lakecube.synthetic.archive import make_archive
from lakecube.synthetic.cube import sentinel2_cube

CODES = {code: name for name, code in THRESHOLD_SOURCE.items()}


@pytest.fixture(scope="module")
def clear():
    return sentinel2_cube((64, 64), 3, seed=2)


def sources(out, name="mndwi"):
    return [CODES[int(v)] for v in out["threshold_source"].sel(index=name).values]


def test_plain_otsu_is_that_of_scikit_image_on_the_declared_bins(clear):
    out = threshold(clear, "otsu").compute()
    for i, name in enumerate(("mndwi", "awei_sh")):
        low, high = RANGES[i]
        for date in range(3):
            values = index(clear, name).values[date]
            usable = np.isfinite(values) & (clear.observation.values[date] == OBSERVATION["clear"])
            counts, edges = np.histogram(np.clip(values[usable], low, high), N_BINS, (low, high))
            expected = threshold_otsu(hist=(counts, (edges[:-1] + edges[1:]) / 2))
            width = (high - low) / N_BINS
            assert abs(float(out["threshold"][date, i]) - expected) <= width
        assert sources(out, name) == ["otsu"] * 3


def test_hidden_pixels_have_no_say(clear):
    """Whatever is written under cloud, the thresholds stay."""
    hidden = clear.copy(deep=True)
    hidden["observation"][:, 10:30] = OBSERVATION["cloud"]
    changed = hidden.copy(deep=True)
    for band in ("green", "swir16"):
        changed[band][:, 10:30] = np.float32(0.9)
    for method in ("otsu", "guarded"):
        np.testing.assert_array_equal(threshold(hidden, method)["threshold"], threshold(changed, method)["threshold"])


def test_a_date_on_which_nothing_was_seen_has_no_data(clear):
    cube = clear.copy(deep=True)
    cube["observation"][1] = OBSERVATION["cloud"]
    for method in ("guarded", "otsu", "bimodal_tiles"):
        out = threshold(cube, method).compute()
        assert sources(out)[1] == "no_data"
        assert "no_data" not in (sources(out)[0], sources(out)[2])
        alone = threshold(clear, method).compute()
        np.testing.assert_array_equal(out["threshold"][[0, 2]], alone["threshold"][[0, 2]])


def test_given_values_are_taken_as_they_are(clear):
    out = threshold(clear, {"mndwi": 0.25, "awei_sh": -0.03}).compute()
    np.testing.assert_array_equal(out["threshold"], np.tile(np.float32([0.25, -0.03]), (3, 1)))
    assert sources(out) == ["given"] * 3
    partly = threshold(clear, {"mndwi": 0.25}).compute()
    np.testing.assert_array_equal(partly["threshold"][0], np.float32([0.25, ThresholdParams().fixed[1]]))


def test_fixed_and_its_value(clear):
    out = threshold(clear, "fixed", fixed=(0.15, 0.01)).compute()
    np.testing.assert_array_equal(out["threshold"][0], np.float32([0.15, 0.01]))
    assert sources(out) == ["fixed"] * 3


def test_guarded_stays_within_its_bounds_and_says_who_spoke(clear):
    out = threshold(clear, "guarded", min_pixels=64).compute()
    params = ThresholdParams()
    for i in range(2):
        values = out["threshold"][:, i]
        assert (values >= np.float32(params.lower[i])).all()
        assert (values <= np.float32(params.upper[i])).all()
    assert set(sources(out)) <= set(THRESHOLD_SOURCE) - {"otsu", "given", "no_data"}


def test_the_stride_depends_on_the_size_alone(clear):
    assert stride_of(clear, None) == 1
    assert stride_of(clear, 64) == 1
    assert stride_of(clear.chunk({"y": 7}), 1) == stride_of(clear, 1)
    with pytest.raises(InvalidInputError, match="sample"):
        stride_of(clear, 0)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7, 16])
def test_one_tile_in_stride_is_counted_and_they_are_spread(stride):
    ty, tx = np.mgrid[-30:30, -30:30]
    counted = is_sampled(ty, tx, stride)
    assert counted.mean() == pytest.approx(1 / stride, rel=0.15)
    side = 2 * stride
    windows = np.lib.stride_tricks.sliding_window_view(counted, (side, side))
    assert windows.any((2, 3)).all()


def test_bad_parameters_are_named(clear):
    for wrong, match in (
        (("otzu",), "otzu"), (({"ndwi": 0.1},), "mndwi"), (({},), "mndwi"), (({"mndwi": "high"},), "threshold"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=match):
            threshold(clear, *wrong)
    with pytest.raises(InvalidInputError, match="min_pixles"):
        threshold(clear, "guarded", min_pixles=3)
    with pytest.raises(InvalidInputError, match="weight"):
        threshold(clear, "guarded", weight=7)
    with pytest.raises(MissingBandError, match=r"swir16.*linknet50"):
        threshold(clear.drop_vars("swir16"))


def test_without_the_bands_of_awei_mndwi_has_a_threshold_still(clear):
    some = threshold(clear[["green", "swir16", "observation"]], "otsu").compute()
    all_ = threshold(clear, "otsu").compute()
    assert np.isfinite(some["threshold"][:, 0]).all()
    assert abs(some["threshold"][:, 0] - all_["threshold"][:, 0]).max() < 0.05


@pytest.mark.parametrize("shape", [(100, 1), (1, 100), (500, 1), (43, 43), (7, 90), (2, 33)])
def test_every_request_has_a_sample_wherever_it_lies(shape):
    rows, columns = shape
    stride = -(-rows * columns // SAMPLE_TILES)
    for top in range(0, 3 * stride, max(1, stride // 5)):
        ty, tx = np.mgrid[top : top + rows, -3 * top : -3 * top + columns]
        assert 0 < is_sampled(ty, tx, stride).sum() <= 2 * SAMPLE_TILES


def test_the_sample_is_anchored_to_the_lattice_and_not_to_the_chunks(monkeypatch, tmp_path):
    monkeypatch.setattr(histogram, "TILE", 16)
    made = make_archive(tmp_path, shape=(150, 130), dates=["2022-03-01", "2022-07-09"], clouds=0, seed=7)
    found = {}
    for chunks in (150, 47, 33):
        cube = lakecube.open(made.items_path, chunks=chunks)
        files = threshold(cube, "otsu", sample=9)
        arrays = threshold(cube.chunk({"y": chunks + 5}), "otsu", sample=9)
        np.testing.assert_array_equal(files.threshold, arrays.threshold)
        found[chunks] = files.threshold.values
    np.testing.assert_array_equal(found[150], found[47])
    np.testing.assert_array_equal(found[150], found[33])
    assert not np.array_equal(found[150], threshold(cube, "otsu", sample=None).threshold)
    moved = lakecube.open(made.items_path).isel(x=slice(5, None), y=slice(3, None))
    assert chunked.anchor_of(moved) == tuple(a + b for a, b in zip(chunked.anchor_of(cube), (3, 5), strict=True))
