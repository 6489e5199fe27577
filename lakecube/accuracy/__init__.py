"""How right a map is: against points, polygons or another map, with intervals, and by design of a sample."""

from lakecube.accuracy.compare import assess

__all__ = ["assess"]
