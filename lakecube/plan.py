"""`plan`: what a run would read, compute and hold. Metadata only; every number that is an estimate says so."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyproj
import xarray as xr

from lakecube import chunked, methods
from lakecube.capacity import Load, doubts, in_bytes, in_time, machine, refuse, share_under
from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.io.audit import SAMPLES, audited_bands
from lakecube.io.files import open_source
from lakecube.io.hrefs import is_remote
from lakecube.io.lazy import BlockSource, source_of
from lakecube.io.records import BandSource, ItemRecord
from lakecube.names import BANDS, TIME, X, Y
from lakecube.store.contents import Contents, survey
from lakecube.store.overviews import count_overviews
from lakecube.store.place import LocalPlace
from lakecube.store.plan import make_plan
from lakecube.store.revise_restore import CALIBRATION_BLOCKS
from lakecube.store.revision import BLOCK_PASSES
from lakecube.store.waves import WAVE, Box, Runner
from lakecube.store.write_tasks import Source, Writer
from lakecube.summary import crs_of, in_km2, plural, row_areas

#: Bytes of a pixel of a file whose metadata do not tell its type, and how far such files compress (share left).
BAND_BYTES, QA_BYTES, BAND_LEFT, QA_LEFT = 2, 1, 0.75, 0.15
#: Side of the tiles of a file, which are read whole.
TILE = 512
#: Bytes that are read to open a file, and the side of the smallest piece of one that is kept.
HEADER, _LEAST_TILE = 33_000, 256
#: Speeds the time estimate assumes: pixels read and judged per second and core, by method; bytes per second from afar.
PIXELS_PER_CORE, PIXELS_BY_NETWORK, BANDWIDTH = 2.5e6, 1e5, 25e6
#: Of a revision: pixels per second and core, and how many dates its layers without time take as much time as.
REVISED_PER_CORE, _REVISED_ONCE = 16e6, 4
#: Seconds until the first block is judged, and until each pass of the revision is: imports, compiled kernels.
START = 5.0
#: What the passes of `to_zarr` do.
_PASSES = {"thresholds": "finding thresholds", "observed": "mapping water", "revision": "revising"}


@dataclass(frozen=True)
class Plan:
    """What a run would do. Bytes are bytes, areas km², times seconds; None where it cannot be known.

    `bytes_raw` is what the files hold under the request, uncompressed; `bytes_read` an estimate of what travels.
    """

    scenes: int | None
    dates: int
    first: str
    last: str
    shape: tuple[int, int]
    crs: str
    resolution: tuple[float, float]
    area: float
    pixels: int
    bands: tuple[str, ...]
    bytes_raw: int | None
    bytes_read: int | None
    bytes_measured: float
    chunks: tuple[int, int]
    blocks: int
    tasks: dict[str, int]
    threads: int
    peak_memory: int
    seconds: float
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain values that JSON takes."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """The plan as lines of a table: what, how much."""
        known = self.bytes_read is not None
        read = f"about {in_bytes(self.bytes_read)} ({in_bytes(self.bytes_raw)} uncompressed)" if known else "not known"
        total = sum(self.tasks.values())
        return [
            ("scenes", "not known" if self.scenes is None else f"{self.scenes}"),
            ("dates", f"{self.dates}, " + " to ".join(dict.fromkeys((self.first, self.last)))),
            (
                "grid",
                f"{self.shape[0]} x {self.shape[1]} px of {self.resolution[0]:g}{_unit(self.crs)} in {self.crs}, "
                f"{in_km2(self.area)}",
            ),
            ("pixels", f"{self.pixels:,} ({self.shape[0] * self.shape[1]:,} per date)"),
            ("bands", ", ".join(self.bands)),
            ("to read", read),
            ("tasks", f"{total:,} ({', '.join(f'{_PASSES[name]} {n:,}' for name, n in self.tasks.items())})"),
            ("chunks", f"{self.chunks[0]} x {self.chunks[1]} px, {self.blocks:,} {plural('block', self.blocks)}"),
            ("peak memory", f"about {in_bytes(self.peak_memory)} in a process, {self.threads} tasks at a time"),
            ("time", f"about {in_time(self.seconds)}"),
        ]

    def __repr__(self) -> str:
        lines = [f"{name:<12} {text}" for name, text in self.rows()]
        lines += ["", "Estimates: " + "; ".join(self.assumptions) + "."]
        return "\n".join(lines + [f"! {warning}" for warning in self.warnings])

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in self.rows())
        notes = "".join(f"<p>⚠ {html.escape(w)}</p>" for w in self.warnings)
        return f"<table>{cells}</table><p>Estimates: {html.escape('; '.join(self.assumptions))}.</p>{notes}"


def plan(
    dataset: xr.Dataset,
    method: str = "fusion",
    *,
    composite: str | None = None,
    chunks: Any = None,
    bandwidth: float = BANDWIDTH,
    speed: float | None = None,
    **parameters: Any,
) -> Plan:
    """Say what extracting and storing a cube would read, compute and hold, without reading a pixel.

    Parameters
    ----------
    dataset : xr.Dataset
        A cube from `lakecube.open`, or an extract of one (then the bytes are not known).
    method, composite, **parameters
        As for `lakecube.extract`.
    chunks
        As for `to_zarr`.
    bandwidth : float
        Bytes per second that remote files are expected to deliver.
    speed : float, optional
        Pixels per second that one core reads and judges: the `speed` in the report of an earlier run on such a
        machine (``lakecube info STORE --runs``). By default that of a laptop of 2023.

    Returns
    -------
    Plan
        Prints as a table; `to_dict()` gives the numbers.

    Raises
    ------
    InvalidInputError
        For what cannot be meant or cannot run here, with what can: a block that does not fit in memory, a petabyte to
        read, ten years of work. What is only doubtful is in `Plan.warnings`.

    Notes
    -----
    Lazy: metadata only; of files on this machine the size. Tasks are counted in the graphs that `to_zarr` will run.
    """
    for name, value in (("bandwidth", bandwidth), ("speed", 1.0 if speed is None else speed)):
        if not value > 0:
            raise InvalidInputError(f"{name}={value}: a number above 0 per second is needed")
    is_extract = "water_mask" in dataset
    water = dataset if is_extract else methods.extract(dataset, method, composite=composite, **parameters)
    source = source_of(dataset)
    contents = survey(water)
    size = make_plan(contents, None, [], "resume", chunks, None).chunks
    shape = (water.sizes[Y], water.sizes[X])
    raw = read = None
    measured = 0.0
    if source is not None:
        raw, read, measured = _bytes_to_read(source)
    where = machine()
    tasks = count_tasks(contents, chunks)
    pixels = shape[0] * shape[1] * water.sizes[TIME]
    bands = source.settings.bands if source else tuple(b for b in BANDS if b in dataset)
    per_date = _dates_per_pixel(water, source, composite)
    blocks = -(-shape[0] // size[0]) * -(-shape[1] // size[1]) * water.sizes[TIME]
    load = Load.of(size, source, len(bands), raw, min(where.per_process, blocks))
    if speed is None:
        speed = PIXELS_PER_CORE if water.attrs.get("method", "fusion") == "fusion" else PIXELS_BY_NETWORK
    seconds = _seconds(pixels * per_date, read or 0, source, where.threads * speed, bandwidth)
    seconds += shape[0] * shape[1] * (water.sizes[TIME] + _REVISED_ONCE) / (where.threads * REVISED_PER_CORE)
    refuse(load, where, read, seconds, size)
    days = np.datetime_as_string(np.sort(water[TIME].values), unit="D")
    crs = crs_of(water)
    return Plan(
        scenes=_scenes(source, water), dates=water.sizes[TIME], first=str(days[0]), last=str(days[-1]),
        shape=shape, crs=crs.to_string() if crs else "no CRS", resolution=_resolution(water),
        area=float(row_areas(water).sum() * shape[1] / 1e6), pixels=pixels, bands=bands, bytes_raw=raw,
        bytes_read=read, bytes_measured=measured, chunks=size,
        blocks=blocks, tasks=tasks, threads=where.threads, peak_memory=load.memory(), seconds=seconds,
        assumptions=_assumptions(measured, read, raw, bandwidth, speed, where.threads),
        warnings=tuple(doubts(shape, source, size, load, where, read, seconds)),
    )  # fmt: skip


def count_tasks(contents: Contents, chunks: Any = None) -> dict[str, int]:
    """Tasks by pass, counted in the graphs of one wave of `to_zarr` and scaled to all of it."""
    todo = make_plan(contents, None, [], "resume", chunks, None)
    water = contents.water
    arrays = [water[name].data for name in contents.lazy_rows]
    facts = _tasks_of_dates(arrays, todo.blocks, len(todo.positions)) if arrays else 0
    frozen = chunked.freeze(water, {n: np.zeros(water[n].shape, water[n].dtype) for n in contents.lazy_rows})
    writer = Writer(LocalPlace(Path()), ())
    rows = len(todo.positions)
    total = (rows, *todo.blocks)
    names = list(contents.pixels)
    source = Source(frozen[names], todo, writer, True)
    box = Box((0, min(rows, max(1, WAVE // (total[1] * total[2])))), (0, min(total[1], WAVE)), (0, min(total[2], WAVE)))
    keys = list(islice(product(range(*box.rows), range(*box.y), range(*box.x)), WAVE))
    runner, wanted = source.part(box, keys)
    observed = round(len(runner.part(set(wanted))) * np.prod(total) / len(keys))
    blocks, shape = total[1] * total[2], (water.sizes[Y], water.sizes[X])
    return {
        "thresholds": facts,
        "observed": observed,
        "revision": BLOCK_PASSES * blocks + min(blocks, CALIBRATION_BLOCKS) + count_overviews(shape, todo.chunks),
    }


def _tasks_of_dates(arrays: list[da.Array], blocks: tuple[int, int], dates: int) -> int:
    """Tasks that the blocks of the per-date variables need: those of the first wave, scaled to all dates."""
    some = min(dates, max(1, WAVE // (blocks[0] * blocks[1])))
    wave = {(a.name, *at) for a in arrays for at in np.ndindex(*a.numblocks) if at[0] < some or a.numblocks[0] <= some}
    return round(len(Runner(arrays).part(wave)) * dates / some)


def _bytes_to_read(source: BlockSource) -> tuple[int, int, float]:
    """Raw bytes under the request, an estimate of what is read, and the share of it known from file sizes."""
    raw = read = measured = 0.0
    grid = source.settings.grid
    blocks = len(source.chunk_sizes[1]) * len(source.chunk_sizes[2])
    headers: dict[tuple[str, str, str, int], tuple[int, int] | None] = {}
    for record in source.items:
        for name, band in _files_of(record):
            share, pixels = share_under(band.grid, grid) if band.grid else (1.0, 0.0)
            is_qa = name in record.qa and name != "qa_pixel"
            size = _file_size(record, band)
            bytes_each, layers = QA_BYTES if is_qa else BAND_BYTES, _layers_in(record, band.href)
            if size:
                kind = (record.collection, record.sensor, name, layers)
                if kind not in headers:
                    headers[kind] = _header(band.href)
                bytes_each, held = headers[kind] or (bytes_each, 0)
                layers = held or layers
            whole = pixels * bytes_each
            mine = size * share / layers if size else whole * (QA_LEFT if name in record.qa else BAND_LEFT)
            if band.grid is not None and pixels:
                file = size or mine / share  # of one layer, where only its pixels are known
                mine += _opening(mine, file, pixels, blocks * share_under(grid, band.grid)[0])
            mine += _sampled(record, name, band, size / layers if size else None)
            raw, read, measured = raw + whole, read + mine, measured + (mine if size else 0.0)
    return round(raw), round(read), measured / read if read else 0.0


def _opening(mine: float, file: float, pixels: float, blocks: float) -> float:
    """Bytes read of a file besides those of its tiles, once each (`mine`), for blocks of the cube that lie on it.

    Its header is read whenever tiles are, and the first read, which finds out how it is tiled, is not kept. A file of a
    few headers is read once more instead.
    """
    if file <= 4 * HEADER:
        return mine
    fetches = max(1.0, min(blocks, pixels / _LEAST_TILE**2))
    return (fetches + 1) * HEADER + mine / fetches


def _sampled(record: ItemRecord, name: str, band: BandSource, size: float | None) -> float:
    """Bytes that the audit of the offset reads of a band, wherever the cube lies: a tile for each of its windows."""
    if name not in audited_bands(record) or band.grid is None:
        return 0.0
    pixels = band.grid.shape[0] * band.grid.shape[1]
    whole = pixels * BAND_BYTES * BAND_LEFT if size is None else size
    return whole * min(1.0, SAMPLES * TILE**2 / pixels)


def _file_size(record: ItemRecord, band: BandSource) -> int:
    """Bytes of a file on this machine; 0 for all others."""
    if not record.local or is_remote(band.href):
        return 0
    try:
        return Path(band.href.removeprefix("file://")).stat().st_size
    except OSError:
        return 0


def _header(href: str) -> tuple[int, int] | None:
    """Bytes of a pixel and number of bands of a file on this machine; None if it cannot be opened.

    One file of each kind is asked, not all. Bands that lie pixel by pixel cannot be read one without the others.
    """
    try:
        with open_source(href, local=True) as file:
            together = file.count > 1 and file.interleaving is not None and file.interleaving.value == "PIXEL"
            return np.dtype(file.dtypes[0]).itemsize, 0 if together else file.count
    except LakecubeError:
        return None


def _layers_in(record: ItemRecord, href: str) -> int:
    return sum(band.href == href for _, band in _files_of(record))


def _files_of(record: ItemRecord) -> list[tuple[str, BandSource]]:
    return [*record.bands.items(), *((str(kind), layer) for kind, layer in record.qa.items())]


def _dates_per_pixel(water: xr.Dataset, source: BlockSource | None, composite: str | None) -> float:
    """Dates read for one date written: more than one for composites."""
    return len(source.dates) / water.sizes[TIME] if source is not None and composite else 1.0


def _seconds(pixels: float, read: int, source: BlockSource | None, speed: float, bandwidth: float) -> float:
    remote = source is not None and any(is_remote(b.href) for r in source.items for b in r.bands.values())
    return START + max(pixels / speed, read / bandwidth if remote else 0.0)


def _scenes(source: BlockSource | None, water: xr.Dataset) -> int | None:
    if source is not None:
        return len(source.items)
    return water.sizes.get("item")


def _resolution(water: xr.Dataset) -> tuple[float, float]:
    steps = [np.diff(water[dim].values[:2]) for dim in (Y, X)]
    return tuple(float(abs(s[0])) if s.size else float("nan") for s in steps)  # type: ignore[return-value]


def _assumptions(
    measured: float, read: int | None, raw: int | None, bandwidth: float, speed: float, workers: int
) -> tuple[str, ...]:
    out = []
    if read is not None and raw is not None and read > raw:
        out.append("more is read than lies under the request: headers, whole tiles, samples where offsets are audited")
    if read is not None and measured < 0.999:
        out.append(f"bands of {BAND_BYTES} bytes that compress to {BAND_LEFT:.0%}, quality layers to {QA_LEFT:.0%}")
    if read is not None and measured > 0.001:
        out.append("files on this machine by their size, in proportion to the area")
    out.append(f"{speed / 1e6:g} million pixels per second and core, {workers} cores")
    if read is not None and measured < 0.999:
        out.append(f"{in_bytes(bandwidth)} per second from afar")
    return tuple(out)


def _unit(crs: str) -> str:
    """Unit of the pixel size, with the space before it."""
    try:
        found = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        return ""
    return "°" if found.is_geographic else f" {found.axis_info[0].unit_name.replace('metre', 'm')}"
