"""``python -m benchmarks.deep_tables FOLDER FIRST --out FOLDER``: the tables of both neural papers, in one go.

Cao et al.'s Tables 5 and 6 (`deep_esw`: classifiers of pixels, networks, losses, SLIC, CRF) and Chen et al.'s 2 to 4
(`deep_sapcnn`: superpixels, poolings), with the options of docs/methods. FOLDER holds scenes labelled by hand, FIRST
pictures with automatic masks, both images/ and masks/. What is trained is kept in --out and not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import deep_esw, deep_sapcnn

#: Of `deep_esw`, as docs/methods/linknet50.md has it.
CAO = (
    "--train", "linknet50", "efficientnet-unet", "linknet18", "unet", "--options", "unet", '{"width": 16}',
    "--first-scenes", "50", "--preset", "short", "--precision", "bfloat16", "--pixels", "svm", "rf",
    "--refine", "linknet50 (L12)",
)  # fmt: skip


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_tables", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("first", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/deep_tables"))
    given = parser.parse_args(words)
    print("Cao et al. (2024), Tables 5 and 6")
    deep_esw.main([str(given.folder), "--first", str(given.first), *CAO, "--out", str(given.out / "cao")])
    print("\nChen et al. (2018), Tables 2 to 4")
    deep_sapcnn.main([str(given.folder), "--keep", str(given.out / "chen")])


if __name__ == "__main__":
    main()
