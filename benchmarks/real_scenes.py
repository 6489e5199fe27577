"""The real imagery under ``LAKECUBE_DATA`` as plain arrays: bands, what was observed, and a reference.

Bands carry STAC common names and are float32 reflectance; ``observation`` holds `lakecube.names.OBSERVATION`
codes. Nothing here is written, and nothing is downloaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lakecube.names import OBSERVATION

CLEAR, CLOUD, SHADOW, SNOW = (OBSERVATION[k] for k in ("clear", "cloud", "cloud_shadow", "snow_ice"))
NOT_ACQUIRED, SATURATED = OBSERVATION["not_acquired"], OBSERVATION["saturated"]

#: Scene classification of Sentinel-2 L2A to observation states; 2 (dark) and 7 (unclassified) stay judged.
SCL_STATE = {
    0: NOT_ACQUIRED, 1: SATURATED, 2: OBSERVATION["terrain_shadow"], 3: SHADOW, 4: CLEAR, 5: CLEAR, 6: CLEAR,
    7: OBSERVATION["unclassified"], 8: CLOUD, 9: CLOUD, 10: OBSERVATION["cirrus"], 11: SNOW,
}  # fmt: skip
S2_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B11": "swir16", "B12": "swir22",
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One date of one place.

    Parameters
    ----------
    group, name : str
        Folder and scene.
    bands : dict of str to numpy.ndarray
        float32 reflectance, all of one shape.
    observation : numpy.ndarray
        uint8 codes of `lakecube.names.OBSERVATION`.
    reference : numpy.ndarray or None
        bool, what the labels call water.
    slope : numpy.ndarray or None
        float32, degrees.
    pixel_area : float
        m².
    extra : dict
        Further layers (``scl`` and so on).
    """

    group: str
    name: str
    bands: dict[str, np.ndarray]
    observation: np.ndarray
    reference: np.ndarray | None = None
    slope: np.ndarray | None = None
    pixel_area: float = float("nan")
    extra: dict = field(default_factory=dict)


def folder() -> Path:
    """Return the data folder: ``LAKECUBE_DATA``, or ``../shared/data`` beside the repository."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    return Path(os.environ.get("LAKECUBE_DATA", default)).resolve()


def is_available(group: str) -> bool:
    """Tell whether the folder of `group` is there."""
    return (folder() / group).is_dir()


def _read(path: Path) -> tuple[dict[str, np.ndarray], float]:
    import rasterio

    with rasterio.open(path) as src:
        values, names = src.read(), src.descriptions
        area = abs(src.transform.a * src.transform.e)
    return {n or str(i): v for i, (n, v) in enumerate(zip(names, values, strict=True))}, area


def _state(scl: np.ndarray) -> np.ndarray:
    table = np.full(256, OBSERVATION["unclassified"], np.uint8)
    for code, state in SCL_STATE.items():
        table[code] = state
    return table[scl]


def t11upt_sentinel2() -> Scene:
    """Sentinel-2 L2A at 60 m; the reference is SCL 6, a product."""
    root, bands, area = folder() / "t11upt" / "sentinel-2", {}, 0.0
    for path in sorted(root.glob("*.tif")):
        layers, area = _read(path)
        raw = next(iter(layers.values()))
        if path.stem == "scl":
            scl = raw
        else:
            bands[path.stem] = np.where(raw == 0, np.nan, raw * np.float32(1e-4)).astype(np.float32)
    return Scene("t11upt", "sentinel-2", bands, _state(scl), scl == 6, None, area, {"scl": scl})


def t11upt_landsat8() -> Scene:
    """Landsat 8 at 30 m, two days before; no QA, no reference."""
    root, bands, area = folder() / "t11upt" / "landsat-8", {}, 0.0
    for path in sorted(root.glob("*.tif")):
        layers, area = _read(path)
        raw = next(iter(layers.values()))
        value = raw * np.float32(2.75e-5) - np.float32(0.2)
        bands[path.stem] = np.where(raw == 0, np.nan, value).astype(np.float32)
    missing = np.isnan(np.stack(list(bands.values()))).any(0)
    observation = np.where(missing, NOT_ACQUIRED, OBSERVATION["clear_cloud_unknown"]).astype(np.uint8)
    return Scene("t11upt", "landsat-8", bands, observation, None, None, area)


def cloud_patch() -> Scene:
    """The five-class patch: 1 is water (by its spectra), 3 land, 0 cloud shadow, 4 cloud."""
    with np.load(folder() / "cloud" / "sentinel2.npz") as store:
        img, mask = store["img"].astype(np.float32), store["msk"][..., 0]
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    bands = {n: np.ascontiguousarray(img[..., i]) for i, n in enumerate(names)}
    observation = np.full(mask.shape, CLEAR, np.uint8)
    observation[mask == 4], observation[mask == 0] = CLOUD, SHADOW
    return Scene("cloud", "patch", bands, observation, mask == 1, None, 900.0, {"class": mask})


def nowater() -> Iterator[Scene]:
    """Farmland without water, top-of-atmosphere reflectance, five dates."""
    for path in sorted((folder() / "nowater").glob("????-??-??.tif")):
        layers, area = _read(path)
        bands = {S2_NAMES[k]: v for k, v in layers.items() if k in S2_NAMES}
        clm = next(iter(_read(path.with_name(path.stem + "_clm.tif"))[0].values()))
        observation = np.where(clm > 0, CLOUD, CLEAR).astype(np.uint8)
        reference = np.zeros(clm.shape, bool)
        yield Scene("nowater", path.stem, bands, observation, reference, None, area)


def places() -> Iterator[Scene]:
    """Landsat patches with Fmask; the reference is its water bit, the noisy label rides along."""
    for path in sorted((folder() / "places").glob("p*/????-??-??.tif")):
        layers, area = _read(path)
        label = next(iter(_read(path.with_name(path.stem + "_label.tif"))[0].values()))
        fmask = layers["fmask"].astype(np.uint8)
        keys = ("coastal", "blue", "green", "red", "nir", "swir16", "swir22")
        bands = {k: (layers[k] * np.float32(1e-4)).astype(np.float32) for k in keys}
        observation = np.full(fmask.shape, CLEAR, np.uint8)
        for bit, state in ((4, SNOW), (3, SHADOW), (1, CLOUD)):
            observation[(fmask >> bit) & 1 == 1] = state
        water = (fmask >> 5) & 1 == 1
        extra = {"label": label == 1, "dem": layers["dem_b"], "fmask": fmask}
        yield Scene("places", f"{path.parent.name}/{path.stem}", bands, observation, water, None, area, extra)


def barbellino() -> Iterator[Scene]:
    """A small alpine reservoir, L1C and L2A; the reference is the outline burnt onto the 10 m grid."""
    import rasterio
    from rasterio.features import rasterize

    root = folder() / "barbellino"
    shapes = [f["geometry"] for f in json.loads((root / "barbellino.geojson").read_text())["features"]]
    for path in sorted(root.glob("*_l[12]?.tif")):
        layers, area = _read(path)
        bands = {
            S2_NAMES[k]: np.where(v == 65535, np.nan, v * np.float32(1e-4)).astype(np.float32)
            for k, v in layers.items()
            if k in S2_NAMES
        }
        with rasterio.open(path) as src:
            outline = rasterize(shapes, src.shape, transform=src.transform).astype(bool)
        scl = next(iter(_read(path.with_name(path.stem[:10] + "_scl.tif"))[0].values()))
        scl = scl.repeat(2, 0).repeat(2, 1)
        yield Scene("barbellino", path.stem, bands, _state(scl), outline, None, area, {"scl": scl})
