"""Training a network on samples: `train`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lakecube.errors import InvalidInputError
from lakecube.models.presets import PATCH_PRESET, Preset, preset_of
from lakecube.models.samples import Samples
from lakecube.models.spec import check_name
from lakecube.names import BANDS

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Mode = Literal["resume", "overwrite"]
#: The architecture that judges patches, not pixels.
PATCHES = "sapcnn"


@dataclass(frozen=True)
class Request:
    """What was asked of `train`, but for samples, architecture and preset."""

    out: Path
    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    start: str | Path | None = None
    encoder_only: bool = False
    minutes: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    mode: Mode = "resume"
    training: str = ""
    licence: str = ""
    progress: bool = True


@dataclass(frozen=True)
class Trained:
    """What a training run left.

    Attributes
    ----------
    weights : Path
        The file for `lakecube.models.registry.load`: the best epoch of all by the mean IoU of the validation scenes,
        the last where there are none.
    phases : tuple of Path
        The best of each phase (of Cao's preset: L1, then L12); the same file where there is one phase.
    metrics : dict
        Of the validation in the epoch whose weights are kept.
    rows : list of dict
        The log, a row per epoch; also in ``log.csv`` and ``log.json``, drawn in ``curve.png``.
    """

    weights: Path
    phases: tuple[Path, ...]
    metrics: dict[str, Any]
    rows: list[dict[str, Any]]


def train(
    samples: Samples, architecture: str = "linknet50", preset: str | Preset | None = None, *, out: str | Path,
    name: str | None = None, options: Mapping[str, Any] | None = None, start: str | Path | None = None,
    encoder_only: bool = False, minutes: float | None = None, seed: int = 0, device: str = "auto",
    precision: Precision = "auto", mode: Mode = "resume", training: str = "", licence: str = "",
    progress: bool = True,
) -> Trained:  # fmt: skip
    """Train a network that maps water, by the way of Cao et al. (2024) or another.

    Parameters
    ----------
    samples : Samples
        From `folder_samples` or `cube_samples`.
    architecture : str
        See `lakecube.models.nets.build`; ``"sapcnn"`` is trained on the patches of superpixels.
    preset : str or Preset
        By default ``"cao-2024"`` (45 epochs of 0.5·BCE + Dice, 25 of the Lovász hinge; Adam, 1e-4 with polynomial
        decay, batches of 4); or ``"quick"``, or one of your own: ``replace(PRESETS["cao-2024"], batch=8)`` of
        `dataclasses`. Of "sapcnn" ``"chen-2018"``.
    out : path
        Folder for the weights, the log, the curve and the checkpoint.
    name : str, optional
        Of the weights and their file; by default architecture and bands.
    options : mapping, optional
        Of the architecture; of "sapcnn" also `epochs`, at most so many, and `patience`.
    start : str or path, optional
        Weights to begin with: a name in the registry or a file. They fix the order of the bands and their
        scaling. Bands that they do not know begin with weights of 0.
    encoder_only : bool
        Take the encoder of `start` alone: the decoder may be another.
    minutes : float, optional
        Train so long instead of so many epochs; each phase has its share. Such a run is not repeatable.
    seed : int
        Of weights, order and changes of the tiles. The same seed gives the same bits on one machine, on a CPU with
        one thread.
    device : str
        ``"auto"``: a GPU if there is one; or as PyTorch names it.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Number format of the network's products (autocast; weights and losses stay float32). ``"auto"``: float32 on
        a CPU; on a GPU bfloat16, or float16 with a scaled loss where it has none.
    mode : {"resume", "overwrite"}
        Go on from the checkpoint in `out`, if there is one, or begin anew. "sapcnn" keeps no checkpoint.
    training, licence : str
        Said in the file of the weights: what the model saw, and under what terms it may be used.
    progress : bool
        A bar on a terminal, lines in the log elsewhere.

    Returns
    -------
    Trained

    Raises
    ------
    InvalidInputError
        Samples, start and architecture do not fit each other, or a checkpoint of other settings is in `out`.
    MissingDependencyError
        Without PyTorch and safetensors.
    KeyboardInterrupt
        After Ctrl-C: the checkpoint is written, the same call goes on (with "sapcnn" it begins anew).

    References
    ----------
    Cao et al. (2024), 10.5194/tc-18-153-2024, sections 3.1.2 and 4.

    Examples
    --------
    >>> samples = folder_samples("lakes", bands=("blue", "green", "red"))  # doctest: +SKIP
    >>> train(samples, "linknet18", "quick", out="runs/lakes").metrics  # doctest: +SKIP
    """
    from lakecube.models.registry import need_torch

    need_torch()
    if minutes is not None and not 0 < minutes < math.inf:
        raise InvalidInputError(f"minutes={minutes}: a time above 0 is needed")
    _check_names(samples.bands, name, seed)
    request = Request(
        Path(out), name, dict(options or {}), start, encoder_only, minutes, seed, device, precision, mode, training,
        licence, progress,
    )  # fmt: skip
    if architecture == PATCHES:
        from lakecube.models.patch_training import train_patches

        _check_patches(preset, start, encoder_only, minutes)
        return train_patches(samples, request)
    from lakecube.models.training_run import train_pixels

    return train_pixels(samples, architecture, preset_of(preset or "cao-2024"), request)


def _check_names(bands: tuple[str, ...], name: str | None, seed: int) -> None:
    """Raise before the first epoch what would else be found when the weights are written."""
    unknown = [band for band in bands if band not in BANDS]
    if unknown or len(set(bands)) < len(bands):
        raise InvalidInputError(
            f"a model takes each band once, by its STAC common name ({', '.join(BANDS)}); got {', '.join(bands)}: "
            "name them so with bands="
        )
    if name is not None:
        check_name(name)
    if seed < 0:
        raise InvalidInputError(f"seed={seed}: a whole number of 0 or more is needed")


def _check_patches(
    preset: str | Preset | None, start: str | Path | None, encoder_only: bool, minutes: float | None
) -> None:
    if preset not in (None, PATCH_PRESET) or start is not None or encoder_only or minutes is not None:
        raise InvalidInputError(
            f"{PATCHES!r} is trained on patches, with preset {PATCH_PRESET!r} alone: no start=, encoder_only=, minutes="
        )
