"""Files on the way out: their names, and never into a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lakecube.checks import is_path
from lakecube.errors import InvalidInputError


def name_of(moment: np.datetime64) -> str:
    """A date as it is part of names: its day, and its time if it has one; every system allows it in a file's name."""
    text = str(moment.astype("datetime64[s]"))
    return text.removesuffix("T00:00:00").replace(":", "")


def outside_stores(path: object) -> Path:
    """`path`; InvalidInputError if it is none, or a Zarr store or in one, whose files are only what was committed."""
    if not is_path(path):
        raise InvalidInputError(f"path={path!r}: the path of a file or a folder is needed")
    path = Path(str(path))
    for folder in (path.absolute(), *path.absolute().parents):
        if (folder / "zarr.json").is_file():
            raise InvalidInputError(f"{path} lies in the store {folder}: choose a place beside it")
    return path
