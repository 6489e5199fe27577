"""`plan`: no pixel is read, and what it counts is what `to_zarr` then runs."""

from __future__ import annotations

import json
import shutil

import dask
import numpy as np
import pytest
import rasterio

import lakecube
from lakecube.errors import InvalidInputError
from lakecube.plan import START, Plan, plan


@pytest.fixture(scope="module")
def gone(archive, tmp_path_factory):
    """The items of an archive whose files are not there."""
    folder = tmp_path_factory.mktemp("gone")
    shutil.copy(archive.items_path, folder / "items.json")
    return folder / "items.json"


def refuse(dsk, keys, **kwargs):
    raise AssertionError("computed")


@pytest.mark.parametrize("options", [{}, {"threshold": "fixed"}, {"composite": "month"}, {"chunks": 50}])
def test_no_pixel_is_read(gone, options):
    with dask.config.set(scheduler=refuse):
        made = lakecube.open(gone, chunks=64).water.plan(**options)
    assert made.scenes == 6
    assert made.dates == 3
    assert made.pixels == 3 * np.prod(made.shape)
    assert made.bytes_raw > 0
    assert made.bytes_read > 0
    assert made.bytes_measured == 0


def test_bytes_follow_the_files_and_the_window(archive, gone):
    whole = lakecube.open(archive.items_path).water.plan(threshold="fixed")
    assert whole.bytes_measured == pytest.approx(1)
    bands = {"B02", "B03", "B04", "B05", "B08", "B09", "B11", "B12", "SCL"}
    files = [f for f in archive.path.rglob("*.tif") if f.stem.upper() in bands]
    sampled = [f for f in files if f.stem.upper() in {"B08", "B11"}]  # read once more for the audit of their offset
    expected = sum(f.stat().st_size for f in (*files, *files, *sampled))  # small ones are read twice
    assert 0.9 * expected <= whole.bytes_read <= 1.001 * expected
    west, south, east, north = archive.bbox
    half = lakecube.open(archive.items_path, bbox=(west, south, east, (south + north) / 2)).water.plan(
        threshold="fixed"
    )
    always = sum(f.stat().st_size for f in sampled)
    assert half.bytes_read - always == pytest.approx((whole.bytes_read - always) / 2, rel=0.15)
    assert half.bytes_raw == pytest.approx(whole.bytes_raw / 2, rel=0.15)


def test_types_and_bands_are_those_of_the_files(tmp_path):
    """Three of four float32 bands are asked for: three quarters of the file, four bytes a pixel."""
    path = tmp_path / "2021-06-01.tif"
    profile = {"driver": "GTiff", "dtype": "float32", "count": 4, "height": 64, "width": 64, "crs": "EPSG:32648"}
    with rasterio.open(path, "w", interleave="band", transform=(10, 0, 5e5, 0, -10, 3e6), **profile) as file:
        file.write(np.full((4, 64, 64), 0.1, np.float32))
        file.descriptions = ("blue", "green", "nir", "swir16")
    made = lakecube.open(path, bands={"green": "green", "nir": "nir", "swir16": "swir16"}).water.plan()
    assert made.bytes_raw == 3 * 4 * 64 * 64
    assert made.bytes_read == pytest.approx(2 * 0.75 * path.stat().st_size, rel=0.01)
    assert "64 x 64 px of 10 m in EPSG:32648" in repr(made)
    assert "mapping water" in repr(made)


def test_the_pass_for_thresholds_reads_nothing_twice(archive):
    cube = lakecube.open(archive.items_path)
    assert plan(cube).bytes_read == plan(cube, threshold="fixed").bytes_read > 0


@pytest.mark.parametrize("options", [{}, {"threshold": "fixed"}])
def test_tasks_are_those_that_run(archive, tmp_path, options):
    cube = lakecube.open(archive.items_path, chunks=40)
    made = cube.water.plan(chunks=40, **options)
    cube.water.extract(**options).water.to_zarr(tmp_path / "s.zarr", chunks=40, progress=False)
    (report,) = (tmp_path / "s.zarr" / "_runs").glob("*.json")
    ran = {name: facts["tasks"] for name, facts in json.loads(report.read_text())["passes"].items()}
    assert made.blocks == 3 * 4 * 4
    assert sum(made.tasks.values()) == pytest.approx(sum(ran.values()), rel=0.15)


def test_an_extract_has_a_plan_without_bytes(cube):
    made = plan(cube.water.extract())
    assert made.bytes_read is None
    assert "not known" in repr(made)


def test_it_prints_and_serialises(gone):
    made = lakecube.open(gone).water.plan()
    assert isinstance(made, Plan)
    assert made.to_dict() == json.loads(json.dumps(made.to_dict())) | {
        k: v for k, v in made.to_dict().items() if isinstance(v, tuple)
    }
    assert "Estimates:" in repr(made)
    assert made._repr_html_().startswith("<table>")


def test_the_absurd_is_doubted_with_advice(gone, monkeypatch):
    fine = lakecube.open(gone).water.plan()
    assert fine.warnings == ()
    finer = lakecube.open(gone, crs="EPSG:32648", resolution=2, chunks=1000).water.plan()
    assert any("leave out resolution=" in w for w in finer.warnings)
    assert any(
        "chunks=1024" in w for w in lakecube.open(gone, resolution=2, chunks=100).water.plan(chunks=100).warnings
    )
    monkeypatch.setattr("lakecube.capacity.memory_here", lambda: fine.peak_memory)
    assert any("fewer workers" in w for w in lakecube.open(gone).water.plan().warnings)


def test_what_cannot_run_is_refused_with_what_can(gone, monkeypatch):
    cube = lakecube.open(gone)
    with pytest.raises(InvalidInputError, match=r"years with .* tasks at a time: cut the area"):
        cube.water.plan(speed=1e-6)
    monkeypatch.setattr("lakecube.capacity._MOST_BYTES", 1000)
    with pytest.raises(InvalidInputError, match=r"[kM]B would be read.* one region after the other"):
        cube.water.plan()
    monkeypatch.undo()
    monkeypatch.setattr("lakecube.capacity.memory_here", lambda: 10**8)
    with pytest.raises(InvalidInputError, match=r"one block of .* px takes about .* MB, and this machine has 100 MB"):
        cube.water.plan()


def test_a_cluster_without_workers_is_told(gone):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        made = lakecube.open(gone).water.plan()
        assert "the cluster has no workers yet, so memory and time are those of" in made.warnings[0]
        cluster.scale(1)
        client.wait_for_workers(1, timeout=60)
        assert lakecube.open(gone).water.plan().warnings == ()


def test_a_speed_that_was_measured_tells_the_time(gone):
    cube = lakecube.open(gone)
    rest = cube.water.plan(speed=1e12).seconds  # the start, and the revision
    slow, fast = (cube.water.plan(speed=speed).seconds - rest for speed in (1e3, 1e4))
    assert slow == pytest.approx(10 * fast) and START < rest < START + 1


def test_memory_is_of_the_block_not_of_area_or_dates(gone):
    cube = lakecube.open(gone, chunks=32)
    some, all_of_it = cube.isel(time=[0], y=slice(0, 32), x=slice(0, 32)), cube
    least, most = (plan(c.water.extract(), chunks=32).peak_memory for c in (some, all_of_it))
    assert most <= 1.2 * least


def test_wrong_parameters_are_refused(gone):
    with pytest.raises(InvalidInputError, match=r"no parameter typo"):
        lakecube.open(gone).water.plan(typo=1)
    with pytest.raises(InvalidInputError, match=r"bandwidth"):
        lakecube.open(gone).water.plan(bandwidth=0)
