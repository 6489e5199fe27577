"""Files to take away: the series as CSV, the outlines as GeoParquet. Made beside the server's loop, sent in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from lakecube.dashboard.filters import Filters, lake_number
from lakecube.dashboard.source import Opened, Source
from lakecube.errors import InvalidInputError, LakecubeError, MissingDependencyError
from lakecube.names import LAKE
from lakecube.series.areas import write_series
from lakecube.series.outlines import save_outlines

_PIECE = 1 << 20
_CODES = ((MissingDependencyError, 501), (ValueError, 400), (OSError, 500), (LakecubeError, 500))


def refuse(handler: RequestHandler, code: int, text: str) -> None:
    """Answer with one sentence, no traceback."""
    handler.set_status(code)
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.finish(f"{text}\n")


class Download(RequestHandler):
    """A file made for one request; `initialize` gets the source."""

    def initialize(self, source: Source) -> None:
        """Called by Tornado with what the server was set up with."""
        self.source = source

    async def get(self) -> None:
        """Make the file, send it."""
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        with tempfile.TemporaryDirectory() as folder:
            try:
                opened = await asyncio.to_thread(self.source.look)  # nobody else may have looked for days
                path = await asyncio.to_thread(self.make, Path(folder), opened, given)
            except (LakecubeError, OSError, ValueError) as error:
                refuse(self, next(code for kind, code in _CODES if isinstance(error, kind)), str(error))
                return
            self.set_header("Content-Type", "text/csv" if path.suffix == ".csv" else "application/vnd.apache.parquet")
            self.set_header("Content-Disposition", f'attachment; filename="{path.name}"')
            self.set_header("Content-Length", str(path.stat().st_size))
            with path.open("rb") as file, contextlib.suppress(StreamClosedError):  # who asked has gone
                while piece := file.read(_PIECE):
                    self.write(piece)
                    await self.flush()

    def make(self, folder: Path, opened: Opened, given: dict[str, str]) -> Path:
        """Write the file into a folder."""
        raise NotImplementedError


class SeriesFile(Download):
    """``download/series.csv``: one lake, or all that pass the filters."""

    def make(self, folder: Path, opened: Opened, given: dict[str, str]) -> Path:
        """Of ``lake=ID``, or of the filters."""
        if LAKE not in opened.store.dims:
            raise InvalidInputError("this store has no lakes yet: lakecube revise makes them")
        filters = Filters.parse(given)
        if "lake" in given:
            number = lake_number(given["lake"])
            if number is None:
                raise InvalidInputError(f"lake={given['lake']!r} is not the number of a lake")
            opened.lake(number)
            some, name = opened.store.sel({LAKE: [number]}), f"lake-{number}.csv"
        else:
            some, name = opened.store.isel({LAKE: np.flatnonzero(filters.keep(opened))}), "lakes.csv"
        return write_series(some, folder / name, min_observed=filters.min_observed)


class OutlinesFile(Download):
    """``download/outlines.parquet``: GeoParquet of all lakes, the file of the revision where there is one."""

    def make(self, folder: Path, opened: Opened, given: dict[str, str]) -> Path:
        """Copy the revision's file, or trace the outlines."""
        name = f"lakes-{opened.store.attrs.get('revision')}.parquet"
        files = self.source.place.files
        if not files.exists(name):
            return save_outlines(opened.store, folder / name)
        where = Path(files.where(name))
        if where.is_file():
            return Path(shutil.copyfile(where, folder / name))
        (folder / name).write_bytes(files.read(name))
        return folder / name
