"""SAPCNN trained from the same samples as the other networks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lakecube.errors import InvalidInputError
from lakecube.models import patch_training
from lakecube.models.samples import folder_samples
from lakecube.models.train import train
from tests.models.test_samples import write

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Five pictures of 64 × 64 with a dark lake; the labels of the upper rows are unknown."""
    folder, chance = tmp_path_factory.mktemp("lakes"), np.random.default_rng(0)
    for k in range(5):
        wet = np.hypot(*np.ogrid[-32:32, -32:32]) < 14 + k
        image = np.where(wet, 50, 150) + chance.integers(-9, 9, (3, 64, 64))
        labels = wet.astype(np.uint8)
        labels[:8] = 9
        write(folder / "images" / f"s{k}.png", image.astype(np.uint8))
        write(folder / "masks" / f"s{k}.png", labels)
    return folder_samples(folder, ignore=9)


def test_it_learns_and_says_what_it_is(samples, tmp_path, monkeypatch):
    from lakecube.models import sapcnn_train
    from lakecube.models.registry import load

    monkeypatch.setattr(sapcnn_train, "fit", partial(sapcnn_train.fit, epochs=3))
    monkeypatch.setattr(patch_training, "_MOST", 80)
    found = train(samples, "sapcnn", out=tmp_path, options={"hidden": 8, "pooling": "max"}, progress=False)
    assert found.rows[-1]["loss"] < found.rows[0]["loss"]
    assert found.metrics["accuracy"] == found.rows[found.metrics["epoch"]]["accuracy"]
    spec, state = load(found.weights)
    assert (spec.name, spec.patch, spec.radiometry) == ("sapcnn-bgr", 28, "display")
    assert spec.options == {"hidden": 8, "pooling": "max"}
    assert "from 4 scenes; 1 others validated" in spec.training
    from lakecube.models.nets import build

    build("sapcnn", 3, **spec.options).load_state_dict(state)
    assert (tmp_path / "log.csv").read_text().count("cross-entropy") == len(found.rows)
    assert (tmp_path / "curve.png").exists()


def test_patches_are_few_whatever_the_scenes_and_drawn_from_what_is_known(samples):
    some = patch_training.gathered(samples.scenes, samples.bands, 8, seed=0)
    assert len(some.labels) == 5 * 8
    assert some.labels.sum() == 5 * 3
    assert some.values.shape[1:] == (3, 28, 28)
    again = patch_training.gathered(samples.scenes, samples.bands, 8, seed=0)
    assert np.array_equal(some.values, again.values)


@pytest.mark.parametrize("bands", [("blue", "green", "nir"), ("red", "green", "blue"), ("green", "nir")])
def test_every_set_of_bands_has_superpixels(bands):
    values = np.full((len(bands), 48, 40), 0.1, np.float32)
    values[:, :, 23:], values[:, :3] = 0.2, np.nan
    labels = patch_training.superpixels(values, bands, "reflectance")
    assert (labels[:3] < 0).all()
    assert 4 <= len(np.unique(labels[3:])) < 60


def test_superpixels_are_those_of_the_method():
    """Of any set of bands that the method takes."""
    from lakecube.methods import sapcnn
    from lakecube.models.superpixel_bands import PRICE, REGION
    from lakecube.synthetic.cube import sentinel2_cube

    cube = sentinel2_cube((48, 50), 1, seed=5, clouds=0.0).drop_vars(["y", "x"])  # a window that is anchored nowhere
    for bands in (
        ("green", "nir"),
        ("blue", "green", "red", "nir08"),
        ("blue", "green", "red"),
        ("green", "red", "nir"),
    ):
        some = cube[[*bands]]
        part = some[bands[0]].notnull()
        found = sapcnn._superpixels(some, part, "aslic", sapcnn._bands_of_superpixels(some), REGION, PRICE)
        values = np.stack([some[band].values[0] for band in bands])
        np.testing.assert_array_equal(
            _numbered(found.values[0]), _numbered(patch_training.superpixels(values, bands, "reflectance"))
        )


def _numbered(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def test_how_it_is_trained_is_no_part_of_the_network(samples, tmp_path, monkeypatch):
    from lakecube.models.forward import network
    from lakecube.models.registry import find

    monkeypatch.setattr(patch_training, "_MOST", 80)
    options = {"hidden": 8, "epochs": 1, "patience": 2}
    found = train(samples, "sapcnn", out=tmp_path, options=options, progress=False)
    assert len(found.rows) == 1
    assert find(found.weights).spec.options == {"hidden": 8}
    network(find(found.weights))


def test_a_finished_run_is_not_trained_again(samples, tmp_path, monkeypatch, caplog):
    from lakecube.models import sapcnn_train

    monkeypatch.setattr(patch_training, "_MOST", 40)
    run = partial(train, samples, "sapcnn", out=tmp_path, options={"hidden": 8, "epochs": 1}, progress=False)
    found = run()
    first = found.weights.read_bytes()
    fit = sapcnn_train.fit
    monkeypatch.setattr(sapcnn_train, "fit", None)
    with caplog.at_level("INFO", "lakecube"):
        assert run() == found
    assert "has finished: mode='overwrite' trains anew" in caplog.text
    for other in ({"seed": 3}, {"name": "mine"}, {"options": {"hidden": 8, "epochs": 2}}):
        with pytest.raises(InvalidInputError, match=rf"other settings \({next(iter(other))}.*mode='overwrite'"):
            run(**other)
    monkeypatch.setattr(sapcnn_train, "fit", fit)
    assert run(mode="overwrite", seed=3).weights.read_bytes() != first
    again = run(mode="overwrite")
    assert again.weights.read_bytes() == first
    again.weights.write_bytes(b"changed")
    assert run().weights.read_bytes() == first, "a run whose weights are gone is trained again"


def test_a_run_that_was_stopped_begins_anew(samples, tmp_path, monkeypatch):
    """Its log tells of no weights, whatever weights an earlier run has left."""
    from lakecube.models import sapcnn_train

    monkeypatch.setattr(patch_training, "_MOST", 40)
    run = partial(train, samples, "sapcnn", out=tmp_path, options={"hidden": 8, "epochs": 2}, progress=False)
    whole, fit = run(seed=1).weights.read_bytes(), sapcnn_train.fit

    def stopped(*args, progress, **options):
        def told(row):
            progress(row)
            raise KeyboardInterrupt

        return fit(*args, progress=told, **options)

    monkeypatch.setattr(sapcnn_train, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(mode="overwrite")
    monkeypatch.setattr(sapcnn_train, "fit", fit)
    assert run().weights.read_bytes() != whole


@pytest.mark.parametrize("architecture", ["sapcnn", "unet"])
def test_a_refused_run_leaves_no_folder(samples, tmp_path, architecture):
    unknown = replace(samples, validation=0.99)
    for options in ({"out": tmp_path / "new"}, {"out": tmp_path / "new", "mode": "again"}):
        with pytest.raises(InvalidInputError):
            train(unknown, architecture, **options)
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidInputError):
        train(unknown, architecture, out=tmp_path / "there")
    assert (tmp_path / "there").exists()


def test_mistakes_are_named(samples, tmp_path):
    for options in ({"dropout": 0.2}, {"seed": 3}, {"epochs": 0}, {"hidden": "wide"}):
        with pytest.raises(InvalidInputError, match=r"no option|whole number"):
            train(samples, "sapcnn", out=tmp_path, options=options)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"of another run")
    with pytest.raises(InvalidInputError, match="another training run"):
        train(samples, "sapcnn", out=tmp_path)
    for options in ({"preset": "cao-2024"}, {"minutes": 3}, {"start": "x"}, {"encoder_only": True}):
        with pytest.raises(InvalidInputError, match="with preset 'chen-2018' alone"):
            train(samples, "sapcnn", out=tmp_path, **options)
