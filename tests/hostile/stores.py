"""Hostile and broken stores and weights: metadata edited, chunks spoilt, files gone, names that lead elsewhere."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from hypothesis import strategies as st

import lakecube
from lakecube import summary
from lakecube.names import UNKNOWN
from lakecube.store.files import LocalFiles
from tests.hostile import values
from tests.hostile.judge import BAIT, WrongError
from tests.store.bowls import bowls
from tests.store.made import with_items


def _equal(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (
        one.shape == other.shape
        and one.dtype.kind == other.dtype.kind
        and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fM"))
    )


class Stores:
    """A sound store of three dates with a revision, one of whose files is changed for each case."""

    name = "stores"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened."""
        return True

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        self.bait, self.folder = str(bait), folder
        LocalFiles.sync = lambda self: None  # type: ignore[method-assign]
        self.path = folder / "store.zarr"
        with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
            warnings.simplefilter("ignore")
            self.water = self.make()
            self.water.water.to_zarr(self.path, chunks=96, progress=False)
        self.sound = self.read()
        self.files = {
            p.relative_to(self.path).as_posix(): p.read_bytes() for p in sorted(self.path.rglob("*")) if p.is_file()
        }
        self.documents = {name: json.loads(data) for name, data in self.files.items() if name.endswith("zarr.json")}

    @staticmethod
    def make() -> xr.Dataset:
        """Three dates of 96 × 80 pixels with lakes, two items to a date."""
        return with_items(bowls(3)[0], [0, 1, 2])

    def read(self) -> dict[str, Any]:
        """Everything of the store, as a user sees it."""
        with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
            warnings.simplefilter("ignore")
            store = lakecube.open_store(self.path)
            told = {**store.attrs, **{str(n): dict(v.attrs) for n, v in store.variables.items()}}
            return {str(n): v.values for n, v in store.variables.items()} | {"told": told, "store": store}

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        data = sorted(name for name in self.files if "/c/" in name or name.endswith("/c"))
        evil = [f"../../{Path(self.bait).name}/secret.txt", f"{self.bait}/secret.txt", "..", "/etc", "a/../../b"]
        root = self.documents["zarr.json"]
        names = sorted(root["consolidated_metadata"]["metadata"])
        return st.one_of(
            st.tuples(st.just("json"), st.just("zarr.json"), values.changes(root)),
            st.sampled_from(sorted(self.documents)).flatmap(
                lambda name: st.tuples(st.just("json"), st.just(name), values.changes(self.documents[name]))
            ),
            st.sampled_from(names).flatmap(
                lambda name: st.tuples(
                    st.just("json"),
                    st.just("zarr.json"),
                    values.changes(root["consolidated_metadata"]["metadata"][name]).map(
                        lambda wanted: [
                            (("consolidated_metadata", "metadata", name, *at), how, value) for at, how, value in wanted
                        ]
                    ),
                )
            ),
            st.sampled_from(sorted(self.files)).flatmap(
                lambda name: st.tuples(st.just("bytes"), st.just(name), values.broken_bytes(self.files[name]))
            ),
            st.sampled_from(data).flatmap(
                lambda name: st.tuples(st.just("bytes"), st.just(name), values.broken_bytes(self.files[name]))
            ),
            st.tuples(st.just("gone"), st.sampled_from(sorted(self.files)), st.none()),
            st.tuples(st.just("name"), st.sampled_from(names), st.sampled_from(evil)),
            st.tuples(
                st.just("revision"),
                st.just("zarr.json"),
                st.sampled_from([7, -1, "0", "../0", 0.5, evil[0], evil[1], [0], {}, True]),
            ),
        )

    def run(self, case: Any) -> str:
        how, name, what = case
        target = name if how != "name" else "zarr.json"
        file = self.path / target
        self.spoil(how, name, what)
        return self.judge(how, target, file)

    def spoil(self, how: str, name: str, what: Any) -> None:
        """Change one file of the store at `path`."""
        target = name if how != "name" else "zarr.json"
        file = self.path / target
        if how == "json":
            file.write_bytes(values.said(values.apply(self.documents[target], what)))
        elif how == "bytes":
            file.write_bytes(what)
        elif how == "gone":
            file.unlink()
        elif how == "revision":
            root = self.documents["zarr.json"]
            file.write_bytes(values.said({**root, "attributes": {**root["attributes"], "revision": what}}))
        else:
            file.write_bytes(self._renamed(name, what))

    def judge(self, how: str, target: str, file: Path) -> str:
        """What a reader finds in a store one of whose files was changed; the file is put back."""
        try:
            found = self.read()
            store = found.pop("store")
            said = f"{summary.area_series(store)} {lakecube_info(self.path, store)} {found['told']}"
        finally:
            file.write_bytes(self.files[target])
        if BAIT in said:
            raise WrongError("the bait shows in the store")
        if how == "gone" and not all(_equal(found[axis], self.sound[axis]) for axis in ("time", "y", "x")):
            raise WrongError(f"{target} is not missed")
        if how == "bytes" and (target.endswith("zarr.json") or target.startswith("_")):
            return "metadata that can be read"
        if how == "bytes":
            odd = [n for n in self.sound if n not in {"told", "store"} and not _equal(found.get(n, ()), self.sound[n])]
            if odd:
                raise WrongError(f"{', '.join(odd)} differ after {target} was spoilt")
        return f"{len(found)} variables"

    def _renamed(self, name: str, what: str) -> bytes:
        root = json.loads(self.files["zarr.json"])
        metadata = root["consolidated_metadata"]["metadata"]
        metadata[what] = metadata.pop(name) if len(what) > 4 else metadata[name]
        return values.said(root)


class WrittenStores(Stores):
    """The same stores, changed in the same ways, with dates appended and a revision made."""

    name = "stores that are added to"

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        super().__init__(folder, site, bait)
        self.more = with_items(bowls(4, first=3)[0], [0])
        self.count = 0

    def run(self, case: Any) -> str:
        how, name, what = case
        target = name if how in {"json", "bytes", "gone", "revision"} else "zarr.json"
        sound = self.path
        self.count += 1
        self.path = self.folder / f"copy{self.count}.zarr"
        shutil.copytree(sound, self.path)
        try:
            self.spoil(how, name, what)
            with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
                warnings.simplefilter("ignore")
                self.more.water.to_zarr(self.path, mode="append", progress=False)
                store = lakecube.open_store(self.path)
                masks = store.water_mask.values
        finally:
            shutil.rmtree(self.path)
            self.path = sound
        before = self.sound["water_mask"]
        if how in {"bytes", "gone"} and masks.shape[0] == 4 and ((masks[:3] != before) & (masks[:3] != UNKNOWN)).any():
            raise WrongError(f"masks differ after {target} was spoilt and dates appended")
        return f"{masks.shape[0]} dates"


def lakecube_info(path: Path, store: xr.Dataset) -> str:
    """What `lakecube info` says of a store."""
    from lakecube.commands.describing import describe, lines

    with dask.config.set(scheduler="synchronous"):
        return "\n".join(lines(describe(str(path), store, summary.area_series(store))))


class Weights:
    """A sound file of weights, changed in any byte, in its header, or that is something else."""

    name = "weight files"

    @staticmethod
    def is_watched(case: Any) -> bool:
        """Whether nothing outside may be opened."""
        return True

    def __init__(self, folder: Path, site: Any, bait: Path) -> None:
        from tests.models import made

        self.bait = str(bait)
        self.folder = folder / "weights"
        self.folder.mkdir(exist_ok=True)
        self.data = made.write(self.folder, "sound", options={"width": 2}).read_bytes()
        (self.length,) = struct.unpack("<Q", self.data[:8])
        self.header = json.loads(self.data[8 : 8 + self.length])
        self.numbers = self.data[8 + self.length :]
        self.count = 0
        self.sound = self._load(self.data)

    def _load(self, data: bytes) -> Any:
        from lakecube.models import registry

        self.count += 1
        path = self.folder / f"w{self.count}.safetensors"
        path.write_bytes(data)
        try:
            return registry.load(path)
        finally:
            path.unlink()

    @property
    def cases(self) -> st.SearchStrategy[Any]:
        spec = json.loads(self.header["__metadata__"]["lakecube"])
        lengths = [0, 1, 7, self.length - 1, self.length + 1, 10**7 + 1, 2**31, 2**63, 2**64 - 1]
        tensors = {k: v for k, v in self.header.items() if k != "__metadata__"}
        return st.one_of(
            st.tuples(st.just("bytes"), values.broken_bytes(self.data)),
            st.tuples(
                st.just("bytes"), values.broken_bytes(self.data[: 8 + self.length]).map(lambda b: b + self.numbers)
            ),
            st.tuples(st.just("length"), st.sampled_from(lengths)),
            st.tuples(st.just("tensors"), values.changes(tensors)),
            st.tuples(st.just("header"), values.changes(self.header)),
            st.tuples(st.just("spec"), values.changes(spec)),
            st.tuples(
                st.just("other"),
                st.sampled_from(
                    [
                        pickle.dumps({"a": 1}),
                        b"PK\x03\x04" + bytes(50),
                        b"",
                        bytes(8),
                        b"cos\nsystem\n(S'true'\ntR.",
                        b"\x80\x04.",
                    ]
                ),
            ),
        )

    def run(self, case: Any) -> str:
        how, what = case
        data = what
        if how == "length":
            data = struct.pack("<Q", what) + self.data[8:]
        elif how in {"tensors", "header", "spec"}:
            header = self.header
            if how == "spec":
                spec = json.loads(header["__metadata__"]["lakecube"])
                about = {**header["__metadata__"], "lakecube": json.dumps(values.apply(spec, what))}
                header = {**header, "__metadata__": about}
            elif how == "header":
                header = values.apply(header, what)
            else:
                tensors = {k: v for k, v in header.items() if k != "__metadata__"}
                header = {"__metadata__": header["__metadata__"], **values.apply(tensors, what)}
            text = values.said(header)
            data = struct.pack("<Q", len(text)) + text + self.numbers
        spec, state = self._load(data)
        if how in {"length", "other"} and data != self.data:
            raise WrongError("it was taken for weights")
        for name, tensor in state.items():
            odd = (
                name in self.sound[1]
                and tensor.shape == self.sound[1][name].shape
                and not (tensor == self.sound[1][name]).all()
            )
            if odd and how == "bytes":
                raise WrongError(f"the numbers of {name} are others")
        return f"{spec.name} with {len(state)} tensors"
