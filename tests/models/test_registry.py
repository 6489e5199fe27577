"""Weights by name and path: what they say of themselves, the hash before use, one clear error for each mishap."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import urllib.request
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lakecube.errors import InvalidInputError, LakecubeError, MissingBandError, MissingDependencyError, ReadError
from lakecube.models import registry, weights_file
from lakecube.models.spec import ModelSpec
from tests.models import made


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package whose folder of weights is empty."""
    monkeypatch.setattr(weights_file, "FOLDER", tmp_path / "weights")
    monkeypatch.setenv("LAKECUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LAKECUBE_WEIGHTS_URL", raising=False)
    return tmp_path


def test_a_spec_comes_back_from_its_text():
    spec = made.spec(metrics={"iou": 0.8}, window=64, radiometry="display", licence="CC0-1.0")
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "sha256" not in json.loads(replace(spec, sha256="ab").to_json())
    for wrong in ({"bands": ("gren",)}, {"scale": (1.0,)}, {"radiometry": "dB"}, {"window": 20}, {"stride": 0}):
        with pytest.raises(InvalidInputError):
            replace(spec, **wrong)
    with pytest.raises(InvalidInputError, match="no model"):
        ModelSpec.from_json("[1]")


@pytest.mark.parametrize(
    "wrong",
    [
        {"stride": 1.5}, {"stride": True}, {"stride": 10**9}, {"radius": float("nan")}, {"window": 10**9}, {"patch": 0},
        {"patch": 10**6}, {"scale": [float("nan")] * 3}, {"bands": ["green", "green", "nir"]}, {"options": [1]},
        {"architecture": ["unet"]}, {"name": "../../x"}, {"name": ""}, {"name": 5}, {"name": "a\\b"},
    ],
)  # fmt: skip
def test_a_spec_that_no_model_can_have_is_refused(tmp_path, wrong):
    text = json.dumps({**json.loads(made.spec().to_json()), **wrong})
    header = json.dumps({"__metadata__": {"lakecube": text}}).encode()
    path = tmp_path / "crafted.safetensors"
    path.write_bytes(np.uint64(len(header)).tobytes() + header)
    with pytest.raises(ReadError, match="holds no model of lakecube"):
        registry.find(path)


@pytest.mark.parametrize("header", [b'{"__metadata__": null}', b'{"__metadata__": "abc"}', b"[1]", b"[" * 200_000])
def test_a_header_of_another_form_is_refused(tmp_path, header):
    path = tmp_path / "crafted.safetensors"
    path.write_bytes(np.uint64(len(header)).tobytes() + header)
    with pytest.raises(ReadError, match=r"no safetensors file|holds no model"):
        registry.find(path)


class TestWithTorch:
    """What reads or writes tensors."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch")

    def test_saved_weights_are_loaded_as_float32_with_their_hash(self, tmp_path):
        assert registry.load(made.write(tmp_path, metrics={"iou": float("nan")}))[0].metrics.keys() == {"iou"}
        path = made.write(tmp_path)
        spec, state = registry.load(path)
        assert replace(spec, sha256="") == made.spec()
        assert spec.sha256 == registry.find(path).spec.sha256
        assert {str(v.dtype) for k, v in state.items() if "num_batches" not in k} == {"torch.float32"}
        whole = tmp_path / "whole.safetensors"
        saved = registry.save(whole, spec, state, half=False)
        assert whole.stat().st_size > 1.5 * path.stat().st_size
        again = registry.load(whole)
        assert again[0].sha256 == saved.sha256
        assert all((again[1][k] == v).all() for k, v in state.items())

    def test_a_tampered_file_is_refused(self, tmp_path):
        path = made.write(tmp_path)
        weights = registry.find(path)
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        with pytest.raises(ReadError, match="not those expected"):
            registry.load(weights)
        with pytest.raises(ReadError, match="damaged"):  # by its own hash, where nobody knows another
            registry.load(path)
        path.write_bytes(content[:-40])
        with pytest.raises(ReadError):
            registry.load(path)

    def test_a_number_too_great_for_float16_is_kept(self, tmp_path):
        import torch

        spec, state = registry.load(made.write(tmp_path))
        name = next(n for n in state if n.endswith("running_var"))
        state[name] = torch.full_like(state[name], 1e6)
        registry.save(tmp_path / "great.safetensors", spec, state)
        assert torch.equal(registry.load(tmp_path / "great.safetensors")[1][name], state[name])
        state[name][0] = float("nan")
        registry.save(tmp_path / "none.safetensors", spec, state)
        with pytest.raises(ReadError, match=f"NaN or infinity in {re.escape(name)}"):
            registry.load(tmp_path / "none.safetensors")

    def test_an_index_that_says_other_things_than_the_file_is_refused(self, packaged):
        registry.add(made.write(packaged, "one"))
        path = weights_file.FOLDER / "index.json"
        index = json.loads(path.read_text())
        index["one"]["spec"]["bands"] = ["nir", "green", "swir16"]
        path.write_text(json.dumps(index))
        with pytest.raises(ReadError, match="says other things"):
            registry.load("one")

    def test_weights_put_into_the_package_are_found_by_name(self, packaged):
        registry.add(made.write(packaged, "one"))
        registry.add(made.write(packaged, "two", seed=1), first=True)
        assert list(registry.available()) == ["two", "one"]
        assert registry.load("one")[0].name == "one"
        with pytest.raises(InvalidInputError, match="did you mean 'one'"):
            registry.find("on")
        (weights_file.FOLDER / "one.safetensors").write_bytes(b"other")
        with pytest.raises(ReadError, match="not those expected"):
            registry.load("one")

    def test_weights_that_are_not_packaged_are_fetched_by_their_hash(self, packaged, monkeypatch):
        path = made.write(packaged, "far")
        registry.add(path, packaged=False)
        with pytest.raises(ReadError, match="LAKECUBE_WEIGHTS_URL"):
            registry.load("far")
        with pytest.raises(MissingBandError):
            registry.choose(made.BANDS)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packaged)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            monkeypatch.setenv("LAKECUBE_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
            assert registry.load("far")[0].name == "far"
        finally:
            server.shutdown()
            server.server_close()
        assert registry.load("far")[0].name == "far"  # kept
        (kept,) = (packaged / "cache" / "weights").iterdir()
        kept.unlink()
        with pytest.raises(ReadError, match="cannot be fetched"):
            registry.load("far")
        monkeypatch.setenv("LAKECUBE_WEIGHTS_URL", "https://me:secret@no such host")
        with pytest.raises(ReadError, match="cannot be fetched") as caught:
            registry.load("far")
        assert "secret" not in str(caught.value)
        monkeypatch.setenv("LAKECUBE_WEIGHTS_URL", "file:///etc")
        with pytest.raises(InvalidInputError, match="http"):
            registry.load("far")

    @pytest.mark.parametrize(
        "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz"]
    )
    def test_a_server_that_talks_nonsense_is_named(self, packaged, monkeypatch, answer):
        registry.add(made.write(packaged, "far"), packaged=False)
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def talk():
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

            threading.Thread(target=talk, daemon=True).start()
            monkeypatch.setenv("LAKECUBE_WEIGHTS_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
            with pytest.raises(ReadError, match="cannot be fetched"):
                registry.load("far")

    def test_a_cache_that_cannot_be_written_is_named(self, packaged, monkeypatch):
        path = made.write(packaged, "far")
        registry.add(path, packaged=False)
        (packaged / "cache").write_text("in the way")
        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(path.read_bytes()))
        monkeypatch.setenv("LAKECUBE_WEIGHTS_URL", "https://example.org")
        with pytest.raises(ReadError, match="set LAKECUBE_CACHE"):
            registry.load("far")

    @pytest.mark.parametrize("text", ["{", "[1]", '{"one": {}}', '{"one": {"spec": 1, "sha256": "", "bytes": 1}}'])
    def test_a_damaged_index_is_named(self, packaged, text):
        weights_file.FOLDER.mkdir()
        (weights_file.FOLDER / "index.json").write_text(text)
        with pytest.raises(ReadError, match="install lakecube again"):
            registry.available()

    def test_the_preferred_model_that_fits_is_chosen(self, packaged):
        for name, options in {
            "patches": {"patch": 28},
            "s2": {"bands": ("green", "nir", "swir16")},
            "rgb": {"bands": ("red", "green", "blue"), "radiometry": "display"},
        }.items():
            registry.add(made.write(packaged, name, **options))
        every = ("blue", "green", "red", "nir", "swir16")
        assert registry.choose(every).source == "s2"
        assert registry.choose(every, "display").source == "rgb"
        assert registry.choose(("blue", "green", "red")).source == "rgb"
        assert registry.choose(("green", "nir08", "swir16")).source == "s2"
        with pytest.raises(MissingBandError, match="s2 takes green, nir, swir16"):
            registry.choose(("green", "red"))
        assert registry.choose(made.BANDS, patches=True).source == "patches"
        with pytest.raises(MissingBandError, match=rf"no model works .*: patches takes {', '.join(made.BANDS)}"):
            registry.choose(("coastal",), patches=True)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


def test_each_mishap_has_its_own_words(packaged):
    other = packaged / "other.safetensors"
    other.write_bytes(b"no header")
    plain = packaged / "plain.safetensors"
    plain.write_bytes(np.uint64(2).tobytes() + b"{}")
    for source, words in (
        ("none.safetensors", "no weights at"), ("linknet", "there are none"), (other, "no safetensors file"),
        (plain, "holds no model"),
    ):  # fmt: skip
        with pytest.raises(LakecubeError, match=words):
            registry.find(source)
    with pytest.raises(MissingBandError, match="none is installed"):
        registry.choose(("red", "green", "blue"))


def test_without_torch_it_is_said_what_to_install(monkeypatch, cube):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install -c constraints.txt '.\[deep\]'"):
        cube.water.extract("linknet50", model="any")
    with pytest.raises(MissingDependencyError):
        cube.water.predict()


def test_the_checkpoint_of_a_run_is_told_from_its_weights(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    header = b'{"__metadata__": {"rows": "[]"}}'
    path.write_bytes(np.uint64(len(header)).tobytes() + header)
    with pytest.raises(ReadError, match="holds no model of lakecube; the weights of a run bear the network's name"):
        registry.find(path)
