"""What tasks tell the run that sent them out: reads that failed, bytes of imagery, the state of each file they read.

The id of the run travels with its tasks, so runs side by side take nothing from each other, whoever computes. A task
speaks once, as it ends. On a worker it does so on the stream on which the worker tells that the task is finished, so
whoever knows the result of a task knows what it had to tell, though the worker may have died since.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import astuple, dataclass, field
from typing import Any

#: Topic of the cluster under which its workers tell.
TOPIC = "lakecube-run"
#: Kinds of trouble that are kept apart; further ones are counted together.
_MOST = 2000
_OTHERS = "other reasons"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble: the item, its file (no query, no user) and what was wrong; `failed`: no try helped."""

    item: str
    file: str
    reason: str
    failed: bool


@dataclass(slots=True)
class Told:
    """What was told: troubles with their counts; item, file and state of what was read; bytes of decoded pixels."""

    troubles: Counter[Trouble] = field(default_factory=Counter)
    states: set[tuple[str, str, str]] = field(default_factory=set)
    imagery: int = 0

    def plain(self) -> list[Any]:
        """As lists of text and numbers, for a cluster."""
        troubles = [[*astuple(trouble), count] for trouble, count in self.troubles.items()]
        return [troubles, [list(state) for state in sorted(self.states)], self.imagery]

    @classmethod
    def of(cls, plain: Any) -> Told:
        """The inverse of `plain`."""
        troubles, states, imagery = plain
        return cls(
            Counter({Trouble(*kind): count for *kind, count in troubles}), {(i, f, s) for i, f, s in states}, imagery
        )


class Heard:
    """What the tasks of one run have told; nothing of it stays once the run is over, however it ends."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex
        self.ear = ""  #: the client that hears for the run, if there are workers
        self.refused: set[str] = set()  #: files, by their names of `lakecube.io.states`, that its tasks are not to read
        self.process = os.getpid()  # a forked process has the same memory
        self._told = Told()
        self._lock = threading.Lock()
        _open[self.run] = self

    def add(self, told: Told) -> None:
        """Hear what a task has to tell."""
        with self._lock:
            counts = self._told.troubles
            for trouble, count in told.troubles.items():
                kind = trouble
                if len(counts) >= _MOST and kind not in counts:
                    kind = Trouble(kind.item if kind.failed else "", "", _OTHERS, kind.failed)
                counts[kind] += count
            self._told.states |= told.states
            self._told.imagery += told.imagery

    def take(self) -> Told:
        """What was told since the last call."""
        with self._lock:
            told, self._told = self._told, Told()
        return told


_open: weakref.WeakValueDictionary[str, Heard] = weakref.WeakValueDictionary()
_of_task: ContextVar[Told | None] = ContextVar("lakecube_told", default=None)
_refused: ContextVar[frozenset[str]] = ContextVar("lakecube_refused", default=frozenset())


@dataclass(frozen=True, slots=True)
class ForRun:
    """The function of a task, the run that is told what it meets, and the files that it is not to read."""

    function: Callable[..., Any]
    run: str
    refused: frozenset[str] = frozenset()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; then tell, whatever became of it."""
        told = Told()
        before, allowed = _of_task.set(told), _refused.set(self.refused)
        try:
            return self.function(*args, **kwargs)
        finally:
            _of_task.reset(before)
            _refused.reset(allowed)
            if told != Told():
                _tell(self.run, told)


def note(item: str, file: str, reason: str, *, failed: bool) -> None:
    """Tell of a try that failed, or (`failed`) of a read that was given up; `file` and `reason` hold no secret."""
    if (told := _of_task.get()) is not None:
        told.troubles[Trouble(item, file, reason, failed)] += 1


def decoded(count: int) -> None:
    """Tell of bytes of imagery that were decoded."""
    if (told := _of_task.get()) is not None:
        told.imagery += count


def read_as(item: str, file: str, state: str) -> None:
    """Tell in which state a file of an item was read."""
    if (told := _of_task.get()) is not None:
        told.states.add((item, file, state))


def is_refused(file: str) -> bool:
    """Whether the task is not to read a file, by its name of `lakecube.io.states`."""
    return file in _refused.get()


def hear(ear: str, event: tuple[float, Any]) -> None:
    """Take what a worker told to the run it is for, if that is one of this process that hears by `ear`."""
    run, *plain = event[1]
    heard = _open.get(run)
    if heard is not None and heard.ear == ear:  # two clients of one cluster hear everything twice
        heard.add(Told.of(plain))


def _tell(run: str, told: Told) -> None:
    heard = _open.get(run)
    if heard is not None and heard.process == os.getpid():
        heard.add(told)
    elif "distributed.worker" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):  # no task of a worker: the run is over, or of a process that does not hear
            get_worker().log_event(TOPIC, [run, *told.plain()])


def failed_items(troubles: Iterable[Trouble]) -> set[str]:
    """Ids of the items of which something could not be read."""
    return {trouble.item for trouble in troubles if trouble.failed}
