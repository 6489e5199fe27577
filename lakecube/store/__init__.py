"""The one Zarr writer, and its reader: `to_zarr`, `revise` and `open_store`.

layout.py names every array, passes.py (by the tasks of write_tasks.py) and revision.py (by the terms of job.py)
fill them, commit.py makes them visible, transaction.py is one write from lease to commit, ledger.py remembers what
was done, lease.py keeps the second writer out, place.py, files.py and disk.py are what it all lies on.
"""

from lakecube.store.read import open_store
from lakecube.store.write import revise, to_zarr

__all__ = ["open_store", "revise", "to_zarr"]
