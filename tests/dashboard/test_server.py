"""The server: who may ask, what is sent, and that the store is only read."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from bokeh.client import pull_session
from bokeh.server.util import bind_sockets
from bokeh.util.token import generate_jwt_token, generate_session_id

import lakecube
from lakecube.cli import main
from lakecube.dashboard import downloads, server
from lakecube.dashboard.server import allowed_hosts, is_loopback, make_server
from lakecube.errors import InvalidInputError
from lakecube.series.areas import write_series
from lakecube.store import revise, to_zarr
from tests.dashboard.conftest import served
from tests.store.bowls import bowls


def ask(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def upgrade(host: str, origin: str) -> bytes:
    """The request for a websocket, as a page of `origin` sends it."""
    return (
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: bokeh, {generate_jwt_token(generate_session_id())}\r\nOrigin: {origin}\r\n\r\n"
    ).encode()


def test_the_page_answers_with_every_part_in_its_place(url):
    code, page = ask(url)
    assert code == 200
    assert page.count(b'id="p') + page.count(b"data-root-id") > 20
    assert b'name="viewport"' in page and b"{{" not in page


def test_several_sessions_pull_a_page_each(url, source, made):
    before = {path: path.stat().st_mtime_ns for path in Path(made).rglob("*")}
    sessions = [pull_session(url=url.rstrip("/")) for _ in range(3)]
    try:
        for session in sessions:
            names = {model.name for model in session.document.roots}
            assert {"map_figure", "series_figure", "layer", "date", "lake", "about_day", "downloads"} <= names
        one, *others = ({model.id for model in session.document.roots} for session in sessions)
        assert not any(one & other for other in others)
    finally:
        for session in sessions:
            session.close()
    assert {path: path.stat().st_mtime_ns for path in Path(made).rglob("*")} == before


def test_a_page_elsewhere_cannot_connect(url):
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(upgrade(f"{host}:{port}", "http://evil.example"))
        assert b" 403 " in line.recv(200).split(b"\r\n")[0]
    for page in ("", "download/series.csv", "autoload.js?bokeh-autoload-element=x"):
        code, said = ask(f"{url}{page}", Host="evil.example")
        assert code == 403 and b"--origin" in said, page


def test_series_of_one_lake_and_of_those_that_pass(url, made, tmp_path):
    store = lakecube.open_store(made)
    number = int(store["max_area"].idxmax())
    code, body = ask(f"{url}download/series.csv?lake={number}")
    assert code == 200
    assert body == write_series(store.sel(lake=[number]), tmp_path / "one.csv").read_bytes()
    code, body = ask(f"{url}download/series.csv?kinds=lake,river,too_small,provisional&min_observed=0.5")
    assert body == write_series(store, tmp_path / "all.csv", min_observed=0.5).read_bytes()
    code, body = ask(f"{url}download/series.csv?sizes=")
    assert code == 200 and len(body.splitlines()) == 1


def test_outlines_are_the_file_of_the_revision(url, made):
    code, body = ask(f"{url}download/outlines.parquet")
    assert code == 200 and body == (made / "lakes-0.parquet").read_bytes()


def test_a_download_is_a_file_of_its_kind_and_never_a_page(url, made):
    number = int(lakecube.open_store(made)["max_area"].idxmax())
    for query, kind, name in ((f"series.csv?lake={number}", "text/csv", f"lake-{number}.csv"),
                              ("series.csv", "text/csv", "lakes.csv"),
                              ("outlines.parquet", "application/vnd.apache.parquet", "lakes-0.parquet")):  # fmt: skip
        with urllib.request.urlopen(f"{url}download/{query}", timeout=20) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_who_leaves_during_a_download_is_not_an_error(url, monkeypatch, caplog):
    monkeypatch.setattr(downloads, "_PIECE", 1)
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.sendall(f"GET /download/outlines.parquet HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        line.recv(10)
    assert ask(url)[0] == 200
    time.sleep(0.3)
    assert "Uncaught" not in caplog.text


@pytest.mark.parametrize("query", ["lake=99999", "lake=x", "lake=%C2%B2", "kinds=sea", "mean_seen=7"])
def test_a_wrong_address_is_told_in_a_sentence(url, query):
    code, said = ask(f"{url}download/series.csv?{query}")
    assert code == 400 and said.count(b"\n") == 1 and b"Traceback" not in said and b"invalid literal" not in said


def test_a_download_is_of_the_store_as_it_is(copy, monkeypatch):
    """Also if no page is open that would have looked: a job that fetches the table every night."""
    from lakecube.dashboard import source as sources

    monkeypatch.setattr(sources, "LOOK_EVERY", 0.0)
    source = sources.Source(copy)
    with served(source) as url:
        to_zarr(bowls(dates=18, first=14)[0], copy, mode="append", progress=False)
        revise(copy, progress=False)
        code, body = ask(f"{url}download/series.csv")
        assert code == 200 and len(pd.read_csv(io.BytesIO(body))["date"].unique()) == 18
        copy.rename(copy.with_name("elsewhere"))
        code, said = ask(f"{url}download/series.csv")
    assert code == 500 and b"there is no store" in said


def test_outlines_are_made_where_the_revision_has_no_file(copy, tmp_path):
    from lakecube.dashboard.source import Source

    (copy / "lakes-0.parquet").unlink()
    with served(Source(copy)) as url:
        code, body = ask(f"{url}download/outlines.parquet")
    assert code == 200
    (tmp_path / "o.parquet").write_bytes(body)
    assert len(pd.read_parquet(tmp_path / "o.parquet", columns=["lake_id"])) == lakecube.open_store(copy).sizes["lake"]


def test_loopback_is_what_this_machine_alone_reaches():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "lakes.example")))
    assert allowed_hosts("127.0.0.1", 80, ()) == {"localhost:80", "127.0.0.1:80", "[::1]:80"}
    assert "127.8.8.8:80" in allowed_hosts("127.8.8.8", 80, ())
    assert allowed_hosts("192.0.2.1", 5006, ["Maps.example:8080"]) == {"192.0.2.1:5006", "maps.example:8080"}


@pytest.mark.parametrize("origin", ["Maps.example", "maps.example:443", "https://maps.example/"])
def test_names_behind_a_proxy_are_as_browsers_send_them(source, origin):
    """Who asks for https://maps.example sends that name without a port."""
    with served(source, origins=[origin]) as url:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        assert ask(f"{url}download/series.csv", Host="maps.example")[0] == 200
        assert ask(f"{url}download/series.csv", Host="maps.example:443")[0] == 200
        assert ask(f"{url}download/series.csv", Host="maps.example:8080")[0] == 403
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(upgrade("maps.example", "https://maps.example"))
            assert b" 101 " in line.recv(200).split(b"\r\n")[0]


@pytest.mark.parametrize("origin", ["*", "maps.example:https", "a b", ""])
def test_an_origin_that_is_none_is_refused(source, origin):
    with pytest.raises(InvalidInputError, match="is not a name of a server"):
        make_server(source, origins=[origin])


def test_the_address_that_is_told_is_one_that_answers(source, monkeypatch):
    monkeypatch.setattr(server, "bind_sockets", lambda address, port: bind_sockets("127.0.0.1", port))
    with served(source, address="0.0.0.0") as url:
        assert url.startswith("http://localhost:")
        assert ask(url.replace("localhost", "127.0.0.1"))[0] == 200


def test_another_address_warns_and_none_at_all_is_refused(source, caplog, monkeypatch):
    def no_socket(address, port):
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(server, "bind_sockets", no_socket)
    with pytest.raises(InvalidInputError, match=r"cannot listen at 192\.0\.2\.1:7"):
        make_server(source, address="192.0.2.1", port=7)
    assert "no password" in caplog.text.replace("there is ", "")
    with pytest.raises(InvalidInputError, match="choose another address="):
        make_server(source, address="192.0.2.1", port=7)
    with pytest.raises(InvalidInputError, match="port=99999: ports go from 0"):
        make_server(source, port=99999)
    with pytest.raises(InvalidInputError, match="name the address"):
        make_server(source, address=" ")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # main leaves logging as a process of its own would
def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch):
    assert main(["dashboard", str(tmp_path / "none.zarr"), "--no-browser"]) == 2
    assert capsys.readouterr().err == f"lakecube: there is no store at {tmp_path / 'none.zarr'}\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    assert main(["dashboard", str(tmp_path / "folder"), "--no-browser"]) == 2
    assert "is not a store of lakecube" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "bokeh", None)
    assert main(["dashboard", str(tmp_path / "none.zarr")]) == 2
    assert 'pip install -c constraints.txt ".[dashboard]"' in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # main leaves logging as a process of its own would
def test_json_is_one_line_with_the_address(made, capsys, monkeypatch):
    silent = SimpleNamespace(io_loop=SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(server, "make_server", lambda source, **options: (silent, "http://127.0.0.1:7/"))
    assert main(["dashboard", str(made), "--no-browser", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"store": str(made), "url": "http://127.0.0.1:7/"}
