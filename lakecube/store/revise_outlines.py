"""The outlines of a revision's lakes, as one GeoParquet file."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lakecube.series.label_polygons import BOXES, LabelImage
from lakecube.series.outlines import write_outlines
from lakecube.series.pixel_area import PixelGrid
from lakecube.store.job import RevisionJob
from lakecube.store.revise_lakes import Found
from lakecube.store.write_tasks import Writer

logger = logging.getLogger("lakecube")


def outlines_file(
    job: RevisionJob, writer: Writer, grid: PixelGrid, found: Found, columns: Mapping[str, np.ndarray]
) -> dict[str, bytes]:
    """Name and bytes of ``lakes-<k>.parquet``; nothing without a CRS or without pyarrow (extra ``geoparquet``)."""
    if grid.system is None:
        return {}
    if importlib.util.find_spec("pyarrow") is None or importlib.util.find_spec("geopandas") is None:
        logger.info("no outlines of lakes: pip install -c constraints.txt '.[geoparquet]' and revise the store")
        return {}
    labels = writer.open(f"{job.group}/lake_label")

    def read(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        return np.asarray(labels[slice(*rows), slice(*columns)])

    boxes = np.zeros(len(found.ids), BOXES)
    boxes["lake_id"] = found.ids
    for name in ("first_row", "last_row", "first_column", "last_column"):
        boxes[name] = found.table[name]
    with tempfile.TemporaryDirectory() as folder:
        path = write_outlines(Path(folder) / "lakes.parquet", LabelImage(read, grid, boxes), columns)
        return {f"lakes-{job.number}.parquet": path.read_bytes()}
