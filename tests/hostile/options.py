"""What a user may say: every parameter with values it was not made for, searches, command lines, references."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
from hypothesis import strategies as st

import lakecube
from lakecube.errors import LakecubeError
from lakecube.io import stac
from lakecube.io.hrefs import REMOTE_SCHEMES, check_href, gdal_path, redact, resolve_href, strip_signature
from tests.hostile import values
from tests.hostile.judge import BAIT, WrongError
from tests.hostile.stores import Stores

_SECRET = "SECRET7f3a"


class Addresses:
    """Hrefs alone: what `check_href` lets pass leads off this machine, and no signature survives."""

    name = "addresses"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened."""
        return True

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        self.bait = str(bait)

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        evil = values.hostile_hrefs(self.bait)
        schemes = st.sampled_from([*REMOTE_SCHEMES, "file", "FILE", "vrt", "zip+https", "ftp", "", "HTTPS"])
        hosts = st.sampled_from(
            ["example.com", "127.0.0.1:9", "[::1]", "", "a@b", "u:p@h", "%2fetc", "x\\y", "c@a.dfs.core.windows.net"]
        )
        tail = st.one_of(
            st.sampled_from(
                [f"/../..{self.bait}/secret.tif", "/a.tif", "/a.vrt", "/%2e%2e/a", f"?sig={_SECRET}", "/a.zip/"]
            ),
            st.text(max_size=20),
        )
        built = st.tuples(schemes, st.sampled_from(["://", ":", ":///", ":/", ":\\\\"]), hosts, tail).map("".join)
        mixed = st.tuples(st.sampled_from(evil), values.broken_bytes(b"https://example.com/a.tif")).map(
            lambda pair: pair[1].decode("latin-1") + pair[0]
        )
        href = st.one_of(st.sampled_from(evil), built, built, mixed, st.text(max_size=40))
        base = st.sampled_from(["https://example.com/a/item.json", "s3://bucket/a/item.json", "https://example.com"])
        signed = st.tuples(built, st.sampled_from(["?sig=", "?X-Amz-Signature=", "#", "?a=b&token=", "?"])).map(
            lambda p: f"{p[0]}{p[1]}{_SECRET}"
        )
        return st.one_of(
            st.tuples(st.just("check"), href, base),
            st.tuples(st.just("check"), href, base),
            st.tuples(st.just("strip"), signed, base),
        )

    def run(self, case: Any) -> str:
        how, href, base = case
        if how == "strip":
            plain = not set(href) & set("'\"<>") and len(href.split()) == 1
            named = f"={_SECRET}" in href  # which is found in any text; other queries only where an address ends
            if href.lower().startswith(tuple(f"{scheme}://" for scheme in REMOTE_SCHEMES)) and (plain or named):
                for told in (strip_signature(href), redact(f"cannot open {href}: no"), redact(f"<{href}>")):
                    if _SECRET in told:
                        raise WrongError(f"{told!r} holds the signature")
            return "stripped"
        passed = check_href(resolve_href(href, base), local=False, item="x")
        path = gdal_path(passed)
        if not path.lower().startswith(("/vsicurl/http", "/vsis3/", "/vsigs/", "/vsiaz/", "/vsiadls/")):
            raise WrongError(f"{href!r} would be opened as {path!r}")
        rest = path.partition("?")[0]
        if rest.lower().endswith((".vrt", ".zip", ".mrf", ".xml")) or (
            ".." in path.split("/") and "vsicurl" not in path
        ):
            raise WrongError(f"{href!r} would be opened as {path!r}")
        return path


class Searches:
    """Searches of a catalogue on disk: place, time, query and collections of any type."""

    name = "searches"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened: what a user names himself may be."""
        return False

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        from tests.hostile.scenes import Items

        self.items = folder / "search.json"
        self.items.write_text(json.dumps({"type": "FeatureCollection", "features": [Items(folder, site, bait).item]}))

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        number = st.floats() | st.integers() | st.sampled_from(values.NUMBERS)
        shape = {"type": "Polygon", "coordinates": [[[105, 26], [106, 26], [106, 27.5], [105, 27.5], [105, 26]]]}
        places = values.changes(shape).map(lambda wanted: values.apply(shape, wanted))
        query = st.dictionaries(
            st.sampled_from(["eo:cloud_cover", "datetime", "platform", "", "a.b"]),
            st.one_of(
                values.odd,
                st.dictionaries(
                    st.sampled_from(["lt", "gt", "eq", "in", "contains", "startsWith", "$where"]), values.odd
                ),
            ),
            max_size=2,
        )
        dates = st.one_of(
            st.text(alphabet="0123456789-/.TZ:+ ", max_size=24),
            st.tuples(values.odd, values.odd),
            values.odd,
            st.datetimes(),
            st.dates(),
            st.sampled_from([np.datetime64("NaT"), "../..", "2022/", "/2022", "2022/2021/2020"]),
        )
        return st.fixed_dictionaries(
            {},
            optional={
                "bbox": st.one_of(
                    st.lists(number, max_size=7), st.text(alphabet="0123456789.,-e ", max_size=30), values.odd
                ),
                "intersects": st.one_of(places, places.map(json.dumps), values.odd),
                "datetime": dates,
                "query": st.one_of(query, st.lists(st.text(max_size=20), max_size=2), values.odd),
                "collections": st.one_of(values.odd, st.lists(st.text(max_size=5), max_size=2)),
            },
        )

    def run(self, case: Any) -> str:
        return f"{len(stac.load_items(str(self.items), **case))} items"


def _options_of(function: Any) -> list[str]:
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        n for n, p in inspect.signature(function).parameters.items() if p.kind in kinds and p.default is not p.empty
    ]


class Options:
    """Every parameter of the public calls, one or two of them odd."""

    name = "options"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened: what a user names himself may be."""
        return False

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        from lakecube.methods import fusion
        from lakecube.synthetic.cube import sentinel2_cube
        from tests.hostile.scenes import Items

        self.folder = folder
        item = Items(folder, site, bait).item
        self.items = folder / "options.json"
        self.items.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
        self.cube = sentinel2_cube((32, 32), 1, seed=5)
        self.store = Stores(folder, site, bait)
        self.water = self.store.water
        self.seen = lakecube.open_store(self.store.path)
        to_zarr = lakecube.store.to_zarr
        self.calls = {
            "open": _options_of(lakecube.open),
            "extract": [*_options_of(fusion.extract), "method", "typo"],
            "to_zarr": [n for n in _options_of(to_zarr) if n not in {"mode", "progress"}],
            "open_store": _options_of(lakecube.open_store),
            "threshold": ["method", "index", "typo"],
            "composite": ["period", "typo"],
            "frequency": ["typo"],
            "lakes": ["min_pixels", "connectivity", "typo"],
            "explain": ["lon", "lat", "time"],
            "plan": ["method", "composite", "chunks", "typo"],
            "seasonality": ["period"],
            "change": ["first", "last"],
            "transitions": ["first", "last"],
            "restore": ["method"],
            "revise": _options_of(lakecube.revise),
            "sample_design": ["n", "margin", "strata", "expected", "seed", "share", "date", "confidence"],
            "superpixels": ["method", "n_segments", "compactness", "region", "size"],
            "indices": ["names"],
            "to_stac": ["path"],
            "to_cog": ["product", "date", "compress"],
            "to_netcdf": ["date"],
        }

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        things = st.one_of(
            values.odd,
            values.plain,
            st.sampled_from([np.nan, np.array([1, 2]), b"bytes", {1, 2}, 1j, np.datetime64("NaT"), range(3)]),
        )
        return st.sampled_from(sorted(self.calls)).flatmap(
            lambda call: st.tuples(
                st.just(call), st.dictionaries(st.sampled_from(self.calls[call]), things, min_size=1, max_size=2)
            )
        )

    def run(self, case: Any) -> str:
        call, options = case
        try:
            with dask.config.set(scheduler="synchronous"):
                return type(getattr(self, f"_{call}", lambda o: self._accessor(call, o))(options)).__name__
        except TypeError as error:  # Python's own word for a misspelt parameter
            if "unexpected keyword argument" in str(error):
                raise LakecubeError(f"as Python says it: {error}") from error
            raise

    def _accessor(self, call: str, options: dict[str, Any]) -> Any:
        own = {"threshold": self.cube, "composite": self.cube, "indices": self.cube, "superpixels": self.cube}.get(
            call, self.seen
        )
        function = getattr(own.water, call)
        known = inspect.signature(function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            options = {n: v for n, v in options.items() if n in known}
        needed = {n: v for n, v in {"first": "2019", "last": "2020"}.items() if n in known and n not in options}
        return function(**needed, **options)

    def _open(self, options: dict[str, Any]) -> Any:
        return lakecube.open(str(self.items), **{k: v for k, v in options.items() if k != "like"})

    def _extract(self, options: dict[str, Any]) -> Any:
        return lakecube.extract(self.cube, **{"method": "fusion", **options})

    def _plan(self, options: dict[str, Any]) -> Any:
        return self.cube.water.plan(**options)

    def _to_zarr(self, options: dict[str, Any]) -> Any:
        if options.get("chunks") in (1, True, [1]):  # ten thousands of blocks are slow, and no mistake
            return None
        path = self.folder / "made.zarr"
        try:
            return self.water.water.to_zarr(path, **{"progress": False, "revise": False, **options})
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _open_store(self, options: dict[str, Any]) -> Any:
        return lakecube.open_store(self.store.path, **options)

    def _revise(self, options: dict[str, Any]) -> Any:
        path = self.folder / "revised.zarr"
        shutil.copytree(self.store.path, path)
        try:
            return lakecube.revise(path, **{"progress": False, **options})
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _explain(self, options: dict[str, Any]) -> Any:
        sound = {"lon": 105.0005, "lat": 27.12, "time": str(self.seen.time.values[0])[:10]}
        return self.seen.water.explain(**{**sound, **options})

    def _to_stac(self, options: dict[str, Any]) -> Any:
        return self.seen.water.to_stac(
            **{k: v if isinstance(v, int | float | bytes) else self.folder / "stac" for k, v in options.items()}
        )

    def _to_cog(self, options: dict[str, Any]) -> Any:
        return self.seen.water.to_cog(self.folder / "map.tif", **{"product": "frequency", **options})

    def _to_netcdf(self, options: dict[str, Any]) -> Any:
        return self.seen.water.to_netcdf(self.folder / "store.nc", **options)


class Commands:
    """Command lines: exit code 0, 1 or 2, never a traceback or an unexpected error."""

    name = "command lines"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened: what a user names himself may be."""
        return False

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        self.store = Stores(folder, site, bait)
        self.items = Searches(folder, site, bait).items
        self.folder = folder

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        word = st.one_of(
            st.sampled_from(["1", "0.5", "2019-03-20", "2019", "water", "mask", "cog", "frequency", "fusion"]),
            st.sampled_from([w for w in values.WORDS if "\0" not in w and "\ud83d" not in w]),
            st.sampled_from(["-1", "0", "1e9", "nan", "2022", "a=b", "--", "[1]", "{}"]),
        )
        flags = {
            "plan": [
                "--bbox",
                "--datetime",
                "--query",
                "--sensor",
                "--bands",
                "--crs",
                "--resolution",
                "--chunks",
                "--dem",
                "--offset",
                "--cloud-buffer",
                "--method",
                "--composite",
                "--threshold",
                "--rules",
                "--set",
                "--collection",
            ],
            "lakes": ["--series", "--outlines", "--lake", "--top", "--kind", "--min-observed"],
            "info": ["--dates", "--json"],
            "assess": [
                "--reference",
                "--points",
                "--raster",
                "--date",
                "--share",
                "--codes",
                "--size-bounds",
                "--confidence",
                "--by",
                "--design",
                "--n",
                "--margin",
                "--expected",
                "--allocation",
                "--least",
                "--buffer",
                "--seed",
                "--within",
            ],
            "export": ["--format", "--product", "--date", "--compress"],
        }
        return st.sampled_from(sorted(flags)).flatmap(
            lambda command: st.tuples(
                st.just(command), st.lists(st.tuples(st.sampled_from(flags[command]), word), min_size=1, max_size=2)
            )
        )

    def run(self, case: Any) -> str:
        from lakecube.cli import main

        command, options = case
        source = {"plan": [str(self.items)], "export": [str(self.store.path), str(self.folder / "out")]}.get(
            command, [str(self.store.path)]
        )
        out, err = io.StringIO(), io.StringIO()
        logger, show = logging.getLogger("lakecube"), warnings.showwarning
        kept = logger.handlers, logger.propagate, logger.level
        here = Path.cwd()
        try:
            import os

            os.chdir(self.folder)
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                dask.config.set(scheduler="synchronous"),
            ):
                code = main([command, *source, *(word for pair in options for word in pair)])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        finally:
            os.chdir(here)
            warnings.showwarning = show
            logger.handlers, logger.propagate = kept[0], kept[1]
            logger.setLevel(kept[2])
        told = err.getvalue()
        if code not in {0, 1, 2} or "unexpected" in told or "Traceback" in told:
            raise WrongError(f"exit code {code}: {told[-300:]}")
        if code != 0:
            raise LakecubeError(f"exit code {code}, and it says: {told[-600:]}")
        return f"exit code {code}"


class References:
    """Reference files for `assess`: CSV, GeoJSON and rasters that are broken or say impossible things."""

    name = "references"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened."""
        return True

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        self.folder = folder
        self.bait = str(bait)
        self.store = lakecube.open_store(Stores(folder, site, bait).path)
        x, y = (np.asarray(self.store[d].values, float) for d in ("x", "y"))
        import pyproj

        lon, lat = pyproj.Transformer.from_crs(32648, 4326, always_xy=True).transform(x[:12] + 100, y[:12] - 100)
        self.points = [(float(a), float(b), k % 2) for k, (a, b) in enumerate(zip(lon, lat, strict=True))]
        self.csv = "lon,lat,class,stratum,stratum_area\n" + "".join(
            f"{a},{b},{c},s{c},100\n" for a, b, c in self.points
        )
        ring = [[lon[0], lat[0]], [lon[9], lat[0]], [lon[9], lat[9]], [lon[0], lat[9]], [lon[0], lat[0]]]
        features = [
            {"type": "Feature", "properties": {"class": c}, "geometry": {"type": "Point", "coordinates": [a, b]}}
            for a, b, c in self.points
        ]
        area = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        self.documents = {
            "points": {"type": "FeatureCollection", "features": features[:3]},
            "polygons": {"type": "FeatureCollection", "features": [area]},
        }
        self.count = 0

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        cell = st.one_of(st.sampled_from([w for w in values.WORDS if w.isprintable()]), st.floats().map(str))
        rows = st.lists(st.tuples(cell, cell, cell, cell, cell).map(",".join), max_size=3).map(
            lambda r: "\n".join([self.csv.rstrip(), *r]).encode("utf-8", "replace")
        )
        heads = st.sampled_from(
            ["lon,lat", "a,b,c", "lon,lon,class", "class,lat,lon,date", "", "lon;lat;class", "\ufefflon,lat,class"]
        )
        return st.one_of(
            st.tuples(st.just("r.csv"), rows),
            st.tuples(st.just("r.csv"), heads.map(lambda h: (h + "\n1,2,3\n").encode())),
            st.tuples(st.just("r.csv"), values.broken_bytes(self.csv.encode())),
            st.tuples(
                st.just("r.geojson"),
                st.sampled_from(["points", "polygons"]).flatmap(
                    lambda k: values.changes(self.documents[k]).map(
                        lambda wanted: values.said(values.apply(self.documents[k], wanted))
                    )
                ),
            ),
            st.tuples(st.just("r.geojson"), values.broken_texts(json.dumps(self.documents["polygons"]))),
            st.tuples(st.sampled_from(["r.tif", "r.gpkg", "r.parquet", "r.shp", "r.zip", "r"]), st.binary(max_size=60)),
        )

    def run(self, case: Any) -> str:
        name, data = case
        self.count += 1
        path = self.folder / f"{self.count}{name}"
        path.write_bytes(data)
        try:
            with dask.config.set(scheduler="synchronous"):
                found = str(lakecube.assess(self.store, str(path)).to_dict())
        finally:
            path.unlink()
        if BAIT in found:
            raise WrongError("the bait shows in the result")
        return found[:200]
