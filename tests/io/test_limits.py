"""What a server may make us hold or do is bounded, and each bound is a clear refusal before anything is allocated."""

import contextlib
import json
import socketserver
import threading
import time

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import lakecube
from lakecube.errors import InvalidInputError, LakecubeError, MissingBandError, ReadError, UnsafeHrefError
from lakecube.io import limits
from lakecube.io.stac import load_items
from lakecube.io.stac_reading import ServerIO
from tests.hostile.site import site

ITEM = {
    "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "links": [], "assets": {},
    "properties": {"datetime": "2022-04-20T03:37:36Z"},
}  # fmt: skip


@pytest.fixture
def server():
    with site() as made:
        yield made


def _collection(items, **more):
    return json.dumps({"type": "FeatureCollection", "features": items, **more}).encode()


def test_a_document_of_any_length_is_given_up(server, monkeypatch):
    monkeypatch.setattr(limits, "MOST_DOCUMENT", 10_000)
    assert len(load_items(server.put(_collection([ITEM])))) == 1
    with pytest.raises(ReadError, match=r"longer than .* MiB, which is given up: ask for less by bbox="):
        load_items(server.put(_collection([ITEM], description="x" * 10_000)))


def test_a_document_that_drips_is_given_up(server, monkeypatch):
    monkeypatch.setattr(limits, "MOST_SECONDS", -1.0)
    with pytest.raises(ReadError, match="took over"):
        load_items(server.put(_collection([ITEM])))


@pytest.mark.parametrize("head", ["Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"])
def test_a_server_that_drips_byte_by_byte_is_given_up(head, monkeypatch):
    monkeypatch.setattr(limits, "MOST_SECONDS", 0.3)
    over = threading.Event()

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65536)
            self.request.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}".encode())
            with contextlib.suppress(OSError):
                while not over.wait(0.05):
                    self.request.sendall(b" ")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begin = time.monotonic()
        with pytest.raises(ReadError, match="took over"):
            ServerIO().request(f"http://127.0.0.1:{server.server_address[1]}/items.json")
        assert time.monotonic() - begin < 20
        over.set()
        server.shutdown()


def test_items_and_pages_without_end_are_given_up(server, monkeypatch):
    monkeypatch.setattr(limits, "MOST_ITEMS", 20)
    many = [{**ITEM, "id": str(k)} for k in range(21)]
    assert len(load_items(server.put(_collection(many[:20])))) == 20
    with pytest.raises(InvalidInputError, match="more than 20 items: take a smaller bbox="):
        load_items(server.put(_collection(many)))

    def page(path):
        number = int(path.partition("?")[2] or 0)
        return _collection([ITEM], links=[{"rel": "next", "href": f"{first}?{number + 1}"}])

    first = server.put(page)
    monkeypatch.setattr(limits, "MOST_PAGES", 10)
    with pytest.raises(ReadError, match="went on after 10 pages"):
        load_items(first)


def test_catalogues_in_each_other_without_end_are_given_up(server, monkeypatch):
    def catalog(path):
        number = int(path.partition("?")[2] or 0)
        base = {"type": "Catalog", "stac_version": "1.0.0", "id": path, "description": "d"}
        return json.dumps({**base, "links": [{"rel": "child", "href": f"{first}?{number + 1}"}]}).encode()

    first = server.put(catalog)
    monkeypatch.setattr(limits, "MOST_DEPTH", 5)
    with pytest.raises(ReadError, match="lies below 5 catalogues"):
        load_items(first)
    monkeypatch.setattr(limits, "MOST_PAGES", 3)
    with pytest.raises(ReadError, match="went on after 3 pages"):
        load_items(first)


def test_a_kind_or_a_link_of_another_type_is_no_crash(server):
    for document in ({"type": ["Feature"]}, {"type": {}}, {"type": "Catalog", "links": [{"rel": {}, "href": []}]}):
        with pytest.raises(LakecubeError):
            load_items(server.put(json.dumps(document).encode()))


def test_a_link_cannot_have_a_server_changed_or_a_file_read(server, tmp_path):
    (tmp_path / "own.json").write_bytes(_collection([ITEM]))
    io = ServerIO()
    for href in (str(tmp_path / "own.json"), f"file://{tmp_path}/own.json", "ftp://127.0.0.1/x"):
        with pytest.raises(UnsafeHrefError, match=r"may link to http\(s\)://"):
            io.read_text(href)
        links = [{"rel": "next", "href": href}]
        with pytest.raises(LakecubeError):
            load_items(server.put(_collection([ITEM], links=links)))
    links = [{"rel": "next", "href": f"{server.url}/x", "method": "DELETE"}]
    with pytest.raises(UnsafeHrefError, match="GET and POST only"):
        load_items(server.put(_collection([ITEM], links=links)))


def _table(path, count, text):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("stac_geoparquet.arrow")
    one = {
        **ITEM, "bbox": [0, 0, 1, 1], "geometry": {"type": "Point", "coordinates": [0, 0]},
        "assets": {"green": {"href": "a.tif"}}, "properties": {**ITEM["properties"], "note": text},
    }  # fmt: skip
    items = arrow.parse_stac_items_to_arrow([{**one, "id": str(k)} for k in range(count)])
    parquet.write_table(items.read_all(), path, compression="zstd")
    return path


def test_a_table_is_judged_by_its_footer(tmp_path, server, monkeypatch):
    path = _table(tmp_path / "items.parquet", 20, "x" * 100_000)
    assert path.stat().st_size < 50_000
    address = server.put(path.read_bytes(), "items.parquet")
    assert len(load_items(address)) == len(load_items(path)) == 20
    monkeypatch.setattr(limits, "MOST_ITEMS", 19)
    with pytest.raises(InvalidInputError, match="more than 19 items"):
        load_items(address)
    with pytest.raises(InvalidInputError, match="more than 19 items"):
        limits.rows_at_once(pytest.importorskip("pyarrow.parquet").ParquetFile(path).metadata, "items")
    monkeypatch.setattr(limits, "MOST_ITEMS", 20)
    monkeypatch.setattr(limits, "MOST_TABLE", 90_000)
    for source in (address, path):
        with pytest.raises(ReadError, match=r"items\.parquet unpacks to 0 MiB, which is given up"):
            load_items(source)


def test_one_text_in_every_row_is_not_held_for_all_of_them(tmp_path, monkeypatch):
    from lakecube.io.stac_files import _parquet_items

    path = _table(tmp_path / "items.parquet", 60, "x" * 2**20)
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr(limits, "MOST_TABLE", 4 * 2**20)
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert sum(len(fields["properties"]["note"]) for fields in _parquet_items(str(path), None)) == 60 * 2**20
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 30 * 2**20


def test_a_tile_that_would_not_fit_is_not_unpacked(tmp_path, monkeypatch, caplog):
    path = tmp_path / "2022-04-20_B03.tif"
    size = {"width": 64, "height": 64, "count": 1, "tiled": True, "blockxsize": 64, "blockysize": 64}
    place = {"crs": "EPSG:32648", "transform": from_origin(549600, 2986500, 10, 10)}
    profile = {"driver": "GTiff", "dtype": "uint16", **size, **place}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.full((1, 64, 64), 700, np.uint16))
    monkeypatch.setattr(limits, "MOST_BLOCK", 64 * 64 * 2 - 1)
    with pytest.warns(UserWarning):
        cube = lakecube.open(str(path), bands={"1": "green"}, retries=0)
    assert np.isnan(cube.green.values).all()
    assert "tiles of 64 × 64 pixels" in caplog.text


def test_what_a_message_quotes_is_neither_endless_nor_sent_to_the_terminal():
    shown = str(InvalidInputError("x" * 5000 + "\x1b[2J end"))
    assert len(shown) < 1100
    assert shown.endswith(r"\x1b[2J end")
    assert str(MissingBandError("no \u202egreen")) == r"no \u202egreen"


def test_forgetting_a_broken_file_opens_nothing_that_its_content_names(server, tmp_path):
    from tests.hostile.judge import Watch
    from tests.hostile.scenes import lay_bait

    bait = lay_bait(tmp_path / "bait")
    watch = Watch(bait)
    if not watch.works():
        pytest.skip("this system has no inotify")
    from lakecube.io.files import open_source

    index = f"<GDALTileIndexDataset><IndexDataset>{bait}/secret.tif</IndexDataset></GDALTileIndexDataset>"
    with watch.watching(), pytest.raises(ReadError), open_source(server.put(index.encode(), "a.tif"), local=False):
        pass
    assert watch.taken() == []


def test_what_signs_an_address_is_left_out_wherever_it_stands():
    from lakecube.io.hrefs import redact

    told = 'no https://h/a"b?sig=abc123 and X-Amz-Signature=def456&x=1'
    assert redact(told) == 'no https://h/a"b?sig=… and X-Amz-Signature=…&x=1'
