"""A server that sends a byte of its headers now and then, for ever."""

from __future__ import annotations

import contextlib
import pickle
import socketserver
import threading
import time

import pytest
import requests

from lakecube.io import web
from lakecube.io.deadlines import InTimeAdapter
from lakecube.io.patience import Patience, RequestError


@pytest.fixture
def dripping():
    over = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.sendall(b"HTTP/1.1 206 Partial Content\r\nX-Slow: ")
                while not over.wait(0.05):
                    self.request.sendall(b"a")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/b02.tif"
        over.set()
        server.shutdown()
        thread.join()


def test_headers_that_drip_end_a_read(dripping):
    begin = time.monotonic()
    with pytest.raises(RequestError, match="did not answer within"):
        web.fetch(dripping, 0, 10, Patience(timeout=0.5))
    assert time.monotonic() - begin < 20


def test_and_a_search(dripping):
    with requests.Session() as session, pytest.raises(requests.exceptions.ReadTimeout):
        session.mount("http://", pickle.loads(pickle.dumps(InTimeAdapter())))
        session.get(dripping, timeout=(5, 0.5))
