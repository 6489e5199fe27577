"""A store in the browser: zarrita, a Zarr reader of JavaScript, reads it over HTTP as xarray reads it from disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from lakecube.store import open_store, to_zarr
from tests.loopback import serving
from tests.store.bowls import bowls

pytestmark = pytest.mark.slow
ZARRITA = "zarrita@0.7.5"
SCRIPT = Path(__file__).with_name("read_with_zarrita.mjs")


class Files(BaseHTTPRequestHandler):
    """Files below `folder`, whole or by range, and what was asked for."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        file = self.folder / self.path.lstrip("/")
        data = file.read_bytes() if file.is_file() else None
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if data is not None and wanted:
            data = data[int(wanted[1]) : int(wanted[2]) + 1]
        self.send_response(404 if data is None else 206 if wanted else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script, beside zarrita as its registry has it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: nothing reads the store by JavaScript")
    folder = tmp_path_factory.mktemp("zarrita")
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", ZARRITA, "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{ZARRITA} could not be installed from the npm registry: {error}")
    return shutil.copy(SCRIPT, folder)


@pytest.fixture(scope="module")
def read(script, tmp_path_factory):
    """A store of two levels, what zarrita read of it, and what it asked for."""
    path = tmp_path_factory.mktemp("browser") / "s.zarr"
    to_zarr(bowls(stop=6)[0], path, chunks=32, progress=False)
    handler = type("Asked", (Files,), {"folder": path, "asked": []})
    with serving(handler) as address:
        command = ["node", str(script), address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(script).parent)
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout), handler.asked


def array(found):
    return np.array(found["data"], float).reshape(found["shape"])


def test_one_document_tells_of_all_arrays(read):
    path, found, asked = read
    names = {one.lstrip("/") for one in found["paths"]}
    root = json.loads((path / "zarr.json").read_text())
    assert set(root["consolidated_metadata"]["metadata"]) <= names and {"time", "revision/0/count_wet"} <= names
    documents = [one for one in asked if one.endswith("zarr.json")]
    assert documents == ["/zarr.json", *(f"/overviews/0/{k}/zarr.json" for k in (1, 2))]


def test_time_is_one_chunk_of_seconds(read):
    path, found, asked = read
    store = open_store(path)
    assert found["time"]["attrs"]["units"] == "seconds since 1970-01-01"
    np.testing.assert_array_equal(array(found["time"]), store.time.values.astype("M8[s]").astype(np.int64))
    assert [one for one in asked if one.startswith("/time/c")] == ["/time/c/0"]
    for dim in ("x", "y"):
        np.testing.assert_array_equal(array(found[dim]), store[dim])


def test_masks_and_reasons_are_decoded(read):
    path, found, _ = read
    store = open_store(path)
    for name in ("water_mask", "reason"):
        np.testing.assert_array_equal(array(found["rows"][name]), store[name][1, :, :40])
        meanings = dict(zip(found["rows"][name]["attrs"]["flag_meanings"].split(),
                            found["rows"][name]["attrs"]["flag_values"], strict=True))  # fmt: skip
        assert meanings["water"] == (1 if name == "water_mask" else 0)


def test_levels_are_found_from_the_root_alone(read):
    path, found, _ = read
    assert len(found["levels"]) == 3
    for number, level in enumerate(found["levels"]):
        store = open_store(path, level=number)
        assert level["shape"] == [store.sizes["y"], store.sizes["x"]]
        for name in ("x", "y", "count_wet", "water_frequency", "lake_label"):
            np.testing.assert_array_equal(array(level[name]), store[name], err_msg=f"{name} of level {number}")
        affine = found["attrs"]["multiscales"]["layout"][number]["spatial:transform"]
        assert affine[2] + affine[0] / 2 == float(store.x[0]) and affine[5] + affine[4] / 2 == float(store.y[0])


def test_a_range_of_a_chunk_is_that_range(read):
    _, found, _ = read
    assert found["part"]["bytes"] == found["part"]["expected"] and len(found["part"]["bytes"]) == 9
