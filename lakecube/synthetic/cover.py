"""What grows and stands on the ground: forest, parcels of fields, grass, rock, a town and roads, by season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lakecube.synthetic.noise import FloatArray, fractal, generator, offsets, smoothstep
from lakecube.synthetic.terrain import Terrain, slope_degrees


@dataclass(frozen=True)
class Cover:
    """Shares of the ground at 10 m that do not change, and what the season acts on."""

    conifer: FloatArray
    leafy: FloatArray
    field: FloatArray
    grass: FloatArray
    rock: FloatArray
    roof: FloatArray
    blue_roof: FloatArray
    asphalt: FloatArray
    phase: FloatArray  #: year share at which a parcel is greenest
    vigour: FloatArray  #: how green a parcel gets
    brightness: FloatArray  #: multiplies every band: texture

    def abundance(self, date: np.datetime64) -> dict[str, FloatArray]:
        """Shares of the surfaces of `spectra.LAND` on `date`; they sum to 1."""
        year = float((date - date.astype("datetime64[Y]")) / np.timedelta64(1, "D")) / 365.25
        summer = 0.5 - 0.5 * np.cos(2 * np.pi * (year - 0.04))
        leaves = float(smoothstep(0.18, 0.55, float(summer)))
        growth = np.clip(1.25 * np.cos(2 * np.pi * (year - self.phase)), 0, 1) * self.vigour
        stubble = np.clip(self.vigour - growth, 0, 1) * 0.45
        lush = 0.25 + 0.55 * leaves
        return {
            "green": self.leafy * leaves + self.field * growth + self.grass * lush,
            "conifer": self.conifer,
            "bare_trees": self.leafy * (1 - leaves),
            "dry": self.field * stubble + self.grass * (1 - lush),
            "soil": self.field * (1 - growth - stubble) * 0.55,
            "dark_soil": self.field * (1 - growth - stubble) * 0.45,
            "rock": self.rock,
            "roof": self.roof,
            "blue_roof": self.blue_roof,
            "asphalt": self.asphalt,
        }


def make_cover(terrain: Terrain, seed: int) -> Cover:
    """Cover the ground: fields on the plain, forest on slopes, rock where it is steep, a town by the river."""
    z = terrain.elevation
    shape, size = z.shape, min(z.shape)
    slope = ndimage.gaussian_filter(slope_degrees(z), 1)
    patches = fractal(shape, generator(seed, 1, 1), beta=2.8, largest=0.25 * size)
    grain = fractal(shape, generator(seed, 1, 2), beta=1.4, largest=30)
    rock = smoothstep(33, 44, slope + 3 * grain) * 0.85
    town, roof, blue, asphalt = _town(shape, slope, seed)
    rock, roof, blue, asphalt = rock * (1 - town), roof * town, blue * town, asphalt * town
    road = 0.6 * _roads(shape, slope, seed) * (1 - town)
    free = 1 - rock - town - road
    wooded = smoothstep(-0.4, 0.4, 0.8 * patches + (slope - 9) / 5 + 0.3 * grain)
    clearing = smoothstep(1.2, 1.5, fractal(shape, generator(seed, 1, 3), beta=2.2, largest=0.1 * size))
    forest = free * wooded * (1 - 0.9 * clearing)
    farmed = smoothstep(0.3, -0.3, (slope - 7) / 4 + 0.3 * patches)
    field = (free - forest) * farmed
    conifers = smoothstep(-0.7, 0.7, fractal(shape, generator(seed, 1, 4), beta=3.0, largest=0.3 * size))
    phase, vigour, tone = _parcels(shape, seed)
    brightness = np.exp(0.10 * grain + 0.06 * patches + 0.12 * tone * (field > 0.3))
    return Cover(
        forest * conifers, forest * (1 - conifers), field, free - forest - field, rock,
        roof, blue, asphalt + road, phase, vigour, brightness.astype(np.float32),
    )  # fmt: skip


def _parcels(shape: tuple[int, int], seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Long parcels (Voronoi cells of a stretched, turned lattice), each with a crop calendar and a tone."""
    rng = generator(seed, 1, 5)
    angle = rng.uniform(0.2, 1.2)
    rows, cols = np.indices(shape, dtype=np.float32)
    bend = 9 * fractal(shape, rng, beta=4.0, largest=0.7 * min(shape))
    u = (np.cos(angle) * cols + np.sin(angle) * rows + bend) / 22
    v = (np.cos(angle) * rows - np.sin(angle) * cols + bend) / 10
    lo, hi = np.floor([u.min(), v.min()]).astype(int) - 1, np.ceil([u.max(), v.max()]).astype(int) + 2
    lattice = np.stack(np.meshgrid(np.arange(lo[0], hi[0]), np.arange(lo[1], hi[1]), indexing="ij"), -1)
    points = lattice.reshape(-1, 2) + rng.uniform(-0.33, 0.33, (lattice.size // 2, 2))
    _, parcel = cKDTree(points).query(np.column_stack([u.ravel(), v.ravel()]))
    count = len(points)
    phase = rng.choice([0.30, 0.47, 0.55, 0.63], count) + rng.normal(0, 0.02, count)
    vigour, tone = rng.beta(5, 1.6, count), rng.standard_normal(count)
    return tuple(a[parcel].reshape(shape).astype(np.float32) for a in (phase, vigour, tone))


def _town(shape: tuple[int, int], slope: FloatArray, seed: int) -> tuple[FloatArray, ...]:
    """A town on flat ground: its share of each pixel, and within it roofs, blue metal roofs and streets."""
    rng = generator(seed, 1, 6)
    size = min(shape)
    dy, dx = offsets(shape, (0.70 * shape[0], 0.42 * shape[1]))
    distance = np.hypot(dy, 0.7 * dx) / (0.075 * size)
    edge = 0.35 * fractal(shape, rng, beta=2.6, largest=0.1 * size)
    town = 0.9 * smoothstep(1.15, 0.75, distance + edge) * (slope < 12)
    blocks = rng.random((-(-shape[0] // 3), -(-shape[1] // 4)))
    kind = np.kron(blocks, np.ones((3, 4)))[: shape[0], : shape[1]]
    streets = ((np.arange(shape[0]) % 12 < 1)[:, None] | (np.arange(shape[1]) % 16 < 1)[None, :]) | (kind < 0.25)
    blue = (kind > 0.86) & ~streets
    roof = ~streets & ~blue
    return town, *(a.astype(np.float32) for a in (roof, blue, streets))


def _roads(shape: tuple[int, int], slope: FloatArray, seed: int) -> FloatArray:
    """Two winding roads, one pixel wide: the zero lines of smooth fields, kept off steep ground."""
    road = np.zeros(shape, bool)
    for stream in (7, 8):
        field = fractal(shape, generator(seed, 1, stream), beta=5.0, largest=1.5 * min(shape))
        dy, dx = np.gradient(field)
        road |= np.abs(field) < 0.55 * np.hypot(dx, dy)
    return (road & (slope < 20)).astype(np.float32)


def shore(terrain: Terrain, height: FloatArray, domain: np.ndarray) -> dict[str, FloatArray]:
    """Shares of mud and sand on ground that the lake has left, by its height (m) above the water."""
    bare = domain.astype(np.float32)
    mud = bare * smoothstep(2.5, 0.3, height)
    return {"mud": mud, "sand": (bare - mud) * 0.75}


def snow_share(z: FloatArray, cover: Cover, date: np.datetime64, key: tuple[int, int]) -> FloatArray:
    """Share of snow: above a snowline that comes down in January, thinner under trees. 0 from April to October."""
    year = float((date - date.astype("datetime64[Y]")) / np.timedelta64(1, "D")) / 365.25
    cold = float(np.cos(2 * np.pi * (year - 0.05)))
    if cold < 0.35:
        return np.zeros(z.shape, np.float32)
    low, high = np.percentile(z, [62, 99.5])
    line = low + (high - low) * (0.12 + (1.0 - cold) * 1.3)
    patchy = fractal(z.shape, generator(*key, 21), beta=2.0, largest=40)
    cover_share = smoothstep(-0.15, 0.15, (z - line) / (high - low) + 0.04 * patchy)
    return cover_share * (1 - 0.45 * (cover.conifer + 0.5 * cover.leafy))
