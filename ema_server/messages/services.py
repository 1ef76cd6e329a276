"""Writing to participants."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.messages.models import Message
from ema_server.participants.models import Participant
from ema_server.studies.models import Study
from ema_server.vault.services import holding_keys

LONGEST = 2000  # characters
State = Participant.State


class InvalidMessage(DomainError):
    code = "invalid_message"
    status = 400


@transaction.atomic
def send_message(
    *, study: Study, to: Collection[str], text: str, now: datetime, actor: str, expires_at: datetime | None = None
) -> list[Message]:
    """Write to people, by pseudonym: all of them or nobody. Their phones show it with their next sync; what was written is
    in no log and no trail, only that something was."""
    text = text.strip()
    people = Participant.objects.select_for_update(no_key=True).filter(study=study, pseudonym__in=to).order_by("pk")
    there = {person.pseudonym: person for person in people}
    faults = [f"to: nobody here has the pseudonym {name[:40]!r}." for name in sorted(set(to) - set(there))[:20]]
    faults += [
        f"to: {person.pseudonym} is {person.state}; only who is in can be written to."
        for person in there.values()
        if person.state not in {State.ACTIVE, State.PAUSED}
    ]
    if not to:
        faults.append("to: name at least one participant.")
    if not 1 <= len(text) <= LONGEST or "\0" in text:
        faults.append(f"text: has {len(text)} characters; 1 to {LONGEST} are accepted, none of them NUL.")
    if expires_at is not None and expires_at <= now:
        faults.append(f"expires_at: {expires_at.isoformat()} is over already; give a moment to come.")
    if faults:
        raise InvalidMessage(" ".join(faults) + " Nothing was sent.")
    with holding_keys():
        written = [
            Message.objects.create(
                study=study, participant=person, text=text, written_by=actor, written_at=now, expires_at=expires_at
            )
            for person in there.values()
        ]
    audit.record(
        action="message.sent",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"people": len(written)},
    )
    return written


@transaction.atomic
def take_back_message(*, message: Message, now: datetime, actor: str) -> None:
    """Phones are told of it no more. It stays on record, and in the person's own export."""
    held = Message.objects.select_for_update(no_key=True).get(pk=message.pk)
    if held.taken_back_at is None:
        Message.objects.filter(pk=held.pk).update(taken_back_at=now)
    audit.record(action="message.taken_back", actor=actor, study_id=message.study_id, about=f"message:{message.pk}")
