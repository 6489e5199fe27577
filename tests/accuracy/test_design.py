"""Samples: the same points for every chunking, evenly spread, of the strata that were meant; and back to `assess`."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from lakecube.accuracy import assess, sample_design
from lakecube.accuracy.design import SHORE
from lakecube.accuracy.maps import pixels_of
from lakecube.errors import InvalidInputError
from lakecube.kernels.sampling import pixel_numbers
from lakecube.series.pixel_area import PixelGrid
from tests.accuracy.maps import lakes, on_grid

CHUNKS = [{"y": 60, "x": 70}, {"y": 7, "x": 11}, {"y": (1, 58, 1), "x": (69, 1)}, {"y": 1, "x": 70}]


def places(array, points):
    return pixels_of(PixelGrid.of(array), points.lon.to_numpy(), points.lat.to_numpy())


def shore_by_distance(mapped, buffer):
    to_water, to_land = (ndimage.distance_transform_edt(mapped != k) for k in (1, 0))
    near = np.where(mapped == 0, to_water <= buffer, to_land <= buffer)
    return np.where(mapped == 255, 255, mapped + 2 * near)


@pytest.mark.parametrize("strata", ["shore", "size"])
@pytest.mark.parametrize("chunks", CHUNKS)
def test_strata_and_points_for_every_chunking(strata, chunks):
    mapped, _ = lakes(5)
    array = on_grid(mapped)
    bounds = (0.01, 0.05)
    made = sample_design(array.chunk(chunks), strata=strata, n=300, least=20, size_bounds=bounds, seed=3)
    once = sample_design(array, strata=strata, n=300, least=20, size_bounds=bounds, seed=3)
    pd.testing.assert_frame_equal(made.points, once.points)
    pd.testing.assert_frame_equal(made.strata, once.strata)
    if strata == "shore":
        codes, names = shore_by_distance(mapped, 3), list(SHORE)
    else:
        labels, n = ndimage.label(mapped == 1, np.ones((3, 3)))
        area = ndimage.sum_labels(np.full(mapped.shape, 100 / 1e6), labels, range(n + 1))
        codes = np.where(mapped == 255, 255, (1 + np.digitize(area, bounds))[labels] * (labels > 0))
        names = ["land", "<0.01 km2", "0.01-0.05 km2", ">0.05 km2"]
    assert made.strata.pixels.to_dict() == {
        name: (codes == k).sum() for k, name in enumerate(names) if (codes == k).any()
    }
    assert len(made.strata) >= 3 and made.strata.points.sum() == len(made.points) == 300
    rows, columns = places(array, made.points)
    assert [names[k] for k in codes[rows, columns]] == made.points.stratum.tolist()
    assert len(set(zip(rows, columns, strict=True))) == 300
    assert made.points.groupby("stratum").size().to_dict() == made.strata.points.to_dict()


def test_points_are_those_with_the_smallest_numbers():
    """Against a sort of the whole image, and at the same places from a part of it on one lattice."""
    mapped, _ = lakes(5)
    array = on_grid(mapped)
    made = sample_design(array, n=80, least=5, buffer=0, seed=11)
    row, column = PixelGrid.of(array).anchor
    numbers = pixel_numbers(row + np.arange(60), column + np.arange(70), 11)
    rows, columns = places(array, made.points)
    for code, name in ((0, "land"), (1, "water")):
        chosen = (made.points.stratum == name).to_numpy()
        limit = np.sort(numbers[mapped == code])[chosen.sum() - 1]
        assert set(numbers[rows, columns][chosen]) == set(numbers[(mapped == code) & (numbers <= limit)])
    assert (np.diff(numbers[rows, columns].astype(object)) > 0).all()


def test_more_points_keep_the_ones_before_and_seeds_differ():
    array = on_grid(lakes(5)[0])
    few, many, other = (sample_design(array, n=n, least=0, seed=s).points for n, s in ((50, 0), (200, 0), (50, 1)))
    pairs = [set(zip(p.lon, p.lat, strict=True)) for p in (few, many, other)]
    assert pairs[0] < pairs[1] and len(pairs[0] & pairs[2]) < 10


def test_points_are_spread_evenly():
    """Chi-square over cells of the image, and of the lowest bits of rows and columns, for one large sample."""
    array = on_grid(np.zeros((200, 240), np.uint8))
    for seed in range(3):
        rows, columns = places(array, sample_design(array, n=4000, seed=seed).points)
        for a, b in ((rows // 40, columns // 40), (rows % 4, columns % 4)):
            table = np.histogram2d(a, b, [np.arange(a.max() + 2), np.arange(b.max() + 2)])[0]
            assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_sizes_are_as_asked_for():
    array = on_grid(lakes(5, (300, 300))[0])
    whole = sample_design(array, least=0)
    assert len(whole.points) == 1068
    certain = {"land": 0.99, "water": 0.98, "land_at_shore": 0.85, "water_at_shore": 0.8}
    fewer = sample_design(array, expected=certain, allocation="neyman", least=30)
    assert 150 < len(fewer.points) < 700 and (fewer.strata.points >= 30).all()
    equal = sample_design(array, n=400, allocation="equal", least=0)
    assert equal.strata.points.tolist() == [100] * 4
    np.testing.assert_allclose(whole.strata.points, 1068 * whole.strata.weight, atol=1)
    assert whole.unknown_area == pytest.approx(100 * int((array == 255).sum()), rel=1e-3)


def test_a_small_stratum_gives_all_it_has():
    mapped = np.zeros((40, 40), np.uint8)
    mapped[:2, :3] = 1
    made = sample_design(on_grid(mapped), n=100, least=50, buffer=0)
    assert made.strata.points.to_dict() == {"land": 50, "water": 6}


def test_given_strata():
    array = on_grid(lakes(5)[0])
    codes = on_grid(np.where(np.arange(60)[:, None] < 20, 7, np.where(np.arange(70) < 40, 2, 255)).astype("uint8"))
    made = sample_design(array, strata=codes.transpose("x", "y"), n=90)
    assert made.strata.index.tolist() == ["2", "7"] and made.settings["strata"] == "given"


@pytest.mark.parametrize(("suffix", "seeds"), [(".csv", 8), (".geojson", 2)])
def test_from_the_design_back_to_an_estimate(tmp_path, suffix, seeds):
    """Drawn, written, told, read: the intervals hold the true area, which the map misses by far."""
    if suffix == ".geojson":
        pytest.importorskip("geopandas")
    rng = np.random.default_rng(8)
    mapped, truth = lakes(8, (150, 160))
    mapped[mapped == 255] = 0
    truth[truth == 255] = 0
    mapped[(mapped == 1) & (rng.random(mapped.shape) < 0.3)] = 0
    array = on_grid(mapped).chunk(y=40, x=50)
    wet = float(truth.mean())
    inside, errors = 0, []
    for seed in range(seeds):
        made = sample_design(array, n=500, least=60, seed=seed)
        path = made.write(tmp_path / f"{seed}{suffix}")
        rows, columns = places(array, made.points)
        told = np.where(truth[rows, columns] == 1, "water", "land")
        if suffix == ".csv":
            pd.read_csv(path).assign(**{"class": told}).to_csv(path, index=False)
        else:
            found = json.loads(path.read_text())
            for feature, word in zip(found["features"], told, strict=True):
                feature["properties"]["class"] = word
            path.write_text(json.dumps(found))
        found = assess(array, path)
        row = found.estimate.table.loc["water"]
        area = wet * made.strata.area.sum()
        inside += row.area_low <= area <= row.area_high
        errors.append(row.area / area - 1)
    assert inside >= seeds - 1
    assert abs(np.mean(errors)) < 0.1 < abs(float((mapped == 1).mean()) / wet - 1)
    assert found.intervals == {} and "user's accuracy" in repr(found)
    assert "estimated from the strata" in repr(found) and found.to_dict()["estimate"]["classes"]["water"]["area"] > 0
    assert "estimate" in set(found.table().section)


def test_a_stratum_of_one_point_is_said_and_the_counts_stand():
    array = on_grid(lakes(8)[0])
    points = sample_design(array, n=60, least=5).points.assign(**{"class": "land"})
    points = pd.concat([points[points.stratum != "water"], points[points.stratum == "water"][:1]])
    found = assess(array, points)
    assert found.estimate is None and "water has 1" in found.notes[0] and "water has 1" in repr(found)
    assert found.confusion.total == len(points)
    with pytest.raises(InvalidInputError, match="whole stratum"):
        assess(array, points.assign(stratum_area=np.arange(len(points))))
    bare = assess(array, points.drop(columns="stratum_area"))
    assert bare.estimate is None and "stratum_area" in bare.notes[0]


def test_a_geodataframe_of_points():
    pytest.importorskip("geopandas")
    made = sample_design(on_grid(lakes(5)[0]), n=60, least=5)
    frame = made.to_geodataframe()
    assert frame.crs == "EPSG:4326" and frame.geometry.x.tolist() == made.points.lon.tolist()
    assert "60 points in 4 strata" in repr(made) and json.dumps(made.to_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strata": "depth"}, "shore, size"),
        ({"buffer": -1}, "whole number"),
        ({"n": 0}, "numbers of points"),
        ({"margin": 3}, "margin"),
        ({"expected": {"ice": 0.5}}, "ice"),
        ({"allocation": "best"}, "neyman"),
        ({"strata": on_grid(np.zeros((2, 2), np.uint8))}, "like the map"),
        ({"size_bounds": (0.0,), "strata": "size"}, "rising"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(InvalidInputError, match=message):
        sample_design(on_grid(lakes(5)[0]), **options)


def test_where_nothing_is_known_nothing_is_drawn(tmp_path):
    with pytest.raises(InvalidInputError, match="knows no pixel"):
        sample_design(on_grid(np.full((9, 9), 255, np.uint8)))
    made = sample_design(on_grid(lakes(5)[0]), n=60)
    with pytest.raises(InvalidInputError, match="geojson"):
        made.write(tmp_path / "points.shp")
    with pytest.raises(InvalidInputError, match="does not exist"):
        made.write(tmp_path / "nowhere" / "points.csv")
