"""The command line: `lakecube demo | extract | plan | info`. What it does is in `lakecube.commands`.

Nothing heavy is imported until a command runs, so that `--help` and a typo answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130

_EXTRACT_EXAMPLES = """examples:
  lakecube extract https://earth-search.aws.element84.com/v1 --collection sentinel-2-l2a \\
      --bbox 105.6 26.7 105.9 27.0 --datetime 2021-04/2021-10 --query 'eo:cloud_cover<40' --out lake.zarr
  lakecube extract items.json --collection landsat-c2-l2 --dem dem.tif --out landsat.zarr
  lakecube extract items.json --threshold otsu --rules paper --composite month --out paper.zarr
  lakecube extract items.json --set ndvi_max=0.3 --set slope_max=20 --out tuned.zarr
  lakecube extract --list-parameters     every parameter, its default and its value in the paper

The same command again finishes a run that was stopped; --mode append adds new dates to a finished store."""

_PLAN_EXAMPLES = """examples:
  lakecube plan items.json --collection sentinel-2-l2a
  lakecube plan https://earth-search.aws.element84.com/v1 --collection sentinel-2-l2a \\
      --bbox 105.6 26.7 105.9 27.0 --datetime 2021 --json"""

_INFO_EXAMPLES = """examples:
  lakecube info lake.zarr
  lakecube info lake.zarr --dates        the area of water on every date
  lakecube info lake.zarr --json"""

_DEMO_EXAMPLES = """examples:
  lakecube demo
  lakecube demo --out somewhere          keeps the archive, the store and the picture there"""


class _Parser(argparse.ArgumentParser):
    """A parser that guesses which option was meant."""

    def error(self, message: str) -> NoReturn:
        known = [option for one in (self, *self._below()) for option in one._option_string_actions]
        words = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized"):
            close = {near: None for word in words for near in difflib.get_close_matches(word, known, n=1)}
            message += f" (did you mean {', '.join(close)}?)" if close else ""
        super().error(message)

    def _below(self) -> list[argparse.ArgumentParser]:
        inner = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        return [one for action in inner for one in action.choices.values()]


class _ListParameters(argparse.Action):
    """Print the parameters of the method and stop, as --help does."""

    def __call__(self, *_: Any) -> None:
        from lakecube.commands import list_parameters

        print(list_parameters())
        raise SystemExit(OK)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = _Parser(
        prog="lakecube",
        description="Satellite archives in, trustworthy water through time out.",
        epilog="Each command has --help with examples. Exit code: 0 done, 1 failed, 2 a mistake in the request.",
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="{demo,extract,plan,info}")
    _add_demo(commands)
    extract = _command(commands, "extract", "map water on every date and write a store", _EXTRACT_EXAMPLES)
    _add_request(extract)
    _add_output(extract)
    plan = _command(
        commands, "plan", "what an extract would read, compute and hold; reads metadata only", _PLAN_EXAMPLES
    )
    _add_request(plan)
    _add_output(plan, needed=False)
    info = _command(commands, "info", "what a store holds", _INFO_EXAMPLES)
    info.add_argument("store", metavar="STORE", help="directory of a store")
    info.add_argument("--dates", action="store_true", help="list every date: area of water, share seen")
    _add_common(info)
    return top


def _command(commands: Any, name: str, text: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    command.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors stay")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_demo(commands: Any) -> None:
    demo = _command(commands, "demo", "the whole chain on a small made-up archive with known truth", _DEMO_EXAMPLES)
    demo.add_argument("--out", metavar="DIR", default="lakecube-demo", help="where files go (default: %(default)s)")
    demo.add_argument("--size", type=int, default=None, metavar="PX", help=argparse.SUPPRESS)
    demo.add_argument("--dates", type=int, default=None, metavar="N", help=argparse.SUPPRESS)
    _add_common(demo)


def _add_request(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("source", metavar="SOURCE", nargs="+", help="STAC API, catalogue, item or item file; GeoTIFFs; Zarr; NetCDF")
    add("--collection", metavar="C", action="append", help="collection to search; may be repeated")
    add("--bbox", nargs=4, type=float, metavar=("W", "S", "E", "N"), help="west south east north, in degrees")
    add("--datetime", metavar="T", help="a date, month or year, or an interval such as 2019/2021-06")
    add("--query", metavar="'k<20'", action="append", help="condition on an item property; may be repeated")
    add("--sensor", metavar="NAME", help="where the metadata do not tell it, e.g. landsat-oli-c2-l2")
    add("--bands", nargs="+", metavar="B", help="bands to read, or name=band for GeoTIFFs and arrays")
    add("--crs", help="CRS of the result (default: that of most scenes)")
    add("--resolution", type=float, metavar="R", help="pixel size in units of the CRS (default: the finest band's)")
    add("--chunks", type=int, metavar="PX", help="pixels per chunk along y and x (default: 1024)")
    add("--dem", metavar="FILE", help="elevation in metres, path or URL; adds the slope rule")
    add("--offset", default="metadata", help="radiometric offset: metadata, audit or a number (default: metadata)")
    add("--no-cloud-mask", action="store_true", help="do not use the quality layers")
    add(
        "--cloud-buffer",
        type=float,
        default=40.0,
        metavar="M",
        help="metres around cloud that stay unknown (default: 40)",
    )
    add("--method", default="fusion", help="published method (default: fusion)")
    add("--composite", choices=["month"], help="judge monthly composites instead of dates")
    add("--threshold", default=None, metavar="HOW", help="guarded, otsu, fixed, bimodal_tiles, or mndwi=0.1")
    add("--rules", default=None, metavar="HOW", help="evidence (default), paper or none")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="parameters",
        help="any parameter of the method; may be repeated")  # fmt: skip
    add("--list-parameters", action=_ListParameters, nargs=0, help="list the parameters of the method and stop")


def _add_output(command: argparse.ArgumentParser, needed: bool = True) -> None:
    add = command.add_argument
    add("--out", metavar="S.zarr", required=needed, help="directory of the store to write")
    add("--mode", choices=["resume", "append", "overwrite"], default="resume",
        help="what to do if the store is there (default: resume)")  # fmt: skip
    add("--workers", type=int, metavar="N", help="threads to use (default: all cores)")
    add("--scheduler", metavar="tcp://…", help="address of a Dask cluster to run on")
    _add_common(command)


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
    _plain_warnings()
    try:
        return _run(given)
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print(f"\nlakecube: interrupted{_how_to_resume(given)}", file=sys.stderr)
        return INTERRUPTED


def _run(given: argparse.Namespace) -> int:
    from lakecube import commands
    from lakecube.errors import LakecubeError

    try:
        result = getattr(commands, given.command)(given)
        if given.json:
            print(json.dumps(result, indent=1, default=str))
        sys.stdout.flush()
        return OK
    except LakecubeError as error:
        if given.debug:
            raise
        print(f"lakecube: {_in_words(str(error))}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if given.debug:
            raise
        text = f"{type(error).__name__}: {_one_line(str(error))}"
        print(f"lakecube: unexpected {text} (--debug shows where; please report it)", file=sys.stderr)
        return FAILED


def exit_code(error: Exception) -> int:
    """2 where the request is at fault, 1 where the world is: unreadable imagery, a full disk."""
    import errno

    from lakecube.errors import ReadError, StoreError

    cause = error.__cause__
    if isinstance(error, ReadError) or (isinstance(error, StoreError) and " GB free" in str(error)):
        return FAILED
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        return FAILED
    return MISTAKE


def _how_to_resume(given: argparse.Namespace) -> str:
    return "; the same command resumes where this one stopped" if given.command == "extract" else ""


def _in_words(text: str) -> str:
    """A message in one line, in flags instead of Python, and without a file's name twice."""
    from lakecube.commands import in_flags

    return re.sub(r"(?<!\S)(\S+): '?\1'?(?=[:\s])", r"\1", in_flags(_one_line(text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain_warnings() -> None:
    """Print each warning and each log line of lakecube once, in one line, without source code."""
    said: set[str] = set()

    def say(text: str) -> None:
        line = _in_words(text)
        if line not in said:
            said.add(line)
            print(f"lakecube: warning: {line}", file=sys.stderr)

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            say(str(message))

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    warnings.showwarning = show
    logger = logging.getLogger("lakecube")
    logger.handlers, logger.propagate = [Lines(logging.WARNING)], False


if __name__ == "__main__":
    sys.exit(main())
