"""One default for all real scenes; the figures of `python -m benchmarks.accuracy` as limits that only tighten."""

import pytest

from benchmarks import accuracy, real_scenes
from benchmarks.accuracy import METHODS

pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")


@pytest.fixture(scope="module")
def figures():
    cache = {}

    def measured(group, method="default"):
        if not real_scenes.is_available(group):
            pytest.skip(f"{group} is not under {real_scenes.folder()} (set LAKECUBE_DATA)")
        if (group, method) not in cache:
            table = accuracy.measure({method: METHODS[method]}, {group: accuracy.GROUPS[group]})
            cache[group, method] = table[method]
        return cache[group, method]

    return measured


def test_sentinel2_tile(figures):
    found = figures("t11upt")
    assert found["t11upt IoU"] >= 0.76
    assert found["t11upt false px in cloud shadow, unmasked"] <= 30


def test_two_sensors_two_days_apart_agree(figures):
    found = figures("t11upt")
    assert found["t11upt area difference %"] <= 4
    assert found["t11upt S2 km2"] == pytest.approx(16.06, rel=0.04)


def test_no_water_no_pixels(figures):
    found = figures("nowater")
    assert found["nowater false px, clear"] <= 5
    assert found["nowater false px, cloudy dates unmasked"] <= 5


def test_places(figures):
    found = figures("places")
    assert found["places IoU, median"] >= 0.86
    assert found["places false px, dry dates"] <= figures("places", "mndwi>0")["places false px, dry dates"]


def test_cloud_patch(figures):
    found = figures("cloud")
    assert found["cloud IoU, clear"] >= 0.62
    assert found["cloud IoU, unmasked"] > 0.232


def test_baselines_are_those_on_record(figures):
    """The yardstick itself: fixed indices and plain Otsu give the figures published for this data."""
    assert figures("cloud", "mndwi>0")["cloud IoU, clear"] == pytest.approx(0.599, abs=1e-3)
    assert figures("cloud", "otsu mndwi")["cloud IoU, clear"] == pytest.approx(0.012, abs=1e-3)
    assert figures("t11upt", "mndwi>0")["t11upt S2 km2"] == pytest.approx(16.060, abs=1e-3)
    assert figures("t11upt", "mndwi>0")["t11upt L8 km2"] == pytest.approx(15.726, abs=1e-3)


@pytest.mark.parametrize("group", ["t11upt", "cloud", "places"])
def test_the_default_beats_the_papers_rules(figures, group):
    ours, paper = figures(group), figures(group, "paper")
    for name, value in ours.items():
        if "IoU" in name:
            assert value > paper[name], name
