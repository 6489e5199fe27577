"""One run of `train` on pixels: from samples to a folder with weights, log, curve and checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from lakecube.errors import InvalidInputError, ReadError, StoreError
from lakecube.models import registry
from lakecube.models.augment import augment_of
from lakecube.models.beginning import Beginning, beginning, place_of
from lakecube.models.checkpoint import read_checkpoint
from lakecube.models.forward import keep_memory
from lakecube.models.presets import Preset
from lakecube.models.samples import Samples
from lakecube.models.tiles import MIXED, Tiles, check_some
from lakecube.models.train import Request, Trained
from lakecube.models.trainer import CHECKPOINT, Place, Trainer, best_of
from lakecube.models.training_log import draw_log, words_of, write_log

logger = logging.getLogger("lakecube")
#: The curve is drawn after each epoch that takes longer than these seconds, and at the end.
_WORTH_DRAWING = 5.0
FINISHED = "the run in %s has finished: mode='overwrite' trains anew"


def train_pixels(samples: Samples, architecture: str, preset: Preset, request: Request) -> Trained:
    """As `lakecube.models.train.train`."""
    augment_of(preset.augment)
    keep_memory()
    place = place_of(request.device, request.precision)
    with run_folder(request.out, request.mode) as folder:
        return _trained(samples, architecture, preset, request, place, folder)


def _trained(
    samples: Samples, architecture: str, preset: Preset, request: Request, place: Place, folder: Path
) -> Trained:
    begin = beginning(architecture, samples, request)
    samples = samples.ordered(begin.bands)
    learn, test = tiles_of(samples)
    _check_batches(begin.network, preset, learn)
    standard = begin.standard(learn)
    settings = {
        "architecture": architecture, "options": begin.options, "preset": asdict(preset), "bands": begin.bands,
        "tile": samples.tile, "samples": learn.digest, "validation": test.digest if test else None,
        "seed": request.seed, "start": begin.spec.sha256 if begin.spec else None, "minutes": request.minutes,
        "encoder_only": request.encoder_only, "standard": [part.tolist() for part in standard],
    }  # fmt: skip
    settings = json.loads(json.dumps(settings))
    trainer = Trainer(begin.network, preset, learn, test, standard, place, folder, settings, request.minutes)
    empty(folder, request.mode)
    _go_on(trainer, folder, settings)

    with bar(request.progress, architecture) as (told, stepped), drawing_apart(place):

        def logged(row: dict[str, Any]) -> None:
            write_log(folder, trainer.rows, settings)
            if row["seconds"] > _WORTH_DRAWING:
                draw_log(folder, trainer.rows)
            told(words_of(row, None if request.minutes else preset.epochs))

        trainer.run(logged, stepped)
    write_log(folder, trainer.rows, settings)
    draw_log(folder, trainer.rows)
    said = f"{words_of_samples(samples, learn, test)} {_words_of_preset(preset, request.minutes)}"
    request = replace(
        request, name=request.name or name_of(architecture, begin.bands), training=request.training or said
    )
    return _keep(trainer, begin, standard, request)


def _check_batches(network: Any, preset: Preset, learn: Tiles) -> None:
    """Raise if a batch is one tile that ends in a single pixel, of which batch normalisation takes no statistics."""
    if min(preset.batch, len(learn)) == 1 and learn.tile <= network.stride:
        raise InvalidInputError(
            f"batches of one tile of {learn.tile} px end in a single pixel, since the network's stride is "
            f"{network.stride} px: take tiles of {2 * network.stride} px, or more tiles and batch=2 or more"
        )


def drawing_apart(place: Place) -> Any:
    """What torch draws at random inside leaves the generators of the caller as they were."""
    return torch.random.fork_rng(devices=[place.device] if place.device.type == "cuda" else [])


@contextmanager
def run_folder(out: str | Path, mode: str) -> Iterator[Path]:
    """The folder of a run, made if it is not there; a run that is refused or stopped leaves no empty one behind."""
    folder = Path(out)
    if mode not in ("resume", "overwrite"):
        raise InvalidInputError(f"mode={mode!r}: use 'resume' or 'overwrite'")
    if not folder.absolute().parent.is_dir():
        raise StoreError(f"cannot write {folder}: the folder {folder.absolute().parent} does not exist")
    there = folder.is_dir()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        if not there:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def empty(folder: Path, mode: str) -> None:
    """Take the checkpoint of an earlier run away if asked to: once nothing can be wrong with the request any more."""
    if mode == "overwrite":
        for path in (folder / CHECKPOINT, *folder.glob("best-*.safetensors")):
            path.unlink(missing_ok=True)


def tiles_of(samples: Samples) -> tuple[Tiles, Tiles | None]:
    """Tiles to learn from, and all tiles of the validation scenes."""
    learn, test = samples.split()
    if not learn:
        raise InvalidInputError("all scenes are kept for validation: validation= is a smaller share, or 0")
    first = Tiles(learn, samples.bands, samples.tile, samples.keep_empty, samples.seed)
    check_some(first, "training")
    if not test:
        return first, None
    second = Tiles(test, samples.bands, samples.tile)
    check_some(second, "validation")
    if first.radiometry != second.radiometry:
        raise InvalidInputError(MIXED)
    return first, second


def name_of(architecture: str, bands: tuple[str, ...]) -> str:
    """Such as linknet50-rgb: the architecture and the initials of its bands."""
    return f"{architecture}-{''.join(band[0] for band in bands)}"


def words_of_samples(samples: Samples, learn: Tiles, test: Tiles | None) -> str:
    """What a model saw, in a sentence."""
    kind = "8-bit display imagery" if learn.radiometry == "display" else "reflectance"
    kept = f"; {len(test.scenes)} others validated" if test is not None else ""
    return (
        f"{len(learn)} tiles of {samples.tile} px from {len(learn.scenes)} scenes of {kind} "
        f"({', '.join(samples.bands)}){kept}."
    )


@contextmanager
def bar(shown: bool, title: str) -> Iterator[tuple[Callable[[str], None], Callable[[float], None]]]:
    """A bar on a terminal, lines in the log elsewhere: what tells of an epoch, and of the share that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    visible = shown and (console.is_terminal or console.is_jupyter)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not visible) as progress:
        task = progress.add_task(title, total=1.0)

        def told(words: str) -> None:
            if visible:
                progress.console.print(f"{title}: {words}", highlight=False)
            elif shown:
                logger.info("%s: %s", title, words)

        yield told, lambda share: progress.update(task, completed=share)


def _go_on(trainer: Trainer, folder: Path, settings: dict[str, Any]) -> None:
    """Take up the run that `folder` holds, if it is the same one."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    kept = read_checkpoint(path)
    check_same(folder, kept.facts["settings"], settings)
    try:
        trainer.restore(kept)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{path} is of another version of lakecube or torch: mode='overwrite' begins anew") from error
    if trainer.at.phase == len(trainer.preset.phases):
        logger.info(FINISHED, folder)
    else:
        logger.info("going on in epoch %d of %s", trainer.at.epoch + 1, folder)


def check_same(folder: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise unless the run that `folder` holds is that of these settings."""
    others = [key for key in settings if before.get(key) != settings[key]]
    if others:
        told = "; ".join(
            f"{key}: {before.get(key)} there, {settings[key]} now" if len(str(settings[key])) < 60 else key
            for key in others
        )
        raise InvalidInputError(
            f"{folder} holds a training run of other settings ({told}): choose another folder, or mode='overwrite'"
        )


def _best_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ReadError(f"{path} is missing or damaged ({error}): mode='overwrite' trains anew") from error


def _words_of_preset(preset: Preset, minutes: float | None) -> str:
    phases = ", then ".join(f"{p.epochs} epochs of {p.loss} at {p.rate:g}" for p in preset.phases)
    time = f", in {minutes:g} minutes" if minutes is not None else ""
    return f"Adam, {phases}{time}; batches of {preset.batch}, changes: {preset.augment}."


def _keep(trainer: Trainer, begin: Beginning, standard: tuple[np.ndarray, np.ndarray], request: Request) -> Trained:
    """Write the weights of each phase's best epoch, and of the best of all."""
    best: dict[int, dict[str, Any]] = {}
    for row in trainer.rows:
        if row["iou_mean"] is None or row["phase"] not in best or row["iou_mean"] > best[row["phase"]]["iou_mean"]:
            best[row["phase"]] = row
    kept = max(best.values(), key=lambda row: (row["iou_mean"] or 0.0, row["phase"]))
    name = str(request.name)

    def write(row: dict[str, Any], name: str) -> Path:
        metrics = {
            key: row[key]
            for key in ("iou", "iou_mean", "f1", "precision", "recall", "accuracy")
            if row[key] is not None
        }
        metrics |= {"epoch": row["epoch"] + 1, "validation_scenes": len(trainer.test.scenes) if trainer.test else 0}
        spec = begin.described(
            trainer.train.tile, name=name, architecture=trainer.settings["architecture"], scale=standard[0],
            offset=standard[1], radiometry=trainer.train.radiometry, licence=request.licence,
            training=request.training, metrics=metrics,
        )  # fmt: skip
        path = trainer.folder / f"{name}.safetensors"
        registry.save(path, spec, _best_state(best_of(trainer.folder, row["phase"])))
        return path

    weights = write(kept, name)
    phases = (
        tuple(write(row, f"{name}-{row['phase'] + 1}-{row['loss_name']}") for row in best.values())
        if len(best) > 1
        else (weights,)
    )
    return Trained(weights, phases, {key: kept[key] for key in ("epoch", "iou", "iou_mean", "f1")}, trainer.rows)
