"""`import lakecube` and `lakecube --help` stay light."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

HEAVY = (
    "numba",
    "rasterio",
    "odc.stac",
    "distributed",
    "matplotlib",
    "pystac_client",
    "scipy",
    "skimage",
    "zarr",
    "torch",
    "shapely",
)


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_nothing_heavy_that_xarray_does_not():
    code = "import sys, json; import {}; print(json.dumps(sorted(sys.modules)))"
    ours = set(json.loads(python(code.format("lakecube")))) - set(json.loads(python(code.format("xarray"))))
    heavy = [m for m in ours if any(m == name or m.startswith(f"{name}.") for name in HEAVY)]
    assert heavy == []
    rooms = {m.split(".")[1] for m in ours if m.startswith("lakecube.")}
    assert rooms == {"accessor", "errors"}


def test_import_takes_about_as_long_as_that_of_xarray():
    """Both are timed in one process, xarray first, so that a busy machine is unfair to neither."""
    code = (
        "import time; a = time.perf_counter(); import xarray; b = time.perf_counter(); import lakecube\n"
        "print((time.perf_counter() - a) / (b - a))"
    )
    assert min(float(python(code)) for _ in range(3)) <= 1.2


def test_the_accessor_comes_with_the_import():
    assert python("import lakecube, xarray; print(hasattr(xarray.Dataset, 'water'))") == "True\n"


def test_only_public_names_are_listed():
    assert python("import lakecube; print(*dir(lakecube))").split() == [
        "LakecubeError", "__version__", "assess", "extract", "open", "open_store", "revise", "sample_design", "update",
    ]  # fmt: skip


def test_help_does_not_wait_for_xarray():
    code = (
        "import sys; sys.argv = ['lakecube', '--help']\n"
        "from lakecube.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print('LOADED', [m for m in ('xarray', 'numpy', 'dask', 'numba', 'pandas') if m in sys.modules])"
    )
    assert python(code).endswith("LOADED []\n")


def test_every_room_has_its_place_among_the_contracts():
    """A module that no contract names could import what it likes."""
    root = Path(__file__).parents[1]
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rooms = {f"lakecube.{module.name}" for module in pkgutil.iter_modules([str(root / "lakecube")])}
    layers, kernels, no_torch, none_itself, no_bokeh = contracts
    assert {room for line in layers["layers"] for room in line.split(" | ")} == rooms
    assert kernels["source_modules"] == ["lakecube.kernels"]
    assert {*no_torch["source_modules"], *none_itself["source_modules"]} == rooms - {"lakecube.models"}
    assert set(no_bokeh["source_modules"]) == rooms - {"lakecube.dashboard"}
