"""STAC items as the real collections declare them: names of assets, scale and offset, grids, identities."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

from lakecube.errors import InvalidInputError
from lakecube.synthetic.spectra import RESOLUTION

#: Sentinel-2 name, centre and width (micrometre) of every band.
S2_BANDS = MappingProxyType({
    "coastal": ("B01", 0.443, 0.027), "blue": ("B02", 0.49, 0.098), "green": ("B03", 0.56, 0.045),
    "red": ("B04", 0.665, 0.038), "rededge1": ("B05", 0.704, 0.019), "rededge2": ("B06", 0.74, 0.018),
    "rededge3": ("B07", 0.783, 0.028), "nir": ("B08", 0.842, 0.145), "nir08": ("B8A", 0.865, 0.033),
    "nir09": ("B09", 0.945, 0.026), "swir16": ("B11", 1.61, 0.143), "swir22": ("B12", 2.19, 0.242),
})  # fmt: skip
#: Landsat OLI name and centre of the bands it shares.
OLI_BANDS = MappingProxyType({
    "coastal": ("B1", 0.44), "blue": ("B2", 0.48), "green": ("B3", 0.56), "red": ("B4", 0.65),
    "nir08": ("B5", 0.86), "swir16": ("B6", 1.6), "swir22": ("B7", 2.2),
})  # fmt: skip
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS = ("eo/v1.1.0", "grid/v1.1.0", "projection/v2.0.0", "raster/v1.1.0", "view/v1.0.0")
LANDSAT_SCALE, LANDSAT_OFFSET = 2.75e-05, -0.2


@dataclass(frozen=True)
class Tile:
    """One MGRS-like tile of the archive: columns of the canvas (multiples of 6 pixels) and its grid code."""

    code: str
    start: int
    stop: int  #: exclusive; the last tile ends at the canvas


@dataclass(frozen=True)
class Style:
    """How a collection numbers and names: key of each asset, pixel of the mask, collection id."""

    name: str
    collection: str
    assets: MappingProxyType[str, str]  #: band to asset key
    pixel: MappingProxyType[str, int]  #: band to metres
    mask: str
    mask_pixel: int
    truth_factor: int  #: 10 m pixels in a pixel of the finest band


_S2_KEYS = {band: row[0] for band, row in S2_BANDS.items()}
STYLES = MappingProxyType({
    "earth-search-v1": Style("earth-search-v1", "sentinel-2-l2a", MappingProxyType({b: b for b in S2_BANDS}),
                             RESOLUTION, "scl", 20, 1),
    "planetary-computer": Style("planetary-computer", "sentinel-2-l2a", MappingProxyType(_S2_KEYS),
                                RESOLUTION, "SCL", 20, 1),
    "landsat-c2": Style("landsat-c2", "landsat-c2-l2", MappingProxyType({b: b for b in OLI_BANDS}),
                        MappingProxyType(dict.fromkeys(OLI_BANDS, 30)), "qa_pixel", 30, 3),
})  # fmt: skip


def named_style(name: str) -> Style:
    """Return the style called `name`."""
    if name not in STYLES:
        raise InvalidInputError(f"style is {name!r}; known styles are {', '.join(STYLES)}")
    return STYLES[name]


def mgrs_code(crs: str, x: float, y: float) -> str:
    """100 km square of a UTM coordinate, as in 48RWQ; "00XXX" outside UTM."""
    zone_name = CRS.from_user_input(crs).utm_zone
    if zone_name is None:
        return "00XXX"
    zone = int(zone_name[:-1])
    _, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    band = "CDEFGHJKLMNPQRSTUVWXX"[int(np.clip((latitude + 80) // 8, 0, 20))]
    column = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")[(zone - 1) % 3][(int(x // 100000) - 1) % 8]
    row = "ABCDEFGHJKLMNPQRSTUV"[(int(y // 100000) + (0 if zone % 2 else 5)) % 20]
    return f"{zone:02d}{band}{column}{row}"


def adds_offset(baseline: str) -> bool:
    """Say whether numbers of this processing baseline carry the offset of 1000 when they leave the processor."""
    return float(baseline) >= 4


@dataclass(frozen=True)
class ItemFacts:
    """What an item tells besides its grid."""

    day: np.datetime64
    time: np.datetime64
    tile: Tile
    baseline: str
    offset_applied: bool
    cloud_cover: float
    nodata: float
    sun: tuple[float, float]

    @property
    def platform(self) -> str:
        """2A and 2B (8 and 9) in turn, every five days."""
        return "ab"[int(self.day.astype("int64")) // 5 % 2]

    @property
    def stamp(self) -> str:
        """Acquisition time as product names write it."""
        return str(self.time.astype("datetime64[s]")).replace("-", "").replace(":", "")

    def name(self, style: Style) -> str:
        """Item id."""
        compact, letter = str(self.day).replace("-", ""), self.platform.upper()
        if style.name == "landsat-c2":
            return f"LC0{8 + (letter == 'B')}_L2SP_{self.path_row}_{compact}_{compact}_02_T1"
        if style.name == "planetary-computer":
            return f"S2{letter}_MSIL2A_{self.stamp}_R018_T{self.tile.code}_{self.made}"
        return f"S2{letter}_{self.tile.code}_{compact}_0_L2A"

    @property
    def made(self) -> str:
        """Production time: two hours after the acquisition, later for later baselines."""
        later = np.timedelta64(120 + int(100 * float(self.baseline)), "m")
        return str((self.time + later).astype("datetime64[s]")).replace("-", "").replace(":", "")

    @property
    def path_row(self) -> str:
        """Landsat path and row; neighbouring tiles are taken for neighbouring rows."""
        return f"127{41 + (self.tile.start > 0):03d}"

    @property
    def product(self) -> str:
        """Name of the SAFE product."""
        number = self.baseline.replace(".", "")
        return (f"S2{self.platform.upper()}_MSIL2A_{self.stamp}_N{number}_R018_T{self.tile.code}"
                f"_{self.made}.SAFE")  # fmt: skip


def _utc(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"


def properties(facts: ItemFacts, style: Style, crs: str) -> dict[str, Any]:
    """Properties of one item."""
    updated = facts.time + np.timedelta64(180 + int(100 * float(facts.baseline)), "m")
    common = {
        "datetime": _utc(facts.time),
        "created": _utc(updated),
        "updated": _utc(updated),
        "eo:cloud_cover": round(100 * facts.cloud_cover, 4),
        "proj:code": crs,
        "view:sun_azimuth": round(facts.sun[0], 6),
        "view:sun_elevation": round(facts.sun[1], 6),
    }
    if style.name == "landsat-c2":
        return common | {
            "platform": f"landsat-{8 + (facts.platform == 'b')}", "instruments": ["oli", "tirs"], "gsd": 30,
            "landsat:correction": "L2SP", "landsat:collection_category": "T1", "landsat:collection_number": "02",
            "landsat:wrs_type": "2", "landsat:wrs_path": facts.path_row[:3], "landsat:wrs_row": facts.path_row[3:],
        }  # fmt: skip
    common |= {
        "constellation": "sentinel-2", "instruments": ["msi"], "s2:processing_baseline": facts.baseline,
        "s2:product_uri": facts.product, "s2:product_type": "S2MSI2A",
        "s2:datatake_id": f"GS2{facts.platform.upper()}_{facts.stamp}_0{facts.stamp[2:7]}_N{facts.baseline}",
        "s2:nodata_pixel_percentage": round(100 * facts.nodata, 6),
    }  # fmt: skip
    if style.name == "planetary-computer":
        tile = {"s2:mgrs_tile": facts.tile.code, "s2:generation_time": _utc(updated)}
        return common | tile | {"platform": f"Sentinel-2{facts.platform.upper()}", "constellation": "Sentinel 2"}
    return common | {
        "platform": f"sentinel-2{facts.platform}", "grid:code": f"MGRS-{facts.tile.code}", "s2:sequence": "0",
        "earthsearch:boa_offset_applied": facts.offset_applied,
    }  # fmt: skip


def band_asset(band: str, facts: ItemFacts, style: Style) -> dict[str, Any]:
    """Asset of a reflectance band, without href and grid; offsets as the collections declare them, right or wrong."""
    gsd = style.pixel[band]
    if style.name == "landsat-c2":
        name, centre = OLI_BANDS[band]
        raster = {"nodata": 0, "data_type": "uint16", "spatial_resolution": 30,
                  "scale": LANDSAT_SCALE, "offset": LANDSAT_OFFSET}  # fmt: skip
        eo = {"name": f"OLI_{name}", "common_name": band, "center_wavelength": centre}
        return {"type": COG, "gsd": gsd, "eo:bands": [eo], "raster:bands": [raster], "roles": ["data", "reflectance"]}
    name, centre, width = S2_BANDS[band]
    eo = {"name": name, "common_name": _common_name(band), "center_wavelength": centre, "full_width_half_max": width}
    asset = {"type": COG, "title": f"{name} - {gsd}m", "gsd": gsd, "eo:bands": [eo], "roles": ["data", "reflectance"]}
    if style.name == "earth-search-v1":
        offset = -0.1 if adds_offset(facts.baseline) else 0
        asset["raster:bands"] = [{"nodata": 0, "data_type": "uint16", "spatial_resolution": gsd,
                                  "scale": 0.0001, "offset": offset}]  # fmt: skip
    return asset


def _common_name(band: str) -> str:
    return "rededge" if band.startswith("rededge") else band


def mask_asset(style: Style) -> dict[str, Any]:
    """Asset of the quality layer, without href and grid."""
    if style.name == "landsat-c2":
        raster = {"nodata": 1, "data_type": "uint16", "spatial_resolution": 30}
        return {"type": COG, "title": "Pixel Quality Assessment Band", "raster:bands": [raster],
                "roles": ["cloud", "cloud-shadow", "snow-ice", "water-mask"]}  # fmt: skip
    raster = {"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}
    return {"type": COG, "title": "Scene classification map (SCL)", "gsd": 20, "raster:bands": [raster],
            "roles": ["data"]}  # fmt: skip


def item(
    facts: ItemFacts, style: Style, crs: str, bounds: tuple[float, float, float, float], assets: dict[str, Any]
) -> dict[str, Any]:
    """One STAC item around its assets; `bounds` in the CRS (left, bottom, right, top)."""
    left, bottom, right, top = bounds
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corners = [[round(v, 7) for v in to_lonlat.transform(x, y)] for x, y in ring]
    lons, lats = zip(*corners, strict=True)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in _EXTENSIONS],
        "id": facts.name(style),
        "collection": style.collection,
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [min(lons), min(lats), max(lons), max(lats)],
        "properties": properties(facts, style, crs),
        "assets": assets,
        "links": [],
    }
