"""What is seen on one date: water by a method, its parts, and truer outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import xarray as xr

from lakecube.accessor.held import Held
from lakecube.errors import InvalidInputError


class OnADate(Held):
    """What is seen on one date: water by a method, its parts, and truer outlines."""

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

    def predict(self, model: Any = None, **options: Any) -> xr.DataArray:
        """Probability of water by a neural network: `lakecube.models.predictor.predict`.

        Parameters
        ----------
        model : str or path, optional
            By name, or the file of one that was trained; by default the preferred one for the bands here.
        tile, margin, blend, precision, device, views, radiometry : optional
            Pixels of the tiles, of what they overlap, and of how far two are mixed; the number format; where to
            compute; turned and mirrored copies to look at; what the bands hold.

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

    def refine(self, guide: xr.Dataset | xr.DataArray | None = None, **parameters: Any) -> xr.DataArray:
        """Outlines by a dense CRF, guided by the bands here or in `guide`: `lakecube.refine.crf.refine`."""
        from lakecube.refine.crf import refine

        return refine(self._dataset, self._dataset if guide is None else guide, **parameters)

    def with_outlines(self, outlines: xr.DataArray, *, by: Any = "crf") -> xr.Dataset:
        """This result with the outlines of a refined mask: `lakecube.refine.outlines.with_outlines`."""
        from lakecube.refine.outlines import with_outlines

        return with_outlines(self._dataset, outlines, by=by)
