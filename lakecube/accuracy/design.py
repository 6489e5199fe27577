"""Where to look: a stratified random sample of pixels of a map, to be told by eye and given back to `assess`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from lakecube.accuracy.allocation import Allocation, allocate, sample_size
from lakecube.accuracy.maps import map_of
from lakecube.accuracy.objects import SIZE_BOUNDS, class_names, size_class_of
from lakecube.checks import is_whole
from lakecube.chunked import blockwise, enough_chunks, per_chunk, spans, trim_halo, with_halo
from lakecube.errors import InvalidInputError
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.kernels.morphology import dilate_disk, disk_reach
from lakecube.kernels.sampling import DRAWN, draw, join_drawn
from lakecube.names import LAND, WATER, X, Y
from lakecube.series.pixel_area import PixelGrid, pixel_quanta

#: Strata of `strata="shore"`, by code.
SHORE = ("land", "water", "land_at_shore", "water_at_shore")
_NONE = 255


@dataclass(frozen=True)
class Design:
    """A sample that was drawn.

    Attributes
    ----------
    strata : pd.DataFrame
        One row per stratum: `pixels`, `area` (m²), `weight` (its share of the area), `points`.
    points : pd.DataFrame
        `id`, `lon`, `lat` (WGS84), `stratum`, `stratum_area` (m²), `class` (empty: to be told), in random order.
    unknown_area : float
        Area in m² that the map does not know, in no stratum.
    settings : dict
        What the sample was drawn by.
    """

    strata: pd.DataFrame
    points: pd.DataFrame
    unknown_area: float
    settings: dict[str, Any]

    def to_geodataframe(self) -> Any:
        """The points as a GeoDataFrame (needs GeoPandas)."""
        import geopandas

        at = geopandas.points_from_xy(self.points["lon"], self.points["lat"], crs="EPSG:4326")
        return geopandas.GeoDataFrame(self.points.drop(columns=["lon", "lat"]), geometry=at)

    def write(self, path: Any) -> Path:
        """Write the points as CSV or, where the suffix says so, GeoJSON; never over a file that may hold answers."""
        path = Path(path)
        check_target(path)
        path.write_text(self.points.to_csv(index=False) if path.suffix.lower() == ".csv" else self._geojson())
        return path

    def _geojson(self) -> str:
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [row.pop("lon"), row.pop("lat")]},
                "properties": row | {"class": row["class"] or None},
            }
            for row in self.points.to_dict(orient="records")
        ]
        return json.dumps({"type": "FeatureCollection", "features": features}, indent=1)

    def to_dict(self) -> dict[str, Any]:
        """The strata and settings as plain values that JSON takes."""
        strata = self.strata.to_dict(orient="index")
        return {
            "points": len(self.points), "strata": strata, "unknown_area_m2": self.unknown_area,
            "settings": self.settings,
        }  # fmt: skip

    def __repr__(self) -> str:
        table = self.strata.assign(area=self.strata["area"] / 1e6).rename(columns={"area": "area_km2"}).round(4)
        hidden = f"; {self.unknown_area / 1e6:,.4g} km² unknown, in none" if self.unknown_area else ""
        return f"{len(self.points):,} points in {len(table)} strata{hidden}\n{table.to_string()}"


def check_target(path: Path) -> None:
    """Raise InvalidInputError where points cannot be written: another suffix, no folder, or a file is there."""
    if path.suffix.lower() not in (".csv", ".geojson", ".json"):
        raise InvalidInputError(f"{path}: points are written as .csv or .geojson")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"cannot write {path}: the folder {path.absolute().parent} does not exist")
    if path.exists():
        raise InvalidInputError(
            f"{path} exists and may hold classes that somebody told: give another name, or remove it"
        )


def sample_design(
    water: xr.Dataset | xr.DataArray,
    *,
    strata: Literal["shore", "size"] | xr.DataArray = "shore",
    n: int | None = None,
    margin: float = 0.03,
    confidence: float = 0.95,
    expected: float | Mapping[str, float] = 0.5,
    allocation: Allocation = "proportional",
    least: int = 50,
    buffer: int = 3,
    size_bounds: Sequence[float] = SIZE_BOUNDS,
    date: Any = None,
    share: float = 0.5,
    seed: int = 0,
) -> Design:
    """Draw a stratified random sample of pixels, to judge a map and to estimate areas.

    Parameters
    ----------
    water, date, share
        The map, as in `assess`.
    strata : {"shore", "size"} or xr.DataArray
        Land and water, each away from the shore and within `buffer` of it, where maps err; land and lakes by size
        class; or (y, x) uint8 codes on the map's grid, 255 for none.
    n : int, optional
        Points in all. By default as many as `margin` takes.
    margin : float
        Half the width of the interval of the overall accuracy: `sample_size`.
    confidence : float
        Of that interval.
    expected : float or mapping
        User's accuracy that is expected, of all strata or by name; 0.5, which asks for most, where none is named.
    allocation : {"proportional", "equal", "neyman"}
        How points are shared out: `allocate`.
    least : int
        Points of every stratum, as far as it has pixels.
    buffer : int
        Pixels on both sides of a shore.
    size_bounds : sequence of float
        Borders of the size classes in km².
    seed : int
        The same seed draws the same points; more points keep the ones before.

    Returns
    -------
    Design
        `.points` (write them with `.write("points.csv")`, fill in `class`, and give them to `assess`), `.strata`.

    Raises
    ------
    InvalidInputError
        If a setting is out of range, or the map knows no pixel.

    Notes
    -----
    Chunks: any. Law: exact. Not lazy: reads each block twice (`size`: thrice)
    and holds the points and a block. A pixel's chance is the same throughout its stratum; on a grid of degrees that is
    a chance per pixel, not per area.

    References
    ----------
    Olofsson, P. et al. (2014), doi:10.1016/j.rse.2014.02.015; Cochran, W. G. (1977), Sampling techniques
    """
    for name, value in (("n", n), ("least", least), ("buffer", buffer), ("seed", seed)):
        if not (is_whole(value) or (name == "n" and value is None)):
            raise InvalidInputError(f"{name}={value!r}: a whole number is needed")
    mapped, text = map_of(water, date, share)
    codes, names = _strata(mapped, strata, buffer, size_bounds)
    grid = PixelGrid.of(mapped)
    counts, areas = _sizes(codes, grid, len(names))
    pixels, area = counts[:-1], areas[:-1]
    if not pixels.sum():
        raise InvalidInputError(f"{text} knows no pixel, so there is nothing to draw from")
    wanted = _expectations(expected, names)
    size = sample_size(margin, weights=area, expected=wanted, confidence=confidence) if n is None else int(n)
    if size < 1 or least < 0:
        raise InvalidInputError(f"n={n!r}, least={least!r}: numbers of points are needed")
    points = np.minimum(allocate(size, area, how=allocation, least=least, expected=wanted), pixels)
    table = pd.DataFrame({"pixels": pixels, "area": area, "weight": area / area.sum(), "points": points}, index=names)
    settings = {
        "map": text, "strata": strata if isinstance(strata, str) else "given", "n": size, "margin": margin,
        "confidence": confidence, "allocation": allocation, "least": least, "buffer": buffer, "seed": seed,
    }  # fmt: skip
    drawn = _drawn(codes, grid, points, int(seed))
    return Design(table[pixels > 0], _as_points(drawn, points, names, area, grid), float(areas[-1]), settings)


def _strata(mapped: xr.DataArray, strata: Any, buffer: int, size_bounds: Sequence[float]) -> tuple[da.Array, list[str]]:
    """Codes (y, x) uint8 on Dask, 255 for none, and their names."""
    if isinstance(strata, xr.DataArray):
        sizes = {dim: mapped.sizes[dim] for dim in (Y, X)}
        if dict(strata.sizes) != sizes or strata.dtype != np.uint8:
            raise InvalidInputError(f"strata are uint8 like the map, {sizes}; got {strata.dtype} {dict(strata.sizes)}")
        array = strata.transpose(Y, X).data
        chunks = mapped.data.chunks
        array = array.rechunk(chunks) if isinstance(array, da.Array) else da.from_array(array, chunks=chunks)
        return array, [str(k) for k in range(_NONE)]
    if strata == "shore":
        try:
            reach = disk_reach(buffer)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"buffer={buffer!r}: a whole number of pixels is needed") from error
        wide = with_halo(enough_chunks(mapped.to_dataset(name="map"), reach)["map"].data, reach)
        codes = blockwise(_shore, "yx", wide, "yx", dtype=np.uint8, name="strata-shore", reach=reach)
        return trim_halo(codes, reach), list(SHORE)
    if strata == "size":
        return size_class_of(mapped, size_bounds), ["land", *class_names(size_bounds)]
    raise InvalidInputError(f"strata={strata!r}: use shore, size or an array of codes")


def _shore(states: np.ndarray, reach: int) -> np.ndarray:
    """0 land, 1 water, 2 land near water, 3 water near land, 255 unknown."""
    land, water = states == LAND, states == WATER
    out = np.full(states.shape, _NONE, np.uint8)
    out[land], out[water] = 0, 1
    if reach:
        out[land & dilate_disk(water, reach)], out[water & dilate_disk(land, reach)] = 2, 3
    return out


def _sizes(codes: da.Array, grid: PixelGrid, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and m² of every stratum, and of none at the end."""
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in codes.chunks)
    parts = blockwise(
        _sizes_of_block, "yxkc", rows, "y", columns, "x", codes, "yx", dtype=np.int64, name="strata-sizes",
        new_axes={"k": 2, "c": n + 1}, adjust_chunks=dict.fromkeys("yx", lambda _: 1), grid=grid, n=n,
    )  # fmt: skip
    counts, quanta = np.asarray(parts.sum(axis=(0, 1)).compute())
    return counts, quanta / AREA_QUANTA


def _sizes_of_block(rows: Any, columns: Any, codes: np.ndarray, grid: PixelGrid, n: int) -> np.ndarray:
    area = np.broadcast_to(pixel_quanta(grid, rows, columns).area, codes.shape)
    out = np.zeros((1, 1, 2, n + 1), np.int64)
    for k in np.unique(codes):
        inside = codes == k
        out[0, 0, :, k if k < n else n] += inside.sum(), area[inside].sum()
    return out


def _expectations(expected: float | Mapping[str, float], names: list[str]) -> Any:
    if not isinstance(expected, Mapping):
        return expected
    unknown = set(expected) - set(names)
    if unknown:
        raise InvalidInputError(f"expected names {', '.join(sorted(unknown))}; the strata are {', '.join(names)}")
    return [expected.get(name, 0.5) for name in names]


def _drawn(codes: da.Array, grid: PixelGrid, counts: np.ndarray, seed: int) -> np.ndarray:
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in codes.chunks)
    parts = blockwise(
        _draw_block, "yxk", rows, "y", columns, "x", codes, "yx", dtype=DRAWN, name="draw",
        new_axes={"k": int(counts.sum())}, adjust_chunks=dict.fromkeys("yx", lambda _: 1), anchor=grid.anchor,
        counts=counts, seed=seed,
    )  # fmt: skip
    joined = da.reduction(
        parts, _same, partial(_join, counts=counts), axis=(0, 1), concatenate=True, dtype=DRAWN, meta=np.empty(0, DRAWN)
    )
    return np.asarray(joined.compute())


def _draw_block(rows: Any, columns: Any, codes: np.ndarray, anchor: Any, counts: np.ndarray, seed: int) -> np.ndarray:
    return draw(codes, rows[0], columns[0], anchor, counts, seed)[None, None]


def _same(block: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return block


def _join(blocks: np.ndarray, axis: Any, keepdims: bool, counts: np.ndarray) -> np.ndarray:
    joined = join_drawn(blocks.reshape(-1, blocks.shape[-1]), counts)
    return joined[None, None] if keepdims else joined


def _as_points(
    drawn: np.ndarray, counts: np.ndarray, names: list[str], areas: np.ndarray, grid: PixelGrid
) -> pd.DataFrame:
    code = np.repeat(np.arange(counts.size), counts)
    order = np.argsort(drawn["number"], kind="stable")  # at random: what comes next tells nothing
    drawn, code = drawn[order], code[order]
    lon, lat = grid.lonlat(*grid.centres(drawn["row"], drawn["column"]))
    return pd.DataFrame({
        "id": np.arange(1, drawn.size + 1), "lon": lon.round(7), "lat": lat.round(7),
        "stratum": np.array(names)[code], "stratum_area": areas[code].round(1), "class": "",
    })  # fmt: skip
