"""First pass of a revision: counts, frequency and month states of every pixel, from stored rows only."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from lakecube.kernels.counts import count_states, divide_counts
from lakecube.kernels.months import LAND_SEEN, WATER_SEEN, month_axis
from lakecube.names import DATE, VARIABLES, YEAR, YEAR_MONTH, X, Y
from lakecube.store.layout import Stored, pixel_array, row_array
from lakecube.store.revise_blocks import DATES_AT_ONCE, Block, Results, read_rows
from lakecube.store.write_tasks import Writer

_TOTALS = ("count_wet", "count_clear", "water_frequency")


def count_arrays(dates: np.ndarray, shape: tuple[int, int], chunks: tuple[int, int]) -> dict[str, Stored]:
    """Arrays that `count_block` fills, and their axes, for dates (datetime64) in order."""
    years, (months, _) = np.unique(years_of(dates)), month_axis(dates)
    axes = {
        YEAR: (years, {"long_name": "calendar year", "units": "1"}),
        YEAR_MONTH: (months, {"standard_name": "time", "long_name": "first day of the month"}),
        DATE: (dates, {"standard_name": "time", "long_name": "solar dates this revision was made from"}),
    }
    out = {name: row_array(name, xr.Variable((name,), values, attrs)) for name, (values, attrs) in axes.items()}
    lengths = {YEAR: len(years), YEAR_MONTH: len(months)}
    for name in (*_TOTALS, *(f"{total}_year" for total in _TOTALS), "month_state"):
        spec = VARIABLES[name]
        size = tuple(lengths[dim] for dim in spec.dims if dim not in (Y, X))
        out[name] = pixel_array(name, spec.dtype, spec.dims, (*size, *shape), chunks, {})
    return out


def years_of(dates: np.ndarray) -> np.ndarray:
    """Calendar year (int64) of dates."""
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


@dataclasses.dataclass(frozen=True, slots=True)
class Counting:
    """From where to where, and which rows are of which month of which year, in order."""

    source: Writer
    target: Writer
    group: str
    rows: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, source: Writer, target: Writer, group: str, rows: np.ndarray, dates: np.ndarray) -> Counting:
        """Rows and their dates, sorted into years and months."""
        years, (_, months) = years_of(dates), month_axis(dates)
        by_month = tuple(
            tuple(tuple(rows[months == month].tolist()) for month in np.unique(months[years == year]))
            for year in np.unique(years)
        )
        return cls(source, target, group, by_month)


def count_block(block: Block, counting: Counting) -> Results:
    """Count one block, month by month and a few dates at a time."""
    total, month_number = np.zeros((2, *block.shape), np.uint32), 0
    for year_number, months in enumerate(counting.rows):
        year = np.zeros_like(total)
        for rows in months:
            wet, clear = _count_rows(counting.source, rows, block)
            state = (LAND_SEEN * (clear > wet) + WATER_SEEN * (wet > 0)).astype(np.uint8)
            counting.target.open(f"{counting.group}/month_state")[(month_number, *block.window)] = state
            year += np.stack((wet, clear))
            month_number += 1
        _put(counting, "_year", (year_number, *block.window), year)
        total += year
    _put(counting, "", block.window, total)
    return {}


def _count_rows(source: Writer, rows: tuple[int, ...], block: Block) -> tuple[np.ndarray, np.ndarray]:
    counts = np.zeros((2, *block.shape), np.uint32)
    for start in range(0, len(rows), DATES_AT_ONCE):
        counts += np.stack(count_states(read_rows(source, rows[start : start + DATES_AT_ONCE], block)))
    return counts[0], counts[1]


def _put(counting: Counting, suffix: str, place: tuple[slice | int, ...], counts: np.ndarray) -> None:
    for name, values in zip(_TOTALS, (*counts, divide_counts(*counts)), strict=True):
        array = counting.target.open(f"{counting.group}/{name}{suffix}")
        array[place] = values.astype(array.dtype)
