"""A store of bowls that fill and empty under clouds, opened by the dashboard, and a server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading

import pytest

from lakecube.store import to_zarr
from tests.store.bowls import bowls

pytest.importorskip("bokeh", reason="the dashboard needs bokeh: extra dashboard")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Path of a store of 14 dates in 9 chunks; not to be written."""
    path = tmp_path_factory.mktemp("dashboard") / "s.zarr"
    to_zarr(bowls(dates=18, stop=14)[0].assign_attrs(collections="<b>bowls</b>"), path, chunks=32, progress=False)
    return path


@pytest.fixture
def copy(made, tmp_path):
    """A store that a test may change."""
    return shutil.copytree(made, tmp_path / "copy.zarr")


@pytest.fixture(scope="session")
def source(made):
    from lakecube.dashboard.source import Source

    return Source(made)


@contextlib.contextmanager
def served(source, **options):
    """The address of a server whose loop runs in a thread."""
    from lakecube.dashboard.server import make_server

    ready, address, loops = threading.Event(), [], []

    async def run():
        server, url = make_server(source, **options)
        loops.append((asyncio.get_running_loop(), asyncio.Event()))
        address.append(url)
        ready.set()
        await loops[0][1].wait()
        server.stop(wait=False)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        loops[0][0].call_soon_threadsafe(loops[0][1].set)
        thread.join(10)


@pytest.fixture(scope="session")
def url(source):
    with served(source) as address:
        yield address
