"""A-SLIC: hue, saturation and intensity, affinity propagation against scikit-learn, assignment against a plain one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.cluster import AffinityPropagation

from lakecube.kernels.affinity import break_ties, centres
from lakecube.kernels.aslic import Settings, aslic, region_index, similarities
from lakecube.kernels.hsi import to_hsi


def picture(shape, seed=0):
    """Three bands of reflectance, patches that differ in hue and saturation."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.normal(size=(3, *shape)), (0, 3, 3))
    return np.clip(0.3 + 0.1 * ground / ground.std(), 0.01, 1).astype(np.float32)


def formula(red, green, blue):
    """Equations of section 2.3.1, in float64 and degrees."""
    r, g, b = (v.astype(float) for v in (red, green, blue))
    cosine = ((r - g) + (r - b)) / 2 / np.sqrt((r - g) ** 2 + (r - b) * (g - b))
    theta = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    hue = np.where(b <= g, theta, 360 - theta)
    return hue, 1 - 3 * np.minimum(np.minimum(r, g), b) / (r + g + b), (r + g + b) / 3


def test_hue_saturation_and_intensity_are_those_of_the_paper():
    image = picture((40, 50))
    hue, saturation, intensity = formula(*image)
    found = to_hsi(*image).astype(float)
    turn = np.abs(found[0] * 360 / 4096 - hue)
    assert np.minimum(turn, 360 - turn).max() < 0.4
    assert np.median(np.minimum(turn, 360 - turn)) < 0.05
    np.testing.assert_allclose(found[1] / 4096, saturation, atol=1.3e-4)
    np.testing.assert_allclose(found[2] / 4096, intensity, atol=1.3e-4)


def test_pure_colours_grey_and_nan():
    red, green, blue = np.array([[1, 0, 0, 0.5, 0, np.nan, 1], [0, 1, 0, 0.5, 0, 1, 0], [0, 0, 1, 0.5, 0, 1, 1]])
    hue, saturation, intensity = to_hsi(*(v[np.newaxis].astype(np.float32) for v in (red, green, blue)))[:, 0]
    np.testing.assert_allclose(hue, [0, 1365, 2731, 0, 0, -1, 3413], atol=1)
    np.testing.assert_array_equal(saturation[:5], [4096, 4096, 4096, 0, 0])
    np.testing.assert_array_equal(intensity[:5], [1365, 1365, 1365, 2048, 0])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("price", [0.01, 0.05])
def test_centres_are_those_of_scikit_learn(seed, price):
    hsi = to_hsi(*picture((8, 9), seed))
    y, x = np.indices(hsi.shape[1:])
    points = np.stack([*hsi, y, x], -1).reshape(-1, 5).astype(np.int32)
    given = similarities(points, len(points), 0.2, 8, price, seed % 2 == 1)
    model = AffinityPropagation(affinity="precomputed", preference=np.diag(given).copy(), damping=0.7, random_state=0)
    expected = np.sort(model.fit(given).cluster_centers_indices_)
    assert len(expected) > 1
    np.testing.assert_array_equal(centres(given, 0.7, 200), expected)


def test_no_two_similarities_stay_alike():
    similarity = np.full((9, 9), -3.0)
    break_ties(similarity)
    assert len(np.unique(similarity)) == 81
    assert np.abs(similarity + 3).max() < 3 * 2.0**-29


def test_alike_points_share_one_centre_and_dear_centres_are_few():
    points = np.zeros((25, 5), np.int32)
    points[:, 3:] = np.argwhere(np.ones((5, 5))) * 3
    given = similarities(points, 25, 0.2, 16, 0.05, False)
    assert centres(given, 0.7, 200).size == 1
    counts = []
    for price in (0.0005, 0.005, 0.05, 5.0):
        hsi = to_hsi(*picture((48, 48), 3))
        counts.append(len(np.unique(aslic(hsi, Settings(price=price)))))
    assert counts[0] > counts[1] > counts[2] >= counts[3] == 9


def naive(hsi, settings, anchor):
    """Regions by dictionary, affinity propagation as a kernel (tested above), nearest centres one by one."""
    region, grid = settings.region, settings.grid
    places = [divmod(2 * a + 1, 1)[0] * region // (2 * grid) for a in range(grid)] if grid else range(region)
    members = {}
    for i, j in np.argwhere(hsi[0] >= 0):
        y, x = i + anchor[0], j + anchor[1]
        members.setdefault((y // region, x // region), []).append((y, x))
    found = []
    for (r, c), pixels in sorted(members.items()):
        known = [p for p in pixels if p[0] - r * region in places and p[1] - c * region in places] or pixels[:1]
        points = np.array([[*hsi[:, y - anchor[0], x - anchor[1]], y, x] for y, x in known], np.int32)
        given = similarities(points, len(points), settings.alpha, region, settings.price, settings.intensity)
        chosen = centres(given, settings.damping, settings.sweeps)
        found += [((r, c, k), points[index]) for k, index in enumerate(chosen)]
    out = np.full((3, *hsi.shape[1:]), -1)
    for i, j in np.argwhere(hsi[0] >= 0):
        y, x = i + anchor[0], j + anchor[1]
        best = np.inf
        for (r, c, k), (h, s, v, cy, cx) in found:
            if max(abs(r - y // region), abs(c - x // region)) > 1:
                continue
            turn = abs(float(hsi[0, i, j]) - h)
            parts = [min(turn, 4096 - turn), float(hsi[1, i, j]) - s]
            parts += [float(hsi[2, i, j]) - v] if settings.intensity else []
            d = np.sqrt(sum(p * p for p in parts)) / 4096
            d += settings.alpha / region * np.sqrt(float((y - cy) ** 2 + (x - cx) ** 2))
            if d < best:
                best, out[:, i, j] = d, (r, c, k)
    return out


@pytest.mark.parametrize(
    ("settings", "anchor"),
    [
        (Settings(region=6, grid=3, price=0.02), (0, 0)),
        (Settings(region=5, grid=2, price=0.01, intensity=True), (-7, 3)),
        (Settings(region=4, grid=0, price=0.03), (2, -1)),
        (Settings(region=32, grid=4), (31, 5)),
    ],
)
def test_equals_a_plain_reading(settings, anchor):
    rng = np.random.default_rng(1)
    image = picture((19, 23), 5)
    image[:, rng.random(image.shape[1:]) < 0.2] = np.nan
    image[:, 5:12, 6:14] = np.nan
    image[:, 8, 8] = 0.1
    hsi = to_hsi(*image)
    before = hsi.copy()
    labels = aslic(hsi, settings, anchor)
    np.testing.assert_array_equal(hsi, before)
    expected = naive(hsi, settings, anchor)
    np.testing.assert_array_equal(labels >= 0, hsi[0] >= 0)
    there = labels >= 0
    np.testing.assert_array_equal(region_index(labels[there]), expected[:, there])
