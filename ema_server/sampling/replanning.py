"""Drawing people's prompts anew, and writing what is different.

Only prompts that lie ahead and have neither an answer nor an outcome ever change. Everything that changes is an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from ema_server.participants.models import Device, Participant
from ema_server.sampling.changes import Changes, compare
from ema_server.sampling.models import Planning, PromptEvent, ScheduleChange
from ema_server.sampling.plan import Person, as_utc, draw_prompts
from ema_server.sampling.planning import person_of, start_planning
from ema_server.sampling.queries import plan_of, versions_of
from ema_server.sampling.rewriting import rewrite
from ema_server.sampling.standing import standing_of
from ema_server.studies.models import SamplingPlan
from ema_server.studies.sampling_arithmetic import waking_on
from ema_server.studies.sampling_slots import DAY

Effect = ScheduleChange.Effect
Code = PromptEvent.Code
BECAUSE = {
    Planning.Cause.PLAN: Code.PLAN_CHANGED,
    Planning.Cause.SCHEDULE: Code.SCHEDULE_CHANGED,
    Planning.Cause.ZONE: Code.ZONE_CHANGED,
}


def replan(
    person: Participant,
    plan: SamplingPlan,
    *,
    cause: str,
    effect: str,
    now: datetime,
    change: ScheduleChange | None = None,
    since: datetime | None = None,
    device: Device | None = None,
) -> Changes:
    """Draw one person's prompts anew and write what is different. The caller holds the person's row."""
    return replan_all(
        [person], plan, cause=cause, effect=effect, now=now, change=change, since=since, device=device
    )[person.pk]  # fmt: skip


def replan_all(
    people: Sequence[Participant],
    plan: SamplingPlan,
    *,
    cause: str,
    effect: str,
    now: datetime,
    change: ScheduleChange | None = None,
    since: datetime | None = None,
    device: Device | None = None,
) -> dict[int, Changes]:
    """The same for several people of one study, in few queries. The caller holds their rows."""
    plannings = {person.pk: start_planning(person, plan, cause=cause, now=now, change=change) for person in people}
    found = changes_of(
        people,
        plan,
        {pk: planning.facts for pk, planning in plannings.items()},
        effect=effect,
        since=since or now,
        decided_at=change.made_at if change else None,
    )
    for pk, planning in plannings.items():
        planning.counts = found[pk].counts
    rewrite(
        [(plannings[pk], found[pk]) for pk in plannings], code=BECAUSE[Planning.Cause(cause)], device=device, now=now
    )
    return found


def changes_of(
    people: Sequence[Participant],
    plan: SamplingPlan,
    facts: Mapping[int, Mapping[str, Any]],
    *,
    effect: str,
    since: datetime,
    decided_at: datetime | None = None,
) -> dict[int, Changes]:
    """What drawing anew by this plan, from these facts, changes for people of one study. What is from their next day is from
    the day after the decision, however late it reaches them; what has passed until then stays."""
    drawn = {person.pk: person_of(person.pseudonym, facts[person.pk]) for person in people}
    from_day = {
        pk: max(
            1,
            # At once concerns two days before, too: whoever is awake past midnight is still in yesterday, and whoever has
            # crossed the date line in the day before that.
            each.calendar.number((decided_at or since).astimezone(each.zone).date())
            + (1 if effect == Effect.NEXT_DAY else -2),
        )
        for pk, each in drawn.items()
    }
    before = {pk: _end_of_day(each, from_day[pk] - 1, plan) for pk, each in drawn.items()}
    standing, gap, versions = (
        standing_of(people, from_day=from_day, ends=before, since=since),
        plan.document.get("gap_minutes", 0),
        versions_of(plan),
    )
    found = {}
    for person in people:
        draws = draw_prompts(
            plan.document,
            secret=bytes(person.study.secret),
            person=drawn[person.pk],
            versions=versions,
            from_day=from_day[person.pk],
        )
        stands = standing[person.pk]
        near = [moment for moment in stands.asked if moment > since - timedelta(minutes=gap)] if gap else []
        ahead = (draw for draw in draws if draw.opens >= since)
        found[person.pk] = compare(stands.ahead, ahead, settled=stands.settled, asked=near, gap_minutes=gap)
    return found


def _end_of_day(person: Person, day: int, plan: SamplingPlan) -> tuple[str, datetime]:
    """The zone by which a day is drawn, and when it is over there: at midnight, or when its person falls asleep after that."""
    local_day = person.calendar.local_day(day)
    (_, asleep), _ = waking_on(plan.document, person.waking, local_day.isoweekday())
    midnight = as_utc(local_day + timedelta(days=1), time(0), person.zone)
    return str(person.zone), midnight + timedelta(minutes=max(asleep - DAY, 0))


def follow_zone(*, participant: Participant, zone: str, since: datetime, device: Device, now: datetime) -> Changes:
    """Somebody is in another zone since a moment: from when the plan says, they are asked by the clock on the wall there.
    The hours that had passed there already when they arrived are not asked."""
    plan = plan_of(participant)
    travel = plan.document.get("travel", "at_once") if plan is not None else "home"
    if plan is None or travel == "home" or participant.first_day is None:
        return Changes()
    participant.zone = zone
    participant.save(update_fields=["zone"])
    effect = Effect.NEXT_DAY if travel == "next_day" else Effect.AT_ONCE
    return replan(participant, plan, cause=Planning.Cause.ZONE, effect=effect, now=now, since=since, device=device)
