"""The same items by every kind of source, and every way a source can fail."""

import builtins
import datetime as dt
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pystac
import pystac_client
import pytest
import shapely.geometry

from lakecube.errors import (
    EmptySearchError,
    InvalidInputError,
    MissingDependencyError,
    ReadError,
    UnsafeHrefError,
)
from lakecube.io import stac_reading
from lakecube.io.patience import Patience
from lakecube.io.search_terms import parse_terms
from lakecube.io.search_time import check_datetime
from lakecube.io.stac import bounds_of, load_items

LANDSAT = "landsat-8-c2-l2"
NAMES = (LANDSAT, "sentinel-2-l2a", "sentinel-2-c1-l2a")
CALIFORNIA = (-123.0, 37.0, -122.0, 38.0)


def ids(found):
    return sorted((item.collection_id, item.id) for item in found.items)


@pytest.fixture(scope="session")
def folder(recorded):
    return recorded / "pystac-client"


@pytest.fixture(scope="session")
def everything(folder):
    """All 52 items of the three collections, as pystac objects."""
    return [item for name in NAMES for item in load_items(folder / name).items]


# --- the API and what is filtered here give the same answer ----------------------------------------------------------

SEARCHES = [
    {"collections": LANDSAT},
    {"collections": ["sentinel-2-l2a", "sentinel-2-c1-l2a"]},
    {"bbox": CALIFORNIA},
    {"bbox": "-123,37,-122,38"},
    {"bbox": [-180, -90, 180, 90]},
    {"bbox": (-70.0, -70.0, -50.0, -50.0)},
    {"bbox": (170.0, -70.0, -50.0, -50.0)},  # crosses the antimeridian
    {"intersects": {"type": "Point", "coordinates": [-122.0, 37.5]}},
    {"intersects": shapely.geometry.box(-60, -61, -59, -60)},
    {"datetime": "2017"},
    {"datetime": "2017-06"},
    {"datetime": "2017-06-30"},
    {"datetime": "2017/2018-02"},
    {"datetime": "../2016-12-31", "collections": LANDSAT},
    {"datetime": "2018-03-29/.."},
    {"datetime": (dt.date(2017, 6, 1), "2017-07-16")},
    {"collections": LANDSAT, "query": {"eo:cloud_cover": {"lt": 10, "gte": 0.5}}},
    {"collections": LANDSAT, "query": ["eo:cloud_cover<10", "landsat:collection_category=T1"]},
    {"collections": LANDSAT, "datetime": "2017", "bbox": CALIFORNIA, "query": {"landsat:collection_category": "T2"}},
]


@pytest.mark.parametrize("terms", SEARCHES, ids=str)
def test_server_and_files_agree(stac_api, everything, terms):
    from_server = load_items(stac_api, limit=7, **terms)
    from_objects = load_items(everything, **terms)
    assert ids(from_server) == ids(from_objects)
    assert not from_server.local and not any(from_server.locals)


@pytest.mark.parametrize("limit", [1, 5, 40, 1000])
def test_pages(stac_api, limit):
    assert len(load_items(stac_api, collections=LANDSAT, limit=limit)) == 40


def test_client_and_its_results(stac_api):
    with pytest.warns(pystac_client.warnings.PystacClientWarning):  # rustac does not declare the query extension
        pystac_client.Client.open(stac_api).search(query={"a": {"eq": 1}})
    client = pystac_client.Client.open(stac_api)
    assert len(load_items(client, collections=LANDSAT, datetime="2017")) == 23
    found = client.search(collections=[LANDSAT], datetime="2017").item_collection()
    again = load_items(found, query={"eo:cloud_cover": {"lt": 10}})
    assert 0 < len(again) < 23 and not again.local  # items that know a server may not point to local files


def test_a_collection_of_an_api(stac_api):
    url = f"{stac_api}collections/{LANDSAT}"
    assert len(load_items(url, limit=9)) == 40
    assert len(load_items(f"{url}/items?limit=7")) == 40  # the pages that follow are read as well
    with pytest.raises(EmptySearchError, match="is the collection 'landsat-8-c2-l2'"):
        load_items(url, collections="sentinel-2-l2a")


def test_empty_searches_of_an_api_say_what_is_there(stac_api):
    with pytest.raises(
        EmptySearchError, match=r"has no collection 'sentinel-2'\. It has: landsat-8-c2-l2, sentinel-2-c1"
    ):
        load_items(stac_api, collections="sentinel-2")
    with pytest.raises(EmptySearchError, match=r"dates 2016-08-30 to 2018-05-16; bbox \[-123\.4499.*Widen"):
        load_items(stac_api, collections=LANDSAT, datetime="1999")
    with pytest.raises(EmptySearchError, match="No item has the property 'cloud'"):
        load_items(stac_api, collections=LANDSAT, query={"cloud": {"lt": 10}})
    with pytest.raises(InvalidInputError, match="is an archive: give collections"):
        load_items(stac_api)


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_and_folders(folder, t11upt):
    one = sorted((folder / LANDSAT).glob("*.json"))[0]
    for source in (one, str(one), f"file://{one}"):
        found = load_items(source)
        assert len(found) == 1 and found.local
    assert len(load_items(folder / LANDSAT)) == 40
    found = load_items(t11upt / "items.json", collections="sentinel-2-l2a")
    assert Path(found.items[0].assets["scl"].href).samefile(t11upt / "sentinel-2" / "scl.tif")
    assert found.local and [local for _, local in found] == [True]


def test_old_versions_are_migrated(recorded):
    (item,) = load_items(recorded / "odc-stac" / "S2A_28QCH_20200714_0_L2A.json").items  # 1.0.0-beta.1
    assert item.properties["proj:code"] == "EPSG:32628"
    assert len(load_items(recorded / "odc-stac" / "site2-2020_jun_jul-35MNM.geojson")) == 13


def test_relative_paths_start_at_the_working_directory(t11upt, monkeypatch):
    monkeypatch.chdir(t11upt)
    expected = (t11upt / "sentinel-2" / "scl.tif").resolve().as_posix()
    assert load_items("items.json").items[0].assets["scl"].href == expected


@pytest.fixture
def static(tmp_path, everything):
    """A catalogue on disk with relative links: two collections, one of them nested, assets beside the items."""
    catalog = pystac.Catalog("lakes", "for tests")
    for name in NAMES[:2]:
        items = [item.clone() for item in everything if item.collection_id == name]
        extent = pystac.Extent.from_items(items)
        collection = pystac.Collection(name, "for tests", extent)
        for item in items:
            item.clear_links()
            item.assets = {"red": pystac.Asset("./red.tif", media_type="image/tiff")}
            collection.add_item(item)
        if name == LANDSAT:
            catalog.add_child(collection)
        else:
            (inner := pystac.Catalog("inner", "nested")).add_child(collection)
            catalog.add_child(inner)
    catalog.normalize_hrefs(str(tmp_path / "static"))
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "static"


@pytest.mark.parametrize("terms", [terms for terms in SEARCHES if "sentinel-2-c1-l2a" not in str(terms)], ids=str)
def test_static_catalogue_and_objects_agree(static, everything, terms):
    objects = [item for item in everything if item.collection_id in NAMES[:2]]
    try:
        expected = ids(load_items(objects, **terms))
    except EmptySearchError:
        with pytest.raises(EmptySearchError):
            load_items(static / "catalog.json", **terms)
        return
    found = load_items(static / "catalog.json", **terms)
    assert ids(found) == expected and found.local
    for item in found.items:
        assert item.assets["red"].href.startswith(static.as_posix()) and item.id in item.assets["red"].href


def test_static_sources(static):
    assert len(load_items(static)) == 46
    assert len(load_items(static / LANDSAT / "collection.json")) == 40
    catalog = pystac.Catalog.from_file(str(static / "catalog.json"))
    found = load_items(catalog, collections=LANDSAT)
    assert len(found) == 40 and found.local
    assert next(catalog.get_items(recursive=True)).assets["red"].href == "./red.tif"  # the user's objects stay


def test_static_catalogue_is_cut_early(static):
    for path in (static / LANDSAT).glob("LC08*/*.json"):
        path.write_text("broken")
    found = load_items(static, collections="sentinel-2-l2a")  # other names, other places and other times are not read
    assert (
        len(found) == len(load_items(static, bbox=(-70, -70, -30, 0))) == len(load_items(static, datetime="2025")) == 6
    )
    with pytest.raises(ReadError, match="could not be read"):
        load_items(static)
    with pytest.raises(EmptySearchError, match="dates 2016-08-30 to 2025-07-31"):
        load_items(static, datetime="1999")


def test_a_missing_file_of_a_catalogue_is_not_skipped(static):
    next((static / LANDSAT).glob("LC08*/*.json")).unlink()
    with pytest.raises(ReadError, match="could not be read"):
        load_items(static)


@pytest.mark.parametrize("terms", SEARCHES[:8], ids=str)
def test_geoparquet(tmp_path, everything, terms):
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    items = [item for item in everything if item.collection_id == LANDSAT]
    table = arrow.parse_stac_items_to_arrow([item.to_dict(transform_hrefs=False) for item in items]).read_all()
    arrow.to_parquet(table, tmp_path / "items.parquet")
    try:
        expected = ids(load_items(items, **terms))
    except EmptySearchError:
        return
    found = load_items(tmp_path / "items.parquet", **terms)
    assert ids(found) == expected and found.local


def test_geoparquet_that_is_none(tmp_path):
    pytest.importorskip("stac_geoparquet.arrow")
    (tmp_path / "items.parquet").write_bytes(b"not parquet")
    with pytest.raises(ReadError, match="is not a Parquet file"):
        load_items(tmp_path / "items.parquet")


def test_geoparquet_without_its_packages(tmp_path, monkeypatch):
    (tmp_path / "items.parquet").write_bytes(b"")
    real = builtins.__import__

    def fails(name, *args, **kwargs):
        if name.startswith("stac_geoparquet"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(MissingDependencyError, match=r"pip install -c constraints.txt '\.\[geoparquet\]'"):
        load_items(tmp_path / "items.parquet")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", ReadError, "is not JSON"),
        ("[]", InvalidInputError, "is not STAC: its type is None"),
        ('{"type": "Topology"}', InvalidInputError, "is not STAC: its type is 'Topology'"),
        ('{"type": "Feature", "id": "x"}', ReadError, "item 'x'"),
        ('{"type": "FeatureCollection", "features": []}', EmptySearchError, "holds no items at all"),
    ],
)
def test_files_that_are_no_stac(tmp_path, text, error, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(error, match=message):
        load_items(path)


@pytest.mark.parametrize(
    "text",
    ["5", "null", '"text"', '{"type": "FeatureCollection", "features": [5]}', '{"type": "Feature", "links": 5}',
     '{"type": "FeatureCollection", "features": 5}', '{"type": "Catalog", "id": "c", "links": [5]}'],
)  # fmt: skip
def test_documents_that_are_no_stac(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InvalidInputError, match="is not STAC"):
        load_items(tmp_path / "x.json")


@pytest.mark.parametrize(
    "fields", [{"bbox": [1, 2]}, {"bbox": "abcd"}, {"bbox": 5}, {"properties": None}, {"assets": None}, {"id": None},
               {"geometry": {"type": "Point"}}, {"geometry": 5}], ids=str,
)  # fmt: skip
def test_items_that_are_no_stac_are_named(tmp_path, fields):
    (tmp_path / "x.json").write_text(json.dumps(feature("strange") | fields))
    with pytest.raises((InvalidInputError, ReadError), match=r"strange|id None|item None"):
        load_items(tmp_path / "x.json", bbox=(0, 0, 1, 1))


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.txt").write_text("lakes")
    with pytest.raises(InvalidInputError, match="neither GeoTIFF, STAC JSON, stac-geoparquet, Zarr nor NetCDF"):
        load_items(tmp_path / "x.txt")


def test_sources_that_are_none(tmp_path):
    for source in (3, None, {"type": "Feature"}, ["https://example.com"]):
        with pytest.raises(InvalidInputError, match=r"source must be|pystac\.Item only"):
            load_items(source)
    with pytest.raises(ReadError, match="does not exist"):
        load_items(tmp_path / "nothing.json")
    with pytest.raises(InvalidInputError, match=r"'htp://' is no known scheme: http\(s\)://, s3://.*file://"):
        load_items("htp://earth.example/v1")
    with pytest.raises(InvalidInputError, match="folder without STAC"):
        load_items(tmp_path)
    with pytest.raises(InvalidInputError, match=r"over http\(s\)"):
        load_items("s3://bucket/items.json")
    with pytest.raises(EmptySearchError):
        load_items([])


# --- a server that misbehaves ----------------------------------------------------------------------------------------


class Script(ThreadingHTTPServer):
    """Answers by path from `pages`: JSON, a (status, JSON) pair, or a list of them, one for each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.pages, self.asked, self.url = {}, [], f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        path = urlsplit(self.path).path
        self.server.asked.append(self.path)
        page = self.server.pages.get(path, (404, {"detail": "not here"}))
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        status, body = page if isinstance(page, tuple) else (200, page)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(stac_reading, "PATIENCE", Patience(times=3, wait=0.001))
    with Script() as script:
        thread = threading.Thread(target=script.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield script
        script.shutdown()
        thread.join()


def feature(name="scene", href="./B04.tif", **fields):
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "links": [], "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {"red": {"href": href}}, **fields,
    }  # fmt: skip


def test_busy_servers_are_asked_again(server):
    server.pages["/x.json"] = [(503, {}), (429, {}), feature()]
    (item,) = load_items(f"{server.url}/x.json?sig=SECRET").items
    assert item.assets["red"].href == f"{server.url}/B04.tif" and len(server.asked) == 3
    server.pages["/x.json"] = (503, {})
    with pytest.raises(ReadError, match=r"/x\.json could not be read: the server answered 503") as caught:
        load_items(f"{server.url}/x.json?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ReadError, match="the server answered 404"):
        load_items(f"{server.url}/y.json?sig=SECRET")


def test_a_server_that_is_not_there():
    with pytest.raises(ReadError, match="refuses connections"):
        load_items("http://127.0.0.1:1/items.json")


def test_pages_of_a_remote_feature_collection(server):
    def page(name, following):
        links = [{"rel": "next", "href": server.url + following}] if following else []
        return {"type": "FeatureCollection", "features": [feature(name)], "links": links}

    server.pages |= {"/a": page("a", "/b"), "/b": page("b", "/c"), "/c": page("c", None)}
    assert [item.id for item in load_items(f"{server.url}/a").items] == ["a", "b", "c"]
    server.pages["/c"] = page("c", "/b")
    with pytest.raises(ReadError, match="pages in a circle"):
        load_items(f"{server.url}/a")
    server.pages["/c"] = (500, {})
    with pytest.raises(ReadError, match="could not be read"):  # never the first two pages alone
        load_items(f"{server.url}/a")


def api_root(server):
    search = {"rel": "search", "href": f"{server.url}/search", "type": "application/geo+json", "method": "GET"}
    return {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "x", "links": [
        search, {"rel": "self", "href": f"{server.url}/"}, {"rel": "root", "href": f"{server.url}/"}]}  # fmt: skip


def test_api_that_only_has_a_search_link_and_sends_one_page_for_ever(server):
    server.pages["/"] = api_root(server)
    server.pages["/search"] = page = {"type": "FeatureCollection", "features": [feature("a")], "links": []}
    found = load_items(f"{server.url}/", datetime="2020")
    assert [item.id for item in found.items] == ["a"] and not found.local
    page["links"] = [{"rel": "next", "href": f"{server.url}/search?page=2"}]
    with pytest.raises(ReadError, match="sent before"):
        load_items(f"{server.url}/", datetime="2020")


def test_api_that_sends_fewer_than_it_counts(server, caplog):
    server.pages["/"] = api_root(server)
    server.pages["/search"] = {"type": "FeatureCollection", "features": [feature("a")], "numberMatched": 9}
    assert len(load_items(f"{server.url}/", datetime="2020")) == 1
    assert "counts 9 matching items and sent 1" in caplog.text


def test_api_that_fails_on_an_unknown_collection(server):
    server.pages["/"] = api_root(server)
    server.pages["/search"] = (400, {"detail": "bad collection"})
    with pytest.raises(ReadError, match="the server answered 400"):
        load_items(f"{server.url}/", collections="x")


def test_remote_catalogue_may_not_link_to_this_machine(server, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(feature("secret")))
    for href in (f"file://{secret}", str(secret)):
        server.pages["/catalog.json"] = {
            "type": "Catalog", "stac_version": "1.0.0", "id": "evil", "description": "x",
            "links": [{"rel": "item", "href": href}],
        }  # fmt: skip
        with pytest.raises(UnsafeHrefError, match=r"A remote catalogue links to .*secret\.json"):
            load_items(f"{server.url}/catalog.json")


def test_remote_static_catalogue(server):
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}
    server.pages |= {
        "/s/catalog.json": {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "x",
                            "links": [{"rel": "child", "href": "./col/collection.json"}]},
        "/s/col/collection.json": {"type": "Collection", "stac_version": "1.0.0", "id": "col", "description": "x",
                                   "license": "x", "extent": extent, "links": [{"rel": "item", "href": "./a.json"}]},
        "/s/col/a.json": feature("a", collection="col"),
    }  # fmt: skip
    (item,) = (found := load_items(f"{server.url}/s/catalog.json", datetime="2020")).items
    assert item.assets["red"].href == f"{server.url}/s/col/B04.tif" and not found.local
    with pytest.raises(EmptySearchError, match="collections col; dates 2020"):
        load_items(f"{server.url}/s/catalog.json", datetime="2019")


def test_whose_item_it_is():
    def made(**links):
        item = pystac.Item.from_dict(feature(href="/data/B04.tif"))
        for rel, href in links.items():
            item.add_link(pystac.Link(rel, href))
        return item

    assert load_items([made()]).local
    assert load_items([made(self="/data/item.json")]).local
    assert not load_items([made(self="https://example.com/item.json")]).local
    assert not load_items([made(root="https://example.com/")]).local
    both = load_items(
        [made(), pystac.Item.from_dict(feature("other", links=[{"rel": "self", "href": "https://e.org/i"}]))]
    )
    assert both.locals == (True, False) and not both.local


def test_an_item_without_links_that_names_a_server_may_not_name_local_files(tmp_path):
    def mixed(**fields):
        item = pystac.Item.from_dict(feature(href="https://example.com/B04.tif") | fields)
        item.add_asset("nir", pystac.Asset("/data/B08.tif"))
        return item

    assert not load_items([mixed()]).local
    own = mixed()
    own.set_self_href(str(tmp_path / "item.json"))
    assert not load_items([own]).local
    (tmp_path / "item.json").write_text("{}")
    assert not load_items([own]).local
    (tmp_path / "item.json").write_text(json.dumps(own.to_dict()))
    assert load_items([own]).local
    other = pystac.Item.from_dict(feature(href="/data/B04.tif"))
    other.add_link(pystac.Link("derived_from", "https://example.com/item.json"))
    assert not load_items([other]).local


def test_trust_ends_at_the_first_link_to_a_server(server, tmp_path):
    """A local catalogue links to a server's item and catalogue, which may not read this machine."""
    catalogue = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "x"}
    (tmp_path / "own.json").write_text(json.dumps(feature("own", href="/etc/hostname")))
    server.pages |= {
        "/item.json": feature("theirs", href="/etc/hostname"),
        "/child/catalog.json": {**catalogue, "id": "d", "links": [{"rel": "item", "href": "./below.json"}]},
        "/child/below.json": feature("below", href="file:///etc/hostname"),
    }
    links = [
        {"rel": "item", "href": "./own.json"}, {"rel": "item", "href": f"{server.url}/item.json"},
        {"rel": "child", "href": f"{server.url}/child/catalog.json"},
    ]  # fmt: skip
    (tmp_path / "catalog.json").write_text(json.dumps({**catalogue, "links": links}))
    for source in (tmp_path / "catalog.json", pystac.Catalog.from_file(str(tmp_path / "catalog.json"))):
        assert {item.id: own for item, own in load_items(source)} == {"own": True, "theirs": False, "below": False}
    server.pages["/child/catalog.json"]["links"][0]["href"] = f"file://{tmp_path / 'own.json'}"
    with pytest.raises(UnsafeHrefError):
        load_items(tmp_path / "catalog.json")


def test_only_identical_items_of_one_id_are_dropped():
    def made(**properties):
        fields = feature()
        fields["properties"] = {**fields["properties"], **properties}
        return pystac.Item.from_dict(fields)

    assert len(load_items([made(), made()])) == 1
    found = load_items([made(updated="2020-01-01T00:00:00Z"), made(updated="2021-01-01T00:00:00Z"), made()])
    assert len(found) == 3


# --- terms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2020", "2020-01-01T00:00:00Z/2020-12-31T23:59:59.999999Z"),
        ("2020-02", "2020-02-01T00:00:00Z/2020-02-29T23:59:59.999999Z"),
        ("2021-02-03", "2021-02-03T00:00:00Z/2021-02-03T23:59:59.999999Z"),
        ("2021-02-03T04:05:06Z", "2021-02-03T04:05:06Z"),
        ("2021-02-03t04:05:06z", "2021-02-03T04:05:06Z"),
        ("2021-02-03T04:05:06.5+02:00", "2021-02-03T02:05:06.500000Z"),
        ("2021-02-03T04:05:06.123456789Z", "2021-02-03T04:05:06.123456Z"),
        ("2017/2021", "2017-01-01T00:00:00Z/2021-12-31T23:59:59.999999Z"),
        ("../2020", "../2020-12-31T23:59:59.999999Z"),
        ("2020/..", "2020-01-01T00:00:00Z/.."),
        ("2020/", "2020-01-01T00:00:00Z/.."),
        ((None, "2020"), "../2020-12-31T23:59:59.999999Z"),
        ([dt.datetime(2020, 1, 1), dt.date(2020, 1, 2)], "2020-01-01T00:00:00Z/2020-01-02T23:59:59.999999Z"),
        (np.datetime64("2020-06"), "2020-06-01T00:00:00Z/2020-06-30T23:59:59.999999Z"),
        (dt.datetime(2020, 1, 1, 5, tzinfo=dt.timezone(dt.timedelta(hours=5))), "2020-01-01T00:00:00Z"),
    ],
)
def test_datetime(value, text):
    assert parse_terms(datetime=value).datetime_text == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2021/2017", "ends .* before it starts .* swap"),
        ("2020-13", "is not a date"),
        ("2020-02-30", "is not a date"),
        ("20200601", "is not a date"),
        ("2020-6-1", "is not a date"),
        ("yesterday", "is not a date"),
        ("../..", "open at both ends"),
        ("2020/2021/2022", "two with a slash"),
        (2020, "is not a date"),
        (("2020",), "two with a slash"),
        ("", "open at both ends"),
    ],
)
def test_bad_datetime(value, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_terms(datetime=value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((26.3, 105.0, 27.8, 106.8), r"swapped: try \[105\.0, 26\.3, 106\.8, 27\.8\]"),
        ((105, 27.8, 106.8, 26.3), r"south 27\.8 above north 26\.3: is it \[105\.0, 26\.3"),
        ((500000, 4000000, 600000, 4100000), "projected coordinates"),
        ((1, 2, 3), "must be"),
        ((1, 2, 3, float("nan")), "must be"),
        ("a,b,c,d", "must be"),
        (5, "must be"),
        ((-190, 0, -170, 1), "must be"),
    ],
)
def test_bad_bbox(value, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_terms(bbox=value)


def test_hints_at_a_bbox_are_themselves_right():
    for wrong in ((10, 5, 2, 1), (2, 5, 10, 1)):
        with pytest.raises(InvalidInputError, match=r"is it \[2.0, 1.0, 10.0, 5.0\]"):
            parse_terms(bbox=wrong)
    with pytest.raises(InvalidInputError, match=r"try \[105.0, 26.0, 106.0, 27.0\]"):
        parse_terms(bbox=(27, 106, 26, 105))


def test_bbox_over_the_antimeridian_and_with_heights():
    assert parse_terms(bbox=(170, -20, -170, -10)).boxes == ((170, -20, 180, -10), (-180, -20, -170, -10))
    assert parse_terms(bbox=(1, 2, 0, 3, 4, 9)).boxes == ((1, 2, 3, 4),)


def test_place_of_items_over_the_antimeridian_and_without_geometry():
    item = pystac.Item.from_dict(feature(bbox=[179.0, -1.0, -179.0, 1.0]))
    assert len(load_items([item], bbox=(179.5, 0, 179.6, 1))) == 1
    assert len(load_items([item], bbox=(-179.6, 0, -179.5, 1))) == 1
    with pytest.raises(EmptySearchError):
        load_items([item], bbox=(0, 0, 1, 1))


@pytest.mark.parametrize(
    "value",
    ["POINT (1 2)", "{", 5, {"type": "Nothing"}, {"type": "Point", "coordinates": [500000.0, 4000000.0]},
     {"type": "Polygon", "coordinates": []}],
)  # fmt: skip
def test_bad_intersects(value):
    with pytest.raises(InvalidInputError, match="intersects must be"):
        parse_terms(intersects=value)


def test_intersects_forms():
    box = shapely.geometry.box(1, 2, 3, 4)
    mapping = shapely.geometry.mapping(box)
    one = {"type": "Feature", "geometry": mapping, "properties": {}}
    many = {"type": "FeatureCollection", "features": [one, one]}
    for form in (box, mapping, json.dumps(mapping), one, many):
        assert bounds_of(form) == (1, 2, 3, 4)
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoSeries([box], crs=4326).to_crs(3857)
    assert bounds_of(frame) == pytest.approx((1, 2, 3, 4))
    with pytest.raises(InvalidInputError, match="either bbox or intersects"):
        parse_terms(bbox=(1, 2, 3, 4), intersects=box)


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ({"eo:cloud_cover": {"eq": 5}}, True),
        ({"eo:cloud_cover": 5}, True),
        ({"eo:cloud_cover": {"neq": 5}}, False),
        ({"eo:cloud_cover": {"lt": 5}}, False),
        ({"eo:cloud_cover": {"lte": 5, "gt": 4}}, True),
        ({"eo:cloud_cover": {"gte": 6}}, False),
        ({"platform": {"in": ["a", "sentinel-2a"]}}, True),
        ({"platform": {"startsWith": "sentinel"}}, True),
        ({"platform": {"endsWith": "2b"}}, False),
        ({"platform": {"contains": "nel-2"}}, True),
        ({"instruments": {"contains": "msi"}}, True),
        ({"platform": {"lt": 5}}, False),
        ({"absent": {"neq": 5}}, False),
        ("eo:cloud_cover<=5", True),
        (["eo:cloud_cover!=5"], False),
        (["platform=sentinel-2a", "eo:cloud_cover>4.5"], True),
    ],
)
def test_query(tests, expected):
    properties = {"eo:cloud_cover": 5, "platform": "sentinel-2a", "instruments": ["msi"]}
    assert parse_terms(query=tests).meets_query(properties) is expected


@pytest.mark.parametrize("tests", [{"a": {"like": 1}}, "cloud", [3]])
def test_bad_query(tests):
    with pytest.raises(InvalidInputError, match="query: "):
        parse_terms(query=tests)


def test_bad_collections():
    with pytest.raises(InvalidInputError, match="names of collections"):
        parse_terms(collections=[""])


TIMES = {
    "datetime": {"datetime": "last summer"},
    "start_datetime": {"datetime": None, "start_datetime": "last summer", "end_datetime": "2020-01-02T00:00:00Z"},
    "end_datetime": {"datetime": None, "start_datetime": "2020-01-02T00:00:00Z", "end_datetime": "last summer"},
}


@pytest.mark.parametrize("where", ["file", "address", "api", "catalogue"])
@pytest.mark.parametrize("field", TIMES)
def test_a_time_that_is_none_is_told_with_item_and_field(server, tmp_path, where, field):
    bad = feature("scene-7", properties=TIMES[field])
    server.pages["/"] = api_root(server)
    server.pages["/search"] = {"type": "FeatureCollection", "features": [bad], "links": []}
    server.pages["/item.json"] = bad
    links = [{"rel": "item", "href": f"{server.url}/item.json"}]
    server.pages["/c.json"] = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "x",
        "links": links,
    }
    path = tmp_path / "item.json"
    path.write_text(json.dumps(bad))
    address = {"file": path, "address": f"{server.url}/item.json", "api": f"{server.url}/"}
    address["catalogue"] = f"{server.url}/c.json"
    with pytest.raises(InvalidInputError, match=rf"Item 'scene-7': its {field} is 'last summer', which is no"):
        load_items(address[where], datetime="2020")


def test_nor_is_a_time_that_no_calendar_holds():
    item = pystac.Item.from_dict(feature("scene-7", properties={"datetime": "0001-01-01T00:00:00+14:00"}))
    with pytest.raises(InvalidInputError, match="Item 'scene-7': its datetime is '0001-01-01 00:00:00"):
        load_items([item])
    for value in ([], {}, 7, True):
        with pytest.raises(InvalidInputError, match="its datetime is"):
            check_datetime(feature("scene-7", properties={"datetime": value}))
    for value in ("2020-01-01T00:00:00Z", None):
        check_datetime(feature("scene-7", properties={"datetime": value}))
