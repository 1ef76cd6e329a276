"""Reads of the prompt ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from ema_server.participants.models import Participant
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.sampling_rules import event_questionnaires, spans

Facts = dict[str, str | int | float | bool]


def facts_of(prompts: Iterable[Prompt]) -> dict[UUID, Facts]:
    """What expressions may ask of each prompt (`@day`, `@arm` …); its participant should have been selected with it."""
    return {
        prompt.pk: {
            **facts_of_person(prompt.participant),
            "day": prompt.day,
            "prompt": prompt.slot,
            "wave": prompt.wave,
            "weekday": prompt.local_date.isoweekday(),
            "hour": prompt.local_time.hour + prompt.local_time.minute / 60 + prompt.local_time.second / 3600,
            "practice": prompt.practice,
        }
        for prompt in prompts
    }


def facts_of_person(participant: Participant) -> Facts:
    """What is known without a prompt, as of the event button."""
    return {"arm": participant.arm, "site": participant.site, "role": participant.dyad_role}


def not_asked(study: Study, *, cutoff: datetime) -> Q:
    """Whether nobody was asked, as was known by then: the server had taken the prompt back (a pause that is over, somebody
    withdrew), or the study asks nothing since before it. For prompts without an answer: nobody missed these."""
    called_off = Q(
        Exists(
            PromptEvent.objects.filter(
                prompt=OuterRef("pk"), kind=PromptEvent.Kind.CANCELLED, phone_text="", received_at__lte=cutoff
            )
        )
    )
    if study.quiet_since is None:
        return called_off
    return called_off | Q(scheduled_at__gte=study.quiet_since) & ~Q(rule__in=rules_asked_on_withdrawal(study))


@dataclass(frozen=True, slots=True)
class EventButton:
    """A questionnaire that the person opens by themselves, and the days on which the app offers it."""

    rule: str
    questionnaire: str
    first_day: str
    last_day: str
    weekdays: tuple[int, ...]
    practice: bool


def event_buttons(participant: Participant) -> list[EventButton]:
    """The event buttons of one person's days, one for each stretch of days."""
    plan = current_sampling_plan(participant.study)
    if plan is None or participant.first_day is None or participant.last_day is None:
        return []
    days = (participant.last_day - participant.first_day).days + 1
    return [
        EventButton(
            rule["key"],
            rule["questionnaire"],
            (participant.first_day + timedelta(days=low - 1)).isoformat(),
            (participant.first_day + timedelta(days=min(high or days, days) - 1)).isoformat(),
            tuple(rule.get("weekdays", range(1, 8))),
            bool(rule.get("practice")),
        )
        for rule in plan.document["rules"]
        if rule.get("event")
        for low, high in spans(plan.document, rule)
        if low <= days
    ]


def questionnaires_of_events(study: Study) -> set[str]:
    """Those that some version of the plan gave an event button: a submission without a prompt to one of them is a report
    of an event, to any other it is an orphan."""
    documents: list[Any] = list(study.sampling_plans.values_list("document", flat=True))
    return {name for document in documents for name in event_questionnaires(document)}


def rules_asked_on_withdrawal(study: Study) -> set[str]:
    """The rules whose surveys are asked of whoever leaves, however quiet the study is."""
    documents: list[Any] = list(study.sampling_plans.values_list("document", flat=True))
    return {rule["key"] for document in documents for rule in document["rules"] if rule.get("once") == "withdrawal"}
