"""`lakecube info` and `dashboard`: their options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_common, new_command

_INFO_EXAMPLES = """examples:
  lakecube info lake.zarr
  lakecube info lake.zarr --dates        the area of water on every date
  lakecube info lake.zarr --runs         every run: scenes read, skipped and failed, thresholds, time and bytes by stage
  lakecube info lake.zarr --json"""


def add_info(commands: Any) -> None:
    """`lakecube info`."""
    info = new_command(commands, "info", "what a store holds", _INFO_EXAMPLES)
    info.add_argument("store", metavar="STORE", help="directory of a store")
    info.add_argument("--dates", action="store_true", help="list every date: area of water, share seen")
    info.add_argument("--runs", action="store_true", help="tell of every run that wrote it")
    add_common(info)


_DASHBOARD_EXAMPLES = """examples:
  lakecube dashboard lake.zarr                          maps, lakes, areas in the browser, on this machine alone
  lakecube dashboard lake.zarr --port 0 --no-browser    at any free port, which is printed
  lakecube dashboard lake.zarr --origin maps.example.org:443    behind a proxy that lets in who may see it"""


def add_dashboard(commands: Any) -> None:
    """`lakecube dashboard`."""
    dashboard = new_command(commands, "dashboard", "show a store in the browser until interrupted", _DASHBOARD_EXAMPLES)
    dashboard.add_argument("store", metavar="STORE", help="a store; it is read, never written")
    dashboard.add_argument(
        "--port", type=int, default=5006, help="where to listen; 0 is any that is free (default: 5006)"
    )
    dashboard.add_argument("--address", default="127.0.0.1",
                           help="address of this machine to listen at; whoever reaches it sees the store, without a "
                           "password (default: 127.0.0.1, this machine alone)")  # fmt: skip
    dashboard.add_argument("--origin", metavar="HOST:PORT", action="append", default=[],
                           help="a name under which browsers ask for it, behind a proxy (repeatable)")  # fmt: skip
    dashboard.add_argument("--no-browser", action="store_true", help="do not open a browser")
    add_common(dashboard)
