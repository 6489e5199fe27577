"""Static STAC catalogues: files that link to each other, read link by link."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pystac
from pystac.stac_io import DefaultStacIO

from lakecube.errors import ReadError, UnsafeHrefError
from lakecube.io import limits
from lakecube.io.hrefs import is_remote, strip_signature
from lakecube.io.search_terms import SearchTerms
from lakecube.io.search_time import check_datetime
from lakecube.io.stac_reading import FAILURES, ServerIO, check_server


class StaticIO(DefaultStacIO):
    """Reads local files and, with the retries of an API, remote ones; from a remote catalogue never a local file."""

    def __init__(self, api: ServerIO, *, remote_only: bool):
        super().__init__()
        self.api = api
        self.remote_only = remote_only

    def read_text_from_href(self, href: str) -> str:
        """Return the text of a file or an address; raise `UnsafeHrefError` where a server points to this machine."""
        if href.lower().startswith(("http://", "https://")):
            return self.api.request(href)
        if self.remote_only:
            check_server(href)
        return Path(href.removeprefix("file://")).read_text(encoding="utf-8")

    def stac_object_from_dict(self, d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return what JSON says; what its time is, if that is none, is told with item and field."""
        try:
            return super().stac_object_from_dict(d, *args, **kwargs)
        except FAILURES:
            check_datetime(d)
            raise


class Tally(Protocol):
    """What counts the items and extents met on the way."""

    collections: set[str]

    def add(self, item: pystac.Item) -> None:
        """Count an item."""

    def add_extent(self, interval: Any, box: Any) -> None:
        """Count an extent that was not entered."""


def walk(
    catalog: pystac.Catalog, terms: SearchTerms, tally: Tally, *, local: bool = False
) -> Iterator[tuple[pystac.Item, bool]]:
    """Yield the items below a catalogue in the order of its links, without entering what cannot match.

    A collection whose extent meets neither the place nor the time is cut with all that is below it; one of another
    name is searched for child collections only. Each file is read at most once. With each item comes whether it is
    the user's own: it is not where it, or anything above it, lies on a server, and what lies there may not link back
    to this machine.
    """
    yield from _walk(catalog, terms, tally, set(), local, 1)


def _walk(
    catalog: pystac.Catalog, terms: SearchTerms, tally: Tally, visited: set[str], local: bool, depth: int
) -> Iterator[tuple[pystac.Item, bool]]:
    href = catalog.get_self_href() or f"#{id(catalog)}"
    if href in visited:
        return
    visited.add(href)
    limits.check_pages(len(visited), href)
    if depth > limits.MOST_DEPTH:
        raise ReadError(
            f"{strip_signature(href)} lies below {limits.MOST_DEPTH} catalogues; open one nearer to its items."
        )
    wanted = True
    if isinstance(catalog, pystac.Collection):
        tally.collections.add(catalog.id)
        if not _may_match(catalog, terms):
            _tally_extent(catalog, tally)
            return
        wanted = not terms.collections or catalog.id in terms.collections
    if not local:
        _stay_away(catalog)
    if wanted:
        for item in catalog.get_items():
            tally.add(item)
            yield item, local and not is_remote(item.get_self_href() or "")
    for child in catalog.get_children():
        own = local and not is_remote(child.get_self_href() or "")
        yield from _walk(child, terms, tally, visited, own, depth + 1)


def _stay_away(catalog: pystac.Catalog) -> None:
    """Raise UnsafeHrefError where a catalogue of a server links to a file of this machine."""
    if not is_remote(catalog.get_self_href() or ""):
        return
    for link in catalog.links:
        if link.rel not in {"item", "child"} or link.is_resolved():
            continue
        target = link.get_absolute_href() or ""
        if not is_remote(target):
            raise UnsafeHrefError(
                f"A remote catalogue links to {strip_signature(target)[:200]!r}; it may link to http(s):// only."
            )


def _may_match(collection: pystac.Collection, terms: SearchTerms) -> bool:
    extent = collection.extent
    if extent is None:
        return True
    intervals = extent.temporal.intervals if extent.temporal else []
    boxes = [box for box in (extent.spatial.bboxes if extent.spatial else []) if len(box) in (4, 6)]
    in_time = not intervals or any(
        terms.meets_time((_aware(interval[0]), _aware(interval[1]))) for interval in intervals if len(interval) == 2
    )
    return in_time and (not boxes or terms.meets_boxes(boxes))


def _aware(moment: Any) -> Any:
    return moment.replace(tzinfo=dt.UTC) if moment is not None and moment.tzinfo is None else moment


def _tally_extent(collection: pystac.Collection, tally: Tally) -> None:
    for interval in collection.extent.temporal.intervals[:1]:
        tally.add_extent((_aware(interval[0]), _aware(interval[1])), None)
    for box in collection.extent.spatial.bboxes[:1]:
        tally.add_extent((None, None), list(box))
