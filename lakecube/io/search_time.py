"""When to search: dates, partial dates and intervals in the grammar of STAC, as closed intervals in UTC."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pystac

from lakecube.checks import is_word
from lakecube.errors import InvalidInputError
from lakecube.io.hrefs import redact

Interval = tuple[dt.datetime | None, dt.datetime | None]


_PARTIAL = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")


_GRAMMAR = 'Write "2020", "2020-06", "2020-06-01", "2020-06-01T10:00:00Z", "2017/2021" or "../2020".'


def parse_datetime(value: Any) -> Interval | None:
    """Return a closed interval in UTC from a date, a partial date, an interval in STAC's grammar, or objects.

    Parameters
    ----------
    value : str, date, datetime, numpy.datetime64, pair of these, or None
        "2020", "2020-06", "2020-06-01", a full RFC 3339 time, or two of them with a slash; ".." leaves an end open.
        A partial date stands for the whole of its year, month or day.

    Raises
    ------
    InvalidInputError
        Not a date, both ends open, or the end before the start.
    """
    if value is None:
        return None
    if isinstance(value, str) and "/" in value:
        ends: Any = value.split("/")
    else:
        ends = value if isinstance(value, (tuple, list)) else (value, value)
    if len(ends) != 2:
        raise InvalidInputError(f"datetime must be one date or two with a slash between, got {value!r}.")
    start, end = _moment(ends[0], value)[0], _moment(ends[1], value)[1]
    if start is None and end is None:
        raise InvalidInputError(f"datetime={value!r} is open at both ends; leave it out to search all times.")
    if start is not None and end is not None and start > end:
        raise InvalidInputError(
            f"datetime={value!r} ends ({text_of(end)}) before it starts ({text_of(start)}): swap them."
        )
    return start, end


def within(times: np.ndarray, interval: Interval) -> np.ndarray:
    """Which of these times (datetime64, UTC) lie in a closed interval, bool."""
    start, end = (None if moment is None else np.datetime64(moment.replace(tzinfo=None)) for moment in interval)
    inside = np.ones(times.size, bool)
    inside &= True if start is None else times >= start
    inside &= True if end is None else times <= end
    return inside


def _moment(value: Any, whole: Any) -> Interval:
    """First and last instant of a date."""
    if value is None or is_word(value, ("", "..")):
        return None, None
    if isinstance(value, dt.datetime):
        moment = _utc(value)
        return moment, moment
    if isinstance(value, (dt.date, np.datetime64)):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"datetime={whole!r} is not a date. {_GRAMMAR}")
    value = value.strip()
    try:
        if match := _PARTIAL.match(value):
            return _period(*(int(part) if part else None for part in match.groups()))
        if "T" not in value.upper() and " " not in value:
            raise ValueError(value)
        moment = _utc(dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper())))
    except (ValueError, OverflowError):
        raise InvalidInputError(f"datetime={whole!r}: {value!r} is not a date. {_GRAMMAR}") from None
    return moment, moment


def _period(year: int | None, month: int | None, day: int | None) -> Interval:
    assert year is not None
    first = dt.datetime(year, month or 1, day or 1, tzinfo=dt.UTC)
    last_month = month or 12
    last_day = day or calendar.monthrange(year, last_month)[1]
    return first, dt.datetime(year, last_month, last_day, 23, 59, 59, 999999, tzinfo=dt.UTC)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def text_of(moment: dt.datetime | None) -> str:
    """Write an instant as RFC 3339 in UTC, or ".." for an open end."""
    if moment is None:
        return ".."
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds" if moment.microsecond else "seconds") + "Z"


def item_interval(item: pystac.Item) -> Interval:
    """Return the acquisition time of an item, or its start and end where it has no single time.

    Raises
    ------
    InvalidInputError
        One of them is no time; names the item and the field.
    """
    if item.datetime is not None:
        moment = _time_of(item.id, "datetime", item.datetime)
        return moment, moment
    ends = (item.properties.get(key) for key in ("start_datetime", "end_datetime"))
    start, end = (
        _time_of(item.id, key, end) for key, end in zip(("start_datetime", "end_datetime"), ends, strict=True)
    )
    return start, end


def check_datetime(fields: Mapping[str, Any]) -> None:
    """Raise InvalidInputError, with item and field, where what an item says as its time is none."""
    properties = fields.get("properties")
    value = properties.get("datetime") if isinstance(properties, Mapping) else None
    try:
        pystac.utils.str_to_datetime(value) if value is not None else None
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise _no_time(fields.get("id"), "datetime", value) from None


def _time_of(name: Any, key: str, value: Any) -> dt.datetime | None:
    try:
        return _moment(value, value)[0]
    except (InvalidInputError, OverflowError):
        raise _no_time(name, key, value) from None


def _no_time(name: Any, key: str, value: Any) -> InvalidInputError:
    return InvalidInputError(
        f"Item {name!r}: its {key} is {redact(str(value))[:60]!r}, which is no time; RFC 3339 is needed, such as "
        "2020-06-01T10:00:00Z"
    )
