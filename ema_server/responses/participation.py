"""Who came in, who left, who stayed: three questions beside compliance, each with its own people to count from.

Test people and whoever was erased are in none of them. A day is the person's own: the first is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Exists, Max, OuterRef, QuerySet

from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import EnrolmentCode, Participant
from ema_server.responses.models import Submission
from ema_server.sampling.models import Prompt
from ema_server.sampling.queries import not_asked
from ema_server.studies.models import Study


@dataclass(frozen=True, slots=True)
class Share:
    """So many people of so many. Of nobody there is no share: `value` is None."""

    count: int
    of: int
    what: str
    of_whom: str

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def words(self) -> str:
        return f"{self.what}: {self.count:,} of {self.of:,} {self.of_whom}"


@dataclass(frozen=True)
class Acceptance:
    """Enrolled of invited. Whoever came by a code that is open to anybody was not invited, and is counted beside."""

    overall: Share
    site: dict[str, Share]
    by_open_code: int


@dataclass(frozen=True)
class Attrition:
    """Of everybody enrolled: who withdrew, and who did not but stopped answering before their last day. `day` and `wave` say
    when (withdrawn, stopped): the day of the withdrawal, the day of the last answer (0: never answered)."""

    withdrew: Share
    stopped: Share
    day: dict[int, tuple[int, int]]
    wave: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Participation:
    """What was known at `cutoff`. `retention`: by day, of those whose day it has been, how many answered on it or later."""

    cutoff: datetime
    site: str
    acceptance: Acceptance
    attrition: Attrition
    retention: dict[int, Share]


@dataclass(frozen=True, slots=True)
class Course:
    """How far one enrolled person has come. `days` of their days have begun; `over`: the last one is behind them."""

    days: int
    over: bool
    withdrew: tuple[int, str] | None = None  # day and wave
    answered: tuple[int, str] = (0, "")  # day and wave of the prompt of the last day that they answered
    asked: int = 0  # the last day on which they were asked

    @property
    def stopped(self) -> bool:
        return self.over and self.withdrew is None and self.answered[0] < self.asked


def participation(study: Study, *, cutoff: datetime, site: str = "") -> Participation:
    """All three, of a whole study or of one site's people, as was known at the cutoff."""
    found = Participant.objects.filter(study=study, test_person=False, created_at__lte=cutoff)
    found = found.exclude(state=Participant.State.ERASED).annotate(invited=Exists(_own_code()))
    people = list(found.filter(site=site) if site else found)
    courses = _courses(study, [each for each in people if _is_in(each, cutoff)], cutoff)
    return Participation(cutoff, site, _acceptance(people, cutoff), attrition(courses), retention(courses))


def attrition(courses: Sequence[Course]) -> Attrition:
    days: dict[int, tuple[int, int]] = {}
    waves: dict[str, tuple[int, int]] = {}
    for each in courses:
        if each.withdrew is not None or each.stopped:
            left = (1, 0) if each.withdrew is not None else (0, 1)
            day, wave = each.withdrew or each.answered
            days[day], waves[wave] = _plus(days.get(day), left), _plus(waves.get(wave), left)
    withdrew, stopped = (sum(pair[place] for pair in days.values()) for place in (0, 1))
    return Attrition(
        Share(withdrew, len(courses), "withdrew", "enrolled"),
        Share(stopped, sum(each.over and each.withdrew is None for each in courses), "stopped answering before their last day",
              "who did not withdraw and whose last day is over"),
        dict(sorted(days.items())),
        dict(sorted(waves.items())),
    )  # fmt: skip


def retention(courses: Sequence[Course]) -> dict[int, Share]:
    found = {}
    for day in range(1, max((each.days for each in courses), default=0) + 1):
        reached = [each for each in courses if each.days >= day]
        still = sum(each.answered[0] >= day for each in reached)
        found[day] = Share(still, len(reached), f"answered on day {day} or later", "enrolled whose day it has been")
    return found


def _acceptance(people: Sequence[Participant], cutoff: datetime) -> Acceptance:
    invited = [each for each in people if each.invited]  # type: ignore[attr-defined]

    def share(some: Sequence[Participant]) -> Share:
        return Share(sum(_is_in(each, cutoff) for each in some), len(some), "enrolled", "invited")

    sites = sorted({each.site for each in invited})
    by_site = {site: share([each for each in invited if each.site == site]) for site in sites}
    return Acceptance(
        share(invited), by_site, by_open_code=sum(_is_in(each, cutoff) for each in people) - share(invited).count
    )


def _own_code() -> QuerySet[EnrolmentCode]:
    return EnrolmentCode.objects.filter(participant=OuterRef("pk"), new_phone=False)


def _is_in(person: Participant, cutoff: datetime) -> bool:
    return person.enrolled_at is not None and person.enrolled_at <= cutoff


def _courses(study: Study, people: Sequence[Participant], cutoff: datetime) -> list[Course]:
    answered, asked, left = _last_answered(study, cutoff), _last_asked(study, cutoff), _withdrawals(study, cutoff)
    waves = _waves(study, left)
    courses = []
    for each in people:
        if each.first_day is None or each.last_day is None:
            continue
        today = _day_of(each, cutoff)
        days = (each.last_day - each.first_day).days + 1
        withdrew = None
        if each.pk in left:
            day = _day_of(each, left[each.pk])
            withdrew = day, next((wave for at, wave in waves.get(each.pk, ()) if at <= day), "")
        courses.append(
            Course(
                max(min(today, days), 0), today > days, withdrew, answered.get(each.pk, (0, "")), asked.get(each.pk, 0)
            )
        )
    return courses


def _day_of(person: Participant, moment: datetime) -> int:
    """Which of their days it is for somebody, by the clock on their wall."""
    assert person.first_day is not None
    return (moment.astimezone(ZoneInfo(person.zone or "UTC")).date() - person.first_day).days + 1


def _last_answered(study: Study, cutoff: datetime) -> dict[int, tuple[int, str]]:
    """Day and wave of the last day of which somebody answered a prompt, finished or not."""
    answers = Submission.objects.filter(prompt=OuterRef("pk"), received_at__lte=cutoff)
    found = Prompt.objects.filter(Exists(answers), study=study, practice=False)
    rows = found.order_by("participant_id", "-day", "-scheduled_at").distinct("participant_id")
    return {person: (day, wave) for person, day, wave in rows.values_list("participant_id", "day", "wave")}


def _last_asked(study: Study, cutoff: datetime) -> dict[int, int]:
    asked = Prompt.objects.filter(study=study, practice=False, scheduled_at__lte=cutoff).exclude(
        not_asked(study, cutoff=cutoff)
    )
    return dict(asked.order_by().values_list("participant_id").annotate(Max("day")))


def _withdrawals(study: Study, cutoff: datetime) -> dict[int, datetime]:
    """When somebody withdrew, by the audit trail."""
    events = AuditEvent.objects.filter(study=study, action="participant.withdrawn", at__lte=cutoff)
    return {int(about.partition(":")[2]): at for about, at in events.order_by("number").values_list("about", "at")}


def _waves(study: Study, people: Iterable[int]) -> dict[int, list[tuple[int, str]]]:
    """The days of these people on which something was to be asked, with their waves, the last first."""
    found: dict[int, list[tuple[int, str]]] = {}
    rows = Prompt.objects.filter(study=study, participant__in=list(people)).order_by("participant_id", "-day")
    for person, day, wave in rows.values_list("participant_id", "day", "wave").distinct():
        found.setdefault(person, []).append((day, wave))
    return found


def _plus(pair: tuple[int, int] | None, more: tuple[int, int]) -> tuple[int, int]:
    return (pair[0] + more[0], pair[1] + more[1]) if pair else more
