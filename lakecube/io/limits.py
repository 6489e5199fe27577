"""How much a catalogue may make us hold or ask for: far above what is sound, and judged before it is allocated.

The size of a cube is bounded by `lakecube.io.grids.MOST_PIXELS`.
"""

from typing import Any

from lakecube.errors import InvalidInputError, ReadError
from lakecube.io.hrefs import strip_signature

#: Bytes of one JSON document of a server, unpacked; a page of 10,000 items takes about a tenth.
MOST_DOCUMENT = 256 * 2**20
#: Bytes of a file that are read over where a server knows no ranges.
MOST_SKIPPED = 64 * 2**20
#: Seconds until one document is here in full.
MOST_SECONDS = 900.0
#: Bytes of one stac-geoparquet file, packed (of a server) and unpacked, and rows of it that are unpacked together.
MOST_TABLE = 2 * 2**30
_ROWS = 1000
#: Items of one search, and pages that they may come in.
MOST_ITEMS, MOST_PAGES = 1_000_000, 100_000
#: Catalogues inside each other.
MOST_DEPTH = 64
#: Bytes of one tile or strip of an image, unpacked: the least that can be read of it.
MOST_BLOCK = 2**30


def rows_at_once(table: Any, where: str) -> int:
    """How many rows of a Parquet file are unpacked together, by what its footer says of their sizes.

    One text of a dictionary may stand in every row, so that each row may be as large as all of its row group.

    Raises
    ------
    ReadError
        If all of it is larger than a table may be.
    InvalidInputError
        If it has more rows than one cube can be of items.
    """
    check_items(table.num_rows)
    groups = [table.row_group(k) for k in range(table.num_row_groups)]
    sizes = [sum(group.column(k).total_uncompressed_size for k in range(group.num_columns)) for group in groups]
    if sum(sizes) > MOST_TABLE:
        raise ReadError(
            f"{strip_signature(where)} unpacks to {sum(sizes) / 2**20:,.0f} MiB, which is given up: it may be "
            f"{MOST_TABLE / 2**20:,.0f} MiB at most; write it in parts"
        )
    return max(1, min(_ROWS, MOST_TABLE // max([1, *sizes])))


def check_pages(pages: int, where: str) -> None:
    """Raise ReadError where an answer comes in more pages, or a catalogue in more files, than there can be."""
    if pages > MOST_PAGES:
        raise ReadError(
            f"{strip_signature(where)} went on after {MOST_PAGES:,} pages, which is given up: ask for less by "
            "collections=, bbox= or datetime="
        )


def check_items(items: int) -> None:
    """Raise InvalidInputError where a search meets more items than one cube can be of."""
    if items > MOST_ITEMS:
        raise InvalidInputError(
            f"the search met more than {MOST_ITEMS:,} items: take a smaller bbox= or datetime=, or a part at a time"
        )
