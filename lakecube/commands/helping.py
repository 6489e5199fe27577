"""`lakecube doctor` and `completion`: what is here, and help at the prompt."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from lakecube.errors import MissingDependencyError

#: Packages told with their version, by what they are for.
_PARTS = ("numpy", "xarray", "dask", "distributed", "zarr", "numba", "rasterio", "pyproj", "shapely", "pystac")
#: Optional packages: the extra that installs them, and what it gives.
_OPTIONAL = {
    "torch": ("deep", "the networks: LinkNet50, U-Net, SAPCNN"),
    "sklearn": ("forest", "restoration by a random forest"),
    "geopandas": ("geoparquet", "GeoPackage and GeoParquet outlines, vector references"),
    "obstore": ("s3", "stores in object storage"),
    "pydensecrf": ("crf", "the reference implementation of the CRF"),
    "bokeh": ("dashboard", "the dashboard"),
}
_DISTRIBUTION = {"sklearn": "scikit-learn", "pydensecrf": "pydensecrf2"}
#: Names of variables by which archives and object storage take credentials; their values are never looked at.
_CREDENTIALS = {
    "AWS": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "Google Cloud": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "Azure": ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"),
    "Planetary Computer": ("PC_SDK_SUBSCRIPTION_KEY",),
    "Earthdata": ("EARTHDATA_TOKEN", "EARTHDATA_USERNAME"),
}


def completion(given: argparse.Namespace) -> dict[str, Any]:
    """Print the script of a shell."""
    try:
        import shtab
    except ImportError as error:
        raise MissingDependencyError("completion needs shtab: pip install -c constraints.txt shtab") from error
    script = shtab.complete(given.parser, given.shell)
    if not given.json:
        print(script)
    return {"shell": given.shell, "script": script}


def doctor(given: argparse.Namespace) -> dict[str, Any]:
    """Say what is installed, seen and missing."""
    found = examine()
    if not given.json:
        print("\n".join(_lines(found)))
    return found


def examine() -> dict[str, Any]:
    """Versions, optional parts, credentials (whether, not what), and the machine, as plain values."""
    import pyproj
    import rasterio
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    from lakecube.models.forward import gpu_name

    temporary = tempfile.gettempdir()
    with rasterio.Env() as gdal:
        drivers = gdal.drivers()
    return {
        "lakecube": metadata.version("lakecube"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gdal": rasterio.__gdal_version__,
        "gdal_drivers": {name: name in drivers for name in ("COG", "JP2OpenJPEG", "netCDF", "Zarr")},
        "proj": pyproj.proj_version_str,
        "packages": {name: metadata.version(name) for name in _PARTS},
        "optional": {name: _optional(name) for name in _OPTIONAL},
        "gpu": gpu_name(),
        "numba_cache": _numba_cache(),
        "credentials": {who: any(os.environ.get(name) for name in names) for who, names in _CREDENTIALS.items()},
        "cpu_threads": CPU_COUNT,
        "memory_bytes": int(MEMORY_LIMIT),
        "temporary": temporary,
        "temporary_free_bytes": shutil.disk_usage(temporary).free,
    }


def _optional(name: str) -> str | None:
    """Version of an optional package; None if it is not there."""
    if importlib.util.find_spec(name) is None:
        return None
    return metadata.version(_DISTRIBUTION.get(name, name))


def _numba_cache() -> dict[str, Any]:
    """Where compiled kernels are kept, and how many files there are; no path: every start compiles anew."""
    from lakecube.kernels.counts import count_states

    place = count_states.stats.cache_path
    files = len(list(Path(place).glob("*.nbc"))) if place else 0
    return {"path": place, "files": files}


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"lakecube  {found['lakecube']}, Python {found['python']}, {found['platform']}"
    missing = [name for name, there in found["gdal_drivers"].items() if not there]
    without = f", without {', '.join(missing)}" if missing else ""
    yield f"GDAL      {found['gdal']}{without}; PROJ {found['proj']}"
    yield f"packages  {', '.join(f'{name} {version}' for name, version in found['packages'].items())}"
    for name, version in found["optional"].items():
        extra, gives = _OPTIONAL[name]
        how = f"pip install -c constraints.txt '.[{extra}]'"
        yield f"  {name:<11} {version or f'not installed; {how} gives {gives}'}"
    if found["optional"]["torch"]:
        yield f"GPU       {found['gpu'] or 'none that torch can use'}"
    path, files = found["numba_cache"]["path"], found["numba_cache"]["files"]
    yield f"kernels   {f'{files} compiled ones in {path}' if path else 'compiled anew at every start'}"
    seen = [who for who, there in found["credentials"].items() if there]
    yield f"accounts  {', '.join(seen) or 'none'} (looked for in environment variables)"
    yield f"machine   {found['cpu_threads']} threads, {found['memory_bytes'] / 1e9:.1f} GB of memory"
    yield f"temporary {found['temporary_free_bytes'] / 1e9:.1f} GB free in {found['temporary']}"
