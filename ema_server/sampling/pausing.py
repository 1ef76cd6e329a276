"""Pausing and going on, by the person or by the study team for them.

While a pause is open nothing is written to the ledger of prompts: when it will end is not known, and what lies after its end is
asked as planned. What falls into it counts as not asked by the pause's own row (`sampling.queries.within_a_pause`); at its end
each of these prompts gets its event.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from django.db import transaction
from django_scopes import scope, scopes_disabled

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import audit, outbox
from ema_server.ledger import services as ledger
from ema_server.ledger.models import Job
from ema_server.participants.models import Participant, Pause
from ema_server.participants.services import hold
from ema_server.sampling.calling_off import call_off
from ema_server.sampling.models import PromptEvent
from ema_server.sampling.queries import open_pause_of
from ema_server.studies import states

State = Participant.State
PAUSE_ENDS = "pause_ends"  # the kind of its jobs: a person said until when
LONGEST = timedelta(days=366)


class HasWithdrawn(DomainError):
    code = "withdrawn"


class NotEnrolled(DomainError):
    code = "not_enrolled"


class InvalidUntil(DomainError):
    code = "invalid_until"
    status = 400


@transaction.atomic
def pause_participant(
    *,
    participant: Participant,
    now: datetime,
    actor: str,
    until: datetime | msgspec.UnsetType | None = msgspec.UNSET,
    reason: str = "",
) -> Pause:
    """Ask somebody nothing from now on, until they go on or, if they say so, until a moment. Paused twice is one pause; another
    `until` (None: open) changes its end."""
    person = _held(participant)
    states.require(person.study.state, "answers")
    if isinstance(until, datetime) and not now < until <= now + LONGEST:
        raise InvalidUntil(
            f"until: {until.isoformat()} is not ahead, or more than a year; leave it out for an open end."
        )
    pause = open_pause_of(person, now=now)
    if pause is None:
        _close(person, now=now)  # one whose end has come, before anybody wrote that down
        until = None if until is msgspec.UNSET else until
        pause = Pause.objects.create(participant=person, since=now, until=until)
        _note("participant.paused", person, actor, reason, pause)
    elif until is not msgspec.UNSET and until != pause.until:
        pause.until = until
        pause.save(update_fields=["until"])
        _note("participant.pause_changed", person, actor, reason, pause)
    person.state = State.PAUSED
    person.save(update_fields=["state"])
    if pause.until is not None:
        ledger.ask_for(
            kind=PAUSE_ENDS,
            key=f"{pause.pk}:{pause.until.isoformat()}",
            payload={"pause": pause.pk},
            due_at=pause.until,
            again=True,
        )
        outbox.ring(PAUSE_ENDS)
    return pause


@transaction.atomic
def resume_participant(*, participant: Participant, now: datetime, actor: str, reason: str = "") -> Pause | None:
    """Ask somebody again from now on; what fell into the pause is called off. Returns their last pause; done twice it is done
    once."""
    person = _held(participant)
    if person.state == State.PAUSED:
        _resume(person, now=now, actor=actor, reason=reason)
    return person.pauses.order_by("-since", "-pk").first()


def end_pause(job: Job) -> None:
    """What the outbox calls when the moment has come until which somebody paused. They may have gone on since, or changed it."""
    now = clock.now()
    with scopes_disabled():
        pause = Pause.objects.select_related("participant__study").filter(pk=job.payload["pause"]).first()
    if pause is None:
        return
    with scope(study=pause.participant.study):
        person = Participant.objects.select_for_update(no_key=True).get(pk=pause.participant_id)
        if person.state == State.PAUSED and open_pause_of(person, now=now) is None:
            _resume(person, now=now, actor="server")


def close_pause(person: Participant, *, now: datetime) -> int:
    """End the pause of somebody who leaves, whose row is held; returns how many prompts had fallen into it."""
    return _close(person, now=now) if person.state == State.PAUSED else 0


def _held(participant: Participant) -> Participant:
    person = hold(participant)
    if person.state == State.WITHDRAWN:
        raise HasWithdrawn(f"{person.pseudonym} has withdrawn, and is asked nothing any more.")
    if person.state == State.INVITED:
        raise NotEnrolled(f"{person.pseudonym} has not enrolled yet, and is asked nothing so far.")
    return person


def _resume(person: Participant, *, now: datetime, actor: str, reason: str = "") -> None:
    called_off = _close(person, now=now)
    person.state = State.ACTIVE
    person.save(update_fields=["state"])
    _note("participant.resumed", person, actor, reason, called_off=called_off)


def _close(person: Participant, *, now: datetime) -> int:
    """Write down the end of a person's newest pause, and call off what fell into it."""
    pause = person.pauses.order_by("-since", "-pk").first()
    if pause is None:
        return 0
    if pause.until is None or pause.until > now:
        pause.until = max(now, pause.since)
        pause.save(update_fields=["until"])
    if not states.allows(person.study.state, "answers"):
        return 0  # of a study whose data are locked no prompt changes; that it fell into a pause, the pause says
    fell = person.prompts.filter(scheduled_at__gte=pause.since, scheduled_at__lt=pause.until)
    return call_off(fell, code=PromptEvent.Code.PAUSED, reason="the person had paused", now=now)


def _note(
    action: str, person: Participant, actor: str, reason: str, pause: Pause | None = None, *, called_off: int = 0
) -> None:
    changes: dict[str, str | int | None] = {"prompts_called_off": called_off}
    if pause is not None:
        changes = {"until": None if pause.until is None else pause.until.isoformat()}
    audit.record(
        action=action,
        actor=actor,
        study_id=person.study_id,
        about=person.audit_name,
        changes=changes,
        reason=reason.strip(),
        person=person.key_id,
    )
