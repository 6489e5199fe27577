"""The light: where the sun stands, what the ground shades, clouds with their shadows, cirrus and haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lakecube.synthetic.noise import FloatArray, fractal, generator, smoothstep
from lakecube.synthetic.terrain import PIXEL


def sun_position(time: np.datetime64, longitude: float, latitude: float) -> tuple[float, float]:
    """Return azimuth (degrees clockwise from north) and elevation (degrees) of the sun, to about a degree."""
    day = float((time - time.astype("datetime64[Y]")) / np.timedelta64(1, "s")) / 86400
    angle = 2 * np.pi * (day - 81) / 365
    equation = (9.87 * np.sin(2 * angle) - 7.53 * np.cos(angle) - 1.5 * np.sin(angle)) / 1440
    hour = 2 * np.pi * (day % 1 + longitude / 360 + equation - 0.5)
    declination = np.radians(23.45) * np.sin(angle)
    lat = np.radians(latitude)
    up = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(lat) * np.sin(declination) - np.sin(lat) * np.cos(declination) * np.cos(hour)
    return float(np.degrees(np.arctan2(east, north)) % 360), float(np.degrees(np.arcsin(up)))


def sunward(azimuth: float) -> tuple[float, float]:
    """Unit step (rows, columns) towards the sun; rows count southwards."""
    return -float(np.cos(np.radians(azimuth))), float(np.sin(np.radians(azimuth)))


def shaded_by_terrain(elevation: FloatArray, azimuth: float, sun_elevation: float) -> np.ndarray:
    """True where the ground towards the sun rises above the sun: a horizon march, nearest pixel, O(N · steps)."""
    dr, dc = sunward(azimuth)
    climb = PIXEL * np.tan(np.radians(sun_elevation))
    steps = int(min(np.ptp(elevation) / climb, max(elevation.shape)))
    shaded = np.zeros(elevation.shape, bool)
    for step in range(1, steps + 1):
        r, c = round(step * dr), round(step * dc)
        here, there = _overlap(elevation.shape, r, c)
        np.logical_or(shaded[here], elevation[there] - elevation[here] > step * climb, out=shaded[here])
    return shaded


def _overlap(shape: tuple[int, int], r: int, c: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    here = tuple(slice(max(-d, 0), max(n - max(d, 0), 0)) for n, d in zip(shape, (r, c), strict=True))
    there = tuple(slice(max(d, 0), max(n + min(d, 0), 0)) for n, d in zip(shape, (r, c), strict=True))
    return here, there  # type: ignore[return-value]


def illumination(elevation: FloatArray, azimuth: float, sun_elevation: float) -> FloatArray:
    """Cosine of incidence over that of flat ground, at least 0: how much direct light a slope gets."""
    dy, dx = np.gradient(ndimage.gaussian_filter(elevation, 0.7), PIXEL)
    dr, dc = sunward(azimuth)
    flat, tangent = np.sin(np.radians(sun_elevation)), np.cos(np.radians(sun_elevation))
    facing = (flat - tangent * (dy * dr + dx * dc)) / np.sqrt(1 + dx**2 + dy**2)
    return np.clip(facing / flat, 0, 2.2).astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """Between ground and sensor: opacity (0-1) of `cloud`, of its `shadow` on the ground, of `cirrus` and `haze`."""

    cloud: FloatArray
    shadow: FloatArray
    cirrus: FloatArray
    haze: FloatArray
    texture: FloatArray


def cloud_base(elevation: FloatArray) -> float:
    """Height (m) of the cloud base above the datum: lower over small scenes, so that shadows stay in view."""
    return float(np.median(elevation) + np.clip(0.2 * min(elevation.shape) * PIXEL, 200, 1300))


def make_sky(elevation: FloatArray, key: tuple[int, int], sun: tuple[float, float], cover: float, haze: float) -> Sky:
    """Clouds over a share `cover` of the scene, their shadows where the sun puts them, some cirrus, and `haze`."""
    shape = elevation.shape
    zero: FloatArray = np.zeros(shape, np.float32)
    veil: FloatArray = zero
    if haze > 0:
        veil = haze * (1 + 0.35 * fractal(shape, generator(*key, 11), beta=3.5, largest=max(shape))).clip(0.3, 2)
    if cover <= 0:
        return Sky(zero, zero, zero, veil.astype(np.float32), zero)
    base = cloud_base(elevation)
    reach = (base - elevation.min()) / np.tan(np.radians(sun[1])) / PIXEL
    margin = int(np.ceil(min(reach, 2 * max(shape)))) + 2
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    inner = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    field = fractal(wide, generator(*key, 12), beta=4.0, largest=0.42 * min(shape))
    cut = np.quantile(field[inner], 1 - cover)
    thickness = np.maximum(field - cut + 0.12, 0)
    opacity = 1 - np.exp(-4.0 * thickness**1.5)
    shift = np.maximum(base - elevation, 0) / np.tan(np.radians(sun[1])) / PIXEL
    dr, dc = sunward(sun[0])
    rows, cols = np.indices(shape, dtype=np.float32)
    shadow = ndimage.map_coordinates(opacity, [rows + margin + dr * shift, cols + margin + dc * shift], order=1)
    high = fractal(shape, generator(*key, 13), beta=3.8, largest=0.9 * max(shape))
    cirrus = 0.22 * smoothstep(1.0, 2.6, high + 0.8 * cover)
    texture = fractal(wide, generator(*key, 14), beta=2.6, largest=0.1 * min(shape))[inner]
    return Sky(opacity[inner], shadow.astype(np.float32), cirrus, veil.astype(np.float32), texture)
