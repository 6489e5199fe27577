"""``python -m benchmarks [--repeats N] [--json PATH]``: every figure of the pipeline and its kernels, one run.

Compare ratios, not seconds: machines are noisy. Accuracy has its own command, ``python -m benchmarks.accuracy``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import kernels, pipeline


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side, taken in turns")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/pipeline.json"), help="where to write")
    arguments = parser.parse_args()
    found = {"pipeline": pipeline.measure(arguments.repeats), "kernels_mpx_s": kernels.measure()}
    show(found)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1))
    print(f"\nwritten to {arguments.json}")


def show(found: dict[str, Any]) -> None:
    p = found["pipeline"]
    print("Nine bands (four at 10 m, four at 20 m, one at 60 m), 2040² px × 6 dates, two passes of fusion included\n")
    for name, value in p["median_s"].items():
        print(f"  {name:<18} {value:6.2f} s   {value / p['median_s']['odc.stac.load']:.2f} × odc.stac.load")
    print(f"\n  tasks per chunk·date: {', '.join(f'{n} {v:.2f}' for n, v in p['tasks_per_chunk_date'].items())}")
    print(f"  peak memory, MiB: {', '.join(f'{n} {v:.0f}' for n, v in p['peak_mib'].items())}")
    print(f"  8 × the dates: {p['ratio_memory_8x_dates']:.2f} × the memory")
    print(f"  4 × the area: {p['ratio_memory_4x_area']:.2f} × the memory")
    graph = p["graph"]
    print(
        f"  600 dates × 64 chunks: open {graph['open_s']:.1f} s, extract {graph['extract_s']:.2f} s, "
        f"graph {graph['pickled_mib']:.1f} MiB pickled, {graph['layers']} layers\n"
    )
    for name, rates in found["kernels_mpx_s"].items():
        ours, *others = rates.items()
        beside = "".join(f"   {n} {v:.0f}   ratio {ours[1] / v:.1f}" for n, v in others)
        print(f"  {name:<34} {ours[1]:7.0f} Mpx/s{beside}")


if __name__ == "__main__":
    main()
