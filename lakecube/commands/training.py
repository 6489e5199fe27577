"""`lakecube train`: from pictures with masks, or a cube with polygons, to weights."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lakecube.commands.request import bands_of, channels_of, values_set
from lakecube.errors import InvalidInputError
from lakecube.models.presets import Preset, preset_of
from lakecube.models.samples import Samples, cube_samples, folder_samples, joined
from lakecube.models.train import PATCHES, Trained
from lakecube.models.train import train as train_network


def train(given: argparse.Namespace) -> dict[str, Any]:
    """Train, and say what was kept."""
    preset = _preset(given)
    _set_threads(given.workers)
    samples = _samples(given)
    talks = not given.json and not given.quiet
    if talks:
        print(f"lakecube train: {given.architecture}, {len(samples.scenes)} scenes, into {given.out}", flush=True)
    same = ("out", "name", "start", "encoder_only", "minutes", "seed", "device", "precision", "mode", "licence")
    with _lines(given):
        trained = train_network(
            samples,
            given.architecture,
            preset,
            options=values_set(given),
            progress=not given.quiet,
            **{name: getattr(given, name) for name in same},
        )
    if talks:
        print(_summary(trained, given.architecture, given.out))
    return {
        "weights": str(trained.weights), "phases": [str(path) for path in trained.phases],
        "metrics": trained.metrics, "epochs": len(trained.rows),
    }  # fmt: skip


def _samples(given: argparse.Namespace) -> Samples:
    if bool(given.folder) == (given.cube is not None):
        raise InvalidInputError("give folders of pictures and masks, or --cube with --polygons")
    cut = {"tile": given.tile, "keep_empty": given.keep_empty, "validation": given.validation, "seed": given.seed}
    if given.cube is not None:
        samples = _from_cube(given, cut)
    else:
        read = {name: getattr(given, name) for name in ("scale", "offset", "ignore", "black")}
        read["bands"] = channels_of(given) or given.bands
        samples = joined(*(folder_samples(folder, **read, **cut) for folder in given.folder))
    if given.use is not None:
        samples = samples.ordered(given.use)
    return samples.without(given.hold_out)


def _from_cube(given: argparse.Namespace, cut: dict[str, Any]) -> Samples:
    import lakecube

    if given.polygons is None:
        raise InvalidInputError("--cube needs --polygons: a file with the outlines of water")
    cube = lakecube.open(given.cube, bands=bands_of(given))
    return cube_samples(cube, given.polygons, bands=given.use, column=given.column, **cut)


def _preset(given: argparse.Namespace) -> str | Preset | None:
    """The preset with the numbers that were given."""
    if given.architecture == PATCHES:
        ignored = [f"--{n}" for n in ("epochs", "rate", "batch", "augment", "average") if getattr(given, n) is not None]
        if ignored:
            raise InvalidInputError(f"{PATCHES} knows no {', '.join(ignored)}: --set epochs=N sets its epochs")
        return given.preset
    preset = preset_of(given.preset or "cao-2024")
    for name, kind in (("epochs", int), ("rate", float)):
        if getattr(given, name) is not None:
            numbers = _numbers(getattr(given, name), kind, name, len(preset.phases))
            phases = zip(preset.phases, numbers, strict=True)
            preset = replace(preset, phases=tuple(replace(phase, **{name: number}) for phase, number in phases))
    changes = {name: getattr(given, name) for name in ("batch", "augment", "average")}
    return replace(preset, **{name: value for name, value in changes.items() if value is not None})


def _numbers(text: str, kind: Any, name: str, n: int) -> list[Any]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(f"--{name} {text}: numbers are needed") from error
    if len(numbers) not in (1, n):
        raise InvalidInputError(f"--{name} {text}: one number, or one for each of the preset's {n} phases")
    return numbers * n if len(numbers) == 1 else numbers


def _set_threads(workers: int | None) -> None:
    if workers is None:
        return
    if workers < 1:
        raise InvalidInputError(f"--workers {workers}: a number of threads is needed, 1 or more")
    from lakecube.models.forward import use_threads

    use_threads(workers)


@contextlib.contextmanager
def _lines(given: argparse.Namespace) -> Iterator[None]:
    """What it learns from is told on stderr, and each epoch where there is no terminal for a bar."""
    if given.quiet or given.verbose:  # which tells all lines by itself
        yield
        return
    name = "lakecube.models.trainer" if sys.stderr.isatty() else "lakecube"
    logger, handler = logging.getLogger(name), logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno == logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _summary(trained: Trained, architecture: str, out: str) -> str:
    kept = trained.metrics
    lines = [f"kept: {trained.weights} (epoch {kept['epoch'] + 1} of {len(trained.rows)})"]
    if kept.get("iou") is not None:
        lines.append(f"validation: IoU {kept['iou']:.3f}, mean over scenes {kept['iou_mean']:.3f}, F1 {kept['f1']:.3f}")
    method = PATCHES if architecture == PATCHES else "linknet50"
    lines += [
        f"next: look at {out}/curve.png",
        f"  or: lakecube extract SOURCE --method {method} --model {trained.weights} --out lakes.zarr",
    ]
    return "\n".join(lines)
