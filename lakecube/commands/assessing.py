"""`lakecube assess`: how right a store is, and where to look to find out."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from lakecube.accuracy import Assessment, sample_design, side_by_side
from lakecube.accuracy import assess as compare
from lakecube.accuracy.design import check_target
from lakecube.accuracy.side_by_side import COUNTS
from lakecube.commands.describing import open_store
from lakecube.commands.engine import engine
from lakecube.commands.request import pair
from lakecube.errors import InvalidInputError, LakecubeError
from lakecube.io.out_files import outside_stores
from lakecube.store.objects import is_object_url


def assess(given: argparse.Namespace) -> dict[str, Any]:
    """Compare a store with a reference, or draw the points of a sample."""
    if given.csv is not None:
        _check_csv(given.csv)
    if given.design is not None:
        check_target(Path(given.design))
    if len(given.stores) > 1:
        return _table(given)
    store = open_store(given.stores[0])
    with engine(given), _bar(given):
        if given.design is not None:
            return _design(store, given)
        found = _compare(store, given)
    if given.csv is not None:
        found.table().to_csv(given.csv, index=False)
    if not given.json and not given.quiet:
        print(found)
    return found.to_dict()


def _check_csv(name: str) -> None:
    path = outside_stores(name)
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"cannot write {name}: the folder {path.absolute().parent} does not exist")
    if path.is_dir():
        raise InvalidInputError(f"cannot write {name}: it is a folder; give the name of a file, such as table.csv")


def _table(given: argparse.Namespace) -> dict[str, Any]:
    """Several stores, one after the other, as rows of one table."""
    if given.design is not None:
        raise InvalidInputError("--design draws the points of one store; give one, and judge all by its points then")
    if len({name if is_object_url(name) else os.path.realpath(name) for name in given.stores}) < len(given.stores):
        raise InvalidInputError("a store is given twice: each is a row of the table")
    stores = {name: open_store(name) for name in given.stores}
    with engine(given), _bar(given):
        found = {name: _row_of(name, store, given) for name, store in stores.items()}
    table = side_by_side(found)
    if given.csv is not None:
        table.to_csv(given.csv)
    if not given.json and not given.quiet:
        print(_as_text(table).T.to_string())
        if (table["unknown"] > 0).any() or table["compared"].nunique() > 1:
            print("! each map is judged where it knows something, which need not be the same ground")
    return {"table": table.to_dict(orient="index"), "stores": {name: one.to_dict() for name, one in found.items()}}


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Shares with four decimals, numbers of pixels and lakes whole."""
    kinds = {name: "{:,.0f}" if name in COUNTS else "{:.4f}" for name in table}
    return table.apply(lambda values: values.map(lambda v: "none" if np.isnan(v) else kinds[values.name].format(v)))


def _row_of(name: str, store: xr.Dataset, given: argparse.Namespace) -> Assessment:
    try:
        return _compare(store, given)
    except LakecubeError as error:
        raise type(error)(f"{name}: {error}") from error


def _compare(store: xr.Dataset, given: argparse.Namespace) -> Assessment:
    return compare(
        store,
        given.reference,
        kind=given.kind,
        date=given.date,
        share=given.share,
        codes=_codes(given.codes),
        within=given.within,
        by=given.by,
        objects=not given.no_objects,
        size_bounds=_numbers(given.size_bounds, float, "--size-bounds") if given.size_bounds else (),
        edge_width=given.edge_width,
        confidence=given.confidence,
    )


def _design(store: xr.Dataset, given: argparse.Namespace) -> dict[str, Any]:
    made = sample_design(
        store,
        strata=given.strata,
        n=given.n,
        margin=given.margin,
        confidence=given.confidence,
        expected=_expected(given.expected),
        allocation=given.allocation,
        least=given.least,
        buffer=given.buffer,
        date=given.date,
        share=given.share,
        seed=given.seed,
    )
    made.write(given.design)
    if not given.json and not given.quiet:
        print(made)
        print(f"\nnext: fill in the column class of {given.design} (water, land, or nothing where it cannot be told)")
        print(f"then: lakecube assess {given.stores[0]} --reference {given.design}")
    return {"file": given.design, **made.to_dict()}


def _codes(words: list[str] | None) -> Any:
    """A name, or numbers by state."""
    if words is None:
        return "mask"
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    return {name: _numbers(text, int, f"--codes {name}:") for name, text in (pair(w, "--codes") for w in words)}


def _expected(words: list[str] | None) -> Any:
    """One number, or one by stratum."""
    if words is None:
        return 0.5
    if len(words) == 1 and "=" not in words[0]:
        return _numbers(words[0], float, "--expected")[0]
    pairs = (pair(word, "--expected") for word in words)
    return {name: _numbers(text, float, "--expected")[0] for name, text in pairs}


def _numbers(text: str, kind: Any, option: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(f"{option} {text}: numbers are needed") from error


@contextlib.contextmanager
def _bar(given: argparse.Namespace) -> Any:
    """A bar of the blocks, on a terminal."""
    if given.quiet or not sys.stderr.isatty():
        yield
        return
    from dask.diagnostics import ProgressBar

    with ProgressBar(minimum=1.0, out=sys.stderr):
        yield
