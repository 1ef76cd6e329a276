"""Into which arm the next person comes: permuted blocks, drawn so that anybody who has the study's secret can check them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

SIZES = (2, 3, 4)  # times each arm's ratio: whoever knows the arms so far does not know where a block ends


def arm_at(ratios: Mapping[str, int], *, secret: bytes, site: str, position: int) -> str:
    """The arm of the person who is allocated at this place (from 0) of a site's sequence. Each block has every arm as often
    as its size times its ratio says; its size, and its order, are what HMACs of site, block and place make."""

    def lot(*what: object) -> bytes:
        return hmac.digest(secret, "|".join(map(str, ("allocation", *what, site))).encode(), hashlib.sha256)

    block, place = 0, position
    while True:
        size = SIZES[int.from_bytes(lot(block, "size")) % len(SIZES)]
        arms = [arm for arm in sorted(ratios) for _ in range(size * ratios[arm])]
        if place < len(arms):
            return arms[sorted(range(len(arms)), key=lambda entry: lot(block, entry))[place]]
        block, place = block + 1, place - len(arms)
