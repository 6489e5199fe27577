"""`.water` on a Dataset: one-line delegates to public functions. It keeps no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import xarray as xr

from lakecube.errors import InvalidInputError


@xr.register_dataset_accessor("water")
class WaterAccessor:
    """Everything lakecube does with a cube or a store, as methods; each names the function it calls.

    By itself it says what the Dataset is: `lakecube.card.card_of`.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __repr__(self) -> str:
        from lakecube.card import card_of

        return repr(card_of(self._dataset))

    def _repr_html_(self) -> str:
        from lakecube.card import card_of

        return card_of(self._dataset)._repr_html_()

    def extract(self, method: str = "fusion", *, composite: str | None = None, **parameters: Any) -> xr.Dataset:
        """Water by one of the published systems, lazily: `lakecube.methods.extract`.

        Parameters
        ----------
        method : {"fusion", "linknet50", "sapcnn", "svm", "rf"}
            The system; `lakecube.methods.fusion.extract`, `lakecube.methods.linknet50.extract` and
            `lakecube.methods.sapcnn.extract` describe their form; the last two are baselines for single pixels,
            `lakecube.methods.pixelwise.extract`.
        composite : {None, "month"}
            Judge every date, or monthly composites.
        threshold : str or mapping, optional
            ``"guarded"`` (default), ``"otsu"`` (the paper's), ``"bimodal_tiles"``, ``"fixed"``, or values
            ``{"mndwi": 0.1, "awei_sh": 0}``.
        rules : {"evidence", "paper", "none"}, optional
            Weigh the evidence of the rules, apply them as published, or use the indices alone.
        sample : int or None, optional
            About how many tiles of 256² px tell the thresholds of a date; None: all.
        probability : bool, optional
            Return `water_probability` as well.
        **parameters
            Every number of the method, such as ``ndvi_max=0.3``: `lakecube extract --list-parameters`, or the fields of
            `lakecube.kernels.histogram.ThresholdParams` and `lakecube.kernels.rules.RuleParams`. Of ``"linknet50"``:
            `model`, `refine`, `threshold` and what its docstring lists.

        Returns
        -------
        xr.Dataset
            `water_mask`, `reason`, `rules_fired` (time, y, x); `threshold`, `threshold_source` (time, index); items;
            `water_probability` (time, y, x) where the method gives one.

        Examples
        --------
        >>> cube.water.extract(threshold="otsu", rules="paper", composite="month")  # doctest: +SKIP
        """
        from lakecube import methods

        return methods.extract(self._dataset, method, composite=composite, **parameters)

    def indices(self, names: Sequence[str] | None = None) -> xr.Dataset:
        """Spectral indices: `lakecube.detect.indices.indices`.

        Parameters
        ----------
        names : sequence of str, optional
            Such as ``["mndwi", "ndvi"]``; by default all that the cube's bands allow.

        Returns
        -------
        xr.Dataset
            One variable (time, y, x) per index.
        """
        from lakecube.detect.indices import indices

        return indices(self._dataset, names)

    def threshold(self, method: Any = "guarded", **parameters: Any) -> xr.Dataset:
        """Thresholds of the water indices per date: `lakecube.detect.threshold.threshold`.

        Parameters
        ----------
        method : str or mapping
            ``"guarded"``, ``"otsu"``, ``"bimodal_tiles"``, ``"fixed"``, or given values ``{"mndwi": 0.1}``.
        **parameters
            `sample`, and the fields of `lakecube.kernels.histogram.ThresholdParams`.

        Returns
        -------
        xr.Dataset
            `threshold` and `threshold_source` (time, index); `index` is ``mndwi``, ``awei_sh``.
        """
        from lakecube.detect.threshold import threshold

        return threshold(self._dataset, method, **parameters)

    def composite(self, period: str = "month", **parameters: Any) -> xr.Dataset:
        """Composites of the judged pixels: `lakecube.detect.composite.composite`.

        Parameters
        ----------
        period : {"month", "year"}
            What one composite covers.
        choice : {"median", "mndwi", "ndvi", "maximum"}, optional
            What stands for the period at each pixel.

        Returns
        -------
        xr.Dataset
            A cube whose `time` is the first day of each period.
        """
        from lakecube.detect.composite import composite

        return composite(self._dataset, period, **parameters)

    def frequency(self) -> xr.DataArray:
        """Share of clear dates that are wet (y, x), of an extract or store: `lakecube.series.occurrence.frequency`."""
        from lakecube.series.occurrence import frequency

        return frequency(_has(self._dataset, "water_mask")["water_mask"])

    def month_state(self) -> xr.DataArray:
        """Land and water seen in each month: the store's, or made: `lakecube.series.months.months_of`."""
        from lakecube.series.months import months_of

        return months_of(self._dataset)

    def occurrence(self) -> xr.DataArray:
        """Water occurrence by months, as JRC's: `lakecube.series.products.occurrence`."""
        from lakecube.series.products import occurrence

        return occurrence(self.month_state())

    def recurrence(self) -> xr.DataArray:
        """Share of years in which water came back, as JRC's: `lakecube.series.products.recurrence`."""
        from lakecube.series.products import recurrence

        return recurrence(self.month_state())

    def seasonality(self, period: Any = None, **options: Any) -> xr.DataArray:
        """Months with water of a year, a period or the record, as JRC's: `lakecube.series.products.seasonality`."""
        from lakecube.series.products import seasonality

        return seasonality(self.month_state(), period, **options)

    def change(self, first: Any, last: Any) -> xr.DataArray:
        """Change of occurrence between two periods, by homologous months: `lakecube.series.products.change`."""
        from lakecube.series.products import change

        return change(self.month_state(), first, last)

    def transitions(self, first: Any = None, last: Any = None, **options: Any) -> xr.DataArray:
        """JRC's ten classes of change from the first to the last year: `lakecube.series.products.transitions`."""
        from lakecube.series.products import transitions

        return transitions(self.month_state(), first, last, **options)

    def maximum_extent(self) -> xr.DataArray:
        """Wherever water was ever seen: `lakecube.series.products.maximum_extent`."""
        from lakecube.series.products import maximum_extent

        return maximum_extent(self.month_state())

    def assess(self, reference: Any, **options: Any) -> Any:
        """How right this store or extract is, by points, polygons or a raster: `lakecube.accuracy.assess`."""
        from lakecube.accuracy import assess

        return assess(self._dataset, reference, **options)

    def sample_design(self, **options: Any) -> Any:
        """Points of a stratified random sample, to be told by eye: `lakecube.accuracy.sample_design`."""
        from lakecube.accuracy import sample_design

        return sample_design(self._dataset, **options)

    def lakes(self, **parameters: Any) -> xr.Dataset:
        """Lakes of an extract, and their areas on every date: `lakecube.series.lakes.lakes`.

        Parameters
        ----------
        min_frequency, min_wet : optional
            Pixels are of a lake if wet on this share of their clear dates, and on so many dates; other water is
            provisional.
        **parameters
            All fields of `lakecube.series.shape.LakeParams`.

        Returns
        -------
        xr.Dataset
            `lake_label` (y, x), what each lake is (lake), and areas with their limits (lake, date).
        """
        from lakecube.series.lakes import lakes

        return lakes(_has(self._dataset, "water_mask"), **parameters)

    def restore(self, method: str = "lake", **parameters: Any) -> xr.DataArray:
        """What clouds hid of an extract or store, inferred from other dates: `lakecube.series.restore.restore`.

        Parameters
        ----------
        method : {"lake", "frequency", "forest"}
            By the water level of each lake; by the relation of each date to water frequency; by a random forest.
        lakes : xr.DataArray, optional
            Labels (y, x), 0 outside, for ``"lake"``.
        p : float, optional
            Probability above which a pixel is water.

        Returns
        -------
        xr.DataArray
            `water_restored` (time, y, x): 0 land, 1 water where `water_mask` is unknown; 255 elsewhere.
        """
        from lakecube.series.restore import restore

        return restore(_has(self._dataset, "water_mask"), method, **parameters)

    def filled(self, restored: xr.DataArray | None = None) -> xr.DataArray:
        """`water_mask` joined with `water_restored`, or with `restored`: `lakecube.series.restore.filled`."""
        from lakecube.series.restore import filled

        return filled(_has(self._dataset, "water_mask"), restored)

    def refine(self, guide: xr.Dataset | xr.DataArray | None = None, **parameters: Any) -> xr.DataArray:
        """Outlines by a dense CRF, guided by the bands here or in `guide`: `lakecube.refine.crf.refine`."""
        from lakecube.refine.crf import refine

        return refine(self._dataset, self._dataset if guide is None else guide, **parameters)

    def with_outlines(self, outlines: xr.DataArray, *, by: Any = "crf") -> xr.Dataset:
        """This result with the outlines of a refined mask: `lakecube.refine.outlines.with_outlines`."""
        from lakecube.refine.outlines import with_outlines

        return with_outlines(self._dataset, outlines, by=by)

    def predict(self, model: Any = None, **options: Any) -> xr.DataArray:
        """Probability of water by a neural network: `lakecube.models.predictor.predict`.

        Parameters
        ----------
        model : str or path, optional
            By name, or the file of one that was trained; by default the preferred one for the bands here.
        tile, margin, precision, device, views, radiometry : optional
            Pixels of the tiles; the number format; where to compute; turned and mirrored copies to look at; what the
            bands hold.

        Returns
        -------
        xr.DataArray
            `water_probability` (time, y, x), NaN where unknown.
        """
        from lakecube.models.predictor import predict

        return predict(self._dataset, model, **options)

    def superpixels(self, method: Literal["slic", "aslic"] = "slic", **parameters: Any) -> xr.DataArray:
        """Superpixels: `lakecube.refine.superpixels.superpixels`, or adaptive ones: `lakecube.refine.aslic.aslic`."""
        from lakecube.refine import aslic, superpixels

        if not isinstance(method, str) or method not in ("slic", "aslic"):
            raise InvalidInputError(f"method={method!r}: use 'slic' or 'aslic'")
        function = superpixels.superpixels if method == "slic" else aslic.aslic
        return function(self._dataset, **parameters)

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

        return to_zarr(_has(self._dataset, "water_mask"), path, **options)

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


def _has(dataset: xr.Dataset, name: str) -> xr.Dataset:
    if name not in dataset:
        raise InvalidInputError(f"no {name} here; extract it first: cube.water.extract()")
    return dataset
