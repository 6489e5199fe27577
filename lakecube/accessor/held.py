"""The Dataset behind `.water`."""

from __future__ import annotations

import xarray as xr

from lakecube.errors import InvalidInputError


class Held:
    """What all parts of the accessor share: a Dataset, and nothing else."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def _judged(self) -> xr.Dataset:
        """The Dataset, if it is an extract or a store."""
        if "water_mask" not in self._dataset:
            raise InvalidInputError("no water_mask here; extract it first: cube.water.extract()")
        return self._dataset
