"""The parsers of the command line, one module per family of commands. What a command does is in `lakecube.commands`."""

from __future__ import annotations

import argparse

from lakecube.arguments.assessing import add_assess
from lakecube.arguments.common import Parser
from lakecube.arguments.exporting import add_export
from lakecube.arguments.extracting import add_demo, add_extract, add_plan
from lakecube.arguments.helping import add_completion, add_doctor
from lakecube.arguments.lakes import add_lakes, add_revise, add_update
from lakecube.arguments.stores import add_dashboard, add_info
from lakecube.arguments.training import add_train

#: In the order of the help.
_COMMANDS = {
    "demo": add_demo,
    "extract": add_extract,
    "update": add_update,
    "revise": add_revise,
    "plan": add_plan,
    "lakes": add_lakes,
    "assess": add_assess,
    "train": add_train,
    "dashboard": add_dashboard,
    "info": add_info,
    "export": add_export,
    "doctor": add_doctor,
    "completion": add_completion,
}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = Parser(
        prog="lakecube",
        description="Satellite archives in, trustworthy water through time out.",
        epilog="Each command has --help with examples. Exit code: 0 done, 1 failed, 2 a mistake in the request.",
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="{" + ",".join(_COMMANDS) + "}")
    for add in _COMMANDS.values():
        add(commands)
    commands.choices["completion"].set_defaults(parser=top)
    return top
