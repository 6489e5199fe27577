"""`lakecube dashboard`: a store in the browser."""

from __future__ import annotations

import argparse
from typing import Any

from lakecube.dashboard import serve


def dashboard(given: argparse.Namespace) -> dict[str, Any]:
    """Serve a store until interrupted."""
    serve(given.store, port=given.port, address=given.address, origins=given.origin, show=not given.no_browser)
    return {"store": given.store}
