"""What came out of a file: the questionnaires, and everything that stayed behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class CannotRead(ValueError):
    """The file is refused as a whole; `detail` says why, for a person, with what would be accepted."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Lost:
    """One thing that could not be carried over: where it stands in the file, what it was, what became of it."""

    place: str
    what: str
    became: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} – {self.became}"


@dataclass(frozen=True)
class Carried:
    """`documents` by the slug of their questionnaire; `notes` are decisions that a reader should know, nothing lost."""

    documents: Mapping[str, dict[str, Any]]
    lost: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
