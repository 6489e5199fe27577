"""Training: it learns, it goes on as if it had never stopped, it keeps what it says, and mistakes are named."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lakecube.errors import InvalidInputError, MissingBandError, ReadError, StoreError
from lakecube.models.presets import PRESETS, Phase, Preset
from lakecube.models.samples import Samples, folder_samples
from lakecube.models.train import train
from tests.models.test_samples import write

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SHORT = Preset((Phase("bce-dice", 2, 3e-3), Phase("lovasz", 1, 1e-3)), batch=3, augment="strong", average=0.9)
SMALL = {"architecture": "unet", "options": {"width": 4}, "progress": False}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Six pictures of 64 × 64 whose water is bluer."""
    folder, chance = tmp_path_factory.mktemp("lakes"), np.random.default_rng(0)
    for k in range(6):
        y, x = np.ogrid[:64, :64]
        wet = np.hypot(y - chance.integers(20, 44), x - chance.integers(20, 44)) < 18
        image = np.stack([np.where(wet, blue, 120) for blue in (60, 90, 160)]) + chance.integers(-9, 9, (3, 64, 64))
        write(folder / "images" / f"s{k}.png", image.astype(np.uint8))
        write(folder / "masks" / f"s{k}.png", wet.astype(np.uint8))
    return folder_samples(folder, tile=32, validation=0.3)


def state_of(path):
    from lakecube.models.registry import load

    return load(path)


def same(a, b):
    left, right = state_of(a)[1], state_of(b)[1]
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(samples, tmp_path_factory):
    """A run that nothing disturbed."""
    torch.set_num_threads(1)
    return train(samples, preset=SHORT, out=tmp_path_factory.mktemp("whole"), **SMALL)


def test_it_learns(samples, tmp_path):
    preset = Preset((Phase("bce-dice", 12, 1e-2),), batch=4)
    found = train(samples, preset=preset, out=tmp_path, **SMALL)
    assert found.rows[-1]["loss"] < 0.6 * found.rows[0]["loss"]
    assert found.metrics["iou_mean"] > 0.8
    assert found.phases == (found.weights,)


def test_what_is_kept_says_what_it_is(whole, samples):
    from lakecube.models.nets import build

    spec, state = state_of(whole.weights)
    assert (spec.architecture, spec.bands, spec.radiometry) == ("unet", ("blue", "green", "red"), "display")
    assert spec.name == "unet-bgr"
    assert spec.metrics["validation_scenes"] == 2
    assert "from 4 scenes of 8-bit display imagery" in spec.training
    build("unet", 3, **spec.options).load_state_dict(state)
    train_scenes, _ = samples.split()
    pixels = np.concatenate([s.read().values.reshape(3, -1)[::-1] for s in train_scenes], axis=1) / 255
    standard = pixels * np.array(spec.scale)[:, None] + np.array(spec.offset)[:, None]
    assert np.allclose(standard.mean(axis=1), 0, atol=1e-6)
    assert np.allclose(standard.std(axis=1), 1, atol=1e-6)


def test_the_log_has_a_row_per_epoch_and_a_picture(whole):
    folder = whole.weights.parent
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["loss_name"] for row in rows] == ["bce-dice", "bce-dice", "lovasz"]
    assert all(float(row["seconds"]) > 0 and 0 <= float(row["iou"]) <= 1 for row in rows)
    told = json.loads((folder / "log.json").read_text())
    assert told["epochs"] == whole.rows
    assert told["settings"]["preset"]["batch"] == 3
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in whole.phases] == ["unet-bgr-1-bce-dice.safetensors", "unet-bgr-2-lovasz.safetensors"]


def test_the_same_seed_gives_the_same_bits_and_another_others(whole, samples, tmp_path):
    assert same(train(samples, preset=SHORT, out=tmp_path / "a", **SMALL).weights, whole.weights)
    assert not same(train(samples, preset=SHORT, out=tmp_path / "b", seed=1, **SMALL).weights, whole.weights)


def stop_after(monkeypatch, calls, method="_step", how="signal"):
    """Press Ctrl-C in the middle of the n-th call, or die there."""
    from lakecube.models.trainer import Trainer

    original, seen = getattr(Trainer, method), []

    def stopped(self, *args):
        seen.append(1)
        if len(seen) == calls:
            if how == "death":
                raise RuntimeError("killed")
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args)

    monkeypatch.setattr(Trainer, method, stopped)


@pytest.mark.parametrize("calls", [1, 5, 7, 10])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(whole, samples, tmp_path, monkeypatch, calls):
    with monkeypatch.context() as patch:
        stop_after(patch, calls)
        with pytest.raises(KeyboardInterrupt, match="the same call goes on"):
            train(samples, preset=SHORT, out=tmp_path, **SMALL)
    assert (tmp_path / "checkpoint.safetensors").exists()
    again = train(samples, preset=SHORT, out=tmp_path, **SMALL)
    assert same(again.weights, whole.weights)
    assert all(same(a, b) for a, b in zip(again.phases, whole.phases, strict=True))
    numbers = [[{k: v for k, v in row.items() if k != "seconds"} for row in one.rows] for one in (again, whole)]
    assert numbers[0] == numbers[1]


def test_a_run_that_was_stopped_while_it_validated_goes_on_bit_for_bit(whole, samples, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 2, "_row")
        with pytest.raises(KeyboardInterrupt):
            train(samples, preset=SHORT, out=tmp_path, **SMALL)
    assert same(train(samples, preset=SHORT, out=tmp_path, **SMALL).weights, whole.weights)


def test_a_run_that_died_goes_on_from_its_last_epoch(whole, samples, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 6, how="death")
        with pytest.raises(RuntimeError, match="killed"):
            train(samples, preset=SHORT, out=tmp_path, **SMALL)
    assert same(train(samples, preset=SHORT, out=tmp_path, **SMALL).weights, whole.weights)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "best"])
def test_a_damaged_checkpoint_is_named_and_begun_anew(whole, samples, tmp_path, damage):
    folder = tmp_path / "run"
    shutil.copytree(whole.weights.parent, folder)
    path = folder / ("best-1.safetensors" if damage == "best" else "checkpoint.safetensors")
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes({"bit": content, "cut": content[:-40], "empty": b"", "best": b""}[damage])
    with pytest.raises(ReadError, match="mode='overwrite'"):
        train(samples, preset=SHORT, out=folder, **SMALL)
    if damage == "bit":
        assert same(train(samples, preset=SHORT, out=folder, mode="overwrite", **SMALL).weights, whole.weights)


def test_a_run_may_go_on_in_float16(whole, samples, tmp_path, monkeypatch):
    """Whose losses are scaled, of which a checkpoint of another format says nothing."""
    from lakecube.models import training_run
    from lakecube.models.trainer import Place

    shutil.copytree(whole.weights.parent, tmp_path / "run")
    monkeypatch.setattr(training_run, "place_of", lambda *_: Place(torch.device("cpu"), "float16"))
    assert same(train(samples, preset=SHORT, out=tmp_path / "run", **SMALL).weights, whole.weights)


def test_a_finished_run_is_not_trained_again(whole, samples, monkeypatch):
    stop_after(monkeypatch, 1, how="death")
    again = train(samples, preset=SHORT, out=whole.weights.parent, **SMALL)
    assert again == whole


def test_other_settings_need_another_folder(whole, samples):
    for other in ({"seed": 3}, {"preset": replace(SHORT, batch=2)}):
        with pytest.raises(InvalidInputError, match=rf"other settings \({next(iter(other))}.*mode='overwrite'"):
            train(samples, out=whole.weights.parent, **{"preset": SHORT, **SMALL, **other})


def test_it_can_begin_anew(whole, samples, tmp_path):
    train(samples, preset=replace(SHORT, batch=2), out=tmp_path, **SMALL)
    assert same(train(samples, preset=SHORT, out=tmp_path, mode="overwrite", **SMALL).weights, whole.weights)


def test_time_may_be_the_limit(samples, tmp_path, monkeypatch):
    """By a clock that ticks when it is looked at."""
    from lakecube.models import trainer

    ticks = itertools.count(0, 0.05)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    found = train(samples, preset=PRESETS["quick"], out=tmp_path, minutes=0.02, **SMALL)
    assert {row["loss_name"] for row in found.rows} == {"bce-dice", "lovasz"}
    assert sum(row["seconds"] for row in found.rows) < 10


def test_a_line_of_progress_tells_of_how_many_epochs_only_where_that_is_known():
    from lakecube.models.training_log import words_of

    row = {"epoch": 16, "loss_name": "lovasz", "loss": 1.0, "iou": None, "seconds": 2.0}
    assert words_of(row, 20) == "epoch 17 of 20, lovasz 1.0000, 2 s"
    assert words_of(row, None) == "epoch 17, lovasz 1.0000, 2 s"


def test_without_validation_the_last_epoch_is_kept(samples, tmp_path):
    found = train(replace(samples, validation=0.0), preset=SHORT, out=tmp_path, **SMALL)
    assert found.metrics["iou"] is None
    assert found.metrics["epoch"] == 2
    assert same(found.weights, found.phases[-1])


def test_bfloat16_learns_too(samples, tmp_path):
    preset = Preset((Phase("bce-dice", 12, 1e-2),), batch=4)
    found = train(samples, preset=preset, out=tmp_path, precision="bfloat16", **SMALL)
    assert found.metrics["iou_mean"] > 0.8


# --- weights to begin with -------------------------------------------------------------------------------------------

NO_STEP = Preset((Phase("bce-dice", 1, 1e-30),), batch=4, weight_decay=0.0)


def test_a_start_fixes_bands_and_scaling(whole, samples, tmp_path):
    turned = samples.ordered(("red", "blue", "green"))
    found = train(turned, preset=NO_STEP, start=whole.weights, out=tmp_path, **SMALL)
    before, after = (state_of(one.weights)[0] for one in (whole, found))
    assert (after.bands, after.scale, after.offset) == (before.bands, before.scale, before.offset)
    assert "Began with unet-bgr" in after.training
    names = [n for n in state_of(whole.weights)[1] if "running" not in n and "tracked" not in n]
    weights = [state_of(one.weights)[1] for one in (whole, found)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in names)


def test_bands_that_a_start_does_not_know_change_nothing_at_first(whole, samples, tmp_path):
    from lakecube.models.beginning import beginning
    from lakecube.models.train import Request

    wider = []
    for scene in samples.scenes:
        picture = scene.read()
        nir = picture.values[:1] // 2
        write(
            tmp_path / "images" / f"{scene.name}.tif", np.concatenate([picture.values, nir]), photometric="MINISBLACK"
        )
        write(tmp_path / "masks" / f"{scene.name}.png", picture.labels)
        wider.append(scene.name)
    four = folder_samples(tmp_path, bands=("red", "green", "blue", "nir"), tile=32)
    begin = beginning("unet", four, Request(tmp_path, options={"width": 4}, start=whole.weights))
    assert begin.bands == ("blue", "green", "red", "nir")
    from lakecube.models.nets import build

    old = build("unet", 3, width=4).eval()
    old.load_state_dict(state_of(whole.weights)[1])
    images = torch.randn(1, 4, 32, 32)
    with torch.no_grad():
        assert torch.allclose(begin.network.eval()(images), old(images[:, :3]), atol=1e-6)


def test_an_encoder_may_be_taken_alone(samples, tmp_path):
    from lakecube.models.beginning import beginning
    from lakecube.models.registry import save
    from lakecube.models.train import Request

    first = beginning("linknet18", samples, Request(tmp_path))
    spec = first.described(32, name="a", architecture="linknet18", scale=(1,) * 3, offset=(0,) * 3, training="")
    save(tmp_path / "a.safetensors", spec, first.network.state_dict(), half=False)
    request = Request(tmp_path, start=tmp_path / "a.safetensors", encoder_only=True, seed=9)
    second = beginning("linknet18", samples, request)
    one, other = first.network.state_dict(), second.network.state_dict()
    equal = {name for name in one if torch.equal(one[name], other[name])}
    assert {name for name in one if name.startswith("encoder.")} <= equal
    assert any(name not in equal for name in one)
    with pytest.raises(InvalidInputError, match=r"the encoder of .* do not fit the network"):
        beginning("linknet34", samples, request)


def test_mistakes_are_named(whole, samples, tmp_path):
    for message, options in {
        "unknown architecture 'linknet5'": {"architecture": "linknet5"},
        "unknown preset 'cao'": {"preset": "cao"},
        "minutes=0": {"minutes": 0},
        "precision='half'": {"precision": "half"},
        "is for GPUs": {"precision": "float16", "device": "cpu"},
        "device='abacus' cannot be used here": {"device": "abacus"},
        "is a unet, not a linknet18": {"architecture": "linknet18", "options": None, "start": whole.weights},
        "do not fit the network: .*more": {"options": {"width": 8}, "start": whole.weights},
        "needs start=": {"encoder_only": True},
        "no model 'nothing'": {"start": "nothing"},
        "mode='append'": {"mode": "append"},
        "augment='odd'": {"preset": replace(SHORT, augment="odd")},
        "one tile of 32 px end in a single pixel, since the network's stride is 32": {
            "options": {"width": 4, "halvings": 1},
            "preset": replace(SHORT, batch=1),
        },
    }.items():
        with pytest.raises(InvalidInputError, match=message):
            train(samples, **{"preset": SHORT, "out": tmp_path / "x", **SMALL, **options})
    with pytest.raises(InvalidInputError, match="have no blue, red"):
        train(samples.ordered(["green"]), preset=SHORT, out=tmp_path / "x", start=whole.weights, **SMALL)
    with pytest.raises(StoreError, match="does not exist"):
        train(samples, preset=SHORT, out=tmp_path / "y" / "x", **SMALL)
    with pytest.raises(MissingBandError):
        samples.ordered(["nir"])


def test_a_start_that_asks_for_a_network_beyond_memory_is_refused(whole, samples, tmp_path):
    from lakecube.models.registry import save

    spec, state = state_of(whole.weights)
    save(tmp_path / "a.safetensors", replace(spec, options={"width": 10**6}), state)  # would take terabytes
    with pytest.raises(InvalidInputError, match=r"is not the model that it says it is: .* do not fit unet"):
        train(samples, "unet", SHORT, out=tmp_path / "x", start=tmp_path / "a.safetensors", progress=False)


def test_a_run_that_looks_from_afar_goes_on_bit_for_bit(samples, tmp_path, monkeypatch):
    afar = {**SMALL, "options": {"width": 4, "halvings": 1}, "preset": SHORT}
    whole = train(samples, out=tmp_path / "a", **afar)
    spec, _ = state_of(whole.weights)
    assert (spec.options["halvings"], spec.stride) == (1, 32)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            train(samples, out=tmp_path / "b", **afar)
    assert same(train(samples, out=tmp_path / "b", **afar).weights, whole.weights)
    near = {**afar, "options": {"width": 4}}
    with pytest.raises(InvalidInputError, match=r"other settings \(options"):
        train(samples, out=tmp_path / "a", **near)


def test_nothing_to_learn_from_is_named(samples, tmp_path):
    for scene in samples.scenes:
        write(tmp_path / "images" / scene.image.name, scene.read().values)
        write(tmp_path / "masks" / scene.mask.name, np.zeros((64, 64), np.uint8))
    with pytest.raises(InvalidInputError, match="none of the 5 scenes for training has a tile with water"):
        train(folder_samples(tmp_path, tile=32), preset=SHORT, out=tmp_path / "run", **SMALL)


def test_a_loss_that_is_no_number_stops_the_run(samples, tmp_path, monkeypatch):
    from lakecube.models import trainer

    monkeypatch.setitem(trainer._LOSSES, "bce-dice", lambda logits, target: logits.sum() * float("nan"))
    with pytest.raises(InvalidInputError, match=r"the loss is nan in epoch 1.*rate"):
        train(samples, preset=SHORT, out=tmp_path, **SMALL)


def test_the_optimiser_has_the_weight_decay_of_the_preset():
    from lakecube.models.trainer import Trainer

    run = SimpleNamespace(network=torch.nn.Linear(2, 1), preset=replace(SHORT, weight_decay=0.3))
    (group,) = Trainer._optimiser(run).param_groups
    assert (group["weight_decay"], group["betas"]) == (0.3, (0.9, 0.999))


def test_scores_by_hand():
    """Water in both, in the map alone, in the truth alone, known; the second scene has no water at all."""
    from lakecube.models.validation import scores

    found = scores(np.array([[6, 2, 4, 20], [0, 0, 0, 10]]))
    expected = {"iou": 0.5, "iou_mean": 0.75, "f1": 2 / 3, "precision": 0.75, "recall": 0.6, "accuracy": 0.8}
    assert found == pytest.approx(expected)


def test_all_of_the_paper_is_in_its_preset():
    preset = PRESETS["cao-2024"]
    assert [(p.loss, p.epochs, p.rate) for p in preset.phases] == [("bce-dice", 45, 1e-4), ("lovasz", 25, 1e-4)]
    assert (preset.batch, preset.weight_decay, preset.power, preset.average) == (4, 1e-4, 0.9, 0.0)
    assert (Samples.tile, Samples.keep_empty, Samples.validation) == (256, 0.0, 0.2)


def test_a_start_on_pictures_takes_reflectance_as_the_predictor_does(whole, samples, tmp_path):
    from lakecube.models.beginning import beginning
    from lakecube.models.inputs import network_input
    from lakecube.models.tiles import Tiles
    from lakecube.models.train import Request

    picture = samples.scenes[0].read()
    write(tmp_path / "images" / "a.tif", picture.values.astype(np.float32) * np.float32(0.3 / 255))
    write(tmp_path / "masks" / "a.tif", picture.labels)
    reflectance = folder_samples(tmp_path, bands=("red", "green", "blue"), tile=32)
    begin = beginning("unet", reflectance, Request(tmp_path, options={"width": 4}, start=whole.weights))
    tiles = Tiles(reflectance.scenes, begin.bands, 32)
    scale, offset = begin.standard(tiles)
    values = tiles.picture(0).values
    ours = values * scale.astype(np.float32)[:, None, None] + offset.astype(np.float32)[:, None, None]
    theirs = network_input(values, state_of(whole.weights)[0], "reflectance")
    assert np.allclose(ours, np.moveaxis(theirs, -1, 0), atol=1e-4)
