"""Products of JRC Global Surface Water from packed years: NumPy in, NumPy out.

A year of a pixel is one uint32: bit m - 1 says that water was seen in month m, bit 11 + m that the pixel was seen at
all. Years of disjoint months join by bitwise OR. A month in which land and water were seen is a month with water.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.months import WATER_SEEN

_MONTHS, _ALL = 12, np.uint32(0xFFF)
UNOBSERVED = 255
#: Classes of a year.
_LAND, _SEASONAL, _PERMANENT = 0, 1, 2
#: Code of a transition by the classes of the first and of the last year; (land, land) is decided in between.
_TRANSITION = np.array([[0, 5, 2], [6, 4, 7], [3, 8, 1]], np.uint8)
_EPHEMERAL_PERMANENT, _EPHEMERAL_SEASONAL = 9, 10


@jit
def pack_months(states: np.ndarray, months: np.ndarray) -> np.ndarray:
    """Pack states of months of one year: (month, y, x) uint8 and (month,) numbers 1-12 to (y, x) uint32."""
    count, rows, columns = states.shape
    packed = np.zeros((rows, columns), np.uint32)
    for k in range(count):
        water = np.uint32(1 << (months[k] - 1))
        seen = np.uint32(1 << (months[k] + 11))
        for i in range(rows):
            for j in range(columns):
                if states[k, i, j] & WATER_SEEN:
                    packed[i, j] |= water | seen
                elif states[k, i, j]:
                    packed[i, j] |= seen
    return packed


@jit_inline
def _count(bits: np.uint32) -> int:
    """Number of bits set in the lower twelve."""
    count = 0
    for m in range(_MONTHS):
        count += int((bits >> np.uint32(m)) & np.uint32(1))
    return count


@jit_inline
def _month_counts(years: np.ndarray, i: int, j: int, m: int) -> tuple[int, int]:
    """Years with water in month m (0-11), and years that saw it."""
    wet, seen = 0, 0
    for t in range(years.shape[0]):
        wet += (years[t, i, j] >> np.uint32(m)) & np.uint32(1)
        seen += (years[t, i, j] >> np.uint32(m + _MONTHS)) & np.uint32(1)
    return wet, seen


@jit
def occurrence(years: np.ndarray) -> np.ndarray:
    """Mean over calendar months of the share of years with water: (year, y, x) uint32 to (y, x) float32.

    Months that were never seen are left out; NaN where none was. Summed in the order of months in float64, rounded
    once. O(12 · years) per pixel.
    """
    _, rows, columns = years.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            total, months = 0.0, 0
            for m in range(_MONTHS):
                wet, seen = _month_counts(years, i, j, m)
                if seen > 0:
                    total += wet / seen
                    months += 1
            out[i, j] = np.float32(total / months) if months > 0 else np.float32(np.nan)
    return out


@jit
def change(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Mean difference of homologous months in percent: two (year, y, x) uint32 to (y, x) float32 in -100…100.

    Only calendar months that both periods saw are compared; NaN where there is none. O(12 · years) per pixel.
    """
    _, rows, columns = first.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            total, pairs = 0.0, 0
            for m in range(_MONTHS):
                wet_before, seen_before = _month_counts(first, i, j, m)
                wet_after, seen_after = _month_counts(last, i, j, m)
                if seen_before > 0 and seen_after > 0:
                    total += wet_after / seen_after - wet_before / seen_before
                    pairs += 1
            out[i, j] = np.float32(100.0 * total / pairs) if pairs > 0 else np.float32(np.nan)
    return out


@jit
def recurrence(years: np.ndarray) -> np.ndarray:
    """Share of years with water among the years observed in the water season: (year, y, x) uint32 to (y, x) float32.

    The season is the calendar months that ever had water. 0 where there was never water, NaN where nothing was seen.
    """
    count, rows, columns = years.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            ever = np.uint32(0)
            for t in range(count):
                ever |= years[t, i, j]
            season = ever & _ALL
            wet, observed = 0, 0
            for t in range(count):
                wet += (years[t, i, j] & _ALL) != 0
                observed += ((years[t, i, j] >> np.uint32(_MONTHS)) & season) != 0
            if ever == 0:
                out[i, j] = np.float32(np.nan)
            else:
                out[i, j] = np.float32(wet / observed) if observed > 0 else np.float32(0)
    return out


@jit
def extent(years: np.ndarray) -> np.ndarray:
    """Whether there was ever water: (year, y, x) uint32 to (y, x) uint8, 0 no, 1 yes, 255 never seen."""
    count, rows, columns = years.shape
    out = np.full((rows, columns), UNOBSERVED, np.uint8)
    for t in range(count):
        for i in range(rows):
            for j in range(columns):
                if years[t, i, j] & _ALL:
                    out[i, j] = 1
                elif years[t, i, j] and out[i, j] == UNOBSERVED:
                    out[i, j] = 0
    return out


@jit
def typical_year(years: np.ndarray) -> np.ndarray:
    """The typical year of some: (year, y, x) uint32 to (y, x) uint32.

    A calendar month has water if it had water in at least half of the years that saw it. One year is its own.
    """
    _, rows, columns = years.shape
    out = np.zeros((rows, columns), np.uint32)
    for i in range(rows):
        for j in range(columns):
            for m in range(_MONTHS):
                wet, seen = _month_counts(years, i, j, m)
                if seen > 0:
                    out[i, j] |= np.uint32(1 << (m + _MONTHS))
                    if 2 * wet >= seen:
                        out[i, j] |= np.uint32(1 << m)
    return out


@jit_inline
def _class_of(year: np.uint32, least_months: int) -> int:
    """Class of a year; permanent if every month that was seen had water, 255 if too few were seen."""
    wet, seen = year & _ALL, year >> np.uint32(_MONTHS)
    if seen == 0 or _count(seen) < least_months:
        return UNOBSERVED
    if wet == 0:
        return _LAND
    return _PERMANENT if wet == seen else _SEASONAL


@jit
def seasonality(years: np.ndarray, least_months: int) -> np.ndarray:
    """Months with water in the typical year: (year, y, x) uint32 to (y, x) uint8, 0-12.

    12 where every month that was seen had water; 255 where fewer than `least_months` were seen.
    """
    typical = typical_year(years)
    rows, columns = typical.shape
    out = np.empty((rows, columns), np.uint8)
    for i in range(rows):
        for j in range(columns):
            kind = _class_of(typical[i, j], least_months)
            if kind == UNOBSERVED:
                out[i, j] = UNOBSERVED
            else:
                out[i, j] = _MONTHS if kind == _PERMANENT else _count(typical[i, j] & _ALL)
    return out


@jit
def first_and_last(years: np.ndarray, least_months: int) -> np.ndarray:
    """First and last year of each pixel of which `least_months` were seen: (2, y, x) uint32, 0 if they are no two."""
    count, rows, columns = years.shape
    out = np.zeros((2, rows, columns), np.uint32)
    for t in range(count):
        for i in range(rows):
            for j in range(columns):
                if _class_of(years[t, i, j], least_months) != UNOBSERVED:
                    out[0 if out[0, i, j] == 0 else 1, i, j] = years[t, i, j]
    return out


@jit
def transitions(first: np.ndarray, last: np.ndarray, years: np.ndarray, least_months: int) -> np.ndarray:
    """Class of change from a first to a last year: (y, x) uint8, 0 never water, 1-10 as JRC, 255 cannot be told.

    Parameters
    ----------
    first, last : (y, x) uint32
        Packed years, or typical years.
    years : (year, y, x) uint32
        Those that may show ephemeral water.
    """
    rows, columns = first.shape
    out = np.empty((rows, columns), np.uint8)
    for i in range(rows):
        for j in range(columns):
            before, after = _class_of(first[i, j], least_months), _class_of(last[i, j], least_months)
            if before == UNOBSERVED or after == UNOBSERVED:
                out[i, j] = UNOBSERVED
            elif before == _LAND and after == _LAND:
                out[i, j] = _ephemeral(years, i, j, least_months)
            else:
                out[i, j] = _TRANSITION[before, after]
    return out


@jit_inline
def _ephemeral(years: np.ndarray, i: int, j: int, least_months: int) -> int:
    found = 0
    for t in range(years.shape[0]):
        kind = _class_of(years[t, i, j], least_months)
        if kind == _PERMANENT:
            return _EPHEMERAL_PERMANENT
        if kind == _SEASONAL:
            found = _EPHEMERAL_SEASONAL
    return found
