"""Measures, estimates and sample sizes against published numbers, scikit-learn, SciPy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lakecube.accuracy.allocation import allocate, sample_size
from lakecube.accuracy.estimate import estimate_area, estimate_stratified
from lakecube.accuracy.measures import Confusion, wilson
from lakecube.errors import InvalidInputError

# Olofsson et al. 2014, section 5: the sample's error matrix and the pixels of each class in the map.
CLASSES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
MATRIX = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]
HECTARES = 0.09


def test_the_worked_example_of_olofsson():
    found = estimate_area(MATRIX, np.array(PIXELS) * HECTARES, classes=CLASSES)
    table = found.table
    half = (table.area_high - table.area_low) / 2
    published = {"deforestation": (21_158, 6_158), "forest gain": (11_686, 3_756),
                 "stable forest": (285_770, 15_510), "stable non-forest": (581_386, 16_282)}  # fmt: skip
    for name, (area, margin) in published.items():
        assert table.area[name] == pytest.approx(area, abs=1)
        assert half[name] == pytest.approx(margin, rel=2e-3)
    np.testing.assert_allclose(table.users_accuracy, (0.88, 0.73, 0.93, 0.96), atol=0.0051)
    np.testing.assert_allclose(1.96 * table.users_accuracy_error, (0.07, 0.10, 0.04, 0.02), atol=0.0051)
    np.testing.assert_allclose(table.producers_accuracy, (0.75, 0.85, 0.93, 0.96), atol=0.0051)
    assert found.overall_accuracy[0] == pytest.approx(0.95, abs=0.005)
    assert 1.96 * found.overall_accuracy[1] == pytest.approx(0.02, abs=0.005)
    assert table.area.sum() == pytest.approx(sum(PIXELS) * HECTARES)


def test_the_sample_size_of_olofsson_and_of_the_paper():
    """641 points for a standard error of 0.01; and 1,703 are enough for 3 % at 95 % confidence, 1,068 being needed."""
    z = stats.norm.ppf(0.975)
    assert sample_size(0.01 * z, weights=PIXELS, expected=[0.7, 0.6, 0.9, 0.95]) == 641
    assert sample_size(0.03) == math.ceil(z**2 * 0.25 / 0.03**2) == 1068
    assert sample_size(0.0237) > 1703 > sample_size(0.0238)


def test_the_formulas_of_olofsson_term_by_term():
    """The general estimator of Stehman is Olofsson's where the strata are the classes."""
    matrix, areas = np.array(MATRIX, float), np.array(PIXELS, float)
    n, w = matrix.sum(1), areas / areas.sum()
    p = matrix / n[:, None]
    found = estimate_area(matrix, areas).table
    for k in range(4):
        error = math.sqrt((w**2 * p[:, k] * (1 - p[:, k]) / (n - 1)).sum()) * areas.sum()
        assert found.area_error[k] == pytest.approx(error)
        user = p[k, k]
        assert found.users_accuracy_error[k] == pytest.approx(math.sqrt(user * (1 - user) / (n[k] - 1)))
        total = (areas * p[:, k]).sum()
        producer = areas[k] * user / total
        other = [i for i in range(4) if i != k]
        variance = areas[k] ** 2 * (1 - producer) ** 2 * user * (1 - user) / (n[k] - 1)
        variance += producer**2 * sum(areas[i] ** 2 * p[i, k] * (1 - p[i, k]) / (n[i] - 1) for i in other)
        assert found.producers_accuracy_error[k] == pytest.approx(math.sqrt(variance) / total)


def test_intervals_cover_what_they_promise():
    """Strata that are not the classes: in 400 simulated samples 95 % intervals hold the true area 95 % of the time."""
    rng = np.random.default_rng(4)
    areas = np.array([500.0, 60.0, 40.0])
    chance = np.array([[0.96, 0.0, 0.04, 0.0], [0.1, 0.1, 0.2, 0.6], [0.0, 0.06, 0.01, 0.93]])
    truth = areas @ (chance[:, 1] + chance[:, 3])
    inside = 0
    for _ in range(400):
        counts = np.stack([rng.multinomial(n, p) for n, p in zip((150, 100, 60), chance, strict=True)])
        found = estimate_stratified(counts.reshape(3, 2, 2), areas, classes=["land", "water"]).table
        inside += found.area_low["water"] <= truth <= found.area_high["water"]
    assert 0.92 <= inside / 400 <= 0.98


def test_measures_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, mapped = rng.random(900) < 0.3, None
    mapped = np.where(rng.random(900) < 0.15, ~truth, truth)
    found = Confusion(
        int((mapped & truth).sum()), int((mapped & ~truth).sum()), int((~mapped & truth).sum()),
        int((~mapped & ~truth).sum()),
    ).measures()  # fmt: skip
    expected = {
        "overall_accuracy": metrics.accuracy_score, "precision": metrics.precision_score,
        "recall": metrics.recall_score, "f1": metrics.f1_score, "iou": metrics.jaccard_score,
        "kappa": metrics.cohen_kappa_score,
    }  # fmt: skip
    for name, score in expected.items():
        assert found[name] == pytest.approx(score(truth, mapped)), name
    assert found["users_accuracy_land"] == pytest.approx(metrics.precision_score(~truth, ~mapped))
    assert found["producers_accuracy_land"] == pytest.approx(metrics.recall_score(~truth, ~mapped))


def test_intervals_of_shares_and_kappa():
    low, high = wilson(1637, 1703)
    expected = stats.binomtest(1637, 1703).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high))
    rng = np.random.default_rng(1)
    shares = np.array([0.25, 0.05, 0.1, 0.6])
    kappas = [Confusion(*rng.multinomial(400, shares)).measures()["kappa"] for _ in range(2000)]
    low, high = Confusion(*(400 * shares)).intervals()["kappa"]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(kappas), rel=0.06)
    f1 = Confusion(*(400 * shares)).intervals()["f1"]
    inside = [f1[0] <= Confusion(*rng.multinomial(400, shares)).measures()["f1"] <= f1[1] for _ in range(1000)]
    assert 0.92 < np.mean(inside) < 0.98


def test_nothing_to_compare_is_nan_and_not_zero():
    nothing = Confusion(0, 0, 0, 0)
    assert all(math.isnan(v) for v in nothing.measures().values())
    assert all(math.isnan(v) for pair in nothing.intervals().values() for v in pair)
    dry = Confusion(0, 0, 0, 50).measures()
    assert math.isnan(dry["iou"]) and math.isnan(dry["kappa"]) and dry["overall_accuracy"] == 1


@pytest.mark.parametrize("how", ["proportional", "equal", "neyman"])
@pytest.mark.parametrize("seed", range(4))
def test_points_are_shared_out_whole(how, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random(6) ** 4
    weights[2] = 0
    out = allocate(700, weights, how=how, least=20, expected=rng.uniform(0.6, 0.99, 6))
    assert out.sum() == 700 and out[2] == 0 and (out[weights > 0] >= 20).all()
    free = allocate(700, weights, how=how, least=0, expected=0.7)
    if how != "equal":
        np.testing.assert_allclose(free, 700 * weights / weights.sum(), atol=1)
    else:
        np.testing.assert_array_equal(free[weights > 0], 140)


def test_the_least_may_ask_for_more_than_there_is():
    np.testing.assert_array_equal(allocate(30, [0.9, 0.1], least=50), [50, 50])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate_area([[1, 2]], [1]), "square"),
        (lambda: estimate_area([[1, 0], [5, 9]], [1, 2], classes=["water", "land"]), "water has 1"),
        (lambda: estimate_area([[5, 0], [5, 9]], [1, -2]), "areas"),
        (lambda: estimate_area([[5, -1], [5, 9]], [1, 2]), "counts"),
        (lambda: estimate_stratified(np.ones((2, 2, 2)), [1, 2, 3], classes=["a", "b"]), "shape"),
        (lambda: sample_size(0), "margin"),
        (lambda: sample_size(0.1, confidence=95), "confidence"),
        (lambda: sample_size(0.1, expected=95), "0 to 1"),
        (lambda: allocate(10, [0, 0]), "weights"),
        (lambda: allocate(10, [1], how="best"), "proportional"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
