"""The lazy cube: one Dask task per chunk and date that reads all bands, and a cheap task per band taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from odc.geo.xr import xr_coords

from lakecube import chunked
from lakecube.io.audit import applied_offset, audit_item
from lakecube.io.grids import PICTURE, Window, geobox
from lakecube.io.reader import ReadSettings, read_block
from lakecube.io.records import ItemRecord, Period, SourceGrid
from lakecube.names import BANDS, ITEM, SPATIAL_REF, TIME, VARIABLES, X, Y

#: Key of `Dataset.encoding` under which a cube from `open` keeps how its blocks are read.
ENCODING_KEY = "lakecube_source"
SOURCE_BAND = "source_band"


@dataclass(frozen=True)
class BlockSource:
    """How every block of a cube is read: settings, the items of each date, pixels per chunk (y, x).

    Each task of the graph carries only the items of its own date.
    """

    settings: ReadSettings
    dates: tuple[tuple[ItemRecord, ...] | Period, ...]
    chunks: tuple[int, int]

    @cached_property
    def items_token(self) -> str:
        """Deterministic hash of the items by date."""
        return tokenize(self.dates)

    @cached_property
    def token(self) -> str:
        """Deterministic hash of settings, items and chunks."""
        return tokenize(self.settings, self.items_token, self.chunks)

    @property
    def items(self) -> list[ItemRecord]:
        """All items, in the order of their dates."""
        dates = [d for date in self.dates for d in (date.dates if isinstance(date, Period) else (date,))]
        return [record for date in dates for record in date]

    def radiometry(self, band: str) -> str:
        """What a band holds: "reflectance", "display" (pictures as they are shown), or "mixed"."""
        kinds = {record.bands[band].display for record in self.items if band in record.bands}
        return "mixed" if len(kinds) > 1 else "display" if kinds == {True} else "reflectance"

    @cached_property
    def chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Dask chunks of (time, y, x)."""
        sizes = tuple(
            tuple(min(step, n - start) for start in range(0, n, step))
            for n, step in zip(self.settings.grid.shape, self.chunks, strict=True)
        )
        return ((1,) * len(self.dates), *sizes)

    @cached_property
    def per_block(self) -> tuple[Any, ...]:
        """Arguments of `chunked.blockwise` that hand each block its items, its rows and its columns."""
        time, y, x = self.chunk_sizes
        rows, columns = (chunked.per_chunk(sizes, chunked.spans(sizes)) for sizes in (y, x))
        return chunked.per_chunk(time, list(self.dates), self.items_token), "t", rows, "y", columns, "x"

    def map(self, function: Any, *pairs: Any, dtype: Any, name: str, **kwargs: Any) -> da.Array:
        """A lazy (time, y, x) array of ``function(records, rows, columns, *blocks, settings=…)`` per block."""
        token = tokenize(self.token, function, kwargs, *(getattr(p, "name", p) for p in pairs))
        return chunked.blockwise(
            function,
            "tyx",
            *self.per_block,
            *pairs,
            dtype=dtype,
            name=name,
            token=token,
            settings=self.settings,
            **kwargs,
        )


def window_of(rows: tuple[int, int], columns: tuple[int, int]) -> Window:
    """The window of a block from its spans of rows and columns."""
    return Window(*rows, *columns)


def _read_task(
    records: tuple[ItemRecord, ...], rows: tuple[int, int], columns: tuple[int, int], settings: ReadSettings
) -> dict[str, np.ndarray]:
    return read_block(records, window_of(rows, columns), settings)


def _take(block: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return block[name][np.newaxis]


def build_cube(source: BlockSource, times: list[np.datetime64]) -> xr.Dataset:
    """The lazy cube of a source; `times` are the coordinates of its dates."""
    blocks = source.map(_read_task, dtype=object, name="lakecube-read")
    variables: dict[str, Any] = {}
    for band in source.settings.bands:
        array = _band(blocks, band, np.float32)
        variables[band] = ((TIME, Y, X), array, band_attrs(band, source.radiometry(band)))
    spec = VARIABLES["observation"]
    variables["observation"] = (spec.dims, _band(blocks, "observation", np.uint8), spec.attrs)
    cube = xr.Dataset(variables, coords={TIME: np.array(times, "datetime64[ns]"), **grid_coords(source.settings.grid)})
    cube[TIME].attrs.update(standard_name="time", long_name="solar date of the observation")
    cube.encoding[ENCODING_KEY] = {"source": source, "names": {n: cube[n].data.name for n in variables}}
    return cube


def _band(blocks: da.Array, band: str, dtype: Any) -> da.Array:
    return da.map_blocks(
        _take, blocks, band, dtype=dtype, meta=np.empty((0, 0, 0), dtype), name=f"{band}-{blocks.name}"
    )


def source_of(cube: xr.Dataset) -> BlockSource | None:
    """How the blocks of an untouched cube from `open` are read; None once any of it was changed."""
    kept = cube.encoding.get(ENCODING_KEY)
    if kept is None:
        return None
    for name, graph_name in kept["names"].items():
        if name not in cube or getattr(cube[name].data, "name", None) != graph_name:
            return None
    if any(band in cube and band not in kept["names"] for band in BANDS):  # a band that no file holds
        return None
    return kept["source"]


def grid_coords(grid: SourceGrid) -> dict[str, Any]:
    """Coordinates y, x (pixel centres) and `spatial_ref` of a grid, by CF; without a CRS for a picture."""
    if grid.crs != PICTURE:
        coords = xr_coords(geobox(grid), crs_coord_name=SPATIAL_REF, dims=(Y, X))
        return {name: coords[name] for name in (Y, X, SPATIAL_REF)}
    coords = xr_coords(geobox(replace(grid, crs=None)), dims=(Y, X))  # type: ignore[arg-type]
    a, b, c, d, e, f = grid.transform
    about = {"GeoTransform": " ".join(f"{v:.17g}" for v in (c, a, b, f, d, e))}
    return {Y: coords[Y], X: coords[X], SPATIAL_REF: ((), np.int32(0), about)}


def band_attrs(band: str, radiometry: str = "reflectance") -> dict[str, str]:
    """CF attributes of a band; `radiometry` says what its values are where they are not reflectance."""
    if radiometry != "reflectance":
        said = {"long_name": f"brightness as shown, {band}", "units": "1", "radiometry": radiometry}
        return {**said, "grid_mapping": SPATIAL_REF}
    return {
        "long_name": f"surface reflectance, {band}",
        "standard_name": "surface_bidirectional_reflectance",
        "units": "1",
        "grid_mapping": SPATIAL_REF,
    }


def item_table(dates: Mapping[np.datetime64, tuple[ItemRecord, ...]], bands: tuple[str, ...]) -> dict[str, Any]:
    """The items as coordinates along `item`: what was acquired when, and how its numbers were decoded."""
    rows = [(date, record) for date, records in dates.items() for record in records]
    records = [record for _, record in rows]

    def text(values: list[str]) -> tuple[str, np.ndarray]:
        return ITEM, np.array(values, dtype=np.str_)

    def per_band(attribute: str, meaning: str) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
        values = np.array([[getattr(r.bands[b], attribute) for b in bands] for r in records])
        return (ITEM, SOURCE_BAND), values, {"long_name": meaning, "units": "1"}

    return {
        "item_id": text([r.id for r in records]),
        "item_collection": text([r.collection for r in records]),
        "item_platform": text([r.platform for r in records]),
        "item_baseline": text([r.baseline for r in records]),
        "item_updated": text([r.updated for r in records]),
        "item_time": (
            ITEM,
            np.array([r.time for r in records], "datetime64[ns]"),
            {"long_name": "acquisition time, UTC"},
        ),
        "item_date": (ITEM, np.array([d for d, _ in rows], "datetime64[ns]"), {"long_name": "value of `time`"}),
        "item_offset_source": text([r.offset_source for r in records]),
        "item_offset_confidence": (
            ITEM,
            np.array([r.offset_confidence for r in records]),
            {"long_name": "confidence of the radiometric offset", "units": "1"},
        ),
        SOURCE_BAND: np.array(bands, dtype=np.str_),
        "item_scale": per_band("scale", "reflectance per stored number"),
        "item_offset": per_band("offset", "radiometric offset in reflectance"),
    }


_AUDIT = np.dtype([("offset", "f4"), ("confidence", "f4"), ("conflict", "u1"), ("applied", "f4")])
_AUDIT_VARIABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "item_offset_audited": ("offset", {"long_name": "radiometric offset that the imagery asks for", "units": "1"}),
    "item_offset_audit_confidence": ("confidence", {"long_name": "confidence of the audited offset", "units": "1"}),
    "item_offset_conflict": (
        "conflict",
        {
            "long_name": "whether the imagery contradicts the declared radiometric offset",
            "units": "1",
            "flag_values": np.array([0, 1], np.uint8),
            "flag_meanings": "no_contradiction contradiction",
        },
    ),
    "item_offset_applied": ("applied", {"long_name": "radiometric offset that was used", "units": "1"}),
}


def audit(source: BlockSource) -> xr.Dataset:
    """The audit of the radiometric offset of every item of a cube, lazily: one small task per item.

    Returns
    -------
    xr.Dataset
        Dims (item,): `item_offset_audited` (reflectance; NaN where the data do not tell),
        `item_offset_audit_confidence` (0 to 1), `item_offset_conflict` (uint8, 1: the data contradict the metadata),
        `item_offset_applied` (the offset the numbers are decoded with; NaN where bands differ or nothing is decoded).
    """
    records = source.items
    items = chunked.per_chunk((1,) * len(records), records, source.items_token)
    found = chunked.blockwise(
        _audit_task, "i", items, "i", dtype=_AUDIT, name="lakecube-audit", token=source.token, settings=source.settings
    )
    return xr.Dataset(
        {name: (ITEM, chunked.field(found, part), attrs) for name, (part, attrs) in _AUDIT_VARIABLES.items()}
    )


def _audit_task(record: ItemRecord, settings: ReadSettings) -> np.ndarray:
    found = audit_item(record, settings)
    offset = found.offset if found.confidence > 0 else np.nan
    return np.array([(offset, found.confidence, found.conflict, applied_offset(record, found, settings))], _AUDIT)
