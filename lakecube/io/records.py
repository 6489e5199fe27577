"""What is known of an item before a pixel is read: plain frozen values that pickle, hash and tokenise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lakecube.io.hrefs import strip_signature

QAKind = Literal["scl", "qa_pixel", "qa_radsat", "fmask", "hls_fmask", "ga_fmask", "cloud_mask"]


@dataclass(frozen=True, slots=True)
class SourceGrid:
    """Where a raster lies: CRS (any string pyproj takes), affine (a, b, c, d, e, f), shape (rows, columns)."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Blank:
    """Pixels of a picture that hold nothing: those where all of `bands` of the file are from `low` to `high`.

    One band alone does not tell: the red of dark water is 0, that of snow 255.
    """

    low: float
    high: float
    bands: tuple[int, ...]

    def holds(self, numbers: Iterable[np.ndarray]) -> np.ndarray:
        """Where the numbers of all these bands, each (y, x), say so; bool (y, x)."""
        out: np.ndarray = np.logical_and.reduce([(n >= self.low) & (n <= self.high) for n in numbers])
        return out


@dataclass(frozen=True, slots=True)
class BandSource:
    """One raster band of one item: where its numbers lie and how they become reflectance.

    ``value = number * scale + offset`` wherever ``number != nodata``; `band` counts from 1.
    `grid` is None where the metadata do not say; the file's header is then asked at `open`.
    `display`: the numbers are those of an 8-bit picture as it is shown, and the values, from 0 to 1, no reflectance.
    `dtype`: what the metadata say of the numbers, "" where they do not.
    `blank`: replaces `nodata`, the file's too, by a rule for all bands together.
    `masked`: the file has an alpha band or a mask, and 0 there means that nothing was observed.
    """

    href: str
    band: int = 1
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    grid: SourceGrid | None = None
    resolution: float | None = None
    display: bool = False
    dtype: str = ""
    blank: Blank | None = None
    masked: bool = False

    def __repr__(self) -> str:
        """Without the signature of the address: Dask logs the arguments of a task that fails."""
        href = strip_signature(self.href)
        return (
            f"BandSource({href!r}, {self.band}, scale={self.scale}, offset={self.offset}, nodata={self.nodata}, "
            f"grid={self.grid}, resolution={self.resolution}, display={self.display}, "
            f"blank={self.blank}, masked={self.masked})"
        )


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item (scene) of a cube.

    `bands` maps STAC common names to sources; `qa` maps the kind of a quality layer to its source.
    `time` is the acquisition time in UTC (datetime64[ns]); `solar_day` the solar date (datetime64[D]).
    `offset_source` tells where the radiometric offset came from ("baseline",
    "boa_offset_applied", "raster:bands", "sensor", "user", "unknown").
    `identity` names the datatake and tile, equal for reprocessed copies of the same scene.
    """

    id: str
    collection: str
    sensor: str
    time: np.datetime64
    solar_day: np.datetime64
    platform: str = ""
    bands: Mapping[str, BandSource] = field(default_factory=dict)
    qa: Mapping[QAKind, BandSource] = field(default_factory=dict)
    baseline: str = ""
    updated: str = ""
    identity: str = ""
    offset_source: str = ""
    offset_confidence: float = 1.0
    bbox: tuple[float, float, float, float] | None = None
    local: bool = False  #: read from the user's own disk, so its hrefs may be local paths
    dropped: Mapping[str, str] = field(default_factory=dict)  #: band name to why it is not in `bands`
    datastrip: str = ""  #: start of the datastrip: two halves of one tile share an identity but not this

    def __dask_tokenize__(self) -> bytes:
        """A hash of all of it: field by field, Dask needs ten milliseconds for each of ten thousand items."""
        return hashlib.sha256(repr(self).encode()).digest()


@dataclass(frozen=True, slots=True)
class Period:
    """The dates of one composite, each a tuple of items, and what stands for them (`kernels.composite.NEEDS`)."""

    dates: tuple[tuple[ItemRecord, ...], ...]
    choice: str
