"""`.water` on a Dataset: one-line delegates to public functions. It keeps no state."""

from __future__ import annotations

import xarray as xr

from lakecube.accessor.going_out import GoingOut
from lakecube.accessor.on_a_date import OnADate
from lakecube.accessor.through_time import ThroughTime


@xr.register_dataset_accessor("water")
class WaterAccessor(OnADate, ThroughTime, GoingOut):
    """Everything lakecube does with a cube or a store, as methods; each names the function it calls.

    By itself it says what the Dataset is: `lakecube.card.card_of`.
    """

    def __repr__(self) -> str:
        from lakecube.card import card_of

        return repr(card_of(self._dataset))

    def _repr_html_(self) -> str:
        from lakecube.card import card_of

        return card_of(self._dataset)._repr_html_()
