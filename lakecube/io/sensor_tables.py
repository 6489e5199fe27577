"""Which bands each sensor has, under which asset keys, and how its numbers become reflectance: tables only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import pystac

from lakecube.errors import InvalidInputError
from lakecube.io.records import QAKind

OffsetRule = Literal["sentinel-2", "constant", "metadata"]


@dataclass(frozen=True, slots=True)
class Sensor:
    """What is known of a sensor's product before any item is seen.

    Parameters
    ----------
    name : str
        The name `sensor=` takes.
    keys : mapping
        STAC common name to the asset keys (or native band names) it goes by, the best first.
    resolution : mapping
        STAC common name to the native pixel size in metres.
    qa : mapping
        Kind of a quality layer to the asset keys it goes by.
    scale, offset, nodata
        Constants of the product, used where the metadata say nothing that can be trusted.
    offset_rule : {"sentinel-2", "constant", "metadata"}
        Who decides the offset: the baseline rule, the product's constants, or the item alone.
    beyond : tuple of str
        Reflectance bands of the sensor that have no place in the vocabulary of the cube.
    """

    name: str
    keys: Mapping[str, tuple[str, ...]]
    resolution: Mapping[str, float]
    qa: Mapping[QAKind, tuple[str, ...]]
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    offset_rule: OffsetRule = "constant"
    beyond: tuple[str, ...] = field(default=())

    @property
    def bands(self) -> tuple[str, ...]:
        """STAC common names of the bands the sensor has."""
        return tuple(self.keys)

    @property
    def is_oli(self) -> bool:
        """Whether Landsat quality bits mean what they mean for OLI (cirrus band, terrain occlusion)."""
        return self.name != "landsat-tm-c2-l2"


#: Value of a quality layer where the source has no data; `qa_radsat` has none.
QA_NODATA: Mapping[str, float | None] = MappingProxyType({
    "scl": 0, "qa_pixel": 1, "qa_radsat": None, "fmask": 255, "hls_fmask": 255, "ga_fmask": 0, "cloud_mask": 255,
})  # fmt: skip

_S2_NATIVE = {
    "coastal": ("B01", 60), "blue": ("B02", 10), "green": ("B03", 10), "red": ("B04", 10),
    "rededge1": ("B05", 20), "rededge2": ("B06", 20), "rededge3": ("B07", 20), "nir": ("B08", 10),
    "nir08": ("B8A", 20), "nir09": ("B09", 60), "swir16": ("B11", 20), "swir22": ("B12", 20),
}  # fmt: skip
_OLI = {"coastal": 1, "blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
_TM = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}
_HLS_L30 = {"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "nir08": "B05", "swir16": "B06",
            "swir22": "B07"}  # fmt: skip
_GA_LS = {"coastal": "nbart_coastal_aerosol", "blue": "nbart_blue", "green": "nbart_green", "red": "nbart_red",
          "nir08": "nbart_nir", "swir16": "nbart_swir_1", "swir22": "nbart_swir_2"}  # fmt: skip
_GA_S2 = {"coastal": "nbart_coastal_aerosol", "blue": "nbart_blue", "green": "nbart_green", "red": "nbart_red",
          "rededge1": "nbart_red_edge_1", "rededge2": "nbart_red_edge_2", "rededge3": "nbart_red_edge_3",
          "nir": "nbart_nir_1", "nir08": "nbart_nir_2", "swir16": "nbart_swir_2",
          "swir22": "nbart_swir_3"}  # fmt: skip


def _sentinel2(name: str, *, scl: bool) -> Sensor:
    """earth-search (`blue`), Planetary Computer and earth-search v0 (`B02`), CDSE (`B02_10m`)."""
    return Sensor(
        name=name,
        keys={band: (band, native, f"{native}_{size}m") for band, (native, size) in _S2_NATIVE.items()},
        resolution={band: float(size) for band, (_, size) in _S2_NATIVE.items()},
        qa={"scl": ("scl", "SCL", "SCL_20m")} if scl else {},
        scale=1e-4, nodata=0, offset_rule="sentinel-2", beyond=("B10", "cirrus"),
    )  # fmt: skip


def _landsat(name: str, numbers: Mapping[str, int]) -> Sensor:
    """Common names (earth-search, Planetary Computer, landsatlook), `SR_B2`, and the older `SR_B2.TIF`."""
    return Sensor(
        name=name,
        keys={band: (band, f"SR_B{n}", f"SR_B{n}.TIF") for band, n in numbers.items()},
        resolution=dict.fromkeys(numbers, 30.0),
        qa={"qa_pixel": ("qa_pixel", "QA_PIXEL", "QA_PIXEL.TIF"),
            "qa_radsat": ("qa_radsat", "QA_RADSAT", "QA_RADSAT.TIF")},
        scale=2.75e-5, offset=-0.2, nodata=0,
    )  # fmt: skip


def _hls(name: str, natives: Mapping[str, str], beyond: tuple[str, ...]) -> Sensor:
    return Sensor(
        name=name,
        keys={band: (native,) for band, native in natives.items()},
        resolution=dict.fromkeys(natives, 30.0),
        qa={"hls_fmask": ("Fmask",)},
        scale=1e-4, nodata=-9999, beyond=beyond,
    )  # fmt: skip


def _ga(name: str, natives: Mapping[str, str], resolution: Mapping[str, float]) -> Sensor:
    return Sensor(
        name=name,
        keys={band: (native, native.removeprefix("nbart_")) for band, native in natives.items()},
        resolution=resolution,
        qa={"ga_fmask": ("oa_fmask", "fmask")},
        scale=1e-4, nodata=-999, beyond=("nbart_panchromatic",),
    )  # fmt: skip


_GENERIC_BANDS = ("red", "green", "blue", "nir", "coastal", "rededge1", "rededge2", "rededge3", "nir08", "nir09",
                  "swir16", "swir22")  # fmt: skip

#: Every sensor by the name `sensor=` takes.
SENSORS: Mapping[str, Sensor] = MappingProxyType({
    sensor.name: sensor
    for sensor in (
        _sentinel2("sentinel-2-l2a", scl=True),
        _sentinel2("sentinel-2-l1c", scl=False),
        _landsat("landsat-oli-c2-l2", _OLI),
        _landsat("landsat-tm-c2-l2", _TM),
        _hls("hls-s30", {band: native for band, (native, _) in _S2_NATIVE.items()}, ("B10",)),
        _hls("hls-l30", _HLS_L30, ("B09", "B10", "B11")),
        _ga("ga-landsat-ard", _GA_LS, dict.fromkeys(_GA_LS, 30.0)),
        _ga("ga-sentinel-2-ard", _GA_S2, {band: float(_S2_NATIVE[band][1]) for band in _GA_S2}),
        # Imagery described by nothing but the names of its bands.
        Sensor("generic", {band: (band,) for band in _GENERIC_BANDS}, {},
               {"scl": ("scl", "SCL"), "qa_pixel": ("qa_pixel", "QA_PIXEL"), "fmask": ("fmask",),
                "hls_fmask": ("Fmask",), "cloud_mask": ("cloud_mask",)}, offset_rule="metadata"),
    )
})  # fmt: skip

#: Names that stand for a family; the member is read from the platform.
FAMILIES: Mapping[str, str] = MappingProxyType({
    "sentinel-2": "sentinel-2-l2a", "landsat": "landsat-c2-l2", "rgb": "generic", "rgbn": "generic",
    "toa": "sentinel-2-l1c",
})  # fmt: skip

_BY_COLLECTION = tuple((re.compile(pattern, re.IGNORECASE), name) for pattern, name in (
    (r"^(sentinel-?s?-?2|s2)[-_].*l2a", "sentinel-2-l2a"),
    (r"^(sentinel-?s?-?2|s2)[-_].*l1c", "sentinel-2-l1c"),
    (r"^landsat(?=.*c2)(?=.*l2)(?!.*-st$)", "landsat-c2-l2"),
    (r"^ls[45789]_sr$", "landsat-c2-l2"),
    (r"^hls.*s30", "hls-s30"),
    (r"^hls.*l30", "hls-l30"),
    (r"^ga_ls\w*_ard", "ga-landsat-ard"),
    (r"^ga_s2\w*_ard", "ga-sentinel-2-ard"),
))  # fmt: skip
_BY_ID = tuple((re.compile(pattern), name) for pattern, name in (
    (r"^S2[A-D]_.*L2A", "sentinel-2-l2a"),
    (r"^S2[A-D]_.*L1C", "sentinel-2-l1c"),
    (r"^L[COTE]0\d_L2S[PR]_", "landsat-c2-l2"),
    (r"^HLS\.S30\.", "hls-s30"),
    (r"^HLS\.L30\.", "hls-l30"),
    (r"^ga_ls\w*_ard", "ga-landsat-ard"),
    (r"^ga_s2\w*_ard", "ga-sentinel-2-ard"),
))  # fmt: skip


def collection_of(item: pystac.Item) -> str:
    """Name of the collection an item belongs to, or "" where the item does not say."""
    return str(item.collection_id or item.properties.get("odc:product") or "")


def platform_of(item: pystac.Item) -> str:
    """Platform in the spelling of the STAC registry: ``sentinel-2a``, ``landsat-8``."""
    name = item.properties.get("platform") or item.properties.get("eo:platform") or ""
    name = re.sub(r"[_\s]+", "-", str(name).strip().lower())
    if match := re.match(r"^L[COTE]0(\d)_", item.id):
        return f"landsat-{match[1]}"
    if not name and (match := re.match(r"^S2([A-D])_", item.id)):
        return f"sentinel-2{match[1].lower()}"
    return name


def find_sensor(item: pystac.Item, sensor: str | None = None) -> Sensor:
    """Return the sensor of an item: the one given, else by collection, else by the pattern of the id.

    Raises
    ------
    InvalidInputError
        `sensor` is not a known name.
    """
    name = sensor_name(sensor) if sensor is not None else _recognised(item)
    if name == "landsat-c2-l2":
        is_tm = platform_of(item) in {"landsat-4", "landsat-5", "landsat-7"}
        name = "landsat-tm-c2-l2" if is_tm else "landsat-oli-c2-l2"
    return SENSORS[name]


def sensor_name(sensor: str) -> str:
    """The name in `SENSORS` (or the family ``landsat-c2-l2``) that `sensor=` means; InvalidInputError if none."""
    name = FAMILIES.get(sensor.lower(), sensor.lower())
    if name not in SENSORS and name != "landsat-c2-l2":
        known = ", ".join(sorted({*SENSORS, *FAMILIES, "landsat-c2-l2"}))
        raise InvalidInputError(f"sensor={sensor!r} is not known. Known sensors: {known}.")
    return name


def _recognised(item: pystac.Item) -> str:
    collection = collection_of(item)
    for names, table in ((collection, _BY_COLLECTION), (item.id, _BY_ID)):
        for pattern, name in table:
            if pattern.search(names):
                return name
    return {"S2MSI2A": "sentinel-2-l2a", "S2MSI1C": "sentinel-2-l1c"}.get(
        str(item.properties.get("s2:product_type")), "generic"
    )
