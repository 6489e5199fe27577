"""True areas of pixels and lengths of their edges, on the ellipsoid of the CRS.

On a grid of degrees both are exact: the authalic formula for a cell, arcs of parallels and meridians for its edges. On
a projected grid they are planar values times the local scale, which is computed at the nodes of a lattice and
interpolated between them. Nodes lie on absolute rows and columns of the CRS's lattice, so that the value of a pixel
does not depend on the window or the chunk, and they are so dense that the interpolation is off by less than 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr

from lakecube.chunked import anchor_of
from lakecube.errors import InvalidInputError
from lakecube.georeference import crs_text, transform_numbers
from lakecube.kernels.lakes import AREA_QUANTA, LENGTH_QUANTA
from lakecube.kernels.lattice import between_nodes
from lakecube.names import X, Y

#: Nodes of the lattice are at most this far apart, and 2⁸ pixels.
_NODES_APART = 4000.0
#: Half the base of the differences that give the scale.
_HALF_BASE = 100.0


class Quanta(NamedTuple):
    """Areas and edges of a window of pixels, int64, as `kernels.lakes.measure_block` takes them.

    Attributes
    ----------
    area : (y, x) or (y, 1)
        Per pixel, in 1/`AREA_QUANTA` m².
    edges_x : (y + 1, x) or (y + 1, 1)
        Edges along x, above each row and below the last, in 1/`LENGTH_QUANTA` m.
    edges_y : (y, x + 1) or (y, 1)
        Edges along y, left of each column and right of the last.
    """

    area: np.ndarray
    edges_x: np.ndarray
    edges_y: np.ndarray


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of an image lie: plain numbers, cheap to send to a worker.

    Parameters
    ----------
    crs : str or None
        WKT; None: a plane in metres.
    x, y : float
        Of the outer corner of the first pixel.
    dx, dy : float
        Steps; `dy` is negative on north-up grids.
    anchor : (int, int)
        Absolute (row, column) of the first pixel, `chunked.anchor_of`.
    shape : (int, int)
        Rows and columns of the image.
    """

    crs: str | None
    x: float
    y: float
    dx: float
    dy: float
    anchor: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(cls, data: xr.Dataset | xr.DataArray) -> PixelGrid:
        """The grid of anything with evenly spaced coordinates `y`, `x`, and `spatial_ref` if it has a CRS.

        Raises
        ------
        InvalidInputError
            If a coordinate is missing or not evenly spaced, has one pixel whose size is nowhere told, or runs past a
            pole; or if pixels are too small or too large to be counted.
        """
        crs, given = crs_text(data.coords), transform_numbers(data.coords)
        dx, dy = _step(data, X, given[1:2]), _step(data, Y, given[5:6])
        x, y = float(data[X].values[0]) - dx / 2, float(data[Y].values[0]) - dy / 2
        grid = cls(crs, x, y, dx, dy, anchor_of(data), (data.sizes[Y], data.sizes[X]))
        grid._check()
        return grid

    def _check(self) -> None:
        """Raise InvalidInputError if its areas are none, or more than a sum of quanta holds."""
        pixel, ends = abs(self.dx * self.dy), (self.y, self.y + self.dy * self.shape[0])
        if self.system is not None and self.system.is_geographic:
            quarter = np.pi / 2 / self.system.axis_info[0].unit_conversion_factor
            if max(map(abs, ends)) > quarter + abs(self.dy) * 1e-3:
                raise InvalidInputError(
                    f"the rows reach from latitude {ends[0]:g} to {ends[1]:g}, past a pole, where pixels have no area; "
                    "leave these rows out"
                )
        elif pixel * self._metre**2 * AREA_QUANTA < 1:
            raise InvalidInputError(f"pixels of {pixel:g} square units of the CRS are too small for areas in m²")
        elif self.system is None and pixel * self.shape[0] * self.shape[1] * AREA_QUANTA >= 2**63:
            raise InvalidInputError(
                f"without a CRS units are taken as metres, and pixels of {abs(self.dx):g} × {abs(self.dy):g} m "
                "are too large for areas; give a CRS, such as .rio.write_crs(4326)"
            )

    @property
    def _metre(self) -> float:
        """Metres in a unit of a projected CRS, or of the plane."""
        return 1.0 if self.system is None else self.system.axis_info[0].unit_conversion_factor or 1.0

    @cached_property
    def system(self) -> pyproj.CRS | None:
        """The CRS."""
        return None if self.crs is None else pyproj.CRS.from_user_input(self.crs)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine (a, b, c, d, e, f) of the pixel corners."""
        return self.dx, 0.0, self.x, 0.0, self.dy, self.y

    def centres(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y of fractional rows and columns, where those of pixel centres are whole."""
        return self.x + self.dx * (columns + 0.5), self.y + self.dy * (rows + 0.5)

    def lonlat(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longitude (−180 to 180) and latitude (WGS84) of places in the CRS; NaN without a CRS."""
        if self.crs is None:
            return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        lon, lat = _transformer(self.crs, "EPSG:4326").transform(x, y)
        lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)  # of a grid of degrees over the antimeridian
        return np.where(np.isfinite(lon), lon, np.nan), np.where(np.isfinite(lat), lat, np.nan)

    def xy(self, longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `lonlat`: x and y in the CRS, on the side of the antimeridian that the grid is on."""
        if self.system is None or self.crs is None:
            return np.full(np.shape(longitude), np.nan), np.full(np.shape(latitude), np.nan)
        x, y = _transformer("EPSG:4326", self.crs).transform(longitude, latitude)
        if self.system.is_geographic:
            x = x + 360 * np.round((self.x + self.dx * self.shape[1] / 2 - x) / 360)
        return x, y


def pixel_quanta(grid: PixelGrid, rows: tuple[int, int], columns: tuple[int, int]) -> Quanta:
    """Areas of the pixels of a window, and lengths of their edges.

    Parameters
    ----------
    grid : PixelGrid
    rows, columns : (start, stop)
        The window, in pixels of the image.

    Notes
    -----
    A pixel's value does not depend on the window, to the last bit. O(pixels).
    """
    n = rows[1] - rows[0]
    area = area_quanta(grid, rows, columns)
    if grid.system is None:
        plane = np.full((n + 1, 1), abs(grid.dx)), np.full((n, 1), abs(grid.dy))
        return Quanta(area, *(_whole(v, LENGTH_QUANTA) for v in plane))
    if grid.system.is_geographic:
        return Quanta(area, *(_whole(v, LENGTH_QUANTA) for v in _edges_of_degrees(grid, *rows)))
    y, x = (np.arange(*span) for span in (rows, columns))
    between_y, between_x = (np.arange(a, b + 1) - 0.5 for a, b in (rows, columns))
    lattice = _Lattice.over(grid, rows, columns)
    return Quanta(area, lattice.at(1, between_y, x, LENGTH_QUANTA), lattice.at(2, y, between_x, LENGTH_QUANTA))


def area_quanta(grid: PixelGrid, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Areas alone, as `pixel_quanta` gives them: (y, x) or (y, 1) int64."""
    if grid.system is None:
        return _whole(np.full((rows[1] - rows[0], 1), abs(grid.dx * grid.dy)), AREA_QUANTA)
    if grid.system.is_geographic:
        return _whole(_area_of_degrees(grid, *rows), AREA_QUANTA)
    return _Lattice.over(grid, rows, columns).at(0, np.arange(*rows), np.arange(*columns), AREA_QUANTA)


def _whole(values: np.ndarray, quanta: int) -> np.ndarray:
    return np.rint(values * quanta).astype(np.int64)


def _step(data: xr.Dataset | xr.DataArray, dim: str, given: list[float]) -> float:
    if dim not in data.coords:
        raise InvalidInputError(
            f"no coordinate {dim} here; areas need the places of the pixels, as lakecube.open gives"
        )
    values = np.asarray(data[dim].values, np.float64)
    if values.size < 2:
        if not given:
            raise InvalidInputError(
                f"{dim} has one pixel, and `spatial_ref` does not tell its size, so it has no area; write it with "
                ".rio.write_transform()"
            )
        return given[0]
    step = float(values[-1] - values[0]) / (values.size - 1)
    if step == 0 or np.abs(np.diff(values) - step).max() > abs(step) * 1e-3:
        raise InvalidInputError(f"the coordinate {dim} is not evenly spaced; reproject to a regular grid first")
    return step


def _latitudes(grid: PixelGrid, start: int, stop: int) -> tuple[np.ndarray, float, pyproj.Geod]:
    """Edges of rows and the width of a pixel, in radians, and the ellipsoid."""
    assert grid.system is not None
    geod = grid.system.get_geod()
    assert geod is not None
    unit = grid.system.axis_info[0].unit_conversion_factor  # radians per unit
    edges = np.clip((grid.y + grid.dy * np.arange(start, stop + 1)) * unit, -np.pi / 2, np.pi / 2)
    return edges, abs(grid.dx) * unit, geod


def _area_of_degrees(grid: PixelGrid, start: int, stop: int) -> np.ndarray:
    edges, width, geod = _latitudes(grid, start, stop)
    return band_areas(edges, width, geod.a, geod.es)[:, None]


def _edges_of_degrees(grid: PixelGrid, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Arcs of the parallels that bound each row, and of its meridians: exact on the ellipsoid."""
    edges, width, geod = _latitudes(grid, start, stop)
    along_x = width * np.cos(edges) * geod.a / np.sqrt(1 - geod.es * np.sin(edges) ** 2)
    degrees, zeros = np.degrees(edges), np.zeros(edges.size - 1)
    along_y = np.asarray(geod.inv(zeros, degrees[:-1], zeros, degrees[1:])[2])
    return along_x[:, None], along_y[:, None]


def band_areas(edges: np.ndarray, width: float, a: float, es: float) -> np.ndarray:
    """Areas between neighbouring parallels (n + 1 latitudes, …) over a `width` of longitude, in radians; (n, …) m².

    The authalic formula, of the ellipsoid with semi-major axis `a` and squared eccentricity `es`.
    """
    s, e = np.sin(edges), np.sqrt(es)
    upto = 2 * s if es == 0 else (1 - es) * (s / (1 - es * s**2) + np.arctanh(e * s) / e)
    return a**2 / 2 * width * np.abs(np.diff(upto, axis=0))


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True, slots=True)
class _Lattice:
    """Area of a pixel and lengths of its two edges (3, rows, columns) at the nodes around a window."""

    values: np.ndarray
    step: int
    first: tuple[int, int]
    anchor: tuple[int, int]

    @classmethod
    def over(cls, grid: PixelGrid, rows: tuple[int, int], columns: tuple[int, int]) -> _Lattice:
        assert grid.system is not None
        metre = grid._metre
        pixel = max(abs(grid.dx), abs(grid.dy)) * metre
        step = 1 << int(np.clip(np.floor(np.log2(_NODES_APART / pixel)), 0, 8))
        nodes = []
        for (start, stop), anchor in zip((rows, columns), grid.anchor, strict=True):
            nodes.append(np.arange((start - 1 + anchor) // step, (stop + anchor) // step + 2) * step - anchor)
        y, x = np.meshgrid(*nodes, indexing="ij")
        values = _true_sizes(grid, y, x, _HALF_BASE / metre)
        return cls(values, step, (int(nodes[0][0]), int(nodes[1][0])), grid.anchor)

    def at(self, which: int, rows: np.ndarray, columns: np.ndarray, quanta: int) -> np.ndarray:
        """One quantity at places of the image, (rows, columns), in quanta."""
        places = []
        for wanted, first in zip((rows, columns), self.first, strict=True):
            away = (wanted - first) / self.step
            before = np.floor(away)
            places += [before.astype(np.int64), away - before]
        return between_nodes(self.values[which], *places, float(quanta))


def _true_sizes(grid: PixelGrid, rows: np.ndarray, columns: np.ndarray, half: float) -> np.ndarray:
    """Area of a pixel and lengths of its edges along x and y at pixel centres (3, …), by central differences in space.

    In space and not in degrees, because neither poles nor the antimeridian are special there. Where the projection is
    not defined, the plane's own.
    """
    assert grid.crs is not None
    x, y = grid.centres(rows, columns)
    along_x = (_in_space(grid.crs, x + half, y) - _in_space(grid.crs, x - half, y)) / (2 * half)
    along_y = (_in_space(grid.crs, x, y + half) - _in_space(grid.crs, x, y - half)) / (2 * half)
    lengths = [np.linalg.norm(v, axis=-1) for v in (along_x, along_y)]
    area = np.linalg.norm(np.cross(along_x, along_y), axis=-1)
    sizes = np.stack([area * abs(grid.dx * grid.dy), lengths[0] * abs(grid.dx), lengths[1] * abs(grid.dy)])
    plain = np.array([abs(grid.dx * grid.dy), abs(grid.dx), abs(grid.dy)]).reshape(3, *(1,) * rows.ndim)
    return np.where(np.isfinite(sizes), sizes, plain)


def _in_space(crs: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Geocentric coordinates (…, 3) in metres of places on the ellipsoid."""
    geodetic, ellipsoid = _ellipsoid(crs)
    lon, lat = (np.radians(v) for v in _transformer(crs, geodetic).transform(x, y))
    lon, lat = np.where(np.isfinite(lon), lon, np.nan), np.where(np.isfinite(lat), lat, np.nan)
    n = ellipsoid.a / np.sqrt(1 - ellipsoid.es * np.sin(lat) ** 2)
    return np.stack(
        [n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1 - ellipsoid.es) * np.sin(lat)], -1
    )


@lru_cache(maxsize=16)
def _ellipsoid(crs: str) -> tuple[str, pyproj.Geod]:
    system = pyproj.CRS.from_user_input(crs)
    geod = system.get_geod()
    if system.geodetic_crs is None or geod is None:
        raise InvalidInputError(f"{system.name} is not tied to the Earth, so pixels have no true area; reproject first")
    return system.geodetic_crs.to_wkt(), geod
