"""`assess` against slow counts on whole arrays: points, polygons, rasters, objects."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine
from scipy import ndimage

from lakecube.accuracy import assess
from lakecube.errors import InvalidInputError
from lakecube.series.pixel_area import PixelGrid, pixel_quanta
from tests.accuracy.maps import lakes, on_grid, points_on

CHUNKS = [{"y": 60, "x": 70}, {"y": 7, "x": 11}, {"y": (1, 58, 1), "x": (69, 1)}, {"y": 1, "x": 70}]
EIGHT = np.ones((3, 3))


def slow_counts(mapped, truth):
    return {(m, r): int(((mapped == m) & (truth == r)).sum()) for m in (0, 1, 255) for r in (0, 1, 255)}


@pytest.mark.parametrize("crs", ["EPSG:32648", "EPSG:4326"])
@pytest.mark.parametrize("chunks", CHUNKS)
def test_pixels_are_counted_and_unknown_is_never_land(crs, chunks):
    mapped, truth = lakes()
    array = on_grid(mapped, crs)
    found = assess(array.chunk(chunks), on_grid(truth, crs))
    slow = slow_counts(mapped, truth)
    c = found.confusion
    assert (c.tp, c.fp, c.fn, c.tn) == (slow[1, 1], slow[1, 0], slow[0, 1], slow[0, 0])
    assert found.unknown == {
        "map": {"land": slow[255, 0], "water": slow[255, 1]},
        "reference": sum(slow[m, 255] for m in (0, 1, 255)),
    }
    assert found.intervals == {}
    area = pixel_quanta(PixelGrid.of(array), (0, 60), (0, 70)).area / 2**13
    assert found.area.fp == pytest.approx((np.broadcast_to(area, mapped.shape) * ((mapped == 1) & (truth == 0))).sum())
    once = assess(array, on_grid(truth, crs))
    assert json.dumps(found.to_dict()) == json.dumps(once.to_dict())
    assert min(c.tp, c.fp, c.fn, c.tn, slow[255, 1]) > 20


@pytest.mark.parametrize("width", [0, 3])
def test_edges_are_counted_near_shores_of_the_reference_where_both_are_known(width):
    """Beside SciPy's distances, slowly; that no chunking changes them is in the test above."""
    mapped, truth = lakes()
    shore = np.zeros(truth.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        meet = (truth[a] ^ truth[b] == 1) & (truth[a] < 2) & (truth[b] < 2)
        shore[a] |= meet
        shore[b] |= meet
    zone = ndimage.distance_transform_edt(~shore) <= width
    known = zone & (mapped != 255) & (truth != 255)
    found = assess(on_grid(mapped).chunk(CHUNKS[1]), on_grid(truth), edge_width=width, objects=False)
    edges = found.edges
    counts = [(mapped == truth), (mapped == 0) & (truth == 1), (mapped == 1) & (truth == 0)]
    assert [edges.right, edges.omitted, edges.invented] == [(part & known).sum() for part in counts]
    assert edges.unknown == (zone & ~known).sum()
    assert min(edges.right, edges.omitted, edges.invented) > 0
    measures = edges.measures()
    assert measures["eoa"] == edges.right / known.sum()
    assert sum(measures.values()) == pytest.approx(1)
    assert found.to_dict()["edges"]["ece"] == measures["ece"]
    assert f"within {width} px of the reference's shores" in str(found)
    assert found.table().set_index(["section", "name"]).value["edges", "eoe"] == measures["eoe"]


def test_a_path_is_to_be_opened_first():
    with pytest.raises(InvalidInputError, match=r"'lake.zarr' is no Dataset or mask: open a store first"):
        assess("lake.zarr", on_grid(lakes()[1]))


def test_without_shores_there_is_no_edge_accuracy():
    mapped, _ = lakes()
    land = on_grid(np.zeros_like(mapped))
    assert np.isnan(assess(on_grid(mapped), land).edges.measures()["eoa"])
    assert assess(on_grid(mapped), land, edge_width=None).edges is None
    for width in (-1, 101, 1.5, True):
        with pytest.raises(InvalidInputError, match=f"edge_width={width}: a whole number"):
            assess(on_grid(mapped), land, edge_width=width)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_mask_of_a_picture_lies_on_it_pixel_by_pixel(tmp_path):
    """A picture and its mask know no place: as many pixels, so the same ones."""
    mapped, truth = lakes()
    with rasterio.open(tmp_path / "mask.png", "w", driver="PNG", width=70, height=60, count=1, dtype="uint8") as file:
        file.write(truth, 1)
    picture = on_grid(mapped).drop_vars("spatial_ref")
    found = assess(picture.chunk({"y": 7, "x": 11}), tmp_path / "mask.png")
    assert found.confusion == assess(picture, on_grid(truth).drop_vars("spatial_ref")).confusion
    assert found.confusion.tp > 20
    with pytest.raises(InvalidInputError, match=r"60 × 70 px\) or the map \(60 × 69 px\) has no CRS"):
        assess(picture[:, 1:], tmp_path / "mask.png")
    with pytest.raises(InvalidInputError, match="no CRS"):
        assess(on_grid(mapped), tmp_path / "mask.png")


def slow_objects(mapped, truth, ids=None, least=10):
    """Lake by lake, from SciPy's labels of whole arrays."""
    labels = ndimage.label(truth == 1, EIGHT)[0] if ids is None else ids
    ours, count = ndimage.label(mapped == 1, EIGHT)
    out, mains = [], []
    for lake in np.unique(labels[labels > 0]):
        inside = (labels == lake) & (truth != 255)
        if inside.sum() < least:
            continue
        seen = inside & (mapped != 255)
        overlap = (mapped[seen] == 1).mean() if seen.any() else 0.0
        state = "unseen" if seen.sum() < 0.5 * inside.sum() else "detected" if overlap >= 0.5 else "missed"
        parts = np.bincount(ours[inside], minlength=count + 1)[1:]
        mains.append(parts.argmax() if state == "detected" else None)
        pieces = (parts >= 0.1 * seen.sum()) & (parts > 0)
        out.append([state, inside.sum(), seen.sum(), state == "detected" and pieces.sum() > 1])
    merged = [m is not None and mains.count(m) > 1 for m in mains]
    invented = 0
    for k in range(1, count + 1):
        inside = ours == k
        known = inside & (truth != 255)
        invented += inside.sum() >= least and not (truth[inside] == 1).any() and known.sum() >= 0.5 * inside.sum()
    return out, merged, int(invented)


@pytest.mark.parametrize("seed", range(6))
def test_objects_against_slow_loops(seed):
    mapped, truth = lakes(seed, (90, 80))
    array = on_grid(mapped)
    found = assess(array.chunk(y=13, x=17), on_grid(truth)).objects
    slow, merged, invented = slow_objects(mapped, truth)
    order = {"detected": 0, "missed": 0, "unseen": 0}
    for state, *_ in slow:
        order[state] += 1
    row = found.table.loc["all"]
    assert {name: row[name] for name in order} == order
    assert row.lakes == len(slow) and row.merged == sum(merged) and row.split == sum(s[3] for s in slow)
    assert row.invented == invented
    pixel = float(pixel_quanta(PixelGrid.of(array), (0, 1), (0, 1)).area[0, 0]) / 2**13
    np.testing.assert_allclose(np.sort(found.lakes.area_km2), np.sort([s[1] for s in slow]) * pixel / 1e6, rtol=1e-5)
    assert found.table.drop(index="all").lakes.sum() == row.lakes
    whole = assess(array, on_grid(truth)).objects
    pd.testing.assert_frame_equal(found.lakes, whole.lakes)
    pd.testing.assert_frame_equal(found.table, whole.table)


def squares(*boxes, shape=(60, 70), value=1):
    out = np.zeros(shape, np.uint8)
    for top, bottom, left, right in boxes:
        out[top:bottom, left:right] = value
    return out


def test_objects_told_by_hand():
    """Found, missed, hidden, merged, split and invented, and an area 20 % too large."""
    truth = squares(
        (2, 12, 2, 12), (20, 30, 2, 12), (20, 30, 14, 24), (2, 12, 20, 30), (40, 50, 2, 12), (40, 50, 30, 50)
    )
    mapped = squares(
        (2, 12, 2, 14), (20, 30, 2, 24), (40, 50, 30, 38), (40, 50, 40, 50), (20, 30, 50, 60), (55, 56, 60, 69)
    )
    mapped[40:50, 0:20] = 255
    found = assess(on_grid(mapped).chunk(y=25, x=25), on_grid(truth)).objects
    row = found.table.loc["all"]
    told = {"lakes": 6, "detected": 4, "missed": 1, "unseen": 1, "merged": 2, "split": 1, "invented": 1}
    assert {name: row[name] for name in told} == told
    assert row.detection_rate == 4 / 5 and row.low < 0.8 < row.high
    assert row.area_error == pytest.approx((120 + 180) / (100 + 200) - 1, abs=1e-6)
    assert row.mean_absolute_error == pytest.approx((0.2 + 0.1) / 2)


def test_size_classes_have_borders_and_names():
    truth = squares((0, 30, 0, 30), (32, 60, 0, 35), (0, 40, 36, 70))
    for bounds, names, counts in (
        ((0.1, 1.0), ["small", "medium", "large"], [2, 1, 0]),
        ((0.095,), ["<0.095 km2", ">0.095 km2"], [1, 2]),
        ((), ["all sizes"], [3]),
    ):
        table = assess(on_grid(truth), on_grid(truth), size_bounds=bounds).objects.table
        assert table.index.tolist() == [*names, "all"] and table.lakes.tolist() == [*counts, 3]
        assert table.area_error["all"] == 0 and table.detection_rate["all"] == 1


def test_polygons_are_objects_even_where_they_touch(tmp_path):
    geopandas, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")
    mapped, _ = lakes(3)
    array = on_grid(mapped)
    x0, y0 = 549600.0, 2986500.0
    boxes = [(2, 20, 2, 15), (20, 40, 2, 15), (30, 50, 30, 60)]
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.box(x0 + 10 * a, y0 - 10 * b, x0 + 10 * c, y0 - 10 * t) for t, b, a, c in boxes],
        crs="EPSG:32648",
    )
    ids = np.zeros(mapped.shape, np.int64)
    for k, (top, bottom, left, right) in enumerate(boxes):
        ids[top:bottom, left:right] = k + 1
    frame.to_crs("EPSG:4326").to_file(tmp_path / "lakes.geojson")
    region = geopandas.GeoDataFrame(geometry=[shapely.box(x0, y0 - 450, x0 + 700, y0)], crs="EPSG:32648")
    for reference in (frame, frame.to_crs("EPSG:4326"), str(tmp_path / "lakes.geojson")):
        for chunks in CHUNKS:
            found = assess(array.chunk(chunks), reference, within=region)
            states = np.where(np.arange(60)[:, None] < 45, (ids > 0).astype(int), 255)
            slow = slow_counts(mapped, states)
            c = found.confusion
            assert (c.tp, c.fp, c.fn, c.tn) == (slow[1, 1], slow[1, 0], slow[0, 1], slow[0, 0])
            assert found.kind == "polygons" and found.objects.table.lakes["all"] == 3
            expected = slow_objects(mapped, states, ids)
            assert found.objects.lakes.state.tolist() == [row[0] for row in expected[0]]
            assert found.objects.lakes.merged.tolist() == expected[1]
            assert found.objects.table.invented["all"] == expected[2]


@pytest.fixture
def written(tmp_path):
    def write(values, crs="EPSG:32648", step=10.0, origin=(549600.0, 2986500.0), nodata=None):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
            crs=crs, transform=Affine(step, 0, origin[0], 0, -step, origin[1]), nodata=nodata, tiled=True,
            blockxsize=16, blockysize=16,
        ) as file:  # fmt: skip
            file.write(values, 1)
        return path

    return write


def test_rasters_of_many_codes(written):
    mapped, truth = lakes(1)
    array = on_grid(mapped)
    expected = assess(array, on_grid(truth), objects=False).confusion
    reads = np.random.default_rng(0)
    occurrence = np.select(
        [truth == 1, truth == 0], [reads.integers(50, 101, truth.shape), reads.integers(0, 50, truth.shape)], 255
    )
    cover = np.select([truth == 1, truth == 0], [80, reads.choice([10, 30, 90], truth.shape)], 0)
    often = np.select([truth == 1, truth == 0], [0.7, 0.2], np.nan).astype("float32")
    for values, codes in (
        (truth, "mask"), (occurrence.astype("uint8"), "jrc-occurrence"), (cover.astype("uint8"), "worldcover"),
        (often, "mask"), (cover.astype("uint8"), {"water": [80], "land": [10, 30, 90]}),
        (np.select([truth == 1, truth == 0], [2, 1], 0).astype("uint8"), "jrc-monthly"),
    ):  # fmt: skip
        assert assess(array.chunk(CHUNKS[1]), written(values), codes=codes, objects=False).confusion == expected
        assert assess(array, on_grid(values), codes=codes, objects=False).confusion == expected
    with_nodata = np.where(truth == 255, 7, truth).astype("uint8")
    assert assess(array, written(with_nodata, nodata=7), codes={"water": [1]}, objects=False).confusion == expected


def test_a_raster_on_another_grid_is_sampled_at_the_centres(written):
    """Twice as coarse, moved and in degrees: the same whatever the chunks, and as by hand for the first."""
    mapped, truth = lakes(2)
    array = on_grid(mapped)
    coarse = truth[::2, ::2].copy()
    found = assess(array, written(coarse, step=20.0), objects=False).confusion
    by_hand = assess(array, on_grid(np.repeat(np.repeat(coarse, 2, 0), 2, 1)), objects=False).confusion
    assert found == by_hand
    west, north = 105.4995, 27.0000
    degrees = written(
        np.random.default_rng(0).choice(np.array([0, 1], "uint8"), (80, 90)), "EPSG:4326", 1e-4, (west, north)
    )
    several = [assess(array.chunk(chunks), degrees, objects=False) for chunks in CHUNKS]
    assert len({str(one.to_dict()) for one in several}) == 1
    assert several[0].unknown["reference"] < 60 * 70


def points(mapped, n=400, seed=0, **columns):
    rng = np.random.default_rng(seed)
    rows, at = rng.integers(0, mapped.shape[-2], n), rng.integers(0, mapped.shape[-1], n)
    return rows, at


def test_points_of_every_form(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    mapped, truth = lakes(4)
    array = on_grid(mapped).chunk(y=13, x=17)
    rows, at = points(mapped)
    state, right = mapped[rows, at], truth[rows, at]
    words = pd.Series(right).map({0: "land", 1: "Water", 255: None})
    table = points_on(array, rows, at, **{"class": words})
    far = pd.DataFrame({"lon": [0.0, 105.5], "lat": [10.0, 80.0], "class": ["water", "land"]})
    table = pd.concat([table, far], ignore_index=True)
    table.to_csv(tmp_path / "p.csv", index=False)
    frame = geopandas.GeoDataFrame(
        table.drop(columns=["lon", "lat"]), geometry=geopandas.points_from_xy(table.lon, table.lat, crs="EPSG:4326")
    ).to_crs("EPSG:32648")
    frame.to_file(tmp_path / "p.gpkg")
    for reference in (table, tmp_path / "p.csv", frame, str(tmp_path / "p.gpkg")):
        found = assess(array, reference)
        slow = slow_counts(state, right)
        c = found.confusion
        assert (c.tp, c.fp, c.fn, c.tn) == (slow[1, 1], slow[1, 0], slow[0, 1], slow[0, 0])
        assert found.unknown["outside"] == 2 and found.unknown["map"] == {"land": slow[255, 0], "water": slow[255, 1]}
        assert found.unknown["reference"] == (right == 255).sum()
        assert found.intervals["iou"][0] < found.measures["iou"] < found.intervals["iou"][1]
        assert "iou" in repr(found) and f"{c.tp}" in repr(found)
        assert set(found.table().section) == {"counts", "measures"}


def test_points_with_dates_meet_the_map_of_their_date():
    rng = np.random.default_rng(0)
    times = pd.to_datetime(["2021-03-01", "2021-06-10", "2021-09-20"])
    values = rng.choice(np.array([0, 1, 255], np.uint8), (3, 20, 20))
    water = on_grid(values, time=times.values).to_dataset().chunk(time=1, y=9)
    rows, at = points(values, 90)
    when = rng.integers(0, 4, 90)
    dates = np.array(["2021-03-02", "2021-06-08", "2021-09-20", "2020-01-01"])[when]
    table = points_on(water, rows, at, date=dates, truth=0, **{"class": rng.integers(0, 2, 90)})
    found = assess(water, table)
    state = values[np.minimum(when, 2), rows, at]
    known = (when < 3) & (state < 2)
    assert found.confusion.total == known.sum() and found.unknown["outside"] == (when == 3).sum()
    assert found.confusion.tp == (known & (state == 1) & (table["class"] == 1)).sum()
    one = assess(water, table, date="2021-06-10")
    assert one.confusion.total == (values[1, rows, at] < 2).sum()
    table.loc[3, "date"] = "whenever"
    with pytest.raises(InvalidInputError, match="whenever"):
        assess(water, table)


def test_a_stack_is_judged_by_how_often_it_is_water():
    values = np.stack([squares((0, 30, 0, 30)), squares((0, 30, 0, 60)), squares((0, 60, 0, 60), value=255)])
    water = on_grid(values, time=pd.date_range("2021-01-01", periods=3, freq="30D").values)
    reference = on_grid(squares((0, 30, 0, 60)))
    assert assess(water, reference).measures["recall"] == 1
    assert assess(water, reference, share=0.6).measures["recall"] == 0.5
    store = xr.Dataset({"water_mask": water, "water_frequency": (("y", "x"), np.full((60, 70), 0.9, "float32"))})
    assert assess(store, reference).measures["precision"] == pytest.approx(1800 / 4200)
    assert assess(store, reference, date="2021-01-31").measures["iou"] == 1


def test_table_2_of_the_paper():
    """1,703 points of four types of water body, 1,637 found: 96.12 %."""
    told = {"Reservoir": (490, 479, 97.75), "Lake": (478, 469, 98.11), "River": (415, 391, 94.21),
            "Small Water Body": (320, 298, 93.12)}  # fmt: skip
    kinds = np.repeat(list(told), [n for n, *_ in told.values()])
    hit = np.concatenate([np.arange(n) < good for n, good, _ in told.values()])
    mapped = np.zeros((40, 50), np.uint8)
    mapped.reshape(-1)[: hit.size] = hit
    rows, columns = np.divmod(np.arange(hit.size), 50)
    table = points_on(on_grid(mapped), rows, columns, type=kinds, water=1)
    found = assess(on_grid(mapped), table, by="type")
    assert found.confusion.total == 1703 and found.confusion.tp == 1637
    assert round(100 * found.measures["recall"], 2) == 96.12
    for name, (n, good, rate) in told.items():
        row = found.groups.loc[name]
        assert (row.points, row.right) == (n, good)
        assert 100 * row.accuracy == pytest.approx(rate, abs=0.0101)  # the paper cuts 93.125 and 479 / 490
        assert row.low < row.accuracy < row.high
    low, high = found.intervals["recall"]
    assert 0.0085 < (high - low) / 2 < 0.0095


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: assess(m, "nowhere.csv"), "no file nowhere.csv"),
        (lambda m: assess(m, "nowhere.tif"), "no file nowhere.tif"),
        (lambda m: assess(m, pd.DataFrame({"lon": [1], "class": [1]})), "lat or latitude"),
        (lambda m: assess(m, pd.DataFrame({"lon": ["x"], "lat": [1], "class": [1]})), "degrees"),
        (lambda m: assess(m, pd.DataFrame({"lon": [1], "lat": [1], "class": ["lake"]})), "'lake'"),
        (lambda m: assess(m, pd.DataFrame({"lon": [1], "lat": [1], "class": [1]})), "nothing could be compared"),
        (lambda m: assess(m, m, codes="worldclim"), "worldclim"),
        (lambda m: assess(m, m, codes={"water": "x"}), "'water'"),
        (lambda m: assess(m, m, codes=None), "'water'"),
        (lambda m: assess(m, m, size_bounds="ab"), "size_bounds"),
        (lambda m: assess(m, m.astype(np.float32) - 9999), "nothing could be compared"),
        (lambda m: assess(m, m, codes={"wet": [1]}), "'water'"),
        (lambda m: assess(m, m, codes={"water": [1], "unknown": [0, 1, 255]}), "nothing could be compared"),
        (lambda m: assess(m, m[1:]), "reproject_match"),
        (lambda m: assess(m, m, date="2021-01-01"), "store"),
        (lambda m: assess(m, m, share=50), "share"),
        (lambda m: assess(m, m, confidence=95), "confidence"),
        (lambda m: assess(m, m, kind="lines"), "points, polygons or raster"),
        (lambda m: assess(m, m, size_bounds=(1, 0.1)), "rising"),
        (lambda m: assess(m.drop_vars("spatial_ref"), points_on(m, [1], [1], water=1)), "no CRS"),
        (lambda m: assess(m, points_on(m, [1], [1], water=1), by="type"), "no column"),
        (lambda m: assess(m.astype(float), m), "flags"),
        (lambda m: assess(xr.Dataset({"a": m}), m), "water_mask"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(on_grid(lakes()[0]))


def test_no_water_anywhere():
    nothing = on_grid(np.zeros((64, 64), np.uint8)).chunk(y=16, x=16)
    found = assess(nothing, nothing)
    assert found.objects.table.lakes["all"] == 0 and np.isnan(found.objects.table.detection_rate["all"])
    assert found.measures["overall_accuracy"] == 1 and found.to_dict()["measures"]["iou"] is None
