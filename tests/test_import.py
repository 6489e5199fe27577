"""`import lakecube` and `lakecube --help` stay light."""

from __future__ import annotations

import json
import subprocess
import sys
import time

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


def seconds(module: str) -> float:
    begin = time.perf_counter()
    python(f"import {module}")
    return time.perf_counter() - begin


def test_import_loads_nothing_heavy_that_xarray_does_not():
    code = "import sys, json; import {}; print(json.dumps(sorted(sys.modules)))"
    ours = set(json.loads(python(code.format("lakecube")))) - set(json.loads(python(code.format("xarray"))))
    heavy = [m for m in ours if any(m == name or m.startswith(f"{name}.") for name in HEAVY)]
    assert heavy == []
    rooms = {m.split(".")[1] for m in ours if m.startswith("lakecube.")}
    assert rooms == {"accessor", "errors"}


def test_import_takes_about_as_long_as_that_of_xarray():
    best = {}
    for _ in range(3):  # in turn, so that a busy machine is unfair to both
        for module in ("xarray", "lakecube"):
            best[module] = min(best.get(module, 1e9), seconds(module))
        if best["lakecube"] <= 1.2 * best["xarray"]:
            return
    raise AssertionError(best)


def test_the_accessor_comes_with_the_import():
    assert python("import lakecube, xarray; print(hasattr(xarray.Dataset, 'water'))") == "True\n"


def test_help_does_not_wait_for_xarray():
    code = (
        "import sys; sys.argv = ['lakecube', '--help']\n"
        "from lakecube.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print('LOADED', [m for m in ('xarray', 'numpy', 'dask', 'numba', 'pandas') if m in sys.modules])"
    )
    assert python(code).endswith("LOADED []\n")
