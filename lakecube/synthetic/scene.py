"""One overpass: ground, water, light and sky of one date become reflectance, its true state and its SCL or QA."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pyproj import Transformer
from scipy import ndimage

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS, OBSERVATION
from lakecube.synthetic import spectra
from lakecube.synthetic.cover import Cover, make_cover, shore, snow_share
from lakecube.synthetic.noise import FloatArray, block_mean, fractal, generator
from lakecube.synthetic.sky import Sky, illumination, make_sky, shaded_by_terrain, sun_position
from lakecube.synthetic.terrain import PIXEL, Flood, Terrain, flood, levels_on, make_terrain

CLOUD_OPACITY, CIRRUS_OPACITY, SHADOW_OPACITY, SNOW_SHARE = 0.15, 0.04, 0.30, 0.35


@dataclass(frozen=True)
class Landscape:
    """A piece of country at 10 m that any date can be rendered from.

    `shape` is what was asked for; the arrays cover `canvas`, the next multiple of 6 pixels, so that 20, 30
    and 60 m pixels are whole.
    """

    shape: tuple[int, int]
    crs: str
    origin: tuple[float, float]
    seed: int
    terrain: Terrain
    cover: Cover
    lonlat: tuple[float, float]

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of every array."""
        return self.terrain.elevation.shape


def make_landscape(
    shape: tuple[int, int] = (512, 512),
    *,
    seed: int = 0,
    crs: str = "EPSG:32648",
    origin: tuple[float, float] = (549600.0, 2986500.0),
) -> Landscape:
    """Make the country of `seed`: terrain, basins, river and land cover.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of 10 m pixels, at least 32 each.
    seed : int
        The same seed and shape give the same country.
    crs : str
        A projected CRS in metres.
    origin : (float, float)
        Easting and northing of the upper left corner (m).

    Returns
    -------
    Landscape
    """
    rows, cols = (int(n) for n in shape)
    if min(rows, cols) < 32:
        raise InvalidInputError(f"shape is {(rows, cols)}; a scene needs at least 32 x 32 pixels to hold a lake")
    canvas = (-(-rows // 6) * 6, -(-cols // 6) * 6)
    terrain = make_terrain(canvas, seed)
    centre = (origin[0] + cols * PIXEL / 2, origin[1] - rows * PIXEL / 2)
    lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*centre)
    return Landscape((rows, cols), crs, (float(origin[0]), float(origin[1])), seed, terrain,
                     make_cover(terrain, seed), (float(lonlat[0]), float(lonlat[1])))  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What one overpass saw, on the canvas of its landscape at 10 m.

    `reflectance` is (band, y, x) float32 before noise; `native(band, factor)` is what the sensor measures.
    `observation` holds `names.OBSERVATION` codes; `water` is 1 where at least half of the pixel is water.
    """

    day: np.datetime64
    time: np.datetime64
    key: tuple[int, int]
    sun: tuple[float, float]
    reflectance: FloatArray
    observation: np.ndarray
    flood: Flood
    sky: Sky
    snow: FloatArray
    direct: FloatArray
    cast: np.ndarray
    valid: np.ndarray
    cover: float
    haze: float
    bands: tuple[str, ...] = field(default=BANDS)

    @property
    def water(self) -> np.ndarray:
        """1 where at least half of the pixel is water (uint8)."""
        return (self.flood.fraction >= 0.5).astype(np.uint8)

    def native(self, band: str, factor: int) -> FloatArray:
        """Reflectance of `band` averaged over `factor` x `factor` pixels, with the sensor's noise."""
        index = self.bands.index(band)
        mean = block_mean(self.reflectance[index], factor)
        noise = generator(*self.key, 100 + index).standard_normal(mean.shape, dtype=np.float32)
        return mean + noise * (np.float32(0.0012) + np.float32(0.008) * np.maximum(mean, 0))

    def seen(self, factor: int) -> np.ndarray:
        """True where every 10 m pixel of a `factor` x `factor` block was acquired."""
        return block_mean(self.valid.astype(np.float32), factor) > 0.999


def overpass(day: np.datetime64, longitude: float) -> np.datetime64:
    """Time (UTC) of the overpass of a solar `day`: 10:40 local solar time."""
    seconds = round((10.66 - longitude / 15) * 3600)
    return day.astype("datetime64[s]") + np.timedelta64(seconds, "s")


def render(
    landscape: Landscape, day: np.datetime64, *, clouds: float = 0.0, haze: float = 0.0, missing: float = 0.0
) -> Scene:
    """Render one overpass.

    Parameters
    ----------
    landscape : Landscape
    day : datetime64
        Solar date. Levels, season, sun, clouds and noise depend on it and the seed alone.
    clouds : float
        Share of the scene under cloud, 0 to 1.
    haze : float
        Opacity of an unflagged haze, 0 to 0.3.
    missing : float
        Share of the scene beyond a slanted swath edge, 0 to 1.

    Returns
    -------
    Scene
    """
    day = day.astype("datetime64[D]")
    key = (landscape.seed, int(day.astype("int64")) + 2**20)
    terrain, cover = landscape.terrain, landscape.cover
    time = overpass(day, landscape.lonlat[0])
    sun = sun_position(time, *landscape.lonlat)
    if sun[1] < 8:
        seen = f"the sun stands {sun[1]:.0f} degrees high on {day}"
        raise InvalidInputError(f"{seen}; choose a date or a place where it stands above 8")
    water = flood(terrain, levels_on(terrain, day))
    sky = make_sky(terrain.elevation, key, sun, clouds, haze)
    snow = snow_share(terrain.elevation, cover, day, key) * (1 - water.fraction)
    cast = shaded_by_terrain(terrain.elevation, *sun)
    lit = ndimage.gaussian_filter(1 - cast.astype(np.float32), 0.6)
    ground = _ground(landscape, day, water, snow)
    facing = illumination(terrain.elevation, *sun)
    ground = _surface(landscape, ground, water, facing, lit, sky, key)
    valid = _swath(landscape.canvas, missing, key)
    observation = _truth(sky, snow, cast, water, valid)
    return Scene(day, time, key, sun, _through(ground, sky), observation, water, sky, snow,
                 lit * (1 - sky.shadow), cast, valid, clouds, haze)  # fmt: skip


def _ground(landscape: Landscape, day: np.datetime64, water: Flood, snow: FloatArray) -> FloatArray:
    """Reflectance of land and snow under flat light."""
    terrain, cover = landscape.terrain, landscape.cover
    shares = cover.abundance(day)
    height = np.zeros(landscape.canvas, np.float32)
    left = np.zeros(landscape.canvas, bool)
    for basin, level in zip(terrain.basins, water.levels, strict=True):
        exposed = basin.domain & (terrain.elevation < basin.high_water)
        left |= exposed
        height = np.where(exposed, terrain.elevation - np.float32(level), height)
    bank = ndimage.gaussian_filter(np.minimum(terrain.river * 1.5, 1), 0.8)
    shares = {name: share * (1 - np.float32(0.75) * left) * (1 - 0.8 * bank) for name, share in shares.items()}
    exposed_shares = shore(terrain, height, left)
    shares["mud"] = exposed_shares["mud"] * 0.75 + 0.4 * bank
    shares["sand"] = exposed_shares["sand"] + 0.4 * bank
    total = np.sum(list(shares.values()), axis=0)
    land = spectra.mix_land({name: share / total for name, share in shares.items()}) * cover.brightness
    return land + (spectra.SNOW[:, None, None] - land) * snow


def _surface(
    landscape: Landscape, ground: FloatArray, water: Flood, facing: FloatArray, lit: FloatArray, sky: Sky,
    key: tuple[int, int],
) -> FloatArray:  # fmt: skip
    """Light falls on land (by slope) and water (flat), and both mix by area in each pixel."""
    rng = generator(*key, 31)
    sediment = np.full(landscape.canvas, 0.5, np.float32)
    for basin in landscape.terrain.basins:
        sediment[basin.domain] = basin.spec.turbidity
    plume = fractal(landscape.canvas, rng, beta=3.2, largest=0.15 * min(landscape.canvas))
    sediment *= np.exp(0.35 * plume + 0.2 * rng.standard_normal())
    optics = spectra.water_reflectance(water.depth, sediment, float(rng.gamma(2, 0.0012)))
    direct = lit * (1 - 0.96 * sky.shadow)
    for b, diffuse in enumerate(spectra.DIFFUSE):
        flat = diffuse + (1 - diffuse) * direct
        slope = diffuse + (1 - diffuse) * direct * facing
        land = ground[b] * np.minimum(slope, 1.7)
        ground[b] = land + (optics[b] * flat - land) * water.fraction
    return ground


def _through(ground: FloatArray, sky: Sky) -> FloatArray:
    """What is left of the ground under haze, cirrus and cloud, and what these add."""
    bright = np.exp(0.10 * sky.texture) * (0.62 + 0.38 * sky.cloud)
    for b in range(len(BANDS)):
        clearness = spectra.HAZE[b] / spectra.HAZE[0]
        ground[b] += (spectra.HAZE[b] - ground[b]) * sky.haze * clearness
        ground[b] += (spectra.CLOUD[b] - ground[b]) * sky.cirrus
        ground[b] += (spectra.CLOUD[b] * bright - ground[b]) * sky.cloud
    return ground


def _swath(shape: tuple[int, int], missing: float, key: tuple[int, int]) -> np.ndarray:
    """False beyond a swath edge that runs 11 degrees off north, on the west or the east side."""
    if missing <= 0:
        return np.ones(shape, bool)
    rows, cols = np.indices(shape, dtype=np.float32)
    across = cols + 0.2 * rows
    if key[1] % 2:
        return across >= np.quantile(across, missing)
    return across <= np.quantile(across, 1 - missing)


def _truth(sky: Sky, snow: FloatArray, cast: np.ndarray, water: Flood, valid: np.ndarray) -> np.ndarray:
    """State of the observation by the order of `names.OBSERVATION_PRIORITY`, weakest first."""
    state = np.full(cast.shape, OBSERVATION["clear"], np.uint8)
    state[cast] = OBSERVATION["terrain_shadow"]
    state[(snow > SNOW_SHARE) & (water.fraction < 0.5)] = OBSERVATION["snow_ice"]
    state[sky.shadow > SHADOW_OPACITY] = OBSERVATION["cloud_shadow"]
    state[sky.cirrus > CIRRUS_OPACITY] = OBSERVATION["cirrus"]
    state[sky.cloud > CLOUD_OPACITY] = OBSERVATION["cloud"]
    state[~valid] = OBSERVATION["not_acquired"]
    return state
