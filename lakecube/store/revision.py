"""The making of a revision: every derived layer, in passes over the blocks of the stored rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.names import DATE, LAKE, VARIABLES
from lakecube.series.lakes import LAKE_ATTRS
from lakecube.series.pixel_area import PixelGrid
from lakecube.series.restore import MIN_PIXELS
from lakecube.series.shape import LakeParams, describe_lakes
from lakecube.store.job import RevisionJob, RevisionOutcome
from lakecube.store.layout import Stored, pixel_array, row_array, series_array
from lakecube.store.ledger import Ledger
from lakecube.store.overviews import write_levels
from lakecube.store.registry import Before, registry_arrays, torn_lakes
from lakecube.store.report import Run
from lakecube.store.revise_areas import DATES_PER_CHUNK, LAKES_PER_CHUNK, Applying, write_areas
from lakecube.store.revise_blocks import BlockPasses, Scratch, cut
from lakecube.store.revise_counts import Counting, count_arrays, count_block
from lakecube.store.revise_lakes import Finding, Found, find_lakes, paint_lakes
from lakecube.store.revise_outlines import outlines_file
from lakecube.store.revise_restore import restore_lakes
from lakecube.store.revise_shores import Shores
from lakecube.store.write_tasks import Writer

#: Passes over all blocks: counts, lakes, labels, shore, shore by height, areas.
BLOCK_PASSES = 6
#: Ways to infer what was hidden; "none" infers nothing.
RESTORE = ("lake", "frequency", "none")
_SERIES = tuple(name for name, spec in VARIABLES.items() if spec.dims == (LAKE, DATE))


@dataclasses.dataclass(frozen=True, slots=True)
class RevisionParams:
    """Everything that shapes a revision; stored with it.

    Parameters
    ----------
    restore : {"lake", "frequency", "none"}
        How the state of hidden pixels is inferred: from the level of their lake, from one relation of frequency and
        water per date (Mullen et al., 2021), or not at all.
    lakes : LakeParams
        What is a lake, and of which kind.
    """

    restore: str = "lake"
    lakes: LakeParams = dataclasses.field(default_factory=LakeParams)

    def __post_init__(self) -> None:
        if self.restore not in RESTORE:
            raise InvalidInputError(f"restore is one of {', '.join(map(repr, RESTORE))}; got {self.restore!r}")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> RevisionParams:
        """From plain values by name; InvalidInputError for one that no revision has."""
        rules = {field.name for field in dataclasses.fields(LakeParams)}
        unknown = sorted(set(parameters) - rules - {"restore"})
        if unknown:
            known = ", ".join(["restore", *sorted(rules)])
            raise InvalidInputError(f"a revision has no parameter {', '.join(unknown)}; there are {known}")
        given = {name: value for name, value in parameters.items() if name in rules}
        return cls(parameters.get("restore", "lake"), LakeParams(**given))


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a parameter that no revision has, before any work is done."""
    RevisionParams.of(parameters)


def write_revision(job: RevisionJob, ledger: Ledger, run: Run, wave: int | None) -> RevisionOutcome:
    """Make every derived layer of a revision, from stored rows and the lakes of the revision before.

    Parameters
    ----------
    job : RevisionJob
        What to make it from, and where.
    ledger : Ledger
        Of this job alone: what an earlier try finished is gone on with.
    run : Run
        Progress and report.
    wave : int, optional
        Blocks to send out at once; by default by the threads there are.
    """
    params, before = RevisionParams.of(job.parameters), Before.of(job)
    passes = BlockPasses(cut(job.size, job.chunks), ledger, run, wave)
    arrays = {**job.axes, **count_arrays(job.dates, job.size, job.chunks)}
    for name in ("lake_label", "water_restored"):
        dims = VARIABLES[name].dims
        size = (len(job.dates), *job.size)[-len(dims) :]
        arrays[name] = pixel_array(name, VARIABLES[name].dtype, dims, size, job.chunks, {})
    writer = _writer(job, arrays)
    counting = Counting.of(writer, writer, job.group, np.asarray(job.rows), job.dates)
    passes.each("counts", count_block, counting)
    finding = _finding(job, params, writer, before)
    found = find_lakes(passes, finding, before.registry, job.number)
    paint_lakes(passes, finding, found)
    columns = describe_lakes(found.table, finding.grid, params.lakes)
    arrays |= _lake_arrays(job, found, columns)
    arrays |= registry_arrays(found)
    arrays |= _restore(job, params, passes, _writer(job, arrays), finding.grid, found)
    files = outlines_file(job, writer, finding.grid, found, columns)
    levels = write_levels(passes, job, arrays, _as_dataset(job))
    attrs = {"next_lake_id": found.registry.next_id, "restore": params.restore}
    return RevisionOutcome(arrays, attrs, files, levels)


def _writer(job: RevisionJob, arrays: Mapping[str, Stored]) -> Writer:
    """Of what the passes read and write: stored layers, and the arrays of the revision under its group."""
    mine = {f"{job.group}/{name}": stored.metadata for name, stored in arrays.items() if stored.values is None}
    read = {name: job.observed[name] for name in ("water_mask", "elevation") if name in job.observed}
    return Writer.of(job.place, read | mine)


def _finding(job: RevisionJob, params: RevisionParams, writer: Writer, before: Before) -> Finding:
    return Finding(
        arrays=writer,
        group=job.group,
        size=job.size,
        dates=len(job.dates),
        params=params.lakes,
        grid=PixelGrid.of(_as_dataset(job)),
        elevation="elevation" in job.observed,
        previous=before.writer,
        previous_label=before.label,
        torn=torn_lakes(f"{job.registry or job.place}/{before.label}"),
    )


def _as_dataset(job: RevisionJob) -> xr.Dataset:
    """The axes of a job as coordinates."""
    coords = {}
    for name, stored in job.axes.items():
        coords[name] = xr.Variable(stored.metadata.dimension_names or (), stored.values, stored.metadata.attributes)
    return xr.Dataset(coords=coords)


def _lake_arrays(job: RevisionJob, found: Found, columns: Mapping[str, np.ndarray]) -> dict[str, Stored]:
    """The variables (lake), values at hand, and those (lake, date), which the passes fill."""
    out = {LAKE: row_array(LAKE, xr.Variable((LAKE,), found.ids, LAKE_ATTRS))}
    for name, values in columns.items():
        out[name] = row_array(name, xr.Variable((LAKE,), values))
    shape = (len(found.ids), len(job.dates))
    for name in _SERIES:
        out[name] = series_array(name, shape, (LAKES_PER_CHUNK, DATES_PER_CHUNK))
    return out


def _restore(
    job: RevisionJob, params: RevisionParams, passes: BlockPasses, writer: Writer, grid: PixelGrid, found: Found
) -> dict[str, Stored]:
    """Infer what was hidden, and write the areas; the quantiles of the error that the intervals rest on."""
    pixels = found.table["pixels"]
    restores = params.restore != "none"
    own = restores & (pixels >= MIN_PIXELS) & (found.registry.lakes["provisional"] == 0)
    shores = Shores(writer, job.group, job.rows, job.size, found.ids[own], Scratch(job.place))
    out, scene = {}, None
    if restores:
        days = job.dates.astype("datetime64[D]").astype(np.int64)
        restored = restore_lakes(passes, shores, days, params.restore == "lake")
        scene = restored.scene
        attrs = {"long_name": "quantiles of the error of the restored area, in expected spreads", "units": "1"}
        errors = xr.Variable(("error_class", "bound"), restored.quantiles, attrs)
        out["restoration_error"] = row_array("restoration_error", errors)
    write_areas(passes, Applying(shores, grid, scene), found.ids, pixels, found.table["area"])
    return out
