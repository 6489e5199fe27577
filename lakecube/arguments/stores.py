"""`lakecube info`: its options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_common, new_command

_INFO_EXAMPLES = """examples:
  lakecube info lake.zarr
  lakecube info lake.zarr --dates        the area of water on every date
  lakecube info lake.zarr --json"""


def add_info(commands: Any) -> None:
    """`lakecube info`."""
    info = new_command(commands, "info", "what a store holds", _INFO_EXAMPLES)
    info.add_argument("store", metavar="STORE", help="directory of a store")
    info.add_argument("--dates", action="store_true", help="list every date: area of water, share seen")
    add_common(info)
