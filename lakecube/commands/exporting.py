"""`lakecube export`: a store in formats that other programs read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lakecube.commands.describing import open_store
from lakecube.commands.engine import engine
from lakecube.errors import StoreError


def export(given: argparse.Namespace) -> dict[str, Any]:
    """Write files, and say which."""
    from lakecube.export import export as write

    store, out = open_store(given.store), Path(given.out)
    if not out.absolute().parent.is_dir():
        raise StoreError(f"cannot write {given.out}: the folder {out.absolute().parent} does not exist")
    with engine(given):
        made = write(
            store, out, formats=given.formats, products=given.products, date=given.date, compress=given.compress,
            stac=given.stac,
        )  # fmt: skip
    written = [_beside(Path(file.path), out) for file in made]
    if given.stac:
        written.append(str(out / "collection.json"))
    if not given.json and not given.quiet:
        for path in written:
            print(f"written  {path}")
    return {"store": given.store, "written": written}


def _beside(path: Path, out: Path) -> str:
    """A path as it was asked for."""
    return str(out if path == out.absolute() else out / path.name)
