"""The machine that a command runs on: threads of this one, or a Dask cluster that answers as one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from lakecube.errors import InvalidInputError

#: Seconds in which a scheduler must answer, and of them those in which it must take the connection.
PATIENCE, _TO_CONNECT = 12.0, 10.0


@contextlib.contextmanager
def engine(given: argparse.Namespace) -> Iterator[None]:
    """The Dask cluster or the threads that were asked for."""
    import dask

    if given.workers is not None and given.workers < 1:
        raise InvalidInputError(f"--workers {given.workers}: a number of threads is needed, 1 or more")
    if given.scheduler is None:
        with dask.config.set(num_workers=given.workers) if given.workers else contextlib.nullcontext():
            yield
        return
    if given.workers is not None:
        raise InvalidInputError("--workers are threads of this machine, --scheduler names a cluster: give one of them")
    with contextlib.nullcontext() if given.debug else _calm(), _connected(given.scheduler) as client:
        client.forward_logging("lakecube", logging.WARNING)
        try:
            yield
        finally:
            if client.status == "running":
                client.unforward_logging("lakecube")


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Without the tracebacks that a client logs when its scheduler is gone: our error tells what happened."""
    loggers = [logging.getLogger(name) for name in ("distributed.client", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _connected(address: str) -> Any:
    """A client of the scheduler at an address; InvalidInputError in a few seconds for whatever else is there.

    `Client` itself waits for ever where a port takes the connection and says nothing, as that of a dashboard does.
    """
    from distributed import Client

    needed = "give the address that dask scheduler prints, such as tcp://127.0.0.1:8786"
    try:
        found = asyncio.run(asyncio.wait_for(_identity(address), PATIENCE))
        if "workers" in found:
            return Client(address, timeout=PATIENCE)
    except TimeoutError as error:
        raise InvalidInputError(
            f"--scheduler {address} takes connections, but does not answer as a Dask scheduler within {PATIENCE:g} s "
            f"(is it the port of the dashboard?): {needed}"
        ) from error
    except Exception as error:  # what answers may say anything
        raise InvalidInputError(
            f"no Dask cluster answers at --scheduler {address or repr(address)}: {str(error) or type(error).__name__}. "
            "Start one (dask scheduler, and dask worker with the address it prints), or leave --scheduler out to run "
            "on threads of this machine"
        ) from error
    of = found.get("scheduler")
    raise InvalidInputError(
        f"--scheduler {address} is the address of a Dask {str(found.get('type', 'process')).lower()}: "
        + (f"that of its scheduler is {of}" if of else needed)
    )


async def _identity(address: str) -> dict[str, Any]:
    """What the process at an address says it is."""
    from distributed.core import rpc
    from distributed.security import Security

    async with rpc(address, timeout=_TO_CONNECT, connection_args=Security().get_connection_args("client")) as there:
        found = await there.identity()
    return dict(found)
