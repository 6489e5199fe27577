"""Out to the neighbours: files that GDAL, QGIS and GeoPandas open without lakecube, and STAC that tells of them."""

from lakecube.export.folder import export
from lakecube.export.netcdf import to_netcdf
from lakecube.export.products import PRODUCTS
from lakecube.export.rasters import to_cog
from lakecube.export.stac import to_stac

__all__ = ["PRODUCTS", "export", "to_cog", "to_netcdf", "to_stac"]
