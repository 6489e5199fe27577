"""A store in object storage: `Files` by conditional requests, and a place that pickles without showing secrets.

Everything goes through obstore (the extra ``s3``). An object appears whole or not at all, so nothing half-written
is ever left; that one of several racing writers wins is asked of the service (``If-None-Match``, ``If-Match``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from zarr.abc.store import Store

from lakecube.errors import InvalidInputError, MissingDependencyError, StoreError
from lakecube.store.files import check_size

#: Object stores that are offered; the tests speak to an S3 server only.
SCHEMES = ("s3", "gs", "az", "abfs", "abfss")


def is_object_url(path: object) -> bool:
    """Whether `path` is the address of a prefix in object storage."""
    return isinstance(path, str) and path.partition("://")[0].lower() in SCHEMES and "://" in path


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectPlace:
    """A prefix in object storage.

    `options` are credentials among other things: they travel with the value to workers, and are never shown.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), repr=False)

    @classmethod
    def of(cls, url: str, options: Mapping[str, Any] | None) -> ObjectPlace:
        """The place of an address and obstore's options.

        Raises
        ------
        InvalidInputError
            If there are credentials in the address, no bucket, or options that obstore does not know.
        MissingDependencyError
            If obstore is not installed.
        """
        shown = without_secrets(url)
        if shown != url:
            raise InvalidInputError(
                f"the address of a store holds no credentials and no query: give {shown} and "
                'storage_options={"access_key_id": …, "secret_access_key": …}'
            )
        if not re.fullmatch(r"[a-z0-9]+://[^/\s]+(/.*)?", url, re.IGNORECASE):
            raise InvalidInputError(f"{shown} names no bucket: write s3://bucket/prefix")
        if options is not None and not isinstance(options, Mapping):
            raise InvalidInputError(f"storage_options is a mapping; got {type(options).__name__}")
        place = cls(url.rstrip("/"), _frozen(options or {}))
        if importlib.util.find_spec("obstore") is None:
            raise MissingDependencyError(f"{url} needs obstore: pip install -c constraints.txt '.[s3]'")
        from obstore.exceptions import BaseError

        try:
            place.client()
        except (BaseError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"storage_options for {url}: {place._harmless(error)}; the names are obstore's, such as "
                "access_key_id, secret_access_key, region, endpoint"
            ) from None
        return place

    def __str__(self) -> str:
        return self.url

    @property
    def files(self) -> ObjectFiles:
        """Files by single requests."""
        return ObjectFiles(self)

    @property
    def chunks(self) -> Store:
        """Zarr's store of objects."""
        from zarr.storage import ObjectStore

        return ObjectStore(self.client())

    def client(self) -> Any:
        """obstore's handle, one per process."""
        return _client(self)

    @property
    def parents(self) -> list[ObjectPlace]:
        """Prefixes that this one lies in."""
        scheme, _, rest = self.url.partition("://")
        parts = rest.split("/")
        return [ObjectPlace(f"{scheme}://{'/'.join(parts[:n])}", self.options) for n in range(len(parts) - 1, 0, -1)]

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what obstore raises from within Zarr into a StoreError that shows no secrets."""
        from obstore.exceptions import BaseError

        try:
            yield
        except BaseError as error:
            raise StoreError(
                f"cannot {what} {self.url}: {self._harmless(error)}. Nothing half-written is visible; mend that and "
                "make the same call again, it continues where it stopped"
            ) from None

    @contextlib.contextmanager
    def asked(self, what: str, *expected: type[Exception]) -> Iterator[None]:
        """The same around a single request, but for the answers that are `expected`."""
        from obstore.exceptions import BaseError

        try:
            yield
        except expected:
            raise
        except (BaseError, FileNotFoundError, FileExistsError, PermissionError) as error:
            raise StoreError(f"cannot {what} {self.url}: {self._harmless(error)}") from None

    def _harmless(self, error: Exception) -> str:
        """What an error says, without the answer of the server (which may name keys) and without any option."""
        text = re.split(r"<\?xml|\n|Debug source", str(error))[0].strip(" :")
        for name, value in _flat(self.options):
            if name not in _SHOWN and isinstance(value, str) and len(value) > 3:
                text = text.replace(value, "…")
        return without_secrets(text)


#: Options that may be repeated in a message.
_SHOWN = frozenset({"endpoint", "aws_endpoint", "region", "aws_region"})


class ObjectFiles:
    """`Files` in object storage."""

    def __init__(self, place: ObjectPlace) -> None:
        self.place = place

    def read(self, key: str, most: int | None = None) -> bytes:
        """Bytes of `key`; FileNotFoundError if there is none, StoreError if there are more than `most`."""
        import obstore

        with self.place.asked("read", FileNotFoundError):
            found = obstore.get(self.place.client(), key)
            if most is not None:
                check_size(found.meta["size"], most, self.where(key))
            return found.bytes().to_bytes()

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Put `data` under `key`; it survives once the service has answered."""
        import obstore

        with self.place.asked("write"):
            obstore.put(self.place.client(), key, data)

    def create(self, key: str, data: bytes) -> None:
        """Put `data` under a new `key`; FileExistsError if it exists."""
        self._put_if("create", key, data)

    def swap(self, key: str, data: bytes, before: bytes | None) -> None:
        """Put `data` under `key` if it holds `before`, by one request that the service refuses otherwise."""
        import obstore

        if before is None:
            return self._put_if("create", key, data)
        try:
            with self.place.asked("read", FileNotFoundError):
                found = obstore.get(self.place.client(), key)
                tag, now = found.meta["e_tag"], found.bytes().to_bytes()
        except FileNotFoundError as error:
            raise FileExistsError(self.where(key)) from error
        if now != before:
            raise FileExistsError(self.where(key))
        return self._put_if({"e_tag": tag or ""}, key, data)

    def _put_if(self, mode: Any, key: str, data: bytes) -> None:
        """Put on a condition; FileExistsError if it is not met, unless by an earlier try whose answer was lost."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        refused = (AlreadyExistsError, PreconditionError, FileExistsError)
        try:
            with self.place.asked("write", *refused):
                obstore.put(self.place.client(), key, data, mode=mode)
        except refused as error:
            if self.read(key) != data:
                raise FileExistsError(self.where(key)) from error

    def list(self, key: str) -> list[str]:
        """Sorted names directly under `key`."""
        import obstore

        with self.place.asked("list"):
            found = obstore.list_with_delimiter(self.place.client(), prefix=key)
        paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        return sorted(path.rpartition("/")[2] for path in paths)

    def delete(self, key: str) -> None:
        """Remove `key` and all under it."""
        import obstore

        client = self.place.client()
        with self.place.asked("delete in"):
            if key:  # by itself: some services refuse what is not there, and with it the rest of what is asked
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(client, key)
            paths = [item["path"] for batch in obstore.list(client, prefix=key) for item in batch]
            try:
                obstore.delete(client, paths)
            except FileNotFoundError:  # somebody else removes the same
                for path in paths:
                    with contextlib.suppress(FileNotFoundError):
                        obstore.delete(client, path)

    def exists(self, key: str) -> bool:
        """Whether there is an object `key`, or any under it."""
        import obstore

        client = self.place.client()
        with self.place.asked("list"):
            if next(iter(obstore.list(client, prefix=key, chunk_size=1)), None):
                return True
            try:
                return bool(key) and obstore.head(client, key) is not None
            except FileNotFoundError:
                return False

    def touch(self, key: str) -> None:
        """Write `key` anew with the same content, unless somebody else does; OSError then."""
        import obstore

        client = self.place.client()
        with self.place.asked("write"):
            found = obstore.get(client, key)
            obstore.put(client, key, found.bytes(), mode={"e_tag": found.meta["e_tag"] or ""})

    def age(self, key: str) -> float:
        """Seconds since `key` was last written, by the clock of the service."""
        import obstore

        client, probe = self.place.client(), f"{key}.{uuid.uuid4().hex}"
        with self.place.asked("write", FileNotFoundError):
            obstore.put(client, probe, b"")
            try:
                now = obstore.head(client, probe)["last_modified"]
                return (now - obstore.head(client, key)["last_modified"]).total_seconds()
            finally:
                obstore.delete(client, probe)

    def sweep(self, key: str, *, below: bool = True) -> None:
        """Nothing half-written is ever there."""

    def sync(self) -> None:
        """What a request has answered for survives."""

    def check_own(self, key: str) -> None:
        """No key leads elsewhere."""

    def where(self, key: str = "") -> str:
        """The address of `key`."""
        return f"{self.place.url}/{key}".rstrip("/")


def without_secrets(text: str) -> str:
    """An address, or a text with addresses, without user, password, query and fragment."""
    text = re.sub(r"(:/+)[^/@\s?#]*@", r"\1", text)
    return re.sub(r"(://[^\s?#]*)[?#]\S*", r"\1", text)


@functools.lru_cache(maxsize=64)
def _client(place: ObjectPlace) -> Any:
    from obstore.store import from_url

    options: dict[str, Any] = {
        name: dict(value) if isinstance(value, tuple) else value for name, value in place.options
    }
    return from_url(place.url, **options)


def _frozen(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        sorted((str(name), _frozen(value) if isinstance(value, Mapping) else value) for name, value in options.items())
    )


def _flat(options: tuple[tuple[str, Any], ...]) -> Iterator[tuple[str, Any]]:
    for name, value in options:
        yield from _flat(value) if isinstance(value, tuple) else ((name, value),)
