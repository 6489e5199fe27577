"""Recorded items and a real STAC API on loopback that serves them."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("LAKECUBE_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def recorded():
    """Folder of the recorded STAC items."""
    folder = DATA / "stac"
    if not folder.is_dir():
        pytest.skip(f"recorded STAC items are not at {folder}; set LAKECUBE_DATA to the folder that holds stac/")
    return folder


@pytest.fixture(scope="session")
def t11upt():
    """Folder of a Sentinel-2 tile and a Landsat crop with their items."""
    folder = DATA / "t11upt"
    if not folder.is_dir():
        pytest.skip(f"the t11upt scenes are not at {folder}; set LAKECUBE_DATA to the folder that holds t11upt/")
    return folder


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def stac_api(recorded):
    """URL of a `rustac` server that holds 40 Landsat and 6 + 6 Sentinel-2 items in three collections."""
    rustac = pytest.importorskip("rustac")
    assert rustac
    folders = ("landsat-8-c2-l2", "sentinel-2-l2a", "sentinel-2-c1-l2a")
    with api_of(path for name in folders for path in sorted((recorded / "pystac-client" / name).glob("*.json"))) as url:
        yield url


@contextlib.contextmanager
def api_of(paths):
    """Address of a `rustac` server that serves the items of some files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["rustac", "serve", "--addr", f"127.0.0.1:{port}", "--create-collections", *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}/"
        try:
            _wait(url, server)
            yield url
        finally:
            server.terminate()


def _wait(url, server):
    for _ in range(300):
        if server.poll() is not None:
            pytest.fail("rustac serve ended before it answered")
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    pytest.fail("rustac serve did not answer within 30 s")
