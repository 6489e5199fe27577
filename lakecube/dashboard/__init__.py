"""A store in the browser: its maps, its lakes and their areas through time. Bokeh lives only here.

`serve` starts the server. Every visitor has a `Page`; all of them look through one `Source`, which opened the store
once, for reading.
"""

from __future__ import annotations

from typing import Any

from lakecube.errors import MissingDependencyError

__all__ = ["interactive", "serve"]


def serve(store: Any, **options: Any) -> None:
    """Show a store in the browser until interrupted: `lakecube.dashboard.server.serve`.

    Parameters
    ----------
    store : str or path
        Directory of the store, or its address in object storage.
    port, address, origins, show, storage_options : optional
        As there.

    Raises
    ------
    MissingDependencyError
        If the extra ``dashboard`` is not installed.
    StoreError
        If there is no store.
    """
    _check()
    from lakecube.dashboard.server import serve as run

    run(store, **options)


def interactive(dataset: Any, **options: Any) -> Any:
    """A map to move and to ask, without a server: `lakecube.dashboard.still.interactive`."""
    _check()
    from lakecube.dashboard.still import interactive as made

    return made(dataset, **options)


def _check() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "maps and pages in a browser need bokeh, which is not installed; install it with: "
            'pip install -c constraints.txt ".[dashboard]"'
        ) from error
