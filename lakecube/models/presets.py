"""How networks are trained, by name: the paper's way, and a quick one. Plain values, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from lakecube.errors import InvalidInputError

Loss = Literal["bce-dice", "lovasz"]


@dataclass(frozen=True, slots=True)
class Phase:
    """Some epochs with one loss and an optimiser of their own.

    Parameters
    ----------
    loss : {"bce-dice", "lovasz"}
        See `lakecube.models.losses`.
    epochs : int
        How many.
    rate : float
        First learning rate; it falls to 0 as (1 − progress) to the preset's `power`.
    """

    loss: Loss
    epochs: int
    rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.loss not in ("bce-dice", "lovasz"):
            raise InvalidInputError(f"loss {self.loss!r}: use 'bce-dice' or 'lovasz'")
        if self.epochs < 1 or not self.rate > 0:
            raise InvalidInputError(
                f"a phase has 1 epoch or more and a rate above 0; got {self.epochs} and {self.rate}"
            )


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to train: Adam over one or more phases.

    Parameters
    ----------
    phases : tuple of Phase
        One after the other.
    batch : int
        Tiles that are learned from together.
    weight_decay : float
        Of Adam (L2, as Kingma and Ba's with PyTorch's `weight_decay`).
    power : float
        Of the polynomial decay of the rate.
    augment : str or Augment
        ``"none"``, ``"turns"``, ``"colour"``, ``"strong"``, or numbers of one's own
        (`lakecube.models.augment.Augment`).
    average : float
        Decay of an exponential moving average of the weights, which then validates and is what is kept; 0: none.
    """

    phases: tuple[Phase, ...]
    batch: int = 4
    weight_decay: float = 1e-4
    power: float = 0.9
    augment: Any = "turns"
    average: float = 0.0

    def __post_init__(self) -> None:
        if not self.phases or self.batch < 1 or not 0 <= self.average < 1:
            raise InvalidInputError("a preset has a phase, a batch of 1 or more, and an average from 0 to below 1")

    @property
    def epochs(self) -> int:
        """Of all phases."""
        return sum(phase.epochs for phase in self.phases)


#: `cao-2024`: Cao et al. (2024), §4 (10.5194/tc-18-153-2024). The paper tells neither the rate of the fine-tuning, 1e-4
#: again here, nor the power of the decay, 0.9 here as is usual. `quick`: for a first look, or where the time is short.
PRESETS = MappingProxyType({
    "cao-2024": Preset((Phase("bce-dice", 45), Phase("lovasz", 25))),
    "quick": Preset((Phase("bce-dice", 12, 5e-4), Phase("lovasz", 4, 1e-4)), batch=8, augment="strong", average=0.99),
})  # fmt: skip
#: The preset of SAPCNN, which is trained on patches by a code of its own.
PATCH_PRESET = "chen-2018"


def preset_of(preset: str | Preset) -> Preset:
    """By name, or as given."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise InvalidInputError(f"unknown preset {preset!r}; there are {', '.join(map(repr, PRESETS))}")
    return PRESETS[preset]
