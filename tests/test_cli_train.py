"""`lakecube train` from outside: what it writes and says, its exit codes, how it goes on after Ctrl-C."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lakecube.cli import main
from tests.models.test_samples import write

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SMALL = ("--architecture", "unet", "--set", "width=4", "--tile", "32", "--validation", "0.3", "--preset", "quick",
         "--epochs", "1", "--batch", "4", "--workers", "1")  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("lakes"), np.random.default_rng(0)
    for k in range(5):
        wet = np.hypot(*np.ogrid[-32:32, -32:32]) < 10 + 3 * k
        image = np.where(wet, 60, 150) + chance.integers(-9, 9, (3, 64, 64))
        write(folder / "images" / f"s{k}.png", image.astype(np.uint8))
        write(folder / "masks" / f"s{k}.png", wet.astype(np.uint8))
    return folder


def test_it_trains_and_says_what_it_kept(lakes, tmp_path, capsys):
    assert main(["train", str(lakes), "--out", str(tmp_path / "run"), "--hold-out", "s4", *SMALL, "--tile", "16"]) == 0
    out, err = capsys.readouterr()
    assert "unet, 4 scenes, into" in out
    told = json.loads((tmp_path / "run" / "samples.json").read_text())
    assert sorted(told["training"] + told["validation"]) == ["s0", "s1", "s2", "s3"]
    (judge,) = told["validation"]
    assert f"1 of the scenes validate: {judge}\n" in err
    assert told["left_out"] > 0
    assert f"{told['tiles']} tiles of 3 scenes to learn from; {told['left_out']} left out, since no water" in err
    assert err.index("validate") < err.index("epoch 1")
    assert "unet: epoch 2 of 2, lovasz" in err
    assert "kept: " in out
    assert "unet-bgr.safetensors (epoch" in out
    assert "validation: IoU" in out
    assert (
        main(
            ["train", str(lakes), "--out", str(tmp_path / "run"), "--hold-out", "s4", *SMALL, "--tile", "16", "--json"]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["epochs"] == 2
    assert main(["train", str(lakes), "--out", str(tmp_path / "again"), *SMALL, "-v"]) == 0
    assert capsys.readouterr().err.count("epoch 2 of 2") == 1
    assert told["weights"].endswith("run/unet-bgr.safetensors")


def test_bands_of_the_files_and_bands_to_use(lakes, tmp_path, capsys):
    words = ("--channels", "blue", "green", "red", "--use", "red", "green")
    assert main(["train", str(lakes), "--out", str(tmp_path / "run"), *SMALL, *words]) == 0
    assert "unet-rg.safetensors" in capsys.readouterr().out


def test_it_goes_on_after_ctrl_c(lakes, tmp_path, capsys, monkeypatch):
    from tests.models.test_train import stop_after

    words = ["train", str(lakes), "--out", str(tmp_path / "run"), *SMALL]
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert main(words) == 130
    assert "interrupted; the same command resumes where this one stopped" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give folders of pictures and masks, or --cube with --polygons"),
        (("--cube", "x.zarr"), "--cube needs --polygons"),
        (("{lakes}/images",), "there is no folder"),
        (("{lakes}", "--bands", "red"), "has 3 bands, but --bands names red"),
        (("{lakes}", "--channels", "red"), "has 3 bands, but --channels names red"),
        (("{lakes}", "--channels", "red", "--bands", "red"), "and --bands others: give one of them"),
        (("{lakes}", "--use", "nir"), "s0 has no nir; it has red, green, blue"),
        (("{lakes}", "--hold-out", "x*"), "no scene is called 'x*'"),
        (("{lakes}", "--epochs", "1,2,3"), "one number, or one for each of the preset's 2 phases"),
        (("{lakes}", "--rate", "fast"), "--rate fast: numbers are needed"),
        (("{lakes}", "--rate", "0"), "a rate above 0"),
        (("{lakes}", "--tile", "2"), "--tile 2: a tile has 8 pixels or more"),
        (("{lakes}", "--validation", "1"), "--validation one below 1"),
        (("{lakes}", "--start", "nothing"), "no model 'nothing'"),
        (("{lakes}", "--architecture", "lnknet"), "unknown architecture 'lnknet'"),
        (("{lakes}", "--architecture", "sapcnn"), "sapcnn knows no --epochs, --batch"),
        (("{lakes}", "--bands", "r", "g", "b"), "name them so with --bands"),
        (("{lakes}", "--name", "runs/lakes"), "without a folder; got 'runs/lakes'"),
        (("{lakes}", "--seed", "-1"), "--seed -1: a whole number"),
        (("{lakes}", "--workers", "0"), "--workers 0: a number of threads"),
        (("{lakes}", "--out", "/nowhere/run"), "the folder /nowhere does not exist"),
        (("{lakes}", "--device", "abacus"), "--device abacus cannot be used here"),
    ],
)
def test_mistakes_are_one_line(lakes, tmp_path, capsys, words, message):
    words = [word.format(lakes=lakes) for word in words]
    assert main(["train", "--out", str(tmp_path / "run"), *SMALL, *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_another_run_is_not_written_over(lakes, tmp_path, capsys):
    words = ["train", str(lakes), "--out", str(tmp_path / "run"), *SMALL]
    assert main(words) == 0
    assert main([*words, "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert "holds a training run of other settings" in error
    assert "--mode overwrite" in error
    assert main([*words, "--seed", "1", "--mode", "overwrite"]) == 0


def test_a_cube_and_polygons(tmp_path, capsys):
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import Point

    grid = {"crs": "EPSG:32648", "transform": (10, 0, 0, 0, -10, 960), "nodata": 0}
    image = np.random.default_rng(0).integers(900, 1100, (2, 96, 96)).astype(np.uint16)
    scene = tmp_path / "scene_20210601.tif"
    write(scene, image, descriptions=("green", "nir"), scales=(1e-4,) * 2, **grid)
    geopandas.GeoDataFrame(geometry=[Point(480, 480).buffer(300)], crs="EPSG:32648").to_file(tmp_path / "lakes.gpkg")
    words = ("--cube", scene, "--polygons", tmp_path / "lakes.gpkg", "--bands", "green", "nir")
    assert main(["train", *map(str, words), "--out", str(tmp_path / "run"), *SMALL]) == 0
    assert "unet-gn.safetensors" in capsys.readouterr().out


def test_the_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "lakecube train --cube scenes.zarr --polygons lakes.gpkg" in text
