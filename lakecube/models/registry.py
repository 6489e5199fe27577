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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lakecube.errors import InvalidInputError, MissingBandError, MissingDependencyError, ReadError
from lakecube.models import weights_file
from lakecube.models.spec import ModelSpec, Radiometry
from lakecube.models.weights_file import (
    DATA,
    INDEX,
    SPEC,
    SUFFIX,
    check_data,
    described,
    file_hash,
    header_of,
    located,
    read_index,
    spec_of,
    with_metadata,
)
from lakecube.whole_files import steady, writing

#: Bands that may stand in for another.
STAND_INS = {"nir": "nir08"}


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
    return {name: ModelSpec.from_json(json.dumps(e["spec"]), e["sha256"]) for name, e in read_index().items()}


def find(model: str | os.PathLike[str]) -> Weights:
    """The handle of a model by its name or the path of its file, whose hash is checked.

    A file of one's own is compared with the network that it names, where torch is installed; the packaged ones were.

    Raises
    ------
    InvalidInputError
        No model of that name, no file there, or one whose spec and tensors are not of the network it names.
    ReadError
        A file that holds no model of lakecube, or is not as it was written.
    """
    name = str(model)
    known = available()
    if name in known:
        return _as_published(Weights(name, known[name]))
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
    spec, content = described(path), path.read_bytes()
    check_data(content, path.name)
    if not _not_installed():
        _check_network(spec, content, path.name)
    return Weights(str(path), replace(spec, sha256=hashlib.sha256(content).hexdigest()))


def _as_published(weights: Weights) -> Weights:
    """The same, if its file is not in the package or is the one in the index."""
    path = weights_file.FOLDER / f"{weights.source}{SUFFIX}"
    if path.is_file():
        _check_hash(weights, path, file_hash(path))
    return weights


def _check_hash(weights: Weights, path: Path, digest: str) -> None:
    if digest != weights.spec.sha256:
        raise ReadError(
            f"the weights {weights.source} in {path} are not those expected: sha256 {digest[:12]}… instead of "
            f"{weights.spec.sha256[:12]}…; they were changed or damaged, delete them and install, fetch or train anew"
        )


def choose(bands: Iterable[str], radiometry: Radiometry = "reflectance", *, patches: bool = False) -> Weights:
    """The preferred model for a cube of these bands: of those that have all they need the first in the index.

    Models trained on the same radiometry go before others. Classifiers of patches are chosen from if `patches`, else
    those of pixels.

    Raises
    ------
    MissingBandError
        No model works on these bands.
    """
    have = {*bands}
    index = read_index()
    known = available().items()
    models = {n: s for n, s in known if (s.patch is not None) == patches and index[n].get("packaged", True)}
    fit = [n for n, spec in models.items() if not missing_bands(spec, have)]
    if not fit:
        needs = "; ".join(f"{name} takes {', '.join(spec.bands)}" for name, spec in models.items())
        raise MissingBandError(
            f"no model works on the bands {', '.join(sorted(have)) or '(none)'}: {needs or 'none is installed'}. Open "
            "the cube with the bands that one takes, or give a file of your own as model="
        )
    best = min(fit, key=lambda name: models[name].radiometry != radiometry)
    return _as_published(Weights(best, models[best]))


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
    weights = model if isinstance(model, Weights) else find(model)
    path = located(weights.source, weights.spec.sha256)
    content = path.read_bytes()
    _check_hash(weights, path, hashlib.sha256(content).hexdigest())
    header = header_of(content, path.name)
    if SPEC in header["__metadata__"] and spec_of(header, path.name).to_json() != weights.spec.to_json():
        raise ReadError(f"{path.name} says other things of its model than was asked for: take registry.find(name)")
    check_data(content, path.name)
    return weights.spec, _state_of(content, path.name)


def _state_of(content: bytes, name: str) -> dict[str, Any]:
    """The tensors of a file, those of floats as float32; ReadError if they are none or hold no number."""
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        state = parse(content)
    except SafetensorError as error:
        raise ReadError(f"{name} cannot be read as safetensors: {error}") from error
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    odd = next((key for key, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if odd is not None:
        raise ReadError(f"{name} holds NaN or infinity in {odd}: such a network answers nothing, train it again")
    return state


def _check_network(spec: ModelSpec, content: bytes, name: str) -> None:
    """Raise InvalidInputError unless a file is of the network it names."""
    from lakecube.models.matching import matched

    try:
        matched(spec, _state_of(content, name))
    except InvalidInputError as error:
        raise InvalidInputError(f"{name} is not the model that it says it is: {error}") from error


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
        Keep floats as float16, but for tensors with a number that is too great for it.

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
        if tensor.is_floating_point():
            fits = half and bool((tensor.abs() <= torch.finfo(torch.float16).max).all())
            tensor = tensor.to(torch.float16 if fits else torch.float32)
        kept[name] = tensor
    plain = serialise(kept)
    data = plain[header_of(plain, path.name)["__end__"] :]
    content = with_metadata(plain, {SPEC: spec.to_json(), DATA: hashlib.sha256(data).hexdigest()}, path.name)
    with writing(path, partial=steady(path)) as partial:
        partial.write_bytes(content)
    return replace(spec, sha256=hashlib.sha256(content).hexdigest())


def add(
    path: str | os.PathLike[str], *, folder: Path | None = None, first: bool = False, packaged: bool = True
) -> ModelSpec:
    """Put a file that `save` wrote among the packaged weights, and its entry in the index.

    Parameters
    ----------
    path : path
        The file; its copy takes the name in its spec.
    folder : path, optional
        Where the index is, if not in the package.
    first : bool
        Before the others in the order of preference, not after them.
    packaged : bool
        False: only the entry; the file is to be fetched, and the model is never chosen unless it is named.

    Returns
    -------
    ModelSpec
        With the hash of the file.
    """
    folder = weights_file.FOLDER if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    content = Path(path).read_bytes()
    spec = replace(described(Path(path)), sha256=hashlib.sha256(content).hexdigest())
    target = folder / f"{spec.name}{SUFFIX}"
    if packaged and Path(path).resolve() != target.resolve():
        shutil.copyfile(path, target)
    about = {"sha256": spec.sha256, "bytes": len(content), "packaged": packaged}
    entry = {spec.name: {**about, "spec": json.loads(spec.to_json())}}
    others = {name: e for name, e in read_index(folder).items() if name != spec.name}
    index = {**entry, **others} if first else {**others, **entry}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return spec


def need_torch() -> None:
    """Raise MissingDependencyError unless torch and safetensors are installed."""
    missing = _not_installed()
    if missing:
        raise MissingDependencyError(
            f"neural models need {' and '.join(missing)}: pip install -c constraints.txt '.[deep]'"
        )


def _not_installed() -> list[str]:
    return [name for name in ("torch", "safetensors") if find_spec(name) is None]
