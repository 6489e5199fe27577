"""Weights by name or path: one safetensors file each, the spec in its metadata, the hash checked before use.

The packaged ones lie in `weights/` beside `index.json`, whose order is the order of preference. An entry of the index
whose file is not there is fetched, by its hash, from the address in `LAKECUBE_WEIGHTS_URL`. Only `load` and `save` need
torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lakecube.errors import InvalidInputError, MissingBandError, MissingDependencyError, ReadError
from lakecube.models.spec import ModelSpec, Radiometry

#: Folder of the packaged weights, and the list of them.
FOLDER = Path(__file__).with_name("weights")
INDEX = "index.json"
SUFFIX = ".safetensors"
#: Environment variables: where weights that are not packaged are fetched from, and where they are kept.
URL, CACHE = "LAKECUBE_WEIGHTS_URL", "LAKECUBE_CACHE"
#: Bands that may stand in for another.
STAND_INS = {"nir": "nir08"}
_SPEC, _DATA = "lakecube", "data_sha256"
_LONGEST_HEADER = 10_000_000


@dataclass(frozen=True, slots=True)
class Weights:
    """A handle of weights that is cheap to send to a worker: where they are and what they must be.

    Parameters
    ----------
    source : str
        A name in the index, or an absolute path.
    spec : ModelSpec
        With the hash that the file must have.
    """

    source: str
    spec: ModelSpec


def available() -> dict[str, ModelSpec]:
    """The weights of this installation by name, in the order of preference; needs no torch."""
    return {name: ModelSpec.from_json(json.dumps(e["spec"]), e["sha256"]) for name, e in _index().items()}


def find(model: str | os.PathLike[str]) -> Weights:
    """The handle of a model by its name or the path of its file; reads the spec, not the numbers.

    Raises
    ------
    InvalidInputError
        No model of that name, or no file there.
    ReadError
        A file that holds no model of lakecube.
    """
    name = str(model)
    known = available()
    if name in known:
        return Weights(name, known[name])
    path = Path(name).expanduser().absolute()
    if path.suffix != SUFFIX:
        close = get_close_matches(name, known, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise InvalidInputError(
            f"no model {name!r}{meant}; there are {', '.join(map(repr, known)) or 'none'}, "
            f"or give the path of a {SUFFIX} file that lakecube train wrote"
        )
    if not path.is_file():
        raise InvalidInputError(f"no weights at {name}: give the path of a {SUFFIX} file that lakecube train wrote")
    stat = path.stat()
    return Weights(str(path), replace(_described(path), sha256=_hash_of(path, stat.st_mtime_ns, stat.st_size)))


def choose(bands: Iterable[str], radiometry: Radiometry = "reflectance") -> Weights:
    """The preferred model for a cube of these bands: of those that have all they need the first in the index.

    Models trained on the same radiometry go before others. Patch classifiers are not for pixels.

    Raises
    ------
    MissingBandError
        No model works on these bands.
    """
    have = {*bands}
    models = {name: spec for name, spec in available().items() if spec.patch is None}
    fit = [n for n, spec in models.items() if not missing_bands(spec, have)]
    if not fit:
        needs = "; ".join(f"{name} takes {', '.join(spec.bands)}" for name, spec in models.items())
        raise MissingBandError(
            f"no model works on the bands {', '.join(sorted(have)) or '(none)'}: {needs or 'no weights are installed'}. "
            "Open the cube with bands=['red', 'green', 'blue'] at least, or give model= a file of your own"
        )
    best = min(fit, key=lambda name: models[name].radiometry != radiometry)
    return Weights(best, models[best])


def missing_bands(spec: ModelSpec, have: Iterable[str]) -> list[str]:
    """The bands of a model for which there is neither the band nor what may stand in for it."""
    have = {*have}
    return [band for band in spec.bands if band not in have and STAND_INS.get(band) not in have]


def load(model: str | os.PathLike[str] | Weights) -> tuple[ModelSpec, dict[str, Any]]:
    """A model's spec and its state: torch tensors, those of floats as float32.

    Raises
    ------
    InvalidInputError, ReadError
        As `find`; or if the file is not the one that was published, or damaged.
    MissingDependencyError
        Without torch or safetensors.
    """
    need_torch()
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    weights = model if isinstance(model, Weights) else find(model)
    path = _located(weights)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.spec.sha256:
        raise ReadError(
            f"the weights {weights.source} are not those expected: sha256 {digest[:12]}… instead of "
            f"{weights.spec.sha256[:12]}…; they were changed or damaged, install or train them again"
        )
    header = _header(content[:_LONGEST_HEADER], path)
    kept = header["__metadata__"].get(_DATA)
    if kept is not None and hashlib.sha256(content[header["__end__"] :]).hexdigest() != kept:
        raise ReadError(f"the numbers in {path.name} are not those that were saved: the file is damaged")
    try:
        state = parse(content)
    except SafetensorError as error:
        raise ReadError(f"{path.name} cannot be read as safetensors: {error}") from error
    return weights.spec, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def save(path: str | os.PathLike[str], spec: ModelSpec, state: Mapping[str, Any], *, half: bool = True) -> ModelSpec:
    """Write a model as one safetensors file.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    spec : ModelSpec
    state : mapping
        The network's ``state_dict()``.
    half : bool
        Keep floats as float16.

    Returns
    -------
    ModelSpec
        With the hash of the file.
    """
    need_torch()
    import torch
    from safetensors.torch import save as serialise

    path = Path(path)
    if path.suffix != SUFFIX:
        raise InvalidInputError(f"weights are written to a {SUFFIX} file; got {path.name}")
    kept = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        kept[name] = tensor.to(torch.float16 if half else torch.float32) if tensor.is_floating_point() else tensor
    plain = serialise(kept)
    data = plain[_header(plain, path)["__end__"] :]
    content = serialise(kept, {_SPEC: spec.to_json(), _DATA: hashlib.sha256(data).hexdigest()})
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return replace(spec, sha256=hashlib.sha256(content).hexdigest())


def add(path: str | os.PathLike[str], *, folder: Path | None = None, first: bool = False) -> ModelSpec:
    """Put a file that `save` wrote among the packaged weights, and its entry in the index.

    Parameters
    ----------
    path : path
        The file; its copy takes the name in its spec.
    folder : path, optional
        Where the index is, if not in the package.
    first : bool
        Before the others in the order of preference, not after them.
    """
    folder = FOLDER if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    spec = _described(Path(path))
    target = folder / f"{spec.name}{SUFFIX}"
    if Path(path).resolve() != target.resolve():
        shutil.copyfile(path, target)
    content = target.read_bytes()
    spec = replace(spec, sha256=hashlib.sha256(content).hexdigest())
    entry = {spec.name: {"sha256": spec.sha256, "bytes": len(content), "spec": json.loads(spec.to_json())}}
    others = {name: e for name, e in _index(folder).items() if name != spec.name}
    index = {**entry, **others} if first else {**others, **entry}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return spec


def need_torch() -> None:
    """Raise MissingDependencyError unless torch and safetensors are installed."""
    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"neural models need {' and '.join(missing)}: pip install -c constraints.txt '.[deep]'"
        )


def _index(folder: Path | None = None) -> dict[str, Any]:
    path = (FOLDER if folder is None else folder) / INDEX
    return json.loads(path.read_text()) if path.is_file() else {}


def _located(weights: Weights) -> Path:
    """The file of a handle on this machine, fetched if need be."""
    if weights.source.endswith(SUFFIX):
        path = Path(weights.source)
        if not path.is_file():
            raise ReadError(f"no weights at {path} on this machine: every worker must see the file")
        return path
    packaged = FOLDER / f"{weights.source}{SUFFIX}"
    kept = _cache() / f"{weights.spec.sha256}{SUFFIX}"
    for path in (packaged, kept):
        if path.is_file():
            return path
    base = os.environ.get(URL)
    if not base:
        raise ReadError(
            f"the weights {weights.source} are not part of this installation: set {URL} to the address of the folder "
            f"that holds {packaged.name}, or give model= a path"
        )
    return _fetched(f"{base.rstrip('/')}/{packaged.name}", kept, int(_index()[weights.source]["bytes"]))


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(CACHE) or home / "lakecube") / "weights"


def _fetched(url: str, target: Path, size: int) -> Path:
    """A file of known size from an address, in its place only when it is whole; `load` checks its hash."""
    from urllib.request import urlopen

    if not url.startswith(("https://", "http://")):
        raise InvalidInputError(f"{URL} must be an http or https address; got {url!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urlopen(url, timeout=60) as answer:
            content = answer.read(size + 1)
    except (OSError, ValueError) as error:
        raise ReadError(f"the weights cannot be fetched from {url.partition('?')[0]}: {error}") from error
    if len(content) != size or hashlib.sha256(content).hexdigest() != target.stem:
        raise ReadError(f"what {url.partition('?')[0]} holds is not what the index promises ({size} bytes, by hash)")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(target)
    return target


@lru_cache(maxsize=64)
def _hash_of(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(path: Path) -> ModelSpec:
    """The spec in the metadata of a file."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = _header(start + file.read(min(length, _LONGEST_HEADER)), path)
    try:
        return ModelSpec.from_json(header["__metadata__"][_SPEC])
    except (KeyError, InvalidInputError) as error:
        raise ReadError(f"{path.name} holds no model of lakecube: {error}") from error


def _header(content: bytes, path: Path) -> dict[str, Any]:
    """The header of a safetensors file, and in `__end__` where its numbers begin."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        return {"__metadata__": {}, **header, "__end__": 8 + length}
    except (struct.error, ValueError, TypeError) as error:
        raise ReadError(f"{path.name} is no safetensors file") from error
