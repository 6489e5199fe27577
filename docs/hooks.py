"""What MkDocs makes while it builds: tables from the code itself, so that no page can go stale.

A line ``<!-- generate: NAME words -->`` in a page becomes what the function of that name below returns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_MARK = re.compile(r"^<!-- generate: (\w+)(.*?) -->$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Leave pages out of the navigation that are not there."""
    config["nav"] = _present(config["nav"], Path(config["docs_dir"]))
    return config


def _present(entries: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for entry in entries:
        ((title, where),) = entry.items()
        if isinstance(where, list):
            if parts := _present(where, folder):
                kept.append({title: parts})
        elif (folder / where).exists():
            kept.append(entry)
    return kept


def on_files(files: Any, config: Any) -> Any:
    """Colours of code, from Pygments."""
    from mkdocs.structure.files import File
    from pygments.formatters import HtmlFormatter

    style = HtmlFormatter(style="friendly").get_style_defs(".codehilite")
    files.append(File.generated(config, "assets/pygments.css", content=style))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is generated in the place of its mark."""
    return generated(markdown)


def generated(markdown: str) -> str:
    """A page with its marks replaced."""
    return _MARK.sub(lambda mark: MAKERS[mark[1]](*mark[2].split()), markdown)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str, language: str = "text") -> str:
    """A fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def variables() -> str:
    """Every variable that lakecube writes or returns."""
    from lakecube.names import VARIABLES

    return table(
        ("variable", "dims", "type", "unit", "what it is", "fill"),
        (
            (f"`{v.name}`", ", ".join(v.dims), v.dtype, v.units or ("flags" if v.flags else ""), v.long_name,
             "" if v.fill is None else v.fill)
            for v in VARIABLES.values()
        ),
    )  # fmt: skip


def flags(name: str) -> str:
    """Codes and meanings of one variable."""
    from lakecube.names import COLOURS, VARIABLES

    spec = VARIABLES[name]
    colours = COLOURS.get(name, {})
    heads = ("bit" if spec.masks else "code", *(("flag mask",) if spec.masks else ()), "meaning")
    rows: list[Sequence[Any]] = []
    for meaning, value in (spec.flags or {}).items():
        codes = (value, 1 << value) if spec.masks else (value,)
        swatch = f' <span style="color:#{colours[meaning]}">■</span>' if meaning in colours else ""
        rows.append((*codes, f"`{meaning}`{swatch}"))
    return table(heads, rows)


def indices() -> str:
    """Every spectral index."""
    from lakecube.kernels.indices import CATALOGUE

    rows = ((f"`{name}`", f"`{spec.formula}`", *_cited(spec.reference)) for name, spec in CATALOGUE.items())
    return table(("index", "formula", "after", "DOI"), rows)


def _cited(reference: str) -> tuple[str, str]:
    author, doi = reference.rsplit(", ", 1)
    return author, f"[{doi}](https://doi.org/{doi})"


def parameters(method: str) -> str:
    """What `lakecube extract --method METHOD --list-parameters` prints."""
    from lakecube.commands import list_parameters

    return code(list_parameters(method))


def sensors() -> str:
    """Bands of each sensor, with pixel sizes, and how its numbers become reflectance."""
    from lakecube.io.sensors import SENSORS

    parts = []
    for name, sensor in SENSORS.items():
        rule = {
            "constant": f"reflectance = number × {sensor.scale:g} {sensor.offset:+g}",
            "metadata": "scale and offset as the item says",
            "sentinel-2": "scale 1 / 10000; offset by processing baseline and flag, audited",
        }[sensor.offset_rule]
        sizes = {band: f"{metres:g}" for band, metres in sensor.resolution.items()}
        rows = ((f"`{band}`", ", ".join(f"`{k}`" for k in keys), sizes.get(band, "of the file"))
                for band, keys in sensor.keys.items())  # fmt: skip
        parts.append(f"## {name}\n\n{rule}.\n\n{table(('band', 'asset keys', 'm'), rows)}")
    return "\n\n".join(parts)


def commands() -> str:
    """`--help` of every command."""
    from lakecube.arguments import parser

    os.environ["COLUMNS"] = "100"
    actions: Any = parser()._subparsers._group_actions[0]  # type: ignore[union-attr]
    return "\n\n".join(f"## {name}\n\n{code(part.format_help())}" for name, part in actions.choices.items())


def products() -> str:
    """Maps that can be exported."""
    from lakecube.export import PRODUCTS
    from lakecube.names import VARIABLES

    rows = ((f"`{name}`", f"`{p.variable}`", p.title or VARIABLES[p.variable].long_name, "by date" if p.dated else "")
            for name, p in PRODUCTS.items())  # fmt: skip
    return table(("product", "variable", "what it is", ""), rows)


def models() -> str:
    """The packaged weights, as their files say."""
    from lakecube.models.registry import available

    rows = ((f"`{name}`", spec.architecture, " ".join(spec.bands), spec.radiometry, f"{spec.radius} px")
            for name, spec in available().items())  # fmt: skip
    return table(("name", "architecture", "bands", "values", "radius"), rows)


def file(path: str) -> str:
    """Another file of the repository, without its title."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return text.partition("\n")[2] if text.startswith("# ") else text


MAKERS: dict[str, Callable[..., str]] = {
    f.__name__: f for f in (variables, flags, indices, parameters, sensors, commands, products, models, file)
}
