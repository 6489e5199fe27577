"""What a hostile file, a full disk or a mistake in a request must not do: crash, lose or invent."""

from __future__ import annotations

import errno
import json
import struct

import numpy as np
import pytest
import rasterio

from lakecube.errors import InvalidInputError, ReadError, StoreError
from lakecube.models.scenes import FileScene
from lakecube.models.training_log import words_of
from lakecube.models.validation import scores
from lakecube.names import LAND, OBSERVATION, UNKNOWN, WATER
from tests.models import made

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(autouse=True)
def _torch():
    pytest.importorskip("torch", reason='the deep models need torch: pip install ".[deep]"')


def crafted(folder, **wrong):
    """The small model with other words in its metadata."""
    from lakecube.models.weights_file import header_of, with_metadata

    content = made.write(folder).read_bytes()
    about = header_of(content, "tiny")["__metadata__"]
    about["lakecube"] = json.dumps({**json.loads(about["lakecube"]), **wrong})
    path = folder / "crafted.safetensors"
    path.write_bytes(with_metadata(content, about, "tiny"))
    return path


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("wrong", [
    {"options": {"width": 10**12}}, {"options": {"width": -2}}, {"options": {"width": 2**70}},
    {"options": {"width": 2, "halvings": 50}}, {"options": {"width": 2, "halvings": [1]}}, {"options": {"bands": 3}},
    {"options": {"architecture": "unet"}}, {"options": nested(600)}, {"metrics": nested(600)}, {"metrics": 5},
    {"training": nested(600)}, {"licence": [1]}, {"patch": 8192}, {"architecture": "efficientnet-unet",
    "options": {"decoder": [-1] * 5}},
], ids=lambda wrong: str(wrong)[:40])  # fmt: skip
def test_hostile_words_in_a_file_of_weights_are_one_refusal(tmp_path, wrong):
    from lakecube.models import forward, registry

    with pytest.raises((InvalidInputError, ReadError)) as refused:
        forward.network(registry.find(crafted(tmp_path, **wrong)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("running_var", -1.0), ("weight", 3e38)])
def test_weights_that_make_no_number_are_refused(tmp_path, name, value):
    from lakecube.models import forward, registry

    spec, state = registry.load(made.write(tmp_path))
    for key, tensor in state.items():
        if key.endswith(name):
            tensor.fill_(value)
    registry.save(tmp_path / "odd.safetensors", spec, state, half=False)
    with pytest.raises(ReadError, match="answers nothing"):
        forward.network(registry.find(tmp_path / "odd.safetensors"))


def test_the_same_weights_are_the_same_file(tmp_path):
    from lakecube.models import registry

    spec, state = registry.load(made.write(tmp_path))
    hashes = {registry.save(tmp_path / "again.safetensors", spec, state).sha256 for _ in range(8)}
    assert len(hashes) == 1
    assert registry.load(tmp_path / "again.safetensors")[0].name == spec.name


def test_a_small_window_at_a_wide_stride_has_tiles():
    from lakecube.models.predictor import default_tiling

    tiling = default_tiling(made.spec(window=64, stride=32))
    assert (tiling.tile, tiling.margin) == (64, 0)


def picture(folder, mask, suffix=".tif", **options):
    for name, numbers in (("image.png", np.full((3, *mask.shape), 90, np.uint8)), (f"mask{suffix}", mask[None])):
        shape = {"count": len(numbers), "height": mask.shape[0], "width": mask.shape[1], "dtype": numbers.dtype}
        driver = "PNG" if name.endswith(".png") else "GTiff"
        with rasterio.open(folder / name, "w", driver=driver, **shape, **(options if "mask" in name else {})) as file:
            file.write(numbers)
    return FileScene("s", folder / "image.png", folder / f"mask{suffix}", ("red", "green", "blue"))


def test_what_a_mask_does_not_know_is_neither_land_nor_water(tmp_path):
    assert picture(tmp_path, np.array([[0, 1, np.nan]], np.float32)).read().labels.tolist() == [[LAND, WATER, UNKNOWN]]
    declared = picture(tmp_path, np.array([[0, 1, 255]], np.uint8), nodata=255)
    assert declared.read().labels.tolist() == [[LAND, WATER, UNKNOWN]]
    zero = picture(tmp_path, np.array([[0, 1, 1]], np.uint8), nodata=0)
    assert zero.read().labels.tolist() == [[LAND, WATER, WATER]]
    with pytest.raises(InvalidInputError, match="ignore=-1"):
        picture(tmp_path, np.array([[0, 1, -1]], np.int16)).read()


def test_the_masks_of_a_folder_mean_the_same(tmp_path):
    from lakecube.models.samples import folder_samples
    from lakecube.models.tiles import Tiles

    for name, mask in (("a", [[0, 1]]), ("b", [[0, 255]]), ("c", [[0, 0]])):
        (tmp_path / name).mkdir()
        scene = picture(tmp_path / name, np.array(mask, np.uint8))
        for part, path in (("images", scene.image), ("masks", scene.mask)):
            (tmp_path / part).mkdir(exist_ok=True)
            path.rename(tmp_path / part / f"{name}{path.suffix}")

    def labels(**given):
        return [scene.read().labels.tolist() for scene in folder_samples(tmp_path, **given).scenes]

    samples = folder_samples(tmp_path)
    with pytest.raises(InvalidInputError, match=r"a\.tif holds 1 and .*b\.tif holds 255: say ignore=255 where"):
        Tiles(samples.scenes, samples.bands, 8)
    assert labels(ignore=255) == [[[LAND, WATER]], [[LAND, UNKNOWN]], [[LAND, LAND]]]
    assert labels(ignore=2) == [[[LAND, WATER]], [[LAND, WATER]], [[LAND, LAND]]]
    (tmp_path / "masks" / "a.tif").unlink()
    (tmp_path / "images" / "a.png").unlink()
    assert labels() == [[[LAND, WATER]], [[LAND, LAND]]]


def test_a_mask_is_opened_once(tmp_path, monkeypatch):
    opened, really = [], rasterio.open
    scene = picture(tmp_path, np.array([[0, 1, 255]], np.uint8), nodata=255)
    monkeypatch.setattr(rasterio, "open", lambda path, *given: opened.append(path) or really(path, *given))
    scene.read()
    assert opened == [scene.image, scene.mask]


def test_a_picture_that_was_cut_off_is_no_black_picture(tmp_path):
    scene = picture(tmp_path, np.ones((64, 64), np.uint8))
    noise = np.random.default_rng(0).integers(1, 255, (3, 64, 64), np.uint8)
    with rasterio.open(scene.image, "w", driver="PNG", count=3, height=64, width=64, dtype="uint8") as file:
        file.write(noise)
    assert (scene.read().values == noise).all()
    whole = scene.image.read_bytes()
    scene.image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="cannot be read"):
        scene.read()


def test_a_scene_of_which_nothing_is_known_is_not_validated():
    counts = np.array([[1, 1, 0, 4], [0, 0, 0, 0]])
    assert scores(counts)["iou_mean"] == 0.5
    nothing = scores(counts[1:])
    assert set(nothing.values()) == {None}
    row = {"epoch": 0, "loss_name": "lovasz", "loss": 0.5, "validation_loss": 0.0, "seconds": 1.0, **nothing}
    assert "validation IoU none" in words_of(row, 3)


def test_a_full_disk_has_its_number_in_a_checkpoint_as_well(tmp_path, monkeypatch):
    import torch
    from safetensors import SafetensorError

    from lakecube.models import checkpoint

    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StoreError, match="No space left") as refused:
        checkpoint.write_state(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    assert refused.value.__cause__.errno == errno.ENOSPC


def test_a_checkpoint_without_its_hash_is_refused(tmp_path):
    import torch

    from lakecube.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, Checkpoint({"a": torch.zeros(1)}, {}, {}, {"x": 1}))
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:end])
    header["__metadata__"] = {"lakecube-checkpoint": "{"}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])
    with pytest.raises(ReadError, match="mode='overwrite'"):
        read_checkpoint(path)


@pytest.mark.parametrize("architecture", ["unett", "unet", "sapcnn"])
def test_a_request_that_is_refused_takes_no_earlier_run_away(tmp_path, architecture):
    from lakecube.models.samples import folder_samples
    from lakecube.models.train import train

    for part, value in (("images", 90), ("masks", 0)):
        (tmp_path / part).mkdir()
        bands = 3 if part == "images" else 1
        for name in "abc":
            with rasterio.open(tmp_path / part / f"{name}.png", "w", driver="PNG", count=bands, height=16, width=16,
                               dtype="uint8") as file:  # fmt: skip
                file.write(np.full((bands, 16, 16), value, np.uint8))
    out = tmp_path / "run"
    out.mkdir()
    kept = [out / "checkpoint.safetensors", out / "best-1.safetensors"]
    for path in kept:
        path.write_text("of many hours")
    with pytest.raises(InvalidInputError):
        train(folder_samples(tmp_path), architecture, out=out, mode="overwrite", progress=False)
    assert all(path.read_text() == "of many hours" for path in kept)


def test_linknet50_says_that_a_dataset_without_observation_is_no_cube():
    import xarray as xr

    from lakecube.methods import linknet50

    coords = {"time": np.array(["2021-07-01"], "datetime64[ns]"), "y": [15.0, 5.0], "x": [5.0, 15.0]}
    band = (("time", "y", "x"), np.full((1, 2, 2), 0.1, np.float32))
    with pytest.raises(InvalidInputError, match="observation missing"):
        linknet50.extract(xr.Dataset(dict.fromkeys(made.BANDS, band), coords), model=made.shared())


def test_a_picture_that_was_cut_off_is_not_opened_as_clear(tmp_path):
    import lakecube

    noise = np.random.default_rng(0).integers(1, 255, (3, 64, 64), np.uint8)
    path = tmp_path / "cut.png"
    with rasterio.open(path, "w", driver="PNG", count=3, height=64, width=64, dtype="uint8") as file:
        file.write(noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut\.png"):
        cube = lakecube.open(str(path)).compute()
    assert not (cube["red"] == 0).any()
    assert set(np.unique(cube["observation"])) == {OBSERVATION["read_failed"]}
