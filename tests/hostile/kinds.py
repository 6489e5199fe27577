"""Every kind of hostile input, and how many of each a run of a thousand has."""

from __future__ import annotations

from typing import Any

from tests.hostile.options import Addresses, Commands, Options, References, Searches
from tests.hostile.scenes import Answers, Catalogues, Images, Items
from tests.hostile.stores import Stores, Weights, WrittenStores

#: Kind, and its share: cheap ones and those that a stranger can send most often.
KINDS: dict[str, tuple[Any, float]] = {
    kind.name: (kind, share)
    for kind, share in (
        (Addresses, 0.2),
        (Items, 0.14),
        (Catalogues, 0.08),
        (Images, 0.12),
        (Answers, 0.08),
        (Stores, 0.06),
        (WrittenStores, 0.008),
        (Weights, 0.1),
        (Searches, 0.1),
        (Options, 0.08),
        (References, 0.03),
        (Commands, 0.03),
    )
}
