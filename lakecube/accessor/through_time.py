"""What many dates tell: frequency, products by months, lakes, what clouds hid, and how right it is."""

from __future__ import annotations

from typing import Any

import xarray as xr

from lakecube.accessor.held import Held


class ThroughTime(Held):
    """What many dates tell: frequency, products by months, lakes, what clouds hid, and how right it is."""

    def frequency(self) -> xr.DataArray:
        """Share of clear dates that are wet (y, x), of an extract or store: `lakecube.series.occurrence.frequency`."""
        from lakecube.series.occurrence import frequency

        return frequency(self._judged["water_mask"])

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

        return lakes(self._judged, **parameters)

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

        return restore(self._judged, method, **parameters)

    def filled(self, restored: xr.DataArray | None = None) -> xr.DataArray:
        """`water_mask` joined with `water_restored`, or with `restored`: `lakecube.series.restore.filled`."""
        from lakecube.series.restore import filled

        return filled(self._judged, restored)

    def assess(self, reference: Any, **options: Any) -> Any:
        """How right this store or extract is, by points, polygons or a raster: `lakecube.accuracy.assess`."""
        from lakecube.accuracy import assess

        return assess(self._dataset, reference, **options)

    def sample_design(self, **options: Any) -> Any:
        """Points of a stratified random sample, to be told by eye: `lakecube.accuracy.sample_design`."""
        from lakecube.accuracy import sample_design

        return sample_design(self._dataset, **options)
