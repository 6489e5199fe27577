"""One case run under guard, and what came of it: a result, a clear refusal, or a fault.

Guards: an alarm and, where C code does not let it through, a watchdog that ends the process; a limit on memory; a hook
on what Python opens; inotify on bait files, which sees what GDAL opens; words of the bait in whatever comes out.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakecube.errors import LakecubeError

#: Seconds of processor time a case may take, and seconds after which the watchdog ends the process.
LIMIT, WAIT = 10.0, 90.0
#: Bytes of address space a batch may take beyond what it has once everything is loaded.
ROOM = 3 * 2**30
#: In every bait file; what holds it has read one.
BAIT = "kingfisher-1847-bait"
#: The number of a pixel of the bait raster.
BAIT_PIXEL = 54321
#: Longest message that still is one or two sentences: lists of bands and values take their room.
LONGEST = 1200


class HangError(BaseException):
    """A case took too long; no `except Exception` swallows it."""


class WrongError(Exception):
    """A case was answered, and the answer is wrong."""


@dataclass(frozen=True)
class Verdict:
    """What came of a case: "result", "refusal" or "fault", and the message or the fault in words."""

    outcome: str
    told: str = ""


class Watch:
    """What was opened: by Python through the audit hook, by C code through inotify on the bait."""

    _IN_OPEN = 0x20

    def __init__(self, bait: Path) -> None:
        self.bait = bait
        self.seen: list[str] = []
        self.on = False
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK) if sys.platform.startswith("linux") else -1
        if self._events >= 0:
            libc.inotify_add_watch(self._events, os.fsencode(bait), self._IN_OPEN)
        victims = (str(bait), "/etc/passwd", "/etc/shadow", "/etc/hosts.bait", str(Path.home() / ".ssh"))

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if self.on and event in {"open", "os.listdir", "os.scandir"} and isinstance(arguments[0], str | bytes):
                path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100  no resolving: it would be an event
                if path.startswith(victims):
                    self.seen.append(path)

        sys.addaudithook(hook)

    def works(self) -> bool:
        """Whether opening a bait file is noticed by C code's watch as well."""
        with self.watching(), (self.bait / "secret.txt").open() as file:
            file.read()
        return len(self.taken()) > 1

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take note while inside."""
        self.taken()
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def taken(self) -> list[str]:
        """What was opened since the last call."""
        found, self.seen = self.seen, []
        with contextlib.suppress(BlockingIOError):
            while self._events >= 0:
                data = os.read(self._events, 65536)
                while data:
                    length = struct.unpack_from("iIII", data)[3]
                    found.append(f"{self.bait}/{data[16 : 16 + length].rstrip(bytes(1)).decode()}")
                    data = data[16 + length :]
        return found


def limit_memory() -> None:
    """Bound the address space of this process to what it has now and some room."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def judged(run: Callable[[Any], Any], case: Any, watch: Watch | None) -> Verdict:
    """Run a case and say what came of it."""
    said = _Said()
    try:
        with _alarm(), said, watch.watching() if watch is not None else contextlib.nullcontext():
            outcome, told = "result", str(run(case))
    except LakecubeError as error:
        outcome, told = "refusal", str(error)
    except WrongError as error:
        return Verdict("fault", f"wrong success: {error}")
    except HangError:
        return Verdict("fault", f"no answer within {LIMIT:g} s of processor time")
    except (Exception, SystemExit) as error:
        return Verdict("fault", f"{type(error).__name__} came through: {str(error)[:200]} at {_where(error)}")
    opened = watch.taken() if watch is not None else []
    if opened:
        return Verdict("fault", f"opened {sorted(set(opened))}, then {outcome}: {told[:200]}")
    if BAIT in told or BAIT in said.text:
        return Verdict("fault", f"the bait shows in what is said: {told[:300]} {said.text[:300]}")
    if outcome == "refusal" and (why := _unclear(told)):
        return Verdict("fault", f"a refusal that {why}: {told[:400]!r}")
    return Verdict(outcome, told)


def _unclear(told: str) -> str:
    """What makes a message no clear sentence, if anything does."""
    if len(told) > LONGEST:
        return f"is {len(told)} characters long"
    if len(told.split()) < 4:
        return "says too little"
    if not told.replace("\n", "").isprintable():
        return "has control characters"
    odd = next((sign for sign in ("Traceback", "<class '", "<frozen", "object at 0x", "__dict__") if sign in told), "")
    return f"shows insides ({odd})" if odd else ""


def _where(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/lakecube/" in f.filename]
    last = traceback.extract_tb(error.__traceback__)[-1]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in [last, *frames[::-1]][:4])


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    faulthandler.dump_traceback_later(WAIT, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


class _Said(logging.Handler):
    """Everything that is logged or warned of while inside."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"

    def __enter__(self) -> _Said:
        logging.getLogger().addHandler(self)
        logging.getLogger("lakecube").addHandler(self)
        self._caught = warnings.catch_warnings(record=True)
        self._warned = self._caught.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *_: Any) -> None:
        self.text += "\n".join(str(one.message) for one in self._warned)
        self._caught.__exit__(None, None, None)
        for name in (None, "lakecube"):
            logging.getLogger(name).removeHandler(self)
