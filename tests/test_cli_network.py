"""The command line with a neural network: a picture to a store, and one line for every mistake."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install -c constraints.txt '.[deep]'")

import lakecube
from lakecube.cli import main
from tests.io.test_pictures import write
from tests.models import made

pytestmark = pytest.mark.filterwarnings("ignore:.*tells no")


@pytest.fixture
def picture(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)
    return str(write(tmp_path / "picture.png", numbers, "PNG"))


def test_a_picture_becomes_a_store(picture, tmp_path, capsys):
    model = made.shared(bands=("red", "green", "blue"), radiometry="display")
    out = str(tmp_path / "s.zarr")
    options = ["--method", "linknet50", "--model", model, "--threshold", "0.4", "--set", "refine=crf"]
    assert main(["extract", picture, *options, "--out", out, "--quiet"]) == 0
    assert (lakecube.open_store(out).threshold == np.float32(0.4)).all()
    assert main(["info", out]) == 0
    assert "linknet50: model tiny, refine crf, threshold 0.4, every date" in capsys.readouterr().out
    assert main(["plan", picture, *options]) == 0
    assert "finding thresholds 0" in capsys.readouterr().out


@pytest.mark.filterwarnings("always:.*only chooses")
def test_the_order_of_the_channels_can_be_said(picture, tmp_path, capsys):
    model = made.shared(bands=("red", "green", "blue"), radiometry="display")
    said = []
    for order in (["--channels", "blue", "green", "red"], ["--bands", "1=blue", "2=green", "3=red"],
                  ["--channels", "red", "green", "blue"], ["--bands", "blue", "green", "red"]):  # fmt: skip
        out = str(tmp_path / str(len(said)))
        options = ["--method", "linknet50", "--model", model, "--set", "refine=none", "--quiet"]
        assert main(["extract", picture, *order, *options, "--out", out]) == 0
        said.append(lakecube.open_store(out).water_probability.values)
    assert (said[0] == said[1]).all()
    assert (said[2] == said[3]).all()
    assert (said[0] != said[2]).any()
    told = capsys.readouterr().err
    assert "picture.png is read as red, green, blue" in told  # of the list, which only chooses
    assert "say --bands 1=blue 2=green 3=red" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--channels", "blue", "green", "blue"], "each channel of the files has another STAC common name"),
        (["--channels", "blue", "--bands", "blue"], "give one of them"),
        (["--channels", "green", "nir"], "has 3 channels, but --channels names green, nir"),
        (["--channels", "blue", "green", "red", "nir"], "has 3 channels, but --channels names blue"),
        (["--model", "none.safetensors"], "no weights at none.safetensors"),
        (["--model", "TINY"], "needs nir, swir16"),
        (["--rules", "paper"], "linknet50 has no parameter rules"),
        (["--threshold", "otsu"], "--threshold otsu: a probability"),
    ],
)  # fmt: skip
def test_mistakes_take_one_line(picture, tmp_path, capsys, options, words):
    options = [made.shared() if o == "TINY" else o for o in options]
    assert main(["extract", picture, "--method", "linknet50", *options, "--out", str(tmp_path / "s.zarr")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_its_parameters_are_listed(capsys):
    with pytest.raises(SystemExit):
        main(["extract", "--method", "linknet50", "--list-parameters"])
    listed = capsys.readouterr().out
    for name in ("refine = slic+crf", "unary = probability", "precision = float32", '"n_segments": 2800'):
        assert name in listed
