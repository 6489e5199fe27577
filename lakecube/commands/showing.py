"""`lakecube dashboard`: a store in the browser."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lakecube.dashboard import serve


def dashboard(given: argparse.Namespace) -> dict[str, Any]:
    """Serve a store until interrupted; with --json the address comes as one line of JSON, when it answers."""
    options: dict[str, Any] = {}
    if given.json:
        options["tell"] = lambda url: print(json.dumps({"store": given.store, "url": url}), flush=True)
        given.json = False  # that line is all
    serve(given.store, port=given.port, address=given.address, origins=given.origin, show=not given.no_browser,
          **options)  # fmt: skip
    return {"store": given.store}
