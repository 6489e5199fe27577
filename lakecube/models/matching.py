"""Whether a spec and a state are those of the network they name: it is built to see, without memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lakecube.errors import InvalidInputError
from lakecube.models.nets import build, misfits
from lakecube.models.sapcnn import PATCH
from lakecube.models.spec import ModelSpec


def matched(spec: ModelSpec, state: Mapping[str, torch.Tensor]) -> Any:
    """The network of a spec, its tensors on the meta device; `state` fits it.

    Raises
    ------
    InvalidInputError
        An unknown architecture or option, tensors that are not the network's, or a stride, radius, window or patch that
        it cannot have.
    """
    with torch.device("meta"):  # takes no memory, however great the network that a file asks for
        net: Any = build(spec.architecture, len(spec.bands), **spec.options)
    wrong = misfits(net.state_dict(), state)
    if wrong:
        raise InvalidInputError(f"the weights {spec.name} do not fit {spec.architecture}: {wrong}")
    of_patches = not hasattr(net, "stride")
    if of_patches != (spec.patch is not None):
        what = "patches: its spec must name their side" if of_patches else "pixels: its spec must not name a patch"
        raise InvalidInputError(f"{spec.architecture} of {spec.name} is for {what}")
    if of_patches:
        _check_number(spec, "patch", spec.patch, PATCH)
    else:
        _check_reach(spec, net)
    return net


def _check_reach(spec: ModelSpec, net: Any) -> None:
    _check_number(spec, "stride", spec.stride, net.stride)
    most = -(-net.radius // net.stride) * net.stride  # a measured one is a multiple of the stride
    if spec.radius > most:
        raise InvalidInputError(
            f"the spec of {spec.name} names a radius of {spec.radius} px; "
            f"{spec.architecture} looks no farther than {most}"
        )
    if not net.local and spec.window is None:
        raise InvalidInputError(f"{spec.architecture} is not local: the spec of {spec.name} must name its window")


def _check_number(spec: ModelSpec, what: str, said: int | None, known: int) -> None:
    if said != known:
        raise InvalidInputError(f"the spec of {spec.name} names a {what} of {said} px; it is {known}")
