"""The versions that the processes of a cluster run: one store must not hold the results of two.

The scheduler and all workers are asked before a run, workers that come later before and after the wave that they came
in: what a wave of theirs wrote counts only once they were asked.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from typing import Any

from lakecube.errors import ClusterError
from lakecube.store.contents import version

#: Packages that decide what a task computes or how it is stored and sent; of them, those that the scheduler runs.
_PACKAGES = ("lakecube", "numpy", "numba", "zarr", "dask", "distributed")
_OF_SCHEDULER = ("lakecube", "dask", "distributed")

#: Workers of a client that were asked, by address.
_asked: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def check_all(client: Any) -> None:
    """See that the scheduler and the workers of a client run the versions of this process; ClusterError if not."""
    _asked[client] = set()
    try:
        found = client.run_on_scheduler(versions, _OF_SCHEDULER)
    except OSError:
        raise
    except ValueError:  # a scheduler may be set up to run nothing for anybody (blocked-handlers)
        found = versions(_OF_SCHEDULER)
    except Exception as error:
        found = error
    _check("scheduler", client.scheduler.address, found, versions(_OF_SCHEDULER))
    check_new(client, client.ncores())


def check_new(client: Any, workers: Collection[str]) -> None:
    """The same of those of some workers that were not asked yet."""
    asked = _asked.setdefault(client, set())
    new = sorted(set(workers) - asked)
    if not new:
        return
    names = (*_PACKAGES, *(["torch"] if "torch" in sys.modules else ()))  # which only networks need
    mine = versions(names)
    for address, found in client.run(versions, names, workers=new, on_error="return").items():
        if not isinstance(found, OSError):  # else it is gone again
            _check("worker", address, found, mine)
            asked.add(address)


def versions(names: Sequence[str]) -> dict[str, str | None]:
    """Versions of some packages in this process; None for one that is not there."""
    return {name: version() if name == "lakecube" else _installed(name) for name in names}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _check(what: str, address: str, found: Any, mine: Mapping[str, str | None]) -> None:
    if not isinstance(found, Mapping):  # it could not even load the question
        raise ClusterError(
            f"the {what} {address} has no lakecube, or another version ({found}), this process {mine['lakecube']}: "
            "install the same version everywhere"
        )
    for name, here in mine.items():
        there = found.get(name)
        if there != here:
            runs = f"runs {name} {there}" if there else f"has no {name}"
            raise ClusterError(
                f"the {what} {address} {runs}, this process {here or 'has none'}: install the same version everywhere, "
                "else one store would hold the results of two"
            )
