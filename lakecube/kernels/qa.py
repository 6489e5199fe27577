"""From the quality layers of each product to the states of `observation`: look-up tables only.

Every decoder takes an integer array of any shape and returns uint8 of the same shape, in O(n); no value is
ever undefined: what a table does not know is `unclassified`, what cannot be a value at all is `not_acquired`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from lakecube.names import OBSERVATION, OBSERVATION_PRIORITY

#: States of an SCL class (Sentinel-2 L2A). Class 2 is a flag and not a mask: dark water lands in it.
SCL_STATES = {
    0: "not_acquired",
    1: "saturated",
    2: "terrain_shadow",
    3: "cloud_shadow",
    4: "clear",
    5: "clear",
    6: "clear",
    7: "unclassified",
    8: "cloud",
    9: "cloud",
    10: "cirrus",
    11: "snow_ice",
}
#: States of an Fmask class of Geoscience Australia: no data, clear, cloud, shadow, snow, water.
GA_FMASK_STATES = {0: "not_acquired", 1: "clear", 2: "cloud", 3: "cloud_shadow", 4: "snow_ice", 5: "clear"}
#: States of a cloud mask with one class.
CLOUD_MASK_STATES = {0: "clear", 1: "cloud", 255: "not_acquired"}

#: States of the bits of Landsat QA_PIXEL. Bit 2 is cirrus on OLI and unused on TM and ETM+.
QA_PIXEL_BITS = {0: "not_acquired", 1: "cloud_adjacent", 3: "cloud", 4: "cloud_shadow", 5: "snow_ice"}
_QA_PIXEL_CIRRUS, _QA_PIXEL_CLEAR = 2, 6
#: States of the bits of HLS Fmask. Bit 0 (cirrus) is reserved since version 2 and 0 there.
HLS_FMASK_BITS = {0: "cirrus", 1: "cloud", 2: "cloud_adjacent", 3: "cloud_shadow", 4: "snow_ice"}
#: The same bits in the layout of Fmask without the cirrus bit.
FMASK_BITS = {bit: state for bit, state in HLS_FMASK_BITS.items() if bit > 0}
#: Saturation of a reflectance band; the thermal bands (5 and 8 on TM and ETM+) do not count.
_RADSAT_OLI = {**dict.fromkeys(range(7), "saturated"), 11: "terrain_shadow"}
_RADSAT_TM = {**dict.fromkeys((0, 1, 2, 3, 4, 6), "saturated"), 9: "saturated"}  # bit 9: dropped pixel


def decode(kind: str, numbers: np.ndarray, sensor: str = "") -> np.ndarray:
    """Decode a quality layer by its kind (`QAKind`); `sensor` tells OLI from TM where bits differ.

    Complexity O(n).
    """
    is_tm = sensor == "landsat-tm-c2-l2"
    if kind == "qa_pixel":
        return decode_qa_pixel(numbers, has_cirrus=not is_tm)
    if kind == "qa_radsat":
        return decode_qa_radsat(numbers, is_oli=not is_tm)
    decoders = {
        "scl": decode_scl,
        "fmask": decode_fmask,
        "hls_fmask": decode_hls_fmask,
        "ga_fmask": decode_ga_fmask,
        "cloud_mask": decode_cloud_mask,
    }
    if kind not in decoders:
        raise ValueError(f"unknown quality layer {kind!r}; known: qa_pixel, qa_radsat, {', '.join(decoders)}")
    return decoders[kind](numbers)


def decode_scl(classes: np.ndarray) -> np.ndarray:
    """Decode the Sentinel-2 scene classification; unknown classes are `unclassified`. Complexity O(n)."""
    return _look_up(_class_table("scl"), classes)


def decode_ga_fmask(classes: np.ndarray) -> np.ndarray:
    """Decode the Fmask classes of Geoscience Australia (1 clear, 2 cloud, …). Complexity O(n)."""
    return _look_up(_class_table("ga_fmask"), classes)


def decode_cloud_mask(classes: np.ndarray) -> np.ndarray:
    """Decode a mask in which 1 is cloud, 0 clear and 255 no data. Complexity O(n)."""
    return _look_up(_class_table("cloud_mask"), classes)


def decode_qa_pixel(bits: np.ndarray, *, has_cirrus: bool = True) -> np.ndarray:
    """Decode Landsat Collection 2 QA_PIXEL (uint16).

    The state of highest priority among the bits that are set; with none set, `clear` if the clear bit is,
    else `unclassified`. Complexity O(n).
    """
    return _look_up(_qa_pixel_table(has_cirrus), bits)


def decode_qa_radsat(bits: np.ndarray, *, is_oli: bool = True) -> np.ndarray:
    """Decode Landsat Collection 2 QA_RADSAT (uint16): saturation of reflectance bands, terrain, dropped pixels.

    Thermal and cirrus bands do not count. It knows nothing of no data: combine it with QA_PIXEL by `worst`.
    Complexity O(n).
    """
    return _look_up(_radsat_table(is_oli), bits)


def decode_hls_fmask(bits: np.ndarray) -> np.ndarray:
    """Decode the Fmask of HLS 2.0 (uint8): 255 is no data, water and aerosol bits say nothing. Complexity O(n)."""
    return _look_up(_hls_table(), bits)


def decode_fmask(bits: np.ndarray) -> np.ndarray:
    """Decode Fmask bits 1 cloud, 2 adjacent, 3 shadow, 4 snow; 255 is no data. Complexity O(n)."""
    return _look_up(_fmask_table(), bits)


def worst(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Combine two arrays of states (uint8, same shape): at each pixel the one of higher priority. Complexity O(n)."""
    pairs = np.left_shift(a, 4, dtype=np.uint8)
    np.bitwise_or(pairs, b, out=pairs)
    return _worst_table()[pairs]


def _look_up(table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Table value of every number; a number outside the table is `not_acquired`."""
    numbers = np.asarray(numbers)
    if numbers.dtype.kind not in "iub":
        raise TypeError(f"a quality layer holds integers, got {numbers.dtype}")
    if numbers.dtype.kind == "u" and np.iinfo(numbers.dtype).max < table.size:
        return table[numbers]
    inside = (numbers >= 0) & (numbers < table.size)
    return np.where(inside, table[np.where(inside, numbers, 0).astype(np.intp)], np.uint8(OBSERVATION["not_acquired"]))


@cache
def _class_table(kind: str) -> np.ndarray:
    classes = {"scl": SCL_STATES, "ga_fmask": GA_FMASK_STATES, "cloud_mask": CLOUD_MASK_STATES}[kind]
    table = np.full(256, OBSERVATION["unclassified"], np.uint8)
    for value, state in classes.items():
        table[value] = OBSERVATION[state]
    return _frozen(table)


def _bit_table(size: int, bits: dict[int, str], start: np.ndarray | None = None) -> np.ndarray:
    """Table over all numbers below `size`: the state of highest priority among the set bits, else `start`."""
    numbers = np.arange(size)
    table = np.full(size, OBSERVATION["clear"], np.uint8) if start is None else start
    for state in reversed(OBSERVATION_PRIORITY):  # later assignments win
        mask = _mask(bit for bit, name in bits.items() if name == state)
        table[(numbers & mask) != 0] = OBSERVATION[state]
    return table


def _mask(bits: Iterable[int]) -> int:
    return sum(1 << bit for bit in bits)


@cache
def _qa_pixel_table(has_cirrus: bool) -> np.ndarray:
    bits = {**QA_PIXEL_BITS, _QA_PIXEL_CIRRUS: "cirrus"} if has_cirrus else QA_PIXEL_BITS
    judged = (np.arange(65536) & (1 << _QA_PIXEL_CLEAR)) != 0
    start = np.where(judged, np.uint8(OBSERVATION["clear"]), np.uint8(OBSERVATION["unclassified"]))
    return _frozen(_bit_table(65536, bits, start))


@cache
def _radsat_table(is_oli: bool) -> np.ndarray:
    return _frozen(_bit_table(65536, _RADSAT_OLI if is_oli else _RADSAT_TM))


@cache
def _hls_table() -> np.ndarray:
    table = _bit_table(256, HLS_FMASK_BITS)
    table[255] = OBSERVATION["not_acquired"]
    return _frozen(table)


@cache
def _fmask_table() -> np.ndarray:
    table = _bit_table(256, FMASK_BITS)
    table[255] = OBSERVATION["not_acquired"]
    return _frozen(table)


@cache
def _worst_table() -> np.ndarray:
    """Winner of every pair of states, by ``a * 16 + b``; codes that are no state lose to all that are."""
    rank = np.full(16, len(OBSERVATION_PRIORITY), np.intp)
    rank[[OBSERVATION[state] for state in OBSERVATION_PRIORITY]] = np.arange(len(OBSERVATION_PRIORITY))
    a, b = np.divmod(np.arange(256), 16)
    return _frozen(np.where(rank[a] <= rank[b], a, b).astype(np.uint8))


def _frozen(table: np.ndarray) -> np.ndarray:
    table.flags.writeable = False  # cached and shared by threads
    return table
