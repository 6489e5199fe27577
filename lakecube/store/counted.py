"""A store of Zarr that counts the bytes of the chunks that pass."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import Store
from zarr.storage import WrapperStore

from lakecube.io.traffic import TRAFFIC


class CountedStore(WrapperStore[Store]):
    """The store it wraps, in all but that `lakecube.io.traffic` learns what is read and written at `place`."""

    def __init__(self, store: Store, place: str) -> None:
        super().__init__(store)
        self.place = place

    def _with_store(self, store: Store) -> CountedStore:
        return type(self)(store, self.place)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """As of the wrapped store."""
        found = await self._store.get(key, *args, **kwargs)
        if found is not None:
            TRAFFIC.add("read", len(found), self.place)
        return found

    async def set(self, key: str, value: Any) -> None:
        """As of the wrapped store."""
        await self._store.set(key, value)
        TRAFFIC.add("written", len(value), self.place)
