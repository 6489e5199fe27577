"""Classifiers of single pixels as plain arrays: a support vector machine or a random forest that learnt elsewhere.

scikit-learn trains them, but its objects can only be kept as pickles, which run code when they are read. A machine is a
list of vectors with weights and a forest a list of nodes; both are kept as arrays (``.npz``, never pickled) and
evaluated by small functions (`lakecube.kernels.pixel_models`): no scikit-learn, no version of it, is needed to predict.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lakecube.errors import InvalidInputError, ReadError
from lakecube.kernels.pixel_models import forest_share, svm_margin
from lakecube.names import BANDS
from lakecube.whole_files import writing

Kind = Literal["svm", "rf"]
_ARRAYS = {
    "svm": {"mean": "f8", "deviation": "f8", "vectors": "f8", "weights": "f8", "intercept": "f8", "gamma": "f8"},
    "rf": {"roots": "i8", "feature": "i8", "limit": "f8", "left": "i8", "right": "i8", "share": "f8"},
}
#: What NumPy, zipfile and zlib raise of a file that is damaged or crafted; of memory, where it says it is too great.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError,
               ArithmeticError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PixelModel:
    """A fitted classifier of pixels.

    Parameters
    ----------
    kind : {"svm", "rf"}
    bands : tuple of str
        STAC common names, in the order of its features.
    arrays : mapping
        By name: `mean`, `deviation` (bands,), `vectors` (m, bands), `weights` (m,), `intercept`, `gamma` () of a
        machine; `roots` (trees,), `feature`, `limit`, `left`, `right`, `share` (nodes,) of a forest.

    Raises
    ------
    InvalidInputError
        Arrays that do not belong together: nodes of a forest must lead onwards, to nodes that there are.
    """

    kind: Kind
    bands: tuple[str, ...]
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InvalidInputError(f"kind={self.kind!r}: use 'svm' or 'rf'")
        unknown = [band for band in self.bands if band not in BANDS]
        if unknown or not self.bands:
            raise InvalidInputError(f"bands are STAC common names; got {', '.join(unknown) or 'none'}")
        wanted = _ARRAYS[self.kind]
        if set(self.arrays) != set(wanted):
            raise InvalidInputError(f"a {self.kind} has the arrays {', '.join(wanted)}; got {', '.join(self.arrays)}")
        arrays = {n: np.asarray(self.arrays[n], dtype, order="C") for n, dtype in wanted.items()}
        object.__setattr__(self, "arrays", arrays)
        (_check_machine if self.kind == "svm" else _check_forest)(arrays, len(self.bands))

    @cached_property
    def sha256(self) -> str:
        """Hash of all that it is; names it in what it made."""
        digest = hashlib.sha256(json.dumps([self.kind, self.bands]).encode())
        for name in sorted(self.arrays):
            digest.update(self.arrays[name].tobytes())
        return digest.hexdigest()

    def __dask_tokenize__(self) -> Any:
        return "lakecube-pixel-model", self.sha256

    def __str__(self) -> str:
        return f"{self.kind} of {', '.join(self.bands)}, {self.sha256[:12]}"

    def evaluate(self, features: np.ndarray) -> np.ndarray:
        """Of features (n, bands) float32: a machine's margin, water above 0; a forest's probability of water."""
        a = self.arrays
        if self.kind == "svm":
            standard = (features.astype(np.float64) - a["mean"]) / a["deviation"]
            return svm_margin(standard, a["vectors"], a["weights"], float(a["intercept"]), float(a["gamma"]))
        features = np.ascontiguousarray(features, np.float32)
        return forest_share(features, *(a[n] for n in ("roots", "feature", "limit", "left", "right", "share")))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays to an ``.npz`` file."""
        path = Path(path)
        if path.suffix != ".npz":
            raise InvalidInputError(f"a pixel model is written to an .npz file; got {path.name}")
        about = np.array(json.dumps({"kind": self.kind, "bands": self.bands}))
        arrays: dict[str, Any] = {"about": about, **self.arrays}
        with writing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)


def read_pixel_model(path: str | os.PathLike[str]) -> PixelModel:
    """The model that `PixelModel.save` wrote; nothing in the file is ever run.

    Raises
    ------
    InvalidInputError
        No file there.
    ReadError
        A file that holds no such model.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InvalidInputError(
            f"no pixel model at {path}; write one with lakecube.methods.pixelwise.fit(...).save(path)"
        )
    try:
        with np.load(path, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            return PixelModel(about["kind"], tuple(about["bands"]), {n: kept[n] for n in kept.files if n != "about"})
    except _UNREADABLE as error:
        raise ReadError(f"{path.name} holds no pixel model: give a file that PixelModel.save wrote") from error


def _check_machine(a: Mapping[str, np.ndarray], bands: int) -> None:
    m = a["weights"].size
    shapes = {"mean": (bands,), "deviation": (bands,), "vectors": (m, bands), "weights": (m,), "intercept": (),
              "gamma": ()}  # fmt: skip
    wrong = [name for name, shape in shapes.items() if a[name].shape != shape or not np.isfinite(a[name]).all()]
    if wrong or not (a["deviation"] > 0).all():
        raise InvalidInputError(
            f"the arrays of a machine of {bands} bands do not fit: {', '.join(wrong or ['deviation'])}"
        )


def _check_forest(a: Mapping[str, np.ndarray], bands: int) -> None:
    n = a["feature"].size
    alike = all(a[name].shape == (n,) for name in ("feature", "limit", "left", "right", "share"))
    alike = alike and a["roots"].ndim == 1 and bool(((a["share"] >= 0) & (a["share"] <= 1)).all())
    inner = np.flatnonzero(a["feature"] >= 0)
    onwards = alike and all(((a[name][inner] > inner) & (a[name][inner] < n)).all() for name in ("left", "right"))
    if not onwards or not a["roots"].size or not ((a["roots"] >= 0) & (a["roots"] < n)).all() or not (
        a["feature"] < bands
    ).all():  # fmt: skip
        raise InvalidInputError(
            "the nodes of the forest do not fit: each leads to later ones, has a band there is and a share from 0 to 1"
        )
