"""Items of a path or URL: an Item, a collection of items, a static catalogue, stac-geoparquet, or an API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pystac

from lakecube.errors import EmptySearchError, InvalidInputError, MissingDependencyError, ReadError
from lakecube.io import limits
from lakecube.io.hrefs import is_remote, resolve_href, strip_signature, unknown_scheme
from lakecube.io.search_terms import SearchTerms
from lakecube.io.stac_api import from_api, open_api
from lakecube.io.stac_reading import NoJsonError, ServerIO, absolute, item_of, reading
from lakecube.io.stac_seen import Found, Seen, judge
from lakecube.io.stac_static import StaticIO, walk

_PARQUET = (".parquet", ".geoparquet", ".pq")
#: Versions whose items are understood as they are: migrating one copies it whole, which is half the time of opening.
_CURRENT = ("1.0.0", "1.0.1", "1.1.0")


def from_location(location: str, terms: SearchTerms, seen: Seen, limit: int | None) -> Found:
    """Yield the matching items of a path or URL, whatever lies there."""
    if location.startswith("file://"):
        location = location.removeprefix("file://")
    remote = is_remote(location)
    if remote and not location.lower().startswith(("http://", "https://")):
        raise InvalidInputError(f"{strip_signature(location)}: catalogues are read over http(s) or from disk.")
    if (wrong := unknown_scheme(location)) is not None:
        raise InvalidInputError(f"{strip_signature(location)} cannot be opened: {wrong}.")
    if not remote and not Path(location).exists():
        raise ReadError(f"{strip_signature(location)} does not exist.")
    if not remote and Path(location).is_dir():
        yield from _from_folder(Path(location), terms, seen, limit)
        return
    io = StaticIO(ServerIO(), remote_only=remote)
    if location.split("?")[0].lower().endswith(_PARQUET):
        yield from _filter_dicts(_parquet_items(location, io), location, terms, seen)
        return
    try:
        with reading(location):
            document = io.read_json(location)
    except NoJsonError as error:
        if remote or location.lower().endswith("json"):
            raise
        raise InvalidInputError(
            f"{location} is neither GeoTIFF, STAC JSON, stac-geoparquet, Zarr nor NetCDF."
        ) from error
    yield from _from_document(document, location, io, terms, seen, limit)


def _from_folder(folder: Path, terms: SearchTerms, seen: Seen, limit: int | None) -> Found:
    for name in ("catalog.json", "collection.json"):
        if (folder / name).exists():
            yield from from_location(str(folder / name), terms, seen, limit)
            return
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".json", ".geojson"})
    if not paths:
        raise InvalidInputError(f"{folder} is a folder without STAC: it holds no .json file.")
    for path in paths:
        yield from from_location(str(path), terms, seen, limit)


def _from_document(
    document: dict[str, Any], location: str, io: StaticIO, terms: SearchTerms, seen: Seen, limit: int | None
) -> Found:
    document = document if isinstance(document, dict) else {}
    kind = document.get("type")
    kind = kind if kind is None or isinstance(kind, str) else str(kind)[:60]
    links = {str(link.get("rel")): link.get("href") for link in _list_of(document, "links", location)} if kind else {}
    remote = is_remote(location)
    if remote and kind == "Catalog" and ("conformsTo" in document or "search" in links):
        yield from from_api(open_api(location), terms, seen, limit)
    elif remote and kind == "Collection" and "items" in links and "root" in links:
        api = open_api(resolve_href(str(links["root"]), location))
        name = document.get("id", "")
        yield from from_api(api, _narrowed(terms, name), seen, limit)
    elif kind in {"Catalog", "Collection"} or ("stac_version" in document and "extent" in document):
        with reading(location):
            kind_of = pystac.Collection if "extent" in document else pystac.Catalog
            catalog = kind_of.from_file(location, stac_io=io)
        yield from from_catalog(catalog, terms, seen, local=not remote)
    elif kind == "FeatureCollection":
        yield from _filter_dicts(_pages(document, location, io), location, terms, seen)
    elif kind == "Feature":
        yield from _filter_dicts([document], location, terms, seen)
    else:
        raise InvalidInputError(
            f"{strip_signature(location)} is not STAC: its type is {kind!r}, where Feature, FeatureCollection, Catalog "
            "or Collection is needed."
        )


def _list_of(document: dict[str, Any], name: str, location: str) -> list[dict[str, Any]]:
    """A member of a document that must be a list of objects, or not be there."""
    members = document.get(name) or []
    if not isinstance(members, list) or not all(isinstance(one, dict) for one in members):
        raise InvalidInputError(f"{strip_signature(location)} is not STAC: its {name} are {str(members)[:60]}.")
    return members


def _narrowed(terms: SearchTerms, name: str) -> SearchTerms:
    if terms.collections and name not in terms.collections:
        raise EmptySearchError(f"The source is the collection {name!r}; collections {terms.collections} are not in it.")
    return replace(terms, collections=(name,))


def _pages(page: dict[str, Any], location: str, io: StaticIO) -> Iterator[dict[str, Any]]:
    """Every feature of a collection of features, and of the pages that follow it on a server."""
    visited = set()
    while True:
        features = _list_of(page, "features", location)
        features.reverse()
        while features:  # let go one by one
            yield features.pop()
        following = next((link for link in _list_of(page, "links", location) if link.get("rel") == "next"), None)
        if following is None or not is_remote(location):
            return
        request = json.dumps(following, sort_keys=True)
        if request in visited:
            raise ReadError(f"{strip_signature(location)} pages in a circle.")
        visited.add(request)
        limits.check_pages(len(visited), location)
        with reading(location):
            page = io.api.read_json(pystac.Link.from_dict(following))


def _filter_dicts(items: Iterable[dict[str, Any]], location: str, terms: SearchTerms, seen: Seen) -> Found:
    for fields in items:
        if not isinstance(fields, dict):
            raise InvalidInputError(f"{strip_signature(location)} is not STAC: one of its features is {fields!r}.")
        with reading(f"item {fields.get('id')!r} of {strip_signature(location)}"):
            known = fields.get("stac_version") in _CURRENT
            item = item_of(fields, migrate=not known)
        if judge(item, terms, seen):
            yield absolute(item, location), not is_remote(location)


def from_catalog(catalog: pystac.Catalog, terms: SearchTerms, seen: Seen, *, local: bool) -> Found:
    """Yield the matching items below a static catalogue; the catalogue itself stays as it is."""
    with reading(catalog.get_self_href() or f"catalogue {catalog.id!r}"):
        for item, own in walk(catalog, terms, seen, local=local):
            if terms.matches(item):
                yield absolute(item.clone(), item.get_self_href()), own


def _parquet_items(location: str, io: StaticIO) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from stac_geoparquet.arrow import stac_table_to_items
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {strip_signature(location)} needs stac-geoparquet and pyarrow: "
            "pip install -c constraints.txt '.[geoparquet]'"
        ) from error
    with reading(location):
        where: Any = location
        if is_remote(location):
            where = BytesIO(io.api.fetch(location, limits.MOST_TABLE))
        try:
            file = pq.ParquetFile(where)
            rows = limits.rows_at_once(file.metadata, location)
            batches = file.iter_batches(batch_size=rows)
            yield from stac_table_to_items(pa.RecordBatchReader.from_batches(file.schema_arrow, batches))
        except pa.ArrowException as error:
            raise ReadError(f"{strip_signature(location)} is not a Parquet file: {error}.") from error
