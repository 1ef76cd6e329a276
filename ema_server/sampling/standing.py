"""What stands of some people's prompts: which lie ahead and may change, and which stay as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ema_server.participants.models import Participant
from ema_server.sampling.changes import Ahead, Key
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.plan import besides
from ema_server.studies.models import Study

Kind = PromptEvent.Kind
Code = PromptEvent.Code
OURS = (
    Code.PLAN_CHANGED,
    Code.SCHEDULE_CHANGED,
    Code.ZONE_CHANGED,
    Code.TOO_CLOSE,
)  # a later change may take these back
CALLS = (Kind.CANCELLED, Kind.RESTORED)
HAPPENED = (Kind.SHOWN, Kind.OPENED, Kind.DISMISSED, Kind.STARTED, Kind.COMPLETED, Kind.EXPIRED)
REACH = timedelta(
    days=4
)  # a day's moments may be that far apart: other zones, nights without sleep, windows over midnight
COLUMNS = (
    "pk", "participant_id", "plan_id", "rule", "day", "slot", "scheduled_at", "expires_at", "questionnaire", "grace_minutes",
    "wave", "practice", "zone",
)  # fmt: skip


@dataclass(slots=True)
class Standing:
    """The prompts of one person. `settled` are the keys of those that stay, `asked` the times of those of them that were or
    will be asked."""

    ahead: list[Ahead] = field(default_factory=list)
    settled: set[Key] = field(default_factory=set)
    asked: list[datetime] = field(default_factory=list)


def standing_of(
    people: Sequence[Participant], *, from_day: dict[int, int], ends: dict[int, tuple[str, datetime]], since: datetime
) -> defaultdict[int, Standing]:
    """The prompts of people of one study that matter to a change which holds since a moment and, for each, from a day. Of the
    days before that day `ends` is the zone and when they are over: what another zone has put after it may change as well."""
    found: defaultdict[int, Standing] = defaultdict(Standing)
    prompts = Prompt.objects.filter(participant__in=[person.pk for person in people], scheduled_at__gt=since - REACH)
    rows = list(prompts.values_list(*COLUMNS))
    if not rows:
        return found
    rules = _rules(people[0].study)
    answered = set(prompts.filter(submission__isnull=False).values_list("pk", flat=True))
    happened, calls = _events(row[0] for row in rows)
    for pk, person, plan, rule, day, slot, opens, closes, questionnaire, grace, wave, practice, zone in rows:
        standing, key = found[person], (rule, day, slot)
        called, why = calls.get(pk, ("", ""))
        called_off, by_rule = called == Kind.CANCELLED, rules.get((plan, rule), {})
        may_change = (
            (day >= from_day[person] or (zone != ends[person][0] and opens >= ends[person][1]))
            and opens >= since
            and pk not in answered
            and pk not in happened
            and not _of_the_moment(by_rule)
            and (not called_off or why in OURS)
        )
        if may_change:
            standing.ahead.append(
                Ahead(pk, key, opens, closes, questionnaire, grace, wave, practice, called_off, zone, besides(by_rule))
            )
            continue
        standing.settled.add(key)
        if not called_off:
            standing.asked.append(opens)
    return found


def _events(prompts: Any) -> tuple[Collection[UUID], dict[UUID, tuple[str, str]]]:
    """The prompts that have happened to somebody, and of each the last event that took it back or asked for it again."""
    happened: set[UUID] = set()
    calls: dict[UUID, tuple[str, str]] = {}
    events = PromptEvent.objects.filter(prompt__in=list(prompts), kind__in=(*CALLS, *HAPPENED)).order_by("pk")
    for prompt, kind, code, by_phone in events.values_list("prompt_id", "kind", "code", "phone_text"):
        if by_phone and kind == Kind.CANCELLED and calls.get(prompt, ("",))[0] == Kind.CANCELLED:
            continue  # the phone says that it has done so: who called it off may take that back
        if kind in CALLS:
            calls[prompt] = (kind, code)
        else:
            happened.add(prompt)
    return happened, calls


def _rules(study: Study) -> dict[tuple[int, str], Mapping[str, Any]]:
    """The rules of every version of the plan, by its row and their key."""
    return {
        (plan, rule["key"]): rule
        for plan, document in study.sampling_plans.values_list("pk", "document")
        for rule in document["rules"]
    }


def _of_the_moment(rule: Mapping[str, Any]) -> bool:
    """Whether its prompts come of a moment or an answer and not of a person's days."""
    return rule.get("once") in ("enrolment", "withdrawal") or "after" in rule
