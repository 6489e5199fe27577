"""So many hostile inputs of every kind, and what came of them as a table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.hostile.batch import Outcome, run
from tests.hostile.kinds import KINDS


def shared_out(cases: int) -> list[tuple[str, int]]:
    """How many cases each kind has of so many."""
    return [(name, max(round(cases * share), 1)) for name, (_, share) in KINDS.items()]


def judge(cases: int, seed: int = 0, kinds: list[str] | None = None) -> dict[str, Outcome]:
    """Run so many cases of all kinds, or of some of them."""
    return run([(name, number) for name, number in shared_out(cases) if kinds is None or name in kinds], seed)


def table(found: Mapping[str, Outcome]) -> str:
    """Kind, cases, results, refusals, faults."""
    rows = [("kind", "cases", "results", "refusals", "faults", "processor s")]
    total = Outcome()
    for name, one in found.items():
        rows.append(_row(name, one))
        total.counts += one.counts
        total.seconds += one.seconds
    rows.append(_row("all", total))
    return "\n".join(f"{r[0]:<24}" + "".join(f"{cell:>13}" for cell in r[1:]) for r in rows)


def _row(name: str, one: Outcome) -> tuple[str, ...]:
    counts = [one.counts[outcome] for outcome in ("result", "refusal", "fault")]
    return name, str(sum(counts)), *map(str, counts), f"{one.seconds:.1f}"
