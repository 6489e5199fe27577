"""Hostile imagery: STAC items, catalogues and API servers that lie, and image files that are broken or no images."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import numpy as np
import rasterio
from hypothesis import strategies as st

import lakecube
from lakecube.errors import LakecubeError
from lakecube.io import files, limits, stac_reading
from lakecube.io.patience import Patience
from lakecube.io.raw_cache import RAW
from lakecube.names import OBSERVATION
from lakecube.synthetic.archive import make_archive
from tests.hostile import values
from tests.hostile.judge import BAIT, BAIT_PIXEL, WrongError
from tests.hostile.site import HERE, Site, Spoilt

BANDS = ("green", "nir", "swir16")


def lay_bait(folder: Path) -> Path:
    """Files that nobody may read: a text, a raster, an item, each with what gives it away."""
    folder.mkdir()
    (folder / "secret.txt").write_text(f"{BAIT}\n")
    item = {"type": "FeatureCollection", "features": [], "id": BAIT, "links": [], "description": BAIT}
    (folder / "secret.json").write_text(json.dumps(item))
    profile = {
        "driver": "GTiff",
        "width": 36,
        "height": 36,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32648",
        "transform": rasterio.Affine(10, 0, 549600, 0, -10, 2986500),
    }
    with rasterio.open(folder / "secret.tif", "w", **profile) as file:
        file.write(np.full((1, 36, 36), BAIT_PIXEL, np.uint16))
    return folder


class Imagery:
    """A sound item with four files on a server, and what reading it gives."""

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened."""
        return True

    def __init__(self, folder: Path, site: Site, bait: Path) -> None:
        stac_reading.PATIENCE = Patience(times=0)
        limits.MOST_PAGES, limits.MOST_ITEMS, limits.MOST_DOCUMENT = 30, 500, 4 * 2**20
        self.site, self.bait = site, str(bait)
        if not (folder / "archive").exists():
            make_archive(folder / "archive", shape=(36, 36), dates=["2022-04-20"], bands=BANDS, dem=False, clouds=[0.2])
        (self.item,) = json.loads((folder / "archive" / "items.json").read_text())["features"]
        self.bytes: dict[str, bytes] = {}
        for key, asset in self.item["assets"].items():
            path = folder / "archive" / asset["href"]
            self.bytes[key] = path.read_bytes()
            site.documents[f"/files/{key}.tif"] = self.bytes[key]
            asset["href"] = f"{site.url}/files/{key}.tif"
        self.sound = self.read(site.put(values.said(self.item)))

    def read(self, source: Any) -> dict[str, np.ndarray]:
        """Every band and the observation of a source."""
        with dask.config.set(scheduler="synchronous"):
            cube = lakecube.open(source, retries=0)
            cube = cube.isel(y=slice(64), x=slice(64)).load()
        RAW.clear()
        found = {str(name): cube[name].values for name in cube.data_vars}
        self.check_sane(
            found, str({**cube.attrs, **{n: c.values.tolist() for n, c in cube.coords.items() if n[:4] == "item"}})
        )
        return found

    def check_sane(self, found: dict[str, np.ndarray], told: str) -> None:
        """No pixel of the bait, nothing infinite, no value under a pixel that was not observed."""
        if BAIT in told:
            raise WrongError("the bait shows in the attributes")
        unseen = np.isin(found["observation"], [OBSERVATION["not_acquired"], OBSERVATION["read_failed"]])
        for name in BANDS:
            if name not in found:
                continue
            numbers = found[name]
            if np.isinf(numbers).any():
                raise WrongError(f"{name} holds infinity")
            baited = np.isclose(numbers, BAIT_PIXEL * 1e-4, atol=1e-3)
            baited |= np.isclose(numbers, BAIT_PIXEL * 1e-4 - 0.1, atol=1e-3)
            if baited.sum() > 20:  # one or two may have this number by chance
                raise WrongError(f"{name} holds pixels of the bait")
            if unseen.any() and unseen.shape == numbers.shape and not np.isnan(numbers[unseen]).all():
                raise WrongError(f"{name} has values where nothing was observed")

    def same(self, found: dict[str, np.ndarray], *, unknown: bool = False) -> None:
        """Raise where values differ from the sound ones; with `unknown`, those that are NaN may."""
        for name, sound in self.sound.items():
            if name == "observation" or name not in found:
                continue
            if found[name].shape != sound.shape:
                raise WrongError(f"{name} has the shape {found[name].shape} instead of {sound.shape}")
            other = ~np.isclose(found[name], sound, equal_nan=True)
            if unknown:
                other &= ~np.isnan(found[name])
            if other.any():
                raise WrongError(f"{name} differs in {other.sum()} pixels")


class Items(Imagery):
    """Items of a server with odd values in any field, and addresses in them that lead astray."""

    name = "STAC items"

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        hrefs = st.sampled_from(values.hostile_hrefs(self.bait)) | st.text(max_size=30).map(
            lambda t: f"{t}{self.bait}/secret.tif"
        )
        link = st.sampled_from(["self", "root", "parent", "collection", "derived_from", "canonical"])
        links = st.lists(st.fixed_dictionaries({"rel": link, "href": hrefs}), min_size=1, max_size=3)
        return st.one_of(
            st.tuples(st.just("changes"), values.changes(self.item)),
            st.tuples(st.just("changes"), values.changes(self.item)),
            st.tuples(st.just("href"), st.tuples(st.sampled_from(sorted(self.item["assets"])), hrefs)),
            st.tuples(st.just("links"), links),
            st.tuples(
                st.just("extra"),
                st.dictionaries(
                    st.sampled_from(["x:y", "eo:bands", "bands", "proj:bbox", "raster:scale"]), values.odd, min_size=1
                ),
            ),
            st.tuples(st.just("text"), values.broken_texts(json.dumps(self.item))),
        )

    def run(self, case: Any) -> str:
        how, what = case
        item: Any = self.item
        if how == "changes":
            item = values.apply(item, what)
        elif how == "href":
            item = values.changed(item, ("assets", what[0], "href"), "set", what[1])
        elif how == "links":
            item = {**item, "links": what}
        elif how == "extra":
            item = {**item, "properties": {**what, **item["properties"]}}
        address = self.site.put(what if how == "text" else values.said(item))
        try:
            found = self.read(address)
        finally:
            self.site.forget()
        if how == "href":  # relative to its server it may be, and then there is nothing
            seen = (
                (found["observation"] != OBSERVATION["read_failed"]) if what[0] == "scl" else ~np.isnan(found[what[0]])
            )
            if seen.any():
                raise WrongError(f"{what[0]} at {what[1][:80]!r} was accepted")
        if how in {"links", "extra"}:
            self.same(found)
        return f"{len(found)} variables"


class Catalogues(Imagery):
    """Catalogues, collections and API servers: circles, endless pages, links to this machine."""

    name = "catalogues and APIs"

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        hrefs = [*values.hostile_hrefs(self.bait), f"{self.bait}/secret.json", f"file://{self.bait}/secret.json"]
        place = st.sampled_from(["self", "root", "parent", "child", "item", "items", "data", "search", "next"])
        kinds = ["Catalog", "Collection", "API", "FeatureCollection"]
        return st.one_of(
            st.tuples(st.just("link"), st.tuples(st.sampled_from(kinds), place, st.sampled_from(hrefs))),
            st.tuples(st.just("redirect"), st.tuples(st.sampled_from(kinds), st.sampled_from(hrefs))),
            st.tuples(
                st.just("changes"),
                st.sampled_from(kinds).flatmap(
                    lambda kind: st.tuples(st.just(kind), values.changes(self.document(kind)))
                ),
            ),
            st.tuples(st.just("text"), values.broken_texts(json.dumps(self.document("Catalog")))),
            st.tuples(
                st.just("shape"),
                st.sampled_from(
                    [
                        "circle",
                        "self",
                        "chain",
                        "wide",
                        "endless",
                        "endless-api",
                        "same-page",
                        "many",
                        "huge",
                        "deep",
                        "twice",
                    ]
                ),
            ),
        )

    def document(self, kind: str) -> dict[str, Any]:
        """A sound document of a kind."""
        links = [{"rel": "self", "href": HERE}, {"rel": "root", "href": HERE}]
        if kind == "FeatureCollection":
            return {"type": kind, "features": [self.item], "links": links}
        made = {"type": kind, "id": "c", "stac_version": "1.0.0", "description": "d", "links": links}
        links.append({"rel": "item", "href": f"{self.site.url}/item.json"})
        if kind == "Collection":
            extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
            made |= {"license": "other", "extent": extent}
        if kind == "API":
            core = "https://api.stacspec.org/v1.0.0/"
            made |= {"type": "Catalog", "conformsTo": [f"{core}core", f"{core}item-search", f"{core}collections"]}
            links += [
                {"rel": "search", "href": f"{self.site.url}/search", "type": "application/geo+json"},
                {"rel": "data", "href": f"{self.site.url}/collections"},
            ]
        return made

    def run(self, case: Any) -> str:
        how, what = case
        self.site.documents["/item.json"] = values.said(self.item)
        page = {"type": "FeatureCollection", "features": [self.item], "links": []}
        self.site.documents["/search"] = values.said(page)
        self.site.documents["/collections"] = values.said({"collections": [], "links": []})
        try:
            address = getattr(self, f"_{how}")(what)
            options = {"bbox": (105.4, 26.9, 105.6, 27.1)} if how != "text" and "api" in str(what).lower() else {}
            with dask.config.set(scheduler="synchronous"):
                cube = lakecube.open(address, retries=0, **options)
            told = str(cube.attrs)
            if BAIT in told:
                raise WrongError("the bait shows in the attributes")
            return f"{cube.sizes['time']} dates"
        finally:
            self.site.forget()

    def _put(self, document: dict[str, Any]) -> str:
        return self.site.put(values.said(document), "catalog.json")

    def _link(self, what: Any) -> str:
        kind, rel, href = what
        document = self.document(kind)
        document["links"] = [one for one in document["links"] if one["rel"] != rel] + [{"rel": rel, "href": href}]
        return self._put(document)

    def _redirect(self, what: Any) -> str:
        kind, href = what
        line = href.replace("\n", "").replace("\r", "").encode("ascii", "ignore").decode()[:200]
        leads = self.site.put(line or "/", "away.json")
        document = self.document(kind)
        document["links"] = [{**one, "href": leads} for one in document["links"]]
        return self._put(document)

    def _changes(self, what: Any) -> str:
        kind, wanted = what
        return self._put(values.apply(self.document(kind), wanted))

    def _text(self, what: Any) -> str:
        return self.site.put(what, "catalog.json")

    def _shape(self, what: str) -> str:
        base = {**self.document("Catalog"), "links": []}
        if what in {"circle", "self"}:
            a = self.site.put(lambda _: values.said(made), "a.json")
            b = self.site.put(
                lambda _: values.said(
                    {**base, "id": "b", "links": [{"rel": "child", "href": a}, {"rel": "item", "href": a}]}
                ),
                "b.json",
            )
            made = {
                **base,
                "links": [
                    *base["links"],
                    {"rel": "child", "href": a if what == "self" else b},
                    {"rel": "child", "href": b},
                ],
            }
            return a
        if what == "chain":

            def link(path: str) -> bytes:
                return values.said(
                    {**base, "id": path, "links": [{"rel": "child", "href": f"{first}?{len(path)}{path[-800:]}"}]}
                )

            first = self.site.put(link, "chain.json")
            return first
        if what == "wide":
            return self._put(
                {**base, "links": [{"rel": "item", "href": f"{self.site.url}/gone/{k}.json"} for k in range(30_000)]}
            )
        if what in {"endless", "endless-api"}:

            def page(path: str) -> bytes:
                number = int(path.partition("?page=")[2].partition("&")[0] or 0)
                features = [{**self.item, "id": f"{number}-{k}"} for k in range(3)]
                return values.said(
                    {
                        "type": "FeatureCollection",
                        "features": features,
                        "links": [{"rel": "next", "href": f"{pages}?page={number + 1}"}],
                    }
                )

            pages = self.site.put(page, "page.json")
            if what == "endless":
                return pages
            api = self.document("API")
            api["links"] = [{**one, "href": pages} if one["rel"] == "search" else one for one in api["links"]]
            return self._put(api)
        if what == "same-page":
            same = {
                "type": "FeatureCollection",
                "features": [self.item],
                "links": [{"rel": "next", "href": f"{self.site.url}/search"}],
            }
            self.site.documents["/search"] = values.said(same)
            return f"{self.site.url}/search"
        if what == "huge":
            return self.site.put(lambda _: b'{"type": "Feature", "a": "' + b"x" * (limits.MOST_DOCUMENT + 10) + b'"}')
        if what == "deep":
            return self.site.put(b'{"type": "Feature", "a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}")
        number = 600 if what == "many" else 2
        features = [{**self.item, "id": f"i{k}" if what == "many" else "i"} for k in range(number)]
        return self._put({"type": "FeatureCollection", "features": features})


def _tiff(width: int, height: int, *, tile: int = 0, data: bytes = b"", offset: int = 0, compression: int = 8) -> bytes:
    """A TIFF header that announces whatever it likes, with one tile or strip."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 16),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
    ]
    start = 8 + 2 + 12 * 10 + 4
    if tile:
        entries += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, offset or start), (325, 4, 1, len(data))]
    else:
        entries += [(273, 4, 1, offset or start), (278, 4, 1, height), (279, 4, 1, len(data))]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *one) for one in sorted(entries)) + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + ifd).ljust(start, b"\0") + data


class Images(Imagery):
    """Files under the name of a GeoTIFF: cut, flipped, swollen, of other formats, or that announce the impossible."""

    name = "image bytes"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """A file on the user's own disk may name others."""
        return case[0] == "server"

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        green = self.bytes["green"]
        head = values.broken_bytes(green[:600]).map(lambda start: start + green[600:])
        return st.tuples(
            st.sampled_from(["server", "server", "disk", "item on disk"]),
            st.one_of(
                st.tuples(st.just("cut"), st.integers(0, len(green) - 1).map(lambda n: green[:n])),
                st.tuples(st.just("broken"), values.broken_bytes(green)),
                st.tuples(st.just("broken"), head),
                st.tuples(
                    st.just("crafted"), st.sampled_from(sorted(self.crafted())).map(lambda k: (k, self.crafted()[k]))
                ),
                st.tuples(st.just("noise"), st.binary(max_size=400).map(lambda b: b"II*\0" + b)),
            ),
        )

    def crafted(self) -> dict[str, bytes]:
        """Files that are made to do harm."""
        secret = f"{self.bait}/secret.tif"
        bomb = zlib.compress(bytes(2**24), 9)
        vrt = next(one for one in values.hostile_hrefs(self.bait) if one.startswith("<VRT")).encode()
        return {
            "vast": _tiff(10**9, 10**9, tile=256),
            "vast strip": _tiff(2**31 - 1, 2**31 - 1),
            "no pixels": _tiff(0, 0),
            "vast tile": _tiff(36, 36, tile=2**30, data=bomb),
            "bomb": _tiff(30000, 30000, tile=30000 - 30000 % 16, data=bomb),
            "beyond": _tiff(36, 36, tile=48, data=b"x", offset=2**31),
            "own header": _tiff(36, 36, offset=4, data=b"x" * 3000),
            "vrt": vrt,
            "mrf": f"<MRF_META><CachedSource><Source>{secret}</Source></CachedSource></MRF_META>".encode(),
            "wms": f'<GDAL_WMS><Service name="TMS"><ServerUrl>file://{secret}</ServerUrl></Service></GDAL_WMS>'.encode(),
            "gti": f"<GDALTileIndexDataset><IndexDataset>{secret}</IndexDataset></GDALTileIndexDataset>".encode(),
            "derived": f"DERIVED_SUBDATASET:AMPLITUDE:{secret}".encode(),
            "stacta": b'{"stac_version": "1.0.0", "type": "Feature"}',
            "envi": b"ENVI\nsamples = 36\nlines = 36\n",
            "aaigrid": b"ncols 36\nnrows 36\nxllcorner 0\nyllcorner 0\ncellsize 1\n" + b"5 " * 1296,
            "pnm": b"P5 36 36 255\n" + bytes(1296),
            "zip": b"PK\x03\x04" + bytes(60),
            "pdf": b"%PDF-1.7\n",
            "html": b"<html></html>",
            "other shape": self.bytes["swir16"],
            "empty": b"",
            "jpeg": b"\xff\xd8\xff\xe0" + bytes(40),
            "png": b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
            + bytes(4),
        }

    def run(self, case: Any) -> str:
        where, (how, what) = case
        data = what[1] if how == "crafted" else what
        item = copy.deepcopy(self.item)
        try:
            if where == "server":
                item["assets"]["green"]["href"] = self.site.put(data, "green.tif")
                if how == "crafted" and what[0] in {"bomb", "vast tile"}:
                    side = struct.unpack_from("<I", data, 18)[0]
                    item["assets"]["green"] |= {"proj:shape": [side, side]}
                found = self.read(self.site.put(values.said(item)))
            else:
                found = self._on_disk(item, data, where)
        finally:
            self.site.forget()
        if how == "cut":
            self.same(found, unknown=True)
        if how == "crafted" and where == "server" and not np.isnan(found["green"]).all():
            raise WrongError(f"{what[0]} was read as an image")
        return f"{np.isnan(found['green']).mean():.0%} unknown"

    def _on_disk(self, item: dict[str, Any], data: bytes, where: str) -> dict[str, np.ndarray]:
        folder = Path(self.bait).parent / "case"
        folder.mkdir(exist_ok=True)
        # a name that was never used: GDAL and the reader remember headers by path and time
        number = self.site.number()
        path = folder / f"{number}_2022-04-20_B03.tif"
        path.write_bytes(data)
        try:
            if where == "disk":
                with dask.config.set(scheduler="synchronous"):
                    cube = lakecube.open(str(path), bands={"1": "green"}, retries=0)
                    if max(cube.sizes.values()) > 4096:
                        return {"green": np.full((1, 36, 36), np.nan)}
                    cube.load()
                found = {name: cube[name].values for name in cube.data_vars}
                return found if found["green"].shape == (1, 36, 36) else {"green": np.full((1, 36, 36), np.nan)}
            item["assets"]["green"]["href"] = str(path)
            own = folder / f"{number}.json"
            own.write_bytes(values.said({**item, "assets": {"green": item["assets"]["green"]}}))
            return self.read(str(own))
        finally:
            path.unlink(missing_ok=True)


class Answers(Imagery):
    """Servers whose headers say what cannot be, of a document or of a file, and bodies that do not end."""

    name = "answers of servers"

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        long = "9" * 5000
        size = st.one_of(
            st.sampled_from(["", "-1", "0", "10", "1e309", "nan", long, "0x10", "1_0", "10, 11"]),
            st.integers(-(2**70), 2**70).map(str),
            st.text("0123456789-/*bytes ", max_size=20),
        )
        span = st.one_of(
            st.tuples(size, size, size).map(lambda n: f"bytes {n[0]}-{n[1]}/{n[2]}"),
            st.sampled_from(["bytes 0-9/*", "bytes */10", f"bytes 0-{long}/{long}", "bytes 0-32767/99999999999999"]),
        )
        date = st.sampled_from(["soon", "Fri, 31 Dec 9999 23:59:59 GMT", f"Fri, 31 Dec {'9' * 30} 00:00:00 GMT", "0"])
        leads = ["", "/", "//", "http://[", "http://a b/", "http://127.0.0.1:9/x", f"file://{self.bait}/secret.tif"]
        told = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
        packed = ["gzip", "br", "identity", "x", "gzip, gzip", "deflate"]
        extent = {"Content-Length": size, "Content-Range": span}
        beside = {
            "Content-Encoding": st.sampled_from(packed), "Transfer-Encoding": st.sampled_from(["chunked", "x"]),
            "ETag": told, "Last-Modified": told, "Set-Cookie": told, "Content-Type": told,
        }  # fmt: skip

        def family(statuses: list[int], **headers: Any) -> st.SearchStrategy[Any]:
            made = {name.replace("_", "-"): value for name, value in headers.items()}
            return st.tuples(st.sampled_from(statuses), st.fixed_dictionaries({}, optional=made))

        answer = st.one_of(
            family([301, 302, 303, 307, 308], Location=st.sampled_from(leads)),
            family([401, 403, 404, 416, 429, 500, 503], Retry_After=st.one_of(size, date)),
            family([0, 200, 206], **extent),
            family([0, 200, 204, 206], **beside),
        )
        more = st.sampled_from([0, 0, 0, 2**20, 2**34])
        return st.tuples(st.sampled_from(["item", "file"]), answer, more)

    def run(self, case: Any) -> str:
        where, answer, more = case
        item = copy.deepcopy(self.item)
        item["assets"]["green"]["href"] = green = self.site.put(self.bytes["green"], "green.tif")
        address = self.site.put(values.said(item))
        self.site.spoilt[urlsplit(green if where == "file" else address).path] = Spoilt(*answer, more)
        try:
            found = self.read(address)
        finally:
            self.site.forget()
        self.same(found, unknown=True)
        return f"{np.isnan(found['green']).mean():.0%} unknown"


__all__ = ["Answers", "Catalogues", "Images", "Items", "LakecubeError", "files", "lay_bait"]
