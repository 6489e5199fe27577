"""How much a catalogue may make us hold or ask for: far above what is sound, and judged before it is allocated.

The size of a cube is bounded by `lakecube.io.grids.MOST_PIXELS`.
"""

from lakecube.errors import InvalidInputError, ReadError
from lakecube.io.hrefs import strip_signature

#: Bytes of one JSON document of a server, unpacked; a page of 10,000 items takes about a tenth.
MOST_DOCUMENT = 256 * 2**20
#: Seconds until one document is here in full.
MOST_SECONDS = 900.0
#: Bytes of one stac-geoparquet file of a server.
MOST_TABLE = 2 * 2**30
#: Items of one search, and pages that they may come in.
MOST_ITEMS, MOST_PAGES = 1_000_000, 100_000
#: Catalogues inside each other.
MOST_DEPTH = 64
#: Bytes of one tile or strip of an image, unpacked: the least that can be read of it.
MOST_BLOCK = 2**30


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
