"""Messages of the library in the words of the command line."""

from __future__ import annotations

import re
import shlex
from typing import Any

import numpy as np

#: Arguments in Python whose flag is another word than theirs.
_FLAGS = {"collections": "--collection", "cloud_buffer": "--cloud-buffer", "size_bounds": "--size-bounds",
          "formats": "--format",
          "min_observed": "--min-observed", "keep_empty": "--keep-empty", "encoder_only": "--encoder-only"}  # fmt: skip
_SAME = ("augment", "average", "batch", "black", "column", "device", "ignore", "minutes", "polygons", "precision",
         "preset", "rate", "scale", "start", "tile", "use", "validation",
         "bbox", "datetime", "query", "sensor", "bands", "crs", "resolution", "chunks", "dem", "offset", "method",
         "composite", "threshold", "rules", "mode", "codes", "share", "confidence", "within", "by", "strata", "n",
         "margin", "expected", "allocation", "least", "buffer", "source", "until", "registry", "lake", "date",
         "product", "compress", "model", "nodata", "port", "address", "seed", "speed")  # fmt: skip
_ARGUMENT = re.compile(
    rf"""(?<![\w-])({"|".join((*_FLAGS, *_SAME))})=(?:'([^']*)'|"([^"]*)"|(-?[\w+/]+(?:\.\w+)*)|(?![\w=]))"""
)
_PAIR = re.compile(r"'([^']*)': '([^']*)'")
_MAPPING = re.compile(rf"(?<![\w-])bands=\{{(?:{_PAIR.pattern}(?:, )?)+\}}")
#: --bands, but not the NAME=BAND of files, which --channels does not know.
_LIST = re.compile(r"--bands(?! \S+=)")
#: What messages call in Python, and the command or flag that does it.
PHRASES = {
    ", as one whole number or as {'y': 512, 'x': 512}; along time a chunk is one date": "",
    "encoder_only=True": "--encoder-only",
    "make the same to_zarr call again": "run the same lakecube extract again",
    "make the same call again": "run the same command again",
    "the same call continues": "the same command continues",
    "start a cluster again, connect to it and make the same call, it continues where it stopped (or go on without: "
    'dask.config.set(scheduler="threads"))': "start a cluster again and run the same command with its address as "
    "--scheduler, or leave --scheduler out: it continues where it stopped",
    "an active distributed.Client": "--scheduler",
    "give open() and the store the same chunks": "give --chunks",
    "give open() and the store chunks=": "give chunks=",
    "lakecube.open(…, offset='audit')": "--offset audit",
    "make it with .water.to_zarr() first": "lakecube extract makes it",
    "the directory that to_zarr wrote": "the directory that lakecube extract wrote",
    "make them with lakecube.revise() there": "lakecube revise makes them",
    'add dates with water.water.to_zarr(path, mode="append")': "only Python can add dates to it",
    "which no store keeps: give sign= again": "which no store keeps: only lakecube.update(…, sign=…) in Python goes on",
    'storage_options={"access_key_id": …, "secret_access_key": …}': "the keys in the environment, such as "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
_RETRY = re.compile(r"water\.water\.to_zarr\('([^']*)', mode='append', retry=True\)")


def in_flags(text: str, *, channels: bool = False) -> str:
    """A message that speaks of Python arguments, in the words of the command line; `channels`: where bands are so."""
    for python, flags in PHRASES.items():
        text = text.replace(python, flags)
    text = _RETRY.sub(lambda found: f"lakecube update {shlex.quote(found[1])} --retry", text)
    text = _MAPPING.sub(lambda found: " ".join(["--bands", *("=".join(two) for two in _PAIR.findall(found[0]))]), text)

    def flag(found: re.Match[str]) -> str:
        value = found[2] or found[3] or found[4] or ""
        return f"{_FLAGS.get(found[1], f'--{found[1]}')} {value}".rstrip()

    text = _ARGUMENT.sub(flag, text)
    return _LIST.sub("--channels", text) if channels else text


def day(moment: Any, unit: str = "date") -> str:
    """A date; of a composite its month."""
    return str(np.datetime_as_string(np.datetime64(moment, "ns"), unit="M" if unit == "month" else "D"))
