"""What all commands share: the parser, the form of their help, the options that each has.

The parsers import nothing heavy, so that `--help` and a typo answer at once.
"""

from __future__ import annotations

import argparse
import difflib
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that guesses which option was meant."""

    def error(self, message: str) -> NoReturn:
        """Stop with exit code 2, and a guess where an option is unknown."""
        known = [option for one in (self, *self._below()) for option in one._option_string_actions]
        words = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized"):
            close = {near: None for word in words for near in difflib.get_close_matches(word, known, n=1)}
            others = [
                word for word in words if word in close
            ]  # the parser of all commands says this, not the one's own
            meant = f" (did you mean {', '.join(close)}?)" if close else ""
            message += f" ({', '.join(others)} belongs to other commands: see --help of this one)" if others else meant
        super().error(message)

    def _below(self) -> list[argparse.ArgumentParser]:
        inner = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        return [one for action in inner for one in action.choices.values()]


def new_command(commands: Any, name: str, text: str, examples: str) -> argparse.ArgumentParser:
    """A command with its help and examples."""
    return commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip


def add_engine(command: argparse.ArgumentParser) -> None:
    """On what to compute."""
    command.add_argument("--workers", type=int, metavar="N", help="threads to use (default: all cores)")
    command.add_argument("--scheduler", metavar="tcp://…", help="address of a Dask cluster to run on")


def add_channels(add: Any) -> None:
    """What the channels of pictures are; one option with one meaning wherever pictures are read."""
    add("--channels", nargs="+", metavar="B",
        help="what the files' channels are, in their order, such as blue green red; pictures do not tell, and are "
        "taken as red green blue")  # fmt: skip


def add_common(command: argparse.ArgumentParser) -> None:
    """The options that every command has."""
    command.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    command.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors stay")
    command.add_argument("-v", "--verbose", action="count", default=0,
                         help="say on stderr what is done; -vv in all detail")  # fmt: skip
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
