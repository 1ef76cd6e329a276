"""Micro-randomised decisions: what chance chose at each decision point, and whether its person was available.

Both are written before anything is done: the choice with the prompt itself, the availability when the prompt comes due. The
action is what was drawn, where the person was available.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from math import fsum
from typing import Any
from uuid import UUID, uuid5

from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Case,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)  # fmt: skip
from django.db.models.functions import Coalesce
from django_scopes import scope

from ema_server.participants.models import Device
from ema_server.sampling.models import Planning, Prompt, PromptEvent
from ema_server.sampling.plan import Person, seeded
from ema_server.sampling.planning import Row, person_of
from ema_server.sampling.queries import no_decision_point, rules_of_prompts, versions_of, within_a_pause
from ema_server.studies import states
from ema_server.studies.models import Study

Kind = PromptEvent.Kind
Code = PromptEvent.Code
AVAILABILITY = (Kind.AVAILABLE, Kind.UNAVAILABLE)
SEEN = (Kind.SHOWN, Kind.REMINDED, Kind.OPENED, Kind.DISMISSED, Kind.STARTED, Kind.COMPLETED)
LOOK_BACK = timedelta(days=1)  # what came due while the server was down longer stays unknown, unless the phone says it
LONGEST_REST = timedelta(days=1)

# What chance chose -----------------------------------------------------------------------------------------------------


def uniform(
    secret: bytes, person: Person, rule: Mapping[str, Any], *, versions: Mapping[str, int], day: int, slot: int
) -> float:
    """The draw of one decision point: the number of its slot from the generator of its person, day and rule."""
    rng = seeded(
        secret, person=person.pseudonym, local_day=person.calendar.local_day(day), rule=f"{rule['key']}|decide",
        version=versions.get(rule["key"], 1),
    )  # fmt: skip
    return [rng.random() for _ in range(slot)][-1]


def chosen(options: Mapping[str, float], draw: float) -> str:
    """The option within whose share a draw lies. JSON keeps no order, so the shares follow the alphabet."""
    names, at = sorted(options), draw * fsum(options.values())
    bounds = accumulate(options[name] for name in names)
    return next((name for name, above in zip(names, bounds, strict=True) if at < above), names[-1])


def probability(options: Mapping[str, float], option: str) -> float:
    """How likely an option was; thirds that were written as 0.333 are thirds."""
    return options[option] / fsum(options.values())


def write_decisions(prompts: Iterable[Row], planning: Planning) -> int:
    """Log what chance chose for those of these prompts that are decision points, in the transaction that writes them."""
    document = planning.plan.document
    deciding = {rule["key"]: rule for rule in document["rules"] if "decide" in rule}
    if not deciding:
        return 0
    participant, versions = planning.participant, versions_of(planning.plan)
    secret, person = bytes(participant.study.secret), person_of(participant.pseudonym, planning.facts)
    written = {key: json.dumps(rule["decide"]["options"]) for key, rule in deciding.items()}
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY sampling_decision (prompt_id, options, draw, option, made_at) FROM STDIN") as copy,
    ):
        for prompt in prompts:
            rule = deciding.get(prompt.rule)
            if rule is not None:
                draw = uniform(secret, person, rule, versions=versions, day=prompt.day, slot=prompt.slot)
                option = chosen(rule["decide"]["options"], draw)
                copy.write_row((prompt.pk, written[prompt.rule], draw, option, planning.made_at))
                count += 1
    return count


def standing_faults(study: Study, document: Mapping[str, Any]) -> list[str]:
    """Why a new version of the plan would contradict what was drawn: a key keeps its decision, or another key is taken."""
    faults = []
    drawn = study.sampling_plans.filter(planning__isnull=False).distinct().order_by("-number")
    for number, before in drawn.values_list("number", "document"):
        known = {rule["key"]: rule for rule in before["rules"]}
        for place, rule in enumerate(document["rules"]):
            if rule["key"] in known and _options(rule) != _options(known[rule["key"]]):
                faults.append(
                    f"rules[{place}] ({rule['key']}).decide: the options differ from those of version {number}, by which decisions "
                    f"were drawn, and these stand. Give the rule another key: what lies ahead of {rule['key']} is then called "
                    "off, and drawn anew under the new key."
                )
    return list({fault.split(":")[0]: fault for fault in reversed(faults)}.values())


def _options(rule: Mapping[str, Any]) -> Any:
    return rule.get("decide", {}).get("options")


# Whether the person was available --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody's availability depends on at a moment."""

    active: bool
    asked: bool  # whether their study asks anything
    device: bool
    answers: Sequence[datetime] = ()


def unavailable_because(standing: Standing, at: datetime, *, rest_minutes: int) -> str:
    """Why somebody is not available at a moment, as a code; empty where they are."""
    if not standing.active:
        return Code.PAUSED
    if not standing.asked:
        return Code.STUDY_SILENT
    if not standing.device:
        return Code.NO_DEVICE
    rest = timedelta(minutes=rest_minutes)
    return Code.RECENT_ANSWER if any(at - rest < answer <= at for answer in standing.answers) else ""


def judge_decisions(*, now: datetime) -> int:
    """Write whether each person whose decision point has come due is available; returns how many were judged. A point is
    judged once, and not where its phone has spoken already."""
    judged = 0
    deciding = Study.objects.filter(sampling_plans__document__rules__contains=[{"decide": {}}]).distinct()
    for study in deciding:
        if states.allows(study.state, "answers"):
            with scope(study=study):
                judged += _judge(study, now)
    return judged


@transaction.atomic
def _judge(study: Study, now: datetime) -> int:
    due = _due(study, now)
    if not due:
        return 0
    rules, answers = rules_of_prompts(due), _answers(study, due, now)
    events = []
    for prompt in due:
        standing = Standing(
            active=not prompt.paused,  # type: ignore[attr-defined]  # who left since was in: what came later is off
            asked=states.allows(study.state, "prompt"),
            device=prompt.reachable,  # type: ignore[attr-defined]
            # Its own answer may be dated before it by a clock that is slow, and comes of the action.
            answers=[at for about, at in answers.get(prompt.participant_id, ()) if about != prompt.pk],
        )
        rest = rules[prompt.plan_id, prompt.rule].get("decide", {}).get("rest_minutes", 0)
        code = unavailable_because(standing, prompt.scheduled_at, rest_minutes=rest)
        events.append(
            PromptEvent(
                study=study,
                prompt=prompt,
                client_id=uuid5(prompt.pk, "availability"),  # so that two who judge at once write one
                kind=Kind.UNAVAILABLE if code else Kind.AVAILABLE,
                code=code,
                received_at=now,
            )
        )
    PromptEvent.objects.bulk_create(events, ignore_conflicts=True)
    return len(events)


def _due(study: Study, now: datetime) -> list[Prompt]:
    """The decision points that have come due and of which nobody has said whether their person is available. What is asked is
    how things stood then: what happened since may come of the action."""
    judged = PromptEvent.objects.filter(_counts(now), prompt=OuterRef("pk"), kind__in=AVAILABILITY)
    device = Device.objects.filter(participant=OuterRef("participant")).exclude(
        revoked_at__lte=OuterRef("scheduled_at")
    )
    return list(
        Prompt.objects.filter(
            ~Exists(judged), study=study, decision__isnull=False, scheduled_at__gt=now - LOOK_BACK, scheduled_at__lte=now
        )
        .exclude(no_decision_point(study, now=now))
        .annotate(reachable=Exists(device), paused=within_a_pause())
        .select_related("participant")
        .order_by("scheduled_at", "pk")
    )  # fmt: skip


def _answers(study: Study, due: Iterable[Prompt], now: datetime) -> dict[int, list[tuple[UUID | None, datetime]]]:
    """When each of these people last finished questionnaires, with the prompts to which they did."""
    found: dict[int, list[tuple[UUID | None, datetime]]] = {}
    finished = study.submissions.filter(participant__in={prompt.participant_id for prompt in due}, complete=True)
    moments = finished.annotate(at=Coalesce("answered_at", "received_at")).filter(
        at__gt=now - LOOK_BACK - LONGEST_REST, at__lte=now
    )
    for person, about, at in moments.values_list("participant_id", "prompt_id", "at"):
        found.setdefault(person, []).append((about, at))
    return found


def availability_that_counts(events: QuerySet[PromptEvent], *, cutoff: datetime) -> QuerySet[PromptEvent]:
    """One event for each prompt: the first word of its phone, which is where things are done; the server's where the phone
    said nothing that counts. It takes `distinct`, so filter before."""
    by_server = Case(When(phone_text="", then=Value(True)), default=Value(False), output_field=BooleanField())
    return (
        events.filter(_counts(cutoff), kind__in=AVAILABILITY)
        .annotate(by_server=by_server, judged_at=_moment())
        .order_by("prompt", "by_server", "judged_at", "pk")
        .distinct("prompt")
    )


def _counts(cutoff: datetime) -> Q:
    """Whether a word on availability could not yet depend on what the action brought about: the server's, and a phone's from
    before the prompt's end, before anything of it was seen and before any answer to it."""
    known = {"prompt": OuterRef("prompt"), "received_at__lte": cutoff}
    before = ExpressionWrapper(Coalesce(OuterRef("phone_at"), OuterRef("received_at")), output_field=DateTimeField())
    seen = PromptEvent.objects.annotate(at=_moment()).filter(kind__in=SEEN, at__lt=before, **known)
    at = Coalesce("submission__answered_at", "submission__received_at")
    told = Prompt.objects.filter(pk=OuterRef("prompt"), submission__received_at__lte=cutoff)
    answered = told.annotate(at=at).filter(at__lt=before)
    in_time = Q(phone_at__lte=F("prompt__expires_at")) | Q(phone_at=None, received_at__lte=F("prompt__expires_at"))
    return Q(phone_text="") | (in_time & ~Exists(seen) & ~Exists(answered))


def _moment() -> Coalesce:
    return Coalesce("phone_at", "received_at")
