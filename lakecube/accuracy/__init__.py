"""How right a map is: against points, polygons or another map, with intervals, and by design of a sample."""

from lakecube.accuracy.allocation import allocate, sample_size
from lakecube.accuracy.compare import assess
from lakecube.accuracy.design import Design, sample_design
from lakecube.accuracy.estimate import Estimate, estimate_area, estimate_stratified
from lakecube.accuracy.report import Assessment
from lakecube.accuracy.side_by_side import side_by_side

__all__ = [
    "Assessment", "Design", "Estimate", "allocate", "assess", "estimate_area", "estimate_stratified", "sample_design",
    "sample_size", "side_by_side",
]  # fmt: skip
