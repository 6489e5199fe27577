"""A part of a graph on a Dask cluster: results as they come, workers that die, a scheduler that is gone.

Results are fetched one by one and let go of on the workers at once, so that no worker holds a wave and a worker
that dies takes nothing along but the tasks it was at.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import dask
import dask.array as da
from dask._task_spec import cull
from dask.base import get_scheduler

from lakecube.errors import ClusterError
from lakecube.store import versions
from lakecube.store.homes import Homes

logger = logging.getLogger("lakecube")

#: How often a task is given up by the scheduler, each time after several workers died at it, until we give it up.
TRIES = 3
#: A task that fails is tried once more elsewhere: the writer before it may have been killed a moment ago, with a
#: task still running whose temporary file was swept away.
RETRIES = 1
#: Seconds in which the client's loop takes up what was let go of.
_SETTLING = 0.2
#: Seconds between two looks at whether there are workers.
_WATCH_SECONDS = 10.0

T = TypeVar("T")

Key = tuple[Any, ...]


class _WorkersDied(Exception):
    """The scheduler gave tasks up whose workers died.

    All of them, not only the first: with the task that kills its worker, those die that waited there behind it.
    """

    def __init__(self, at: dict[Key, Exception]) -> None:
        super().__init__(f"workers died at {len(at)} tasks")
        self.at = at


def active_client() -> Any | None:
    """The client of the active Dask cluster; None where work goes to threads."""
    client = getattr(get_scheduler(cls=da.Array), "__self__", None)
    return client if hasattr(client, "scheduler_info") else None


def this_process() -> str:
    """What a person calls this process: which worker of a cluster, or which process of which machine."""
    here, distributed = f"process {os.getpid()} on {socket.gethostname()}", sys.modules.get("distributed")
    with suppress(AttributeError, ValueError):  # not a task of a cluster
        return f"the worker {distributed.get_worker().address} ({here})"  # type: ignore[union-attr]
    return here


def cluster_threads(client: Any) -> int:
    """How many tasks a cluster runs at once; 0 while it has no workers.

    Raises
    ------
    ClusterError
        If it does not answer.
    """
    with _answered(client):
        return sum(client.ncores().values())


def cluster_workers(client: Any) -> list[dict[str, Any]]:
    """What the scheduler knows of each worker: `nthreads`, `memory_limit` and more.

    Raises
    ------
    ClusterError
        If it does not answer.
    """
    with _answered(client):
        return list(client.scheduler_info(n_workers=-1)["workers"].values())


def check_versions() -> None:
    """See that the active cluster runs the versions of this process.

    Raises
    ------
    ClusterError
        If its scheduler or a worker runs others, or if the scheduler does not answer.
    """
    client = active_client()
    if client is not None:
        with _answered(client):
            versions.check_all(client)


def everywhere(function: Callable[[], T]) -> list[T]:
    """Call a function in this process and, where there is an active cluster, in its workers; what they return.

    Raises
    ------
    ClusterError
        If the scheduler does not answer.
    """
    found, client = [function()], active_client()
    if client is not None:
        with _answered(client):
            found += client.run(function, on_error="ignore").values()
    return found


def listen(topic: str, hear: Callable[[str, Any], None]) -> str:
    """Hear what tasks of the active cluster tell under a topic, always before their results arrive.

    `hear` gets the id of the client that hears, which is returned; empty without a cluster.

    Raises
    ------
    ClusterError
        If the scheduler does not answer.
    """
    client = active_client()
    if client is None:
        return ""
    with _answered(client):
        client.subscribe_topic(topic, functools.partial(hear, client.id))
    return str(client.id)


def compute_on(
    client: Any, graph: dict[Any, Any], keys: Sequence[Key], done: Callable[[int], None] | None = None
) -> list[Any]:
    """Values of `keys` of a graph; `done(1)` is called as each is ready.

    Raises
    ------
    ClusterError
        If the scheduler is gone, workers die at a task again and again, or one that came runs other versions.
    """
    try:
        values = _computed_on(client, graph, keys, done)
    except ClusterError:
        raise
    except Exception:
        _check_new(client)  # one of another version fails at what it does not know
        raise
    _check_new(client)
    return values


def _computed_on(
    client: Any, graph: dict[Any, Any], keys: Sequence[Key], done: Callable[[int], None] | None
) -> list[Any]:
    """`compute_on`, workers that die included."""
    values: dict[Key, Any] = {}
    deaths: Counter[Key] = Counter()
    with _out_of_the_pool(), _watched(client):
        while left := [key for key in keys if key not in values]:
            try:
                for key, value in _as_computed(client, cull(graph, left) if values else graph, left):
                    values[key] = value
                    if done is not None:
                        done(1)
            except _WorkersDied as died:
                deaths.update(died.at.keys())
                if given_up := [error for key, error in died.at.items() if deaths[key] == TRIES]:
                    raise ClusterError(_dying(given_up[0])) from given_up[0]
                logger.warning("workers died at %d tasks, which go out again", len(keys) - len(values))
                # until the scheduler was told that the failed tasks are let go of, it would answer with their failure
                client.sync(asyncio.sleep, _SETTLING)
    return [values[key] for key in keys]


def _check_new(client: Any) -> None:
    """Refuse workers of other versions that came since the last look."""
    with _answered(client):
        versions.check_new(client, client.ncores())


def _as_computed(client: Any, graph: dict[Any, Any], keys: list[Key]) -> Iterator[tuple[Key, Any]]:
    """Each key with its value as it is ready, let go of on the cluster; raises what a task raised."""
    from distributed import KilledWorker, as_completed

    _check_new(client)
    with _answered(client), _at_home(client, graph):
        futures = client.get(graph, keys, sync=False, retries=RETRIES)
    keys_of = {future.key: key for future, key in zip(futures, keys, strict=True)}
    try:
        for future, value in as_completed(futures, loop=client.loop, with_results=True, raise_errors=False):
            if future.status == "error":
                _, error, trace = value
                if isinstance(error, KilledWorker):
                    raise _WorkersDied({f.key: f.exception() for f in futures if f.status == "error"}) from error
                raise error.with_traceback(trace)
            if isinstance(value, CancelledError) or future.cancelled():
                raise ClusterError(_lost(client))
            future.release()
            yield keys_of[future.key], value
    finally:
        for future in futures:
            future.release()


@contextmanager
def _at_home(client: Any, graph: dict[Any, Any]) -> Iterator[None]:
    """Have tasks run where their block was worked on before, if that worker is there and others are not idle."""
    threads = client.ncores()
    if len(threads) < 2:
        yield
        return
    with dask.annotate(workers=Homes.of(threads, graph), allow_other_workers=True):
        yield


@contextmanager
def _answered(client: Any) -> Iterator[None]:
    """Turn what a client raises without its scheduler into one clear error."""
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    try:
        yield
    except ClusterError:  # which is an OSError as well
        raise
    except (CommClosedError, ClosedClientError, OSError, CancelledError) as error:
        raise ClusterError(_lost(client)) from error


@contextmanager
def _watched(client: Any) -> Iterator[None]:
    """Say when the cluster has no workers (any more): work waits for one then, for as long as it takes."""
    over = threading.Event()

    def check(told: bool) -> bool:
        alone = not cluster_threads(client)
        if alone and not told:
            logger.warning("the cluster at %s has no workers: waiting for one", _address(client))
        return alone

    def watch(told: bool) -> None:
        while not over.wait(_WATCH_SECONDS):
            with suppress(Exception):  # who waits for the results meets it as well
                told = check(told)

    thread = threading.Thread(target=watch, args=(check(False),), daemon=True, name="lakecube-workers")
    thread.start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _out_of_the_pool() -> Iterator[None]:
    """Where this is itself a task of the cluster, give its thread free while others are waited for."""
    from distributed import rejoin, secede

    inside = False
    with suppress(ValueError, KeyError):  # no worker here, or out of its pool already
        secede()
        inside = True
    try:
        yield
    finally:
        if inside:
            rejoin()


def _address(client: Any) -> str:
    scheduler = getattr(client, "scheduler", None)
    return str(getattr(scheduler, "address", None) or "its address")


def _lost(client: Any) -> str:
    return (
        f"the Dask scheduler at {_address(client)} is gone. What was finished is kept, and nothing half-written is "
        "visible: start a cluster again, connect to it and make the same call, it continues where it stopped "
        '(or go on without: dask.config.set(scheduler="threads"))'
    )


def _dying(error: Exception) -> str:
    return (
        f"workers die again and again at the same task ({error}). Most often they are out of memory: give each more "
        "(--memory-limit of dask worker) or fewer threads, or open the cube with smaller chunks=; what was finished "
        "is kept, and the same call continues where it stopped"
    )
