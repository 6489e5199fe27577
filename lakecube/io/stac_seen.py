"""What a source turned out to hold: for the message of a search that found nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

import pystac

from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.io import limits
from lakecube.io.search_terms import SearchTerms
from lakecube.io.search_time import item_interval
from lakecube.io.stac_reading import FAILURES
from lakecube.io.stac_static import Tally

#: Items, each with whether it is the user's own.
Found = Iterator[tuple[pystac.Item, bool]]


def judge(item: pystac.Item, terms: SearchTerms, seen: Tally) -> bool:
    """Count an item and tell whether it matches; InvalidInputError names it where its metadata are no STAC."""
    if not isinstance(item.id, str):
        raise InvalidInputError(f"An item has the id {item.id!r}; a text is needed.")
    try:
        seen.add(item)
        return terms.matches(item)
    except LakecubeError:
        raise
    except FAILURES as error:
        raise InvalidInputError(f"Item {item.id!r} has a bbox, geometry or time that is none: {error}.") from error


@dataclass
class Seen:
    """What a source turned out to hold, for the message of an empty search."""

    items: int = 0
    collections: set[str] = field(default_factory=set)
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    box: list[float] | None = None
    properties: set[str] = field(default_factory=set)

    def add(self, item: pystac.Item) -> None:
        """Count an item, whether it matches or not."""
        self.items += 1
        limits.check_items(self.items)
        self.collections.add(item.collection_id or "(none)")
        self.properties.update(item.properties)
        self.add_extent(item_interval(item), item.bbox)

    def add_extent(self, interval: tuple[dt.datetime | None, dt.datetime | None], box: list[float] | None) -> None:
        """Widen the range of times and the box."""
        for moment in interval:
            if moment is not None:
                moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
                self.first = moment if self.first is None else min(self.first, moment)
                self.last = moment if self.last is None else max(self.last, moment)
        if box:
            west, south, east, north = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
            old = self.box or [west, south, east, north]
            self.box = [min(old[0], west), min(old[1], south), max(old[2], east), max(old[3], north)]

    def describe(self) -> str:
        """Return one sentence on what the source holds."""
        parts = [f"collections {', '.join(sorted(self.collections)) or 'none'}"]
        if self.first and self.last:
            parts.append(f"dates {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}")
        if self.box:
            parts.append(f"bbox {[round(float(value), 4) for value in self.box]}")
        return "; ".join(parts)


def explain_nothing(name: str, terms: SearchTerms, seen: Seen) -> str:
    """Write the message of a search that found nothing: what was searched, what is there, what to do."""
    if seen.items == 0 and not seen.collections:
        return f"{name} holds no items at all (searched: {terms.describe()})."
    advice = "Widen bbox or datetime, or relax the query."
    if missing := [one for one in terms.query if seen.properties and one not in seen.properties]:
        advice = f"No item has the property {', '.join(map(repr, missing))}: drop it from the query."
    elif unknown := [one for one in terms.collections if seen.collections and one not in seen.collections]:
        advice = f"There is no collection {', '.join(map(repr, unknown))}: use one of those it holds."
    return f"No item of {name} matches {terms.describe()}. It holds: {seen.describe()}. {advice}"
