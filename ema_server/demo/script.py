"""What a demo study consists of: its documents, its people, and what happened on each phone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ema_client import Prompt
from ema_server.demo.phone import Happening

Prompts = Sequence[Prompt]


@dataclass(frozen=True)
class Person:
    """One participant: their period, and what happens on their phone once it knows its prompts."""

    pseudonym: str
    first_day: date
    last_day: date
    zone: str
    happenings: Callable[[Prompts], list[Happening]]
    covariates: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DemoStudy:
    slug: str
    title: str
    description: str
    source: str
    zone: str
    questionnaire: str
    survey: dict[str, Any]
    sampling: dict[str, Any]
    plan: dict[str, Any]
    people: list[Person]
    simulated_truth: dict[str, float] | None = None
    secret: bytes | None = None  # set where the draws must come out alike on every machine

    @property
    def starts_on(self) -> date:
        return min(person.first_day for person in self.people)

    @property
    def ends_on(self) -> date:
        return max(person.last_day for person in self.people)
