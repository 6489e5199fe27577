"""Code in Markdown: finding it, and running it. README and the pages of `docs/` are held to what they say.

A block is run unless ``<!-- not run: reason -->`` stands before it, or it holds an address (``https://``), which needs
the network. What is not run is parsed: Python is compiled, commands of lakecube go through its parser.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Commands of others, and where they are run.
OTHERS = {
    "pip install": "`.ci/run`, in an empty environment",
    "pytest": "this is it",
    "ruff": "`.ci/run`",
    "mypy": "`.ci/run`",
    "lint-imports": "`.ci/run`",
    ".ci/run": "itself",
    "mkdocs": "tests/test_docs.py builds the site; `serve` serves until it is stopped",
    "python -m benchmarks": "tests/test_benchmarks.py, in their smallest form",
}
_MARK = re.compile(r"<!-- not run: (.+) -->")
_INDENTED = re.compile(r"^    (lakecube|python|pytest|pip|ruff|mypy|mkdocs|\.ci/run)\b")
_FENCE = re.compile(r"^(\s*)```(\w*)$")


@dataclass(frozen=True)
class Block:
    """A piece of code: where it stands, its language (``python``, ``bash`` or another), and why it is not run."""

    page: Path
    line: int
    language: str
    source: str
    why_not: str = ""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it can be run here."""
        return not self.why_not and "https://" not in self.source


def pages() -> list[Path]:
    """README, CONTRIBUTING, and every page of the site."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced and the indented blocks of a page, in order; an indented one is of commands."""
    found, why, lines = [], "", iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if mark := _MARK.search(line):
            why = mark[1]
        elif fence := _FENCE.match(line):
            inside = [text.removeprefix(fence[1]) for _, text in _until_fence(lines)]
            found.append(Block(page, number, fence[2] or "text", "\n".join(inside), why))
            why = ""
        elif _INDENTED.match(line):
            found.append(Block(page, number, "bash", line.strip(), why))
        elif line.strip():
            why = ""
    return found


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if _FENCE.match(line):
            return
        yield number, line


def commands(block: Block) -> list[list[str]]:
    """The commands of a block as words; of plain text the lines that begin with lakecube, without what is beside."""
    if block.language == "python":
        return []
    found = []
    for line in block.source.replace("\\\n", " ").splitlines():
        if block.language != "text":
            found += [shlex.split(part, comments=True) for part in line.split(" && ")]
        elif line.startswith("lakecube "):
            found.append(shlex.split(re.split(r"\s{3,}", line)[0]))
    return [words for words in found if words]
