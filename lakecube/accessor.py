"""`.water` on a Dataset: one-line delegates to public functions. It keeps no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from lakecube.errors import InvalidInputError


@xr.register_dataset_accessor("water")
class WaterAccessor:
    """Everything lakecube does with a cube or a store, as methods; each names the function it calls."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def extract(self, method: str = "fusion", *, composite: str | None = None, **parameters: Any) -> xr.Dataset:
        """Water by one of the published systems: `lakecube.methods.extract`."""
        from lakecube import methods

        return methods.extract(self._dataset, method, composite=composite, **parameters)

    def indices(self, names: Sequence[str] | None = None) -> xr.Dataset:
        """Spectral indices: `lakecube.detect.indices.indices`."""
        from lakecube.detect.indices import indices

        return indices(self._dataset, names)

    def threshold(self, method: Any = "guarded", **parameters: Any) -> xr.Dataset:
        """Thresholds of the water indices per date: `lakecube.detect.threshold.threshold`."""
        from lakecube.detect.threshold import threshold

        return threshold(self._dataset, method, **parameters)

    def composite(self, period: str = "month", **parameters: Any) -> xr.Dataset:
        """Monthly composites: `lakecube.detect.composite.composite`."""
        from lakecube.detect.composite import composite

        return composite(self._dataset, period, **parameters)

    def frequency(self) -> xr.DataArray:
        """Share of clear dates that are wet: `lakecube.series.occurrence.frequency`."""
        from lakecube.series.occurrence import frequency

        return frequency(_has(self._dataset, "water_mask")["water_mask"])

    def refine(self, guide: xr.Dataset | xr.DataArray | None = None, **parameters: Any) -> xr.DataArray:
        """Outlines by a dense CRF, guided by the bands here or in `guide`: `lakecube.refine.crf.refine`."""
        from lakecube.refine.crf import refine

        return refine(self._dataset, self._dataset if guide is None else guide, **parameters)

    def superpixels(self, **parameters: Any) -> xr.DataArray:
        """Superpixels by SLIC: `lakecube.refine.superpixels.superpixels`."""
        from lakecube.refine.superpixels import superpixels

        return superpixels(self._dataset, **parameters)

    def to_zarr(self, path: Any, **options: Any) -> xr.Dataset:
        """Write the store: `lakecube.store.to_zarr`."""
        from lakecube.store import to_zarr

        return to_zarr(_has(self._dataset, "water_mask"), path, **options)

    def plan(self, **options: Any) -> Any:
        """What a run would read, compute and hold: `lakecube.plan.plan`."""
        from lakecube.plan import plan

        return plan(self._dataset, **options)

    def plot(self, **options: Any) -> Any:
        """A picture of what there is: `lakecube.plot.plot`."""
        from lakecube.plot import plot

        return plot(self._dataset, **options)

    def explain(self, lon: float, lat: float, time: Any) -> dict[str, Any]:
        """Why a pixel is what it is: `lakecube.explain.explain`."""
        from lakecube.explain import explain

        return explain(self._dataset, lon, lat, time)


def _has(dataset: xr.Dataset, name: str) -> xr.Dataset:
    if name not in dataset:
        raise InvalidInputError(f"no {name} here; extract it first: cube.water.extract()")
    return dataset
