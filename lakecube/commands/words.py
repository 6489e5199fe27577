"""Messages of the library in the words of the command line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

#: Arguments in Python whose flag is another word than theirs.
_FLAGS = {"collections": "--collection", "cloud_buffer": "--cloud-buffer", "size_bounds": "--size-bounds",
          "min_observed": "--min-observed", "keep_empty": "--keep-empty", "encoder_only": "--encoder-only"}  # fmt: skip
_SAME = ("augment", "average", "batch", "black", "column", "device", "ignore", "minutes", "polygons", "precision",
         "preset", "rate", "scale", "start", "tile", "use", "validation",
         "bbox", "datetime", "query", "sensor", "bands", "crs", "resolution", "chunks", "dem", "offset", "method",
         "composite", "threshold", "rules", "mode", "codes", "share", "confidence", "within", "by", "strata", "n",
         "margin", "expected", "allocation", "least", "buffer", "source", "until", "registry", "lake", "date",
         "product", "compress", "model", "nodata", "port", "address", "seed")  # fmt: skip
_ARGUMENT = re.compile(
    rf"""(?<![\w-])({"|".join((*_FLAGS, *_SAME))})=(?:'([^']*)'|"([^"]*)"|(-?[\w+/]+(?:\.\w+)*)|(?![\w=]))"""
)
_PAIR = re.compile(r"'([^']*)': '([^']*)'")
_MAPPING = re.compile(rf"(?<![\w-])bands=\{{(?:{_PAIR.pattern}(?:, )?)+\}}")


def in_flags(text: str) -> str:
    """A message that speaks of Python arguments, in the words of the command line."""
    text = text.replace("cloud_mask=False", "--no-cloud-mask")
    text = re.sub(r"make the same (to_zarr )?call again", "run the same lakecube extract again", text)

    text = _MAPPING.sub(lambda found: " ".join(["--bands", *("=".join(two) for two in _PAIR.findall(found[0]))]), text)

    def flag(found: re.Match[str]) -> str:
        value = found[2] or found[3] or found[4] or ""
        return f"{_FLAGS.get(found[1], f'--{found[1]}')} {value}".rstrip()

    return _ARGUMENT.sub(flag, text)


def day(moment: Any, unit: str = "date") -> str:
    """A date; of a composite its month."""
    return str(np.datetime_as_string(np.datetime64(moment, "ns"), unit="M" if unit == "month" else "D"))
