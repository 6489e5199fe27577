"""What is made of the areas of lakes: a quality filter, totals by size class, alerts, and long tables.

All of it takes a Dataset with the variables of the contract by (lake, date), from `lakes()` or from a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from lakecube.chunked import law
from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.io.out_files import outside_stores
from lakecube.names import DATE, LAKE, LAKE_KIND, SIZE_CLASS, YEAR_MONTH
from lakecube.whole_files import writing

#: Variables of `alerts`.
ALERT = MappingProxyType({"none": 0, "drop": 1, "certain_drop": 2, "unknown": 255})
#: Variables of (lake, date) in the order of a table.
SERIES = (
    "lake_area", "lake_area_observed", "lake_area_lower", "lake_area_upper", "lake_area_q05", "lake_area_q95",
    "lake_observed_fraction",
)  # fmt: skip
_FILTERED = ("lake_area", "lake_area_observed", "lake_area_q05", "lake_area_q95")
#: Lakes of a table that are in memory at once.
LAKES_AT_ONCE = 4096


@law("exact")
def reliable(lakes: xr.Dataset, *, min_observed: float) -> xr.Dataset:
    """The quality filter: areas only where enough of a lake was seen.

    Parameters
    ----------
    lakes : xr.Dataset
        With `lake_observed_fraction` (lake, date).
    min_observed : float
        Share of the lake's largest extent that must have been seen on the date, 0 to 1.

    Returns
    -------
    xr.Dataset
        The same, with NaN in `lake_area`, `lake_area_observed` and the calibrated quantiles where less was seen. The
        observational limits hold whatever was hidden, and stay.

    Raises
    ------
    InvalidInputError
        If the fraction is missing, or `min_observed` is no share.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy.
    """
    _need(lakes, "lake_observed_fraction")
    if not 0 <= min_observed <= 1:
        raise InvalidInputError(f"min_observed={min_observed!r}: a share from 0 to 1 is needed")
    if min_observed == 0:
        return lakes
    enough = lakes["lake_observed_fraction"] >= min_observed
    kept = {name: lakes[name].where(enough) for name in _FILTERED if name in lakes}
    return lakes.assign({name: values.assign_attrs(lakes[name].attrs) for name, values in kept.items()})


@law("exact")
def totals(
    lakes: xr.Dataset, *, variable: str = "lake_area", min_observed: float = 0.0, kinds: Sequence[str] = ("lake",),
    provisional: bool = False,
) -> xr.Dataset:  # fmt: skip
    """Area of all lakes of a size class on every date, with its limits and how much of it is known.

    Parameters
    ----------
    lakes : xr.Dataset
        Areas (lake, date); `size_class`, `kind`, `provisional`, `max_area` (lake).
    variable : {"lake_area", "lake_area_observed"}
        What is added up.
    min_observed : float
        Of `reliable`.
    kinds : sequence of {"lake", "river", "too_small"}
        Kinds of water body that count.
    provisional : bool
        Whether water outside the reference extent counts.

    Returns
    -------
    xr.Dataset
        By (size_class, date): `total_area`, the sum over lakes whose area is known (NaN if there are lakes but none is
        known); `total_area_lower`, `total_area_upper`, the limits of all lakes; `known_fraction`, the share of the
        lakes' largest extents that the sum is made of (NaN without lakes); `lake_count` (uint32), how many those are.

    Raises
    ------
    InvalidInputError
        If a variable is missing, or a kind unknown.

    Notes
    -----
    Chunks: any. Law: exact: areas are multiples of 2⁻¹³ m², whose float64 sums are exact up to a million km². Lazy.
    A sum over the lakes that happen to be known is no total: compare `known_fraction` before comparing dates.
    """
    _need(lakes, variable, "lake_area_lower", "lake_area_upper", "size_class", "kind", "provisional", "max_area")
    unknown = sorted(set(kinds) - set(LAKE_KIND))
    if unknown:
        raise InvalidInputError(f"no kind {', '.join(unknown)}; there are {', '.join(LAKE_KIND)}")
    counted = lakes["kind"].isin([LAKE_KIND[kind] for kind in kinds])
    counted = counted if provisional else counted & (lakes["provisional"] == 0)
    area = reliable(lakes, min_observed=min_observed)[variable] if min_observed else lakes[variable]
    classes = [_total(lakes, area, counted & (lakes["size_class"] == code)) for code in SIZE_CLASS.values()]
    axis = pd.Index(list(SIZE_CLASS), name="size_class")
    return xr.concat(classes, dim=axis, coords="minimal", compat="override", join="override")


def _total(lakes: xr.Dataset, area: xr.DataArray, counted: xr.DataArray) -> xr.Dataset:
    known = area.notnull() & counted
    extent = lakes["max_area"].where(counted, 0.0)
    number, whole = known.sum(LAKE, dtype=np.uint32), extent.sum(LAKE)
    total = area.where(known, 0.0).sum(LAKE).where((number > 0) | (counted.sum(LAKE) == 0))
    limits = {end: lakes[f"lake_area_{end}"].where(counted, 0.0).sum(LAKE) for end in ("lower", "upper")}
    share = extent.where(known, 0.0).sum(LAKE) / whole.where(whole > 0)
    square = {"units": "m2"}
    return xr.Dataset({
        "total_area": total.assign_attrs(long_name="area of the lakes whose area is known", **square),
        "total_area_lower": limits["lower"].assign_attrs(long_name="area if nothing hidden is water", **square),
        "total_area_upper": limits["upper"].assign_attrs(long_name="area if all that is hidden is water", **square),
        "known_fraction": share.assign_attrs(long_name="share of the largest extents that is known", units="1"),
        "lake_count": number.assign_attrs(long_name="lakes whose area is known", units="1"),
    }).drop_vars([name for name in ("longitude", "latitude") if name in lakes.coords], errors="ignore")  # fmt: skip


@law("exact")
def alerts(
    lakes: xr.Dataset, *, drop: float = 0.1, variable: str = "lake_area", min_observed: float = 0.5
) -> xr.Dataset:
    """Lakes whose area fell since the month before: the early warning of Xue et al.

    Parameters
    ----------
    lakes : xr.Dataset
        Areas (lake, date) with a datetime `date`.
    drop : float
        The least fall, as a share of the month before, above 0 and below 1.
    variable : {"lake_area", "lake_area_observed"}
        What is compared.
    min_observed : float
        Of `reliable`: dates on which less of the lake was seen say nothing.

    Returns
    -------
    xr.Dataset
        By (lake, year_month), for every calendar month from the first date to the last: `monthly_area` (m², mean of
        the dates that say something, NaN without); `change` (1, against the month before, NaN if either is not known
        or the lake was dry); `alert` (uint8 flags): none, drop, certain_drop (the fall is that large whatever the
        clouds hid), unknown.

    Raises
    ------
    InvalidInputError
        If a variable is missing, `date` holds no datetimes, or a number is out of range.

    Notes
    -----
    Chunks: any. Law: exact: sums of multiples of 2⁻¹³ m² are exact, and divided once. Lazy.

    References
    ----------
    Xue et al. (2025), section 5: "a 10% decrease compared to the previous month"
    """
    _need(lakes, variable, "lake_area_lower", "lake_area_upper", "lake_observed_fraction")
    if not 0 < drop < 1:
        raise InvalidInputError(f"drop={drop!r}: a share between 0 and 1 is needed, such as 0.1")
    if DATE not in lakes.coords or lakes[DATE].dtype.kind != "M":
        raise InvalidInputError("alerts by month need a coordinate `date` of datetimes")
    area = reliable(lakes, min_observed=min_observed)[variable]
    lower, upper = (lakes[f"lake_area_{end}"].where(area.notnull()) for end in ("lower", "upper"))
    (before, monthly), (low_before, _), (_, high) = (_by_month(values) for values in (area, lower, upper))
    change = (monthly - before) / before.where(before > 0)
    fell, certain = change <= -drop, (high - low_before) / low_before.where(low_before > 0) <= -drop
    alert = xr.where(change.isnull(), ALERT["unknown"], xr.where(fell, 1 + certain.astype(np.uint8), 0))
    flags = {"flag_values": np.array(list(ALERT.values()), np.uint8), "flag_meanings": " ".join(ALERT)}
    return xr.Dataset({
        "monthly_area": monthly.assign_attrs(long_name="mean area of the month", units="m2"),
        "change": change.assign_attrs(long_name="change against the month before", units="1"),
        "alert": alert.astype(np.uint8).assign_attrs(long_name="fall against the month before", **flags),
    })  # fmt: skip


def _by_month(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Means of the month before, and of the month, for every month there is: (lake, year_month)."""
    months = values[DATE].values.astype("datetime64[M]")
    every = np.arange(months.min() - 1, months.max() + 1) if months.size else np.zeros(1, months.dtype)
    means = [values.isel({DATE: np.flatnonzero(months == month)}).mean(DATE) for month in every]
    axis = xr.DataArray(every.astype("datetime64[ns]"), dims=YEAR_MONTH, name=YEAR_MONTH)
    axis.attrs["long_name"] = "first day of the month"
    joined = xr.concat(means, dim=axis, coords="minimal", compat="override", join="override")
    joined = joined.transpose(LAKE, YEAR_MONTH)
    month = joined.isel({YEAR_MONTH: slice(1, None)})
    return joined.isel({YEAR_MONTH: slice(-1)}).assign_coords({YEAR_MONTH: month[YEAR_MONTH]}), month


def series_table(lakes: xr.Dataset, *, min_observed: float = 0.0) -> pd.DataFrame:
    """The areas as a long table: one row per lake and date, in this order.

    Parameters
    ----------
    lakes : xr.Dataset
        Areas (lake, date); computed if lazy.
    min_observed : float
        Of `reliable`.

    Returns
    -------
    pandas.DataFrame
        `lake_id`, `date`, and those of `SERIES` that there are. m², 1, NaN as there.
    """
    return pd.concat(list(_tables(lakes, min_observed)), ignore_index=True)


def write_series(lakes: xr.Dataset, path: str | Path, *, min_observed: float = 0.0) -> Path:
    """Write the table of `series_table` as ``.csv`` or ``.parquet``, some thousand lakes at a time.

    Parameters
    ----------
    lakes, min_observed
        As there.
    path : path
        Its suffix tells the format. The file is replaced.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, or `path` lies in a store.
    MissingDependencyError
        If pyarrow is needed and not installed.
    StoreError
        If the file cannot be written; nothing half-written stays.
    """
    path = outside_stores(path)
    kinds = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in kinds:
        raise InvalidInputError(f"{path.name}: series are written as .csv or .parquet; choose one of these suffixes")
    with writing(path) as partial:
        kinds[path.suffix](_tables(lakes, min_observed), partial)
    return path


def _write_csv(tables: Iterator[pd.DataFrame], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for k, table in enumerate(tables):
            table.to_csv(file, index=False, header=k == 0, date_format="%Y-%m-%d", lineterminator="\n")


def _write_parquet(some: Iterator[pd.DataFrame], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise MissingDependencyError(
            "pyarrow is needed to write Parquet: pip install -c constraints.txt '.[geoparquet]', or write .csv"
        ) from e
    tables = (pa.Table.from_pandas(table, preserve_index=False) for table in some)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.cast(first.schema))


def _tables(lakes: xr.Dataset, min_observed: float) -> Iterator[pd.DataFrame]:
    """Tables of some lakes each, at least one."""
    if LAKE not in lakes.coords or DATE not in lakes.coords:
        raise InvalidInputError("no areas by lake and date here; find the lakes first: water.water.lakes()")
    names = [name for name in SERIES if name in lakes]
    filtered = reliable(lakes, min_observed=min_observed) if min_observed else lakes
    dates = lakes[DATE].values
    for start in range(0, max(lakes.sizes[LAKE], 1), LAKES_AT_ONCE):
        some = filtered[names].isel({LAKE: slice(start, start + LAKES_AT_ONCE)}).transpose(LAKE, DATE).compute()
        ids = some[LAKE].values
        columns = {"lake_id": np.repeat(ids, dates.size), "date": np.tile(dates, ids.size)}
        yield pd.DataFrame(columns | {name: some[name].values.ravel() for name in names})


def _need(lakes: xr.Dataset, *names: str) -> None:
    missing = [name for name in names if name not in lakes]
    if missing:
        raise InvalidInputError(f"no {', '.join(missing)} here; find the lakes first: water.water.lakes()")
