"""The quality layers a processor would ship: SCL for Sentinel-2, QA_PIXEL for Landsat, with their usual errors."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lakecube.names import BANDS
from lakecube.synthetic.noise import FloatArray, block_mean, fractal, generator
from lakecube.synthetic.scene import CIRRUS_OPACITY, CLOUD_OPACITY, SHADOW_OPACITY, SNOW_SHARE, Scene

#: QA_PIXEL values as USGS lists them.
QA_FILL, QA_CLEAR, QA_WATER = 1, 21824, 21952
QA_CLOUD, QA_DILATED, QA_CIRRUS, QA_SHADOW, QA_SNOW = 22280, 21826, 54596, 23888, 30048


def _speckle(shape: tuple[int, int], key: tuple[int, ...], share: float) -> np.ndarray:
    """True on small patches that cover about `share` of an array of `shape`."""
    if share <= 0:
        return np.zeros(shape, bool)
    field = fractal(shape, generator(*key), beta=2.7, largest=30)
    return field > np.quantile(field, 1 - share)


def _masks(scene: Scene, factor: int, errors: float) -> dict[str, np.ndarray]:
    """What a processor takes for cloud, shadow, snow, … on `factor` x `factor` blocks; truth where `errors` is 0."""
    cloud = block_mean(scene.sky.cloud, factor)
    masks = {
        "high": cloud > 0.55,
        "cloud": cloud > CLOUD_OPACITY,
        "cirrus": block_mean(scene.sky.cirrus, factor) > CIRRUS_OPACITY,
        "shadow": block_mean(scene.sky.shadow, factor) > SHADOW_OPACITY,
        "snow": block_mean(scene.snow, factor) > SNOW_SHARE,
        "dark": block_mean(scene.cast.astype(np.float32), factor) > 0.5,
        "water": block_mean(scene.flood.fraction, factor) >= 0.5,
    }
    if errors > 0:
        shape, key = cloud.shape, scene.key
        whole = ndimage.binary_erosion(masks["cloud"], border_value=1)
        masks["cloud"] = np.where(_speckle(shape, (*key, 41), min(errors, 1)), whole, masks["cloud"])
        masks["shadow"] = masks["shadow"] & ~_speckle(shape, (*key, 42), 0.12 * errors)
        masks["cirrus"] = masks["cirrus"] & ~_speckle(shape, (*key, 43), 0.35 * errors)
        dark_water = masks["water"] & (block_mean(scene.direct, factor) > 0.5)
        masks["dark"] = masks["dark"] | (dark_water & _speckle(shape, (*key, 44), 0.06 * errors))
        roofs = block_mean(scene.reflectance[BANDS.index("blue")], factor) > 0.235
        masks["cloud"] = masks["cloud"] | (roofs & ~masks["snow"] & _speckle(shape, (*key, 45), 0.3 * errors))
        masks["high"] &= masks["cloud"]
    return masks


def _ndvi(scene: Scene, factor: int) -> FloatArray:
    red, nir = (block_mean(scene.reflectance[BANDS.index(name)], factor) for name in ("red", "nir08"))
    return (nir - red) / np.maximum(nir + red, 1e-3)


def scene_classification(scene: Scene, errors: float = 1.0) -> np.ndarray:
    """SCL at 20 m (uint8, canvas), as Sen2Cor would give it; `errors` 0 is the truth, 1 its usual mistakes.

    The mistakes: cloud edges missed by a pixel, dark water called class 2, shadow and cirrus missed in patches,
    bright roofs called cloud.
    """
    masks, ndvi = _masks(scene, 2, errors), _ndvi(scene, 2)
    scl = np.where(ndvi > 0.4, 4, 5).astype(np.uint8)
    scl[(ndvi > 0.29) & (ndvi <= 0.31)] = 7
    scl[masks["water"]] = 6
    scl[masks["dark"]] = 2
    scl[masks["snow"]] = 11
    scl[masks["shadow"]] = 3
    scl[masks["cirrus"]] = 10
    scl[masks["cloud"]] = 8
    scl[masks["cloud"] & masks["high"]] = 9
    scl[~scene.seen(2)] = 0
    return scl


def qa_pixel(scene: Scene, errors: float = 1.0) -> np.ndarray:
    """Landsat Collection 2 QA_PIXEL at 30 m (uint16, canvas)."""
    masks = _masks(scene, 3, errors)
    qa = np.where(masks["water"], QA_WATER, QA_CLEAR).astype(np.uint16)
    qa[masks["snow"]] = QA_SNOW
    qa[masks["shadow"]] = QA_SHADOW
    qa[ndimage.binary_dilation(masks["cloud"], iterations=2)] = QA_DILATED
    qa[masks["cirrus"]] = QA_CIRRUS
    qa[masks["cloud"]] = QA_CLOUD
    qa[~scene.seen(3)] = QA_FILL
    return qa
