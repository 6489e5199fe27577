"""The ground: mountains and plains, basins that hold lakes, a meandering river, and how water fills them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lakecube.synthetic.noise import FloatArray, fractal, generator, offsets, smoothstep

PIXEL = 10.0  #: metres; the landscape is always computed at 10 m
EPOCH = np.datetime64("2022-01-01")


@dataclass(frozen=True)
class LakeSpec:
    """How a lake is laid out: place and radius as shares of the scene, depth, and its regime through time."""

    name: str
    row: float
    col: float
    radius: float
    depth: float  #: metres, for a scene of 512 pixels; shrinks with the scene
    turbidity: float
    mean: float  #: filling (0 dry, 1 at the rim), its seasonal amplitude, and a slow swing with its period in years
    season: float
    swing: float
    period: float
    ragged: float = 0.0  #: relief kept inside the basin, as a share of the depth
    stretch: float = 1.0
    island: bool = False

    def filling(self, date: np.datetime64) -> float:
        """Share of the depth that is filled on `date`: a function of the date alone."""
        years = float((date - EPOCH) / np.timedelta64(1, "D")) / 365.25
        season = self.season * np.sin(2 * np.pi * (years - 0.45))  # high water in September
        return float(np.clip(self.mean + season + self.swing * np.cos(2 * np.pi * years / self.period), 0.05, 0.97))


#: Dug in this order; what is dug first stays as it is.
LAKES = (
    LakeSpec("reservoir", 0.15, 0.73, 0.120, 40, 0.02, 0.60, 0.04, 0.32, 4.0, 0.45, 2.2),
    LakeSpec("great lake", 0.43, 0.35, 0.155, 24, 0.05, 0.75, 0.10, 0.03, 9.0, 0.25, 1.5, island=True),
    LakeSpec("edge lake", 0.47, 1.00, 0.120, 14, 0.10, 0.70, 0.12, 0.05, 7.0, 0.15),
    LakeSpec("turbid lake", 0.66, 0.74, 0.062, 5, 0.80, 0.70, 0.15, -0.10, 12.0, 0.10, 1.3),
    LakeSpec("seasonal lake", 0.64, 0.13, 0.052, 3, 0.35, 0.50, 0.38, 0.00, 5.0, 0.20),
    LakeSpec("pond", 0.90, 0.50, 0.0, 3, 0.15, 0.60, 0.20, 0.00, 5.0),
)
POND_RADIUS = 3.4  #: pixels, at any size of scene


@dataclass(frozen=True)
class Basin:
    """A dug basin: where water may stand (`domain`), its deepest pixel, and the heights of bottom and rim."""

    number: int
    spec: LakeSpec
    domain: np.ndarray
    bed: tuple[int, int]
    bottom: float
    rim: float

    @property
    def high_water(self) -> float:
        """Height that the water reaches in its best year (m): plants grow above it."""
        spec = self.spec
        return self.bottom + (self.rim - self.bottom) * min(spec.mean + spec.season + abs(spec.swing), 0.97)

    def level(self, date: np.datetime64) -> float:
        """Height of the water surface on `date` (m)."""
        return self.bottom + (self.rim - self.bottom) * self.spec.filling(date)


@dataclass(frozen=True)
class Terrain:
    """The ground at 10 m: height of the bed (m), basins, share of each pixel that is river, mountain weight."""

    elevation: FloatArray
    basins: tuple[Basin, ...]
    river: FloatArray
    mountain: FloatArray


def make_terrain(shape: tuple[int, int], seed: int) -> Terrain:
    """Make the ground of a scene of `shape` 10 m pixels."""
    size = min(shape)
    rows, cols = offsets(shape, (0, 0))
    fy, fx = rows / shape[0], cols / shape[1]
    warp = fractal(shape, generator(seed, 0, 1), beta=3.5, largest=0.6 * size)
    mountain = smoothstep(0.0, 0.36, 0.54 - fy + 0.10 * warp + 0.10 * np.abs(fx - 0.4))
    ridges = np.abs(fractal(shape, generator(seed, 0, 2), beta=5.2, largest=0.32 * size))
    detail = fractal(shape, generator(seed, 0, 3), beta=4.8, largest=0.10 * size)
    hills = fractal(shape, generator(seed, 0, 4), beta=5.0, largest=0.8 * size)
    massif = mountain * (0.75 * ridges + 0.6 * mountain + 0.10 * detail)
    plain = 0.006 * hills + 0.0004 * detail
    massif = ndimage.gaussian_filter(massif, 1.5)
    steep = np.percentile(slope_degrees(massif * size * PIXEL)[mountain > 0.5], 76)
    massif *= np.tan(np.radians(37)) / np.tan(np.radians(steep))
    elevation = (1100 + (massif + plain) * size * PIXEL).astype(np.float32)
    elevation, distance, width = _carve_river(elevation, seed)
    basins = []
    taken = np.zeros(shape, bool)
    for number, spec in enumerate(LAKES, start=1):
        elevation, basin = _dig(elevation, taken, number, spec, seed)
        taken |= basin.domain
        basins.append(basin)
    river = np.clip(width / 2 - distance + 0.5, 0, 1) * ~taken
    return Terrain(elevation, tuple(basins), river.astype(np.float32), mountain)


def slope_degrees(elevation: FloatArray, pixel: float = PIXEL) -> FloatArray:
    """Slope (degrees) from central differences; `pixel` in metres."""
    dy, dx = np.gradient(elevation, pixel)
    return np.degrees(np.arctan(np.hypot(dx, dy)))


def _carve_river(elevation: FloatArray, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Carve a valley along a sine-generated curve (Langbein and Leopold); distance and width in pixels."""
    rows, cols = elevation.shape
    rng = generator(seed, 0, 5)
    steps = 12 * cols
    s = np.linspace(0, 1, steps)
    bends = 5 + rng.uniform(0, 2)
    swell = 0.8 + 0.4 * np.sin(2 * np.pi * 1.7 * s + rng.uniform(0, 6))
    heading = 1.15 * swell * np.sin(2 * np.pi * (bends * s + 0.06 * np.sin(9 * s + rng.uniform(0, 6))))
    heading = heading + 0.25 * np.sin(2 * np.pi * 2 * s + rng.uniform(0, 6))
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    scale = 1.06 * cols / x[-1]
    x, y = x * scale - 0.03 * cols, (y - y.mean()) * scale + (0.82 + rng.uniform(-0.02, 0.02)) * rows
    tree = cKDTree(np.column_stack([y, x]))
    coarse = np.indices(elevation.shape)[:, ::4, ::4].reshape(2, -1).T
    distance = tree.query(coarse)[0].reshape(-(-rows // 4), -(-cols // 4)).astype(np.float32)
    distance = distance.repeat(4, 0).repeat(4, 1)[:rows, :cols]
    near = distance < 10  # only here does the channel itself need the exact distance
    exact, nearest = tree.query(np.argwhere(near))
    along = np.zeros(elevation.shape, np.float32)
    distance[near], along[near] = exact, s[nearest]
    bed = np.percentile(elevation, 8) - 6 - 12 * np.linspace(0, 1, cols, dtype=np.float32)
    metres = ndimage.gaussian_filter(distance, 4) * PIXEL
    valley = bed + 0.008 * metres + (elevation - bed) * smoothstep(30, 0.16 * min(rows, cols) * PIXEL, metres)
    width = 3 + np.sin(2 * np.pi * 3 * along)
    return valley.astype(np.float32), distance, width.astype(np.float32)


def _dig(elevation: FloatArray, taken: np.ndarray, number: int, spec: LakeSpec, seed: int) -> tuple[FloatArray, Basin]:
    """Dig one basin so that it can hold water up to its rim; ground that is `taken` by another stays as it is."""
    rows, cols = elevation.shape
    size = min(rows, cols)
    rng = generator(seed, number, 6)
    radius = max(spec.radius * size, POND_RADIUS)
    depth = spec.depth * min(1.0, max(size / 512, 0.15)) if spec.radius else spec.depth
    jitter = rng.uniform(-0.02, 0.02, 2)
    centre = ((spec.row + jitter[0]) * rows, (spec.col + jitter[1]) * cols)
    if spec.col >= 1:  # cut by the edge of the scene, at any size
        centre = (centre[0], cols + 0.1 * radius)
    r, ellipse = _basin_radius(elevation.shape, centre, radius, spec.stretch, rng)
    rim = float(np.percentile(elevation[ellipse < 1.6], 12))
    relief = spec.ragged * depth * fractal(elevation.shape, rng, beta=3.2, largest=1.2 * radius)
    bowl = rim + depth * (np.minimum(r, 1.5) ** 2 - 1) + relief * np.clip(1.1 - r, 0, 0.6)
    if spec.island:
        dy, dx = offsets((rows, cols), (centre[0] + 0.10 * radius, centre[1] + 0.42 * radius))
        bowl += 1.5 * depth * np.exp(-(dy**2 + 1.6 * dx**2) / (0.17 * radius) ** 2)
    bowl = np.where(r > 1.0, np.maximum(bowl, rim + 0.1), bowl)
    blend = smoothstep(1.2, 2.0, ellipse)
    bank = rim + 0.2 - 0.35 * radius * PIXEL * np.maximum(ellipse - 1.6, 0)  # keeps water in, falls off outwards
    ground = np.maximum(elevation, bank)
    elevation = np.where(taken, elevation, (1 - blend) * bowl + blend * ground).astype(np.float32)
    domain = (r < 1.3) & ~taken
    bed = np.unravel_index(np.argmin(np.where(domain & (r < 0.9), elevation, np.inf)), elevation.shape)
    basin = Basin(number, spec, domain, (int(bed[0]), int(bed[1])), float(elevation[bed]), rim)
    return elevation, basin


def _basin_radius(
    shape: tuple[int, int], centre: tuple[float, float], radius: float, stretch: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Distance from the centre in basin radii along a stretched, turned ellipse: warped by noise, and plain."""
    dy, dx = (offset / np.float32(radius) for offset in offsets(shape, centre))
    angle = rng.uniform(-0.6, 0.6)
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / np.sqrt(stretch)
    v = (np.cos(angle) * dy - np.sin(angle) * dx) * np.sqrt(stretch)
    warp = fractal(shape, rng, beta=4.6, largest=1.6 * radius)
    ellipse = np.hypot(u, v)
    return ellipse * np.exp(0.16 * np.clip(warp, -1.6, 1.6)), ellipse


@dataclass(frozen=True)
class Flood:
    """Standing water on one date: `fraction` of each pixel, `depth` (m), lake number per pixel, levels (m)."""

    fraction: FloatArray
    depth: FloatArray
    lake: np.ndarray
    levels: tuple[float, ...]


def levels_on(terrain: Terrain, date: np.datetime64) -> tuple[float, ...]:
    """Heights of the water surfaces on `date` (m), basin by basin."""
    return tuple(basin.level(date) for basin in terrain.basins)


def flood(terrain: Terrain, levels: tuple[float, ...]) -> Flood:
    """Fill every basin to its level: the connected ground below the level that holds the deepest pixel."""
    z = terrain.elevation
    dy, dx = np.gradient(z)
    rise = np.maximum(np.abs(dx) + np.abs(dy), 0.05)  # height across one pixel
    fraction, depth = terrain.river.copy(), np.where(terrain.river > 0, np.float32(0.8), np.float32(0))
    lake = np.zeros(z.shape, np.uint8)
    for basin, level in zip(terrain.basins, levels, strict=True):
        box = ndimage.find_objects(basin.domain.astype(np.uint8))[0]
        zb = z[box]
        labels, _ = ndimage.label((zb < level) & basin.domain[box])
        wet = labels == labels[basin.bed[0] - box[0].start, basin.bed[1] - box[1].start]
        shore = ndimage.binary_dilation(wet, np.ones((3, 3))) & basin.domain[box]
        share = np.clip(0.5 + (level - zb) / rise[box], 0, 1)
        share = np.where(wet, np.maximum(share, 0.5), np.where(shore & (zb >= level), np.minimum(share, 0.49), 0))
        fraction[box] = np.maximum(fraction[box], share)
        depth[box] = np.where(shore, np.maximum(level - zb, 0.02), depth[box])
        lake[box] = np.where(wet, basin.number, lake[box])
    return Flood(fraction, depth, lake, levels)
