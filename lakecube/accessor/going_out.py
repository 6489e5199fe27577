"""What people and programs get of it: a plan, a store, pictures, reasons, files of other formats."""

from __future__ import annotations

from typing import Any, Literal

import xarray as xr

from lakecube.accessor.held import Held
from lakecube.errors import InvalidInputError


class GoingOut(Held):
    """What people and programs get of it: a plan, a store, pictures, reasons, files of other formats."""

    def plan(self, **options: Any) -> Any:
        """What a run would read, compute and hold, from metadata alone: `lakecube.plan.plan`.

        Parameters
        ----------
        method, composite, **parameters
            As for `extract`.
        chunks : optional
            As for `to_zarr`.
        bandwidth : float, optional
            Bytes per second that remote files are expected to deliver.
        speed : float, optional
            Pixels per second that one core reads and judges, of an earlier run.

        Returns
        -------
        Plan
            Prints as a table; `to_dict()` gives the numbers.
        """
        from lakecube.plan import plan

        return plan(self._dataset, **options)

    def to_zarr(self, path: Any, **options: Any) -> xr.Dataset:
        """Compute an extract and write its store, in waves, restartable: `lakecube.store.to_zarr`.

        Parameters
        ----------
        path : path
            Directory of the store.
        mode : {"resume", "append", "overwrite"}, optional
            Make the store or finish one that was stopped (default); add the dates it does not hold, and those made
            from other items; make it anew.
        revise, retry : bool, optional
            Also make a new revision (default); with "append", read anew what could not be read.
        chunks : int, (int, int) or dict, optional
            Pixels per chunk along y and x of a new store; 1024 by default.
        progress : bool, optional
            Show a bar, if there is a terminal or a notebook.
        wave : int, optional
            Blocks sent out at once.
        storage_options : mapping, optional
            For ``"s3://bucket/prefix"``.

        Returns
        -------
        xr.Dataset
            `lakecube.open_store(path)`.
        """
        from lakecube.store import to_zarr

        return to_zarr(self._judged, path, **options)

    def plot(self, *, engine: Literal["matplotlib", "bokeh"] = "matplotlib", **options: Any) -> Any:
        """A picture of what there is: `lakecube.plot.plot`, or one to move: `lakecube.dashboard.still.interactive`.

        Parameters
        ----------
        engine : {"matplotlib", "bokeh"}, optional
            A picture to print; or, of a store, a map to move and to ask, for a notebook or a page (extra
            ``dashboard``). The latter knows `date`, `lake`, `title` and `path`.
        date : date-like, optional
            The nearest date within three days: of a cube in false colour (default: its last), of a store as classes.
        water : xr.Dataset, optional
            Of a cube: a store or an extract whose outlines are drawn on it.
        lake : int, optional
            Of a store: one lake, and its area through time.
        product : {"occurrence", "recurrence", "seasonality", "transitions", "extent"}, optional
            Of a store or an extract: a map made from its months.
        reference : xr.DataArray, optional
            Of a store: what to compare the map of `date` with, (y, x) of 1 water, 0 land, 255 unknown.
        series : bool, optional
            Of a store: draw the area through time as well, which reads `reason` of every date.
        title : str, optional
            Above all panels.
        path : path, optional
            Write the picture there as well; the suffix tells the format.

        Returns
        -------
        matplotlib.figure.Figure
            It shows itself at the end of a notebook cell.
        """
        if engine == "bokeh":
            from lakecube.dashboard import interactive

            return interactive(self._dataset, **options)
        if engine != "matplotlib":
            raise InvalidInputError(f"engine={engine!r}: use 'matplotlib' or 'bokeh'")
        from lakecube.plot import plot

        return plot(self._dataset, **options)

    def explain(self, lon: float, lat: float, time: Any) -> dict[str, Any]:
        """Why a pixel is what it is: `lakecube.explain.explain`.

        Parameters
        ----------
        lon, lat : float
            Degrees; the pixel that holds the point.
        time : date-like
            The date; the nearest within three days is taken and said.

        Returns
        -------
        dict
            Label, reason, rules that fired, thresholds, bands, items: what there is. It prints as a report.
        """
        from lakecube.explain import explain

        return explain(self._dataset, lon, lat, time)

    def to_stac(self, path: Any = None, **options: Any) -> Any:
        """A STAC Collection with Items, written to the folder `path` if given: `lakecube.export.to_stac`."""
        from lakecube.export import to_stac

        return to_stac(self._dataset, path, **options)

    def to_cog(self, path: Any, **options: Any) -> Any:
        """A map, such as ``product="frequency"``, as Cloud Optimized GeoTIFF: `lakecube.export.to_cog`."""
        from lakecube.export import to_cog

        return to_cog(self._dataset, path, **options)

    def to_netcdf(self, path: Any, **options: Any) -> Any:
        """One NetCDF file of everything or of some variables, by CF: `lakecube.export.to_netcdf`."""
        from lakecube.export import to_netcdf

        return to_netcdf(self._dataset, path, **options)
