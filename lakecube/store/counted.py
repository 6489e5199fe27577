"""A store of Zarr that counts the bytes of the chunks that pass, and keeps them below its root."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import Store
from zarr.storage import WrapperStore

from lakecube.io.traffic import TRAFFIC
from lakecube.store.files import Files


class CountedStore(WrapperStore[Store]):
    """The store it wraps, but that `lakecube.io.traffic` learns what is read and written, and links are refused."""

    def __init__(self, store: Store, files: Files) -> None:
        super().__init__(store)
        self.files, self.place = files, files.where()

    def _with_store(self, store: Store) -> CountedStore:
        return type(self)(store, self.files)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """As of the wrapped store."""
        found = await self._store.get(key, *args, **kwargs)
        if found is not None:
            TRAFFIC.add("read", len(found), self.place)
        return found

    async def set(self, key: str, value: Any) -> None:
        """As of the wrapped store, but StoreError for a key that leads out of it."""
        self.files.check_own(key)
        await self._store.set(key, value)
        TRAFFIC.add("written", len(value), self.place)

    async def delete(self, key: str) -> None:
        """As of the wrapped store, but StoreError for a key that leads out of it."""
        self.files.check_own(key)
        await self._store.delete(key)
