"""Reads of the prompt ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Trunc

from ema_server.participants.models import Device, Participant, Pause
from ema_server.sampling.models import Planning, Prompt, PromptEvent
from ema_server.sampling.pictures import Asked
from ema_server.sampling.planning import calendar_of, facts_for_drawing
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.sampling_days import spans
from ema_server.studies.sampling_rules import event_questionnaires

Cause = Planning.Cause
BY_DAYS = (Cause.ENROLMENT, Cause.PLAN, Cause.SCHEDULE, Cause.ZONE)  # the plannings that draw all of a person's days
LEFT = (PromptEvent.Code.WITHDREW, PromptEvent.Code.PAUSED)  # the person's own doing
Facts = dict[str, str | int | float | bool]


def facts_of(prompts: Iterable[Prompt]) -> dict[UUID, Facts]:
    """What expressions may ask of each prompt (`@day`, `@arm` …); its participant and decision should have been selected with it."""
    return {
        prompt.pk: {
            **facts_of_person(prompt.participant),
            "day": prompt.day,
            "prompt": prompt.slot,
            "wave": prompt.wave,
            "weekday": prompt.local_date.isoweekday(),
            "hour": prompt.local_time.hour + prompt.local_time.minute / 60 + prompt.local_time.second / 3600,
            "practice": prompt.practice,
            "option": getattr(getattr(prompt, "decision", None), "option", ""),
        }
        for prompt in prompts
    }


def facts_of_person(participant: Participant) -> Facts:
    """What is known without a prompt, as of the event button."""
    return {"arm": participant.arm, "site": participant.site, "role": participant.dyad_role}


def not_asked(study: Study, *, cutoff: datetime) -> Q:
    """Whether nobody was asked, as was known by then: the server had taken the prompt back (somebody withdrew, a pause of the
    study that is over), it fell into a pause of its person, or the study asks nothing since before it. For prompts without an
    answer: nobody missed these. A decision point in a pause stays one, at which its person was not available."""
    called_off = called_off_by(cutoff) & ~_left_after_a_decision(cutoff)
    called_off |= within_a_pause() & Q(decision__isnull=True)
    if study.quiet_since is None:
        return called_off
    return called_off | Q(scheduled_at__gte=study.quiet_since) & ~Q(rule__in=rules_asked_on_withdrawal(study))


def within_a_pause() -> Q:
    """Whether a prompt fell into a pause of its person. When somebody pauses or goes on is never dated back, so of a prompt whose
    time has come this stays as it is."""
    pauses = Pause.objects.filter(participant=OuterRef("participant"), since__lte=OuterRef("scheduled_at"))
    return Q(Exists(pauses.filter(Q(until=None) | Q(until__gt=OuterRef("scheduled_at")))))


def open_pause_of(person: Participant, *, now: datetime) -> Pause | None:
    """The pause in which somebody is now; None where they are in none, or said that it ends before now."""
    pauses = Pause.objects.filter(Q(until=None) | Q(until__gt=now), participant=person, since__lte=now)
    return pauses.order_by("-since", "-pk").first()


def outside_the_pause(person: Participant, *, now: datetime) -> Q:
    """Which of somebody's prompts their phone may ask. What lies behind the end of a pause, if it has one, is among them: the
    phone may be offline by then."""
    paused = open_pause_of(person, now=now) if person.state == Participant.State.PAUSED else None
    if paused is None:
        return Q()
    before = Q(scheduled_at__lt=paused.since)
    return before if paused.until is None else before | Q(scheduled_at__gte=paused.until)


def before_enrolment(study: Study) -> Q:
    """Whether a prompt of somebody's first day had come before they were in. What was imported is not judged: nobody
    enrolled here for it."""
    since = Trunc("participant__enrolled_at", "second", output_field=DateTimeField(), tzinfo=UTC)
    return Q(scheduled_at__lt=since) & ~Q(plan__in=imported_plans(study))


def phone_was_lost() -> Q:
    """Whether a prompt came when its person's phone had been let go and no other had taken its place: there was nothing to ask
    them by. A decision point at such a time is one at which nobody was available."""
    own = Device.objects.filter(participant=OuterRef("participant"))
    gone = own.filter(revoked_at__lte=OuterRef("scheduled_at"))
    there = own.exclude(revoked_at__lte=OuterRef("scheduled_at"))
    there = there.filter(created_at__lt=OuterRef("scheduled_at") + timedelta(seconds=1))
    return Q(Exists(gone), decision__isnull=True) & ~Q(Exists(there))


def _left_after_a_decision(cutoff: datetime) -> Q:
    """Whether somebody left or paused when their decision point had come already. It may be what was done that drove them away,
    so it stays a decision point."""
    left = PromptEvent.objects.filter(
        prompt=OuterRef("pk"), kind=PromptEvent.Kind.CANCELLED, code__in=LEFT, phone_text="",
        received_at__gt=OuterRef("scheduled_at"), received_at__lte=cutoff,
    )  # fmt: skip
    return Q(Exists(left), decision__isnull=False)


def no_decision_point(study: Study, *, now: datetime) -> Q:
    """Of prompts that have come due: whether they had been called off by then, or came before their person was in."""
    return (called_off_by(now) & ~_left_after_a_decision(now)) | before_enrolment(study)


def asked_of(participant: Participant, *, now: datetime) -> list[Asked]:
    """Every prompt of one person with what has become of it, for a picture."""
    rows = participant.prompts.annotate(
        answered=Exists(participant.submissions.filter(prompt=OuterRef("pk"), complete=True)),
        called=last_call("kind"),
        paused=within_a_pause(),
    ).order_by("scheduled_at")
    return [
        Asked(
            row.day,
            row.local_date,
            row.local_time,
            row.questionnaire,
            "answered"
            if row.answered
            else "called off"
            if row.called == PromptEvent.Kind.CANCELLED or row.paused
            else "ahead"
            if row.expires_at > now
            else "unanswered",
        )
        for row in rows
    ]


def called_off_by(cutoff: datetime) -> Q:
    """Whether the server had taken the prompt back by then, and not asked for it again."""
    return _still_off(PromptEvent.objects.filter(phone_text="", received_at__lte=cutoff))


def _still_off(known: QuerySet[PromptEvent]) -> Q:
    """Whether one of these events took the prompt back, and none of them asked for it again later."""
    restored = known.filter(prompt=OuterRef("prompt"), kind=PromptEvent.Kind.RESTORED, pk__gt=OuterRef("pk"))
    cancelled = known.filter(prompt=OuterRef("pk"), kind=PromptEvent.Kind.CANCELLED)
    return Q(Exists(cancelled.filter(~Exists(restored))))


def taken_back(cutoff: datetime) -> Q:
    """Of events: whether one calls a prompt off that the server, as was known by then, asked for again later."""
    restored = PromptEvent.objects.filter(
        prompt=OuterRef("prompt"), kind=PromptEvent.Kind.RESTORED, pk__gt=OuterRef("pk"), received_at__lte=cutoff
    )
    return Q(Exists(restored), kind=PromptEvent.Kind.CANCELLED)


def last_call(field: str) -> Subquery:
    """A field of the last event that took a prompt back or asked for it again; None where there is none."""
    calls = PromptEvent.objects.filter(
        prompt=OuterRef("pk"), kind__in=(PromptEvent.Kind.CANCELLED, PromptEvent.Kind.RESTORED)
    )
    return Subquery(calls.order_by("-pk").values(field)[:1])


def with_an_outcome() -> Q:
    """Whether a prompt is over as far as its phone is concerned: somebody said so, and nobody asked for it again."""
    over = PromptEvent.objects.filter(
        prompt=OuterRef("pk"), kind__in=(PromptEvent.Kind.COMPLETED, PromptEvent.Kind.EXPIRED)
    )
    return Q(Exists(over)) | _still_off(PromptEvent.objects.all())


def last_drawing(person: Participant) -> Planning | None:
    """The planning by which somebody's days were last drawn."""
    drawn = Planning.objects.filter(participant=person, cause__in=BY_DAYS).select_related("plan")
    return drawn.order_by("-pk").first()


def plan_of(person: Participant) -> SamplingPlan | None:
    """The plan by which somebody's days were last drawn; before that, the newest."""
    latest = last_drawing(person)
    return latest.plan if latest else current_sampling_plan(person.study)


def versions_of(plan: SamplingPlan) -> dict[str, int]:
    """By which version each rule's moments are drawn; a plan from before versions were kept has its own number."""
    return {rule["key"]: plan.versions.get(rule["key"], plan.number) for rule in plan.document["rules"]}


def rules_of_prompts(prompts: Iterable[Prompt]) -> dict[tuple[int, str], dict[str, Any]]:
    """By plan and key, the rules that made these prompts, each as its own version of the plan has it. One query."""
    plans = SamplingPlan.objects.filter(pk__in={prompt.plan_id for prompt in prompts})
    return {
        (pk, rule["key"]): rule for pk, document in plans.values_list("pk", "document") for rule in document["rules"]
    }


@dataclass(frozen=True, slots=True)
class EventButton:
    """A questionnaire that the person opens by themselves, and the days on which the app offers it."""

    rule: str
    questionnaire: str
    first_day: str
    last_day: str
    weekdays: tuple[int, ...]
    practice: bool


def event_buttons(participant: Participant, plan: SamplingPlan | None) -> list[EventButton]:
    """The event buttons of one person's days by a plan, one for each stretch of days."""
    if plan is None or participant.first_day is None or participant.last_day is None:
        return []
    calendar = calendar_of(facts_for_drawing(participant))
    return [
        EventButton(
            rule["key"],
            rule["questionnaire"],
            calendar.local_day(low).isoformat(),
            calendar.local_day(high).isoformat(),
            tuple(rule.get("weekdays", range(1, 8))),
            bool(rule.get("practice")),
        )
        for rule in plan.document["rules"]
        if rule.get("event")
        for low, high in spans(plan.document, rule, calendar)
    ]


def questionnaires_of_events(study: Study) -> set[str]:
    """Those that some version of the plan gave an event button: a submission without a prompt to one of them is a report
    of an event, to any other it is an orphan."""
    return {name for document in _documents(study) for name in event_questionnaires(document)}


def imported_plans(study: Study) -> list[int]:
    """The plans whose prompts came with a finished study: nobody enrolled here for them, no phone of ours asked."""
    return list(study.sampling_plans.filter(document__imported=True).values_list("pk", flat=True))


def rules_asked_on_withdrawal(study: Study) -> set[str]:
    """The rules whose surveys are asked of whoever leaves, however quiet the study is."""
    return {
        rule["key"] for document in _documents(study) for rule in document["rules"] if rule.get("once") == "withdrawal"
    }


def _documents(study: Study) -> list[Any]:
    return list(study.sampling_plans.values_list("document", flat=True))
