"""Scenes with known truth: country, water levels, spectra, clouds, shadows and snow become COGs and STAC items.

`make_archive` writes an archive to disk, `sentinel2_cube` makes a cube in memory; both are pure functions of
their arguments. `make_landscape` and `render` are the steps below them.
"""

from lakecube.synthetic.archive import Archive, make_archive
from lakecube.synthetic.cube import sentinel2_cube
from lakecube.synthetic.scene import Landscape, Scene, make_landscape, render

__all__ = ["Archive", "Landscape", "Scene", "make_archive", "make_landscape", "render", "sentinel2_cube"]
