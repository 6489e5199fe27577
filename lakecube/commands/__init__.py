"""What each command of the command line does: from parsed arguments to a result and a summary on stdout.

One module per family of commands; a command is a function of its name here, called with the parsed arguments.
"""

import lakecube.accessor  # noqa: F401  registers `.water`, which the console script leaves to here
from lakecube.commands.assessing import assess
from lakecube.commands.describing import info
from lakecube.commands.exporting import export
from lakecube.commands.extracting import demo, extract, plan
from lakecube.commands.helping import completion, doctor
from lakecube.commands.lakes import lakes, revise, update
from lakecube.commands.parameters import list_parameters
from lakecube.commands.showing import dashboard
from lakecube.commands.training import train
from lakecube.commands.words import in_flags

__all__ = [
    "assess",
    "completion",
    "dashboard",
    "demo",
    "doctor",
    "export",
    "extract",
    "in_flags",
    "info",
    "lakes",
    "list_parameters",
    "plan",
    "revise",
    "train",
    "update",
]
