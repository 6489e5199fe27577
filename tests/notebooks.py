"""Runs a notebook as Jupyter would, cell after cell, without Jupyter: `python -m tests.notebooks FILE`.

The last expression of a cell is shown: its `_repr_html_` is called where it has one, else its `repr`.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def cells(path: Path, kind: str = "code") -> list[str]:
    """Sources of the cells of one kind."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def show(value: Any) -> None:
    """What Jupyter does with the value of a cell."""
    if value is not None:
        html = getattr(value, "_repr_html_", None)
        text = html() if callable(html) else None
        print(repr(value) if text is None else f"<html of {len(text)} characters>")


def run_cell(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Execute a cell, and show its last expression."""
    tree = ast.parse(source, name)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is not None:
        show(eval(compile(last, name, "eval"), namespace))


def run_here(path: Path) -> None:
    """All code cells in this process."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells(path), start=1):
        run_cell(source, f"{path.name}, code cell {number}", namespace)


def run(path: Path, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """All code cells in a fresh process that works in `folder`; workers it starts do not import it again."""
    code = f"import sys; from pathlib import Path; from tests.notebooks import run_here; run_here(Path({str(path)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )


if __name__ == "__main__":
    run_here(Path(sys.argv[1]))
