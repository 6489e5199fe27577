"""What each command of the command line does: from parsed arguments to a result and a summary on stdout.

One module per family of commands; a command is a function of its name here, called with the parsed arguments.
"""

import lakecube.accessor  # noqa: F401  registers `.water`, which the console script leaves to here
from lakecube.commands.describing import info
from lakecube.commands.extracting import demo, extract, plan
from lakecube.commands.parameters import list_parameters
from lakecube.commands.words import in_flags

__all__ = ["demo", "extract", "in_flags", "info", "list_parameters", "plan"]
