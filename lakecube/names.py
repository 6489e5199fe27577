"""Every fixed name of lakecube: dims, bands, flag tables and one `VariableSpec` per output.

This is the single source of CF attributes, fill values and STAC classes. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

TIME, Y, X, ITEM, INDEX, YEAR = "time", "y", "x", "item", "index", "year"
#: Dims of a revision: its dates in order, its months, its lakes (whose coordinate is the `lake_id`).
DATE, YEAR_MONTH, LAKE = "date", "year_month", "lake"
SPATIAL_REF = "spatial_ref"

#: STAC common names of the reflectance bands a cube may hold, in spectral order.
BANDS = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3",
    "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip

#: `observation`: one state per pixel. The order of `OBSERVATION_PRIORITY` settles conflicts.
OBSERVATION = MappingProxyType({
    "clear": 0,
    "not_acquired": 1,
    "read_failed": 2,
    "saturated": 3,
    "cloud": 4,
    "cirrus": 5,
    "cloud_shadow": 6,
    "snow_ice": 7,
    "terrain_shadow": 8,
    "clear_cloud_unknown": 9,
    "cloud_adjacent": 10,
    "unclassified": 11,
})  # fmt: skip

#: From the state that wins over all others to the one that yields to all others.
OBSERVATION_PRIORITY = (
    "not_acquired", "read_failed", "saturated", "cloud", "cirrus", "cloud_shadow", "snow_ice",
    "cloud_adjacent", "terrain_shadow", "unclassified", "clear_cloud_unknown", "clear",
)  # fmt: skip

#: States in which the ground was seen well enough to be judged land or water.
JUDGED = frozenset({"clear", "clear_cloud_unknown", "terrain_shadow", "unclassified"})

#: `water_mask`.
LAND, WATER, UNKNOWN = 0, 1, 255
WATER_MASK = MappingProxyType({"land": LAND, "water": WATER, "unknown": UNKNOWN})

#: `rules_fired`: bit of every removal rule, set wherever the rule held, whatever was decided; of an index or a
#: network's probability below its threshold; of neighbours, a superpixel or a CRF that say land. Bits 8 and 9 are
#: reserved.
RULE_BITS = MappingProxyType({
    "ndvi": 0,
    "ndbi": 1,
    "ndrei": 2,
    "nir": 3,
    "nir09": 4,
    "slope": 5,
    "mndwi_below": 6,
    "awei_sh_below": 7,
    "neighbours": 10,
    "low_probability": 11,
    "superpixel": 12,
    "crf": 13,
})  # fmt: skip

#: `reason`: 0 for water; 1-19 the observation state that made a pixel unknown; 20-39 why it is land.
#: 254: judged by nobody because a band the method needs was invalid there; 255: never written.
LAND_REASONS = MappingProxyType({
    "index_below_threshold": 20,
    "ndvi": 21,
    "ndbi": 22,
    "ndrei": 23,
    "nir": 24,
    "nir09": 25,
    "slope": 26,
    "neighbours": 29,
    "weak_evidence": 30,
    "low_probability": 31,
    "superpixel": 32,
    "crf": 33,
})  # fmt: skip
NO_VALID_BANDS, NOT_PROCESSED = 254, 255
REASON = MappingProxyType({
    "water": 0,
    **{name: code for name, code in OBSERVATION.items() if name not in JUDGED},
    **LAND_REASONS,
    "no_valid_bands": NO_VALID_BANDS,
    "not_processed": NOT_PROCESSED,
})  # fmt: skip

#: `threshold_source`: what chose a threshold.
THRESHOLD_SOURCE = MappingProxyType({
    "fixed": 0, "otsu": 1, "bimodal_tiles": 2, "fallback_unimodal": 3, "fallback_class_share": 4,
    "clipped_to_bounds": 5, "given": 6, "no_data": 255,
})  # fmt: skip

#: `month_state`: what was seen of a pixel in one month of one year.
MONTH_STATE = MappingProxyType({"unobserved": 0, "land": 1, "water": 2, "both": 3})

#: `water_transition`: from the first to the last year, coded as by JRC Global Surface Water.
TRANSITION = MappingProxyType({
    "not_water": 0, "permanent": 1, "new_permanent": 2, "lost_permanent": 3, "seasonal": 4, "new_seasonal": 5,
    "lost_seasonal": 6, "seasonal_to_permanent": 7, "permanent_to_seasonal": 8, "ephemeral_permanent": 9,
    "ephemeral_seasonal": 10, "unknown": UNKNOWN,
})  # fmt: skip

#: `water_restored`: what was inferred where `water_mask` is unknown.
RESTORED = MappingProxyType({"land": LAND, "water": WATER, "not_restored": UNKNOWN})

#: `kind` of a lake; nothing is deleted for being another kind.
LAKE_KIND = MappingProxyType({"lake": 0, "river": 1, "too_small": 2})

#: `size_class` of a lake by its largest extent: below 0.1, to 1, and above 1 km².
SIZE_CLASS = MappingProxyType({"small": 0, "medium": 1, "large": 2})
_NO_YES = MappingProxyType({"no": 0, "yes": 1})


_MASK_COLOURS = MappingProxyType({"land": "efe6cf", "water": "0b559f", "unknown": "b8b8b8"})

#: Colours (RRGGBB) of flags, in maps, files and STAC classes. Those of `water_transition` can be told apart without
#: telling red from green, unlike JRC's.
COLOURS = MappingProxyType({
    "water_mask": _MASK_COLOURS,
    "water_extent": _MASK_COLOURS,
    "water_transition": MappingProxyType({
        "not_water": "ffffff", "permanent": "0b559f", "new_permanent": "56b4e9", "lost_permanent": "b2182b",
        "seasonal": "009e73", "new_seasonal": "80e5c0", "lost_seasonal": "e69f00", "seasonal_to_permanent": "5b3a8c",
        "permanent_to_seasonal": "cc79a7", "ephemeral_permanent": "6b4f2a", "ephemeral_seasonal": "c9b18a",
        "unknown": "b8b8b8",
    }),
    "reason": MappingProxyType({
        "water": "0b559f", "not_acquired": "f2f2f2", "read_failed": "e41a1c", "saturated": "ff69b4", "cloud": "d9d9d9",
        "cirrus": "cfd8dc", "cloud_shadow": "5a5a5a", "snow_ice": "b3e5fc", "cloud_adjacent": "a6a6a6",
        "index_below_threshold": "efe6cf", "ndvi": "66a61e", "ndbi": "d95f02", "ndrei": "a6761d", "nir": "e6ab02",
        "nir09": "c9a227", "slope": "8c564b", "neighbours": "7570b3", "weak_evidence": "e7298a",
        "low_probability": "f4cae4", "superpixel": "b3de69", "crf": "80b1d3",
        "no_valid_bands": "999999", "not_processed": "ffffff",
    }),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """One output variable: its dims, dtype, fill value and CF attributes.

    Parameters
    ----------
    name, dims, dtype, long_name
        As stored.
    units : str or None
        CF units; None for flags.
    fill : number
        Value of what was never written (Zarr ``fill_value``; never CF ``_FillValue``).
    flags : mapping or None
        Name to value (``flag_values``) or, with `masks`, name to bit (``flag_masks``).
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    long_name: str
    units: str | None = None
    fill: float = 0
    flags: MappingProxyType[str, int] | None = None
    masks: bool = False
    extra: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def nodata(self) -> float | None:
        """What a raster file declares as no data: NaN, the code of unknown, no lake; counts and bits have none."""
        if self.dtype.startswith("float"):
            return float("nan")
        if self.dtype == "uint8":
            return self.fill if self.fill == UNKNOWN else None
        return 0 if self.name == "lake_label" else None

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes, with flag tables as arrays of the variable's own dtype."""
        attrs: dict[str, Any] = {"long_name": self.long_name, **self.extra}
        if self.units is not None:
            attrs["units"] = self.units
        if self.flags is not None:
            values = [1 << v for v in self.flags.values()] if self.masks else list(self.flags.values())
            attrs["flag_masks" if self.masks else "flag_values"] = np.asarray(values, self.dtype)
            attrs["flag_meanings"] = " ".join(self.flags)
        if self.dims[-2:] == (Y, X):
            attrs["grid_mapping"] = SPATIAL_REF
        return attrs


def _spec(
    name: str, dims: tuple[str, ...], dtype: str, long_name: str, units: str | None = None, *,
    extra: dict[str, str] | None = None, **kw: Any,
) -> VariableSpec:  # fmt: skip
    return VariableSpec(name, dims, dtype, long_name, units, extra=MappingProxyType(extra or {}), **kw)


_TYX, _YX, _TI = (TIME, Y, X), (Y, X), (TIME, INDEX)
_DYX, _L, _LD = (DATE, Y, X), (LAKE,), (LAKE, DATE)
_NAN = float("nan")
_BOUNDS = {
    "ancillary_variables": "lake_area_observed lake_area_lower lake_area_upper lake_area_q05 lake_area_q95 "
    "lake_observed_fraction"
}
_MEAN = {"cell_methods": "time: mean", "ancillary_variables": "count_wet count_clear"}

#: Every variable lakecube writes or returns, by name.
VARIABLES = MappingProxyType({
    spec.name: spec
    for spec in (
        _spec("observation", _TYX, "uint8", "state of the observation", fill=1, flags=OBSERVATION),
        _spec("water_mask", _TYX, "uint8", "surface water", fill=UNKNOWN, flags=WATER_MASK,
              extra={"ancillary_variables": "reason rules_fired"}),
        _spec("reason", _TYX, "uint8", "why unknown, or the decisive ground for land",
              fill=NOT_PROCESSED, flags=REASON),
        _spec("rules_fired", _TYX, "uint16", "rules, indices and neighbours that spoke against water",
              flags=RULE_BITS, masks=True),
        _spec("water_probability", _TYX, "float32", "probability of water", "1", fill=float("nan")),
        _spec("threshold", _TI, "float32", "threshold applied to the water index", "1", fill=float("nan")),
        _spec("threshold_source", _TI, "uint8", "what chose the threshold", fill=255, flags=THRESHOLD_SOURCE),
        _spec("count_wet", _YX, "uint32", "number of observed wet dates", "1"),
        _spec("count_clear", _YX, "uint32", "number of observed clear dates", "1"),
        _spec("water_frequency", _YX, "float32", "share of clear dates that are wet", "1",
              fill=float("nan"), extra=_MEAN),
        _spec("count_wet_year", (YEAR, Y, X), "uint16", "observed wet dates of the year", "1"),
        _spec("count_clear_year", (YEAR, Y, X), "uint16", "observed clear dates of the year", "1"),
        _spec("water_frequency_year", (YEAR, Y, X), "float32", "share of the year's clear dates that are wet",
              "1", fill=float("nan"), extra={"ancillary_variables": "count_wet_year count_clear_year"}),
        _spec("elevation", _YX, "float32", "elevation above the datum of the DEM", "m", fill=float("nan"),
              extra={"standard_name": "surface_altitude"}),
        _spec("slope", _YX, "float32", "slope of the terrain (Horn)", "degree", fill=float("nan")),
        _spec("month_state", (YEAR_MONTH, Y, X), "uint8", "land and water seen in the month", flags=MONTH_STATE),
        _spec("water_occurrence", _YX, "float32", "mean over calendar months of the share of years with water", "1",
              fill=_NAN),
        _spec("water_recurrence", _YX, "float32", "share of years with water among years seen in the water season",
              "1", fill=_NAN),
        _spec("water_seasonality", _YX, "uint8", "months of the year with water, 12 permanent, 255 unknown",
              "1", fill=UNKNOWN),
        _spec("water_change", _YX, "float32", "mean difference of the occurrence of homologous months", "percent",
              fill=_NAN),
        _spec("water_transition", _YX, "uint8", "change of the class of water", fill=UNKNOWN, flags=TRANSITION),
        _spec("water_extent", _YX, "uint8", "maximum extent of water", fill=UNKNOWN, flags=WATER_MASK),
        _spec("water_restored", _DYX, "uint8", "surface water inferred where it was not seen", fill=UNKNOWN,
              flags=RESTORED),
        _spec("lake_label", _YX, "int64", "lake_id of the water body that the pixel is part of, 0 outside"),
        _spec("lake_area", _LD, "float64", "area of water, seen and inferred", "m2", fill=_NAN, extra=_BOUNDS),
        _spec("lake_area_observed", _LD, "float64", "area of water that was seen", "m2", fill=_NAN),
        _spec("lake_area_lower", _LD, "float64", "area if nothing that was hidden is water", "m2", fill=_NAN),
        _spec("lake_area_upper", _LD, "float64", "area if all that was hidden is water", "m2", fill=_NAN),
        _spec("lake_area_q05", _LD, "float64", "calibrated 5 % quantile of the area", "m2", fill=_NAN),
        _spec("lake_area_q95", _LD, "float64", "calibrated 95 % quantile of the area", "m2", fill=_NAN),
        _spec("lake_observed_fraction", _LD, "float64", "share of the lake's largest extent that was seen", "1",
              fill=_NAN),
        _spec("longitude", _L, "float64", "longitude of the centre of the lake", "degrees_east", fill=_NAN,
              extra={"standard_name": "longitude"}),
        _spec("latitude", _L, "float64", "latitude of the centre of the lake", "degrees_north", fill=_NAN,
              extra={"standard_name": "latitude"}),
        _spec("max_area", _L, "float64", "area of the largest extent", "m2", fill=_NAN),
        _spec("perimeter", _L, "float64", "length of the edges of the largest extent, along pixel edges", "m",
              fill=_NAN),
        _spec("shape_index", _L, "float64", "perimeter / (4 · √area): 1 for a square", "1", fill=_NAN),
        _spec("size_class", _L, "uint8", "class of the largest area", fill=255, flags=SIZE_CLASS),
        _spec("kind", _L, "uint8", "kind of water body, by shape and size", fill=255, flags=LAKE_KIND),
        _spec("touches_edge", _L, "uint8", "whether the water body reaches the edge of the data", fill=255,
              flags=_NO_YES),
        _spec("provisional", _L, "uint8", "whether it is water outside the reference extent", fill=255,
              flags=_NO_YES),
        _spec("elevation_min", _L, "float32", "lowest elevation in the largest extent", "m", fill=_NAN),
        _spec("elevation_max", _L, "float32", "highest elevation in the largest extent", "m", fill=_NAN),
    )
})  # fmt: skip
