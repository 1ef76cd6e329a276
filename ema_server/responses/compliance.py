"""How much of what was asked was answered: counts with names, by whatever one may want to look by.

A rate never stands without what it is a share of. Acceptance, attrition and retention are other questions
(`responses/participation.py`). `sampling.prompt_state` says of one prompt what is counted here of all of them at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from django.db import connection

from ema_server.common.phone_time import believable_span
from ema_server.common.snapshot import snapshot
from ema_server.participants.models import Participant
from ema_server.responses.compliance_query import BITS, QUERY
from ema_server.sampling.prompt_state import NEVER_SENT
from ema_server.sampling.queries import imported_plans, rules_asked_on_withdrawal
from ema_server.studies.models import Study

Denominator = Literal["scheduled", "sent", "delivered"]
Numerator = Literal["started", "completed", "in_time"]
DENOMINATORS: dict[Denominator, str] = {
    "scheduled": "scheduled while enrolled, not paused, with a device",
    "sent": "sent: the push service accepted it, or the phone gave a sign of it",
    "delivered": "known to have been delivered",
}
NUMERATORS: dict[Numerator, str] = {
    "started": "started",
    "completed": "completed",
    "in_time": "completed in time",
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Rate:
    """A numerator of a denominator. Of nothing there is no rate: `value` is None."""

    numerator: Numerator
    denominator: Denominator
    count: int
    of: int

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def words(self) -> str:
        """completed: 240 of 312 scheduled while enrolled, not paused, with a device"""
        return f"{NUMERATORS[self.numerator]}: {self.count:,} of {self.of:,} {DENOMINATORS[self.denominator]}"


@dataclass(frozen=True, slots=True)
class Counts:
    """Prompts. Whatever was completed was started, delivered, sent and scheduled; of `scheduled`, each was delivered, not
    delivered, or nobody knows."""

    scheduled: int = 0
    sent: int = 0
    delivered: int = 0
    undelivered: int = 0
    unknown: int = 0
    started: int = 0
    completed: int = 0
    in_time: int = 0

    def rate(self, numerator: Numerator, denominator: Denominator) -> Rate:
        return Rate(numerator, denominator, getattr(self, numerator), getattr(self, denominator))

    @classmethod
    def of(cls, prompts: Mapping[int, int]) -> Counts:
        """From how many prompts there are of each number of bits."""

        def having(bits: int) -> int:
            return sum(count for each, count in prompts.items() if each & bits)

        scheduled = sum(prompts.values())
        unknown = scheduled - having(BITS["delivered"] | BITS["undelivered"])
        return cls(scheduled=scheduled, unknown=unknown, **{name: having(bit) for name, bit in BITS.items()})


@dataclass(frozen=True)
class Compliance:
    """What was known at `cutoff`, of a whole study or of one site's people. Keys: a pseudonym; the person's own day; ISO weekday
    and local hour of the prompt; a wave ("" outside of all); questionnaire and rule."""

    cutoff: datetime
    site: str
    overall: Counts = Counts()
    person: dict[str, Counts] = field(default_factory=dict)
    day: dict[int, Counts] = field(default_factory=dict)
    weekday: dict[int, Counts] = field(default_factory=dict)
    hour: dict[int, Counts] = field(default_factory=dict)
    wave: dict[str, Counts] = field(default_factory=dict)
    rule: dict[tuple[str, str], Counts] = field(default_factory=dict)


GROUPINGS = ("person", "day", "weekday", "hour", "wave", "rule")


def compliance(study: Study, *, cutoff: datetime, site: str = "") -> Compliance:
    """Counts of all prompts that were due at the cutoff, as was known then; a site narrows them to its people.

    Practice, test people, event buttons, what was scheduled before somebody enrolled, and what was called off and not
    answered are not counted. What was imported with a finished study counts as it stands in the file.
    """
    facts: dict[str, Any] = {
        "study": study.pk,
        "cutoff": cutoff,
        "believed_from": believable_span(study_start=study.starts_on, now=cutoff)[0],
        "site": site,
        "erased": Participant.State.ERASED,
        "imported": imported_plans(study),
        "quiet_since": study.quiet_since,
        "asked_all_the_same": sorted(rules_asked_on_withdrawal(study)),
        "never_sent": sorted(NEVER_SENT),
    }
    with snapshot(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(QUERY, facts)
        return _gathered(cursor.fetchall(), cutoff, site)


def _gathered(rows: Iterable[tuple[Any, ...]], cutoff: datetime, site: str) -> Compliance:
    """From joint counts to those of each grouping."""
    cells: dict[str, dict[Any, Counter[int]]] = {name: defaultdict(Counter) for name in GROUPINGS}
    overall: Counter[int] = Counter()
    for person, day, wave, questionnaire, rule, date, hour, bits, prompts in rows:
        if person is not None:
            cells["person"][person][bits] += prompts
            overall[bits] += prompts
        elif day is not None:
            cells["day"][day][bits] += prompts
            cells["wave"][wave][bits] += prompts
            cells["rule"][questionnaire, rule][bits] += prompts
        else:
            cells["weekday"][date.isoweekday()][bits] += prompts
            cells["hour"][hour][bits] += prompts
    counts = {name: {key: Counts.of(each[key]) for key in sorted(each)} for name, each in cells.items()}
    return Compliance(cutoff, site, Counts.of(overall), **counts)
