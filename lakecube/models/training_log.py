"""The log of a training run: its samples, a row per epoch as CSV and JSON, and its curves as a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lakecube.models.tiles import Tiles
from lakecube.whole_files import steady, writing

#: Columns of the log. `iou`, `f1`: of all pixels of the validation scenes; `iou_mean`: the mean over these scenes.
COLUMNS = (
    "epoch", "phase", "loss_name", "loss", "validation_loss", "iou", "iou_mean", "f1", "precision", "recall",
    "accuracy", "rate", "seconds",
)  # fmt: skip
#: Scenes that a line names.
_NAMED = 12
Row = Mapping[str, Any]


def write_log(folder: Path, rows: Sequence[Row], settings: Mapping[str, Any]) -> None:
    """``log.csv``, and ``log.json`` with the settings, each written anew."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _replace(folder / "log.csv", table.getvalue().encode())
    text = json.dumps({"settings": settings, "epochs": list(rows)}, indent=1)
    _replace(folder / "log.json", text.encode())


def write_samples(folder: Path, learn: Tiles, test: Tiles | None) -> None:
    """``samples.json``: the scenes on either side, the tiles to learn from and how many were left out."""
    told = {
        "training": [scene.name for scene in learn.scenes], "tiles": len(learn), "left_out": learn.left_out,
        "validation": [scene.name for scene in test.scenes] if test else [],
    }  # fmt: skip
    _replace(folder / "samples.json", json.dumps(told, indent=1).encode())


def lines_of_samples(learn: Tiles, test: Tiles | None) -> tuple[str, str]:
    """A line on the tiles to learn from, and one on the scenes that validate."""
    tiles = (
        f"{len(learn)} tiles of {len(learn.scenes)} scenes to learn from; "
        f"{learn.left_out} left out, since no water is known in them"
    )
    if test is None:
        return tiles, "no scene validates"
    names = [scene.name for scene in test.scenes]
    more = f" and {len(names) - _NAMED} more (samples.json)" if len(names) > _NAMED else ""
    return tiles, f"{len(names)} of the scenes validate: {', '.join(names[:_NAMED])}{more}"


def draw_log(folder: Path, rows: Sequence[Row]) -> None:
    """``curve.png``, drawn anew."""
    _replace(folder / "curve.png", picture_of(rows))


def words_of(row: Row, epochs: int | None) -> str:
    """An epoch in one line, of how many if that is known."""
    told = [f"epoch {row['epoch'] + 1}" + (f" of {epochs}" if epochs else ""), f"{row['loss_name']} {row['loss']:.4f}"]
    if row["iou"] is not None:
        told.append(f"validation IoU {row['iou']:.3f} (mean over scenes {row['iou_mean']:.3f}), F1 {row['f1']:.3f}")
    elif row.get("validation_loss") is not None:
        told.append("validation IoU none, since nothing is known there")
    return ", ".join([*told, f"{row['seconds']:.0f} s"])


def picture_of(rows: Sequence[Row]) -> bytes:
    """Loss on the left, in pieces where it is another, accuracy of the validation on the right, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    phases = [[row for row in rows if row["phase"] == phase] for phase in sorted({row["phase"] for row in rows})]
    for part in phases:
        _curves(left, part, {"loss": "training", "validation_loss": "validation"}, part is phases[0])
        left.axvline(part[0]["epoch"] + 0.5, color="#b8b8b8", linewidth=1, zorder=0)
        left.annotate(part[0]["loss_name"], (part[0]["epoch"] + 0.5, 0), (3, 3), ("data", "axes fraction"),
                      textcoords="offset points", color="#666666", fontsize=8)  # fmt: skip
    names = {"iou": "IoU", "iou_mean": "IoU, mean over scenes", "f1": "F1"}
    if all(row["iou"] is None for row in rows):
        names = {"accuracy": "overall accuracy"}
    _curves(right, rows, names, True)
    right.set_ylim(0, 1)
    for axes, title in ((left, "Loss"), (right, "Validation")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(*axes.get_legend_handles_labels(), frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _curves(axes: Any, rows: Sequence[Row], names: Mapping[str, str], named: bool) -> None:
    """Columns of the log by epoch, each always in its colour; those without values are left out."""
    for k, (name, label) in enumerate(names.items()):
        if any(row[name] is not None for row in rows):
            epochs, values = [row["epoch"] + 1 for row in rows], [row[name] for row in rows]
            axes.plot(epochs, values, marker=".", color=f"C{k}", label=label if named else None)


def _replace(path: Path, content: bytes) -> None:
    with writing(path, partial=steady(path)) as partial:
        partial.write_bytes(content)
