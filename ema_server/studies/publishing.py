"""What may not be published although it is sound in itself: rooms above say what they rely on.

publishing.guard(locked_columns)   # (study, questionnaire) -> {"stress": "analysis plan v2"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ema_server.studies.models import Study
from ema_server.surveys.changes import changed_meaning
from ema_server.surveys.columns import columns
from ema_server.surveys.document import read
from ema_server.surveys.faults import Fault

Guard = Callable[[Study, str], Mapping[str, str]]

_guards: list[Guard] = []


def guard(names_held: Guard) -> None:
    """Register who relies on columns of a questionnaire: each column's name with who holds it, in words."""
    if names_held not in _guards:
        _guards.append(names_held)


def guard_faults(study: Study, questionnaire: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Fault]:
    """Where the next version would take away or redefine what somebody relies on. Both documents are sound."""
    held = {name: by for names_held in _guards for name, by in names_held(study, questionnaire).items()}
    old, new = read(before), read(after)
    # Of several choices each option is a column; who relies on one relies on its item.
    items = {column.name: column.item for column in columns(old)}
    found: dict[str, Fault] = {}
    used = {item: column for column, item in reversed(items.items()) if column in held}
    used |= {item: item for item in dict.fromkeys(items.values()) if item in held}
    for item, column in used.items():
        for change in changed_meaning(old, new, item):
            place = _place(after, change, item)
            found.setdefault(change, Fault(place, f"{held[column]} is locked and uses {column!r}: {change}."))
    return list(found.values())


def _place(document: Mapping[str, Any], change: str, name: str) -> str:
    """Where in the new document the change stands: the item or scale itself, or the list that it is missing from."""
    for part, key in (("items", "name"), ("scales", "key")):
        for place, each in enumerate(document.get(part, ())):
            if f"{each[key]!r}" in change.split(":")[0]:
                return f"{part}[{place}] ({each[key]})"
    return "scales" if change.startswith("the scale") else "items"
