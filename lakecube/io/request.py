"""What was asked of `open`, as text that stays with the results, and asking it again later.

No secrets are kept: URLs lose their signed parts, and of `sign` only that it was given. What text cannot hold
(objects in memory) is named, and must be given again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lakecube.errors import InvalidInputError
from lakecube.io.hrefs import absolute_path, is_remote, strip_signature
from lakecube.io.rasters import is_raster_source
from lakecube.io.records import SourceGrid
from lakecube.io.search_place import parse_bbox, parse_geometry
from lakecube.io.search_time import parse_datetime, text_of

#: Arguments of `open` that are kept as they are.
_PLAIN = ("collections", "query", "sensor", "bands", "resolution", "chunks", "groupby", "offset", "nodata",
          "cloud_mask", "cloud_buffer", "retries")  # fmt: skip


def request_text(asked: Mapping[str, Any], grid: SourceGrid | None) -> str:
    """The arguments of `open`, and the pixels it chose, as JSON."""
    found: dict[str, Any] = {name: asked[name] for name in _PLAIN if name in asked}
    found |= {name: kept_path(asked.get(name)) for name in ("source", "dem")}
    found["bbox"] = None if asked.get("bbox") is None else list(parse_bbox(asked["bbox"]))
    found["intersects"] = _geometry(asked.get("intersects"))
    found["datetime"] = _interval(asked.get("datetime"))
    found["crs"] = None if asked.get("crs") is None else grid.crs if grid is not None else str(asked["crs"])
    found["signed"] = asked.get("sign") is not None
    found["lost"] = [n for n in ("source", "dem") if asked.get(n) is not None and found[n] is None]
    found["grid"] = None if grid is None else asdict(grid)
    return json.dumps(found, sort_keys=True, default=_of_numpy)


def reopen(
    text: str, *, until: Any = None, source: Any = None, dem: Any = None, sign: Callable[[str], str] | None = None
) -> Any:  # fmt: skip
    """Open again what a request opened, on the same pixels, with all there is until a later day.

    Parameters
    ----------
    text : str
        From `request_text`.
    until : date-like, optional
        The last day; today if not given.
    source, dem, sign : optional
        Of `lakecube.open`, where the request cannot tell them, or they have moved.

    Raises
    ------
    InvalidInputError
        If the request is none, or lacks something that must be given again.
    """
    from lakecube.io.cube import open as open_cube

    try:
        request = json.loads(text)
        grid, signed, lost = request.pop("grid"), request.pop("signed"), request.pop("lost")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidInputError("the request that is kept cannot be read: it was edited") from error
    given = {"source": source, "dem": dem}
    for name in lost:
        if given[name] is None:
            raise InvalidInputError(f"{name} was an object in memory, which no store keeps: give {name}= again")
    if signed and sign is None:
        raise InvalidInputError("the archive was opened with sign=, which no store keeps: give sign= again")
    _check_there(request["source"], given["source"], until)
    request |= {name: value for name, value in given.items() if value is not None}
    request["datetime"] = None if is_raster_source(request["source"]) else _from_then(request["datetime"], until)
    if grid is None:
        options = {n: request[n] for n in ("bands", "chunks", "datetime", "bbox", "dem")}
        return open_cube(request["source"], **options)
    grid = SourceGrid(grid["crs"], tuple(grid["transform"]), tuple(grid["shape"]))
    return open_cube(request.pop("source"), **request, sign=sign, like=grid)


def _check_there(kept: Any, given: Any, until: Any) -> None:
    """Refuse a source that has gone, and files where a catalogue should tell what is new."""
    is_local = isinstance(kept, str) and "://" not in kept and not is_remote(kept)
    if given is None and is_local and not Path(kept).exists():
        raise InvalidInputError(f"the archive is no longer at {kept}: give source= where it is now")
    if is_raster_source(kept if given is None else given):
        if given is None:
            raise InvalidInputError("it was made of raster files, which tell of no others: give new ones as source=")
        if until is not None:
            raise InvalidInputError("until= is for catalogues: of raster files give those that are wanted")


def _from_then(interval: str | None, until: Any) -> str:
    """From the first moment that was asked for to the last one that is now."""
    start, end = (interval or "..").split("/")[0], text_of(_last_moment(until))
    if start != ".." and text_of(_last_moment(start)) > end:
        raise InvalidInputError(f"until={str(until or end)!r} is before the first day that was asked for, {start[:10]}")
    return f"{start}/{end}"


def _last_moment(until: Any) -> dt.datetime:
    if until is None:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    interval = parse_datetime(until)
    if interval is None or interval[1] is None:
        raise InvalidInputError(f"until={until!r} is no day")
    return interval[1]


def kept_path(value: Any) -> Any:
    """Paths made absolute, URLs without what is secret in them; None for what is neither."""
    if isinstance(value, list | tuple):
        paths = [kept_path(part) for part in value]
        return paths if paths and all(isinstance(path, str) for path in paths) else None
    if not isinstance(value, str | Path):
        return None
    text = str(value)
    if isinstance(value, str) and (is_remote(text) or "://" in text):
        return strip_signature(text)
    return absolute_path(text)


def _geometry(value: Any) -> Any:
    if value is None:
        return None
    import shapely.geometry

    return shapely.geometry.mapping(parse_geometry(value))


def _interval(value: Any) -> str | None:
    interval = parse_datetime(value)
    return None if interval is None else "/".join(map(text_of, interval))


def _of_numpy(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
