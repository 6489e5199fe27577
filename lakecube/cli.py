"""The command line: runs a command, says its mistakes in one line, and sets the exit code.

Its options are in `lakecube.arguments`, what a command does is in `lakecube.commands`.

Nothing heavy is imported until a command runs, so that `--help` and a typo answer at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from lakecube.arguments import parser

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    top = parser()
    given = top.parse_args(arguments)
    if given.version:
        from importlib.metadata import version

        print(f"lakecube {version('lakecube')}")
        return OK
    if given.command is None:
        top.print_help()
        return MISTAKE
    _plain_warnings(given.verbose)
    try:
        return _run(given)
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # a task of Zarr's that is cut off is no news
        print(f"\nlakecube: interrupted{_how_to_resume(given)}", file=sys.stderr)
        return INTERRUPTED


def _run(given: argparse.Namespace) -> int:
    from lakecube import commands
    from lakecube.errors import LakecubeError

    try:
        result = getattr(commands, given.command)(given)
        if given.json:
            print(json.dumps(_without_nan(result), indent=1, default=str))
        sys.stdout.flush()
        return OK
    except LakecubeError as error:
        if given.debug:
            raise
        print(f"lakecube: {_in_words(str(error), channels=_by_channels(given))}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if given.debug:
            raise
        text = f"{type(error).__name__}: {_one_line(str(error))}"
        print(f"lakecube: unexpected {text} (--debug shows where; please report it)", file=sys.stderr)
        return FAILED


def _without_nan(value: Any) -> Any:
    """A result with null for what is unknown: JSON has no NaN, and most readers of it refuse one."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exit_code(error: Exception) -> int:
    """2 where the request is at fault, 1 where the world is: unreadable imagery, a full disk, a lost cluster."""
    import errno

    from lakecube.errors import ClusterError, ReadError, StoreError

    cause = error.__cause__
    if isinstance(error, ClusterError | ReadError) or (isinstance(error, StoreError) and " GB free" in str(error)):
        return FAILED
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        return FAILED
    return MISTAKE


def _how_to_resume(given: argparse.Namespace) -> str:
    if given.command in ("extract", "update", "revise"):
        kept = "what was finished is kept, all but the last wave of blocks"
        return f"; {kept}, and the same lakecube {given.command} goes on from there"
    resumes = given.command == "train" and given.architecture != "sapcnn"
    return "; the same command resumes where this one stopped" if resumes else ""


def _in_words(text: str, *, channels: bool = False) -> str:
    """A message in one line, in flags instead of Python, and without a file's name twice."""
    from lakecube.commands import in_flags

    return re.sub(r"(?<!\S)(\S+): '?\1'?(?=[:\s])", r"\1", in_flags(_one_line(text), channels=channels))


def _by_channels(given: argparse.Namespace) -> bool:
    """Whether a request names bands by --channels: where it says so, and of training folders unless it says --bands."""
    if getattr(given, "bands", None) is not None:
        return False
    return getattr(given, "channels", None) is not None or (given.command == "train" and given.cube is None)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain_warnings(verbose: int) -> None:
    """Print each warning and each log line of lakecube once, in one line, without source code.

    All of lakecube logs under the name "lakecube"; `verbose` shows INFO, or from 2 on DEBUG, as well.
    """
    said: set[str] = set()

    def say(text: str, kind: str = "warning: ") -> None:
        line = kind + _in_words(text)
        if line not in said:
            said.add(line)
            print(f"lakecube: {line}", file=sys.stderr)

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            say(str(message))

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage(), "warning: " if record.levelno >= logging.WARNING else "")

    warnings.showwarning = show
    logger = logging.getLogger("lakecube")
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logger.handlers, logger.propagate = [Lines(level)], False
    logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
