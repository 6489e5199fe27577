"""Checkpoints of a training run: one safetensors file, replaced in one step; no pickle.

Tensors of the network, its average and the optimiser lie side by side under prefixes; everything else is JSON in the
file's metadata, floats by their shortest exact text, so that a run goes on with the very numbers it stopped with.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lakecube.errors import ReadError
from lakecube.whole_files import steady, writing

_KEY, _HASH = "lakecube-checkpoint", "sha256"
_NETWORK, _AVERAGE, _OPTIMISER = "network.", "average.", "optimiser."
State = dict[str, torch.Tensor]


class Checkpoint(NamedTuple):
    """All that a run needs to go on.

    Attributes
    ----------
    network, average : dict of tensors
        Weights, and their moving average (empty: none).
    optimiser : dict
        ``state`` of its `state_dict`: tensors and numbers by parameter.
    facts : dict
        Plain values: settings, position, log.
    """

    network: State
    average: State
    optimiser: dict[int, dict[str, Any]]
    facts: dict[str, Any]


def write_checkpoint(path: Path, kept: Checkpoint) -> None:
    """Write it beside, then put it in its place."""
    tensors = {f"{_NETWORK}{name}": tensor for name, tensor in kept.network.items()}
    tensors |= {f"{_AVERAGE}{name}": tensor for name, tensor in kept.average.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in kept.optimiser.items():
        for name, value in slots.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{_OPTIMISER}{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    facts = json.dumps({"facts": kept.facts, "numbers": numbers}, sort_keys=True)
    write_state(path, tensors, {_KEY: facts, _HASH: _hash_of(tensors, facts)})


def write_state(path: Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Tensors to a file, beside it first."""
    with writing(path, partial=steady(path)) as partial:
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial, metadata)
        except SafetensorError as error:  # of a full disk as well, whose number is in the text alone
            number = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """What `write_checkpoint` wrote.

    Raises
    ------
    ReadError
        The file is none, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError) as error:
        raise ReadError(f"{path} cannot be read as a checkpoint: {error}; mode='overwrite' begins anew") from error
    text = metadata.get(_KEY)
    if text is None:
        raise ReadError(f"{path} is no checkpoint of lakecube: mode='overwrite' begins anew")
    if metadata.get(_HASH) != _hash_of(tensors, text):
        raise ReadError(f"{path} is damaged: mode='overwrite' begins anew")
    told = json.loads(text)
    optimiser: dict[int, dict[str, Any]] = {int(index): dict(slots) for index, slots in told["numbers"].items()}
    for name in [n for n in tensors if n.startswith(_OPTIMISER)]:
        index, slot = name.removeprefix(_OPTIMISER).split(".", 1)
        optimiser.setdefault(int(index), {})[slot] = tensors.pop(name)
    return Checkpoint(_under(_NETWORK, tensors), _under(_AVERAGE, tensors), optimiser, told["facts"])


def _hash_of(tensors: State, text: str) -> str:
    """Of all that a checkpoint holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _under(prefix: str, tensors: State) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
