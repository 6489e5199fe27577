import numpy as np
import pytest

from lakecube.kernels import indices
from lakecube.kernels.indices import CATALOGUE, normalized_difference

WATER = {"blue": 0.06, "green": 0.08, "red": 0.04, "rededge1": 0.03, "nir": 0.02, "swir16": 0.01, "swir22": 0.005}


def one(name, **bands):
    return float(CATALOGUE[name]({k: np.float32([v]) for k, v in (WATER | bands).items()})[0])


@pytest.mark.parametrize(("name", "expected"), [
    ("ndwi", 0.06 / 0.10), ("mndwi", 0.07 / 0.09), ("ndvi", -0.02 / 0.06), ("ndbi", -0.01 / 0.03),
    ("ndrei", -0.01 / 0.05), ("lswi", 0.01 / 0.03),
    ("awei_sh", 0.06 + 0.2 - 1.5 * 0.03 - 0.00125),
    ("awei_nsh", 4 * 0.07 - (0.005 + 0.01375)),
    ("wi2015", 1.7204 + 13.68 + 0.12 - 1.4 - 0.45 - 0.355),
    ("mbwi", 0.16 - 0.04 - 0.02 - 0.01 - 0.005),
    ("muwi_r", -4 * (-0.02 / 0.14) + 2 * 0.6 + 2 * (0.075 / 0.085) - 0.07 / 0.09),
    ("wri", 0.12 / 0.03), ("andwi", (0.18 - 0.035) / 0.215),
    ("tcw", 0.0315 * 0.06 + 0.2021 * 0.08 + 0.3102 * 0.04 + 0.1594 * 0.02 - 0.6806 * 0.01 - 0.6109 * 0.005),
])  # fmt: skip
def test_by_hand(name, expected):
    assert one(name) == pytest.approx(expected, rel=1e-5)


def test_every_index_of_the_catalogue_is_tested_by_hand():
    tested = {case[0] for case in test_by_hand.pytestmark[0].args[1]}
    assert tested == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_dtype_shape_nan_and_inputs(name):
    spec, rng = CATALOGUE[name], np.random.default_rng(0)
    bands = {k: rng.random((5, 7)).astype(np.float32) for k in spec.bands}
    for k, band in enumerate(bands.values()):
        band[k // 3, k % 3] = np.nan
    before = {k: v.copy() for k, v in bands.items()}
    got = spec(bands)
    assert got.dtype == np.float32
    assert got.shape == (5, 7)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(np.stack(list(bands.values()))).any(0))
    for k, v in before.items():
        np.testing.assert_array_equal(bands[k], v)
    np.testing.assert_array_equal(spec({k: v[::-1, ::-1] for k, v in bands.items()}), got[::-1, ::-1])
    np.testing.assert_array_equal(spec({k: v[2:, 3:] for k, v in bands.items()}), got[2:, 3:])


@pytest.mark.parametrize("name", CATALOGUE)
def test_formula_is_what_is_computed(name):
    spec, rng = CATALOGUE[name], np.random.default_rng(1)
    bands = {k: rng.random(50).astype(np.float32) for k in spec.bands}
    expected = eval(spec.formula, {}, {k: v.astype(np.float64) for k, v in bands.items()})
    np.testing.assert_allclose(spec(bands), expected, rtol=2e-4, atol=2e-5)


def test_zero_denominator_is_nan():
    zero = np.zeros(3, np.float32)
    assert np.isnan(normalized_difference(zero, zero)).all()
    assert np.isnan(indices.wri(zero, zero, zero, zero)).all()
    assert np.isnan(normalized_difference(np.float32([0.1]), np.float32([-0.1]))).all()


def test_normalized_difference_equals_numpy_and_is_scale_free():
    a, b = np.random.default_rng(2).random((2, 64, 65)).astype(np.float32)
    np.testing.assert_array_equal(normalized_difference(a, b), (a - b) / (a + b))
    np.testing.assert_array_equal(normalized_difference(4 * a, 4 * b), normalized_difference(a, b))
    np.testing.assert_array_equal(normalized_difference(b, a), -normalized_difference(a, b))


def test_refuses():
    with pytest.raises(ValueError, match="one shape"):
        normalized_difference(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="missing: \\['swir16'\\]"):
        CATALOGUE["mndwi"]({"green": np.zeros(3)})


def test_a_sum_below_zero_is_undefined_and_never_flips_the_sign():
    dark = np.float32([-0.02, 0.01, -0.03])
    darker = np.float32([0.01, -0.02, -0.01])
    assert np.isnan(indices.mndwi(dark, darker)).all()
