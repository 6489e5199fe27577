"""Work for clusters whose processes die: dates that take their time and leave a trace of every block computed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr

from lakecube.io import unread
from tests.store.made import extract

DATES, SIDE, CHUNK = 6, 48, 16
#: Blocks of a date.
BLOCKS = (SIDE // CHUNK) ** 2


def traced(block, seconds, trace, block_id):
    """The block as it is, after a while; a line with its place among the blocks goes to the file `trace`."""
    time.sleep(seconds)
    descriptor = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{' '.join(map(str, block_id))}\n".encode())
    os.close(descriptor)
    return block


def deadly(block, flag, block_id):
    """The block as it is, but that one of them ends the process that computes it: once, or always without `flag`."""
    if block_id == (0, 1, 1) and not (flag and Path(flag).exists()):
        if flag:
            Path(flag).touch()
        os._exit(1)
    return block


def unreadable(block, item, block_id):
    """The block as it is, though something of it could not be read."""
    if block_id == (0, 1, 1):
        unread.note(item, "B03.tif", "cut short", failed=True)
    return block


def water(function=None, **options) -> xr.Dataset:
    """A lazy extract whose mask goes through a function block by block; the same numbers with and without."""
    made = extract(times=DATES, rows=SIDE, columns=SIDE, chunks=(1, CHUNK, CHUNK))
    if function is None:
        return made
    mask = made["water_mask"]
    data = mask.data.map_blocks(function, dtype="u1", meta=np.empty((0, 0, 0), "u1"), **options)
    return made.assign(water_mask=mask.copy(data=data))


def look_elsewhere(there: str | None) -> None:
    """Have this process find stores in the folder `there`, as if another disk were mounted; None: where they are."""
    from zarr.storage import LocalStore

    from lakecube.store.files import LocalFiles

    for kind in (LocalFiles, LocalStore):
        if there is None:
            del kind.root
        else:
            kind.root = property(
                lambda self: Path(there) / self.__dict__["root"].name,
                lambda self, root: self.__dict__.update(root=root),
            )


def dates_in(trace: Path) -> list[int]:
    """Dates of the blocks in a trace."""
    return [int(line.split()[0]) for line in trace.read_text().splitlines()] if trace.exists() else []


def finished_dates(path: Path) -> set[int]:
    """Dates that the ledger of a store being written calls finished."""
    names = [file.stem for file in (path / "_ledger/pending/observed").glob("*.json")]
    spans = [tuple(map(int, name.split("_")[0].split("-"))) for name in names]
    return {date for first, last in spans for date in range(first, last)}


if __name__ == "__main__":
    import distributed

    from lakecube.store import to_zarr

    address, store, trace = sys.argv[1:]
    with distributed.Client(address):
        to_zarr(water(traced, seconds=0.3, trace=trace), store, chunks=CHUNK, wave=BLOCKS)
