"""A disk that fills and an object store that fails: one clear error, nothing half visible, the rerun finishes."""

from __future__ import annotations

import errno
import http.client
import itertools
import os
import resource
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from lakecube.errors import StoreError
from lakecube.store import open_store, to_zarr
from lakecube.store.files import LocalFiles
from tests.loopback import object_storage, serving
from tests.store.made import extract
from tests.store.test_restart import snapshot

SMALL = {"times": 2, "rows": 16, "columns": 24}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "s"
    to_zarr(extract(**SMALL), path, chunks=16)
    return snapshot(path)


@pytest.fixture(scope="module")
def rows_only(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "s"
    to_zarr(extract(**SMALL), path, chunks=16, revise=False)
    return snapshot(path)


def filled(monkeypatch, after, code=errno.ENOSPC):
    """From the write number `after` on, every file that is made finds the disk full: Zarr's and ours alike."""
    count, opened = itertools.count(), Path.open

    def full(self, mode="r", *args, **options):
        if "w" in mode and next(count) >= after:
            raise OSError(code, os.strerror(code), str(self))
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)


@pytest.mark.parametrize("after", [0, 3, 9, 25])
def test_a_disk_that_fills_at_any_write(tmp_path, base, monkeypatch, after):
    filled(monkeypatch, after)
    with pytest.raises(StoreError, match="the disk is full") as caught:
        to_zarr(extract(**SMALL), tmp_path / "s", chunks=16, wave=2)
    assert "make the same call again" in str(caught.value)
    with pytest.raises(StoreError):
        open_store(tmp_path / "s")
    monkeypatch.undo()
    to_zarr(extract(**SMALL), tmp_path / "s", chunks=16, wave=2)
    assert snapshot(tmp_path / "s") == base


def test_an_append_to_a_disk_that_fills_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    to_zarr(extract(**SMALL), tmp_path / "s", chunks=16)
    more = extract(**SMALL | {"times": 1}, start=2)
    filled(monkeypatch, 5, errno.EDQUOT)
    before = open_store(tmp_path / "s").load()
    with pytest.raises(StoreError, match="quota is used up"):
        to_zarr(more, tmp_path / "s", mode="append")
    monkeypatch.undo()
    assert open_store(tmp_path / "s").load().identical(before)
    assert to_zarr(more, tmp_path / "s", mode="append").sizes["time"] == 3


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are of POSIX")
def test_a_file_larger_than_a_process_may_write(tmp_path):
    """The operating system itself refuses, in the midst of a file: what is there of it is never taken for a chunk."""
    import signal

    was, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    big = {"times": 2, "rows": 200, "columns": 200}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, was[1]))
        with pytest.raises(StoreError, match="a file grew over the allowed size"):
            to_zarr(extract(**big), tmp_path / "s", chunks=200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    with pytest.raises(StoreError):
        open_store(tmp_path / "s")
    to_zarr(extract(**big), tmp_path / "s", chunks=200)
    to_zarr(extract(**big), tmp_path / "t", chunks=200)
    assert snapshot(tmp_path / "s") == snapshot(tmp_path / "t")


# --- object storage ------------------------------------------------------------------------------------------------


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on to an S3 server, but for those that `spoil` picks."""

    protocol_version = "HTTP/1.1"
    upstream: str
    spoil = staticmethod(lambda method, number: None)
    numbers: dict[str, int]
    lock: threading.Lock

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            self.numbers[self.command] = self.numbers.get(self.command, 0) + 1
            what = self.spoil(self.command, self.numbers[self.command])
        if what == "hang up":
            self.close_connection = True
            return
        if what is not None:
            self._answer(what, [("Content-Length", "0")], b"")
            return
        # the signature covers the Host header: it is handed on as it came
        upstream = http.client.HTTPConnection(self.upstream, timeout=20)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        data = answer.read()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
        self._answer(answer.status, headers, data)
        upstream.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def _answer(self, status, headers, data):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD" or status == 204:
                self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("obstore")
    with object_storage() as address:
        yield address


@pytest.fixture
def proxy(s3):
    class Handler(Proxy):
        upstream, numbers, lock = s3, {}, threading.Lock()

    with serving(Handler, quiet=True) as address:
        yield Handler, address


def options(endpoint, tries=2):
    return {
        "access_key_id": "AKIDAKID", "secret_access_key": "sEcReTsEcReT", "region": "us-east-1", "endpoint": endpoint,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": tries, "backoff": {"init_backoff": 0.01, "max_backoff": 0.05}},
    }  # fmt: skip


def fetched(url, endpoint, folder):
    import obstore

    from lakecube.store.objects import ObjectPlace

    client = ObjectPlace.of(url, options(endpoint)).client()
    for batch in obstore.list(client):
        for item in batch:
            LocalFiles(folder).write(item["path"], obstore.get(client, item["path"]).bytes().to_bytes())
    return snapshot(folder)


def test_what_passes_in_object_storage_is_not_noticed(proxy, rows_only, tmp_path):
    handler, endpoint = proxy
    kinds = itertools.cycle([500, 503, "hang up"])
    handler.spoil = staticmethod(lambda method, number: next(kinds) if number % 5 == 1 else None)
    url = "s3://bucket/passes/s.zarr"
    # one request may meet several spoilt answers in a row, as two threads write
    to_zarr(extract(**SMALL), url, chunks=16, revise=False, storage_options=options(endpoint, tries=10))
    assert fetched(url, endpoint, tmp_path / "s") == rows_only


@pytest.mark.parametrize(
    ("what", "after"),
    [(503, 9), pytest.param(500, 3, marks=pytest.mark.slow), pytest.param("hang up", 12, marks=pytest.mark.slow),
     pytest.param(403, 6, marks=pytest.mark.slow)],
)  # fmt: skip
def test_what_does_not_pass_stops_with_one_error_and_goes_on_later(proxy, rows_only, tmp_path, what, after):
    handler, endpoint = proxy
    handler.spoil = staticmethod(lambda method, number: what if method == "PUT" and number > after else None)
    url, how = f"s3://bucket/stops-{after}/s.zarr", {"storage_options": options(endpoint)}
    with pytest.raises(StoreError) as caught:
        to_zarr(extract(**SMALL), url, chunks=16, wave=2, revise=False, **how)
    assert url in str(caught.value) and "sEcReT" not in str(caught.value) and "\n" not in str(caught.value)
    handler.spoil = staticmethod(lambda method, number: None)
    with pytest.raises(StoreError):
        open_store(url, **how)
    to_zarr(extract(**SMALL), url, chunks=16, wave=2, revise=False, **how)
    assert fetched(url, endpoint, tmp_path / "s") == rows_only
