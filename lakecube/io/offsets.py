"""The radiometric offset of an item: the rule that reads the metadata, and the audit that reads the numbers.

Since processing baseline 04.00 Sentinel-2 stores ``reflectance * 10000 + 1000``. Some archives take the 1000 off
again and some say so wrongly (earth-search#66, #71, cirrus-earth-search#33): water is darkest and suffers most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pystac

from lakecube.errors import InvalidInputError
from lakecube.io.records import ItemRecord

#: `BOA_ADD_OFFSET` and `RADIO_ADD_OFFSET` of baseline 04.00 and later, in reflectance.
BASELINE_4_OFFSET = -0.1
#: From this day on every new Sentinel-2 product has baseline 04.00 or later.
BASELINE_4_DATE = np.datetime64("2022-01-25")

_BASELINE_KEYS = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_PRODUCT_KEYS = ("s2:product_uri", "sentinel:product_id", "s2:datatake_id", "s2:granule_id", "s2:tile_id")
_FLAG_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


@dataclass(frozen=True, slots=True)
class OffsetChoice:
    """An offset in reflectance, the rule that gave it, and how sure that rule is (0 to 1)."""

    offset: float
    source: str
    confidence: float


@dataclass(frozen=True, slots=True)
class OffsetAudit:
    """What the numbers of an item say of its offset.

    `offset` is the offset the numbers ask for; where they say nothing, the one on record. `conflict` is True only
    when strong evidence contradicts the record. `evidence` is one sentence.
    """

    offset: float
    confidence: float
    evidence: str
    conflict: bool


def processing_baseline(item: pystac.Item) -> str:
    """Return the processing baseline of a Sentinel-2 item as ``NN.NN``, or "" where nothing tells it."""
    for key in _BASELINE_KEYS:
        if match := re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", str(item.properties.get(key, "")).strip()):
            return f"{int(match[1]):02d}.{match[2]}"
    for text in (*(str(item.properties.get(key, "")) for key in _PRODUCT_KEYS), item.id):
        if match := re.search(r"_N(\d{2})\.?(\d{2})(?=_|\.SAFE|$)", text):
            return f"{match[1]}.{match[2]}"
    return ""


def sentinel2_offset(item: pystac.Item, declared: float | None) -> OffsetChoice:
    """Offset of a Sentinel-2 item by its baseline and the `boa_offset_applied` flag, never by `declared` alone.

    Parameters
    ----------
    item : pystac.Item
    declared : float or None
        Offset that `raster:bands` lists. It is known to be wrong wherever the flag is true, so it speaks only
        when the baseline is unknown; otherwise its agreement raises the confidence.

    Returns
    -------
    OffsetChoice
        `source` is "baseline", "boa_offset_applied", "raster:bands" or, when no rule could speak, "unknown"
        (then before 2022-01-25 the offset is 0, though a reprocessed product would carry one).
    """
    baseline = processing_baseline(item)
    flag = next((item.properties[key] for key in _FLAG_KEYS if key in item.properties), None)
    applied = flag is True or str(flag).lower() == "true"
    if baseline and float(baseline) < 4:
        return OffsetChoice(0.0, "baseline", 1.0 if not declared else 0.9)
    if applied:
        return OffsetChoice(0.0, "boa_offset_applied", 0.9 if baseline else 0.8)
    if baseline:
        # A false flag is less sure than none: items are known that say false and hold corrected numbers.
        return OffsetChoice(BASELINE_4_OFFSET, "baseline", 0.8 if flag is not None else 1.0 if declared else 0.9)
    if declared is not None:
        return OffsetChoice(declared, "raster:bands", 0.6)
    recent = item.datetime is not None and np.datetime64(item.datetime.replace(tzinfo=None)) >= BASELINE_4_DATE
    return OffsetChoice(BASELINE_4_OFFSET, "unknown", 0.5) if recent else OffsetChoice(0.0, "unknown", 0.3)


def user_offset(offset: str | float | Mapping[str, float], item_id: str) -> float | None:
    """Return the offset a user gave for an item, or None where the metadata rule is to be used.

    Raises
    ------
    InvalidInputError
        Neither "metadata", "audit", a number nor a mapping of numbers; or digital numbers instead of reflectance.
    """
    if isinstance(offset, str):
        if offset not in {"metadata", "audit"}:
            raise InvalidInputError(
                f"offset={offset!r} is not known. Use 'metadata', 'audit', a number in reflectance such as -0.1, "
                "or a mapping of item id to number."
            )
        return None
    value = offset.get(item_id) if isinstance(offset, Mapping) else offset
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise InvalidInputError(f"The offset of item {item_id!r} must be a finite number, got {value!r}.")
    if abs(value) > 1:
        raise InvalidInputError(
            f"offset={value!r} is in digital numbers; offsets are in reflectance. "
            f"For Sentinel-2 write {value / 10_000:g} instead."
        )
    return float(value)


#: Bands in which water, shadow and dense forest are dark, the darkest first.
_DARK_BANDS = ("swir22", "swir16", "nir08", "nir", "nir09", "rededge1", "red")
_NIR, _SWIR = {"nir", "nir08"}, {"swir16", "swir22"}
_MIN_SAMPLE = 500  # valid numbers without which nothing is concluded
_NOISE = 100  # digital numbers by which a stored value may lie under the added 1000: over-corrected dark pixels
_STRAY_SHARE = 0.001  # share of numbers under the floor that noise and defects explain
_STRONG_SHARE = 0.01  # share that only a floor at zero explains


def audit_offset(dn_sample_by_band: Mapping[str, np.ndarray], record: ItemRecord) -> OffsetAudit:
    """Judge from a sample of raw digital numbers whether the 1000 of baseline 04.00 is still in them.

    Numbers that carry it hardly ever lie below ``1000 - noise``: dark water and shadow stand on a floor there.
    Many numbers far below prove that it is not in them. That it is in them is harder to prove, since a scene of
    cloud, snow or sand has no dark number either way: it takes a cluster that stands at 1000, and nothing below, in
    the near *and* the short-wave infrared, as only water and shadow make.

    Parameters
    ----------
    dn_sample_by_band : mapping of str to (n,) integer arrays
        A fixed, item-wide sample for each band. Nodata and saturated numbers are ignored.
    record : ItemRecord
        Its `bands` tell scale, offset and nodata.

    Returns
    -------
    OffsetAudit
        For sensors other than Sentinel-2 always the offset on record, without conflict.

    Notes
    -----
    Pure and deterministic: the answer depends on the sample alone.
    """
    bands = [band for band in _DARK_BANDS if band in dn_sample_by_band and band in record.bands]
    current = next((record.bands[band].offset for band in (*bands, *record.bands)), 0.0)
    if not record.sensor.startswith("sentinel-2"):
        return OffsetAudit(current, 0.0, "no audit is defined for this sensor", False)
    samples = {band: _valid(dn_sample_by_band[band], record.bands[band].nodata) for band in bands}
    samples = {band: values for band, values in samples.items() if values.size >= _MIN_SAMPLE}
    if not samples:
        return OffsetAudit(current, 0.0, "too few valid numbers in the dark bands", False)
    offset, confidence, evidence = _floor(samples)
    if offset is None:
        return OffsetAudit(current, 0.0, evidence, False)
    differs = not math.isclose(offset, current, abs_tol=1e-3)
    return OffsetAudit(offset, confidence, evidence, differs and confidence >= 0.9)


def _valid(values: np.ndarray, nodata: float | None) -> np.ndarray:
    values = np.asarray(values).ravel()
    keep = (values > 0) & (values < 65535)  # 0 and 65535 are nodata and saturation of every Sentinel-2 product
    if nodata is not None:
        keep &= values != nodata
    return values[keep].astype(np.int64)


def _floor(samples: Mapping[str, np.ndarray]) -> tuple[float | None, float, str]:
    """Offset, confidence and evidence: from numbers under the floor if there are any, else from what stands on it."""
    floor = round(-BASELINE_4_OFFSET * 10_000) - _NOISE
    shares = {band: float(np.mean(values < floor)) for band, values in samples.items()}
    band = max(shares, key=lambda name: shares[name])
    seen = f"{shares[band]:.2%} of the numbers in {band} lie below {floor}"
    if shares[band] >= _STRONG_SHARE:
        return 0.0, 0.99 if shares[band] >= 5 * _STRONG_SHARE else 0.9, seen
    if shares[band] > _STRAY_SHARE:
        return None, 0.0, f"{seen}: too many for a floor at 1000, too few for one at 0"
    cluster = {band: _stands_on(values, floor) for band, values in samples.items()}
    on_floor = [name for name, stands in cluster.items() if stands]
    low = {name: float(np.percentile(values, 1)) for name, values in samples.items()}
    darkest = min(low, key=lambda name: low[name])
    if set(on_floor) & _NIR and set(on_floor) & _SWIR:
        return BASELINE_4_OFFSET, 0.95, f"{seen}, while dark ground stands at 1000 in {' and '.join(on_floor)}"
    if on_floor or low[darkest] < 1200:
        return BASELINE_4_OFFSET, 0.6, f"{seen}, and the first percentile of {darkest} is {low[darkest]:.0f}"
    return None, 0.0, f"{seen}, and nothing dark is in view (first percentile of {darkest} is {low[darkest]:.0f})"


def _stands_on(values: np.ndarray, floor: int) -> bool:
    """Whether a cluster sits on the floor: thinner above, as over dark water; a tail of land grows denser instead."""
    here = float(np.mean((values >= floor) & (values < floor + 3 * _NOISE)))
    above = float(np.mean((values >= floor + 3 * _NOISE) & (values < floor + 6 * _NOISE)))
    return here >= _STRONG_SHARE and here > above
