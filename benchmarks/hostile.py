"""``python -m benchmarks.hostile [--cases N] [--seed S] [--kind NAME …]``: what comes of hostile and broken inputs.

The same seed makes the same cases. Prints a table, then every fault with the input that made it; exit code 1 if there
is one.
"""

from __future__ import annotations

import argparse
import sys

from tests.hostile.kinds import KINDS
from tests.hostile.table import judge, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--kind", nargs="+", choices=list(KINDS))
    given = parser.parse_args()
    found = judge(given.cases, given.seed, given.kind)
    print(table(found))
    faults = [fault for one in found.values() for fault in one.faults]
    for fault in faults:
        print(f"\n{fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
