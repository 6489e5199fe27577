"""From whatever a user calls a source to the STAC items that match a search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pystac
import pystac_client

from lakecube.errors import EmptySearchError, InvalidInputError
from lakecube.io.hrefs import is_remote, strip_signature
from lakecube.io.search_place import bounds_of
from lakecube.io.search_terms import SearchTerms, parse_terms
from lakecube.io.stac_api import from_api
from lakecube.io.stac_files import from_catalog, from_location
from lakecube.io.stac_reading import absolute, quiet, reading
from lakecube.io.stac_seen import Found, Seen, explain_nothing, judge

__all__ = ["FoundItems", "bounds_of", "load_items", "map_items", "parse_terms"]

T = TypeVar("T")


@dataclass(frozen=True)
class FoundItems:
    """Items that matched a search, their asset hrefs absolute.

    `locals` tells for each item whether it came from the user's own disk or Python, so that it may point to local
    files; `local` is True only when all of them did.
    """

    items: list[pystac.Item]
    locals: tuple[bool, ...]

    @property
    def local(self) -> bool:
        """Whether every item is the user's own."""
        return all(self.locals)

    def __iter__(self) -> Iterator[tuple[pystac.Item, bool]]:
        return iter(zip(self.items, self.locals, strict=True))

    def __len__(self) -> int:
        return len(self.items)


def load_items(
    source: Any,
    *,
    collections: Any = None,
    bbox: Any = None,
    intersects: Any = None,
    datetime: Any = None,
    query: Any = None,
    limit: int | None = None,
) -> FoundItems:
    """Return the items of a source that match a search.

    Parameters
    ----------
    source : str, Path, pystac or pystac_client object, or iterable of items
        URL of a STAC API; path or URL of an Item, ItemCollection, static Catalog or Collection, or stac-geoparquet
        file; a folder of these; pystac objects. An object's local hrefs are trusted only where its `self` link is a
        file on disk that holds it, or where neither a link nor an asset of it leads to a server.
    collections : str or sequence of str, optional
    bbox : sequence of 4 numbers, optional
        West, south, east, north in degrees; west above east crosses the antimeridian.
    intersects : GeoJSON, shapely geometry or GeoDataFrame, optional
    datetime : str, date or pair, optional
        As STAC writes it: "2017/2021", "2020-06", "../2020".
    query : mapping or sequence of str, optional
        ``{"eo:cloud_cover": {"lt": 20}}`` or ``["eo:cloud_cover<20"]``.
    limit : int, optional
        Items per page of an API; never a limit on the answer.

    Returns
    -------
    FoundItems

    Raises
    ------
    EmptySearchError
        Nothing matched; the message tells what the source holds.
    InvalidInputError
        A term or the source is not understood.
    ReadError
        The source could not be read in full. No item is ever left out silently.
    UnsafeHrefError
        A remote catalogue links to a local file.
    MissingDependencyError
        A stac-geoparquet file is given and pyarrow or stac-geoparquet is not installed.
    """
    terms = parse_terms(collections=collections, bbox=bbox, intersects=intersects, datetime=datetime, query=query)
    found = _unique(map_items(lambda item, local: (item, local), source, terms, limit=limit))
    return FoundItems([item for item, _ in found], tuple(local for _, local in found))


def map_items(
    function: Callable[[pystac.Item, bool], T], source: Any, terms: SearchTerms, *, limit: int | None = None
) -> list[T]:
    """What `function` makes of each item that matches, and of whether it is the user's own; a double comes twice.

    The items themselves are let go one by one: those of ten thousand scenes take half a gigabyte.
    """
    seen = Seen()
    with quiet():
        found = [function(item, local) for item, local in _find(source, terms, seen, limit)]
    if not found:
        raise EmptySearchError(explain_nothing(_name(source), terms, seen))
    return found


def _find(source: Any, terms: SearchTerms, seen: Seen, limit: int | None) -> Found:
    if isinstance(source, (str, Path)):
        yield from from_location(str(source), terms, seen, limit)
    elif isinstance(source, pystac_client.Client):
        yield from from_api(source, terms, seen, limit)
    elif isinstance(source, pystac.Catalog):
        yield from from_catalog(source, terms, seen, local=_is_own(source))
    elif isinstance(source, pystac.Item):
        yield from _from_objects([source], terms, seen)
    elif isinstance(source, Iterable):
        yield from _from_objects(source, terms, seen)
    else:
        raise InvalidInputError(
            f"source must be a URL, a path, a pystac object or a list of items, got {type(source).__name__}."
        )


def _from_objects(items: Iterable[Any], terms: SearchTerms, seen: Seen) -> Found:
    for item in items:
        if not isinstance(item, pystac.Item):
            raise InvalidInputError(f"A list of items must hold pystac.Item only, got {type(item).__name__}.")
        if judge(item, terms, seen):
            with reading(f"item {item.id!r}"):
                copy = absolute(item.clone(), item.get_self_href())
            yield copy, _is_own(item)


def _is_own(thing: pystac.STACObject) -> bool:
    """Whether an object in Python is the user's own, so that it may name local files.

    An object does not tell where it came from: ``ItemCollection.from_file("https://…")`` leaves items without a link.
    So an item is the user's own where its `self` link is a file on disk that holds an item of its id. Failing that,
    no link to itself, its root, parent, collection or source may lead to a server, and every asset must be local:
    an item that mixes imagery of a server with files of this machine is not trusted.
    """
    href = thing.get_self_href()
    if href and not is_remote(href) and _holds(Path(href.removeprefix("file://")), thing.id):
        return True
    # `get_root` would follow the link over the network; the target of a link is known without that.
    rels = {"self", "root", "parent", "collection", "canonical", "derived_from", "via"}
    links = [link.get_target_str() for link in thing.links if link.rel in rels]
    if any(is_remote(target) for target in links if target):
        return False
    return not isinstance(thing, pystac.Item) or not any(is_remote(asset.href) for asset in thing.assets.values())


def _holds(path: Path, name: str) -> bool:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(fields, dict) and fields.get("id") == name


def _unique(found: Iterable[tuple[pystac.Item, bool]]) -> list[tuple[pystac.Item, bool]]:
    """Drop what a server sent twice: pages can overlap while it is written to.

    Two items of one id that differ are both kept; `select_newest` chooses by what they say of themselves.
    """
    unique: dict[tuple[str, str], list[tuple[pystac.Item, bool]]] = {}
    for item, local in found:
        same = unique.setdefault((item.collection_id or "", item.id), [])
        if not any(_content(item) == _content(other) for other, _ in same):
            same.append((item, local))
    return [one for same in unique.values() for one in same]


def _content(item: pystac.Item) -> dict[str, Any]:
    fields = item.to_dict(include_self_link=False, transform_hrefs=False)
    return {key: value for key, value in fields.items() if key != "links"}


def _name(source: Any) -> str:
    if isinstance(source, (str, Path)):
        return strip_signature(str(source))
    if isinstance(source, pystac.STACObject):
        return strip_signature(source.get_self_href() or f"{type(source).__name__} {source.id!r}")
    return f"The given {type(source).__name__}"
