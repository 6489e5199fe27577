"""`lakecube assess` from outside: reports, designs, tables; exit codes, and one line for every mistake."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

import lakecube
from lakecube.accuracy.maps import pixels_of
from lakecube.series.pixel_area import PixelGrid
from tests.accuracy.maps import points_on
from tests.test_cli import Shell


@pytest.fixture(scope="module")
def shell():
    shell = Shell()
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def store(cube, tmp_path_factory):
    path = tmp_path_factory.mktemp("assess") / "s.zarr"
    return path, cube.water.extract().water.to_zarr(path)


@pytest.fixture
def truth(store):
    """What is water at least half of the time, changed in a block of pixels."""
    often = store[1]["water_frequency"].values
    states = np.where(np.isnan(often), 255, often >= 0.5).astype(np.uint8)
    states[10:14, 10:14] = 1 - np.minimum(states[10:14, 10:14], 1)
    return states


def write(path, values, store):
    x, y = store["x"].values, store["y"].values
    transform = Affine(10, 0, x[0] - 5, 0, -10, y[0] + 5)
    with rasterio.open(
        path, "w", driver="GTiff", height=y.size, width=x.size, count=1, dtype=values.dtype,
        crs=store["spatial_ref"].attrs["crs_wkt"], transform=transform,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def test_against_a_raster(shell, store, truth, tmp_path):
    path, data = store
    reference = write(tmp_path / "r.tif", truth, data)
    done = shell("assess", path, "--reference", reference, "--csv", tmp_path / "out.csv")
    assert done.code == 0, done.err
    assert done.out.startswith("water on at least 50% of the clear dates, against raster")
    assert "f1" in done.out and "objects:" in done.out and "kappa" in done.out
    table = pd.read_csv(tmp_path / "out.csv").set_index(["section", "name"]).value
    counts = [float(table["counts", name]) for name in ("tp", "fp", "fn", "tn")]
    found = json.loads(shell("assess", path, "--reference", reference, "--json").out)
    assert list(found["confusion"].values()) == counts and counts[1] + counts[2] > 0
    by_hand = lakecube.assess(data, str(reference))
    assert found == json.loads(json.dumps(by_hand.to_dict()))
    assert data.water.assess(str(reference)).confusion == by_hand.confusion
    cover = write(tmp_path / "cover.tif", np.select([truth == 1, truth == 0], [80, 30], 0).astype("uint8"), data)
    same = [
        ("--codes", "worldcover"),
        ("--codes", "water=80", "--codes", "unknown=0"),
        ("--raster", "--codes", "worldcover"),
    ]
    for words in same:
        other = json.loads(shell("assess", path, "--reference", cover, "--no-objects", "--json", *words).out)
        assert other["confusion"] == found["confusion"] and other["objects"] is None
    day = str(data["time"].values[0])[:10]
    assert f"the map of {day}" in shell("assess", path, "--reference", reference, "--date", day).out


def test_several_stores_are_rows_of_one_table(shell, store, truth, cube, tmp_path):
    path, data = store
    other = tmp_path / "later.zarr"
    cube.isel(time=slice(1, None)).water.extract().water.to_zarr(other)
    reference = write(tmp_path / "r.tif", truth, data)
    words = ("--reference", reference, "--edge-width", 1)
    done = shell("assess", path, other, *words, "--csv", tmp_path / "table.csv")
    assert done.code == 0, done.err
    assert "EOA" in done.out and "detected" in done.out and str(other) in done.out
    table = pd.read_csv(tmp_path / "table.csv", index_col="map")
    assert list(table.index) == [str(path), str(other)]
    told = json.loads(shell("assess", path, other, *words, "--json").out)
    found = told["stores"]
    assert told["table"][str(other)]["IoU"] == pytest.approx(table.IoU[str(other)])
    for name, one in ((str(path), lakecube.assess(data, str(reference), edge_width=1)), (str(other), None)):
        counts = found[name]["confusion"]
        assert one is None or counts == json.loads(json.dumps(one.to_dict()))["confusion"]
        assert table.IoU[name] == pytest.approx(counts["tp"] / (counts["tp"] + counts["fp"] + counts["fn"]))
        assert table.EOA[name] == pytest.approx(found[name]["edges"]["eoa"])
        assert table.compared[name] == sum(counts.values())
    assert ("! each map is judged where it knows" in done.out) == bool((table.unknown > 0).any())
    assert "one store" in shell("assess", path, other, "--design", tmp_path / "d.csv").err
    assert "given twice" in shell("assess", path, path, *words).err


def test_several_stores_on_other_ground(shell, store, truth, cube, tmp_path):
    path, data = store
    part, again = tmp_path / "part.zarr", tmp_path / "again.zarr"
    cube.isel(x=slice(4, 30), y=slice(4, 30)).water.extract().water.to_zarr(part)
    again.symlink_to(path)
    reference = write(tmp_path / "r.tif", truth, data)
    done = shell("assess", path, part, "--reference", reference)
    assert done.code == 0, done.err
    assert "need not be the same ground" in done.out
    assert "given twice" in shell("assess", path, again, "--reference", reference).err
    write(tmp_path / "far.tif", truth, data.assign_coords(x=data["x"] + 1e5))
    refused = shell("assess", path, part, "--reference", tmp_path / "far.tif")
    assert f"{path}: " in refused.err and "does not meet the map" in refused.err
    assert "is a folder" in shell("assess", path, part, "--reference", reference, "--csv", tmp_path).err
    assert "lies in the store" in shell("assess", path, "--reference", reference, "--csv", path / "t.csv").err


def test_from_a_design_to_areas(shell, store, truth, tmp_path):
    path, data = store
    out = tmp_path / "points.csv"
    done = shell("assess", path, "--design", out, "--n", 200, "--least", 20, "--seed", 4, "--buffer", 1)
    assert done.code == 0, done.err
    assert "points in 4 strata" in done.out and f"lakecube assess {path} --reference {out}" in done.out
    unread = shell("assess", path, "--reference", out)
    assert unread.code == 2 and "fill in the column class" in unread.err
    again = shell("assess", path, "--design", out)
    assert again.code == 2 and "exists" in again.err
    points = pd.read_csv(out)
    rows, columns = pixels_of(PixelGrid.of(data), points.lon.to_numpy(), points.lat.to_numpy())
    points.assign(**{"class": np.where(truth[rows, columns] == 1, "water", "land")}).to_csv(out, index=False)
    told = shell("assess", path, "--reference", out, "--by", "stratum")
    assert told.code == 0, told.err
    assert "estimated from the strata, at 95%" in told.out and "by group:" in told.out
    found = json.loads(shell("assess", path, "--reference", out, "--json").out)
    assert (
        found["confusion"]["tp"] + found["confusion"]["tn"] + found["confusion"]["fp"] + found["confusion"]["fn"] == 200
    )
    assert found["estimate"]["classes"]["water"]["area_low"] < found["estimate"]["classes"]["water"]["area_high"]
    words = [
        "--expected",
        "water=0.9",
        "--expected",
        "land=0.95",
        "--allocation",
        "neyman",
        "--margin",
        0.1,
        "--least",
        5,
    ]
    made = json.loads(shell("assess", path, "--design", tmp_path / "b.geojson", "--json", *words).out)
    assert made["points"] == len(json.loads((tmp_path / "b.geojson").read_text())["features"])
    assert 5 <= made["strata"]["land"]["points"] < made["points"] < 97


def test_points_with_dates(shell, store, tmp_path):
    path, data = store
    days = data["time"].values.astype("datetime64[D]").astype(str)
    rows, columns = np.divmod(np.arange(60) * 29, 44)
    mask = data["water_mask"].values
    when = np.arange(60) % 3
    states = mask[when, rows, columns]
    table = points_on(data, rows, columns, date=days[when], **{"class": np.where(states == 1, "water", "land")})
    table.to_csv(tmp_path / "p.csv", index=False)
    found = json.loads(shell("assess", path, "--reference", tmp_path / "p.csv", "--points", "--json").out)
    assert found["measures"]["overall_accuracy"] == 1 and found["confusion"]["tp"] == (states == 1).sum() > 0
    assert sum(found["unknown"]["map"].values()) == (states == 255).sum() > 0


def test_against_polygons(shell, store, tmp_path):
    geopandas, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")
    path, data = store
    x, y = data["x"].values, data["y"].values
    crs = data["spatial_ref"].attrs["crs_wkt"]
    lake = geopandas.GeoDataFrame(geometry=[shapely.box(x[0], y[20], x[20], y[0])], crs=crs)
    lake.to_file(tmp_path / "lake.gpkg")
    found = json.loads(
        shell("assess", path, "--reference", tmp_path / "lake.gpkg", "--within", tmp_path / "lake.gpkg", "--json").out
    )
    assert found["kind"] == "polygons" and found["confusion"]["fp"] == found["confusion"]["tn"] == 0
    assert found["objects"]["all"]["lakes"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "one of the arguments --reference --design is required"),
        (("--reference", "none.csv"), "there is no file none.csv"),
        (("--reference", "none.tif"), "there is no file none.tif"),
        (("--reference", "none.gpkg"), "there is no file none.gpkg"),
        (("--reference", "bad.csv"), "'pond'"),
        (("--reference", "bad.csv", "--raster"), "bad.csv"),
        (("--reference", "text.tif"), "text.tif"),
        (("--reference", "text.gpkg"), "text.gpkg cannot be read as vectors"),
        (("--reference", "far.csv"), "nothing could be compared"),
        (("--reference", "far.csv", "--by", "kind"), "nothing could be compared"),
        (("--reference", "far.csv", "--share", "50"), "--share 50.0: a share"),
        (("--reference", "far.csv", "--confidence", "95"), "--confidence 95.0"),
        (("--reference", "far.csv", "--date", "someday"), "someday"),
        (("--reference", "far.csv", "--size-bounds", "a,b"), "--size-bounds a,b"),
        (("--reference", "far.csv", "--points", "--raster"), "not allowed with argument"),
        (("--reference", "far.csv", "--csv", "no/where.csv"), "does not exist"),
        (("--reference", "far.csv", "--cods", "mask"), "did you mean --codes"),
        (("--reference", "one.tif", "--codes", "water=x"), "--codes water: x: numbers"),
        (("--reference", "one.tif", "--codes", "globe"), "--codes globe: use mask"),
        (("--design", "p.shp"), ".csv or .geojson"),
        (("--design", "no/p.csv"), "does not exist"),
        (("--design", "p.csv", "--expected", "ice=0.4"), "ice"),
        (("--design", "p.csv", "--expected", "much"), "--expected much: numbers"),
        (("--design", "p.csv", "--margin", "5"), "--margin 5.0"),
    ],
)
def test_mistakes_are_one_line(shell, store, tmp_path, words, message):
    (tmp_path / "bad.csv").write_text("lon,lat,class\n105,26,pond\n")
    (tmp_path / "far.csv").write_text("lon,lat,class\n1,2,water\n")
    (tmp_path / "text.tif").write_text("text")
    (tmp_path / "text.gpkg").write_text("text")
    write(tmp_path / "one.tif", np.ones((40, 44), np.uint8), store[1])
    words = [tmp_path / w if str(w).endswith((".csv", ".tif", ".gpkg", ".shp")) else w for w in words]
    done = shell("assess", store[0], *words)
    assert done.code == 2, done.err
    assert message.replace("no file none", f"no file {tmp_path}/none") in done.err
    assert "Traceback" not in done.err and "unexpected" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("lakecube: ")]) <= 1
    assert not (tmp_path / "p.csv").exists()


def test_no_store(shell, tmp_path):
    done = shell("assess", tmp_path / "none.zarr", "--design", tmp_path / "p.csv")
    assert done.code == 2 and "no store" in done.err


def test_the_help_has_examples(shell):
    done = shell("assess", "--help")
    assert done.code == 0 and done.out.count("lakecube assess lake.zarr") == 6
    assert "fusion.zarr linknet50.zarr" in done.out
