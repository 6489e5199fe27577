"""What a model is and takes: everything about a file of weights but the numbers, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS

#: What the values of a band are: surface reflectance, or an 8-bit picture's numbers over 255.
Radiometry = Literal["reflectance", "display"]


@dataclass(frozen=True)
class ModelSpec:
    """A trained network and what it takes.

    Parameters
    ----------
    name : str
        Also of the file of its weights.
    architecture : str
        As `lakecube.models.nets.build` knows it.
    bands : tuple of str
        STAC common names, in the order of the network's channels.
    scale, offset : tuple of float
        Per band: network input = value · scale + offset. A network input of 0 stands for what was not observed.
    stride : int
        The sides of an input are multiples of it, px.
    radius : int
        Effective radius, px, measured: what lies farther away changes nothing that matters.
    window : int or None
        Side of the fixed window, px, of a model that is not local: it is defined on that window alone.
    patch : int or None
        Side of the patch, px, of a model that names the class of a patch instead of pixels.
    options : mapping
        Further arguments of `build`.
    radiometry : {"reflectance", "display"}
        What the values of its bands were in training.
    licence, training : str
        Of the weights; what the model saw.
    metrics : mapping
        How it did, by name.
    sha256 : str
        Of the file of weights; not kept in the file itself.

    Raises
    ------
    InvalidInputError
        A value that no model can have.
    """

    name: str
    architecture: str
    bands: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    stride: int
    radius: int
    window: int | None = None
    patch: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    radiometry: Radiometry = "reflectance"
    licence: str = ""
    training: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        for name, kind in (("bands", str), ("scale", float), ("offset", float)):
            object.__setattr__(self, name, tuple(kind(v) for v in getattr(self, name)))
        unknown = [band for band in self.bands if band not in BANDS]
        if unknown or not self.bands:
            raise InvalidInputError(
                f"model {self.name!r} takes bands {', '.join(unknown) or 'none'}; use STAC common names: "
                f"{', '.join(BANDS)}"
            )
        if not len(self.bands) == len(self.scale) == len(self.offset):
            raise InvalidInputError(
                f"model {self.name!r} has {len(self.bands)} bands, {len(self.scale)} scales, {len(self.offset)} offsets"
            )
        if self.radiometry not in ("reflectance", "display"):
            raise InvalidInputError(f"radiometry is 'reflectance' or 'display'; got {self.radiometry!r}")
        if self.stride < 1 or self.radius < 0:
            raise InvalidInputError(f"stride is 1 or more and radius 0 or more; got {self.stride} and {self.radius}")
        if self.window is not None and (self.window < 1 or self.window % self.stride):
            raise InvalidInputError(f"window={self.window} is no multiple of the stride {self.stride}")

    def to_json(self) -> str:
        """Everything but the hash of the file, which a file cannot hold."""
        return json.dumps({k: v for k, v in asdict(self).items() if k != "sha256"}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, sha256: str = "") -> ModelSpec:
        """The spec that `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If the text is no spec of this version.
        """
        try:
            given = json.loads(text)
            known = {f.name for f in fields(cls)}
            spec = cls(**{k: v for k, v in given.items() if k in known})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise InvalidInputError(f"the text describes no model of lakecube: {error}") from error
        return replace(spec, sha256=sha256)
