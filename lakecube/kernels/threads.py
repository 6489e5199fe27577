"""Work that threads share: the caller is one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

#: `map` that is done when all is done: each(function, *iterables), a call for each thread.
Each = Callable[..., list[Any]]


@contextmanager
def threads(count: int) -> Iterator[Each]:
    """What calls a function `count` times at once, in this thread and in others; without others if `count` is 1."""
    with ThreadPoolExecutor(max(count - 1, 1)) as pool:  # a thread starts with the first call for it

        def each(function: Callable[..., Any], *of_each: Iterable[Any]) -> list[Any]:
            mine, *others = zip(*of_each, strict=True)
            waiting = [pool.submit(function, *arguments) for arguments in others]
            return [function(*mine), *(call.result() for call in waiting)]

        yield each
