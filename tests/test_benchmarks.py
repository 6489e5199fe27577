"""The benchmarks run: their bodies on a tiny archive, so that they cannot rot."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import archive, crf, dashboard, lakes, pipeline, refine_esw, slic
from lakecube.kernels.lab import rgb_to_lab


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(pipeline, "STORE", tmp_path / "s.zarr")
    return archive.archive(96, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # odc-stac's own, on these versions
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # raised in odc-stac's reprojection
def test_both_sides_read_the_same_archive(tiny):
    theirs, ours = pipeline.odc_load(tiny), pipeline.read(tiny)
    assert theirs.sizes["time"] == ours.sizes["time"] == 2
    assert (theirs.sizes["y"], theirs.sizes["x"]) >= (ours.sizes["y"], ours.sizes["x"]) == (96, 96)
    pipeline.fusion(tiny)
    tasks = pipeline.tasks_per_block()
    assert 0 < tasks["observed"] + tasks["facts"] <= 8


def test_an_archive_repeated_has_other_files_and_other_dates(tiny):
    many = pipeline.read(archive.repeated(tiny, 3))
    assert many.sizes["time"] == 6
    assert len({*many.item_id.values}) == 6
    assert Path(tiny).exists()


def test_lakes_are_measured():
    rates = lakes.kernels(96, 0.2, 1)
    assert all(rate > 0 for rate in rates.values())
    assert lakes.registry(1000) < 5
    assert lakes.memory(512, 2) > 0


@pytest.mark.slow
def test_extents_are_measured(capsys):
    lakes.extent_table((48, 48), 3)
    assert "recall" in capsys.readouterr().out


@pytest.mark.slow
def test_a_dashboard_is_measured(tmp_path):
    pytest.importorskip("bokeh")
    dashboard.to_zarr(dashboard.sparse(200, 3, chunk=64), tmp_path / "s.zarr", chunks=64, progress=False)
    with dashboard.Served(tmp_path / "s.zarr") as served:
        assert 0 < dashboard.one_user(served.url, 0) < 120
        assert served.mebibytes() > 50


def test_superpixels_are_measured():
    rates = slic.measure(64, 1)
    assert all(rate > 0 for side in rates.values() for rate in side.values())
    found = slic.overhead(400, 200)
    assert found["exchange"] > 0
    assert found["exchange: tasks"] > found["halo: tasks"] > 0


def test_prediction_is_measured(tmp_path):
    pytest.importorskip("torch")
    from benchmarks import predict

    weights = predict.fresh("unet", tmp_path, width=2)
    image = predict.picture(crf.synthetic(96)[0])
    rates = predict.speed(weights, image, batches=((32, 1),), repeats=1)
    assert rates["forwarded_per_useful"] == 1
    assert rates["ratio"] > 0
    assert predict.forwarded(weights, (2048, 2048)) > 2048**2


def test_outlines_are_measured():
    pytest.importorskip("pydensecrf")
    picture, probability = crf.synthetic(64)
    scores = crf.compare(crf.noisy(picture, 5), probability, 1)
    assert scores["labels_equal"] > 0.98
    truth = probability > 0.5
    rgb = picture.astype(np.float32) / 255
    edge = refine_esw.edge_of(truth)
    scene = refine_esw.Scene(
        "s", rgb, rgb_to_lab(*rgb), truth, edge, refine_esw.within(edge, 3), refine_esw.coarse(truth)
    )  # fmt: skip
    perfect = refine_esw.figures(truth, scene)
    assert perfect == {"iou": 1.0, "eoa": 1.0, "eoe": 0.0, "ece": 0.0, "recall": 1.0}
    start = refine_esw.over([scene], lambda s: s.coarse)
    assert start["iou"] < 1
    for way, options in ((refine_esw.by_slic, (6, 10.0)), (refine_esw.by_aslic, (8, 0.02)),
                         (refine_esw.by_crf, (0.7, 13.0, 20.0, 5.0))):  # fmt: skip
        assert refine_esw.over([scene], way, *options)["iou"] > start["iou"] - 0.1
    assert refine_esw.by_both(scene, 6, 10.0, 0.7, 13.0, 20.0, 5.0).shape == truth.shape
    recall, error, n = refine_esw.quality(refine_esw.superpixels(scene, 8, 10.0), truth)
    assert 0.3 < recall <= 1
    assert 0 <= error < 0.2
    assert n > 20
