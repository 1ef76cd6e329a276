"""Leaving a study, and taking one's data along: what a phone asks for in its person's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import transaction

from ema_server.erasure.services import ask_for_erasure
from ema_server.ledger import audit
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import hold
from ema_server.sampling.services import withdraw_participant

Data = Literal["keep", "erase"]
NO_REASON = "the person asked for it on their phone"


@dataclass(frozen=True, slots=True)
class Left:
    """`new`: whether they had not withdrawn before."""

    new: bool
    prompts_called_off: int


@transaction.atomic
def leave_study(*, device: Device, data: Data, now: datetime, reason: str = "") -> Left:
    """The person withdraws; what they gave stays, or is erased as soon as the outbox comes to it. Asked twice it is done once,
    and whoever kept their data at first may have them erased later. Of a study whose data are locked one may leave, too."""
    person = hold(device.participant)
    new, called_off = person.state != Participant.State.WITHDRAWN, 0
    if new:
        called_off = withdraw_participant(
            participant=person, now=now, actor=device.audit_name, reason=reason.strip() or NO_REASON
        )
    if data == "erase":
        ask_for_erasure(participant=person, actor=device.audit_name, now=now, reason=reason.strip() or NO_REASON)
    return Left(new, called_off)


@transaction.atomic
def begin_own_export(*, device: Device, form: str) -> Participant:
    """A person takes their data along. Written down before the first byte, however far the download comes."""
    person = hold(device.participant)
    audit.record(
        action="participant.exported",
        actor=device.audit_name,
        study_id=person.study_id,
        about=person.audit_name,
        changes={"form": form},
    )
    return person
