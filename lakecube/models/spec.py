"""What a model is and takes: everything about a file of weights but the numbers, as plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS

#: What the values of a band are: surface reflectance, or an 8-bit picture's numbers over 255.
Radiometry = Literal["reflectance", "display"]
#: No number of pixels is greater, so that a crafted file cannot ask for more memory than there is: a window goes
#: through the network whole, and of patches a thousand at once.
_LARGEST = {"stride": 1024, "radius": 8192, "window": 2048, "patch": 64}
#: Options and metrics are not nested deeper than this.
_DEEPEST = 8


@dataclass(frozen=True)
class ModelSpec:
    """A trained network and what it takes.

    Parameters
    ----------
    name : str
        Also of the file of its weights: no folder in it.
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
        check_name(self.name)
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
        self._check_words()
        self._check_numbers()

    def _check_words(self) -> None:
        for name, kind, told in (
            ("architecture", str, "a name"), ("licence", str, "a text"), ("training", str, "a text"),
            ("options", Mapping, "a mapping"), ("metrics", Mapping, "a mapping"),
        ):  # fmt: skip
            if not isinstance(getattr(self, name), kind):
                raise InvalidInputError(f"model {self.name!r}: {name} is {told}, not {getattr(self, name)!r:.40}")
        for name in ("options", "metrics"):
            if not _is_flat(getattr(self, name), _DEEPEST):
                raise InvalidInputError(f"model {self.name!r}: {name} is nested too deep")

    def _check_numbers(self) -> None:
        if len(set(self.bands)) < len(self.bands) or not all(map(math.isfinite, (*self.scale, *self.offset))):
            raise InvalidInputError(f"model {self.name!r} names a band twice, or a scale or offset that is no number")
        least = {"stride": 1, "radius": 0, "window": self.stride, "patch": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is None and name in ("window", "patch"):
                continue
            most = _LARGEST[name]
            if type(value) is not int or not low <= value <= most:
                raise InvalidInputError(f"{name} is a whole number of pixels, {low} to {most}; got {value!r:.40}")
        if self.window is not None and self.window % self.stride:
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
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            raise InvalidInputError(f"the text describes no model of lakecube: {error}") from error
        return replace(spec, sha256=sha256)


def _is_flat(value: Any, levels: int) -> bool:
    """Whether mappings and lists are nested no deeper."""
    if not isinstance(value, Mapping | list | tuple):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)


def check_name(name: str) -> None:
    """Raise InvalidInputError unless a model may be called so: the name is that of a file, not of a folder."""
    if not isinstance(name, str) or not name.strip(". ") or set(name) & {"/", "\\", "\0", "\n"}:
        raise InvalidInputError(f"a model's name is that of its file, without a folder; got {name!r}")
