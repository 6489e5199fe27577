"""What is searched for: place, time and properties, parsed once and applied the same way to every source."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pystac
import shapely

from lakecube.errors import InvalidInputError
from lakecube.io.search_place import Box, item_shape, parse_bbox, parse_geometry, split_box
from lakecube.io.search_time import Interval, item_interval, parse_datetime, text_of

_TERM = re.compile(r"^\s*([\w:.\-]+?)\s*(<=|>=|<>|!=|=|<|>)\s*(.+?)\s*$")


_SIGNS = {"<=": "lte", ">=": "gte", "<>": "neq", "!=": "neq", "=": "eq", "<": "lt", ">": "gt"}


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "neq": operator.ne, "lt": operator.lt, "lte": operator.le, "gt": operator.gt,
    "gte": operator.ge, "in": lambda value, given: value in given,
    "startsWith": lambda value, given: str(value).startswith(str(given)),
    "endsWith": lambda value, given: str(value).endswith(str(given)),
    "contains": lambda value, given: given in value,
}  # fmt: skip


@dataclass(frozen=True)
class SearchTerms:
    """A search, parsed: what `matches` says of an item is what a STAC API would say.

    `boxes` has two members where the bbox crosses the antimeridian; `interval` is closed and in UTC.
    """

    collections: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    geometry: Any = None
    interval: Interval | None = None
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def matches(self, item: pystac.Item) -> bool:
        """Whether an item meets every term."""
        return (
            (not self.collections or item.collection_id in self.collections)
            and self.meets_time(item_interval(item))
            and self.meets_query(item.properties)
            and self.meets_place(item)
        )

    def meets_time(self, interval: Interval) -> bool:
        """Whether two closed intervals, open where an end is None, have an instant in common."""
        if self.interval is None:
            return True
        (start, end), (first, last) = self.interval, interval
        return not ((start and last and last < start) or (end and first and first > end))

    def meets_place(self, item: pystac.Item) -> bool:
        """Whether the geometry of an item, or failing that its bbox, intersects the place searched."""
        if not self.areas:
            return True
        shape = item_shape(item)
        return shape is not None and any(shape.intersects(area) for area in self.areas)

    def meets_boxes(self, boxes: Iterable[Iterable[float]]) -> bool:
        """Whether any of some boxes (the extent of a collection) touches the place searched."""
        return not self.areas or any(
            shapely.box(*part).intersects(area) for box in boxes for part in split_box(box) for area in self.areas
        )

    def meets_query(self, properties: Mapping[str, Any]) -> bool:
        """Whether the properties satisfy every operator; a property that is not there satisfies none."""
        for name, tests in self.query.items():
            value = properties.get(name)
            if value is None:
                return False
            for test, given in tests.items():
                try:
                    if not _OPERATORS[test](value, given):
                        return False
                except TypeError:  # a number against a text is no match, as for a server
                    return False
        return True

    @property
    def areas(self) -> tuple[Any, ...]:
        """The place searched, as shapely geometries."""
        return (self.geometry,) if self.geometry is not None else tuple(shapely.box(*box) for box in self.boxes)

    @property
    def datetime_text(self) -> str | None:
        """The interval as a STAC API takes it."""
        if self.interval is None:
            return None
        start, end = ("..", "..") if self.interval is None else (text_of(moment) for moment in self.interval)
        return start if start == end else f"{start}/{end}"

    def describe(self) -> str:
        """Return the search in words, for messages."""
        parts = []
        if self.collections:
            parts.append(f"collections {', '.join(self.collections)}")
        if self.boxes:
            parts.append("bbox " + " and ".join(str([round(value, 6) for value in box]) for box in self.boxes))
        if self.geometry is not None:
            parts.append(f"a geometry within {[round(float(value), 6) for value in self.geometry.bounds]}")
        if self.interval is not None:
            parts.append(f"datetime {self.datetime_text}")
        if self.query:
            parts.append(f"query {json.dumps(self.query, default=str)}")
        return ", ".join(parts) or "everything"


def parse_terms(
    *, collections: Any = None, bbox: Any = None, intersects: Any = None, datetime: Any = None, query: Any = None
) -> SearchTerms:
    """Parse and validate a search.

    Raises
    ------
    InvalidInputError
        Any term is not what STAC allows; both `bbox` and `intersects` are given.
    """
    if bbox is not None and intersects is not None:
        raise InvalidInputError("Give either bbox or intersects, not both.")
    return SearchTerms(
        collections=parse_collections(collections),
        boxes=() if bbox is None else split_box(parse_bbox(bbox)),
        geometry=None if intersects is None else parse_geometry(intersects),
        interval=parse_datetime(datetime),
        query=parse_query(query),
    )


def parse_collections(collections: Any) -> tuple[str, ...]:
    """Return ids of collections given as one or several names or `pystac.Collection`."""
    if collections is None:
        return ()
    if isinstance(collections, (str, pystac.Collection)):
        collections = (collections,)
    if not isinstance(collections, Iterable):
        raise InvalidInputError(f"collections must be names of collections, got {collections!r}.")
    names = tuple(one.id if isinstance(one, pystac.Collection) else one for one in collections)
    if not all(isinstance(name, str) and name for name in names):
        raise InvalidInputError(f"collections must be names of collections, got {collections!r}.")
    return tuple(dict.fromkeys(names))


def parse_query(query: Any) -> dict[str, dict[str, Any]]:
    """Return ``{property: {operator: value}}`` from that, from ``{property: value}``, or from ``["property<value"]``.

    Raises
    ------
    InvalidInputError
        An operator is not one of eq, neq, lt, lte, gt, gte, in, startsWith, endsWith, contains.
    """
    if not query:
        return {}
    if isinstance(query, str):
        query = [query]
    if not isinstance(query, Iterable):
        raise InvalidInputError(f'query: {query!r} is not understood; write {{"eo:cloud_cover": {{"lt": 20}}}}.')
    if not isinstance(query, Mapping):
        return _parse_lines(query)
    parsed: dict[str, dict[str, Any]] = {}
    for name, tests in query.items():
        tests = dict(tests) if isinstance(tests, Mapping) else {"eq": tests}
        for test in tests:
            if test not in _OPERATORS:
                raise InvalidInputError(f"query: operator {test!r} of {name!r} is not one of {', '.join(_OPERATORS)}.")
        parsed[str(name)] = tests
    return parsed


def _parse_lines(lines: Iterable[Any]) -> dict[str, dict[str, Any]]:
    parsed: dict[str, dict[str, Any]] = {}
    for line in lines:
        match = _TERM.match(line) if isinstance(line, str) else None
        if match is None:
            raise InvalidInputError(
                f'query: {line!r} is not understood; write "eo:cloud_cover<20" or {{"eo:cloud_cover": {{"lt": 20}}}}.'
            )
        name, sign, text = match.groups()
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        parsed.setdefault(name, {})[_SIGNS[sign]] = value
    return parsed
