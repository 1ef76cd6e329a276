"""Codes after the invitation: another one for a new phone, the phone's own for its successor, and closing one early."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from ema_server.ledger import audit
from ema_server.participants.models import Device, EnrolmentCode, Participant
from ema_server.participants.services import GONE, DeviceClosed, hold, new_code
from ema_server.studies import states
from ema_server.studies.models import Study

SUCCESSOR_LIFETIME: Final = timedelta(minutes=10)


@transaction.atomic
def code_for_new_phone(
    *, participant: Participant, actor: str, now: datetime, expires_at: datetime | None = None
) -> str:
    """Another code for somebody who was invited: for a lost sheet, or for a new phone, which closes the one they have when
    it comes in. Their earlier codes are closed."""
    person, codes = _held(participant, "invite")
    ids = [code.pk for code in codes if code.open_at(now)]
    EnrolmentCode.objects.filter(pk__in=ids).update(closed_at=now)
    code = new_code(
        study=person.study,
        participant=person,
        expires_at=expires_at,
        now=now,
        actor=actor,
        new_phone=person.enrolled_at is not None,
    )
    audit.record(
        action="participant.code_issued",
        actor=actor,
        study_id=person.study_id,
        about=person.audit_name,
        changes={"earlier_closed": len(ids)} if ids else {},
    )
    return code


@transaction.atomic
def successor_code(*, device: Device, now: datetime) -> tuple[str, datetime]:
    """A code for the next ten minutes that a person's phone shows to their new one; returns it with its end. It is worth
    nothing once this phone is closed."""
    person, codes = _held(device.participant, "enrol_test" if device.participant.test_person else "enrol")
    if not Device.objects.filter(pk=device.pk, revoked_at__isnull=True).exists():
        raise DeviceClosed(device)
    earlier = [code.pk for code in codes if code.made_by == device.audit_name and code.uses == 0]
    EnrolmentCode.objects.filter(pk__in=earlier).delete()
    until = now + SUCCESSOR_LIFETIME
    code = new_code(
        study=person.study, participant=person, expires_at=until, now=now, actor=device.audit_name, new_phone=True
    )
    return code, until


def _held(participant: Participant, action: str) -> tuple[Participant, list[EnrolmentCode]]:
    """Somebody who is not gone and their codes, in the order in which an enrolment takes them: codes, study, person."""
    codes = list(EnrolmentCode.objects.select_for_update().filter(participant=participant).order_by("pk"))
    states.require(Study.objects.select_for_update(no_key=True).get(pk=participant.study_id).state, action)
    person = hold(participant)
    if person.state == Participant.State.WITHDRAWN:
        raise states.StudyClosed(GONE)
    return person, codes


@transaction.atomic
def close_code(*, code: EnrolmentCode, actor: str, now: datetime) -> bool:
    """Nobody comes in by it any more; returns whether somebody could have. Who came in stays."""
    held = EnrolmentCode.objects.select_for_update(of=("self",)).get(pk=code.pk)
    if not held.open_at(now):
        return False
    EnrolmentCode.objects.filter(pk=held.pk).update(closed_at=now)
    audit.record(
        action="code.closed",
        actor=actor,
        study_id=held.study_id,
        about=held.audit_name,
        changes={"uses": held.uses, "max_uses": held.max_uses},
    )
    return True
