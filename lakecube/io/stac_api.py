"""Items of a STAC API."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pystac
import pystac_client
from pystac_client.exceptions import APIError

from lakecube.errors import EmptySearchError, InvalidInputError, ReadError
from lakecube.io import limits
from lakecube.io.hrefs import strip_signature
from lakecube.io.search_terms import SearchTerms
from lakecube.io.stac_reading import ServerIO, absolute, item_of, reading
from lakecube.io.stac_seen import Found, Seen

logger = logging.getLogger(__name__)


def open_api(url: str) -> pystac_client.Client:
    """Open a STAC API."""
    with reading(url):
        client = pystac_client.Client.open(url, stac_io=ServerIO())
        if not client.conforms_to("ITEM_SEARCH"):  # a search link says it as well, and older servers say only that
            client.add_conforms_to("ITEM_SEARCH")
        return client


def from_api(client: pystac_client.Client, terms: SearchTerms, seen: Seen, limit: int | None) -> Found:
    """Yield the items an API holds for a search; the antimeridian is searched on both sides."""
    url = client.get_self_href() or "the STAC API"
    if terms == SearchTerms():
        raise InvalidInputError(
            f"{strip_signature(url)} is an archive: give collections, bbox, intersects or datetime."
        )
    asks = bool(terms.query) and client.conforms_to("QUERY")
    methods = {link.extra_fields.get("method", "GET") for link in client.get_links("search")}
    found = 0
    try:
        for box in terms.boxes or (None,):
            with reading(url):
                search = client.search(
                    method="POST" if "POST" in methods or not methods else "GET",
                    limit=limit,
                    collections=list(terms.collections) or None,
                    bbox=box,
                    intersects=None if terms.geometry is None else terms.geometry.__geo_interface__,
                    datetime=terms.datetime_text,
                    query=dict(terms.query) if asks else None,
                )
                for item in _paged(search, client, url):
                    found += 1
                    seen.add(item)
                    # A server without the query extension ignores the query or answers nothing: judge here.
                    if asks or terms.meets_query(item.properties):
                        yield absolute(item, item.get_self_href() or url), False
    except ReadError:
        _explain_collections(client, terms)
        raise
    if not found:
        _explain_collections(client, terms, seen)


def _paged(search: Any, client: pystac_client.Client, url: str) -> Iterator[pystac.Item]:
    """Items page by page; a server that sends the same page for ever, or fewer than it says, does not go unseen."""
    known: set[tuple[str, str]] = set()
    claimed = None
    for number, page in enumerate(search.pages_as_dicts(), 1):
        limits.check_pages(number, url)
        context = page.get("numberMatched", (page.get("context") or {}).get("matched"))
        claimed = context if claimed is None else claimed
        new = [one for one in page["features"] if (str(one.get("collection")), str(one.get("id"))) not in known]
        if not new:
            raise ReadError(f"{strip_signature(url)} sent a page of items that it had sent before, and would not end.")
        known.update((str(one.get("collection")), str(one.get("id"))) for one in new)
        for fields in new:
            yield item_of(fields, root=client)
    if isinstance(claimed, int) and claimed > len(known):  # some servers estimate, so this is no error
        logger.warning("%s counts %d matching items and sent %d", strip_signature(url), claimed, len(known))


def _explain_collections(client: pystac_client.Client, terms: SearchTerms, seen: Seen | None = None) -> None:
    """Name the collections of an API when one that was asked for is not among them; note their extents in `seen`."""
    try:
        offered = list(client.get_collections())
    except (APIError, pystac.STACError, OSError, ValueError, KeyError):
        return  # the failure or the emptiness itself is the news
    names = sorted(collection.id for collection in offered)
    unknown = [name for name in terms.collections if name not in names]
    if unknown and names:
        url = strip_signature(client.get_self_href() or "The API")
        raise EmptySearchError(f"{url} has no collection {', '.join(map(repr, unknown))}. It has: {', '.join(names)}.")
    if seen is not None:
        for collection in offered:
            if not terms.collections or collection.id in terms.collections:
                seen.collections.add(collection.id)
                for interval in collection.extent.temporal.intervals[:1]:
                    seen.add_extent((interval[0], interval[1]), None)
                for box in collection.extent.spatial.bboxes[:1]:
                    seen.add_extent((None, None), list(box))
