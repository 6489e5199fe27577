"""What a web server may send beside what was asked for: bodies without end, waits and numbers that are none."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler

import pystac_client
import pytest
import requests
from pystac_client.stac_api_io import StacApiIO

from lakecube.errors import LakecubeError, ReadError
from lakecube.io import asking, limits, patience, web
from lakecube.io.asking import asked_seconds, new_session
from lakecube.io.patience import Patience, RequestError
from lakecube.io.stac import load_items
from lakecube.io.stac_reading import ServerIO
from tests.loopback import serving

ONCE = Patience(times=0, timeout=5)
ITEM = {
    "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "links": [], "assets": {},
    "properties": {"datetime": "2022-04-20T03:37:36Z"},
}  # fmt: skip


@contextlib.contextmanager
def answering(*answers):
    """A server that gives these answers (status, headers, body) one by one, the last one for ever; what it was asked.

    A body that is a number: so many zeros are announced, and sent as long as they are taken.
    """
    asked, sent = [], [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append({**self.headers, ":path": self.path})
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            size = body if isinstance(body, int) else len(body)
            for name, value in {"Content-Length": str(size), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                if not isinstance(body, int):
                    self.wfile.write(body)
                    return
                while sent[0] < body:
                    self.wfile.write(bytes(2**16))
                    sent[0] += 2**16

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with serving(Handler, quiet=True) as url:
        yield url, asked, sent


@pytest.mark.parametrize(
    "answer", [(404, {}), (400, {}), (302, {"Location": "/b.json"}), (307, {"Location": "ftp://x"})]
)
def test_bodies_that_nobody_asked_for_are_not_read(answer):
    with answering((*answer, 2**40), (404, {}, b"")) as (url, _, sent):
        for read in (lambda: ServerIO().request(f"{url}/a.json"), lambda: web.fetch(f"{url}/a.tif", 0, 10, ONCE)):
            with pytest.raises(ReadError, match=r"answered 40|not followed"):
                read()
        assert sent[0] < 32 * 2**20  # what fits into the buffers of two sockets


def test_a_server_that_is_busy_with_a_long_answer_is_left_and_asked_again(monkeypatch):
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)
    with answering((503, {}, 2**40), (200, {}, json.dumps(ITEM).encode())) as (url, asked, sent):
        assert len(load_items(f"{url}/i.json")) == 1
        assert len(asked) == 2
        assert sent[0] < 32 * 2**20


ODD = ["-5", "1e309", "nan", "soon", "Fri, 31 Dec 99999999999999999999 23:59:59 GMT", "1" * 5000, "", "0"]


@pytest.mark.parametrize("asked_for", ODD)
def test_a_wait_that_is_none_is_a_usual_wait(asked_for, monkeypatch):
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    with answering((503, {"Retry-After": asked_for}, b""), (200, {}, json.dumps(ITEM).encode())) as (url, _, _):
        assert len(load_items(f"{url}/i.json")) == 1
    assert len(waits) == 1
    assert 0.2 < waits[0] < 0.8


@pytest.mark.parametrize("asked_for", ["7200", "Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_server_that_asks_to_wait_for_hours_is_not_waited_for(asked_for, monkeypatch):
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    with answering((503, {"Retry-After": asked_for}, b""), (200, {}, json.dumps(ITEM).encode())) as (url, _, _):
        assert len(load_items(f"{url}/i.json")) == 1
    assert waits == [60]
    assert asked_seconds(asked_for) >= 7200


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Length": LONG}),
        (206, {"Content-Range": f"bytes 0-{LONG}/{LONG}"}),
        (206, {"Content-Range": f"bytes {LONG}-{LONG}/10"}),
        (206, {"Content-Range": "bytes 0-٩/10"}),
        (302, {"Location": "http://[::1"}),
        (302, {"Location": "http://a b/"}),
    ],
)
def test_numbers_and_addresses_that_are_none_end_a_read_only(status, headers):
    with answering((status, headers, b"")) as (url, _, _), pytest.raises(RequestError):
        web.fetch(f"{url}/a.tif", 0, 10, ONCE)


def test_a_server_without_ranges_is_not_read_to_a_far_place(monkeypatch):
    monkeypatch.setattr(limits, "MOST_SKIPPED", 2**20)
    with answering((200, {}, 2**40)) as (url, _, sent):
        assert web.fetch(f"{url}/a.tif", 2**20, 2**20 + 10, ONCE)[0] == bytes(10)
        with pytest.raises(RequestError, match=r"knows no byte ranges, and would send 2 MiB .* copy the file") as told:
            web.fetch(f"{url}/a.tif", 2**21, 2**21 + 10, ONCE)
        assert told.value.final
        assert sent[0] < 32 * 2**20


def test_nor_for_longer_than_silence_may_last(monkeypatch):
    monkeypatch.setattr(web, "_LEAST_RATE", 0)
    clock = iter(range(0, 10**6, 2))
    monkeypatch.setattr(web.time, "monotonic", lambda: next(clock))
    with answering((200, {}, 2**40)) as (url, _, _), pytest.raises(RequestError, match="had not come to those asked"):
        web.fetch(f"{url}/a.tif", limits.MOST_SKIPPED, limits.MOST_SKIPPED + 10, ONCE)


def test_what_is_asked_for_is_held_once():
    size = 24 * 2**20
    with answering((206, {"Content-Range": f"bytes 0-{size - 1}/{size}"}, size)) as (url, _, _):
        web.fetch(f"{url}/a.tif", 0, size, ONCE)  # what is imported and opened at first counts for nobody
    with answering((206, {"Content-Range": f"bytes 0-{size - 1}/{size}"}, size)) as (url, _, _):
        tracemalloc.start()
        try:
            data, _ = web.fetch(f"{url}/a.tif", 0, size, ONCE)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(data) == size
    assert most < 1.5 * size


def test_passwords_of_netrc_go_over_https_only(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with answering((206, {"Content-Range": "bytes 0-9/10"}, bytes(10)), (404, {}, b"")) as (url, asked, _):
        for name in ("a.tif", "a@b.tif"):
            with contextlib.suppress(LakecubeError):
                web.fetch(f"{url}/{name}", 0, 10, ONCE)
        with pytest.raises(LakecubeError):
            ServerIO().request(f"{url}/a.json")
        own = url.replace("//", "//you:yours@")
        with pytest.raises(LakecubeError):
            ServerIO().request(f"{own}/a.json")  # what stands in the address is meant
    assert [("Authorization" in headers) for headers in asked] == [False, False, False, True]
    secure = new_session().prepare_request(requests.Request("GET", f"{url}/a.tif".replace("http:", "https:")))
    assert secure.headers["Authorization"].startswith("Basic ")


def test_a_redirect_to_another_host_takes_no_password_along():
    with (
        answering((200, {}, b"{}")) as (there, asked, _),
        answering((302, {"Location": there}, b"")) as (here, first, _),
    ):
        session = new_session()
        with asking.ask(session, here, (5, 5), headers={"Authorization": "Bearer x", "X-Own": "1"}) as answer:
            assert answer.status_code == 200
    assert first[0]["Authorization"] == "Bearer x"
    assert "Authorization" not in asked[0]
    assert asked[0]["X-Own"] == "1"


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("http://a.example/x/", "https://a.example/x/"),
        ("/y", "https://a.example/y"),
        ("https://b.example/z", "https://b.example/z"),
        ("http://b.example/z", None),
        ("http://a.example:8080/z", None),
        ("file:///etc/passwd", None),
        ("", None),
    ],
)
def test_a_redirect_is_no_less_secure(location, leads):
    if leads is not None:
        assert asking._followed("https://a.example/x", location) == leads
        return
    with pytest.raises(RequestError, match="which is not followed"):
        asking._followed("https://a.example/x", location)


def test_a_search_by_post_is_a_get_after_a_redirect_that_says_so():
    with answering((303, {"Location": "/found"}, b""), (200, {}, b"{}")) as (url, asked, _):
        assert ServerIO().request(f"{url}/search", "POST", parameters={"limit": 3}) == "{}"
    assert asked[0]["Content-Type"] == "application/json"
    assert "Content-Type" not in asked[1]


def test_what_is_asked_for_is_not_asked_for_twice_after_a_redirect():
    with answering((307, {"Location": "/found?limit=3&page=1"}, b""), (200, {}, b"{}")) as (url, asked, _):
        assert ServerIO().request(f"{url}/search", "GET", parameters={"limit": 3}) == "{}"
    assert [headers[":path"] for headers in asked] == ["/search?limit=3", "/found?limit=3&page=1"]


def test_a_server_that_is_not_there_is_given_up_soon(monkeypatch):
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    begin = time.monotonic()
    with pytest.raises(ReadError, match="refuses connections"):
        ServerIO().request("http://127.0.0.1:9/items.json")
    assert len(waits) == 2
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("words", ["the server answered 404: ", "the server refuses connections"])
def test_a_client_of_the_users_own_fails_in_our_words(words):
    """It asks by itself, so what is wrong comes from its libraries."""
    with answering((404, {}, b"nothing here")) as (url, _, _):
        there = url if "404" in words else "http://127.0.0.1:9"
        root = {
            "type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d",
            "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"],
            "links": [{"rel": "search", "href": f"{there}/search", "method": "GET"}],
        }  # fmt: skip
        client = pystac_client.Client.from_dict(root)
        client.set_self_href(there)
        client._stac_io = StacApiIO(max_retries=0)
        with pytest.raises(ReadError, match=words):
            load_items(client, collections=["c"])
