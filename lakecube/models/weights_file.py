"""Files of weights: their headers, their hashes, where they lie and how they are fetched. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from lakecube.errors import InvalidInputError, ReadError
from lakecube.models.spec import ModelSpec
from lakecube.whole_files import replacing

#: Folder of the packaged weights, and the list of them.
FOLDER = Path(__file__).with_name("weights")
INDEX = "index.json"
SUFFIX = ".safetensors"
#: Environment variables: where weights that are not packaged are fetched from, and where they are kept.
URL, CACHE = "LAKECUBE_WEIGHTS_URL", "LAKECUBE_CACHE"
#: Keys of a file's metadata: the spec, and the hash of the numbers.
SPEC, DATA = "lakecube", "data_sha256"
_LONGEST_HEADER = 10_000_000


def read_index(folder: Path | None = None) -> dict[str, Any]:
    """The entries of an index by name; none without one."""
    path = (FOLDER if folder is None else folder) / INDEX
    if not path.is_file():
        return {}
    try:
        entries: dict[str, Any] = json.loads(path.read_text())
        {name: (e["spec"].items(), e["sha256"] + "", int(e["bytes"])) for name, e in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReadError(f"the list of weights {path.name} is damaged: install lakecube again") from error
    return entries


def located(source: str, sha256: str) -> Path:
    """The file of a name in the index or a path on this machine, fetched if need be."""
    if source.endswith(SUFFIX):
        path = Path(source)
        if not path.is_file():
            raise ReadError(f"no weights at {path} on this machine: every worker must see the file")
        return path
    packaged = FOLDER / f"{source}{SUFFIX}"
    kept = _cache() / f"{sha256}{SUFFIX}"
    for path in (packaged, kept):
        if path.is_file():
            return path
    base = os.environ.get(URL)
    if not base:
        raise ReadError(
            f"the weights {source} are not part of this installation: set {URL} to the address of the folder "
            f"that holds {packaged.name}, or give the path of a file as model="
        )
    entry = read_index().get(source)
    if entry is None:
        raise ReadError(f"no weights {source} in this installation: every process must have the same lakecube")
    return _fetched(f"{base.rstrip('/')}/{packaged.name}", kept, int(entry["bytes"]))


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(CACHE) or home / "lakecube") / "weights"


def _fetched(url: str, target: Path, size: int) -> Path:
    """A file of known size from an address, in its place only when it is whole; `load` checks its hash."""
    from http.client import HTTPException
    from urllib.request import urlopen

    if not url.startswith(("https://", "http://")):
        raise InvalidInputError(f"{URL} must be an http or https address; it begins with {url.partition(':')[0]!r}")
    name = url.rpartition("/")[2]
    try:
        with urlopen(url, timeout=60) as answer:
            content = answer.read(size + 1)
    except (OSError, ValueError, HTTPException) as error:
        told = type(error).__name__ if isinstance(error, HTTPException) else error  # which may quote the address
        raise ReadError(f"{name} cannot be fetched from {URL}: {told}") from error
    if len(content) != size or hashlib.sha256(content).hexdigest() != target.stem:
        raise ReadError(f"what {URL} holds as {name} is not what the index promises ({size} bytes, by hash)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise ReadError(f"{name} cannot be kept in {target.parent}: {error}; set {CACHE} to another folder") from error
    return target


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered by when it was changed and its size."""
    stat = path.stat()
    return _file_hash(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _file_hash(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_data(content: bytes, name: str) -> None:
    """Raise unless the numbers are those whose hash is in the header, if there is one."""
    header = header_of(content, name)
    kept = header["__metadata__"].get(DATA)
    if kept is not None and hashlib.sha256(content[header["__end__"] :]).hexdigest() != kept:
        raise ReadError(f"the numbers in {name} are not those that were saved: the file is damaged")


def described(path: Path) -> ModelSpec:
    """The spec in the metadata of a file."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        return spec_of(header_of(start + file.read(min(length, _LONGEST_HEADER)), path.name), path.name)


def spec_of(header: dict[str, Any], name: str) -> ModelSpec:
    """The spec in a file's header."""
    text = header["__metadata__"].get(SPEC)
    if text is None:
        raise ReadError(f"{name} holds no model of lakecube; the weights of a run bear the network's name")
    try:
        return ModelSpec.from_json(text)
    except InvalidInputError as error:
        raise ReadError(f"{name} holds no model of lakecube: {error}") from error


def with_metadata(content: bytes, metadata: dict[str, str], name: str) -> bytes:
    """A safetensors file with these metadata, in this order: safetensors itself draws one, and with it the hash."""
    header = header_of(content, name)
    end = header.pop("__end__")
    text = json.dumps({"__metadata__": metadata, **{k: v for k, v in header.items() if k != "__metadata__"}}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[end:]


def header_of(content: bytes, name: str) -> dict[str, Any]:
    """The header of a safetensors file, and in `__end__` where its numbers begin."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = {"__metadata__": {}, **json.loads(content[8 : 8 + length]), "__end__": 8 + length}
        return {**header, "__metadata__": dict(header["__metadata__"])}
    except (struct.error, ValueError, TypeError, RecursionError) as error:
        raise ReadError(f"{name} is no safetensors file") from error
