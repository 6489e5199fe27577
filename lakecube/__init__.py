"""lakecube: scalable lake and surface-water mapping. Satellite archives in, trustworthy water through time out."""

from __future__ import annotations

import sys as _sys
from importlib.metadata import version as _version
from pathlib import PurePath as _PurePath
from typing import TYPE_CHECKING, Any

from lakecube.errors import LakecubeError

if _PurePath((getattr(_sys, "argv", None) or [""])[0]).stem != "lakecube":
    # Registers `.water`. The console script does it in `commands`: `lakecube --help` need not wait for xarray.
    from lakecube import accessor as _accessor  # noqa: F401

if TYPE_CHECKING:
    from lakecube.accuracy import assess as assess
    from lakecube.accuracy import sample_design as sample_design
    from lakecube.follow import update as update
    from lakecube.io.cube import open as open
    from lakecube.methods import extract as extract
    from lakecube.store import open_store as open_store
    from lakecube.store import revise as revise

__version__ = _version("lakecube")

#: Public names that are imported when they are first used: `import lakecube` stays light.
_LAZY = {
    "assess": "lakecube.accuracy",
    "extract": "lakecube.methods",
    "open": "lakecube.io.cube",
    "open_store": "lakecube.store",
    "revise": "lakecube.store",
    "sample_design": "lakecube.accuracy",
    "update": "lakecube.follow",
}

__all__ = [
    "LakecubeError",
    "__version__",
    "assess",
    "extract",
    "open",
    "open_store",
    "revise",
    "sample_design",
    "update",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lakecube' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
