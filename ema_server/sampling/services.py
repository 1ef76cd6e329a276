"""Planning prompts, and keeping what phones report about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.db import transaction
from django_scopes import scope

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.openapi import RECEIPT_CODE, one_of, said
from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.ledger import audit
from ema_server.ledger.models import Job
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import Enrolment, enrol_participant, hold, update_device
from ema_server.sampling.allocation import arm_at
from ema_server.sampling.calling_off import call_off
from ema_server.sampling.decisions import write_decisions
from ema_server.sampling.follow_ups import note_asked
from ema_server.sampling.models import Planning, Prompt, PromptEvent
from ema_server.sampling.pausing import close_pause
from ema_server.sampling.plan import draw_once, draw_prompts
from ema_server.sampling.planning import copy_prompts, person_of, rows_of, start_planning
from ema_server.sampling.queries import rules_asked_on_withdrawal, versions_of
from ema_server.sampling.replanning import follow_zone
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.structure import keys
from ema_server.vault.services import holding_keys

PHONE_KINDS = frozenset(
    {
        "undelivered", "delivered", "shown", "reminded", "opened", "dismissed", "started", "completed", "uploaded", "expired",
        "cancelled", "reissued", "available", "unavailable",
    }
)  # fmt: skip
PHONE_CODES = frozenset({"no_permission", "do_not_disturb", "driving", "battery", "recent_answer", "other"})

MAX_NOTE = 500


class NoPlan(DomainError):
    code = "no_sampling_plan"


class NotToWithdraw(DomainError):
    code = "not_to_withdraw"


class EventIn(msgspec.Struct, frozen=True):
    """What a phone reports of one prompt. `id` is the phone's own UUID: sent twice it is one event. `code` says why in a
    word that is counted, `reason` in words that are sealed."""

    id: UUID
    prompt: UUID
    kind: Annotated[str, said(f"one of {', '.join(sorted(PHONE_KINDS))}")]
    at: Annotated[str, said("by the phone's clock, with its offset")]
    reason: Annotated[str, said("free words, which are sealed")] = ""
    code: Annotated[str, said(f"one of {', '.join(sorted(PHONE_CODES))}, or empty")] = ""


class EventReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    status: Annotated[str, one_of("stored", "duplicate", "rejected")]
    code: Annotated[str, RECEIPT_CODE] = ""
    detail: str = ""


@transaction.atomic
def start_participation(
    *,
    code: str,
    zone: str,
    consent_version: str,
    consented_at: datetime,
    device: dict[str, str],
    now: datetime,
    consent_digest: str = "",
    request_id: UUID | None = None,
) -> Enrolment:
    """Let a phone in, put its person into an arm where the plan allocates, and plan their prompts: all or nothing."""
    enrolment = enrol_participant(
        code=code,
        zone=zone,
        consent_version=consent_version,
        consented_at=consented_at,
        device=device,
        now=now,
        consent_digest=consent_digest,
        request_id=request_id,
    )
    with scope(study=enrolment.participant.study):
        if not enrolment.participant.prompts.exists():  # a new phone of the same person keeps the ledger
            plan_prompts(participant=enrolment.participant, now=now)
    return enrolment


def plan_prompts(*, participant: Participant, now: datetime) -> int:
    """Write the whole ledger of one person by the study's newest plan; returns the number of prompts."""
    plan = current_sampling_plan(participant.study)
    if plan is None or participant.first_day is None or participant.last_day is None:
        raise NoPlan("The study has no sampling plan yet.")
    allocated = _allocate(participant, plan)
    planning = start_planning(participant, plan, cause=Planning.Cause.ENROLMENT, now=now)
    planning.facts |= allocated
    person = person_of(participant.pseudonym, planning.facts)
    draws = list(
        draw_prompts(plan.document, secret=bytes(participant.study.secret), person=person, versions=versions_of(plan))
    )
    if participant.enrolled_at is not None:
        draws += draw_once(plan.document, "enrolment", now=now, calendar=person.calendar, zone=person.zone)
    planning.counts = {"added": len(draws)}
    planning.save()
    rows = rows_of(draws, planning)
    count = copy_prompts(rows)
    write_decisions(rows, planning)
    return count


def _allocate(participant: Participant, plan: SamplingPlan) -> dict[str, Any]:
    """Put whoever has no arm yet into one; the facts to keep of it. Who enrols holds the study's row, so two people at once
    get two places of the sequence. Test people take none."""
    allocation = plan.document.get("allocation")
    if allocation is None or participant.arm or participant.test_person:
        return {}
    study, ratios = participant.study, allocation["arms"]
    site = participant.site if keys(study.structure, "sites") else ""
    before = Planning.objects.filter(study=study, facts__allocation__arms=ratios, facts__allocation__site=site)
    taken = before.order_by("-pk").values_list("facts__allocation__position", flat=True).first()
    position = 0 if taken is None else taken + 1
    participant.arm = arm_at(ratios, secret=bytes(study.secret), site=site, position=position)
    participant.save(update_fields=["arm"])
    audit.record(  # not into which arm: the trail is open to people who may not know
        action="participant.allocated",
        actor="server",
        study_id=study.pk,
        about=participant.audit_name,
        changes={"sampling_plan": plan.number},
        person=participant.key_id,
    )
    return {"allocation": {"arms": ratios, "site": site, "position": position}}


@transaction.atomic
def withdraw_participant(*, participant: Participant, now: datetime, actor: str, reason: str = "") -> int:
    """Somebody leaves: what still lay ahead of them is called off, what the plan asks on withdrawal is asked now, and
    nothing that they gave is touched. Their phone may still sync and answer. Returns how many prompts were called off."""
    person = hold(participant)
    if person.state == Participant.State.WITHDRAWN:
        raise NotToWithdraw(f"{person.pseudonym} has withdrawn already.")
    close_pause(person, now=now)
    ahead = person.prompts.filter(expires_at__gt=now)
    called_off = call_off(ahead, code=PromptEvent.Code.WITHDREW, reason="the person withdrew", now=now)
    plan = current_sampling_plan(person.study)
    if plan is not None and person.first_day is not None and states.allows(person.study.state, "answers"):
        planning = start_planning(person, plan, cause=Planning.Cause.WITHDRAWAL, now=now)
        drawn = person_of(person.pseudonym, planning.facts)
        draws = list(draw_once(plan.document, "withdrawal", now=now, calendar=drawn.calendar, zone=drawn.zone))
        if draws:
            planning.save()
            there = set(person.prompts.values_list("rule", "day", "slot"))
            rows = [row for row in rows_of(draws, planning) if (row.rule, row.day, row.slot) not in there]
            copy_prompts(rows)
            write_decisions(rows, planning)
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
        call_off(
            asked, code=PromptEvent.Code.STUDY_SILENT, reason=f"the study was {job.payload['why']}", now=clock.now()
        )


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
    changes = follow_zone(participant=participant, zone=zone, since=min(zone_since or now, now), device=device, now=now)
    return len(changes.moved)


@transaction.atomic
def record_events(*, device: Device, raw_events: Sequence[bytes], now: datetime) -> list[EventReceipt]:
    """Keep what a phone saw happen to its prompts. Each event gets its own receipt; sent twice it is stored once.

    No order is asked for: `received_at` is the batch's, `phone_at` what each event says of itself, and what contradicts
    the rest of the ledger is stored like anything else; `prompt_state` flags it.
    """
    study = hold(device.participant).study
    events = [_decoded(raw) for raw in raw_events]
    readable = [event for event in events if isinstance(event, EventIn)]
    asked = Prompt.objects.filter(participant=device.participant, id__in=[event.prompt for event in readable])
    mine = {prompt.pk: prompt for prompt in asked.select_related("participant")}
    held = {
        client_id: content
        for client_id, *content in PromptEvent.objects.filter(
            study=study, client_id__in=[event.id for event in readable]
        ).values_list("client_id", "prompt_id", "kind", "phone_text", "code")
    }
    receipts, rows = [], []
    for event in events:
        if isinstance(event, EventReceipt):
            receipts.append(event)
            continue
        at = parse_phone_time(event.at)
        content = [event.prompt, event.kind, event.at[:40], event.code]
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
                    code=event.code,
                    note=event.reason[:MAX_NOTE] or None,
                    phone_at=at.astimezone(UTC) if believed and at else None,
                    phone_text=event.at[:40],
                    received_at=now,
                )
            )
    with holding_keys():
        PromptEvent.objects.bulk_create(rows, ignore_conflicts=True)
    note_asked(participant=device.participant, events=rows, now=now)
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
    if event.code and event.code not in PHONE_CODES:
        known = ", ".join(sorted(PHONE_CODES))
        return refuse("unknown_code", f"code: {event.code[:40]!r} is none of {known}; leave it out where none fits.")
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
