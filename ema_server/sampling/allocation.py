"""Into which arm the next person comes: permuted blocks, drawn so that anybody who has the study's secret can check them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

BLOCK = 2  # times each arm's ratio


def arm_at(ratios: Mapping[str, int], *, secret: bytes, site: str, position: int) -> str:
    """The arm of the person who is allocated at this place (from 0) of a site's sequence. Each block has every arm as often
    as its ratio says, in an order that the HMAC of site, block and place makes."""
    arms = [arm for arm in sorted(ratios) for _ in range(BLOCK * ratios[arm])]
    block, place = divmod(position, len(arms))

    def lot(entry: int) -> bytes:
        return hmac.digest(secret, f"allocation|{block}|{entry}|{site}".encode(), hashlib.sha256)

    return arms[sorted(range(len(arms)), key=lot)[place]]
