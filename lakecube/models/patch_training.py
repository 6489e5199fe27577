"""Training of the patch classifier SAPCNN from samples, by the preset of Chen et al. (2018)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from lakecube.models.superpixel_bands import PRICE, REGION, RGB, bands_of_superpixels
from lakecube.models.tiles import MIXED, in_order
from lakecube.models.train import Request, Trained
from lakecube.models.training_log import COLUMNS, draw_log, write_log
from lakecube.models.weights_file import SUFFIX, file_hash

logger = logging.getLogger("lakecube")

#: Patches in all, at most, so that they fit in memory whatever the scenes; and the paper's share of those of water.
_MOST, _WET = 30_000, 3 / 8
#: Of SLIC, where the method has no superpixels, pixels.
_STEP = 10
#: Options of the network, and of its training.
_OPTIONS, _SCHEDULE = ("pooling", "hidden"), ("epochs", "patience")
#: How far brightness and colours are changed.
_JITTER = 0.2
#: Of the settings in the log, once a run has finished: the file of its weights, and their hash.
_KEPT = "weights"


class Patches(NamedTuple):
    """Patches of some scenes: values (n, band, 28, 28), labels (n,), and what the values are."""

    values: np.ndarray
    labels: np.ndarray
    radiometry: Any

    @property
    def digest(self) -> str:
        """SHA-256 of values and labels."""
        told = hashlib.sha256(np.ascontiguousarray(self.values).data)
        told.update(np.ascontiguousarray(self.labels).data)
        return told.hexdigest()


def train_patches(samples: Samples, request: Request) -> Trained:
    """As `lakecube.models.train.train`; a run of minutes, without checkpoints.

    Raises
    ------
    InvalidInputError
        The scenes have not both water and land, an option is unknown, or another run is in the folder.
    """
    from lakecube.models.trainer import CHECKPOINT
    from lakecube.models.training_run import name_of, run_folder

    options = _divided(request.options)
    named = replace(request, name=request.name or name_of("sapcnn", samples.bands))
    with run_folder(request.out, request.mode) as folder:
        if request.mode != "overwrite" and (folder / CHECKPOINT).exists():
            raise InvalidInputError(f"{folder} holds another training run: choose another folder, or mode='overwrite'")
        return _trained(samples, named, options, folder)


def _trained(
    samples: Samples, request: Request, options: tuple[dict[str, Any], dict[str, Any]], folder: Path
) -> Trained:
    from lakecube.models.training_run import empty

    parts = samples.split()
    each = max(_MOST // len(samples.scenes), 8)
    learn, test = (gathered(part, samples.bands, each, request.seed) if part else None for part in parts)
    if learn is None or (test is not None and learn.radiometry != test.radiometry):
        raise InvalidInputError(MIXED if learn is not None else "all scenes are kept for validation")
    settings = _settings(samples.bands, learn, test, request, options[0] | options[1])
    if request.mode == "resume" and (found := _finished(folder, settings)) is not None:
        return found
    scale = float(1 / max(learn.values.std(), 1e-6))
    units = (scale, float(-learn.values.mean()) * scale)
    state, rows = _fitted(learn, test, units, request, settings)
    empty(folder, request.mode)
    draw_log(folder, rows)
    best = _best(rows)
    path = folder / f"{request.name}{SUFFIX}"
    said = f"{len(learn.labels)} patches of superpixels from {len(parts[0])} scenes; {len(parts[1])} others validated."
    sha256 = _save(
        path, learn, units, state, bands=samples.bands, options=options[0], licence=request.licence,
        training=request.training or said, metrics={"accuracy": best["accuracy"], "epoch": best["epoch"] + 1},
    )  # fmt: skip
    write_log(folder, rows, settings | {_KEPT: {"file": path.name, "sha256": sha256}})
    return _left(path, rows)


def _settings(
    bands: Sequence[str], learn: Patches, test: Patches | None, request: Request, options: dict[str, Any]
) -> dict[str, Any]:
    """What a run depends on, and what its weights say of themselves."""
    return {
        "architecture": "sapcnn", "preset": "chen-2018", "bands": list(bands), "seed": request.seed,
        "options": options, "patches": len(learn.labels), "samples": learn.digest,
        "validation": test.digest if test else None, "name": request.name, "training": request.training,
        "licence": request.licence,
    }  # fmt: skip


def _finished(folder: Path, settings: dict[str, Any]) -> Trained | None:
    """What the run that `folder` holds has left; None if there is none, or it did not come to its end.

    Raises
    ------
    InvalidInputError
        It is a run of other settings.
    """
    from lakecube.models.training_run import FINISHED, check_same

    try:
        told = json.loads((folder / "log.json").read_text())
        path, sha256 = folder / told["settings"][_KEPT]["file"], told["settings"].pop(_KEPT)["sha256"]
        if file_hash(path) != sha256:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    check_same(folder, told["settings"], settings)
    logger.info(FINISHED, folder)
    return _left(path, told["epochs"])


def _left(path: Path, rows: list[dict[str, Any]]) -> Trained:
    best = _best(rows)
    return Trained(path, (path,), {"epoch": best["epoch"], "accuracy": best["accuracy"]}, rows)


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of the epoch that is kept: by the validation's loss, where there is one."""
    return min(rows, key=lambda row: row["loss"] if row["validation_loss"] is None else row["validation_loss"])


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
    """A-SLIC as `method="sapcnn"` takes it, of those bands that there are; plain SLIC where it takes none."""
    white = 1.0 if radiometry == "display" else WHITE
    by_name = dict(zip(bands, values, strict=True))
    names = bands_of_superpixels(by_name)
    if names is None:
        return slic(list(values), _STEP, scale=100 / white, offset=-50.0)
    first, second, third = (by_name[name] for name in names)
    return aslic(to_hsi(first, second, third, 1 / white), Settings(REGION, price=PRICE, intensity=names == RGB))


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
    settings: dict[str, Any],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """State and rows of the log, told and written as they come."""
    from lakecube.models import sapcnn_train
    from lakecube.models.beginning import place_of
    from lakecube.models.training_run import bar

    place, rows = place_of(request.device, request.precision), list[dict[str, Any]]()

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
            **settings["options"],
        )  # fmt: skip
    return state, rows


def _row(row: dict[str, float]) -> dict[str, Any]:
    """A row of SAPCNN's log under the names of ours; of the validation where there is one."""
    out: dict[str, Any] = dict.fromkeys(COLUMNS)
    out |= {"epoch": int(row["epoch"]), "phase": 0, "loss_name": "cross-entropy"}
    out |= {name: row.get(name) for name in ("loss", "validation_loss", "rate")}
    return out | {"accuracy": row.get("validation_accuracy", row["accuracy"])}


def _save(path: Path, patches: Patches, units: tuple[float, float], state: dict[str, Any], **told: Any) -> str:
    """Write the weights; the hash of their file."""
    from lakecube.models import registry
    from lakecube.models.spec import ModelSpec

    scale, offset = ((unit,) * len(told["bands"]) for unit in units)
    spec = ModelSpec(
        name=path.stem, architecture="sapcnn", scale=scale, offset=offset, stride=1, radius=14, patch=28,
        radiometry=patches.radiometry, **told,
    )  # fmt: skip
    return registry.save(path, spec, state).sha256
