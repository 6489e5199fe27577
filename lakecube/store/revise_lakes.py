"""Second part of a revision: water bodies of the extent, their identity, and `lake_label`.

One pass labels and measures every block by itself; what touches across blocks is joined in between, on the client;
another pass paints the ids.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lakecube.errors import StoreError
from lakecube.kernels.label import UNSEEN, classify_extent, label_block, merge_pairs, relabel, touching_pairs
from lakecube.kernels.lake_overlap import combine_overlaps, overlap_block
from lakecube.kernels.lakes import combine_tables, measure_block
from lakecube.series.pixel_area import PixelGrid, pixel_quanta
from lakecube.series.registry import Registry, identify
from lakecube.series.shape import LakeParams
from lakecube.store.revise_blocks import Block, BlockPasses, Results
from lakecube.store.write_tasks import Writer


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What every block needs to find its lakes.

    `arrays` holds `count_wet`, `count_clear` and `lake_label` of this revision under `group`; `elevation`, where there
    is one; `previous`, under `previous_label`, the lakes of the revision before; `torn` says where they are, should
    they not be whole.
    """

    arrays: Writer
    group: str
    size: tuple[int, int]
    dates: int
    params: LakeParams
    grid: PixelGrid
    elevation: bool
    previous: Writer | None
    previous_label: str
    torn: str

    def classes(self, block: Block, halo: int) -> np.ndarray:
        """Classes of a block and `halo` pixels around it, `UNSEEN` beyond the image."""
        inside = block.widened(halo, self.size)
        wet, clear = (self.arrays.open(f"{self.group}/{name}")[inside] for name in ("count_wet", "count_clear"))
        least = min(self.params.min_wet, self.dates)
        found = classify_extent(np.asarray(wet), np.asarray(clear), self.params.min_frequency, least)
        if halo == 0:
            return found
        out = np.full([n + 2 * halo for n in block.shape], UNSEEN, np.uint8)
        top, left = (
            part.start - span[0] + halo for part, span in zip(inside, (block.rows, block.columns), strict=True)
        )
        out[top : top + found.shape[0], left : left + found.shape[1]] = found
        return out

    def labels(self, block: Block, classes: np.ndarray) -> np.ndarray:
        """The block's own labels."""
        return label_block(classes, block.rows[0], block.columns[0], self.size[1], self.params.connectivity)


@dataclasses.dataclass(frozen=True)
class Found:
    """The lakes of a revision.

    Attributes
    ----------
    table : rows of LAKE_TABLE, in the order of ids
    ids : (lakes,) int64, ascending
    registry, lineage : see `lakecube.series.registry`
    old, new : every label that a block gave itself, sorted, and the id of the lake it is part of
    """

    table: np.ndarray
    ids: np.ndarray
    registry: Registry
    lineage: np.ndarray
    old: np.ndarray
    new: np.ndarray


def find_lakes(passes: BlockPasses, finding: Finding, previous: Registry, number: int) -> Found:
    """Label, measure, join and name the lakes of revision `number`."""
    seams, tables, overlaps, known = _Seams(finding.params.connectivity), [], [], 0
    for block, result in passes.over("lakes", find_block, finding):
        seams.add(block, result)
        tables.append(result["table"])
        overlaps.append(result["overlaps"])
        known += int(result["known"])
    if known != int(previous.lakes["pixels"].sum()):  # chunks that are not there read as no lake
        raise StoreError(finding.torn)
    old, new = merge_pairs(seams.finished())
    own = np.sort(np.concatenate([table["label"] for table in tables]))
    table = combine_tables(_under_final(t, old, new) for t in tables)
    shared = combine_overlaps(_under_final(t, old, new) for t in overlaps)
    ids, registry, lineage = identify(table, shared, previous, number)
    named = ids[np.searchsorted(table["label"], relabel(own, old, new))]
    order = np.argsort(ids)
    return Found(table[order], ids[order], registry, lineage, own, named)


def find_block(block: Block, finding: Finding) -> Results:
    """Label and measure one block; its outermost lines tell what touches it."""
    around = finding.classes(block, 1)
    classes = np.ascontiguousarray(around[1:-1, 1:-1])
    labels = finding.labels(block, classes)
    elevation = np.asarray(finding.arrays.open("elevation")[block.window]) if finding.elevation else None
    sizes = pixel_quanta(finding.grid, block.rows, block.columns)
    table = measure_block(around, labels, block.rows[0], block.columns[0], *sizes, elevation)
    before = finding.previous
    known = np.zeros_like(labels) if before is None else np.asarray(before.open(finding.previous_label)[block.window])
    every = slice(None)
    lines: dict[str, Any] = {"top": (0, every), "bottom": (-1, every), "left": (every, 0), "right": (every, -1)}
    out = {"table": table, "overlaps": overlap_block(labels, known), "known": np.array(np.count_nonzero(known))}
    for name, line in lines.items():
        out[name], out[f"{name}_class"] = labels[line], classes[line]
    return out


@dataclasses.dataclass(frozen=True, slots=True)
class Painting:
    """`Finding`, and which label is which lake."""

    finding: Finding
    old: np.ndarray
    new: np.ndarray


def paint_lakes(passes: BlockPasses, finding: Finding, found: Found) -> None:
    """Write `lake_label`."""
    passes.each("labels", paint_block, Painting(finding, found.old, found.new))


def paint_block(block: Block, painting: Painting) -> Results:
    """Write the ids of one block."""
    finding = painting.finding
    labels = finding.labels(block, finding.classes(block, 0))
    finding.arrays.open(f"{finding.group}/lake_label")[block.window] = relabel(labels, painting.old, painting.new)
    return {}


class _Seams:
    """Pairs of labels that touch across blocks; blocks come in raster order, one row of them is held."""

    def __init__(self, connectivity: int) -> None:
        self.connectivity = connectivity
        self.pairs: list[np.ndarray] = []
        self._right: Results = {}
        self._above: Results | None = None
        self._rows: dict[str, list[np.ndarray]] = {}

    def add(self, block: Block, result: Results) -> None:
        """Compare a block with what lies to its left; with what lies above once its row is whole."""
        if block.place[1] == 0 and self._rows:
            self._end_row()
        if block.place[1] > 0:
            self._compare(self._right, "right", result, "left")
        self._right = result
        for name in ("top", "top_class", "bottom", "bottom_class"):
            self._rows.setdefault(name, []).append(result[name])

    def finished(self) -> list[np.ndarray]:
        """All pairs, once the last block was added."""
        if self._rows:
            self._end_row()
        return self.pairs

    def _end_row(self) -> None:
        """Compare a row of blocks with the one above it, corners included."""
        lines = {name: np.concatenate(parts) for name, parts in self._rows.items()}
        if self._above is not None:
            self._compare(self._above, "bottom", lines, "top")
        self._above, self._rows = lines, {}

    def _compare(self, before: Results, one: str, after: Results, other: str) -> None:
        lines = (before[one], before[f"{one}_class"], after[other], after[f"{other}_class"])
        self.pairs.append(touching_pairs(*lines, self.connectivity))


def _under_final(table: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    out = table.copy()
    out["label"] = relabel(table["label"], old, new)
    return out
