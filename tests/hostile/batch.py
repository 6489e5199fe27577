"""``python -m tests.hostile.batch KIND --cases N --seed S --skip K``: cases of one kind in a process of its own.

Prints the number of each case before it runs and what came of it after, so that whoever started the process knows which
case ended it. `run` starts such processes and gathers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Outcome:
    """What came of the cases of a kind."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0  #: of processor time


def cases_of(strategy: Any, number: int, number_of_seed: int) -> list[Any]:
    """The same cases for the same seed."""
    found: list[Any] = []

    @seed(number_of_seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(case: Any) -> None:
        found.append(case)

    take()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", help="JSON: [[kind, cases, seed, skip], …]")
    given_ = parser.parse_args()

    from tests.hostile.judge import Watch, judged, limit_memory
    from tests.hostile.kinds import KINDS
    from tests.hostile.scenes import lay_bait
    from tests.hostile.site import site

    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, site() as server:
        bait = lay_bait(Path(folder) / "bait")
        watch = Watch(bait)
        _say({"watch": watch.works()})
        work = Path(folder) / "work"
        work.mkdir()
        made = {name: KINDS[name][0](work, server, bait) for name, *_ in json.loads(given_.plan)}
        limit_memory()
        import time

        for name, number, first, skip in json.loads(given_.plan):
            kind = made[name]
            begun = time.process_time()
            for index, case in enumerate(cases_of(kind.cases, number, first)):
                if index < skip:
                    continue
                _say({"kind": name, "case": index})
                verdict = judged(kind.run, case, watch if kind.is_watched(case) else None)
                told = {"outcome": verdict.outcome}
                if verdict.outcome == "fault":
                    told |= {"told": verdict.told, "input": repr(case)[:600]}
                _say(told)
            _say({"kind": name, "seconds": time.process_time() - begun})
        _say({"end": True})


def _say(what: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(what, default=repr) + "\n")
    sys.__stdout__.flush()


def run(plan: Sequence[tuple[str, int]], first: int = 0, timeout: float = 3600) -> dict[str, Outcome]:
    """Run so many cases of each kind and gather what came of them; a process that dies is a fault of its case."""
    found = {name: Outcome() for name, _ in plan}
    left = [[name, number, first, 0] for name, number in plan if number]
    while left:
        command = [sys.executable, "-m", "tests.hostile.batch", json.dumps(left)]
        with tempfile.TemporaryFile("w+") as errors:
            try:
                ended = subprocess.run(
                    command,
                    cwd=REPOSITORY,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    timeout=timeout,
                    check=False,
                )
                output, code = ended.stdout, ended.returncode
            except subprocess.TimeoutExpired as error:
                output, code = (error.stdout or b"").decode(), -1
            errors.seek(0)
            said = errors.read()
        kind, case, is_over = _gather(output, found)
        if is_over:
            break
        if not kind:
            raise RuntimeError(f"the cases could not be made (exit code {code}): {said[-3000:]}")
        found[kind].counts["fault"] += 1
        found[kind].faults.append(f"{kind} {first}/{case}: the process ended with {code}: {said[-1500:]}")
        names = [name for name, *_ in left]
        left = left[names.index(kind) :]
        left[0][3] = case + 1
    return found


def _gather(output: str, found: dict[str, Outcome]) -> tuple[str, int, bool]:
    """Count the verdicts of a process; the case it was at, and whether it came to its end."""
    kind, case, is_over = "", 0, False
    for line in output.splitlines():
        told = json.loads(line)
        if "seconds" in told:
            found[told["kind"]].seconds += told["seconds"]
        elif "case" in told:
            kind, case = told["kind"], told["case"]
        elif "outcome" in told:
            found[kind].counts[told["outcome"]] += 1
            if told["outcome"] == "fault":
                found[kind].faults.append(f"{kind} case {case}: {told['told']}\n    input: {told['input']}")
        elif "end" in told:
            is_over = True
    return kind, case, is_over


if __name__ == "__main__":
    main()
