"""The order in which a questionnaire's items are shown."""

from __future__ import annotations

import hashlib
from itertools import groupby

from ema_server.surveys.document import Item, Survey


def screens(survey: Survey) -> list[tuple[str | None, list[Item]]]:
    """The items as they stand together: a page's key with its items, or None with an item of its own screen."""
    found: list[tuple[str | None, list[Item]]] = []
    for key, group in groupby(survey.items, key=lambda item: item.page):
        items = list(group)
        found += [(key, items)] if key is not None else [(None, [item]) for item in items]
    return found


def shown_order(survey: Survey, *, seed: bytes) -> list[str]:
    """The items' names in an order that the same seed gives again: on random pages each order is equally likely.

    Items of such a page are sorted by SHA-256 of seed, page and name, which any phone can do.
    """
    order: list[str] = []
    for key, items in screens(survey):
        names = [item.name for item in items]
        if key is not None and survey.pages[key].order == "random":
            names.sort(key=lambda name: hashlib.sha256(seed + f"|{key}|{name}".encode()).digest())
        order += names
    return order
