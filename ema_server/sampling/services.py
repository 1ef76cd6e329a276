"""Planning prompts, and keeping what phones report about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django_scopes import scope

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.ledger import audit
from ema_server.ledger.models import Job
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import Enrolment, enrol_participant, hold, update_device
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.plan import Draw, as_utc, draw_once, draw_prompts
from ema_server.sampling.queries import rules_asked_on_withdrawal
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.vault.services import holding_keys

OUTCOMES = ("completed", "expired", "cancelled")
PHONE_KINDS = frozenset(
    {"delivered", "shown", "opened", "dismissed", "started", "completed", "expired", "cancelled", "reissued"}
)

MAX_NOTE = 500


class NoPlan(DomainError):
    code = "no_sampling_plan"


class NotToWithdraw(DomainError):
    code = "not_to_withdraw"


class EventIn(msgspec.Struct, frozen=True):
    """What a phone reports of one prompt. `id` is the phone's own UUID: sent twice it is one event."""

    id: UUID
    prompt: UUID
    kind: str
    at: str
    reason: str = ""


class EventReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    status: str  # stored | duplicate | rejected
    code: str = ""
    detail: str = ""


@transaction.atomic
def start_participation(
    *, code: str, zone: str, consent_version: str, consented_at: datetime, device: dict[str, str], now: datetime
) -> Enrolment:
    """Let a phone in and plan its person's prompts: both or neither."""
    enrolment = enrol_participant(
        code=code, zone=zone, consent_version=consent_version, consented_at=consented_at, device=device, now=now
    )
    with scope(study=enrolment.participant.study):
        if not enrolment.participant.prompts.exists():  # a second phone of the same person keeps the ledger
            plan_prompts(participant=enrolment.participant)
    return enrolment


def plan_prompts(*, participant: Participant) -> int:
    """Write the whole ledger of one person by the study's newest plan; returns the number of prompts."""
    study = participant.study
    plan = current_sampling_plan(study)
    if plan is None or participant.first_day is None or participant.last_day is None:
        raise NoPlan("The study has no sampling plan yet.")
    zone = ZoneInfo(participant.zone)
    draws = list(
        draw_prompts(
            plan.document,
            secret=bytes(study.secret),
            person=participant.pseudonym,
            version=plan.number,
            first_day=participant.first_day,
            last_day=participant.last_day,
            zone=zone,
        )
    )
    if participant.enrolled_at is not None:
        draws += draw_once(
            plan.document, "enrolment", now=participant.enrolled_at, first_day=participant.first_day, zone=zone
        )
    return len(Prompt.objects.bulk_create(_rows(draws, participant=participant, plan=plan)))


@transaction.atomic
def withdraw_participant(*, participant: Participant, now: datetime, actor: str, reason: str = "") -> int:
    """Somebody leaves: what still lay ahead of them is called off, what the plan asks on withdrawal is asked now, and
    nothing that they gave is touched. Their phone may still sync and answer. Returns how many prompts were called off."""
    person = hold(participant)
    if person.state == Participant.State.WITHDRAWN:
        raise NotToWithdraw(f"{person.pseudonym} has withdrawn already.")
    ahead = person.prompts.filter(expires_at__gt=now)
    called_off = _call_off(ahead, reason="the person withdrew", now=now)
    plan = current_sampling_plan(person.study)
    if plan is not None and person.first_day is not None and states.allows(person.study.state, "answers"):
        zone = ZoneInfo(person.zone)
        draws = draw_once(plan.document, "withdrawal", now=now, first_day=person.first_day, zone=zone)
        Prompt.objects.bulk_create(_rows(draws, participant=person, plan=plan), ignore_conflicts=True)
    before, person.state = person.state, Participant.State.WITHDRAWN
    person.save(update_fields=["state"])
    audit.record(
        action="participant.withdrawn",
        actor=actor,
        study_id=person.study_id,
        about=person.audit_name,
        changes={"state": [str(before), "withdrawn"], "prompts_called_off": called_off},
        reason=reason.strip(),
        person=person.key_id,
    )
    return called_off


def call_off_silence(job: Job) -> None:
    """What the outbox calls when a study goes on or is locked: prompts that fell while it asked nothing are no misses."""
    study = Study.objects.filter(pk=job.payload["study"]).first()
    if study is None:
        return
    since, until = job.payload["since"], job.payload["until"]
    with scope(study=study):
        fell = Prompt.objects.filter(study=study, scheduled_at__gte=datetime.fromisoformat(since))
        if until is not None:
            fell = fell.filter(scheduled_at__lt=datetime.fromisoformat(until))
        asked = fell.exclude(rule__in=rules_asked_on_withdrawal(study))
        _call_off(asked, reason=f"the study was {job.payload['why']}", now=clock.now())


def _call_off(prompts: QuerySet[Prompt], *, reason: str, now: datetime) -> int:
    """Cancel what has neither an answer nor an outcome. Whoever answers it all the same has answered."""
    ids = prompts.filter(submission__isnull=True).exclude(events__kind__in=OUTCOMES).values_list("pk", "study_id")
    events = [
        PromptEvent(
            study_id=study_id, prompt_id=pk, kind=PromptEvent.Kind.CANCELLED, reason=reason[:200], received_at=now
        )
        for pk, study_id in ids
    ]
    return len(PromptEvent.objects.bulk_create(events, batch_size=2000))


def _rows(draws: Iterable[Draw], *, participant: Participant, plan: SamplingPlan) -> list[Prompt]:
    zone = ZoneInfo(participant.zone)
    return [
        Prompt(
            study_id=participant.study_id,
            participant=participant,
            plan=plan,
            rule=draw.rule,
            questionnaire=draw.questionnaire,
            day=draw.day,
            slot=draw.slot,
            wave=draw.wave,
            practice=draw.practice,
            **_clock(draw, zone),
        )
        for draw in draws
    ]


@transaction.atomic
def change_device(*, device: Device, facts: dict[str, str], zone_since: datetime | None, now: datetime) -> int:
    """Keep the phone's facts; if its zone changed, later prompts move to the same wall time there. Returns how many."""
    study = hold(device.participant).study
    states.require(study.state, "answers")  # of a locked study no prompt moves any more
    update_device(device=device, facts=facts)
    participant = device.participant
    zone = facts.get("zone", participant.zone)
    if zone == participant.zone:
        return 0
    since = min(zone_since or now, now)
    moved = _move_prompts(participant=participant, zone=zone, since=since, device=device, now=now)
    participant.zone = zone
    participant.save(update_fields=["zone"])
    return moved


@transaction.atomic
def record_events(*, device: Device, raw_events: Sequence[bytes], now: datetime) -> list[EventReceipt]:
    """Keep what a phone saw happen to its prompts. Each event gets its own receipt; sent twice it is stored once."""
    study = hold(device.participant).study
    events = [_decoded(raw) for raw in raw_events]
    readable = [event for event in events if isinstance(event, EventIn)]
    asked = Prompt.objects.filter(participant=device.participant, id__in=[event.prompt for event in readable])
    mine = {prompt.pk: prompt for prompt in asked.select_related("participant")}
    held = {
        client_id: content
        for client_id, *content in PromptEvent.objects.filter(
            study=study, client_id__in=[event.id for event in readable]
        ).values_list("client_id", "prompt_id", "kind", "phone_text")
    }
    receipts, rows = [], []
    for event in events:
        if isinstance(event, EventReceipt):
            receipts.append(event)
            continue
        at = parse_phone_time(event.at)
        content = [event.prompt, event.kind, event.at[:40]]
        refused = _refusal(event, at, mine=mine, held=held.get(event.id), content=content, study=study)
        if refused is not None:
            receipts.append(refused)
        elif event.id in held:
            receipts.append(EventReceipt(str(event.id), "duplicate"))
        else:
            held[event.id] = content
            receipts.append(EventReceipt(str(event.id), "stored"))
            believed = at is not None and believable(at, study_start=study.starts_on, now=now)
            rows.append(
                PromptEvent(
                    study=study,
                    prompt=mine[event.prompt],
                    device=device,
                    client_id=event.id,
                    kind=event.kind,
                    note=event.reason[:MAX_NOTE] or None,
                    phone_at=at.astimezone(UTC) if believed and at else None,
                    phone_text=event.at[:40],
                    received_at=now,
                )
            )
    with holding_keys():
        PromptEvent.objects.bulk_create(rows, ignore_conflicts=True)
    return receipts


def _decoded(raw: bytes) -> EventIn | EventReceipt:
    try:
        return msgspec.json.decode(raw, type=EventIn)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return EventReceipt("", "rejected", "malformed", str(error)[:300])


def _refusal(
    event: EventIn,
    at: datetime | None,
    *,
    mine: Mapping[UUID, Prompt],
    held: list[Any] | None,
    content: list[Any],
    study: Study,
) -> EventReceipt | None:
    """Why an event cannot be kept; None if it can, or is."""
    if held is not None and held == content and event.prompt in mine:
        return None

    def refuse(code: str, detail: str) -> EventReceipt:
        return EventReceipt(str(event.id), "rejected", code, detail)

    if event.kind not in PHONE_KINDS:
        return refuse("unknown_kind", f"kind: {event.kind[:40]!r} is none of {', '.join(sorted(PHONE_KINDS))}.")
    if event.prompt not in mine:
        return refuse("unknown_prompt", "prompt: this phone has no such prompt.")
    if at is None:
        return refuse(
            "malformed_time", f"at: {event.at[:40]!r} is no time with an offset, like 2026-03-02T09:30:00+01:00."
        )
    if held is not None:
        return refuse("id_taken", "id: another event is stored under it; use a fresh UUID.")
    if not states.allows(study.state, "answers"):
        return refuse("study_locked", f"The data of this study are {study.state}.")
    return None


def _move_prompts(*, participant: Participant, zone: str, since: datetime, device: Device, now: datetime) -> int:
    """The plan is in wall time: a person who travels is asked at the same hour of the clock on their wall."""
    # What has an answer or an outcome has happened: it keeps the time at which it did.
    prompts = list(
        participant.prompts.filter(scheduled_at__gte=since, submission__isnull=True).exclude(events__kind__in=OUTCOMES)
    )
    there = ZoneInfo(zone)
    events = []
    for prompt in prompts:
        length = prompt.expires_at - prompt.scheduled_at
        events.append(
            PromptEvent(
                study_id=prompt.study_id,
                prompt=prompt,
                device=device,
                kind=PromptEvent.Kind.RESCHEDULED,
                reason=f"zone {prompt.zone} → {zone}, was {prompt.scheduled_at.isoformat()}",
                received_at=now,
            )
        )
        prompt.scheduled_at = as_utc(prompt.local_date, prompt.local_time, there)
        prompt.expires_at = prompt.scheduled_at + length
        prompt.utc_offset_minutes = _offset_minutes(prompt.scheduled_at, there)
        prompt.zone = zone
    Prompt.objects.bulk_update(prompts, ["scheduled_at", "expires_at", "utc_offset_minutes", "zone"])
    PromptEvent.objects.bulk_create(events)
    return len(prompts)


def _clock(draw: Draw, zone: ZoneInfo) -> dict[str, Any]:
    """The four ways in which a prompt's time is kept, so that none has to be derived from another later."""
    local = draw.opens.astimezone(zone)
    return {
        "scheduled_at": draw.opens,
        "expires_at": draw.closes,
        "local_date": local.date(),
        "local_time": local.time(),
        "utc_offset_minutes": _offset_minutes(draw.opens, zone),
        "zone": str(zone),
    }


def _offset_minutes(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(UTC).astimezone(zone).utcoffset()
    return int((offset or timedelta()).total_seconds() // 60)
