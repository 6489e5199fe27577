"""The loop of training: phases, epochs, steps. Whatever a step draws depends on the seed and its number alone.

A run that was stopped goes on from its checkpoint as if it had not been: on a CPU with one thread bit for bit.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lakecube.errors import InvalidInputError
from lakecube.models.augment import augment_of
from lakecube.models.checkpoint import Checkpoint, State, write_checkpoint, write_state
from lakecube.models.interruption import interruptible
from lakecube.models.losses import bce_dice, lovasz_hinge
from lakecube.models.presets import Preset
from lakecube.models.tiles import Batch, Tiles, ahead, order_of
from lakecube.models.training_log import COLUMNS, lines_of_samples, write_samples
from lakecube.models.validation import validate

logger = logging.getLogger(__name__)

_LOSSES = {"bce-dice": bce_dice, "lovasz": lovasz_hinge}
#: A checkpoint is written at the end of every epoch, and within one after so many seconds.
_SAVE_SECONDS = 600.0
CHECKPOINT = "checkpoint.safetensors"
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Position:
    """Where a run is: plain numbers, all that changes but tensors.

    Attributes
    ----------
    phase, epoch, step : int
        The phase; epochs finished in all; steps done in this one.
    begun : int
        Epochs that were finished when the phase began.
    updates : int
        Steps done in all.
    loss : float
        Sum of the losses of this epoch's steps.
    rate : float
        Learning rate of the last step.
    seconds, elapsed : float
        Of this epoch, and in all, of all runs.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    begun: int = 0
    updates: int = 0
    loss: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    elapsed: float = 0.0


@dataclass(frozen=True)
class Place:
    """On what to compute: device, number format, threads that read ahead."""

    device: torch.device
    precision: str
    readers: int = 1


class Trainer:
    """One training run.

    Parameters
    ----------
    network : torch.nn.Module
        Logits (n, 1, h, w) of images (n, bands, h, w).
    preset : Preset
        Phases and their numbers.
    train, test : Tiles
        To learn from, to validate on (may be empty).
    standard : tuple of numpy.ndarray
        Per band, scale and offset: input = value × scale + offset.
    folder : Path
        Of the checkpoint.
    settings : dict
        What must be the same for a run to go on; ``seed`` is used.
    minutes : float, optional
        Instead of the number of epochs: each phase gets its share of this time. Such a run is not repeatable.
    """

    def __init__(
        self, network: torch.nn.Module, preset: Preset, train: Tiles, test: Tiles | None,
        standard: tuple[np.ndarray, np.ndarray], place: Place, folder: Path, settings: dict[str, Any],
        minutes: float | None = None,
    ) -> None:  # fmt: skip
        moved: Any = network.to(place.device)  # torch's own types know no memory_format here
        self.network: torch.nn.Module = moved.to(memory_format=torch.channels_last)
        self.preset, self.train, self.test, self.place, self.seed = preset, train, test, place, settings["seed"]
        self.folder, self.settings, self.minutes = folder, settings, minutes
        self.scale, self.offset = (
            torch.from_numpy(part.astype(np.float32)).view(1, -1, 1, 1).to(place.device) for part in standard
        )
        for line in lines_of_samples(train, test):
            logger.info("%s", line)
        self.steps = len(order_of(len(train), preset.batch, self.seed, 0))
        self.at, self.rows = Position(), list[dict[str, Any]]()
        self.average: State = {k: v.clone() for k, v in network.state_dict().items()} if preset.average else {}
        self.optimiser = self._optimiser()
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=place.precision == "float16")
        self._clock, self._saved = time.monotonic(), time.monotonic()

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self, told: Callable[[dict[str, Any]], Any], stepped: Callable[[float], Any]) -> None:
        """Train to the end; `told` is called with each epoch's row, `stepped` with the share that is done.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, once the checkpoint is written.
        InvalidInputError
            The loss is no number any more.
        """
        write_samples(self.folder, self.train, self.test)
        with interruptible() as stop:
            while self.at.phase < len(self.preset.phases):
                if not self._learn(stop, stepped) or (row := self._row(stop)) is None:
                    self.save()
                    raise KeyboardInterrupt(f"training stopped; the same call goes on from {self.folder}")
                self._finish_epoch(row)
                told(row)

    def _learn(self, stop: threading.Event, stepped: Callable[[float], Any]) -> bool:
        """The rest of this epoch's steps; false if it was interrupted."""
        self.network.train()
        how, at = augment_of(self.preset.augment), self.at
        order = order_of(len(self.train), self.preset.batch, self.seed, at.epoch)[at.step :]
        jobs = (partial(self.train.batch, members, how, (self.seed, at.epoch)) for members in order)
        if self._progress() >= 1:
            return True
        for batch in ahead(jobs, self.place.readers):
            self._step(batch)
            self._tick()
            stepped(self.share_done())
            if time.monotonic() - self._saved > _SAVE_SECONDS:
                self.save()
            if stop.is_set():
                return False
            if self._progress() >= 1:
                break
        return True

    def _step(self, batch: Batch) -> None:
        at, phase = self.at, self.preset.phases[self.at.phase]
        at.rate = phase.rate * (1 - min(self._progress(), 1.0)) ** self.preset.power
        for group in self.optimiser.param_groups:
            group["lr"] = at.rate
        torch.manual_seed(_mixed(self.seed, at.updates))  # of dropout
        labels = torch.from_numpy(batch.labels[:, None]).to(self.place.device)
        loss = _LOSSES[phase.loss](self._logits(self.network, batch.values), labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InvalidInputError(
                f"the loss is {value} in epoch {at.epoch + 1}: training diverged; a lower rate= helps, or float32"
            )
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        at.loss, at.step, at.updates = at.loss + value, at.step + 1, at.updates + 1
        self._follow()

    def _logits(self, network: Callable[[torch.Tensor], torch.Tensor], values: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(values).to(self.place.device)
        images = torch.nan_to_num(images * self.scale + self.offset, nan=0.0, posinf=0.0, neginf=0.0)
        images = images.contiguous(memory_format=torch.channels_last)
        dtype = _DTYPES.get(self.place.precision)
        with torch.autocast(self.place.device.type, dtype, enabled=dtype is not None):
            logits = network(images)
        return logits.float()

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average takes a step towards the weights; faster while it is young."""
        keep = min(self.preset.average, (1 + self.at.updates) / (10 + self.at.updates))
        for name, value in self.network.state_dict().items() if self.average else ():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    def _finish_epoch(self, row: dict[str, Any]) -> None:
        at = self.at
        before = [old["iou_mean"] for old in self.rows if old["phase"] == at.phase]
        if row["iou_mean"] is None or not before or row["iou_mean"] > max(before):
            write_state(best_of(self.folder, at.phase), self.state())
        self.rows.append(row)
        at.epoch, at.step, at.loss, at.seconds = at.epoch + 1, 0, 0.0, 0.0
        while at.phase < len(self.preset.phases) and self._progress() >= 1:
            at.phase, at.begun = at.phase + 1, at.epoch
            self.optimiser = self._optimiser()
        self.save()

    def _row(self, stop: threading.Event) -> dict[str, Any] | None:
        """The epoch's row of the log; None if it was interrupted."""
        at, phase = self.at, self.preset.phases[self.at.phase]
        row = dict.fromkeys(COLUMNS) | {"epoch": at.epoch, "phase": at.phase, "loss_name": phase.loss, "rate": at.rate}
        row["loss"] = at.loss / max(at.step, 1)
        if self.test is not None:
            self.network.eval()
            network = partial(torch.func.functional_call, self.network, self.state())
            found = validate(
                self.test, partial(self._logits, network), _LOSSES[phase.loss], self.preset.batch, self.place.readers,
                stop.is_set,
            )  # fmt: skip
            if found is None:
                return None
            row |= found
        self._tick()
        return row | {"seconds": round(at.seconds, 3)}

    # --- where it is -------------------------------------------------------------------------------------------------

    def share_done(self) -> float:
        """Of all phases, from 0 to 1."""
        epochs = [phase.epochs for phase in self.preset.phases]
        done = sum(epochs[: self.at.phase])
        here = epochs[self.at.phase] * min(self._progress(), 1.0) if self.at.phase < len(epochs) else 0.0
        return (done + here) / sum(epochs)

    def _progress(self) -> float:
        """Of the phase, from 0; 1 or more: it is over."""
        at, phases = self.at, self.preset.phases
        if self.minutes is None:
            return ((at.epoch - at.begun) * self.steps + at.step) / (phases[at.phase].epochs * self.steps)
        before = sum(phase.epochs for phase in phases[: at.phase])
        share = at.elapsed / (60 * self.minutes) * self.preset.epochs
        return (share - before) / phases[at.phase].epochs

    def _tick(self) -> None:
        now = time.monotonic()
        self.at.elapsed += now - self._clock
        self.at.seconds += now - self._clock
        self._clock = now

    def _optimiser(self) -> torch.optim.Optimizer:
        """A fresh one; each step sets its rate."""
        return torch.optim.Adam(self.network.parameters(), weight_decay=self.preset.weight_decay)

    # --- kept --------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """The weights that count: the moving average, if there is one."""
        return self.average or self.network.state_dict()

    def save(self) -> None:
        """Write the checkpoint."""
        facts = {"settings": self.settings, "at": asdict(self.at), "rows": self.rows}
        facts["scaler"] = self.scaler.state_dict()
        state = self.optimiser.state_dict()["state"]
        kept = Checkpoint(self.network.state_dict(), self.average, state, facts)
        write_checkpoint(self.folder / CHECKPOINT, kept)
        self._saved = time.monotonic()

    def restore(self, kept: Checkpoint) -> None:
        """Go on from a checkpoint of the same settings."""
        self.network.load_state_dict(kept.network)
        self.average = {name: self._laid_out(tensor) for name, tensor in kept.average.items()}
        self.at, self.rows = Position(**kept.facts["at"]), kept.facts["rows"]
        self.optimiser = self._optimiser()
        groups = self.optimiser.state_dict()["param_groups"]
        slots = {
            index: {name: self._laid_out(v) if isinstance(v, torch.Tensor) else v for name, v in one.items()}
            for index, one in kept.optimiser.items()
        }
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
        if kept.facts["scaler"]:  # empty: the run was not in float16 before
            self.scaler.load_state_dict(kept.facts["scaler"])

    def _laid_out(self, tensor: torch.Tensor) -> torch.Tensor:
        """In memory as the network's own tensors: another order of the same sums could give other bits."""
        tensor = tensor.to(self.place.device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def best_of(folder: Path, phase: int) -> Path:
    """Where the best weights of a phase lie, by the mean IoU of the validation scenes; without any the last."""
    return folder / f"best-{phase + 1}.safetensors"


def _mixed(seed: int, step: int) -> int:
    """One seed for torch of two numbers."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)
