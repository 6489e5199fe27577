"""The one Zarr writer, and its reader: `to_zarr` and `open_store`.

layout.py names every array, passes.py and revision.py fill them, commit.py makes them visible, ledger.py
remembers what was done, lease.py keeps the second writer out.
"""

from lakecube.store.read import open_store
from lakecube.store.write import to_zarr

__all__ = ["open_store", "to_zarr"]
