"""Training of the patch classifier SAPCNN from samples, by the preset of Chen et al. (2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lakecube.errors import InvalidInputError
from lakecube.kernels.aslic import Settings, aslic
from lakecube.kernels.hsi import to_hsi
from lakecube.kernels.slic import slic
from lakecube.models.inputs import WHITE
from lakecube.models.samples import Samples
from lakecube.models.scenes import Scene, values_of
from lakecube.models.tiles import MIXED, in_order
from lakecube.models.train import Request, Trained
from lakecube.models.training_log import COLUMNS, draw_log, write_log

#: Patches in all, at most, so that they fit in memory whatever the scenes; and the paper's share of those of water.
_MOST, _WET = 30_000, 3 / 8
#: Superpixels as the method takes them: side of a region, price of one more in it; of SLIC the step.
_REGION, _PRICE, _STEP = 16, 0.02, 10
#: Options of the network, and of its training.
_OPTIONS, _SCHEDULE = ("pooling", "hidden"), ("epochs", "patience")
#: How far brightness and colours are changed.
_JITTER = 0.2


class Patches(NamedTuple):
    """Patches of some scenes: values (n, band, 28, 28), labels (n,), and what the values are."""

    values: np.ndarray
    labels: np.ndarray
    radiometry: Any


def train_patches(samples: Samples, request: Request) -> Trained:
    """As `lakecube.models.train.train`; a run of minutes, without checkpoints.

    Raises
    ------
    InvalidInputError
        The scenes have not both water and land, an option is unknown, or another run is in the folder.
    """
    from lakecube.models.trainer import CHECKPOINT
    from lakecube.models.training_run import empty, folder_of, name_of

    network, schedule = _divided(request.options)
    folder = folder_of(request.out, request.mode)
    if request.mode != "overwrite" and (folder / CHECKPOINT).exists():
        raise InvalidInputError(f"{folder} holds another training run: choose another folder, or mode='overwrite'")
    parts = samples.split()
    each = max(_MOST // len(samples.scenes), 8)
    learn, test = (gathered(part, samples.bands, each, request.seed) if part else None for part in parts)
    if learn is None or (test is not None and learn.radiometry != test.radiometry):
        raise InvalidInputError(MIXED if learn is not None else "all scenes are kept for validation")
    scale = float(1 / max(learn.values.std(), 1e-6))
    units = (scale, float(-learn.values.mean()) * scale)
    state, rows = _fitted(learn, test, units, request, samples.bands, {**network, **schedule})
    empty(folder, request.mode)
    draw_log(folder, rows)
    best = min(rows, key=lambda row: row["loss"] if row["validation_loss"] is None else row["validation_loss"])
    path = folder / f"{request.name or name_of('sapcnn', samples.bands)}.safetensors"
    said = f"{len(learn.labels)} patches of superpixels from {len(parts[0])} scenes; {len(parts[1])} others validated."
    _save(
        path, learn, units, state, bands=samples.bands, options=network, licence=request.licence,
        training=request.training or said, metrics={"accuracy": best["accuracy"], "epoch": best["epoch"] + 1},
    )  # fmt: skip
    return Trained(path, (path,), {"epoch": best["epoch"], "accuracy": best["accuracy"]}, rows)


def gathered(scenes: Sequence[Scene], bands: Sequence[str], each: int, seed: int) -> Patches:
    """The patches at the centres of superpixels, at most `each` of a scene, drawn in the paper's proportion."""
    from lakecube.models.sapcnn_train import samples as samples_of

    chance = np.random.default_rng(seed)
    values, labels, kinds = [], [], set()
    for scene in scenes:
        picture = in_order(scene, scene.read(), bands)
        kinds.add(picture.radiometry)
        plain = values_of(picture)
        found = samples_of(plain, superpixels(plain, bands, picture.radiometry), picture.labels)
        for wet, share in ((1, _WET), (0, 1 - _WET)):
            some = chance.permutation(np.flatnonzero(found.classes == wet))[: max(round(each * share), 1)]
            values.append(found.patches[some])
            labels.append(found.classes[some])
    if len(kinds) > 1:
        raise InvalidInputError(MIXED)
    return Patches(np.concatenate(values), np.concatenate(labels), kinds.pop())


def superpixels(values: np.ndarray, bands: Sequence[str], radiometry: str) -> np.ndarray:
    """A-SLIC of blue, green and nir, else of red, green and blue with intensity; else plain SLIC of all bands."""
    white = 1.0 if radiometry == "display" else WHITE
    by_name = dict(zip(bands, values, strict=True))
    for names, intensity in ((("blue", "green", "nir"), False), (("red", "green", "blue"), True)):
        if by_name.keys() >= set(names):
            first, second, third = (by_name[name] for name in names)
            hsi = to_hsi(first, second, third, 1 / white)
            return aslic(hsi, Settings(_REGION, price=_PRICE, intensity=intensity))
    return slic(list(values), _STEP, scale=100 / white, offset=-50.0)


def _divided(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the network is built with, which its file tells, and how it is trained."""
    parts: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, value in options.items():
        if name not in (*_OPTIONS, *_SCHEDULE):
            raise InvalidInputError(f"'sapcnn' has no option {name!r}; there are {', '.join((*_OPTIONS, *_SCHEDULE))}")
        if name != "pooling" and (type(value) is not int or value < 1):
            raise InvalidInputError(f"{name}={value!r}: a whole number of 1 or more is needed")
        parts[name in _SCHEDULE][name] = value
    return parts


def _fitted(
    learn: Patches,
    test: Patches | None,
    units: tuple[float, float],
    request: Request,
    bands: Sequence[str],
    options: dict[str, Any],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """State and rows of the log, told and written as they come."""
    from lakecube.models import sapcnn_train
    from lakecube.models.beginning import place_of
    from lakecube.models.training_run import bar

    place, rows = place_of(request.device, request.precision), list[dict[str, Any]]()
    settings = {"architecture": "sapcnn", "preset": "chen-2018", "bands": list(bands), "seed": request.seed,
                "options": options, "patches": len(learn.labels)}  # fmt: skip

    def logging(told: Callable[[str], None]) -> Callable[[dict[str, float]], None]:
        def logged(row: dict[str, float]) -> None:
            rows.append(_row(row))
            write_log(request.out, rows, settings)
            told(f"epoch {len(rows)}, " + ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "epoch"))

        return logged

    with bar(request.progress, "sapcnn") as (told, _):
        state, _ = sapcnn_train.fit(
            learn.values * units[0] + units[1], learn.labels, seed=request.seed, jitter=_JITTER, dark=units[1],
            validation=None if test is None else (test.values * units[0] + units[1], test.labels),
            bfloat16=place.precision == "bfloat16", device=str(place.device), progress=logging(told),
            **options,
        )  # fmt: skip
    return state, rows


def _row(row: dict[str, float]) -> dict[str, Any]:
    """A row of SAPCNN's log under the names of ours; of the validation where there is one."""
    out: dict[str, Any] = dict.fromkeys(COLUMNS)
    out |= {"epoch": int(row["epoch"]), "phase": 0, "loss_name": "cross-entropy"}
    out |= {name: row.get(name) for name in ("loss", "validation_loss", "rate")}
    return out | {"accuracy": row.get("validation_accuracy", row["accuracy"])}


def _save(path: Path, patches: Patches, units: tuple[float, float], state: dict[str, Any], **told: Any) -> None:
    from lakecube.models import registry
    from lakecube.models.spec import ModelSpec

    scale, offset = ((unit,) * len(told["bands"]) for unit in units)
    spec = ModelSpec(
        name=path.stem, architecture="sapcnn", scale=scale, offset=offset, stride=1, radius=14, patch=28,
        radiometry=patches.radiometry, **told,
    )  # fmt: skip
    registry.save(path, spec, state)
