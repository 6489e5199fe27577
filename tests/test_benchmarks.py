"""The benchmarks run: their bodies on a tiny archive, so that they cannot rot."""

import json
from pathlib import Path

import distributed
import numpy as np
import pytest

from benchmarks import (
    archive,
    cluster,
    crf,
    dashboard,
    deep_esw,
    deep_tables,
    faults,
    folds_esw,
    items,
    lakes,
    pipeline,
    refine_esw,
    scale,
    slic,
    sparse_archive,
)  # fmt: skip
from benchmarks.real_scenes import Scene
from lakecube.errors import InvalidInputError
from lakecube.kernels.lab import rgb_to_lab
from lakecube.names import OBSERVATION
from tests.models.test_samples import write


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


def test_two_workers_are_measured_against_one(tiny, tmp_path):
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        there = cluster.on_cluster(client, tiny, tmp_path / "there", 48)
    here = cluster.on_threads(2, tiny, tmp_path / "here", 48)
    sides = {"one worker": [there], "two workers": [there], "one thread": [here], "two threads": [here]}
    found = cluster.summary(sides)
    assert found["same_bytes"] and found["ratio of two workers, seconds"]["median"] == 1
    assert 0 < found["busy"]["one worker"] <= 1


def test_an_archive_repeated_has_other_files_and_other_dates(tiny):
    many = pipeline.read(archive.repeated(tiny, 3))
    assert many.sizes["time"] == 6
    assert len({*many.item_id.values}) == 6
    assert Path(tiny).exists()


def test_many_items_are_opened_stored_and_found_unchanged(tmp_path, capsys):
    given, store = items.make(tmp_path, 6, 2), tmp_path / "s.zarr"
    for what in ("open", "write", "update"):
        found = items.run(what, given, store, profile=False)
        items.show(found)
        assert (found["what"], found["items"], found["dates"]) == (what, 6, 3) and found["seconds"] > 0
    assert "6 items on      3 dates" in capsys.readouterr().out
    assert len(list((store / "_runs").iterdir())) == 2  # the update made the revision, and read nothing


def test_scale_is_measured_and_planned(tmp_path, capsys):
    """Twice the dates: the same graph, and what was planned is what ran."""
    found = []
    for dates in (2, 4):
        place = tmp_path / f"{dates}"
        place.mkdir()
        items = sparse_archive.make(place, 240, dates, clear=0.5, block=120, chip=60)
        found.append(scale.process(items, place / "s.zarr", 60))
        found[-1] |= {"side": 240, "dates": dates, "nominal_bytes": dates * sparse_archive.nominal_bytes(240)}
        scale.show(found[-1])
    few, many = found
    assert many["graph_tasks"] <= few["graph_tasks"] * 2  # both fit into one group of dates
    for one in found:
        assert one["tasks_per_block"] <= 6
        assert one["planned"]["tasks"] == pytest.approx(one["tasks"], rel=0.2)
        assert one["planned"]["bytes_raw"] == pytest.approx(one["nominal_bytes"], rel=0.1)
    assert "per block·date" in capsys.readouterr().out
    kept, sizes = tmp_path / "kept.json", ((240, 2), (240, 4), (240, 4))
    kept.write_text(json.dumps([few, many, many]))
    assert len(scale.measure(tmp_path, sizes, 60, kept)) == 3  # none is run again
    with pytest.raises(ValueError, match="other runs"):
        scale.measure(tmp_path, sizes[::-1], 60, kept)
    expected, read = scale.bytes_read(items, tmp_path, 60)
    assert 0 < expected < 5 * read


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
    dashboard.to_zarr(dashboard.sparse(2400, 3, chunk=512), tmp_path / "s.zarr", chunks=512, progress=False)
    costs = dashboard.first_map(tmp_path / "s.zarr")
    assert costs["with overviews"] < costs["without overviews"]
    with dashboard.Served(tmp_path / "s.zarr") as served:
        assert 0 < dashboard.one_user(served.url, 0) < 120
        assert served.mebibytes() > 50


def test_superpixels_are_measured():
    rates = slic.measure(64, 1)
    assert all(rate > 0 for side in rates.values() for rate in side.values())
    found = slic.overhead(400, 200)
    assert found["exchange"] > 0
    assert found["exchange: tasks"] > found["halo: tasks"] > 0


def test_prediction_is_measured(tmp_path, capsys):
    pytest.importorskip("torch")
    from benchmarks import predict
    from lakecube.models.predictor import default_tiling

    weights = predict.fresh("unet", tmp_path, width=2)
    image = predict.picture(crf.synthetic(96)[0])
    rates = predict.speed(weights, image, batches=((32, 1),), repeats=1)
    margin = default_tiling(weights.spec).margin
    assert rates["forwarded_per_useful"] == pytest.approx((1 + 2 * margin / 1024) ** 2)
    assert rates["ratio"] > 0
    assert predict.forwarded(weights, (96, 96)) == 96**2
    assert predict.forwarded(weights, (2048, 2048)) == (2048 + 2 * margin) ** 2
    found = predict.seams(weights, [image], [0, 32], tile=32)
    labels, largest = predict.by_bfloat16(weights, [image])
    assert 0 <= labels < 0.1
    assert 0 < largest < 0.1
    predict.show({"unet": found}, {"unet, float32": rates})
    printed = capsys.readouterr().out
    assert f"| 32 | {100 * found[1].labels:.2g} %" in printed
    assert f"{rates['ratio']:.3g}" in printed
    bands = predict.reflectance(crf.synthetic(96)[0], ("green", "nir"))
    assert float(bands.nir.max()) <= 0.3
    assert set(bands) == {"green", "nir"}


def test_networks_of_reflectance_are_measured():
    pytest.importorskip("torch")
    from benchmarks import deep_reflectance

    chance = np.random.default_rng(0)
    wet = chance.random((40, 48)) < 0.3
    bands = {name: np.where(wet, 0.05, 0.2).astype(np.float32) for name in ("blue", "red", "nir", "swir16", "swir22")}
    bands["green"] = np.where(wet, 0.1, 0.15).astype(np.float32)
    observation = np.full(wet.shape, OBSERVATION["clear"], np.uint8)
    observation[:, :8] = OBSERVATION["cloud"]
    bands["green"][:, :8] = 0.9  # is not judged
    scenes = [Scene("places", f"{place}/1", bands, observation, wet ^ (place == "p01")) for place in ("p03", "p01")]
    made_up = deep_reflectance.synthetic(1, 64)
    assert [scene.name[:2] for scene in made_up] == ["0/", "0/"]
    found = deep_reflectance.table(scenes, made_up)
    assert found["NDWI > 0"][:2] == (1, 0)
    assert found["NDWI > 0"][2] > 0
    assert 0 <= found["rgbn-unet"][0] <= 1
    assert 0 <= found["sapcnn-green-nir"][0] <= 1
    assert found["Fmask or truth, voted by A-SLIC"][2] > found["NDWI > 0"][1]
    assert "sapcnn-rgb" not in found
    assert "rgb-efficientnet-unet" not in found


@pytest.mark.slow
def test_the_memory_of_prediction_is_measured(tmp_path):
    pytest.importorskip("torch")
    from benchmarks import predict

    assert predict.memory(predict.fresh("unet", tmp_path, width=2), 512) > 1


def test_outlines_are_measured():
    pytest.importorskip("pydensecrf")
    picture, probability = crf.synthetic(64)
    scores = crf.compare(crf.noisy(picture, 5), probability, 1)
    assert scores["labels_equal"] > 0.98
    tiles = crf.tiled(crf.spread(picture, 96), crf.spread(probability, 96), 48)
    assert tiles["labels_equal"] > 0.98
    assert crf.surrounded(picture, probability, 32, 16, 1) > 0
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


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_tables_of_the_deep_methods_are_made(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    flat_pictures(tmp_path, 7)
    samples, odd = deep_esw.split(tmp_path)
    assert odd == ["01", "03", "05", "07"]
    assert [scene.name for scene in samples.scenes] == ["02", "04", "06"]
    scene = refine_esw.read(tmp_path)[0]
    assert deep_esw.measures(deep_esw.counts(scene.truth, scene)) == dict.fromkeys(deep_esw.MEASURES, 1.0)
    half = scene.truth & (np.arange(72) < 36)
    row = deep_esw.table_row(
        [scene, scene._replace(name="again")], [half * 1.0, scene.truth * 1.0], deep_esw.by_network, ()
    )
    share = half.sum() / scene.truth.sum()
    assert row["pooled"]["recall"] == pytest.approx((1 + share) / 2)
    assert row["mean"]["iou"] == pytest.approx((1 + share) / 2)
    assert row["eoa"] == pytest.approx(1 - row["eoe"])
    monkeypatch.setattr(
        deep_esw, "GRIDS", {name: (way, tuple(g[:1] for g in grid)) for name, (way, grid) in deep_esw.GRIDS.items()}
    )
    monkeypatch.setattr(
        deep_esw, "probability", lambda scene, model, views: np.where(scene.coarse, 0.8, 0.2).astype(np.float32)
    )
    rows = deep_esw.judge(tmp_path / "none", [scene], refine_esw.read(tmp_path)[1:3])
    assert set(rows) == {"", "SLIC", "CRF", "SLIC + CRF"}
    assert all(0 < row["pooled"]["iou"] <= 1 for row in rows.values())
    assert set(deep_esw.judge(tmp_path / "none", [scene], [scene], refined=False)) == {""}
    assert len(deep_esw.first_samples(tmp_path, 3).scenes) == 4
    assert deep_esw.first_stage(deep_esw.SHORT).epochs == 1


def test_one_command_makes_the_tables_of_both_papers(tmp_path, monkeypatch):
    """Both benchmarks take the words that it gives them, and stop at the folder that is not there."""
    pytest.importorskip("torch")
    words = [str(tmp_path / "none"), str(tmp_path / "first"), "--out", str(tmp_path / "out")]
    with pytest.raises(InvalidInputError, match="none"):
        deep_tables.main(words)
    monkeypatch.setattr(deep_esw, "main", lambda words: None)
    with pytest.raises(FileNotFoundError, match="none"):
        deep_tables.main(words)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cao", "chen"]


def flat_pictures(folder, n):
    chance = np.random.default_rng(0)
    for k in range(1, n + 1):
        truth = np.hypot(*np.ogrid[-40:40, -36:36]) < 12 + k
        image = np.where(truth, 60, 140) + chance.integers(-15, 15, (3, 80, 72))
        write(folder / "images" / f"{k:02d}.png", image.astype(np.uint8))
        write(folder / "masks" / f"{k:02d}.png", truth.astype(np.uint8))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_fold_is_judged_by_pictures_that_taught_it_nothing(tmp_path):
    pytest.importorskip("torch")
    from benchmarks import predict
    from lakecube.models.registry import load

    flat_pictures(tmp_path, 6)
    predict.fresh("unet", tmp_path, width=2)
    start = str(tmp_path / "unet.safetensors")
    common = [str(tmp_path), "--start", start, "--architecture", "unet", "--folds", "3", "--epochs", "1"]

    def learnt(out):
        folds_esw.main([*common, "--only", "1", "--out", str(tmp_path / out)])
        state = load(tmp_path / out / "fold-1" / "fold-1.safetensors")[1]
        return b"".join(state[name].numpy().tobytes() for name in sorted(state))

    first = learnt("first")
    table = json.loads((tmp_path / "first" / "table.json").read_text())
    assert [set(row["iou_by_scene"]) for row in table.values()] == [{"03"}] * 4
    write(tmp_path / "images" / "03.png", np.full((3, 80, 72), 90, np.uint8))
    assert learnt("judge-changed") == first
    write(tmp_path / "images" / "01.png", np.full((3, 80, 72), 90, np.uint8))
    assert learnt("other-changed") != first


def test_the_table_of_faults_is_made(tmp_path, capsys):
    found = faults.measure(tmp_path, ["404", "503"], dates=2)
    faults.show(found)
    assert [(one.read_failed > 0, one.given_up > 0) for one in found] == [(False, False), (True, True)]
    assert all(one.spoilt and one.others_identical and one.mended_identical for one in found)
    assert [one.changed_pixels for one in found] == [0, 0]
    assert "the server answered 404" in capsys.readouterr().out
