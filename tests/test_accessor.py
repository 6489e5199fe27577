"""`.water` delegates, and what its methods say of their parameters is what the functions behind them take."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from lakecube.accessor import WaterAccessor

METHODS = dict(inspect.getmembers(WaterAccessor, lambda m: inspect.isfunction(m) and not m.__name__.startswith("_")))
#: Parameters of the methods (`extract`) or of the tables of numbers that go through `**parameters`.
_THROUGH = {"extract": {"threshold", "rules", "sample", "probability"}, "lakes": {"min_frequency", "min_wet"}}


def behind(method):
    """The function that the first line of a docstring names."""
    name = re.search(r"`(lakecube\.[\w.]+)`", method.__doc__.split("\n\n")[0])[1]
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


def told(method):
    """Parameters that a docstring names; None without such a section."""
    section = re.search(r"Parameters\n +-+\n(.*?)(?:\n\n +\w+\n +---|\Z)", method.__doc__, re.DOTALL)
    if section is None:
        return None
    heads = re.findall(r"^ {8}(\w[\w, *]*?)(?: : .*)?$", section[1], re.MULTILINE)
    return {name for head in heads for name in head.split(", ") if "*" not in name}


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_of_parameters_is_so(name):
    method, (_, *taken) = METHODS[name], inspect.signature(behind(METHODS[name])).parameters.values()
    named = {p.name for p in taken if p.kind is not p.VAR_KEYWORD}
    own = {p.name for p in inspect.signature(method).parameters.values() if p.kind is not p.VAR_KEYWORD} - {"self"}
    known = told(method)
    if known is not None:
        assert known - own - _THROUGH.get(name, set()) <= named
        wanted = named - {"sample"} if name == "threshold" else named  # it is told with the fields of the table
        assert wanted <= known
