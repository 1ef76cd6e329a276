"""What an import cannot place: counted, with the first places of each kind, and what may be left out instead."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from ema_server.common.csv_rows import shortened

SHOWN = 4  # places named of one finding

KINDS = {  # in the order in which they are told, with what leaving out means
    "columns": "the columns stay out",
    "persons": "these rows stay out",
    "times": "these rows stay out; where it is another time than the planned one, that time alone",
    "questionnaires": "these rows stay out",
    "statuses": "these rows stay out",
    "cells": "these cells count as unanswered",
    "answers": "these rows stay out",
    "duplicates": "the first of the rows stays, the others go",
}


@dataclass
class Finding:
    """One kind of fault in one column."""

    kind: str
    column: str
    count: int = 0
    places: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "column": self.column, "count": self.count, "places": self.places}


class Findings:
    """All that could not be placed. `allowed` kinds are left out and counted; any other stops the import."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self.allowed = frozenset(allowed)
        self.stopped = False  # something was found that may not be left out
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, kind: str, column: str, where: str, why: str, value: str | None = None) -> None:
        finding = self._found.get((kind, column))
        if finding is None:
            finding = self._found[kind, column] = Finding(kind, column)
        finding.count += 1
        self.stopped = self.stopped or kind not in self.allowed
        if len(finding.places) < SHOWN:
            shown = "" if value is None else f"{shortened(value)!r} "
            finding.places.append(f"{where}: {shown}{why}" if where else f"{shown}{why}")

    def has(self, kind: str, column: str) -> bool:
        return (kind, column) in self._found

    def __iter__(self) -> Iterator[Finding]:
        order = list(KINDS)
        return iter(sorted(self._found.values(), key=lambda each: (order.index(each.kind), each.column)))

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def blocking(self) -> list[Finding]:
        return [each for each in self if each.kind not in self.allowed]
