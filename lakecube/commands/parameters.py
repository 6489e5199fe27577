"""`--list-parameters`: every parameter of a method, from its dataclasses and docstrings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def list_parameters(method: str = "fusion") -> str:
    """Every parameter of a method: name, default, value in the paper, meaning."""
    if method in ("sapcnn", "svm", "rf"):
        return _of_one_function(method)
    return _of_linknet50() if method == "linknet50" else _of_fusion()


def _of_one_function(method: str) -> str:
    from lakecube.methods import pixelwise, sapcnn

    function = sapcnn.extract if method == "sapcnn" else pixelwise.extract
    front = {name: default for name, default in _keywords(function).items() if name != "kind"}
    return _listed((("The method (--composite, --model, the others by --set NAME=VALUE)", front, function),), {})


def _keywords(function: Any) -> dict[str, Any]:
    """Keyword parameters of a function and their defaults."""
    import inspect

    signature = inspect.signature(function).parameters
    return {name: p.default for name, p in signature.items() if p.kind is p.KEYWORD_ONLY}


def _of_linknet50() -> str:
    from lakecube.methods import linknet50

    front = _keywords(linknet50.extract)
    paper = {"refine": "slic+crf", "slic": {"n_segments": 2800, "compactness": 60}}
    parts = (
        ("The method (--composite, --threshold, the others by --set NAME=VALUE)", front, linknet50.extract),
        ("The chain (--set NAME=VALUE)", _fields(linknet50.Chain()), linknet50.Chain),
    )
    return _listed(parts, paper)


def _of_fusion() -> str:
    from lakecube.kernels.histogram import ThresholdParams
    from lakecube.kernels.rules import RuleParams
    from lakecube.methods import fusion

    front = {"composite": None, "threshold": "guarded", "rules": "evidence", "sample": fusion.SAMPLE_TILES,
             "probability": False}  # fmt: skip
    paper: dict[str, Any] = {"composite": "month", "threshold": "otsu"}
    published = RuleParams.paper()
    limits = [name for name in _fields(published) if name.endswith("_max")]
    paper |= {name: getattr(published, name) for name in ("rules", "combine", *limits)}
    parts = (
        ("The method (--composite, --threshold, --rules, the others by --set NAME=VALUE)", front, fusion.extract),
        ("Thresholds (--set NAME=VALUE); pairs are [MNDWI, AWEIsh]", _fields(ThresholdParams()), ThresholdParams),
        ("Rules (--set NAME=VALUE)", {n: v for n, v in _fields(RuleParams()).items() if n != "rules"}, RuleParams),
    )
    return _listed(parts, paper)


def _listed(parts: Sequence[tuple[str, Mapping[str, Any], Any]], paper: Mapping[str, Any]) -> str:
    """Titles and the parameters below each, by the docstring of what takes them."""
    lines = []
    for title, defaults, told in parts:
        lines += [title, ""]
        for names, meaning in _documented(told.__doc__ or "", defaults):
            for name in names:
                told_by_paper = f"   (paper: {_shown(paper[name])})" if name in paper else ""
                lines.append(f"  {name} = {_shown(defaults[name])}{told_by_paper}")
            lines += [*(f"      {line}" for line in meaning), ""]
    return "\n".join(lines).rstrip()


def _fields(instance: Any) -> dict[str, Any]:
    """Fields of a dataclass, with or without slots."""
    from dataclasses import fields

    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _documented(text: str, defaults: Mapping[str, Any]) -> Iterator[tuple[list[str], list[str]]]:
    """Names and meaning of each entry of the Parameters section of a docstring, as far as they have a default."""
    import inspect

    section = inspect.cleandoc(text).partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\S[^\n]*\n-{3,}", section)[0]
    for entry in re.findall(r"^(\S[^\n]*)\n((?:[ ]+[^\n]*\n?)+)", section + "\n", re.MULTILINE):
        names = [name for name in re.split(r"[,\s]+", entry[0].partition(" :")[0]) if name in defaults]
        if names:
            yield names, [line.strip().replace("``", "") for line in entry[1].splitlines()]


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, tuple | bool | dict) or value is None else str(value)
